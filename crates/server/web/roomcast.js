// Roomcast's protocol in one file, for reading as much as for using.
//
// A connection is one WebSocket at /ws. Without a subprotocol it carries JSON: each text frame is one message, an
// object with a `type`, mostly a `room_id`, and a `payload`:
//
//     you send      {"type":"hello","payload":{"version":1}}
//     you receive   {"type":"welcome","payload":{"client_id":"c1","ping_interval_ms":25000,…},"timestamp":…}
//     you send      {"type":"join_room","room_id":"room-1","payload":{"nickname":"Ada"}}
//     you receive   {"type":"joined","room_id":"room-1","payload":{"player_num":1,"members":[…],…},"timestamp":…}
//     everybody     {"type":"player_joined","room_id":"room-1","payload":{"player_id":"c1",…},"offset":1,…}
//     you send      {"type":"chat","room_id":"room-1","payload":"hello"}
//     everybody     {"type":"chat","room_id":"room-1","from_client_id":"c1","payload":"hello","offset":2,…}
//
// The server is silent until the first message, answers what it refuses with an `error`, and keeps the connection.

/** The version of the protocol that this file speaks. */
export const VERSION = 1;

/** The server's address, where a page came from that server. */
export function address() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}/ws`;
}

/**
 * Whether to connect again after a close with this code.
 *
 * Roomcast's own codes say it by their number: 4000-4499 come back, 4500-4999 don't. Of the WebSocket's codes those
 * that mean "you did something wrong, and would again" don't come back: 1002 protocol error, 1003 unsupported data,
 * 1007 invalid text, 1009 message too big. The rest (1001 going away, 1006 connection lost …) do.
 */
export function comesBack(code) {
  if (code >= 4500 && code <= 4999) return false;
  return ![1002, 1003, 1007, 1009].includes(code);
}

/**
 * How long to wait before try number `attempt` (0, 1, 2 …), in milliseconds.
 *
 * It doubles from half a second to fifteen, and half of it is random: when a server restarts, its clients must not
 * all come back in the same moment.
 */
export function backoff(attempt, random = Math.random) {
  const longest = Math.min(15_000, 500 * 2 ** attempt);
  return longest / 2 + (random() * longest) / 2;
}

/**
 * A client: connects, joins rooms, sends, receives, and comes back by itself.
 *
 *     const client = new Roomcast();
 *     client.on("chat", (message) => console.log(message.from_client_id, message.payload));
 *     client.join("room-1", { nickname: "Ada" });
 *     client.connect();
 *
 * `on` takes the type of any message that the server sends, and two names of this file's own: `status` (see
 * #status) and `traffic` (direction `in` or `out`, and bytes).
 */
export class Roomcast {
  #handlers = new Map();
  #rooms = new Map(); // room → what to join it with, and how far we have read it
  #pings = new Map(); // number of a ping → its start and whom to tell
  #pingNumber = 0;
  #url;
  #socket = null;
  #resumeToken = null;
  #attempt = 0;
  #timer = 0; // of the next try, or of the end that `reconnect` asked for
  #heartbeat = 0;
  #opened = 0; // when the connection opened
  #heard = 0; // when anything came last
  #planned = null; // when and where the server's `reconnect` asked us to come back

  /** Our id: what others see as `from_client_id` and, without auth, as `player_id`. Set by `welcome`. */
  clientId = null;
  /** The payload of the last `welcome`: the server's limits, its clock, the ping interval. */
  welcome = null;
  /** Whether messages can be sent: the WebSocket is open and the server has said `welcome`. */
  ready = false;

  constructor(url = address()) {
    this.#url = url;
  }

  /** Calls `handler` for each message of a type. Returns a function that ends it. */
  on(type, handler) {
    if (!this.#handlers.has(type)) this.#handlers.set(type, new Set());
    this.#handlers.get(type).add(handler);
    return () => this.#handlers.get(type).delete(handler);
  }

  /** Opens the WebSocket, and opens it again whenever it is lost, until `close`. */
  connect() {
    clearTimeout(this.#timer);
    this.#status("connecting");
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#opened = this.#heard = performance.now();
      // Nobody speaks before `hello`. A resume token, where the server gave one, asks for the session of before.
      const hello = { version: VERSION };
      if (this.#resumeToken) {
        hello.resume_token = this.#resumeToken;
        hello.positions = [...this.#rooms].flatMap(([room_id, { since }]) => (since ? [{ room_id, since }] : []));
      }
      this.#write({ type: "hello", payload: hello });
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#receive(data); // not what comes late from one that we gave up
    };
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#lost(code, reason);
    };
  }

  /** Ends the connection for good. */
  close() {
    const socket = this.#socket;
    this.#forgetConnection();
    socket?.close(1000);
    this.#status("closed", { code: 1000, reason: "" });
  }

  /** Closes the connection as a bad network would, and comes back. For trying what a drop is like. */
  drop(reason = "dropped by hand") {
    const socket = this.#socket;
    if (!socket) return;
    this.#lost(1006, reason);
    socket.close();
  }

  /** Tries again at once, if a try is being waited for. For when the device says that it is online again. */
  retryNow() {
    if (!this.#socket) this.connect();
  }

  /**
   * Joins a room, and joins it again after each reconnection. `details` may have `nickname` and `presence` (keys and
   * values that others see beside your name). The answer is a `joined`.
   */
  join(room, details = {}) {
    this.#rooms.set(room, { ...this.#rooms.get(room), details });
    if (this.ready) this.#sendJoin(room);
  }

  /** Leaves a room. */
  leave(room) {
    this.#rooms.delete(room);
    this.send("leave_room", { room_id: room });
  }

  /**
   * Does something in a game. In a room of mode `state`, `move` with a `position` and `attack` with a `target_id` (a
   * player's `player_num`) change your PlayerState, and the next `sync` shows it to all. Other actions go to the
   * room's logic or, if it doesn't know them, to everybody.
   */
  action(room, action, data = {}) {
    return this.send("game_action", { room_id: room, payload: { action, ...data } });
  }

  /** Says something to a room, or to one client (`to_client_id`). Comes back to the sender as well. */
  chat(room, text, envelope = {}) {
    return this.send("chat", { room_id: room, payload_kind: "text", payload: text, ...envelope });
  }

  /**
   * Sends an event with a name and any payload. `{ ephemeral: true }` marks one that is worth nothing later (typing, a
   * cursor): it isn't kept, and a slow reader goes without. `{ no_echo: true }` spares the sender its own.
   */
  event(room, name, payload, envelope = {}) {
    return this.send("event", { room_id: room, name, payload, ...envelope });
  }

  /** Sets keys of one's own entry in a room's list of members; null removes a key. All get a `presence`. */
  presence(room, keys) {
    const joined = this.#rooms.get(room);
    if (joined) joined.details = { ...joined.details, presence: merge(joined.details?.presence, keys) };
    return this.send("presence", { room_id: room, payload: { presence: keys } });
  }

  /** Asks for a page of a room's members, after a `player_num`. The answer is a `members`. */
  members(room, after = 0, limit = 100) {
    return this.send("members", { room_id: room, payload: { after, limit } });
  }

  /**
   * Measures the round trip: the server echoes a ping's payload in a `pong`. Resolves to milliseconds, or to null when
   * the connection ends first. (The WebSocket's own ping frames can't be seen by a script.)
   */
  ping() {
    const number = ++this.#pingNumber;
    return new Promise((resolve) => {
      this.#pings.set(number, { start: performance.now(), resolve });
      if (!this.send("ping", { payload: number })) this.#answerPing(number, false);
    });
  }

  /** Sends any message. Returns whether there was a connection to send it on: nothing is kept for later. */
  send(type, message = {}) {
    if (!this.ready) return false;
    this.#write({ type, ...message });
    return true;
  }

  // --- What the server says ---

  #receive(data) {
    this.#heard = performance.now();
    this.#emit("traffic", "in", utf8Length(data));
    const message = JSON.parse(data);

    // Events of a room are numbered. How far we have read is where we go on after a reconnection.
    const room = this.#rooms.get(message.room_id);
    if (room?.since && message.offset) room.since.offset = message.offset;

    switch (message.type) {
      case "welcome":
        this.#welcomed(message.payload);
        break;
      case "joined": {
        // Events after `offset` follow. `recovered` says whether what we missed is among them. What we read lies in an
        // `epoch`: a server that lost its log begins a new one.
        const { epoch, offset } = message.payload;
        if (room) room.since = { epoch, offset: offset ?? 0 };
        break;
      }
      case "pong":
        this.#answerPing(message.payload, true);
        break;
      case "reconnect": {
        // The server is about to go, and says when to come back and sometimes where. It closes, or we do.
        const { delay_ms: delay = 0, url } = message.payload;
        this.#planned = { at: performance.now() + delay, url };
        this.#timer = setTimeout(() => this.drop("asked to reconnect"), delay);
        break;
      }
    }
    this.#emit(message.type, message);
  }

  #welcomed(welcome) {
    this.clientId = welcome.client_id;
    this.welcome = welcome;
    this.#resumeToken = welcome.resume_token || null;
    this.ready = true;
    this.#status("open");
    // A resumed session is still in its rooms, and the server sends a `joined` for each.
    if (!welcome.resumed) for (const room of this.#rooms.keys()) this.#sendJoin(room);
    this.#startHeartbeat(welcome.ping_interval_ms || 25_000);
  }

  #sendJoin(room) {
    const { details, since } = this.#rooms.get(room);
    const payload = { ...details };
    if (since?.epoch) payload.since = since;
    this.send("join_room", { room_id: room, payload });
  }

  // A connection can die without a word. So we ping, and when two intervals pass in silence we hang up ourselves.
  #startHeartbeat(interval) {
    clearInterval(this.#heartbeat);
    this.#heartbeat = setInterval(() => {
      if (performance.now() - this.#heard > 2 * interval) {
        this.drop("heard nothing");
      } else {
        this.ping();
      }
    }, interval);
  }

  // --- Losing the connection, and coming back ---

  #lost(code, reason) {
    const planned = this.#planned;
    // One that held for a while starts the series of waits anew; one that broke at once goes on with it.
    if (this.ready && performance.now() - this.#opened > 5_000) this.#attempt = 0;
    this.#forgetConnection();
    if (!comesBack(code)) {
      this.#status("closed", { code, reason });
      return;
    }
    if (planned?.url) this.#url = planned.url;
    // The server may say how long to wait: in `reconnect`, or in the reason, as "slow_reader; retry_after_ms=1000".
    const hint = Number(/retry_after_ms=(\d+)/.exec(reason)?.[1] ?? 0);
    const asked = planned ? planned.at - performance.now() : hint;
    const wait = Math.max(0, asked) + backoff(this.#attempt++);
    this.#status("waiting", { code, reason, wait });
    this.#timer = setTimeout(() => this.connect(), wait);
  }

  #forgetConnection() {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    this.#socket = null;
    this.ready = false;
    this.#planned = null;
    for (const number of [...this.#pings.keys()]) this.#answerPing(number, false);
  }

  #answerPing(number, answered) {
    const ping = this.#pings.get(number);
    this.#pings.delete(number);
    ping?.resolve(answered ? performance.now() - ping.start : null);
  }

  // --- Helpers ---

  #write(message) {
    const text = JSON.stringify(message);
    this.#socket.send(text);
    this.#emit("traffic", "out", utf8Length(text));
  }

  // `state` is "connecting", "open", "waiting" (for the next try, in `wait` milliseconds) or "closed" (for good).
  // The latter two have the close code and reason.
  #status(state, details = {}) {
    this.#emit("status", { state, ...details });
  }

  #emit(type, ...values) {
    for (const handler of this.#handlers.get(type) ?? []) handler(...values);
  }
}

/** `current` with the keys of `update` set, and those that are null removed. What the server does with `presence`. */
function merge(current, update) {
  const merged = { ...current, ...update };
  for (const key of Object.keys(merged)) if (merged[key] === null) delete merged[key];
  return merged;
}

const encoder = new TextEncoder();
const utf8Length = (text) => encoder.encode(text).length;
