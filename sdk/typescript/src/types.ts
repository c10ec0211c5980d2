import type { Codec } from "./codec.js";
import type { RoomcastError } from "./errors.js";

/**
 * What an app says in rooms of one kind. All of it is optional.
 *
 * ```ts
 * type App = {
 *   chat: {
 *     events: { message: { text: string }; typing: undefined };
 *     presence: { status?: "away" };
 *   };
 *   arena: { actions: { move: { position: Vector }; cast: { spell: string } } };
 * };
 * const client = new Client<App>(url);
 * client.room("chat:42").send("message", { text: "hello" }); // checked
 * ```
 */
export interface Kind {
  /** The payload of each event, by its name. */
  events?: object;
  /** The parameters of each action, by its name. */
  actions?: object;
  /** The keys of a member's presence. */
  presence?: object;
  /** What `room.chat` says; a string by default. */
  chat?: unknown;
}

/**
 * The kinds of an app's rooms, by name: the part of a room's name before its first `:`, or `default`. The kind
 * `$direct` describes the direct messages.
 */
export type AppShape = { [kind: string]: Kind };

/** An app that says nothing of itself: any name, any payload. */
export type AnyApp = { [kind: string]: AnyKind };

/** @see AnyApp */
export interface AnyKind {
  events: { [name: string]: any };
  actions: { [name: string]: any };
  presence: { [key: string]: any };
  chat: any;
}

/** The kind of a room with this name. */
export type KindOf<App, Name extends string> = (Name extends `${infer Prefix}:${string}` ? Prefix : "default") extends infer K
  ? K extends keyof App
    ? App[K]
    : string extends keyof App
      ? App[string & keyof App]
      : AnyKind
  : never;

/** Whether a type is `any`. */
type IsAny<T> = 0 extends 1 & T ? true : false;

/** The events of a kind. */
export type EventsOf<K> =
  IsAny<K> extends true ? AnyKind["events"] : K extends { events: infer E extends object } ? E : AnyKind["events"];
/** The actions of a kind. */
export type ActionsOf<K> =
  IsAny<K> extends true ? AnyKind["actions"] : K extends { actions: infer A extends object } ? A : AnyKind["actions"];
/** The presence of a kind. */
export type PresenceOf<K> =
  IsAny<K> extends true ? AnyKind["presence"] : K extends { presence: infer P extends object } ? P : AnyKind["presence"];
/** What is chatted in a kind. */
export type ChatOf<K> = IsAny<K> extends true ? any : K extends { chat: infer C } ? C : string;
/** Data may be left out where it may be `undefined`. */
export type DataArgs<T, Options> = undefined extends T ? [data?: T, options?: Options] : [data: T, options?: Options];

/** The place of an event: offsets rise from 1 within an epoch, which names a log. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** Who sent an event, and where it stands. */
export interface EventMeta {
  /** The sender's `client_id`; empty where no client sent it: the room itself, or a `service`. */
  readonly from: string;
  /** The user that the sender's token names, as the server has verified it. Left out without a token. */
  readonly user?: string;
  /** The sender's number in the room, `num` of its member entry. Left out for a direct message. */
  readonly player?: number;
  /** The service that sent it, such as the application's backend. Left out where a client did. */
  readonly service?: string;
  /** Milliseconds since the Unix epoch, by the server's clock. */
  readonly timestamp: number;
  /** Its place in the room's log. Left out for an ephemeral event. */
  readonly offset?: number;
  /** The log that `offset` belongs to. */
  readonly epoch?: string;
  /** The sender's own number for it. */
  readonly seq?: number;
}

/** An event of a room as `room.history` gives it. */
export interface HistoryEvent extends EventMeta {
  readonly type: "chat" | "event" | "game_action" | "player_joined" | "player_left";
  /** The name of an `event`. */
  readonly name?: string;
  /** The payload. */
  readonly data: any;
}

/** A player in a room. */
export interface Member<P = AnyKind["presence"]> {
  /** The user's id; without authentication the `client_id`. */
  readonly id: string;
  /** A small number that the room gives to this player alone, from 1. */
  readonly num: number;
  readonly nickname?: string | undefined;
  readonly presence: Readonly<P>;
  /** False while the player's connection is gone and the session waits for it. */
  readonly connected: boolean;
}

/** What became of a message: its number, and its place in the log. */
export interface Receipt {
  readonly seq: number;
  readonly offset: number;
}

/** How it stands with the connection. */
export type Status =
  /** Nothing was asked for yet. */
  | { readonly state: "idle" }
  /** For the first time. */
  | { readonly state: "connecting" }
  /** The server has said `welcome`. `resumed`: the session of before goes on. */
  | { readonly state: "connected"; readonly resumed: boolean }
  /** The connection is gone, why, and when the next one is tried (milliseconds since the Unix epoch, local clock). */
  | { readonly state: "reconnecting"; readonly reason: RoomcastError; readonly at: number }
  /** For good. */
  | { readonly state: "closed"; readonly reason: RoomcastError };

/** How it stands with a room. `joining` also after a lost connection, until the room is joined again. */
export type RoomStatus = "left" | "joining" | "joined";

/** Events may be missing after `since`; what comes next is after `now`. */
export interface Gap {
  /** The last event that was received. */
  readonly since?: Position;
  readonly now?: Position;
}

/** Counters since the client was made. */
export interface Stats {
  /** Connections after the session's first. */
  reconnects: number;
  /** Rooms that were joined again with all that was missed. */
  recovered: number;
  /** Times that events may be missing: see the `gap` of rooms and client. */
  gaps: number;
  /** Events that came twice and were dropped. */
  repeats: number;
  /** Messages that were sent again. */
  resent: number;
}

/** Options of `new Client`. */
export interface ClientOptions {
  /**
   * A token for the next connection, or for this one before the old token ends. Throwing `UnauthorizedError` closes the
   * client; after anything else it is asked again later.
   */
  getToken?: (() => string | Promise<string>) | undefined;
  /** The format on the wire: JSON if left out. */
  codec?: Codec | undefined;
  /** The WebSocket to use where there is no global one (Node 20: that of the package `ws`). */
  WebSocket?: WebSocketLike | undefined;
  /**
   * Bytes of messages that may wait for their answers; 1 MiB if left out. One that does not fit is refused with
   * `outbox_full`, and those that wait are kept.
   */
  outboxBytes?: number | undefined;
  /** Goes on with the session of a client that is gone: what its `save` gave. For pages see `roomcast/reload`. */
  saved?: Saved | undefined;
}

/** A session, to be stored: its id and token, and numbers of messages. Whoever has it can take the session over. */
export type Saved = [
  id: string, token: string, directSeq: number, seqs: [room: string, seq: number][], inbox: Position | undefined, late: number,
];

/** What a WebSocket class has to be. */
export type WebSocketLike = new (url: string, protocols?: string | string[]) => any;

/** Options of `client.room`. */
export interface RoomOptions<P = AnyKind["presence"]> {
  /** What others see. */
  nickname?: string | undefined;
  /** Keys of one's own member entry. */
  presence?: Partial<P> | undefined;
  /** A token for this room alone. */
  token?: string | undefined;
}

/** Options of `room.join`. */
export interface JoinOptions {
  /** The last event received, from `room.position`: what came after it follows. */
  since?: Position | undefined;
  /** Gives the join up. */
  signal?: AbortSignal | undefined;
}

/** Options of `room.send` and its like. */
export interface SendOptions {
  /** Gives the message up. One that was sent already may have been done: the promise tells, when the server has. */
  signal?: AbortSignal | undefined;
  /** The message is given up when it has no answer after this many milliseconds. */
  ttlMs?: number | undefined;
  /** Don't deliver it to oneself, whatever the room's kind says; or do. */
  noEcho?: boolean | undefined;
  /** For events: not logged, sent now or not at all, dropped first for slow readers. A cursor, typing. */
  ephemeral?: boolean | undefined;
}

/** Options of `room.history`. */
export interface HistoryOptions {
  /** The newest first. */
  reverse?: boolean | undefined;
  /** Events to give at most. All that the log has if left out. */
  limit?: number | undefined;
  /** Only events after this offset, or, in reverse, before it. */
  from?: number | undefined;
}

/** Stops what it was returned by. */
export type Unsubscribe = () => void;

/** What `room.subscribe` tells. */
export interface RoomSignals<K> {
  /** The members have changed. */
  members: (members: readonly Member<PresenceOf<K>>[]) => void;
  status: (status: RoomStatus) => void;
  /** Events may be missing, and won't come. What was on the screen may be old: load it anew. */
  gap: (gap: Gap) => void;
  /** In `state` rooms: what the server owns, or what changed in it. `room.state` has all. */
  sync: (sync: SyncPayload) => void;
  /** Something that no promise tells: a refused action or presence, a room that was lost. */
  error: (error: RoomcastError) => void;
  chat: (data: ChatOf<K>, meta: EventMeta) => void;
  /** An action that the room relays. */
  action: (action: ActionOf<K>, meta: EventMeta) => void;
  /** Every event of the room's log, of whatever type, and ephemeral ones. */
  any: (event: HistoryEvent) => void;
}

/** An action with its name and parameters in one object. */
export type ActionOf<K> = {
  [Name in keyof ActionsOf<K>]: { action: Name } & ActionsOf<K>[Name];
}[keyof ActionsOf<K>];

/** What `client.subscribe` tells. */
export interface ClientSignals<K> {
  status: (status: Status) => void;
  /** Direct messages may be missing. */
  gap: (gap: Gap) => void;
  /** Something that no promise tells. */
  error: (error: RoomcastError) => void;
  /** A direct chat message. */
  chat: (data: ChatOf<K>, meta: EventMeta) => void;
  /** Every direct message. */
  any: (event: HistoryEvent) => void;
}

/** To one session, or to all of a user's. */
export type Recipient = { client: string } | { user: string };

// The wire, in its JSON form.

/** Three axes. */
export interface Vector {
  x: number;
  y: number;
  z: number;
}

/** A player's state in a `state` room. */
export interface PlayerState {
  player_id: string;
  position: Vector;
  velocity: Vector;
  health: number;
  score: number;
  player_num: number;
}

/** The payload of `sync`. */
export interface SyncPayload {
  frame_num: number;
  players: PlayerState[];
  timestamp: number;
  /** All players: what is not here is gone. */
  full: boolean;
  /** The `player_id` of those who went. */
  left: string[];
  /** The last event of the room's log that this includes. */
  offset: number;
}

/** A member on the wire. */
export interface WireMember {
  player_id: string;
  player_num: number;
  nickname?: string;
  presence?: Record<string, unknown>;
  connected?: boolean;
}

/** The payload of `welcome`. */
export interface WelcomePayload {
  client_id: string;
  resume_token?: string;
  resumed: boolean;
  ping_interval_ms: number;
  limits: {
    max_message: number;
    max_rooms: number;
    messages_per_second: number;
    burst: number;
    max_presence: number;
    max_name: number;
    max_unanswered: number;
  };
  server_time: number;
  version: number;
  seq_acked: boolean;
  grace_ms: number;
  inbox?: Position;
  inbox_recovered: boolean;
  user_id?: string;
  token_expires_at: number;
  direct_repeats_possible: boolean;
}

/** The payload of `joined`. */
export interface JoinedPayload {
  members: WireMember[];
  total: number;
  player_num: number;
  epoch: string;
  offset: number;
  recovered: boolean;
  repeats_possible: boolean;
  player_id: string;
  mode: string;
  presence: string;
  properties?: Record<string, unknown>;
}

/** The payload of `error`. */
export interface ErrorPayload {
  code: string;
  message: string;
  seq?: number;
  retry_after_ms?: number;
  request?: string;
}

/** The payload of `hello`. */
export interface HelloPayload {
  version?: number;
  capabilities?: string[];
  token?: string;
  resume_token?: string;
  positions?: { room_id: string; since?: Position; first_seq?: number }[];
  inbox?: Position;
  first_direct_seq?: number;
}

/** The payload of `join_room`. */
export interface JoinPayload {
  nickname?: string;
  since?: Position;
  first_seq?: number;
  presence?: Record<string, unknown>;
  token?: string;
}

/** What a payload is that is not the protocol's own; JSON if left out. */
export type PayloadKind = "json" | "text" | "bytes";

/** The payload of each message to the server. */
export interface ClientPayloads {
  hello: HelloPayload;
  join_room: JoinPayload;
  leave_room: undefined;
  game_action: { action: string; position?: Partial<Vector>; target_id?: number; [key: string]: unknown };
  chat: unknown;
  event: unknown;
  presence: { presence: Record<string, unknown>; nickname?: string | undefined };
  skip: { seq: number };
  ping: unknown;
  members: { after?: number; limit?: number };
  history: { after?: number; before?: number; limit?: number };
  auth: { token: string };
}

/** The payload of each message from the server. */
export interface ServerPayloads {
  welcome: WelcomePayload;
  joined: JoinedPayload;
  player_joined: WireMember;
  player_left: { player_id: string; player_num: number };
  presence: Partial<WireMember> & { total?: number };
  sync: SyncPayload;
  game_action: { action: string; [key: string]: unknown };
  chat: unknown;
  event: unknown;
  ack: { acks: { seq: number; offset: number }[] };
  error: ErrorPayload;
  pong: unknown;
  members: { members: WireMember[]; total: number; next: number };
  history: { events: ServerEnvelope[]; next: number; epoch: string };
  reconnect: { delay_ms: number; url?: string; reason?: string };
  auth: { token_expires_at: number; user_id?: string };
}

/** What every message may have beside `type` and `payload`. */
export interface EnvelopeFields {
  from_client_id?: string | undefined;
  to_client_id?: string | undefined;
  to_user_id?: string | undefined;
  room_id?: string | undefined;
  timestamp?: number | undefined;
  seq?: number | undefined;
  offset?: number | undefined;
  epoch?: string | undefined;
  payload_kind?: PayloadKind | undefined;
  name?: string | undefined;
  ephemeral?: boolean | undefined;
  no_echo?: boolean | undefined;
  request_id?: number | undefined;
  from_user_id?: string | undefined;
  from_player_num?: number | undefined;
  from_service?: string | undefined;
}

/** A message to the server, in its JSON form. */
export type ClientEnvelope = {
  [T in keyof ClientPayloads]: EnvelopeFields & { type: T; payload?: ClientPayloads[T] };
}[keyof ClientPayloads];

/** A message from the server, in its JSON form. Keys that say nothing are left out. */
export type ServerEnvelope = {
  [T in keyof ServerPayloads]: EnvelopeFields & { type: T; payload: ServerPayloads[T] };
}[keyof ServerPayloads];
