import { Channel, eventOf } from "./channel.js";
import type { Client } from "./client.js";
import { copyOf, type Done, errorOf, isTransient, onAbort, promise, RoomcastError } from "./errors.js";
import { isObject } from "./shape.js";
import { Timer } from "./timer.js";
import type {
  ActionsOf, ChatOf, DataArgs, EventsOf, HistoryEvent, HistoryOptions, JoinedPayload, JoinOptions, Member,
  PlayerState, Position, PresenceOf, Receipt, RoomOptions, RoomSignals, RoomStatus, SendOptions, ServerEnvelope,
  WireMember,
} from "./types.js";

/** What should have come, an answer or a `joined` after a resume, is asked for after this time. */
const ANSWER_MS = 10_000;
/** Answers may come so long after the room was left; a refusal that names no time to wait is heeded so long. */
const A_SECOND = 1_000;

/** What only the room itself changes. */
type Own = { -readonly [P in "position" | "members" | "properties"]: Room[P] };

/** A room: one cached handle per name, made by `client.room(name)`. K is its kind. */
export class Room<K = any> extends Channel<K, RoomSignals<K>> {
  /** How it stands: `joining` also after a lost connection, until the room is joined again. */
  status: RoomStatus = "left";
  /** How many members there are. */
  total = 0;
  /**
   * The members that are known, in the order of their numbers: all, where `total` is no greater; only oneself in a room
   * that tells no more than their number. Another list after each change.
   */
  readonly members: readonly Member<PresenceOf<K>>[] = [];
  /** What the application's backend says of the room. A change comes as the event `roomcast.properties`. */
  readonly properties: Readonly<Record<string, any>> = {};
  /** The last event received: store it, and pass it as `since`. */
  declare readonly position: Position | undefined;
  /** What the server owns in a `state` room, by `player_id`: the same map all the time, changed by each `sync`. */
  readonly state: ReadonlyMap<string, PlayerState> = new Map();
  /** @internal */
  _options: RoomOptions<any> = {};
  /** @internal */
  _address;
  private _joins = 0;
  /** `joined` has not come since the application joined it. */
  private _fresh?: boolean;
  /** Whether the server's session has the room: 0 no, 1 perhaps (a join was lost on its way), 2 yes. @internal */
  _has = 0;
  /** What is asked of the server and not answered: one thing at a time. */
  private _op: 0 | "join_room" | "leave_room" = 0;
  private _timer = new Timer();
  private _joiners = new Set<Done>();
  private _leavers = new Set<() => void>();
  /** The log that messages were sent to. */
  private _epoch?: string;
  private _num = 0;
  /** The room's clock when the list was made. */
  private _listedAt?: number;
  private _known = new Map<number, Member<any>>();
  /** What one wants to be called, once it was changed. */
  private _name: string | undefined;
  /** One's own keys as they are to be. */
  private _presence = new Map<string, unknown>();
  /** Keys to tell, and those told last; the empty one, which is no key, is the nickname. */
  private _unsent = new Set<string>();
  private _told = new Set<string>();
  /** Whether the server tells of each member; else of their number. */
  private _lists = true;
  /** The page that is asked for, and those that wait for it. */
  private _ask: [type: "history" | "members", payload: object, done: Done] | undefined;
  private _asks: Promise<any> = Promise.resolve();

  /** @internal */
  constructor(
    /** @internal */
    readonly _client: Client<any>,
    /** The room's whole name. */
    readonly name: string,
    /** @internal */
    override readonly _id: number,
  ) {
    super();
    this._address = { room_id: name };
  }

  /** One's own entry, when it is known. */
  get self(): Member<PresenceOf<K>> | undefined {
    return this._known.get(this._num);
  }

  /**
   * Joins, and joins again after each lost connection, until `leave` was called as often as `join`. Settles when the
   * room is joined; rejects when the server refuses it. Where others have joined it already and are past `since`, it
   * rejects with `already_joined`: they would hear again what they have heard. `history` gives what is missing.
   */
  join({ since, signal }: JoinOptions = {}): Promise<void> {
    return promise<void>((done) => {
      const client = this._client;
      const at = this.position;
      client._check(signal);
      if (since && !isObject(since)) throw new RoomcastError("invalid_value");
      if (this._wanted && since && !(at?.epoch == since.epoch && at.offset <= since.offset)) {
        throw new RoomcastError("already_joined");
      }
      this._joins++;
      if (!this._wanted) {
        client._use(this);
        // A leave that was never said is taken back.
        if (!this._op) this._tell(this._leavers);
        this._wanted = this._fresh = true;
        (this as Own).position = since;
        this._setStatus("joining");
      }
      if (this._ready) return done();
      const joiner: Done = (error) => {
        heedless();
        done(error);
      };
      const heedless = onAbort(signal, () => {
        if (!this._joiners.delete(joiner)) return;
        void this.leave();
        joiner(new RoomcastError("aborted"));
      });
      this._joiners.add(joiner);
      client.connect();
      this._step();
    });
  }

  /**
   * Takes back one `join`; the last one leaves the room, unless it is joined again at once. What was not yet sent is
   * rejected with `left`. Settles when the server has answered, or has nothing to leave.
   */
  async leave(): Promise<void> {
    if (!this._joins || --this._joins) return;
    await null;
    if (this._joins || !this._wanted) return;
    this._out(new RoomcastError("left"));
    this._step();
    if (this._has || this._op) await new Promise<void>((resolve) => void this._leavers.add(resolve));
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
  updatePresence(keys: { [P in keyof PresenceOf<K>]?: PresenceOf<K>[P] | null | undefined }): void {
    const copy = copyOf(keys);
    for (const key in copy) {
      this._unsent.add(key);
      if (copy[key] == null) this._presence.delete(key);
      else this._presence.set(key, copy[key]);
    }
    // All of one turn in one message.
    queueMicrotask(() => this._pump());
  }

  /**
   * Changes one's nickname, also for later joins. A refusal, such as that of a room whose nicknames are those of tokens, is
   * told by the signal `error`.
   */
  setNickname(nickname: string): void {
    this._name = nickname;
    this._unsent.add("");
    queueMicrotask(() => this._pump());
  }

  /** The log's events, the oldest first or, in `reverse`, the newest first. */
  async *history({ reverse, limit = Infinity, from }: HistoryOptions = {}): AsyncGenerator<HistoryEvent, void, void> {
    let next: any = from ?? (reverse ? undefined : 0);
    let epoch;
    while (limit > 0) {
      const page = await this._page("history", { [reverse ? "before" : "after"]: next, limit: Math.min(limit, 100) });
      if ((epoch ??= page.epoch) != page.epoch) throw new RoomcastError("gap");
      limit -= page.events.length;
      yield* page.events.map(eventOf);
      // It ends, or goes on.
      if (!page.next || (reverse ? page.next >= next : page.next <= next)) return;
      next = page.next;
    }
  }

  /** One page of a room is asked for at a time. */
  private _page(type: "history" | "members", payload: object): Promise<any> {
    const ask = () =>
      promise((done) => {
        if (!this._wanted) throw new RoomcastError("not_joined");
        this._ask = [type, payload, done];
        this._sendAsk();
      });
    return (this._asks = this._asks.then(ask, ask));
  }

  private _sendAsk(): void {
    if (this._ask && this._ready) this._say(this._ask[0], this._ask[1]);
  }

  private _answerAsk(error?: RoomcastError, page?: unknown): void {
    const ask = this._ask;
    this._ask = undefined;
    ask?.[2](error, page);
  }

  private _setStatus(status: RoomStatus): void {
    this._ready = status == "joined";
    if (this.status != status) this._emit("status", (this.status = status));
  }

  /** Asks the server for what the application wants, if nothing else is asked. */
  private _step(): void {
    const join = this._wanted;
    if (!this._client._ready || this._op || (join ? this._ready : !this._has)) return this._rest();
    const { nickname, token } = this._options;
    this._op = join ? "join_room" : "leave_room";
    this._again();
    this._say(this._op, join ? { nickname: this._name ?? nickname, token, presence: Object.fromEntries(this._presence), ...this._place() } : undefined);
  }

  /** @internal What `hello` and `join_room` say of it. */
  _place() {
    return { room_id: this.name, since: this.position!, first_seq: this._outbox._firstSeq() };
  }

  /** Asks again after this time. */
  private _again(ms = ANSWER_MS): void {
    this._timer._set(ms, () => {
      this._op = 0;
      this._step();
    });
  }

  /** @internal The server has said `welcome`. */
  _enter(resumed: boolean): void {
    if (!resumed) this._has = 0;
    if (!this._has && !this._wanted) this._left();
    if (this._has > 1 && this._wanted) {
      // A `joined` will come unasked.
      this._op = "join_room";
      this._again();
    } else this._step();
  }

  /** @internal */
  override _lost(): void {
    super._lost();
    if (this._op == "join_room") this._has ||= 1;
    this._answered();
    if (this._wanted) this._setStatus("joining");
    else this._outbox._giveUpSent();
  }

  /** Nothing is asked any more. */
  private _answered(has = this._has): void {
    this._has = has;
    this._op = 0;
    this._timer._stop();
  }

  /** @internal The application is not in the room any more. */
  _out(error: RoomcastError): void {
    this._joins = 0;
    this._wanted = false;
    this._setStatus("left");
    this._outbox._giveUpUnsent(error);
    if (!this._client._ready) this._outbox._giveUpSent();
    this._tell(this._joiners, error);
    this._answerAsk(error);
    this._known.clear();
    (this.state as Map<string, PlayerState>).clear();
    this._changed();
    this._rest();
  }

  /** @internal Forgets what is of no use any more; a room that was left and that nobody holds. */
  override _rest(): void {
    if (this._wanted || this._has || this._op) return;
    this._tell(this._leavers);
    if (this._num && !this._handlers.size && !this._outbox._entries.length) this._client._free(this);
  }

  /** The server has put this client out of the room, or did not let it in. */
  private _lose(error: RoomcastError): void {
    this._answered(0);
    this._outbox._giveUpSent();
    if (/^(invalid|too_[dl]|presence)/.test(error.code)) {
      // It would be refused again, with the next join.
      this._options = {};
      this._name = undefined;
      this._presence.clear();
    }
    this._out(error);
    this._emit("error", error);
  }

  private _tell(waiting: Set<Done>, error?: RoomcastError): void {
    waiting.forEach((done) => done(error));
    waiting.clear();
  }

  private _changed(): void {
    (this as Own).members = [...this._known.values()].sort((a, b) => a.num - b.num);
    this._emit("members", this.members);
  }

  /** @internal */
  override _pump(): void {
    if (this._unsent.size && this._may()) {
      this._told = this._unsent;
      this._unsent = new Set();
      const nickname = this._told.has("") ? this._name : undefined;
      const presence = Object.fromEntries([...this._told].filter(Boolean).map((key) => [key, this._presence.get(key) ?? null]));
      this._say("presence", { presence, nickname });
    }
    super._pump();
  }

  /** @internal */
  override _receive(message: ServerEnvelope): void {
    const { type, payload } = message as any;
    if (type == "joined") this._onJoined(payload, message.timestamp!);
    else if (type == "error") this._refused(message as ServerEnvelope & { type: "error" });
    else if (type == "player_left" && payload.player_num == this._num && this._op == "leave_room") this._left();
    else if (this._ready || type == "ack") {
      if (type == "sync") {
        const state = this.state as Map<string, PlayerState>;
        if (payload.full) state.clear();
        payload.left?.forEach(state.delete, state);
        payload.players?.forEach((player: PlayerState) => state.set(player.player_id, player));
        this._emit(type, payload);
      } else if (type == "presence") {
        // It may overtake the event that tells of who came, and of who left.
        if (this._known.has(payload.player_num)) this._add(payload);
        this.total = payload.total ?? this.total;
        this._changed();
      } else if (type == this._ask?.[0]) this._answerAsk(undefined, payload);
      else super._receive(message);
    }
  }

  private _add({ player_id: id, player_num: num, nickname, presence, connected }: WireMember): void {
    this._known.set(num, { id, num, nickname, presence: presence ?? {}, connected: connected! });
  }

  /**
   * @internal What happened before the list was made is in it already.
   */
  override _meet({ type, name, from, service, data, timestamp }: HistoryEvent): void {
    if (timestamp < this._listedAt!) return;
    const num = data?.player_num;
    const left = type == "player_left";
    if (left) this.total -= +this._known.delete(num);
    else if (type == "player_joined") {
      if (!this._known.has(num)) this.total++, this._add(data);
    } else if (name == "roomcast.presence" && !(from || service) && data?.total >= 0) this._countOnly(data.total);
    else if (name == "roomcast.properties" && !(from || service)) return void ((this as Own).properties = data);
    else return;
    this._changed();
    if (left && num == this._num) this._lose(new RoomcastError("not_in_room"));
  }

  /** Who came and went is not told from now on: a list would be of those who were there. */
  private _countOnly(total: number): void {
    this._lists = false;
    this.total = total;
    for (const num of this._known.keys()) if (num != this._num) this._known.delete(num);
  }

  private _onJoined(it: JoinedPayload, timestamp: number): void {
    this._has = 2;
    if (this._op == "leave_room") return;
    this._answered();
    if (!this._wanted) return this._step();
    const first = !this._ready;
    const since = this.position;
    const { epoch, offset } = it;
    const now = { epoch, offset };
    // Nothing is missed: what comes is what follows, whatever place an answer to an older question names. But one from
    // before the room was left and joined again answers where another place was meant.
    const reached = since && (it.recovered && !(this._fresh && offset > since.offset) || since.epoch == epoch && offset == since.offset);
    if (!reached) (this as Own).position = now;
    this._listedAt = timestamp;
    this._known.clear();
    it.members?.forEach(this._add, this);
    this.total = it.total;
    (this as Own).properties = it.properties ?? {};
    this._num = it.player_num;
    // A list has no more than 100 members.
    if (!this.self) {
      this._add({ ...it, ...this._options, connected: true, presence: Object.fromEntries(this._presence) } as any);
    }
    this._lists = it.presence == "full";
    if (!this._lists) this._countOnly(it.total);
    if (first) {
      if (this._epoch != epoch || it.repeats_possible) this._outbox._doubt();
      this._epoch = epoch;
      this._outbox._newLink();
      // Of what was sent before it was left, the server may know nothing, and does not say so.
      if (this._fresh) this._outbox._giveUpSent();
      this._fresh = false;
      // What is not as it is to be is told again.
      const own = new Map(Object.entries(this.self!.presence));
      const text = JSON.stringify;
      const keys = ["", ...this._unsent, ...this._told, ...this._presence.keys()];
      this._unsent = new Set(
        keys.filter((key) => (key ? text(own.get(key)) != text(this._presence.get(key)) : (this._name ?? this.self!.nickname) != this.self!.nickname)),
      );
      if (since && reached) this._client.stats.recovered++;
    }
    if (since && !reached) this._gap({ since, now });
    // Its handler may have closed the client, or left.
    if (!this._client._ready || !this._wanted) return;
    this._setStatus("joined");
    this._tell(this._joiners);
    this._changed();
    this._sendAsk();
    this._pump();
    this._listRest(it.members?.at(-1)?.player_num);
  }

  /** `joined` lists no more than 100 members. */
  private _listRest(after?: number): void {
    if (!after || !this._lists || this._known.size >= this.total) return;
    this._page("members", { after }).then(
      ({ members, total, next }) => {
        const known = this._known.size;
        members?.forEach(this._add, this);
        this.total = total;
        this._changed();
        // A page that has nobody new is the last one, whatever it says.
        if (next > after && this._known.size > known) this._listRest(next);
      },
      () => {},
    );
  }

  /** A leave was answered: by one's own `player_left`, or because the room is not joined. Or the server lacks it. */
  private _left(): void {
    this._answered(0);
    this._tell(this._leavers);
    // Answers may still come.
    if (this._outbox._entries.length) setTimeout(() => this._forgetSent(), A_SECOND);
    this._step();
  }

  /** The server says which numbers it lacks, should the room be joined again. */
  private _forgetSent(): void {
    if (this._wanted) return;
    this._outbox._giveUpSent();
    this._outbox._entries = [];
    this._rest();
  }

  private _refused(message: ServerEnvelope & { type: "error" }): void {
    const { code, request, retry_after_ms } = message.payload;
    const error = errorOf(message.payload);
    const later = isTransient(code) && (retry_after_ms || A_SECOND);
    const stranger = code == "not_in_room";
    if (request === this._op) {
      if (later) this._again(later);
      else if (stranger || request == "leave_room") this._left();
      else this._lose(error);
    } else if (this._ask?.[0] == (request || 0)) {
      if (later) setTimeout(() => this._sendAsk(), later);
      else this._answerAsk(error);
    } else if (!request && /^(room_failed|removed|banned)$/.test(code)) {
      this._lose(error);
    } else if (request == "presence") {
      for (const key of this._told) {
        if (later) this._unsent.add(key);
        // It would be refused again, and with it the next join.
        else if (key) this._presence.delete(key);
        else this._name = undefined;
      }
      if (later) this._hold(later);
      else this._emit("error", error);
    } else {
      super._receive(message);
      if (stranger && request != "leave_room" && this._wanted && !this._op) {
        this._setStatus("joining");
        this._step();
      }
    }
  }
}
