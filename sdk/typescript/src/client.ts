import type { Room } from "./room.js";
import type {
  AnyApp, AnyKind, ChatOf, ClientOptions, ClientSignals, EventMeta, EventsOf, KindOf, PresenceOf, Receipt, Recipient,
  RoomOptions, SendOptions, Stats, Status, Unsubscribe,
} from "./types.js";

/** A session with a server. App names what is said in rooms of each kind. */
export declare class Client<App = AnyApp> {
  /**
   * Does no I/O: the first join or message connects, or `connect`.
   * @param url `ws:` or `wss:`, with the path `/ws`
   */
  constructor(url: string, options?: ClientOptions);

  /** The session's id; empty before the first connection. */
  readonly id: string;
  /** How it stands with the connection: another object after each change. */
  readonly status: Status;
  /** The median of the last round trips in milliseconds. */
  readonly rtt: number | undefined;
  readonly stats: Readonly<Stats>;

  /** A room's handle: the same one for the same name. Does no I/O. */
  room<N extends string>(name: N, options?: RoomOptions<PresenceOf<KindOf<App, N>>>): Room<KindOf<App, N>>;

  /** Connects, if nothing else did yet. */
  connect(): void;
  /** Calls `handler` for each direct message with this name. */
  on<N extends keyof EventsOf<KindOf<App, "$direct:">> & string>(
    event: N,
    handler: (data: EventsOf<KindOf<App, "$direct:">>[N], meta: EventMeta) => void,
  ): Unsubscribe;
  /** Calls `handler` for what the SDK tells. */
  subscribe<S extends keyof ClientSignals<AnyKind>>(what: S, handler: ClientSignals<KindOf<App, "$direct:">>[S]): Unsubscribe;

  /** Sends an event to one session or one user. Direct messages wait for each other, whomever they are for. */
  direct<N extends keyof EventsOf<KindOf<App, "$direct:">> & string>(
    to: Recipient,
    event: N,
    data?: EventsOf<KindOf<App, "$direct:">>[N],
    options?: SendOptions,
  ): Promise<Receipt>;
  /** Sends a chat message to one session or one user. */
  chat(to: Recipient, data: ChatOf<KindOf<App, "$direct:">>, options?: SendOptions): Promise<Receipt>;

  /** The server's clock in milliseconds since the Unix epoch: that of the quickest of the last answers. */
  serverNow(): number;

  /**
   * For tests and demos: drops the connection as a pulled cable does, without a word to the server, and stays away for
   * so many milliseconds; without a number as long as after any lost connection.
   */
  pullCable(offlineMs?: number): void;

  /** Says goodbye: the session ends, and all that waits is rejected. */
  close(): void;
}
