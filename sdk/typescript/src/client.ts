import { Connection, LATE_HELLO_MS } from "./connection.js";
import { RoomcastError } from "./errors.js";
import { Room } from "./room.js";
import { elapsed } from "./timer.js";
import type {
  AnyApp, ChatOf, ClientEnvelope, ClientOptions, ClientSignals, EnvelopeFields, EventsOf, KindOf, PresenceOf, Receipt, Recipient,
  RoomOptions, Saved, SendOptions, ServerEnvelope, Stats, WelcomePayload,
} from "./types.js";

/** The kind of direct messages. */
type Direct<App> = KindOf<App, "$direct:">;

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
  /** @internal Whether messages with a number are answered. */
  _acked = true;
  private _rooms = new Map<string, Room<any>>();
  /** Rooms that were left: as long as the application holds one, it is the same one. */
  private _past = new Map<string, WeakRef<Room<any>>>();
  /** The next numbers in rooms that are not among `_rooms`. */
  private _seqs = new Map<string, number>();
  private _resumeToken: string | undefined;
  private _lastId = 0;
  private _life = new AbortController();

  /** @param url `ws:` or `wss:`, with the path `/ws` */
  constructor(url: string, options: ClientOptions = {}) {
    super(url, options);
    const { saved } = options;
    if (!saved) return;
    let seqs, inbox, late;
    [this.id, this._resumeToken, this._outbox._nextSeq, seqs, inbox, late] = saved;
    this._seqs = new Map(seqs);
    this.position = inbox ?? undefined;
    this._late = Array(late).fill(elapsed() + LATE_HELLO_MS);
  }

  /**
   * A room's handle: the same one for the same name, as long as it is joined, has handlers or is held. Does no I/O.
   * Options of a later call replace those before.
   */
  room<N extends string>(name: N, options: RoomOptions<PresenceOf<KindOf<App, N>>> = {}): Room<KindOf<App, N>> {
    const room: Room<any> = this._rooms.get(name) ?? this._past.get(name)?.deref() ?? new Room(this, name, ++this._lastId);
    this._use(room);
    Object.assign(room._options, options);
    room.updatePresence(options.presence as any);
    return room;
  }

  /** @internal A room is in use, perhaps again. */
  _use(room: Room<any>): void {
    const { name } = room;
    if (this._rooms.has(name)) return;
    this._rooms.set(name, room);
    this._past.delete(name);
    room._outbox._nextSeq = this._seqs.get(name) ?? 1;
  }

  /** @internal A room is out of use. Its number goes on for as long as the client's id is the same. */
  _free(room: Room<any>): void {
    const { name } = room;
    const past = this._past;
    this._rooms.delete(name);
    if (room._outbox._nextSeq > 1) this._seqs.set(name, room._outbox._nextSeq);
    past.set(name, new WeakRef(room));
    // From time to time.
    if (past.size % 64 == 0) past.forEach((ref, name) => ref.deref() || past.delete(name));
  }

  /** Connects, if nothing did yet. */
  connect(): void {
    if (this.status.state != "idle") return;
    const globals: any = globalThis;
    // Workers have no document, and React Native has no such events. The document's own bubbles.
    for (const event of ["online", "pageshow", "visibilitychange"]) {
      globals.addEventListener?.(event, () => globals.document?.hidden || this._cable || this.wake(), this._life);
    }
    this._set({ state: "connecting" });
    this._open();
  }

  /** Sends an event to one session or one user. Direct messages wait for each other, whomever they are for. */
  direct<N extends keyof EventsOf<Direct<App>> & string>(
    to: Recipient,
    event: N,
    data?: EventsOf<Direct<App>>[N],
    options?: SendOptions,
  ): Promise<Receipt> {
    return this._send("event", { name: event }, data, options, to);
  }

  /** Sends a chat message to one session or one user. */
  chat(to: Recipient, data: ChatOf<Direct<App>>, options?: SendOptions): Promise<Receipt> {
    return this._send("chat", {}, data, options, to);
  }

  /**
   * What it takes to go on with the session in another client, when this one is gone: for `saved` of its options. Rooms
   * that are not joined there at once are left; messages that wait are not in it. Only one client may go on.
   */
  save(): Saved | undefined {
    if (!this._resumeToken) return;
    // Numbers go on for as long as the id is the same: also in rooms that are not joined now.
    this._rooms.forEach((room, name) => this._seqs.set(name, room._outbox._nextSeq));
    return [this.id, this._resumeToken, this._outbox._nextSeq, [...this._seqs], this.position, this._late.filter((until) => until > elapsed()).length];
  }

  /** @internal To the server, a message without a recipient is of a room, and takes that room's number. */
  override _to(to: Recipient): EnvelopeFields {
    const { client, user }: Partial<Record<"client" | "user", string>> = to ?? {};
    if (!client == !user || client === "" || user === "") throw new RoomcastError("invalid_name", "not one recipient");
    return { to_client_id: client, to_user_id: user };
  }

  /** @internal It is missing in the room that it names, or may be missing anywhere. */
  override _skipped(room: any): void {
    for (const channel of room ? [this._rooms.get(room)] : [this, ...this._rooms.values()]) {
      const at = channel?.position;
      if (at) channel._gap({ since: at, now: at });
    }
  }

  /** @internal Throws where nothing can be asked for. */
  _check(signal?: AbortSignal): void {
    if (this.status.state == "closed") throw new RoomcastError("closed");
    if (signal?.aborted) throw new RoomcastError("aborted");
  }

  /** @internal */
  _hello(): ClientEnvelope {
    // Before the first `welcome`, the session that it goes on with may have the rooms that it had when it was saved.
    const positions = [...this._rooms.values()]
      .filter((room) => room._wanted && (room._has || (!this._interval && this._seqs.has(room.name))))
      .slice(0, this._mostPlaces)
      .map((room) => room._place());
    this._places = positions.length;
    return {
      type: "hello",
      payload: {
        version: 1,
        token: this._token!,
        resume_token: this._resumeToken!,
        positions,
        inbox: this.position!,
        first_direct_seq: this._outbox._firstSeq(),
      },
    };
  }

  /** @internal */
  _welcome(it: WelcomePayload): void {
    const known = this.id;
    this.id = it.client_id;
    this._resumeToken = it.resume_token;
    this._acked = it.seq_acked !== false;
    if (known) this.stats.reconnects++;
    if (known && known != it.client_id) {
      this._seqs.clear();
      this._outbox._beginAgain();
      this._rooms.forEach((room) => room._outbox._beginAgain());
    }
    if (!it.resumed || it.direct_repeats_possible) this._outbox._doubt();
    const since = this.position;
    // Where the session is gone, so is the inbox, and what it may have had. Who never had one misses nothing.
    const missed = it.resumed ? it.inbox && !it.inbox_recovered : since;
    if (missed || !since) this.position = it.inbox;
    if (missed) this._gap({ since: since!, now: it.inbox! });
    this._rooms.forEach((room) => room._enter(it.resumed));
    this._pump();
  }

  /** @internal */
  _take(message: ServerEnvelope): void {
    const name = message.room_id;
    const rooms = this._rooms;
    // The session may have a room that is not known here: it is left. And an error may name no room.
    const room =
      rooms.get(name!) ??
      (name ? message.type == "joined" && this.room(name) : [...rooms.values()].find((it) => it._id == message.request_id));
    if (room) room._receive(message);
    else if (!name) this._receive(message);
  }

  /** @internal */
  override _lost(): void {
    super._lost();
    this._rooms.forEach((room) => room._lost());
  }

  /** @internal */
  _ended(error: RoomcastError): void {
    this._life.abort();
    this._rooms.forEach((room) => {
      room._has = 0;
      room._out(error);
    });
    this._outbox._giveUpUnsent(error);
    this._outbox._giveUpSent();
  }
}
