// The console: a page for one's own experiments. It sends what you write and shows what comes; it does nothing by itself
// but say `hello`, if you let it.

import { Frames, element } from "./console-frames.js";
import { Link } from "./console-link.js";

const part = (id) => document.getElementById(id);
const NUMBERED = ["chat", "event", "game_action"];
let pings = 0;

/** What each button puts into the editor. */
const TEMPLATES = {
  join_room: (room_id) => ({ type: "join_room", room_id, payload: { nickname: "Ada", ...link.position(room_id) } }),
  leave_room: (room_id) => ({ type: "leave_room", room_id }),
  chat: (room_id) => ({ type: "chat", room_id, payload: "hello" }),
  event: (room_id) => ({ type: "event", room_id, name: "note", payload: { x: 1, y: 2 } }),
  ephemeral: (room_id) => ({ type: "event", room_id, name: "cursor", payload: { x: 1, y: 2 }, ephemeral: true, no_echo: true }),
  game_action: (room_id) => ({ type: "game_action", room_id, payload: { action: "move", position: { x: 10, y: 20, z: 0 } } }),
  presence: (room_id) => ({ type: "presence", room_id, payload: { presence: { status: "away" } } }),
  members: (room_id) => ({ type: "members", room_id, payload: { after: 0, limit: 50 } }),
  history: (room_id) => ({ type: "history", room_id, payload: { limit: 20 } }),
  direct: () => ({ type: "chat", to_client_id: link.welcome?.client_id ?? "somebody", payload: "psst" }),
  skip: (room_id) => ({ type: "skip", room_id, payload: { seq: link.nextSeq({ room_id }) } }),
  ping: () => ({ type: "ping", payload: (pings += 1) }),
  auth: () => ({ type: "auth", payload: { token: part("token").value } }),
};

const frames = new Frames(
  { list: part("list"), empty: part("empty"), total: part("total"), filter: part("filter"), state: part("state"), clear: part("clear") },
  (message) => edit(message),
);
const link = new Link(
  (frame) => {
    frames.show(frame);
    showFacts();
  },
  (status) => showStatus(status),
);
let chosen = "join_room";
offerTypes();
choose(chosen);

part("connection").addEventListener("submit", (event) => {
  event.preventDefault();
  const format = new FormData(event.target).get("format");
  const resume = part("resume").checked;
  link.open(format, part("hello").checked ? link.hello({ resume, token: part("token").value.trim() }) : null);
});
part("cut").addEventListener("click", () => link.close(3000, "cut"));
part("bye").addEventListener("click", () => link.close(1000, ""));
part("room").addEventListener("input", () => choose(chosen));
part("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
part("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  if (link.isOpen) send();
});

function offerTypes() {
  part("types").append(
    ...Object.keys(TEMPLATES).map((type) => {
      const button = element("button", "chip", type);
      button.type = "button";
      button.addEventListener("click", () => choose(type));
      return button;
    }),
  );
}

function choose(type) {
  chosen = type;
  for (const button of part("types").children) button.setAttribute("aria-pressed", String(button.textContent === type));
  edit(TEMPLATES[type](part("room").value.trim()));
}

function edit(message) {
  part("message").value = JSON.stringify(message, null, 2);
  problem("");
}

function send() {
  const text = part("message").value;
  problem("");
  try {
    const message = parse(text);
    if (message) link.send(numbered(message));
    else if (link.format === "json") link.sendRaw(text);
    else link.sendRaw(bytesOf(text));
  } catch (error) {
    problem(String(error.message));
  }
  if (chosen === "ping") choose("ping");
}

/** A message, or null for what is none: it is sent as it is, to see what the server says. */
function parse(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function bytesOf(text) {
  const digits = text.replace(/\s/g, "");
  if (!/^([0-9a-f]{2})+$/i.test(digits)) throw new Error("This is neither a JSON object nor bytes in hexadecimal.");
  return Uint8Array.from(digits.match(/../g), (pair) => parseInt(pair, 16));
}

function numbered(message) {
  if (!part("number").checked || message.seq || message.ephemeral || !NUMBERED.includes(message.type)) return message;
  if (!link.welcome?.seq_acked) return message;
  return { ...message, seq: link.nextSeq(message) };
}

function problem(text) {
  part("problem").textContent = text;
  part("problem").hidden = !text;
}

function showStatus({ state, code, reason }) {
  const status = part("status");
  status.dataset.state = state;
  status.textContent = { connecting: "connecting", open: `connected, ${link.format === "json" ? "JSON" : "Protobuf"}`, closed: "not connected" }[state];
  const open = state === "open";
  part("send").disabled = !open;
  part("cut").hidden = part("bye").hidden = !open;
  part("connect").hidden = open;
  part("connect").disabled = state === "connecting";
  for (const radio of document.querySelectorAll('[name="format"]')) radio.disabled = state !== "closed";
  if (open) frames.note(`connected to ${location.host}, ${link.format}`);
  if (state === "closed") frames.note(`closed: ${[code, reason].filter(Boolean).join(" ")}`, code === 1000 ? "note" : "note bad");
  part("connect").textContent = link.welcome?.resume_token && part("resume").checked ? "Come back" : "Connect";
  showFacts();
}

function showFacts() {
  const { welcome, roundTrip } = link;
  part("facts").hidden = !welcome;
  if (welcome) {
    const facts = { client_id: welcome.client_id, resumed: String(welcome.resumed), grace: `${welcome.grace_ms / 1000} s` };
    if (welcome.user_id) facts.user_id = welcome.user_id;
    if (roundTrip !== null) facts["round trip"] = `${roundTrip.toFixed(1)} ms`;
    const pairs = Object.entries(facts).map(([name, value]) => {
      const pair = element("div", "");
      pair.append(element("dt", "", name), element("dd", "", value));
      return pair;
    });
    part("facts").replaceChildren(...pairs);
  }
  const rooms = [...link.rooms].filter(([, { epoch, waiting }]) => epoch || waiting.size > 0);
  part("rooms-card").hidden = rooms.length === 0;
  part("rooms").replaceChildren(
    ...rooms.map(([name, { total, epoch, offset, waiting, num }]) => {
      const row = element("tr", "");
      const waits = waiting.size === 0 ? "none" : [...waiting.keys()].map((seq) => `#${seq}`).join(" ");
      row.append(element("td", "", name || "(direct)"), ...[name ? total : "", epoch, offset, waits, num ? `player ${num}` : ""].map((value) => element("td", "", String(value))));
      return row;
    }),
  );
}
