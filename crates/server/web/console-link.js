// The console's connection: one WebSocket in either format, and what the protocol wants remembered: the session, how far
// each room has been read, which numbers wait for an answer. Nothing is sent but what the page says.

import { protobuf } from "/sdk/protobuf.js";

/** After these an error's message may be sent again with the same number. */
const AGAIN = ["unavailable", "rate_limited", "too_many_unanswered", "seq_gap"];

export class Link {
  /** The payload of the last `welcome`. */
  welcome = null;
  /** What is known of each room, and under "" of direct messages. */
  rooms = new Map();
  /** The last round trip in milliseconds. */
  roundTrip = null;
  #socket = null;
  #format = "json";
  #pings = new Map(); // payload of a ping → when it was sent
  #onFrame;
  #onStatus;

  /** `onFrame(frame)` for each frame, and again when its answer came; `onStatus({ state, code, reason })`. */
  constructor(onFrame, onStatus) {
    this.#onFrame = onFrame;
    this.#onStatus = onStatus;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  get format() {
    return this.#format;
  }

  /** Opens the WebSocket. `first` is sent as soon as it is open, where there is one. */
  open(format, first) {
    this.#format = format;
    const subprotocol = format === "json" ? "gameproto.v1.json" : protobuf.subprotocol;
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, subprotocol);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#pings.clear();
    this.#onStatus({ state: "connecting" });
    socket.onopen = () => {
      this.#onStatus({ state: "open" });
      if (first) this.send(first);
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#onStatus({ state: "closed", code, reason });
    };
  }

  /** 1000 ends the session, any other code leaves it waiting for its client. */
  close(code, reason) {
    this.#socket?.close(code, reason);
  }

  /** Sends a message, in the connection's format. Throws on one that Protobuf can't say. */
  send(message) {
    const data = this.#format === "json" ? JSON.stringify(message) : protobuf.encode(message);
    const room = this.#room(message);
    if (message.seq) {
      room.next = Math.max(room.next, message.seq + 1);
    }
    if (message.type === "ping") this.#pings.set(JSON.stringify(message.payload), performance.now());
    this.#write(data, message, room);
  }

  /** Sends text or bytes that need not be a message. */
  sendRaw(data) {
    this.#write(data, null, null);
  }

  /** The next number for messages like this one. */
  nextSeq(message) {
    return this.#room(message).next;
  }

  /** The `hello` for this moment. */
  hello({ resume, token }) {
    const payload = { version: 1 };
    if (token) payload.token = token;
    if (!resume || !this.welcome?.resume_token) return { type: "hello", payload };
    payload.resume_token = this.welcome.resume_token;
    payload.positions = [...this.rooms].flatMap(([room_id, room]) => (room.epoch && room_id ? [{ room_id, ...this.position(room_id) }] : []));
    const direct = this.rooms.get("");
    if (direct?.epoch) payload.inbox = { epoch: direct.epoch, offset: direct.offset };
    if (direct) payload.first_direct_seq = firstUnanswered(direct);
    return { type: "hello", payload };
  }

  /** Where a room was read to, and the first number without an answer: for `hello` and `join_room`. */
  position(name) {
    const room = this.rooms.get(name);
    if (!room?.epoch) return {};
    return { since: { epoch: room.epoch, offset: room.offset }, first_seq: firstUnanswered(room) };
  }

  #write(data, message, room) {
    const frame = { sent: true, at: Date.now(), message, data, answer: "" };
    this.#socket.send(data);
    if (message?.seq) {
      room.waiting.set(message.seq, frame);
      frame.answer = "waiting";
    }
    this.#onFrame(frame);
  }

  #receive(data) {
    const frame = { sent: false, at: Date.now(), message: null, data, answer: "" };
    try {
      frame.message = this.#format === "json" ? JSON.parse(data) : protobuf.decode(data);
    } catch (error) {
      frame.answer = String(error.message);
    }
    if (frame.message) this.#take(frame.message);
    this.#onFrame(frame);
  }

  #take(message) {
    const { type, payload } = message;
    const place = message.room_id ?? "";
    if (message.offset && this.rooms.has(place)) this.rooms.get(place).offset = message.offset;
    if (type === "welcome") this.#welcomed(payload);
    if (type === "joined") {
      const room = this.#room(message);
      Object.assign(room, { epoch: payload.epoch, offset: payload.offset, total: payload.total, me: payload.player_id, num: payload.player_num });
    }
    if (type === "player_left" && this.rooms.get(place)?.me === payload.player_id) Object.assign(this.rooms.get(place), { epoch: "", offset: 0, total: 0 }); // numbers go on
    else if (type === "player_left" || type === "player_joined") this.#counted(place, message);
    if (type === "presence" && payload.total !== undefined && this.rooms.has(place)) this.rooms.get(place).total = payload.total;
    if (type === "pong") this.#ponged(payload);
    if (type === "ack") for (const { seq, offset } of payload.acks) this.#answered(place, seq, offset ? `acked, @${offset}` : "acked", true);
    if (type === "error" && payload.seq) this.#answered(place, payload.seq, payload.code, !AGAIN.includes(payload.code));
  }

  #welcomed(welcome) {
    // Numbers belong to a client_id, positions to a session.
    if (welcome.client_id !== this.welcome?.client_id) this.rooms.clear();
    else if (!welcome.resumed) for (const room of this.rooms.values()) Object.assign(room, { epoch: "", offset: 0 });
    this.welcome = welcome;
    if (welcome.inbox) Object.assign(this.#room({}), welcome.inbox);
  }

  #counted(place, { type, payload }) {
    const room = this.rooms.get(place);
    if (room && payload.player_id !== room.me) room.total += type === "player_joined" ? 1 : -1;
  }

  #answered(place, seq, answer, final) {
    const waiting = this.rooms.get(place)?.waiting;
    const frame = waiting?.get(seq);
    if (!frame) return;
    if (final) waiting.delete(seq);
    frame.answer = answer;
    this.#onFrame(frame);
  }

  #ponged(payload) {
    const key = JSON.stringify(payload);
    const sent = this.#pings.get(key);
    this.#pings.delete(key);
    if (sent) this.roundTrip = performance.now() - sent;
  }

  #room({ room_id, to_client_id, to_user_id }) {
    const name = to_client_id || to_user_id ? "" : (room_id ?? "");
    if (!this.rooms.has(name)) this.rooms.set(name, { epoch: "", offset: 0, total: 0, me: "", next: 1, waiting: new Map() });
    return this.rooms.get(name);
  }
}

function firstUnanswered({ waiting, next }) {
  return Math.min(next, ...waiting.keys());
}
