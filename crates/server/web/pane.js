// One player: a connection of its own, the arena, who is there, the chat, and what it costs.

import { Arena, colour } from "./arena.js";
import { Roomcast } from "./roomcast.js";
import { World } from "./world.js";

const WASD = { KeyW: "up", KeyA: "left", KeyS: "down", KeyD: "right", Space: "attack" };
const ARROWS = { ArrowUp: "up", ArrowLeft: "left", ArrowDown: "down", ArrowRight: "right", Enter: "attack" };
const CONTROLS = {
  wasd: { codes: WASD, shown: ["W", "A", "S", "D"], attack: "Space", said: "W, A, S and D move, space attacks" },
  arrows: { codes: ARROWS, shown: ["←", "↑", "↓", "→"], attack: "Enter", said: "the arrow keys move, enter attacks" },
  both: { codes: { ...WASD, ...ARROWS }, shown: ["W A S D", "← ↑ ↓ →"], attack: "Space", said: "the arrow keys or W, A, S and D move, space attacks" },
};
const LINES = 150; // of chat that are kept
const TYPING = 2_500; // milliseconds for which somebody is shown as typing

export class Pane {
  #room;
  #nickname;
  #controls;
  #parts;
  #client = new Roomcast();
  #world;
  #arena;
  #members = new Map(); // player_id → what the server says of a member, and until when they are typing
  #total = 0;
  #membersChanged = true;
  #held = new Set(); // directions whose keys are down
  #traffic = { in: 0, inBytes: 0, out: 0, outBytes: 0 };
  #roundTrips = [];
  #typingSent = 0;
  #greeted = false;
  #waitEnds = 0;

  /** A player in `room`, drawn into `element`, steered by `controls`: "wasd", "arrows" or "both". */
  constructor(element, { room, nickname, controls }) {
    this.#room = room;
    this.#nickname = nickname;
    this.#controls = CONTROLS[controls];
    this.#parts = findParts(element);
    this.#world = new World(
      (action, data) => this.#act(action, data),
      (kind, details) => this.#arena.effect(kind, details),
    );
    this.#arena = new Arena(this.#parts.canvas, this.#world, (id) => this.#nameOf(id));
    this.#label(element);
    this.#listen();
    this.#wire();
    setInterval(() => this.#measure(), 1_000);
    this.#client.join(room, { nickname, presence: document.hidden ? { away: true } : {} });
    this.#client.connect();
  }

  /** Draws a frame. */
  frame(seconds, now) {
    this.#world.step(seconds, now, this.#direction());
    this.#arena.draw(now);
    if (this.#membersChanged) this.#showMembers(now);
    if (this.#world.moved) this.#parts.hint.hidden = true;
  }

  /** Takes a key that went down or up. Returns whether it was one of ours. */
  key(code, down, repeated) {
    const meaning = this.#controls.codes[code];
    if (!meaning) return false;
    if (meaning === "attack") {
      if (down && !repeated) this.#attack();
    } else if (down) this.#held.add(meaning);
    else this.#held.delete(meaning);
    return true;
  }

  /** Lets go of all keys: the window lost the focus, and their release will not be seen. */
  release() {
    this.#held.clear();
  }

  /** Tells the others whether anybody is looking at this page. */
  away(hidden) {
    this.#client.presence(this.#room, { away: hidden ? true : null });
  }

  /** Tries to connect at once, as the device is online again. */
  online() {
    this.#client.retryNow();
  }

  // --- What the player does ---

  #direction() {
    const { hand } = this.#arena;
    const pressed = (one, other) => Number(this.#held.has(one)) - Number(this.#held.has(other));
    return { x: hand.x + pressed("right", "left"), y: hand.y + pressed("down", "up") };
  }

  #attack() {
    if (!this.#world.attackNearest()) this.#arena.effect("miss", { id: this.#world.selfId });
  }

  #act(action, data) {
    this.#client.action(this.#room, action, data);
    // What an attack does comes with the next sync. That the others see it fly is worth a moment, not a place in the
    // room's log: an ephemeral event.
    if (action === "attack") this.#client.event(this.#room, "zap", data, { ephemeral: true, no_echo: true });
  }

  #wire() {
    const { form, input, drop, attack } = this.#parts;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (text && this.#client.chat(this.#room, text)) input.value = "";
      this.#typingSent = 0;
    });
    input.addEventListener("input", () => {
      const now = performance.now();
      if (!input.value || now - this.#typingSent < TYPING / 2) return;
      this.#typingSent = now;
      this.#client.event(this.#room, "typing", null, { ephemeral: true, no_echo: true });
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#parts.canvas.focus();
    });
    attack.addEventListener("click", () => this.#attack());
    drop.addEventListener("click", () => {
      if (this.#client.ready) this.#client.drop();
      else this.#client.retryNow();
    });
  }

  // --- What the server says ---

  #listen() {
    const client = this.#client;
    client.on("status", (status) => this.#showStatus(status));
    client.on("traffic", (direction, bytes) => {
      this.#traffic[direction] += 1;
      this.#traffic[`${direction}Bytes`] += bytes;
    });
    client.on("joined", ({ payload }) => this.#joined(payload));
    client.on("player_joined", ({ payload }) => {
      const known = this.#members.has(payload.player_id);
      this.#setMember(payload);
      if (known || payload.player_id === this.#world.selfId) return;
      this.#total += 1;
      this.#note(`${this.#nameOf(payload.player_id)} came in`);
    });
    client.on("player_left", ({ payload }) => {
      if (this.#members.has(payload.player_id)) this.#note(`${this.#nameOf(payload.player_id)} left`);
      this.#members.delete(payload.player_id);
      this.#world.left(payload.player_id);
      this.#total = Math.max(0, this.#total - 1);
      this.#membersChanged = true;
    });
    client.on("presence", ({ payload }) => {
      if (payload.player_id) this.#setMember(payload);
      else this.#total = payload.total ?? this.#total;
      this.#membersChanged = true;
    });
    client.on("sync", ({ payload }) => {
      this.#world.sync(payload, performance.now());
      this.#membersChanged = true;
    });
    client.on("chat", (message) => this.#heard(message));
    client.on("event", (message) => this.#event(message));
    client.on("error", ({ payload }) => this.#refused(payload));
  }

  #joined(joined) {
    this.#members.clear();
    for (const member of joined.members ?? []) this.#setMember(member);
    this.#total = joined.total ?? this.#members.size;
    this.#world.joined(joined.player_id || this.#client.clientId);
    this.#parts.pane.style.setProperty("--player", colour(joined.player_num));
    this.#parts.pane.dataset.num = joined.player_num;
    this.#veil("");
    this.#note(this.#greeted ? "Back in the room" : `You are in ${this.#room}`);
    this.#greeted = true;
  }

  #setMember({ player_id, ...member }) {
    member.typing = this.#members.get(player_id)?.typing ?? 0;
    this.#members.set(player_id, member);
    this.#membersChanged = true;
  }

  #heard({ from_client_id: from, payload, timestamp }) {
    const text = typeof payload === "string" ? payload : JSON.stringify(payload);
    const member = this.#members.get(from);
    if (member) member.typing = 0;
    this.#membersChanged = true;
    this.#arena.say(from, text);
    const line = document.createElement("p");
    const name = document.createElement("b");
    name.textContent = this.#nameOf(from);
    name.style.setProperty("--player", colour(member?.player_num ?? 0));
    line.title = new Date(timestamp).toLocaleTimeString();
    line.append(name, " ", text);
    this.#say(line);
  }

  #event({ name, from_client_id: from, payload }) {
    const member = this.#members.get(from);
    if (!member) return;
    if (name === "typing") {
      member.typing = performance.now() + TYPING;
      this.#membersChanged = true;
      setTimeout(() => (this.#membersChanged = true), TYPING + 50);
    } else if (name === "zap") {
      const target = [...this.#world.players.values()].find((player) => player.num === payload?.target_id);
      if (target) this.#arena.effect("zap", { from, to: target.id });
    }
  }

  #refused({ code, message, request }) {
    if (request === "join_room") this.#veil(`${message} (${code})`);
    // An attack that comes too early or from too far, a step of somebody who is down: part of the game.
    if (["on_cooldown", "out_of_range", "target_not_found", "action_refused"].includes(code)) return;
    this.#note(`${message} (${code})`, "bad");
  }

  // --- What is shown ---

  #nameOf(id) {
    const member = this.#members.get(id);
    return member?.nickname || `Player ${member?.player_num ?? this.#world.players.get(id)?.num ?? "?"}`;
  }

  #label(element) {
    const { name, keys, canvas, hint, input, attack } = this.#parts;
    const { shown, attack: attackKey, said } = this.#controls;
    element.setAttribute("aria-label", this.#nickname);
    name.textContent = this.#nickname;
    input.setAttribute("aria-label", `Say something as ${this.#nickname}`);
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", `Arena: ${said}. A drag steers, a tap walks there or attacks whom it touches.`);
    keys.replaceChildren(...[...shown, attackKey].map(kbd));
    const touch = matchMedia("(pointer: coarse)").matches;
    attack.hidden = !touch;
    hint.textContent = touch ? "Drag to walk, tap somebody to attack" : `${shown.join(" ")} to walk, ${attackKey} to attack, or drag and tap`;
  }

  #showStatus({ state, code, reason, wait }) {
    const { status, drop } = this.#parts;
    status.dataset.state = state;
    drop.textContent = { open: "Cut connection", waiting: "Connect now" }[state] ?? "Connect";
    drop.disabled = state === "connecting";
    this.#waitEnds = state === "waiting" ? performance.now() + wait : 0;
    status.textContent = { open: "connected", connecting: "connecting", waiting: "reconnecting", closed: "closed" }[state];
    if (state === "connecting") this.#veil(this.#greeted ? "Reconnecting…" : "Connecting…");
    if (state === "waiting") this.#showWait();
    if (state === "closed") this.#veil(`The server closed the connection for good: ${reason || "no reason given"} (${code})`);
    if (state === "waiting" || state === "closed") {
      this.#parts.pane.dataset.lost = code;
      this.#roundTrips = [];
      this.#showRoundTrip(null);
    }
  }

  #showWait() {
    const seconds = Math.max(1, Math.ceil((this.#waitEnds - performance.now()) / 1000));
    this.#veil(`Connection lost. Next try in ${seconds} s.`);
  }

  #veil(text) {
    const { veil } = this.#parts;
    veil.textContent = text;
    veil.hidden = !text;
  }

  #note(text, kind = "note") {
    const line = document.createElement("p");
    line.className = kind;
    line.textContent = text;
    this.#say(line);
  }

  #say(line) {
    const { log } = this.#parts;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
    log.append(line);
    while (log.childElementCount > LINES) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  #showMembers(now) {
    this.#membersChanged = false;
    const { members, count } = this.#parts;
    const sorted = [...this.#members].sort(([, a], [, b]) => a.player_num - b.player_num);
    const rows = sorted.map(([id, member]) => {
      const mine = id === this.#world.selfId;
      const score = this.#world.players.get(id)?.score ?? 0;
      const lost = member.connected === false;
      const state = lost ? "offline" : member.typing > now ? "typing…" : member.presence?.away ? "away" : mine ? "you" : "";
      return { id, num: member.player_num, name: this.#nameOf(id), state, score };
    });
    const more = Math.max(0, this.#total - rows.length);
    const shown = JSON.stringify([rows, more]);
    if (members.dataset.shown === shown) return; // most syncs change nobody's score
    members.dataset.shown = shown;
    count.textContent = this.#total;
    members.replaceChildren(...rows.map(memberRow), ...(more ? [element("li", "more", `and ${more} more`)] : []));
  }

  async #measure() {
    const { in: received, out, inBytes, outBytes } = this.#traffic;
    this.#traffic = { in: 0, inBytes: 0, out: 0, outBytes: 0 };
    this.#figure("in-messages", received);
    this.#figure("in-bytes", bytes(inBytes));
    this.#figure("out-messages", out);
    this.#figure("out-bytes", bytes(outBytes));
    if (this.#waitEnds) this.#showWait();
    if (this.#client.ready) this.#showRoundTrip(await this.#client.ping());
  }

  #showRoundTrip(milliseconds) {
    if (milliseconds !== null) {
      this.#roundTrips.push(milliseconds);
      if (this.#roundTrips.length > 30) this.#roundTrips.shift();
    }
    const shown = milliseconds === null ? "–" : `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
    this.#figure("rtt", shown);
    const most = Math.max(4, ...this.#roundTrips);
    const first = 30 - this.#roundTrips.length;
    const points = this.#roundTrips.map((value, index) => `${(first + index) * (60 / 29)},${19 - (value / most) * 17}`);
    this.#parts.spark.setAttribute("points", points.join(" "));
  }

  #figure(name, text) {
    this.#parts.figures.get(name).textContent = text;
  }
}

function findParts(element) {
  const find = (selector) => element.querySelector(selector);
  return {
    pane: element,
    name: find(".name"),
    keys: find(".keys"),
    status: find(".status"),
    canvas: find("canvas"),
    attack: find(".attack"),
    veil: find(".veil"),
    hint: find(".hint"),
    drop: find(".drop"),
    members: find(".members"),
    count: find(".count"),
    log: find(".log"),
    form: find("form"),
    input: find("input"),
    spark: find("polyline"),
    figures: new Map([...element.querySelectorAll("[data-figure]")].map((part) => [part.dataset.figure, part])),
  };
}

function memberRow({ num, name, state, score }) {
  const row = element("li", "");
  row.style.setProperty("--player", colour(num));
  row.append(element("span", "disc"), element("span", "who", name), element("span", "state", state));
  if (score) row.append(element("span", "score", String(score)));
  return row;
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function kbd(text) {
  return element("kbd", "", text);
}

function bytes(count) {
  return count < 1000 ? `${count} B/s` : `${(count / 1000).toFixed(1)} kB/s`;
}
