// Four players in one room. Each is a client of its own; which node it is on is what the balancer says.

import { Client } from "/sdk/roomcast.js";
import { Tally } from "./tally.js";

const NAMES = ["Ada", "Bob", "Cleo", "Dan"];
const COLOURS = ["#ff6a4d", "#12b0c4", "#f0a21b", "#f0609c"];
const SHOWN = 20_000; // milliseconds of the strip
const EVERY = 500; // from one number of a player to its next
const LINES = 100; // of the log that are kept

const tab = Math.random().toString(36).slice(2, 8);
const room = `cluster:${tab}`;
const panes = [];
const order = (path) => fetch(path, { method: "POST" });

const make = (name, className, text = "") => Object.assign(document.createElement(name), { className, textContent: text });

class Pane {
  #parts;
  #room;
  #tally = new Tally();
  #dots = []; // what has arrived: when, and of whom
  #received = 0;
  #left = 0;
  #last = 0;
  #pause = 0;
  #number = 0;
  #node = "";

  constructor(place, balancer) {
    const pane = document.getElementById("pane").content.cloneNode(true).firstElementChild;
    const find = (selector) => pane.querySelector(selector);
    this.id = `${tab}-${place}`;
    this.#parts = {
      pane, status: find(".status"), node: find(".node"), strip: find("canvas"), moves: find(".moves"),
      kill: find(".kill"), log: find(".log"), form: find("form"),
    };
    find(".name").textContent = NAMES[place];
    pane.setAttribute("aria-label", NAMES[place]);
    pane.style.setProperty("--player", COLOURS[place]);
    document.getElementById("panes").append(pane);
    this.#orders();

    const client = new Client(`ws://${balancer}/ws?player=${this.id}`);
    client.subscribe("status", ({ state }) => {
      Object.assign(this.#parts.status, { textContent: state }).dataset.state = state;
    });
    this.#room = client.room(room, { nickname: NAMES[place] });
    this.#room.subscribe("any", (event) => this.#arrived(event, client.id));
    this.#room.subscribe("gap", () => this.#note("The server no longer has all that happened meanwhile"));
    this.#room.on("number", (_, { from }) => this.#dots.push({ at: performance.now(), place: this.#placeOf(from) }));
    this.#room.subscribe("chat", (text, { from }) => this.#said(NAMES[this.#placeOf(from)], text));
    this.joined = this.#room.join();
    this.joined.then(() => setInterval(() => this.#room.send("number", ++this.#number), EVERY));
  }

  /** The state of the cluster has changed. */
  show({ nodes, players }) {
    const node = players[this.id] ?? "";
    const { node: badge, moves, kill } = this.#parts;
    if (node) badge.dataset.node = node;
    else delete badge.dataset.node;
    badge.textContent = node ? `on node ${node}` : "on no node";
    if (this.#node !== node && node) this.#note(this.#node ? `Came to node ${node}, was on ${this.#node}` : `Came to node ${node}`);
    this.#node = node || this.#node;
    for (const [at, button] of [...moves.children].entries()) button.disabled = !node || nodes[at].name === node || nodes[at].state !== "running";
    kill.disabled = !node;
    kill.textContent = node ? `Kill node ${node}` : "Kill its node";
  }

  /** Draws what has arrived, the newest on the right. */
  draw(now) {
    const { strip, pane } = this.#parts;
    const { clientWidth: width, clientHeight: height } = strip;
    const scale = devicePixelRatio;
    if (strip.width !== Math.round(width * scale)) [strip.width, strip.height] = [Math.round(width * scale), Math.round(height * scale)];
    const pen = strip.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.strokeStyle = getComputedStyle(pane).getPropertyValue("--line");
    const lane = height / NAMES.length;
    for (let at = 0; at < NAMES.length; at++) {
      pen.beginPath();
      pen.moveTo(0, (at + 0.5) * lane);
      pen.lineTo(width, (at + 0.5) * lane);
      pen.stroke();
    }
    while (this.#dots[0]?.at < now - SHOWN) this.#dots.shift();
    for (const { at, place } of this.#dots) {
      pen.beginPath();
      pen.fillStyle = COLOURS[place] ?? "#888";
      pen.arc(width - 8 - ((now - at) / SHOWN) * width, (place + 0.5) * lane, 4, 0, 7);
      pen.fill();
    }
    this.#pauses(now);
  }

  #orders() {
    const { moves, kill, form } = this.#parts;
    for (const node of ["A", "B", "C"]) {
      const button = make("button", "", `Move to ${node}`);
      button.type = "button";
      button.onclick = () => order(`/move/${this.id}/${node}`);
      moves.append(button);
    }
    kill.onclick = () => order(`/kill/${this.#node}`);
    form.onsubmit = async (event) => {
      event.preventDefault();
      const text = form.text.value.trim();
      if (!text) return;
      form.text.value = "";
      const waits = this.#line(make("p", "waits", text));
      // Also without a connection: it arrives once there is one again.
      await this.#room.chat(text).catch((error) => this.#note(`not said: ${text} (${error.code})`));
      waits.remove();
    };
  }

  #placeOf(id) {
    return NAMES.indexOf(this.#room.members.find((member) => member.id === id)?.nickname);
  }

  #arrived(event, own) {
    this.#tally.take(event, event.from === own);
    this.#received += 1;
    this.#pauses(performance.now());
    this.#last = performance.now();
    if (event.type === "player_left") {
      this.#left += 1;
      this.#note("Somebody left");
    }
    const { lost, twice } = this.#tally;
    for (const [name, count] of Object.entries({ received: this.#received, lost, twice, left: this.#left })) this.#figure(name, count);
  }

  #pauses(now) {
    // Others come one after the other: the first moments are none.
    if (this.#received > 20) this.#pause = Math.max(this.#pause, now - this.#last);
    this.#figure("pause", this.#pause ? `${(this.#pause / 1000).toFixed(1)} s` : "–");
  }

  #figure(name, value) {
    const figure = this.#parts.pane.querySelector(`[data-figure="${name}"]`);
    if (figure.textContent === String(value)) return;
    figure.textContent = value;
    figure.dataset.count = value;
  }

  #said(name, text) {
    const line = make("p", "", "");
    line.append(make("b", "", name), ` ${typeof text === "string" ? text : JSON.stringify(text)}`);
    this.#line(line);
  }

  #note(text) {
    this.#line(make("p", "note", text));
  }

  #line(line) {
    const { log } = this.#parts;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
    log.append(line);
    while (log.childElementCount > LINES) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
    return line;
  }
}

function showNodes({ nodes }) {
  const rows = nodes.map(({ name, port, state }) => {
    const row = make("li", "");
    [row.dataset.node, row.dataset.state, row.title] = [name, state, `port ${port}`];
    row.append(make("b", "", `Node ${name}`), make("span", "", state));
    return row;
  });
  document.getElementById("nodes").replaceChildren(...rows);
}

new EventSource("/events").onmessage = ({ data }) => {
  const state = JSON.parse(data);
  if (!panes.length) NAMES.forEach((_, place) => panes.push(new Pane(place, state.balancer)));
  showNodes(state);
  for (const pane of panes) pane.show(state);
};

requestAnimationFrame(function frame(now) {
  for (const pane of panes) pane.draw(now);
  requestAnimationFrame(frame);
});
