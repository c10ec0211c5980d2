import { Channel } from "./channel.js";
import { Connection } from "./connection.js";
import { RoomcastError } from "./errors.js";
import { keepOverReload } from "./reload.js";
import { Room } from "./room.js";
import type {
  AnyApp, ChatOf, ClientEnvelope, ClientOptions, ClientSignals, EventsOf, KindOf, PresenceOf, Receipt, Recipient,
  RoomOptions, SendOptions, ServerEnvelope, Stats, Status, WelcomePayload,
} from "./types.js";

/** The kind of direct messages. */
type Direct<App> = KindOf<App, "$direct:">;

const address = (to: Recipient) =>
  "user" in to ? { to_user_id: to.user } : { to_client_id: to.client };

/**
 * A session with a server, over one connection at a time. App names what is said in rooms of each kind.
 *
 * Making one does no I/O and touches no global: the first join or message connects, or `connect`.
 */
export class Client<App = AnyApp> extends Channel<Direct<App>, ClientSignals<Direct<App>>> {
  /** The session's id; empty before the first connection. */
  id = "";
  /** Counters since the client was made. */
  readonly stats: Stats = { reconnects: 0, recovered: 0, gaps: 0, repeats: 0, resent: 0 };
  /** @internal */
  _client = this;
  /** @internal */
  _link: Connection;
  /** @internal Bytes of messages that wait. */
  _bytes = 0;
  /** @internal */
  _outboxBytes: number;
  /** @internal */
  _rooms = new Map<string, Room<any>>();
  /** @internal */
  _resumeToken: string | undefined;
  /** @internal The next number in rooms of a page before this one. */
  _seqs: Record<string, number> = {};
  private _cleanUp: (() => void) | undefined;

  /** @param url `ws:` or `wss:`, with the path `/ws` */
  constructor(
    url: string,
    private _options: ClientOptions = {},
  ) {
    super();
    this._link = new Connection(url, _options, this);
    this._outboxBytes = _options.outboxBytes ?? 1 << 20;
  }

  /** How it stands with the connection: another object after each change. */
  get status(): Status {
    return this._link._status;
  }

  /** The median of the last round trips in milliseconds. */
  get rtt(): number | undefined {
    return this._link._clock._rtt();
  }

  /** The server's clock in milliseconds since the Unix epoch, as the quickest of the last answers told it. */
  serverNow(): number {
    return this._link._clock._serverNow(Date.now());
  }

  /** A room's handle: the same one for the same name. Does no I/O. Options of a later call replace those before. */
  room<N extends string>(name: N, options: RoomOptions<PresenceOf<KindOf<App, N>>> = {}): Room<KindOf<App, N>> {
    let room = this._rooms.get(name);
    if (!room) {
      this._rooms.set(name, (room = new Room(this, name)));
      room._outbox._nextSeq = this._seqs[name] ?? 1;
    }
    Object.assign(room._options, options);
    if (options.presence) room.updatePresence(options.presence);
    return room;
  }

  /** Connects, if nothing did yet. */
  connect(): void {
    if (this.status.state != "idle") return;
    const globals: any = globalThis;
    const wake = () => globals.document?.visibilityState == "hidden" || this.wake();
    globals.addEventListener?.("online", wake);
    globals.document?.addEventListener("visibilitychange", wake);
    const forget = this._options.sessionKey ? keepOverReload(this, this._options.sessionKey) : undefined;
    this._cleanUp = () => {
      globals.removeEventListener?.("online", wake);
      globals.document?.removeEventListener("visibilitychange", wake);
      forget?.();
    };
    void this._link._connect();
  }

  /**
   * The network or the screen is back: connects at once, or sees whether the connection is alive. Browsers say so by
   * themselves; in React Native call it when the app becomes active.
   */
  wake(): void {
    this._link._wake();
  }

  /** Sends an event to one session or one user. Direct messages wait for each other, whomever they are for. */
  direct<N extends keyof EventsOf<Direct<App>> & string>(
    to: Recipient,
    event: N,
    data?: EventsOf<Direct<App>>[N],
    options?: SendOptions,
  ): Promise<Receipt> {
    return this._send("event", { name: event, ...address(to) }, data, options);
  }

  /** Sends a chat message to one session or one user. */
  chat(to: Recipient, data: ChatOf<Direct<App>>, options?: SendOptions): Promise<Receipt> {
    return this._send("chat", address(to), data, options);
  }

  /**
   * For tests and demos: drops the connection as a pulled cable does, without a word to the server, and stays away for
   * so many milliseconds; without a number as long as after any lost connection.
   */
  pullCable(offlineMs?: number): void {
    this._link._pullCable(offlineMs);
  }

  /** Says goodbye: the session ends, and all that waits is rejected. */
  close(): void {
    this._link._end(new RoomcastError("closed"));
  }

  /** @internal */
  override _blocked(): undefined {}

  /** @internal */
  override _ready(): boolean {
    return this._link._open;
  }

  /** @internal */
  override _fields() {
    return {};
  }

  /** @internal */
  _hello(): ClientEnvelope {
    const resume_token = this._resumeToken;
    const payload: any = { version: 1, token: this._link._token };
    if (resume_token) {
      Object.assign(payload, {
        resume_token,
        positions: [...this._rooms.values()].flatMap((room) => room._place()).slice(0, 64),
        inbox: this._received._position,
        first_direct_seq: this._outbox._firstSeq(),
      });
    }
    return { type: "hello", payload };
  }

  /** @internal */
  _welcome(it: WelcomePayload): void {
    const known = this.id;
    const rooms = [...this._rooms.values()];
    this.id = it.client_id;
    this._resumeToken = it.resume_token;
    if (this._wasOpen) this.stats.reconnects++;
    this._wasOpen = true;
    if (known && known != it.client_id) {
      this._seqs = {};
      for (const channel of [this, ...rooms]) channel._outbox._beginAgain();
    }
    if (!it.resumed || it.direct_repeats_possible) this._outbox._doubt();
    const since = this._received._position;
    // Where the session is gone, so is the inbox, and what it may have had.
    const missed = it.resumed ? it.inbox && !it.inbox_recovered : known;
    if (missed || !since) this._received._position = it.inbox;
    if (missed) this._gap({ since, now: it.inbox });
    for (const room of rooms) room._enter(it.resumed);
    this._pump();
  }
  private _wasOpen = false;

  /** @internal */
  _take(message: ServerEnvelope): void {
    const name = message.room_id;
    if (name) {
      // The session may have rooms that are not known here: they are left.
      (message.type == "joined" ? this.room(name) : this._rooms.get(name))?._receive(message);
    } else if (/^(ack|error)$/.test(message.type) || (/^(chat|event)$/.test(message.type) && this._isNew(message))) {
      this._receive(message);
    }
  }

  /** @internal */
  override _lost(): void {
    super._lost();
    for (const room of this._rooms.values()) room._lost();
  }

  /** @internal */
  _ended(error: RoomcastError): void {
    this._cleanUp?.();
    for (const room of this._rooms.values()) room._out(error);
    this._outbox._giveUpUnsent(error);
    this._outbox._giveUpSent();
  }
}
