import { Connection } from "./connection.js";
import { RoomcastError } from "./errors.js";
import { Room } from "./room.js";
import type {
  AnyApp, ChatOf, ClientEnvelope, ClientOptions, ClientSignals, EventsOf, KindOf, PresenceOf, Receipt, Recipient,
  RoomOptions, Saved, SendOptions, ServerEnvelope, Stats, WelcomePayload,
} from "./types.js";

/** The kind of direct messages. */
type Direct<App> = KindOf<App, "$direct:">;

const address = ({ client, user }: { client?: string; user?: string }) => ({ to_client_id: client, to_user_id: user });

/**
 * A session with a server, over one connection at a time. App names what is said in rooms of each kind.
 *
 * Making one does no I/O and touches no global: the first join or message connects, or `connect`.
 */
export class Client<App = AnyApp> extends Connection<Direct<App>, ClientSignals<Direct<App>>> {
  /** The session's id; empty before the first connection. */
  id = "";
  /** Counters since the client was made. */
  readonly stats: Stats = { reconnects: 0, recovered: 0, gaps: 0, repeats: 0, resent: 0 };
  /** @internal */
  override _wanted = true;
  /** @internal */
  _client = this;
  /** @internal */
  _address = {};
  /** @internal Bytes of messages that wait. */
  _bytes = 0;
  private _rooms = new Map<string, Room<any>>();
  private _resumeToken: string | undefined;
  /** The next number in rooms that were not heard of since it was restored. */
  private _seqs: Record<string, number> = {};
  private _life = new AbortController();

  /** @param url `ws:` or `wss:`, with the path `/ws` */
  constructor(url: string, options: ClientOptions = {}) {
    super(url, options);
    const { saved } = options;
    if (saved) [this.id, this._resumeToken, this._outbox._nextSeq, this._seqs] = saved;
  }

  /** A room's handle: the same one for the same name. Does no I/O. Options of a later call replace those before. */
  room<N extends string>(name: N, options: RoomOptions<PresenceOf<KindOf<App, N>>> = {}): Room<KindOf<App, N>> {
    let room = this._rooms.get(name);
    if (!room) {
      this._rooms.set(name, (room = new Room(this, name)));
      room._outbox._nextSeq = Object.hasOwn(this._seqs, name) ? this._seqs[name]! : 1;
    }
    Object.assign(room._options, options);
    room.updatePresence(options.presence as any);
    return room;
  }

  /** Connects, if nothing did yet. */
  connect(): void {
    if (this.status.state != "idle") return;
    const globals: any = globalThis;
    const { document } = globals;
    const wake = () => document?.hidden || this.wake();
    // Workers have no document, and React Native has neither.
    globals.addEventListener?.("online", wake, this._life);
    document?.addEventListener("visibilitychange", wake, this._life);
    this._set({ state: "connecting" });
    void this._open();
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
   * What it takes to go on with the session in another client, when this one is gone: for `saved` of its options. Rooms
   * that are not joined there at once are left; messages that wait are not in it. Only one client may go on.
   */
  save(): Saved | undefined {
    if (!this._resumeToken) return;
    // Numbers go on for as long as the id is the same: also in rooms that are not joined now.
    this._rooms.forEach((room, name) => (this._seqs[name] = room._outbox._nextSeq));
    return [this.id, this._resumeToken, this._outbox._nextSeq, this._seqs];
  }

  /** @internal Throws where nothing can be asked for. */
  _check(signal?: AbortSignal): void {
    if (this.status.state == "closed") throw new RoomcastError("closed");
    if (signal?.aborted) throw new RoomcastError("aborted");
  }

  /** @internal */
  _hello(): ClientEnvelope {
    return {
      type: "hello",
      payload: {
        version: 1,
        token: this._token!,
        resume_token: this._resumeToken!,
        positions: [...this._rooms.values()]
          .filter((room) => room._wanted && room._has)
          .slice(0, 64)
          .map((room) => room._place()),
        inbox: this._position!,
        first_direct_seq: this._outbox._firstSeq(),
      },
    };
  }

  /** @internal */
  _welcome(it: WelcomePayload): void {
    const known = this.id;
    this.id = it.client_id;
    this._resumeToken = it.resume_token;
    if (known) this.stats.reconnects++;
    if (known && known != it.client_id) {
      this._seqs = {};
      this._outbox._beginAgain();
      this._rooms.forEach((room) => room._outbox._beginAgain());
    }
    if (!it.resumed || it.direct_repeats_possible) this._outbox._doubt();
    const since = this._position;
    // Where the session is gone, so is the inbox, and what it may have had. Who never had one misses nothing.
    const missed = it.resumed ? it.inbox && !it.inbox_recovered : since;
    if (missed || !since) this._position = it.inbox;
    if (missed) this._gap({ since: since!, now: it.inbox! });
    this._rooms.forEach((room) => room._enter(it.resumed));
    this._pump();
  }

  /** @internal */
  _take(message: ServerEnvelope): void {
    const name = message.room_id;
    // The session may have rooms that are not known here: they are left.
    (name ? this.room(name) : this)._receive(message);
  }

  /** @internal */
  override _lost(): void {
    super._lost();
    this._rooms.forEach((room) => room._lost());
  }

  /** @internal */
  _ended(error: RoomcastError): void {
    this._life.abort();
    this._rooms.forEach((room) => room._out(error));
    this._outbox._giveUpUnsent(error);
    this._outbox._giveUpSent();
  }
}
