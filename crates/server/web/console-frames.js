// The console's list of frames: one line each, all of it when it is opened.

const KEPT = 500;
const STATE = ["sync", "presence"];

export class Frames {
  #list;
  #empty;
  #total;
  #filter;
  #state;
  #rows = new Map(); // frame → its row
  #count = 0;
  #onReuse;

  /** `onReuse(message)` when somebody wants to send one again. */
  constructor({ list, empty, total, filter, state, clear }, onReuse) {
    this.#list = list;
    this.#empty = empty;
    this.#total = total;
    this.#filter = filter;
    this.#state = state;
    this.#onReuse = onReuse;
    filter.addEventListener("input", () => this.#hideAll());
    state.addEventListener("change", () => this.#hideAll());
    clear.addEventListener("click", () => this.clear());
  }

  /** Shows a frame, or what is new about one that is shown. */
  show(frame) {
    const known = this.#rows.get(frame);
    if (known) {
      known.querySelector(".answer").replaceWith(answerOf(frame));
      return;
    }
    this.#count += 1;
    this.#append(frame, this.#row(frame));
  }

  /** Shows a line that is no frame: the connection came or went. */
  note(text, kind = "note") {
    const row = element("li", kind, text);
    row.prepend(element("time", "", clock(Date.now())));
    this.#append({}, row);
  }

  clear() {
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#count = 0;
    this.#counted();
  }

  #append(frame, row) {
    const atEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 40;
    this.#rows.set(frame, row);
    row.hidden = !this.#fits(frame);
    this.#list.append(row);
    for (const [oldest, itsRow] of this.#rows) {
      if (this.#rows.size <= KEPT) break;
      itsRow.remove();
      this.#rows.delete(oldest);
    }
    this.#counted();
    if (atEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #counted() {
    this.#empty.hidden = this.#rows.size > 0;
    this.#total.textContent = this.#count === 0 ? "no frames" : this.#count === 1 ? "1 frame" : `${this.#count} frames`;
  }

  #hideAll() {
    for (const [frame, row] of this.#rows) row.hidden = !this.#fits(frame);
  }

  #fits({ message, data }) {
    if (data === undefined) return true;
    if (!this.#state.checked && STATE.includes(message?.type)) return false;
    const wanted = this.#filter.value.trim().toLowerCase();
    return !wanted || shown(message, data).toLowerCase().includes(wanted);
  }

  #row(frame) {
    const { sent, at, message, data } = frame;
    const row = element("li", sent ? "sent" : "received");
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    const arrow = element("span", "arrow", sent ? "↑" : "↓");
    arrow.setAttribute("aria-label", sent ? "sent" : "received");
    summary.append(
      element("time", "", clock(at)),
      arrow,
      element("b", message?.type === "error" ? "bad" : "", message?.type ?? "raw"),
      element("span", "place", message?.room_id ?? ""),
      ...speaker(message ?? {}),
      element("span", "says", says(message, data)),
      ...(message?.seq ? [element("span", "seq", `#${message.seq}`)] : []),
      ...(message?.offset ? [element("span", "offset", `@${message.offset}`)] : []),
      answerOf(frame),
      element("span", "size", `${size(data)} B`),
    );
    details.append(summary);
    // Filled when it is opened: most never are.
    details.addEventListener("toggle", () => details.childElementCount === 1 && this.#fill(details, frame));
    row.append(details);
    return row;
  }

  #fill(details, { sent, message, data }) {
    const pretty = message ? json(message, 2) : String(data);
    details.append(element("pre", "", pretty));
    if (typeof data !== "string") details.append(element("pre", "hex", hex(data)));
    if (sent && message) {
      const again = element("button", "quiet", "Into the editor");
      again.type = "button";
      again.addEventListener("click", () => this.#onReuse(message));
      details.append(again);
    }
  }
}

function answerOf({ answer }) {
  const kind = !answer ? "" : answer === "waiting" ? "wait" : answer.startsWith("acked") ? "good" : "bad";
  return element("span", `answer ${kind}`, answer);
}

/** What a message says, in a line. */
function says(message, data) {
  if (!message) return typeof data === "string" ? data : hex(data);
  const { payload, name } = message;
  if (message.type === "error") return `${payload.code}: ${payload.message}`;
  const text = payload === undefined ? "" : json(payload);
  return [name, text.length > 300 ? `${text.slice(0, 300)}…` : text].filter(Boolean).join(" ");
}

/** Who speaks, as the server says it: the user that a token names, or the client; and the player's number. */
function speaker({ from_user_id: user, from_client_id: client, from_player_num: num, from_service: service }) {
  const name = user || service || client;
  if (!name) return [];
  const made = element("span", user ? "speaker verified" : "speaker", !num ? name : user ? `${user} · ${num}` : `player ${num}`);
  const about = [user && `user ${user}, verified`, service && `service ${service}`, client && `client ${client}`, num && `player ${num}`];
  made.title = `from ${about.filter(Boolean).join(", ")}`;
  return [made];
}

function shown(message, data) {
  return message ? json(message) : typeof data === "string" ? data : hex(data);
}

function size(data) {
  return typeof data === "string" ? new TextEncoder().encode(data).length : data.byteLength;
}

/** A message as JSON has it; the Protobuf codec gives bytes where JSON has base64. */
function json(value, indent) {
  const bytes = (_, inner) => (inner instanceof Uint8Array ? btoa(String.fromCharCode(...inner)) : inner);
  return JSON.stringify(value, bytes, indent);
}

/** Bytes as people write them down. */
function hex(data) {
  return Array.from(new Uint8Array(data), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

function clock(time) {
  const date = new Date(time);
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export function element(name, className, text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
