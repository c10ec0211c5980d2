// A chat with history: what was said before is loaded, what is said without a connection waits, and a reload goes on.

import { Client } from "/sdk/roomcast.js";
import { keepOverReload } from "/sdk/reload.js";

const part = (id) => document.getElementById(id);
const name = new URLSearchParams(location.search).get("room") ?? `chat:${Math.random().toString(36).slice(2, 7)}`;
history.replaceState(null, "", `?room=${name}`);
part("room").textContent = name;
part("name").value = localStorage.name ??= `Guest ${Math.floor(Math.random() * 900) + 100}`;
part("name").onchange = () => (localStorage.name = part("name").value);

const client = keepOverReload("chat", (saved) => new Client(`${location.origin.replace("http", "ws")}/ws`, { saved }));
const [room, log] = [client.room(name), part("log")];

/** Puts a message where its offset says; one that has none yet to the end. */
function put(what, { offset = Infinity, timestamp, from = client.id } = {}) {
  // Anybody can send any JSON to this room.
  const own = typeof what?.name === "string" && typeof what.text === "string";
  const by = own ? what.name : "Somebody";
  const words = own ? what.text : typeof what === "string" ? what : JSON.stringify(what);
  const line = Object.assign(document.createElement("li"), { offset });
  line.innerHTML = "<b></b> <span></span> <time></time>";
  const [who, said, when] = line.children;
  [who.textContent, said.textContent] = [`${by}:`, words];
  who.style.setProperty("--hue", hueOf(by));
  if (from === client.id) line.dataset.mine = "";
  if (timestamp) when.textContent = new Date(timestamp).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const atEnd = log.scrollTop + log.clientHeight > log.scrollHeight - 40;
  log.insertBefore(line, [...log.children].find((other) => other.offset > offset) ?? null);
  if (atEnd) log.scrollTop = log.scrollHeight;
  return line;
}

/** What was said before we came; after a gap, in place of all that we know. What comes from now on is told anyway. */
async function load() {
  log.replaceChildren(...log.querySelectorAll(".waits"));
  const from = room.position.offset + 1;
  for await (const event of room.history({ reverse: true, from, limit: 500 })) {
    if (event.type === "chat") put(event.data, event);
  }
}

room.subscribe("chat", put);
room.subscribe("gap", load);
client.subscribe("status", status);
room.subscribe("members", () => status());

function status({ state } = client.status) {
  part("status").dataset.state = state;
  part("status").textContent = state === "connected" ? `${room.total} here` : state;
}

document.querySelector("form").onsubmit = async (submitted) => {
  submitted.preventDefault();
  const said = { name: part("name").value, text: part("text").value.trim() };
  if (!said.text) return;
  part("text").value = "";
  const line = put(said);
  line.className = "waits";
  try {
    await room.chat(said); // also without a connection: it arrives when there is one again, once
    line.remove(); // it is there with its offset
  } catch (error) {
    line.className = "lost";
    line.append(` (not sent: ${error.code})`);
  }
};

part("copy").onclick = async () => {
  // Pages over plain HTTP from another machine have no clipboard.
  await navigator.clipboard?.writeText(location.href).catch(() => {});
  part("copy").textContent = navigator.clipboard ? "Copied" : location.href;
  setTimeout(() => (part("copy").textContent = "Copy link"), 1_600);
};

/** A colour for a name: the same on every screen. */
function hueOf(text) {
  return [...text].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
}

await room.join();
await load();
