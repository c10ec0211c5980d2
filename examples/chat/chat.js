// A chat with history: what was said before is loaded, what is said without a connection waits, and a reload goes on.

import { Client } from "/sdk/roomcast.js";
import { keepOverReload } from "/sdk/reload.js";

const COLOURS = ["#ff6a4d", "#3f8cff", "#22b07d", "#a06bff", "#f0a21b", "#12b0c4", "#f0609c", "#86b72c"];
const part = (id) => document.getElementById(id);
const name = new URLSearchParams(location.search).get("room") ?? `chat:${Math.random().toString(36).slice(2, 7)}`;
history.replaceState(null, "", `?room=${encodeURIComponent(name).replaceAll("%3A", ":")}`);
part("room").textContent = name;
part("name").value = localStorage.name ??= `Guest ${Math.floor(Math.random() * 900) + 100}`;

const client = keepOverReload("chat", (saved) => new Client(`${location.origin.replace("http", "ws")}/ws`, { saved }));
const room = client.room(name, { nickname: part("name").value });
const [log, lines] = [part("log"), part("lines")];

function rename() {
  part("name").value = part("name").value.trim() || localStorage.name;
  if (part("name").value !== localStorage.name) room.setNickname((localStorage.name = part("name").value));
}
part("name").onchange = rename;

/** Puts a message where its offset says; one that has none yet to the end. */
function put(what, { offset = Infinity, timestamp, from = client.id, user, player = room.self?.num, service } = {}) {
  // Anybody can send any JSON to this room, and any name. The number and the user are the server's word.
  const own = typeof what?.name === "string" && typeof what.text === "string";
  const line = Object.assign(document.createElement("li"), { offset });
  line.innerHTML = '<p class="by"><b></b> <i class="user"></i> <time></time></p><p class="text"></p>';
  const [who, verified, when] = line.firstChild.children;
  who.textContent = own ? what.name : service ? `Service ${service}` : "Somebody";
  who.dataset.num = player ?? "";
  verified.textContent = user ?? "";
  verified.title = "The server has verified this user by a token";
  line.title = player ? `player ${player}` : "";
  line.style.setProperty("--player", colourOf(player));
  line.lastChild.textContent = own ? what.text : typeof what === "string" ? what : JSON.stringify(what);
  if (from === client.id) line.dataset.mine = "";
  if (timestamp) when.textContent = timeOf(timestamp);
  const atEnd = lines.scrollTop + lines.clientHeight > lines.scrollHeight - 40;
  log.insertBefore(line, [...log.children].find((other) => other.offset > offset) ?? null);
  part("empty").hidden = true;
  if (atEnd) lines.scrollTop = lines.scrollHeight;
  return line;
}

/** What was said before we came; after a gap, in place of all that we know. What comes from now on is told anyway. */
async function load() {
  log.replaceChildren(...log.querySelectorAll(".waits"));
  const from = room.position.offset + 1;
  for await (const event of room.history({ reverse: true, from, limit: 500 })) {
    if (event.type === "chat") put(event.data, event);
  }
  part("empty").textContent = "Nobody has said anything yet. Copy the link, and open it in another browser.";
  part("empty").hidden = log.children.length > 0;
}

room.subscribe("chat", put);
room.subscribe("gap", () => load().catch(() => {}));
room.subscribe("error", ({ message }) => notice(`${message}.`));
room.subscribe("members", showPeople);
client.subscribe("status", showStatus);

function showPeople(members) {
  const people = members.map(({ num, nickname, connected }) => {
    const person = document.createElement("li");
    person.textContent = `${nickname ?? `Player ${num}`}${num === room.self?.num ? " (you)" : connected ? "" : " (offline)"}`;
    person.dataset.num = num;
    person.style.setProperty("--player", colourOf(num));
    if (!connected) person.className = "away";
    return person;
  });
  const more = room.total - people.length;
  if (more > 0) people.push(Object.assign(document.createElement("li"), { className: "more", textContent: `and ${more} more` }));
  part("people").replaceChildren(...people);
}

let clock;
function showStatus({ state, reason, at } = client.status) {
  part("status").dataset.state = state;
  part("status").textContent = state;
  clearTimeout(clock);
  if (state === "closed") return notice(`The server has closed the connection: ${reason.message}.`);
  if (state !== "reconnecting") return notice("");
  const seconds = Math.ceil((at - Date.now()) / 1000);
  // Where the server has said how long to wait, nobody comes earlier.
  notice(`No connection. What you write is sent when it is back${seconds > 0 ? `: next try in ${seconds} s` : ""}.`, !reason.retryAfterMs);
  clock = setTimeout(showStatus, 500);
}

function notice(text, mayConnect = false) {
  const [words, button] = part("notice").children;
  if (words.textContent !== text) words.textContent = text;
  part("notice").hidden = !text;
  button.hidden = !mayConnect;
  button.onclick = () => client.wake();
}

document.querySelector("form").onsubmit = async (submitted) => {
  submitted.preventDefault();
  rename();
  const said = { name: part("name").value, text: part("text").value.trim() };
  if (!said.text) return;
  part("text").value = "";
  const line = put(said);
  line.className = "waits";
  lines.scrollTop = lines.scrollHeight;
  try {
    await room.chat(said); // also without a connection: it arrives when there is one again, once
    line.remove(); // it is there with its offset
  } catch (error) {
    line.className = "lost";
    line.lastChild.append(` (not sent: ${error.message})`);
  }
};

part("copy").onclick = async () => {
  // Pages over plain HTTP from another machine have no clipboard.
  await navigator.clipboard?.writeText(location.href).catch(() => {});
  part("copy").textContent = navigator.clipboard ? "Copied" : location.href;
  setTimeout(() => (part("copy").textContent = "Copy link"), 1_600);
};

function timeOf(timestamp) {
  const [date, today] = [new Date(timestamp), new Date()];
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return date.toDateString() === today.toDateString() ? time : `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

/** The colour of a player: the same on every screen, as the room gives the number. */
function colourOf(num = 0) {
  return COLOURS[num - 1] ?? (num ? `hsl(${(num * 137.5) % 360} 62% 55%)` : "var(--muted)");
}

try {
  await room.join();
  await load();
} catch (error) {
  part("empty").textContent = "There is nothing to show.";
  notice(`${error.message}.`);
}
