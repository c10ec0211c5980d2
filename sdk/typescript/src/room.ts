import { Channel, errorOf, eventOf, isTransient } from "./channel.js";
import type { Client } from "./client.js";
import { RoomcastError } from "./errors.js";
import type {
  ActionsOf, ChatOf, DataArgs, EventsOf, HistoryEvent, HistoryOptions, JoinedPayload, JoinOptions, Member,
  PlayerState, Position, PresenceOf, Receipt, RoomOptions, RoomSignals, RoomStatus, SendOptions, ServerEnvelope,
  WireMember,
} from "./types.js";

/** An answer that should have come is asked for again after this time. */
const ANSWER_MS = 10_000;
/** A room that a resumed session was to have, and that nothing is heard of, is asked for after this time. */
const RESUME_MS = 5_000;
/** Answers may come so long after the room was left. */
const LAST_ANSWERS_MS = 1_000;
/** Where a refusal names no time to wait. */
const RETRY_MS = 1_000;

const memberOf = (it: WireMember): Member<any> =>
  Object.freeze({
    id: it.player_id,
    num: it.player_num,
    nickname: it.nickname!,
    presence: it.presence ?? {},
    connected: it.connected ?? true,
  });

/** Somebody who waits. */
type Waiter = [resolve: (value?: any) => void, reject: (error: RoomcastError) => void];

/** A room: one cached handle per name, made by `client.room(name)`. K is its kind. */
export class Room<K = any> extends Channel<K, RoomSignals<K>> {
  /** @internal */
  _options: RoomOptions<any> = {};
  /** How it stands: `joining` also after a lost connection, until the room is joined again. */
  status: RoomStatus = "left";
  /** How many members there are. */
  total = 0;
  /** What the server owns in a `state` room, by `player_id`: the same map all the time, changed by each `sync`. */
  readonly state: ReadonlyMap<string, PlayerState> = new Map();
  private _joins = 0;
  /** The application wants to be in it. */
  private _wanted = false;
  /** Whether the server's session has the room, as far as is known. */
  private _has = false;
  /** What is asked of the server and not answered: one thing at a time. */
  private _op: "" | "join" | "leave" = "";
  private _timer: any;
  private _waiters: Waiter[] = [];
  private _leavers: (() => void)[] = [];
  /** The log that messages were sent to. */
  private _epoch = "";
  private _num = 0;
  private _known = new Map<number, Member<any>>();
  private _list: readonly Member<any>[] | undefined = [];
  /** The room's clock when the list was made: what an older event says of members is in it. */
  private _listedAt = 0;
  /** One's own keys as they are to be; `null` is removed. */
  private _presence: Record<string, any> = {};
  /** Keys to tell, and those told last. */
  private _unsent = new Set<string>();
  private _told = new Set<string>();
  /** The page that is asked for, and those that wait for it. */
  private _ask: { _type: "history" | "members"; _payload: object; _waiter: Waiter } | undefined;
  private _asks: Promise<any> = Promise.resolve();

  /** @internal */
  constructor(
    /** @internal */
    readonly _client: Client<any>,
    /** The room's whole name. */
    readonly name: string,
  ) {
    super();
  }

  /** The members that are known, in the order of their numbers: all, where `total` is no greater. Never changed. */
  get members(): readonly Member<PresenceOf<K>>[] {
    return (this._list ??= Object.freeze([...this._known.values()].sort((a, b) => a.num - b.num)));
  }

  /** One's own entry, when it is known. */
  get self(): Member<PresenceOf<K>> | undefined {
    return this._known.get(this._num);
  }

  /** The last event received: store it, and pass it as `since`. */
  get position(): Position | undefined {
    return this._received._position;
  }

  /**
   * Joins, and joins again after each lost connection, until `leave` was called as often as `join`. Settles when the
   * room is joined; rejects when the server refuses it.
   */
  join({ since, signal }: JoinOptions = {}): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => {
      if (this._client.status.state == "closed") throw new RoomcastError("closed");
      if (signal?.aborted) throw new RoomcastError("aborted");
      this._joins++;
      if (!this._wanted) {
        this._wanted = true;
        this._received._position = since;
        this._setStatus("joining");
      }
      if (this.status == "joined") return resolve();
      const abort = () => {
        if (!this._waiters.includes(waiter)) return;
        this._waiters = this._waiters.filter((it) => it != waiter);
        void this.leave();
        reject(new RoomcastError("aborted"));
      };
      const waiter: Waiter = [resolve, reject];
      this._waiters.push(waiter);
      signal?.addEventListener("abort", abort, { once: true });
      this._client.connect();
      this._step();
    });
    promise.catch(() => {});
    return promise;
  }

  /**
   * Takes back one `join`; the last one leaves the room, unless it is joined again at once. Settles when the room is
   * left. What was not yet sent is rejected with `left`.
   */
  async leave(): Promise<void> {
    if (!this._joins || --this._joins) return;
    await null;
    if (this._joins || !this._wanted) return;
    this._out(new RoomcastError("left"));
    if (!this._has && !this._op) return;
    return new Promise((resolve) => {
      this._leavers.push(resolve);
      this._step();
      if (!this._client._link._open) this._toldLeft();
    });
  }

  /** Sends an event. Settles with its place in the log; needs not be awaited. Waits while there is no connection. */
  send<N extends keyof EventsOf<K> & string>(
    event: N,
    ...[data, options]: DataArgs<EventsOf<K>[N], SendOptions>
  ): Promise<Receipt> {
    return this._send("event", { name: event }, data, options);
  }

  /** Sends a chat message; otherwise like `send`. */
  chat(data: ChatOf<K>, options?: SendOptions): Promise<Receipt> {
    return this._send("chat", {}, data, options);
  }

  /**
   * Does something in the game: now, or not at all (`not_connected`, `not_joined`). It has no answer; one that the
   * server refuses is told by the signal `error`.
   */
  action<N extends keyof ActionsOf<K> & string>(
    name: N,
    ...[parameters]: DataArgs<ActionsOf<K>[N], never>
  ): Promise<unknown> {
    return this._send("game_action", {}, { ...(parameters as object), action: name });
  }

  /**
   * Sets keys of one's own member entry and removes those that are `null`. Only the newest value is kept; it is told
   * again after a lost connection. A refusal is told by the signal `error`.
   */
  updatePresence(keys: { [P in keyof PresenceOf<K>]?: PresenceOf<K>[P] | null }): void {
    Object.assign(this._presence, keys);
    for (const key in keys) this._unsent.add(key);
    // All of one turn in one message.
    queueMicrotask(() => this._pump());
  }

  /** The log's events, the oldest first or, in `reverse`, the newest first. */
  async *history({ reverse, limit = Infinity, from }: HistoryOptions = {}): AsyncGenerator<HistoryEvent, void, void> {
    const cursor = reverse ? "before" : "after";
    let next = from ?? (reverse ? undefined : 0);
    let epoch;
    while (limit > 0) {
      const page = await this._page("history", { [cursor]: next, limit: Math.min(limit, 100) });
      if ((epoch ??= page.epoch) != page.epoch) throw new RoomcastError("gap", "the log is another one");
      for (const event of page.events) {
        yield eventOf(event);
        limit--;
      }
      if (!(next = page.next)) return;
    }
  }

  private _page(type: "history" | "members", payload: object): Promise<any> {
    const ask = () =>
      new Promise((resolve, reject) => {
        if (!this._wanted) throw new RoomcastError("not_joined");
        this._ask = { _type: type, _payload: payload, _waiter: [resolve, reject] };
        this._sendAsk();
      });
    return (this._asks = this._asks.then(ask, ask));
  }

  private _sendAsk(): void {
    if (this._ask && this._ready()) {
      this._client._link._write({ type: this._ask._type, ...this._fields(), payload: this._ask._payload });
    }
  }

  /** @internal */
  override _blocked(): string | undefined {
    return this._wanted ? undefined : "not_joined";
  }

  /** @internal */
  override _ready(): boolean {
    return this.status == "joined";
  }

  /** @internal */
  override _fields() {
    return { room_id: this.name };
  }

  private _setStatus(status: RoomStatus): void {
    if (this.status == status) return;
    this.status = status;
    this._emit("status", status);
  }

  /** @internal Asks the server for what the application wants, if nothing else is asked. */
  _step(): void {
    const link = this._client._link;
    if (!link._open || this._op) return;
    const { nickname, token } = this._options;
    const presence = Object.fromEntries(Object.entries(this._presence).filter(([, value]) => value != null));
    if (this._wanted && this.status != "joined") {
      this._op = "join";
      const payload = {
        nickname,
        token,
        since: this.position,
        first_seq: this._outbox._firstSeq(),
        presence,
      };
      link._write({ type: "join_room", ...this._fields(), payload } as any);
    } else if (!this._wanted && this._has) {
      this._op = "leave";
      link._write({ type: "leave_room", ...this._fields() });
    } else return;
    this._again(ANSWER_MS);
  }

  /** Asks again after this time. */
  private _again(ms: number): void {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => {
      this._op = "";
      this._step();
    }, ms);
  }

  /** @internal The server has said `welcome`. */
  _enter(resumed: boolean): void {
    this._has &&= resumed;
    if (this._has && this._wanted) {
      // A `joined` will come unasked.
      this._op = "join";
      this._again(RESUME_MS);
    } else this._step();
  }

  /** @internal */
  override _lost(): void {
    super._lost();
    this._op = "";
    clearTimeout(this._timer);
    if (this._wanted) this._setStatus("joining");
    else {
      this._outbox._giveUpSent();
      this._toldLeft();
    }
  }

  /** @internal What `hello` says of it. */
  _place() {
    return this._wanted
      ? [{ room_id: this.name, since: this.position!, first_seq: this._outbox._firstSeq() }]
      : [];
  }

  /** @internal The application is not in the room any more. */
  _out(error: RoomcastError): void {
    this._joins = 0;
    this._wanted = false;
    this._setStatus("left");
    this._outbox._giveUpUnsent(error);
    if (!this._client._link._open) this._outbox._giveUpSent();
    for (const [, reject] of this._waiters.splice(0)) reject(error);
    this._ask?._waiter[1](error);
    this._ask = undefined;
    this._known.clear();
    this._changed();
  }

  /** The server has put this client out of the room, or did not let it in. */
  private _lose(error: RoomcastError): void {
    this._op = "";
    this._has = false;
    clearTimeout(this._timer);
    this._outbox._giveUpSent();
    this._out(error);
    this._emit("error", error);
  }

  private _toldLeft(): void {
    for (const resolve of this._leavers.splice(0)) resolve();
  }

  private _changed(): void {
    this._list = undefined;
    this._emit("members", this.members);
  }

  /** @internal */
  override _pump(): void {
    if (this._unsent.size && this._may()) {
      this._told = this._unsent;
      this._unsent = new Set();
      const presence: Record<string, any> = {};
      for (const key of this._told) presence[key] = this._presence[key] ?? null;
      this._client._link._write({ type: "presence", ...this._fields(), payload: { presence } });
    }
    super._pump();
  }

  /** @internal */
  override _receive(message: ServerEnvelope): void {
    const { type, payload } = message as any;
    if (type == "joined") return this._onJoined(payload, message.timestamp!);
    if (type == "ack") return super._receive(message);
    if (type == "error") return this._refused(message as ServerEnvelope & { type: "error" });
    if (type == "player_left" && payload.player_num == this._num && this._op == "leave") return this._left();
    if (!this._ready()) return;
    if (type == "sync") {
      const state = this.state as Map<string, PlayerState>;
      if (payload.full) state.clear();
      for (const id of payload.left) state.delete(id);
      for (const player of payload.players) state.set(player.player_id, player);
      this._emit("sync", payload);
    } else if (type == "presence") this._onPresence(payload);
    else if (type == this._ask?._type) {
      const { _waiter } = this._ask!;
      this._ask = undefined;
      _waiter[0](payload);
    } else if (/^(chat|event|game_action|player_(joined|left))$/.test(type)) this._onEvent(message);
  }

  private _onEvent(message: ServerEnvelope): void {
    const { type, payload } = message as any;
    if (!this._isNew(message)) return;
    if (message.name == "roomcast.presence" && !message.from_client_id) {
      this.total = payload.total;
      return this._changed();
    }
    const num = payload?.player_num;
    const known = this._known.has(num);
    const news = message.timestamp! >= this._listedAt;
    const came = news && type == "player_joined" && !known;
    const went = news && type == "player_left" && known;
    if (came) {
      this._known.set(num, memberOf(payload));
      this.total++;
    } else if (went) {
      this._known.delete(num);
      this.total--;
    }
    super._receive(message);
    if (came || went) this._changed();
    if (type == "player_left" && num == this._num) this._lose(new RoomcastError("not_in_room"));
  }

  private _onPresence(it: Partial<WireMember> & { total?: number }): void {
    const known = this._known.get(it.player_num!);
    // It may overtake the event that tells of who came, and of who left.
    if (known) this._known.set(known.num, memberOf({ nickname: known.nickname!, ...(it as WireMember) }));
    else if (it.total != undefined) this.total = it.total;
    else return;
    this._changed();
  }

  private _onJoined(it: JoinedPayload, timestamp: number): void {
    this._has = true;
    if (this._op == "leave") return;
    this._op = "";
    clearTimeout(this._timer);
    if (!this._wanted) return this._step();
    const first = !this._ready();
    const since = this.position;
    const now = { epoch: it.epoch, offset: it.offset };
    // Up to where nothing was missed: what comes again is dropped.
    const reached =
      since?.epoch == now.epoch && (it.recovered ? now.offset <= since.offset : now.offset == since.offset);
    if (!reached) this._received._position = now;
    this._listedAt = timestamp;
    this._known = new Map(it.members.map((member) => [member.player_num, memberOf(member)]));
    this.total = it.total;
    this._num = it.player_num;
    if (first) {
      if (this._epoch != it.epoch || it.repeats_possible) this._outbox._doubt();
      this._epoch = it.epoch;
      this._outbox._newLink();
      const own: any = this.self?.presence;
      for (const [key, value] of Object.entries(this._presence)) {
        if (!own || JSON.stringify(own[key] ?? null) != JSON.stringify(value ?? null)) this._unsent.add(key);
        else this._unsent.delete(key);
      }
    }
    if (since && !reached) this._gap({ since, now });
    else if (since && first) this._client.stats.recovered++;
    this._setStatus("joined");
    for (const [resolve] of this._waiters.splice(0)) resolve();
    this._changed();
    this._sendAsk();
    this._pump();
    if (it.presence == "full") void this._listRest(it.members.at(-1)?.player_num).catch(() => {});
  }

  /** `joined` lists no more than 100 members. */
  private async _listRest(after?: number): Promise<void> {
    while (after && this._known.size < this.total) {
      const page = await this._page("members", { after });
      for (const member of page.members) this._known.set(member.player_num, memberOf(member));
      this.total = page.total;
      after = page.next;
      this._changed();
    }
  }

  /** A leave was answered: by one's own `player_left`, or because the room is not joined. */
  private _left(): void {
    this._op = "";
    this._has = false;
    clearTimeout(this._timer);
    setTimeout(() => this._wanted || this._outbox._giveUpSent(), LAST_ANSWERS_MS);
    this._toldLeft();
    this._step();
  }

  private _refused(message: ServerEnvelope & { type: "error" }): void {
    const { code, request, retry_after_ms, seq } = message.payload;
    const error = errorOf(message.payload);
    const later = isTransient(code) || code == "internal";
    const stranger = code == "not_in_room";
    if (request == "join_room" || request == "leave_room") {
      if (!this._op) return;
      if (later) this._again(retry_after_ms || RETRY_MS);
      else if (request == "leave_room") this._left();
      else if (stranger) {
        this._has = false;
        this._again(0);
      } else this._lose(error);
    } else if (request == "history" || request == "members") {
      if (later) setTimeout(() => this._sendAsk(), retry_after_ms || RETRY_MS);
      else {
        this._ask?._waiter[1](error);
        this._ask = undefined;
      }
    } else if (request == "presence" && later) {
      for (const key of this._told) this._unsent.add(key);
      setTimeout(() => this._pump(), retry_after_ms || RETRY_MS);
    } else if (code == "room_failed" && !request) {
      this._lose(error);
    } else {
      if (request == "presence") {
        // They would be refused again, and with them the next join.
        for (const key of this._told) delete this._presence[key];
      }
      super._receive(message);
      if (stranger && seq && this._wanted && !this._op) {
        this._setStatus("joining");
        this._step();
      }
    }
  }
}
