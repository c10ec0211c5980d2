// The admin page. It uses the API and nothing else, and shows what the key in use may see.

import { Problem, ask, key, part } from "./api.js";
import { button, bytes, cell, connection, count, element, fill, number, row, shown, spark } from "./tables.js";
import { Tail } from "./tail.js";

const PAUSE = 2000;
const HISTORY = 60;
const at = (id) => document.getElementById(id);

let room = "";
let user = "";
let timer;
let round = 0;
/** When the server answered last. */
let heardAt = 0;
/** What each server counted when it was asked last, and when that was. */
const before = new Map();
const past = new Map();

const tail = new Tail({ list: at("tail"), told: at("no-tail"), button: at("listen"), fail: (error) => tell(error.message) });

at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(at("key").value.trim());
  at("key").value = "";
  enter();
});
at("leave").addEventListener("click", () => leave(""));
at("find-room").addEventListener("submit", (event) => {
  event.preventDefault();
  open(at("room-name").value.trim());
});
at("find-user").addEventListener("submit", (event) => {
  event.preventDefault();
  user = at("user-name").value.trim();
  look();
});
for (const choice of document.querySelectorAll('[name="by"]')) choice.addEventListener("change", () => look());
at("close-room").addEventListener("click", () => open(""));
at("listen").addEventListener("click", () => (tail.isOn ? tail.stop() : tail.start(room)));
at("disconnect").addEventListener("click", () => disconnect(user));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && key.get()) look();
});
if (key.get()) enter();

function enter() {
  tell("");
  at("door").hidden = true;
  look();
}

function leave(why) {
  clearTimeout(timer);
  round += 1;
  key.forget();
  open("", false);
  before.clear();
  past.clear();
  for (const id of ["inside", "leave"]) at(id).hidden = true;
  at("door").hidden = false;
  state("closed", "not signed in");
  tell(why);
  at("key").focus();
}

/** Asks for all that is shown, and again after a while. */
async function look() {
  clearTimeout(timer);
  const own = (round += 1);
  const by = document.querySelector('[name="by"]:checked').value;
  try {
    const [nodes, rooms, slow, members, lines, ofUser] = await Promise.all([
      ask("/nodes"),
      ask(by === "name" ? "/rooms?limit=100" : `/top/rooms?by=${by}&limit=20`),
      ask("/top/connections?limit=20"),
      room ? ask(`/rooms/${part(room)}/members`) : null,
      room ? ask(`/rooms/${part(room)}/connections?limit=100`) : null,
      user ? ask(`/users/${part(user)}/connections?limit=100`) : null,
    ]);
    if (own !== round) return;
    state("open", "connected");
    heardAt = Date.now();
    at("inside").dataset.old = false;
    for (const id of ["inside", "leave"]) at(id).hidden = false;
    showNodes(nodes.nodes);
    showRooms(by, rooms.rooms);
    showLines("slow", slow.connections, "no-slow");
    if (members) showMembers(members, lines.connections);
    showUser(ofUser?.connections);
  } catch (error) {
    if (own !== round) return;
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401 || (error.status === 403 && at("inside").hidden)) return leave(error.message);
    if (error.status) state("connecting", `not all is shown: ${error.message}`);
    else {
      // What is shown is what was.
      at("inside").dataset.old = true;
      state("connecting", `the server does not answer${heardAt ? `; this is of ${new Date(heardAt).toLocaleTimeString()}` : ""}`);
    }
  }
  if (!document.hidden) timer = setTimeout(look, PAUSE);
}

function state(name, text) {
  at("status").dataset.state = name;
  if (at("status").textContent !== text) at("status").textContent = text;
}

function tell(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

// --- What is shown ---

function showNodes(nodes) {
  const now = performance.now();
  const total = {};
  const rows = nodes.map((node) => {
    const { counters } = node;
    const rate = rates(node.node, counters, now);
    for (const [name, value] of Object.entries({ ...counters, in: rate.messages_in, out: rate.messages_out, bad: rate.errors })) total[name] = (total[name] ?? 0) + value;
    const name = cell("", "name");
    name.append(element("code", { text: node.node }), element("small", { text: node.answers ? `${node.version}, answers this page` : node.version }));
    const end = cell("");
    if (node.answers) end.append(button("Drain", () => drain(node), "danger"));
    const shape = element("span", { text: node.state.replaceAll("_", " "), className: `state ${node.state}` });
    const one = row(node.node, name, element("td", {}, shape), ...[counters.connections, counters.rooms, rate.messages_in, rate.messages_out, counters.lagging].map(number), end);
    return one;
  });
  fill(at("nodes"), rows);
  at("other-nodes").hidden = nodes.length < 2;
  showTiles(total);
}

/** How fast a server's counters rise, in a second. */
function rates(node, counters, now) {
  const last = before.get(node);
  before.set(node, { counters, now });
  const rise = (name) => (last ? Math.max(0, (counters[name] - last.counters[name]) / ((now - last.now) / 1000)) : 0);
  return Object.fromEntries(["messages_in", "messages_out", "errors"].map((name) => [name, rise(name)]));
}

function showTiles(total) {
  const tiles = {
    connections: ["Connections", total.connections],
    rooms: ["Rooms", total.rooms],
    in: ["Messages in, a second", total.in],
    out: ["Messages out, a second", total.out],
    sessions_waiting: ["Sessions that wait", total.sessions_waiting],
    lagging: ["Connections that lag", total.lagging],
    pending_bytes: ["Bytes that wait", total.pending_bytes, bytes],
    bad: ["Errors, a second", total.bad],
  };
  const lines = Object.entries(tiles).map(([name, [title, value = 0, show = shown]]) => {
    const values = past.get(name) ?? [];
    values.push(value);
    if (values.length > HISTORY) values.shift();
    past.set(name, values);
    return element("li", {}, element("span", { text: title }), element("strong", { text: show(value) }), spark(values));
  });
  at("tiles").replaceChildren(...lines);
}

const COLUMNS = {
  busiest: [["Messages/s", "messages_per_second"], ["Members", "members"]],
  biggest: [["Members", "members"], ["Messages/s", "messages_per_second"]],
  slowest: [["Lagging", "lagging"], ["Bytes that wait", "pending_bytes"], ["Connections", "connections"]],
  name: [["Members", "members"]],
};

function showRooms(by, rooms) {
  const columns = COLUMNS[by];
  const head = [element("th", { text: "Room", scope: "col" }), ...columns.map(([text]) => element("th", { text, scope: "col", className: "number" }))];
  if (at("rooms-head").dataset.by !== by) at("rooms-head").replaceChildren(...head);
  at("rooms-head").dataset.by = by;
  const rows = rooms.map((line) => row(line.room_id, element("td", {}, button(line.room_id, () => open(line.room_id), "link")), ...columns.map(([, name]) => number(line[name]))));
  fill(at("rooms"), rows);
  at("no-rooms").hidden = rooms.length > 0;
  at("no-rooms").textContent = by === "slowest" ? "In no room does anybody lag." : "Nobody is in a room.";
}

function showLines(id, lines, none) {
  fill(at(id), lines.map(connection));
  if (none) at(none).hidden = lines.length > 0;
}

function showMembers({ members, total }, lines) {
  const of = new Map();
  for (const line of lines) {
    const known = of.get(line.player_num);
    if (!known || (line.lagging && !known.lagging)) of.set(line.player_num, line);
  }
  const rows = members.map((member) => {
    const line = of.get(member.player_num);
    const how = line?.why ?? (member.connected === false ? "it has no connection, and may come back" : "");
    const who = cell("", "name");
    who.append(element("strong", { text: member.nickname || member.player_id }), element("small", { text: member.player_id }));
    const act = element("td", {}, button("Kick", () => kick(member.player_id), "danger"));
    return row(String(member.player_num), cell(member.player_num, "number"), who, cell(how, line?.lagging ? "lags" : ""), act);
  });
  fill(at("members"), rows);
  at("no-members").hidden = rows.length > 0;
  at("room-total").textContent = total > members.length ? `${count(total, "member")}, of whom ${shown(members.length)} are listed` : count(total, "member");
}

function showUser(lines) {
  at("user").hidden = !lines;
  if (!lines) return;
  at("user-title").textContent = lines.length ? user : `${user} has no session`;
  at("disconnect").hidden = lines.length === 0;
  showLines("user-lines", lines);
}

// --- What can be done ---

function open(name, again = true) {
  if (name !== room) {
    tail.clear();
    at("members").replaceChildren();
    at("no-members").hidden = true;
    at("room-total").textContent = "";
  }
  room = name;
  at("room").hidden = !room;
  at("room-title").textContent = room;
  if (!again) return;
  if (room) at("room").scrollIntoView({ block: "nearest" });
  look();
}

/** Lets somebody think again. */
function sure(title, text, yes) {
  at("ask-title").textContent = title;
  at("ask-text").textContent = text;
  at("ask-yes").textContent = yes;
  const dialog = at("ask");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

/** Does something. Returns whether it was done. */
async function act(path, body) {
  tell("");
  let done = true;
  try {
    await ask(path, { method: "POST", body });
  } catch (error) {
    done = false;
    tell(error.message);
  }
  look();
  return done;
}

async function kick(who) {
  const where = room;
  const text = `All sessions of ${who} leave ${where}. They may join again.`;
  if (await sure("Put out of the room?", text, "Kick")) await act(`/rooms/${part(where)}/kick`, { user: who });
}

async function disconnect(who) {
  const text = `All sessions of ${who} end, on all servers.`;
  if (await sure("Send the user away?", text, "Disconnect")) await act(`/users/${part(who)}/disconnect`, {});
}

async function drain({ node, counters }) {
  const [they, come] = counters.connections === 1 ? ["it waits", "comes"] : ["they wait", "come"];
  const text = `Server ${node} ends, as at SIGTERM. Its ${count(counters.connections, "connection")} ${come} back to other servers. Without other servers ${they} until it is started again.`;
  if ((await sure("End this server?", text, "Drain")) && (await act("/drain", { node }))) {
    tell(`Server ${node} ends. To look at the others, open this page at one of them.`);
  }
}
