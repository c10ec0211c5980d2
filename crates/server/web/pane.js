// One player: a client of its own, the arena, who is there, the chat, and what it costs.

import { keepOverReload } from "/sdk/reload.js";
import { Client } from "/sdk/roomcast.js";
import { Arena, colour } from "./arena.js";
import { Tally } from "./tally.js";
import { countingSocket } from "./traffic.js";
import { World } from "./world.js";

const WASD = { KeyW: "up", KeyA: "left", KeyS: "down", KeyD: "right", Space: "attack" };
const ARROWS = { ArrowUp: "up", ArrowLeft: "left", ArrowDown: "down", ArrowRight: "right", Enter: "attack" };
const CONTROLS = {
  wasd: { codes: WASD, shown: ["W", "A", "S", "D"], attack: "Space", said: "W, A, S and D move, space attacks" },
  arrows: { codes: ARROWS, shown: ["←", "↑", "↓", "→"], attack: "Enter", said: "the arrow keys move, enter attacks" },
  both: { codes: { ...WASD, ...ARROWS }, shown: ["W A S D", "← ↑ ↓ →"], attack: "Space", said: "the arrow keys or W, A, S and D move, space attacks" },
};
const LINES = 150; // of chat that are kept
const AWAY = 24 * 3_600_000; // a cable that is pulled stays out until somebody plugs it in
const PROBE = 7; // seconds between two looks at the round trip
const TYPING = 2_500; // milliseconds for which somebody is shown as typing

export class Pane {
  #client;
  #room;
  #nickname;
  #controls;
  #parts;
  #world;
  #arena;
  #tally = new Tally();
  #names = new Map(); // number of a player → nickname, of those who left as well
  #typing = new Map(); // number of a player → until when
  #membersChanged = true;
  #held = new Set(); // directions whose keys are down
  #traffic = { in: 0, inBytes: 0, out: 0, outBytes: 0 };
  #typingSent = 0;
  #seconds = 0; // since the connection
  #greeted = false;
  #pulled = false;

  /** Settles when this player is in the room, or was refused. */
  joined;

  /**
   * A player in `room`, drawn into `element`, steered by `controls`: "wasd", "arrows" or "both". It joins `after` others, so
   * that their numbers follow each other.
   */
  constructor(element, { room, nickname, controls, after }) {
    this.#nickname = nickname;
    const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
    const WebSocket = countingSocket((direction, bytes) => {
      if (this.#pulled) return; // nobody hears the old connection any more
      this.#traffic[direction] += 1;
      this.#traffic[`${direction}Bytes`] += bytes;
    });
    this.#client = keepOverReload(`player-${controls}`, (saved) => new Client(url, { WebSocket, saved }));
    this.#room = this.#client.room(room, { nickname, presence: document.hidden ? { away: true } : {} });
    this.#controls = CONTROLS[controls];
    this.#parts = findParts(element);
    this.#world = new World(
      (action, data) => this.#act(action, data),
      (kind, details) => this.#arena.effect(kind, details),
    );
    this.#arena = new Arena(this.#parts.canvas, this.#world, (num) => this.#nameOf(num), (num) => this.#member(num)?.connected !== false);
    this.#label(element);
    this.#listen();
    this.#wire();
    setInterval(() => this.#measure(), 1_000);
    this.joined = Promise.resolve(after)
      .then(() => this.#room.join())
      .catch((error) => this.#veil(`${error.message} (${error.code})`));
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
    this.#room.updatePresence({ away: hidden ? true : null });
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
    this.#room.action(action, data);
    // What an attack does comes with the next sync. That the others see it fly is worth a moment, not a place in the
    // room's log: an ephemeral event.
    if (action === "attack") this.#room.send("zap", data, { ephemeral: true, noEcho: true });
  }

  /** Says something: now or, without a connection, as soon as there is one again. */
  async #speak(text) {
    const line = element("p", "waiting", text);
    this.#parts.outbox.append(line);
    this.#parts.outbox.scrollTop = this.#parts.outbox.scrollHeight;
    try {
      await this.#room.chat(text);
    } catch (error) {
      this.#note(`not said: ${text} (${error.code})`, "bad");
    }
    line.remove();
  }

  #pullOrPlug() {
    this.#pulled = this.#client.status.state === "connected";
    if (this.#pulled) this.#client.pullCable(AWAY);
    else this.#client.wake();
  }

  #wire() {
    const { form, input, cable, attack } = this.#parts;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (text) this.#speak(text);
      input.value = "";
      this.#typingSent = 0;
    });
    input.addEventListener("input", () => {
      const now = performance.now();
      if (!input.value || now - this.#typingSent < TYPING / 2) return;
      this.#typingSent = now;
      this.#room.send("typing", undefined, { ephemeral: true, noEcho: true });
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#parts.canvas.focus();
    });
    attack.addEventListener("click", () => this.#attack());
    cable.addEventListener("click", () => this.#pullOrPlug());
  }

  // --- What the server says ---

  #listen() {
    const room = this.#room;
    this.#client.subscribe("status", (status) => this.#showStatus(status));
    room.subscribe("status", (status) => status === "joined" && this.#joined());
    room.subscribe("any", (event) => this.#happened(event));
    room.subscribe("members", () => (this.#membersChanged = true));
    room.subscribe("gap", () => {
      this.#tally.gap();
      this.#note("The server no longer has all that happened meanwhile", "bad");
    });
    room.subscribe("sync", (state) => {
      this.#world.sync(state, performance.now());
      this.#membersChanged = true;
    });
    room.subscribe("chat", (text, meta) => this.#heard(text, meta));
    room.subscribe("error", (error) => this.#refused(error));
    room.on("typing", (_, { player }) => {
      this.#typing.set(player, performance.now() + TYPING);
      this.#membersChanged = true;
      setTimeout(() => (this.#membersChanged = true), TYPING + 50);
    });
    room.on("zap", ({ target_id }, { player }) => {
      const [from, to] = [player, target_id].map((num) => this.#idOf(num));
      if (from && to) this.#arena.effect("zap", { from, to });
    });
  }

  #joined() {
    const { id, num, nickname } = this.#room.self;
    this.#parts.name.textContent = nickname ?? this.#nickname; // after a reload it is that of before
    this.#world.joined(id);
    this.#parts.pane.style.setProperty("--player", colour(num));
    this.#parts.pane.dataset.num = num;
    this.#parts.disc.textContent = num;
    this.#veil("");
    this.#note(this.#greeted ? "Back in the room" : `You are in ${this.#room.name}`);
    this.#greeted = true;
  }

  /** An event of the room: somebody came or went, or said something. */
  #happened(event) {
    this.#tally.take(event, event.from === this.#client.id);
    this.#count();
    const { player_id: id, player_num: num } = event.data ?? {};
    if (event.type === "player_joined" && id !== this.#world.selfId) this.#note(`${this.#nameOf(num)} came in`);
    if (event.type !== "player_left") return;
    this.#note(`${this.#nameOf(num)} left`);
    this.#world.left(id);
  }

  /** Somebody has spoken: a player, whom its number names, or a program of the application's backend. */
  #heard(said, { from, user, player, service, timestamp }) {
    const text = typeof said === "string" ? said : JSON.stringify(said);
    this.#typing.delete(player);
    this.#membersChanged = true;
    if (player) this.#arena.say(this.#idOf(player), text);
    const line = document.createElement("p");
    const name = element("b", "", player ? this.#nameOf(player) : service ? `Service ${service}` : "The room");
    name.style.setProperty("--player", player ? colour(player) : "var(--muted)");
    name.dataset.num = player ?? "";
    line.title = [player && `player ${player}`, user && `user ${user}`, from && `client ${from}`, new Date(timestamp).toLocaleTimeString()].filter(Boolean).join(", ");
    line.append(name, " ");
    if (user) line.append(verified(user), " ");
    line.append(text);
    this.#say(line);
  }

  #refused({ code, message }) {
    // An attack that comes too early or from too far, a step of somebody who is down: part of the game.
    if (["on_cooldown", "out_of_range", "target_not_found", "action_refused"].includes(code)) return;
    this.#note(`${message} (${code})`, "bad");
  }

  // --- What is shown ---

  /** A player's entry. Its number is of it alone, also where several clients of one user are one player. */
  #member(num) {
    return this.#room.members.find((member) => member.num === num);
  }

  #idOf(num) {
    return this.#member(num)?.id ?? [...this.#world.players.values()].find((player) => player.num === num)?.id;
  }

  #nameOf(num) {
    const nickname = this.#member(num)?.nickname;
    if (nickname) this.#names.set(num, nickname);
    return this.#names.get(num) ?? `Player ${num}`;
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

  #showStatus(status) {
    const { state } = status;
    this.#seconds = 0;
    if (state === "connected") this.#pulled = false;
    const { status: shown, cable } = this.#parts;
    shown.dataset.state = state;
    shown.textContent = this.#pulled ? "cable pulled" : state;
    cable.textContent = this.#pulled ? "Plug it in" : state === "reconnecting" ? "Connect now" : "Pull the cable";
    // Where the server has said how long to stay away, nobody comes earlier.
    cable.disabled = state === "closed" || state === "connecting" || Boolean(state === "reconnecting" && status.reason.retryAfterMs);
    if (state === "connected" && this.#greeted) this.#tally.back(this.#client.serverNow());
    if (state === "connecting") this.#veil("Connecting…");
    if (state === "reconnecting") this.#showWait(status);
    if (state === "closed") this.#veil(`The server closed the connection for good: ${status.reason.message} (${status.reason.code})`);
  }

  #showWait({ at, reason }) {
    const seconds = Math.ceil((at - Date.now()) / 1000);
    if (this.#pulled) this.#veil("The cable is out, and the others soon see it. Say something: it arrives when it is plugged in again.");
    else this.#veil(seconds > 0 ? `Connection lost (${reason.code}). Next try in ${seconds} s.` : "Reconnecting…");
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
    const rows = this.#room.members.map(({ id, num, presence, connected }) => {
      const mine = id === this.#world.selfId;
      const score = this.#world.players.get(id)?.score ?? 0;
      const state = !connected ? "offline" : this.#typing.get(num) > now ? "typing…" : presence.away ? "away" : mine ? "you" : "";
      return { id, num, name: this.#nameOf(num), state, score };
    });
    const more = Math.max(0, this.#room.total - rows.length);
    const shown = JSON.stringify([rows, more]);
    if (members.dataset.shown === shown) return; // most syncs change nobody's score
    members.dataset.shown = shown;
    count.textContent = this.#room.total;
    members.replaceChildren(...rows.map(memberRow), ...(more ? [element("li", "more", `and ${more} more`)] : []));
  }

  #measure() {
    const { in: received, out, inBytes, outBytes } = this.#traffic;
    this.#traffic = { in: 0, inBytes: 0, out: 0, outBytes: 0 };
    this.#figure("in-messages", received);
    this.#figure("in-bytes", bytes(inBytes));
    this.#figure("out-messages", out);
    this.#figure("out-bytes", bytes(outBytes));
    const { rtt, status } = this.#client;
    this.#figure("rtt", rtt === undefined ? "–" : rtt < 1 ? "< 1 ms" : `${Math.round(rtt)} ms`);
    // The SDK pings as often as the connection needs; a figure that people look at wants it more often.
    this.#seconds += 1;
    const due = this.#seconds <= 4 || this.#seconds % PROBE === 0;
    if (due && status.state === "connected") this.#client.wake();
    if (status.state === "reconnecting") this.#showWait(status);
  }

  #count() {
    for (const name of ["lost", "twice", "recovered"]) {
      const figure = this.#parts.figures.get(name);
      const number = this.#tally[name];
      figure.textContent = number;
      figure.dataset.count = number;
    }
  }

  #figure(name, text) {
    this.#parts.figures.get(name).textContent = text;
  }
}

function findParts(element) {
  const find = (selector) => element.querySelector(selector);
  return {
    pane: element,
    disc: find(".disc"),
    name: find(".name"),
    keys: find(".keys"),
    status: find(".status"),
    canvas: find("canvas"),
    attack: find(".attack"),
    veil: find(".veil"),
    hint: find(".hint"),
    cable: find(".cable"),
    members: find(".members"),
    count: find(".count"),
    log: find(".log"),
    outbox: find(".outbox"),
    form: find("form"),
    input: find("input"),
    figures: new Map([...element.querySelectorAll("[data-figure]")].map((part) => [part.dataset.figure, part])),
  };
}

function memberRow({ num, name, state, score }) {
  const row = element("li", "");
  row.style.setProperty("--player", colour(num));
  const disc = element("span", "disc", String(num));
  disc.title = `player ${num}`;
  row.append(disc, element("span", "who", name), element("span", "state", state));
  if (score) row.append(element("span", "score", String(score)));
  return row;
}

/** The user whom the sender's token names: nobody can pass for it. */
function verified(user) {
  const made = element("span", "verified", user);
  made.title = "The server has verified this user by a token";
  return made;
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
