// Shared cursors: presence has who is there and in which colour, ephemeral events have where each pointer is.

import { Client } from "/sdk/roomcast.js";
import { keepOverReload } from "/sdk/reload.js";

const COLOURS = ["#ff6a4d", "#3f8cff", "#22b07d", "#a06bff", "#f0a21b", "#12b0c4", "#f0609c", "#86b72c"];
const part = (id) => document.getElementById(id);
const name = new URLSearchParams(location.search).get("room") ?? `cursors:${Math.random().toString(36).slice(2, 7)}`;
history.replaceState(null, "", `?room=${encodeURIComponent(name).replaceAll("%3A", ":")}`);
part("room").textContent = name;

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const me = JSON.parse(sessionStorage.me ?? "null") ?? {
  nickname: `${pick(["Quick", "Calm", "Bold", "Shy"])} ${pick(["Fox", "Owl", "Hare", "Bear", "Crane"])}`,
  colour: pick(COLOURS),
};
sessionStorage.me = JSON.stringify(me); // the same one after a reload

const client = keepOverReload("cursors", (saved) => new Client(`${location.origin.replace("http", "ws")}/ws`, { saved }));
const room = client.room(name, { nickname: me.nickname, presence: { colour: me.colour } });
const cursors = new Map(); // by the player's number
let mine; // where our own pointer is, from 0 to 1 in both directions

// `player` is the number of who points: the server says it, and the list of members has the rest.
room.on("cursor", (place, { player }) => {
  const cursor = cursors.get(player);
  if (!cursor || !Number.isFinite(place?.x) || !Number.isFinite(place.y)) return;
  cursor.place = place;
  cursor.element.hidden = false;
  draw(cursor);
});

function draw({ place, element }) {
  if (!place) return;
  const [x, y] = [place.x * innerWidth, place.y * innerHeight];
  element.style.transform = `translate(${x}px, ${y}px)`;
  // The name stays in the window.
  element.classList.toggle("left", x + element.offsetWidth > innerWidth);
  element.classList.toggle("up", y + element.offsetHeight > innerHeight);
}
addEventListener("resize", () => cursors.forEach(draw));

// Who is there has a cursor.
room.subscribe("members", (members) => {
  part("people").replaceChildren(...members.map(label), ...(room.total > members.length ? [more(room.total - members.length)] : []));
  const there = new Map(members.map((member) => [member.num, member]));
  there.delete(room.self?.num);
  for (const [num, { element }] of cursors) {
    if (!there.has(num)) element.remove(), cursors.delete(num);
  }
  for (const [num, member] of there) {
    let cursor = cursors.get(num);
    if (!cursor) {
      cursor = { element: document.createElement("div") };
      cursor.element.hidden = true; // until we hear where it is
      cursor.element.append(document.createElement("span"));
      document.body.append(cursor.element);
      cursors.set(num, cursor);
      tell(); // the new one doesn't know where we are
    }
    cursor.element.classList.add("cursor");
    cursor.element.classList.toggle("away", !member.connected);
    cursor.element.style.setProperty("--colour", colourOf(member));
    cursor.element.firstChild.textContent = nameOf(member);
    cursor.element.title = `player ${num}`;
  }
  show();
});

const nameOf = ({ nickname, num }) => nickname || `Player ${num}`;

function label(member) {
  const line = document.createElement("li");
  line.textContent = `${nameOf(member)}${member.num === room.self?.num ? " (you)" : member.connected ? "" : " (offline)"}`;
  line.dataset.num = member.num;
  if (!member.connected) line.className = "gone";
  line.style.setProperty("--colour", colourOf(member));
  return line;
}

function more(count) {
  return Object.assign(document.createElement("li"), { className: "gone", textContent: `and ${count} more` });
}

/** What another page says is not ours to trust: no colour of a browser's is an address to load. */
function colourOf({ presence }) {
  return CSS.supports("color", presence?.colour) ? presence.colour : "gray";
}

// Not logged, not acked, dropped first for slow readers: only the newest place is worth anything. At most 25 a second.
let told = false;
function tell() {
  if (told || !mine) return;
  told = true;
  setTimeout(() => {
    told = false;
    if (room.status === "joined") room.send("cursor", mine, { ephemeral: true, noEcho: true });
  }, 40);
}

for (const event of ["pointermove", "pointerdown"]) {
  addEventListener(event, ({ clientX, clientY }) => {
    mine = { x: clientX / innerWidth, y: clientY / innerHeight };
    tell();
  });
}

// --- How it goes ---

let clock;
function show({ state, reason, at } = client.status) {
  part("status").dataset.state = state;
  part("status").textContent = state;
  const pointer = matchMedia("(pointer: coarse)").matches ? "move a finger" : "move the pointer";
  part("hint").textContent =
    room.status !== "joined" ? "" : room.total > 1 ? `${room.total} here: ${pointer}` : `Nobody else is here. Copy the link, open it in another window, and ${pointer} in both.`;
  clearTimeout(clock);
  if (state === "closed") return notice(`The server has closed the connection: ${reason.message}.`);
  if (state !== "reconnecting") return notice("");
  const seconds = Math.ceil((at - Date.now()) / 1000);
  // Where the server has said how long to wait, nobody comes earlier.
  notice(`No connection. Nobody sees where you point${seconds > 0 ? `: next try in ${seconds} s` : ""}.`, !reason.retryAfterMs);
  clock = setTimeout(show, 500);
}

function notice(text, mayConnect = false) {
  const [words, button] = part("notice").children;
  if (words.textContent !== text) words.textContent = text;
  part("notice").hidden = !text;
  button.hidden = !mayConnect;
  button.onclick = () => client.wake();
}

part("copy").onclick = async () => {
  // Pages over plain HTTP from another machine have no clipboard.
  await navigator.clipboard?.writeText(location.href).catch(() => {});
  part("copy").textContent = navigator.clipboard ? "Copied" : location.href;
  setTimeout(() => (part("copy").textContent = "Copy link"), 1_600);
};

client.subscribe("status", show);
room.subscribe("status", () => {
  show();
  tell(); // where we have moved meanwhile
});
try {
  await room.join();
  // Two of one colour are hard to tell apart.
  const taken = room.members.filter(({ num }) => num !== room.self.num).map(({ presence }) => presence.colour);
  if (taken.includes(me.colour)) me.colour = COLOURS.find((colour) => !taken.includes(colour)) ?? me.colour;
  room.updatePresence({ colour: me.colour });
  sessionStorage.me = JSON.stringify(me);
} catch (error) {
  part("hint").textContent = "";
  notice(`${error.message}.`);
}
