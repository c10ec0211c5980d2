// A room's live tail.

import { listen } from "./api.js";
import { count, element } from "./tables.js";

/** Lines that are shown. */
const MOST = 300;
/** Characters of one. */
const LONGEST = 2000;

export class Tail {
  #list;
  #told;
  #button;
  #fail;
  #end;

  constructor({ list, told, button, fail }) {
    [this.#list, this.#told, this.#button, this.#fail] = [list, told, button, fail];
  }

  get isOn() {
    return this.#end !== undefined;
  }

  async start(room) {
    this.stop();
    const end = new AbortController();
    this.#end = end;
    this.#list.replaceChildren();
    this.#say("Listening. Nothing has been said yet.");
    this.#show();
    try {
      await listen(room, (event) => this.#hear(event), end.signal);
    } catch (error) {
      if (this.#end === end && error.name !== "AbortError") this.#fail(error);
    } finally {
      if (this.#end === end) this.stop();
    }
  }

  stop() {
    this.#end?.abort();
    this.#end = undefined;
    this.#show();
  }

  clear() {
    this.stop();
    this.#list.replaceChildren();
    this.#say("Nothing is shown until you listen. It shows what members write, and the audit log says who has listened.");
  }

  #hear({ event = "message", data }) {
    if (event === "listening") return;
    const isAtEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 40;
    this.#list.append(event === "message" ? message(data) : element("li", { className: "gap", text: gap(event, data) }));
    while (this.#list.children.length > MOST) this.#list.firstChild.remove();
    this.#told.hidden = true;
    if (isAtEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #say(text) {
    this.#told.textContent = text;
    this.#told.hidden = false;
  }

  #show() {
    this.#button.textContent = this.isOn ? "Stop" : "Listen";
    this.#button.setAttribute("aria-pressed", String(this.isOn));
  }
}

function message(data) {
  let told = {};
  try {
    told = JSON.parse(data);
  } catch {
    // Numbers and texts that this browser can't read: shown as they are.
  }
  const name = told.from_service ?? told.from_user_id ?? told.from_client_id ?? "";
  const who = [name, told.from_player_num].filter(Boolean).join(" · ");
  const time = told.timestamp ? new Date(told.timestamp).toLocaleTimeString() : "";
  const text = told.payload === undefined ? "" : JSON.stringify(told.payload);
  return element(
    "li",
    {},
    element("time", { text: time }),
    element("b", { text: [told.type, told.name].filter(Boolean).join(" ") || "message" }),
    element("i", { text: who, title: told.from_user_id ? "A user whom a token names, and the player's number" : "" }),
    element("code", { text: (text || data).slice(0, LONGEST) }),
  );
}

function gap(event, data) {
  if (event !== "missed") return "the room can't be listened to any more";
  const { messages } = JSON.parse(data);
  return messages ? `${count(messages, "message")} ${messages === 1 ? "was" : "were"} not read in time` : "the room has moved: some messages may be missing";
}
