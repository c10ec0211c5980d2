// The demo page: `/` is two players in a new room, `/?room=NAME` is one more in that room.

import { Pane } from "./pane.js";

const NICE = ["Brave", "Calm", "Clever", "Eager", "Gentle", "Happy", "Lucky", "Merry", "Quick", "Quiet", "Sunny", "Witty"];
const ANIMALS = ["Badger", "Crane", "Dolphin", "Finch", "Fox", "Hare", "Heron", "Koala", "Lynx", "Otter", "Panda", "Seal"];

const asked = new URLSearchParams(location.search).get("room");
const room = asked || freshRoom();
const small = matchMedia("(max-width: 759px)").matches;
const panes = openPanes(asked || small ? ["both"] : ["wasd", "arrows"]);
share();
steer();
draw();

/** A new name for the room, kept for as long as this tab lives. */
function freshRoom() {
  const letters = "abcdefghjkmnpqrstuvwxyz23456789";
  const random = [...crypto.getRandomValues(new Uint8Array(5))].map((byte) => letters[byte % letters.length]);
  const name = sessionStorage.getItem("room") ?? `room-${random.join("")}`;
  sessionStorage.setItem("room", name);
  return name;
}

function openPanes(controls) {
  const place = document.getElementById("panes");
  place.dataset.count = controls.length;
  const names = nicknames(controls.length);
  let after;
  return controls.map((control, index) => {
    const section = document.getElementById("pane").content.cloneNode(true).firstElementChild;
    place.append(section);
    const pane = new Pane(section, { room, nickname: names[index], controls: control, after });
    // Without a server nobody waits for long.
    after = Promise.race([pane.joined, new Promise((resolve) => setTimeout(resolve, 1_000))]);
    return pane;
  });
}

function nicknames(count) {
  const pick = (list) => list.splice(Math.floor(Math.random() * list.length), 1)[0];
  return Array.from({ length: count }, () => `${pick(NICE)} ${pick(ANIMALS)}`);
}

function share() {
  const link = `${location.origin}/?room=${encodeURIComponent(room).replaceAll("%3A", ":")}`;
  const copy = document.getElementById("copy");
  document.getElementById("room").textContent = room;
  document.getElementById("open").href = link;
  document.getElementById("invite").hidden = !["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  if (panes.length === 1) {
    document.getElementById("lead").textContent = "You are one of this room’s players. Others join by its link.";
    document.title = `${room} · Roomcast`;
  }
  copy.addEventListener("click", async () => {
    const done = await copyText(link);
    copy.textContent = done ? "Copied" : link;
    document.getElementById("said").textContent = done ? "Link copied" : link;
    setTimeout(() => (copy.textContent = "Copy link"), 1_600);
  });
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages over plain HTTP from another machine have no clipboard: the old way, by a selection.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "hidden";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

function steer() {
  const typing = (target) => target.closest?.("input, textarea, select, .log");
  const pressing = (target) => target.closest?.("button, a");
  for (const type of ["keydown", "keyup"]) {
    addEventListener(type, (event) => {
      const down = type === "keydown";
      if (down && (event.ctrlKey || event.metaKey || event.altKey || typing(event.target))) return;
      if (down && (event.code === "Space" || event.code === "Enter") && pressing(event.target)) return;
      const used = panes.map((pane) => pane.key(event.code, down, event.repeat)).some(Boolean);
      if (used && !typing(event.target)) event.preventDefault();
    });
  }
  // A button that was clicked keeps the focus, and would take the space key that is meant to attack.
  addEventListener("click", (event) => {
    if (event.detail > 0) event.target.closest?.("button, a")?.blur();
  });
  addEventListener("blur", () => panes.forEach((pane) => pane.release()));
  document.addEventListener("visibilitychange", () => panes.forEach((pane) => pane.away(document.hidden)));
}

function draw() {
  let before = performance.now();
  const frame = (now) => {
    const seconds = Math.min(0.1, Math.max(0, (now - before) / 1000));
    before = now;
    for (const pane of panes) pane.frame(seconds, now);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}
