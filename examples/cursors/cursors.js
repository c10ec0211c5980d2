// Shared cursors: presence has who is there and in which colour, ephemeral events have where each pointer is.

import { Client } from "/sdk/roomcast.js";

const name = new URLSearchParams(location.search).get("room") ?? `cursors:${Math.random().toString(36).slice(2, 7)}`;
history.replaceState(null, "", `?room=${name}`);
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const colour = `hsl(${Math.floor(Math.random() * 360)} 70% 40%)`;
const nickname = `${pick(["Quick", "Calm", "Bold", "Shy"])} ${pick(["Fox", "Owl", "Hare", "Bear", "Crane"])}`;

const client = new Client(`${location.origin.replace("http", "ws")}/ws`);
const room = client.room(name, { nickname, presence: { colour } });
const cursors = new Map(); // by the member's id
let mine; // where our own pointer is, from 0 to 1 in both directions

room.on("cursor", ({ x, y }, { from }) => {
  const cursor = cursors.get(from);
  if (!cursor) return;
  cursor.style.transform = `translate(${x * innerWidth}px, ${y * innerHeight}px)`;
  cursor.hidden = false;
});

// Who is there has a cursor. `from` is the member's id, as nobody has a token here.
room.subscribe("members", (members) => {
  const there = new Map(members.map((member) => [member.id, member]));
  document.getElementById("people").replaceChildren(...members.map(label));
  there.delete(client.id);
  for (const [id, cursor] of cursors) {
    if (!there.has(id)) cursor.remove(), cursors.delete(id);
  }
  for (const [id, member] of there) {
    let cursor = cursors.get(id);
    if (!cursor) {
      cursor = document.createElement("div");
      cursor.hidden = true; // until we hear where it is
      cursor.append(document.createElement("span"));
      document.body.append(cursor);
      cursors.set(id, cursor);
      tell(); // the new one doesn't know where we are
    }
    cursor.className = member.connected ? "cursor" : "cursor away";
    cursor.style.setProperty("--colour", colourOf(member));
    cursor.firstChild.textContent = member.nickname;
  }
  status();
});

function label(member) {
  const line = document.createElement("li");
  line.textContent = member.id === client.id ? `${member.nickname} (you)` : member.nickname;
  line.style.setProperty("--colour", colourOf(member));
  return line;
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
    room.send("cursor", mine, { ephemeral: true, noEcho: true });
  }, 40);
}

addEventListener("pointermove", ({ clientX, clientY }) => {
  mine = { x: clientX / innerWidth, y: clientY / innerHeight };
  tell();
});

function status() {
  const { state } = client.status;
  document.getElementById("status").textContent = state === "connected" ? `${room.total} here.` : `${state} …`;
}
client.subscribe("status", status);
await room.join();
