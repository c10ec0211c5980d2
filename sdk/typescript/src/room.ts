import type {
  ActionsOf, ChatOf, DataArgs, EventMeta, EventsOf, HistoryEvent, HistoryOptions, JoinOptions, Member, PlayerState,
  Position, PresenceOf, Receipt, RoomSignals, RoomStatus, SendOptions, Unsubscribe,
} from "./types.js";

/** A room: one cached handle per name, made by `client.room(name)`. K is its kind. */
export declare class Room<K = any> {
  /** The room's whole name. */
  readonly name: string;

  /**
   * Calls `handler` for each event with this name, in the room's order, each once. Handlers attached before `join` miss
   * nothing.
   */
  on<N extends keyof EventsOf<K> & string>(
    event: N,
    handler: (data: EventsOf<K>[N], meta: EventMeta) => void,
  ): Unsubscribe;
  /** Calls `handler` for what the SDK tells of the room, and for chats and actions. */
  subscribe<S extends keyof RoomSignals<K>>(what: S, handler: RoomSignals<K>[S]): Unsubscribe;

  /**
   * Joins, and joins again after each lost connection, until `leave` was called as often as `join`. Settles when the
   * room is joined; rejects when the server refuses it.
   */
  join(options?: JoinOptions): Promise<void>;
  /** Takes back one `join`; the last one leaves the room. What was not yet sent is rejected with `left`. */
  leave(): Promise<void>;

  /** Sends an event. Settles with its place in the log; needs not be awaited. Waits while there is no connection. */
  send<N extends keyof EventsOf<K> & string>(
    event: N,
    ...args: DataArgs<EventsOf<K>[N], SendOptions>
  ): Promise<Receipt>;
  /** Sends a chat message; otherwise like `send`. */
  chat(data: ChatOf<K>, options?: SendOptions): Promise<Receipt>;
  /**
   * Does something in the game: now, or not at all (`not_connected`, `not_joined`). It has no answer; one that the
   * server refuses is told by the signal `error`.
   */
  action<N extends keyof ActionsOf<K> & string>(name: N, ...args: DataArgs<ActionsOf<K>[N], never>): Promise<void>;
  /** Sets keys of one's own member entry and removes those that are `null`. Only the newest value is kept. */
  updatePresence(keys: { [P in keyof PresenceOf<K>]?: PresenceOf<K>[P] | null }): void;

  /** The log's events, the oldest first. */
  history(options?: HistoryOptions): AsyncGenerator<HistoryEvent, void, void>;

  /** The members that are known, in the order of their numbers: all, where `total` is no greater. Never changed. */
  readonly members: readonly Member<PresenceOf<K>>[];
  /** How many members there are. */
  readonly total: number;
  /** One's own entry, when it is known. */
  readonly self: Member<PresenceOf<K>> | undefined;
  /** What the server owns in a `state` room, by `player_id`: the same map all the time, changed by each `sync`. */
  readonly state: ReadonlyMap<string, PlayerState>;
  /** The last event received: store it, and pass it as `since`. */
  readonly position: Position | undefined;
  readonly status: RoomStatus;
}
