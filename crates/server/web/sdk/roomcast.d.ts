/* roomcast 0.1.0, Apache-2.0 OR MIT */
/** The kind of direct messages. */
type Direct<App> = KindOf<App, "$direct:">;
/**
 * A session with a server, over one connection at a time. App names what is said in rooms of each kind.
 *
 * Making one does no I/O and touches no global: the first join or message connects, or `connect`.
 */
declare class Client<App = AnyApp> extends Connection<Direct<App>, ClientSignals<Direct<App>>> {
    /** The session's id; empty before the first connection. */
    id: string;
    /** Counters since the client was made. */
    readonly stats: Stats;
    private _rooms;
    /** Rooms that were left: as long as the application holds one, it is the same one. */
    private _past;
    /** The next numbers in rooms that are not among `_rooms`. */
    private _seqs;
    private _resumeToken;
    private _lastId;
    private _life;
    /** @param url `ws:` or `wss:`, with the path `/ws` */
    constructor(url: string, options?: ClientOptions);
    /**
     * A room's handle: the same one for the same name, as long as it is joined, has handlers or is held. Does no I/O.
     * Options of a later call replace those before.
     */
    room<N extends string>(name: N, options?: RoomOptions<PresenceOf<KindOf<App, N>>>): Room<KindOf<App, N>>;
    /** Connects, if nothing did yet. */
    connect(): void;
    /** Sends an event to one session or one user. Direct messages wait for each other, whomever they are for. */
    direct<N extends keyof EventsOf<Direct<App>> & string>(to: Recipient, event: N, data?: EventsOf<Direct<App>>[N], options?: SendOptions): Promise<Receipt>;
    /** Sends a chat message to one session or one user. */
    chat(to: Recipient, data: ChatOf<Direct<App>>, options?: SendOptions): Promise<Receipt>;
    /**
     * What it takes to go on with the session in another client, when this one is gone: for `saved` of its options. Rooms
     * that are not joined there at once are left; messages that wait are not in it. Only one client may go on.
     */
    save(): Saved | undefined;
}

/** A `hello` may reach the server so long after its connection was given up. */
declare const LATE_HELLO_MS = 120000;
/** One WebSocket at a time: opened, greeted, watched, lost, opened again. `_ready` since `welcome`. */
declare abstract class Connection<K, Signals> extends Channel<K, Signals> {
    private _url;
    /** How it stands with the connection: another object after each change. */
    status: Status;
    private _codec;
    private _clock;
    private _socket;
    /** The present attempt or connection; what comes from one before is not heard. */
    private _turn;
    /** The one thing waited for: the next attempt, the answer to `hello`, the next ping, or the time to move. */
    private _timer;
    private _tokenTimer;
    /** Failures in a row; a connection that lived from ping to ping was a good one. */
    private _attempts;
    private _greetedAt;
    /** When the whole burst may be sent again. */
    private _fullAt;
    /** When the next ping is due, and what the clock on the wall will say then. */
    private _due;
    private _dueDate;
    /** Pings since anything was heard. */
    private _missed;
    /** The server asked to come back then, there. */
    private _moveAt;
    private _target;
    /** Closes what was the connection when the cable was pulled. */
    private _unplug;
    /** The median of the last round trips in milliseconds. */
    get rtt(): number | undefined;
    /** The server's clock in milliseconds since the Unix epoch, as the quickest of the last answers told it. */
    serverNow(): number;
    /**
     * The network or the screen is back: connects at once, or sees whether the connection is alive. Browsers say so by
     * themselves; in React Native call it when the app becomes active.
     */
    wake(): void;
    /**
     * For tests and demos: drops the connection as a pulled cable does, and stays away for so many milliseconds, or until
     * `wake`; without a number as long as after any lost connection. The server, and with it the others, see it gone after 5
     * seconds.
     */
    pullCable(offlineMs?: number): void;
    /** Says goodbye: the session ends, and all that waits is rejected. */
    close(): void;
    private _deadline;
    private _heard;
    /** A `hello` was refused. It may be for one of its rooms, or for their number: without them, each has its own answer. */
    private _unwelcome;
    /** Asks for a token after so many milliseconds; less than none: it never ends. */
    private _renew;
    /** The time for a ping; `probe`: whether the connection is alive is to be known soon. */
    private _beat;
    private _over;
    private _retry;
    private _shut;
    private _end;
}

/** What the application gets of an event. What else the wire says stays, to be looked at. */
declare const eventOf: (it: ServerEnvelope) => HistoryEvent;
/** What rooms and direct messages have in common: handlers, an order of messages to send, and one of those received. */
declare abstract class Channel<K, Signals> extends Received {
    /**
     * Calls `handler` for each event with this name, in order, each once. Returns what stops it. Handlers attached before
     * `join` miss nothing.
     */
    on<N extends keyof EventsOf<K> & string>(event: N, handler: (data: EventsOf<K>[N], meta: EventMeta) => void): Unsubscribe;
    /** Calls `handler` for what is not one of the application's events. Returns what stops it. */
    subscribe<S extends keyof Signals & string>(what: S, handler: Signals[S]): Unsubscribe;
}

/** How far a log was received, a room's or the inbox, without what came twice. */
declare class Received {
    /** The last numbers of each sender, whatever log they came in. */
    private _seen;
    /** Whether an event is new; `gap` is called where the log began anew and nothing has said so. It may go on under another name. */
    _accept({ epoch, offset, from_client_id, seq }: EnvelopeFields, gap: (gap: Gap) => void): boolean;
    private _isNew;
}

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
interface Kind {
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
type AppShape = {
    [kind: string]: Kind;
};
/** An app that says nothing of itself: any name, any payload. */
type AnyApp = {
    [kind: string]: AnyKind;
};
/** @see AnyApp */
interface AnyKind {
    events: {
        [name: string]: any;
    };
    actions: {
        [name: string]: any;
    };
    presence: {
        [key: string]: any;
    };
    chat: any;
}
/** The kind of a room with this name. */
type KindOf<App, Name extends string> = (Name extends `${infer Prefix}:${string}` ? Prefix : "default") extends infer K ? K extends keyof App ? App[K] : string extends keyof App ? App[string & keyof App] : AnyKind : never;
/** Whether a type is `any`. */
type IsAny<T> = 0 extends 1 & T ? true : false;
/** The events of a kind. */
type EventsOf<K> = IsAny<K> extends true ? AnyKind["events"] : K extends {
    events: infer E extends object;
} ? E : AnyKind["events"];
/** The actions of a kind. */
type ActionsOf<K> = IsAny<K> extends true ? AnyKind["actions"] : K extends {
    actions: infer A extends object;
} ? A : AnyKind["actions"];
/** The presence of a kind. */
type PresenceOf<K> = IsAny<K> extends true ? AnyKind["presence"] : K extends {
    presence: infer P extends object;
} ? P : AnyKind["presence"];
/** What is chatted in a kind. */
type ChatOf<K> = IsAny<K> extends true ? any : K extends {
    chat: infer C;
} ? C : string;
/** Data may be left out where it may be `undefined`. */
type DataArgs<T, Options> = undefined extends T ? [data?: T, options?: Options] : [data: T, options?: Options];
/** The place of an event: offsets rise from 1 within an epoch, which names a log. */
interface Position {
    readonly epoch: string;
    readonly offset: number;
}
/** Who sent an event, and where it stands. */
interface EventMeta {
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
interface HistoryEvent extends EventMeta {
    readonly type: "chat" | "event" | "game_action" | "player_joined" | "player_left";
    /** The name of an `event`. */
    readonly name?: string;
    /** The payload. */
    readonly data: any;
}
/** A player in a room. */
interface Member<P = AnyKind["presence"]> {
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
interface Receipt {
    readonly seq: number;
    readonly offset: number;
}
/** How it stands with the connection. */
type Status =
/** Nothing was asked for yet. */
{
    readonly state: "idle";
}
/** For the first time. */
 | {
    readonly state: "connecting";
}
/** The server has said `welcome`. `resumed`: the session of before goes on. */
 | {
    readonly state: "connected";
    readonly resumed: boolean;
}
/** The connection is gone, why, and when the next one is tried (milliseconds since the Unix epoch, local clock). */
 | {
    readonly state: "reconnecting";
    readonly reason: RoomcastError;
    readonly at: number;
}
/** For good. */
 | {
    readonly state: "closed";
    readonly reason: RoomcastError;
};
/** How it stands with a room. `joining` also after a lost connection, until the room is joined again. */
type RoomStatus = "left" | "joining" | "joined";
/** Events may be missing after `since`; what comes next is after `now`. */
interface Gap {
    /** The last event that was received. */
    readonly since?: Position;
    readonly now?: Position;
}
/** Counters since the client was made. */
interface Stats {
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
interface ClientOptions {
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
type Saved = [
    id: string,
    token: string,
    directSeq: number,
    seqs: [room: string, seq: number][],
    inbox: Position | undefined,
    late: number
];
/** What a WebSocket class has to be. */
type WebSocketLike = new (url: string, protocols?: string | string[]) => any;
/** Options of `client.room`. */
interface RoomOptions<P = AnyKind["presence"]> {
    /** What others see. */
    nickname?: string | undefined;
    /** Keys of one's own member entry. */
    presence?: Partial<P> | undefined;
    /** A token for this room alone. */
    token?: string | undefined;
}
/** Options of `room.join`. */
interface JoinOptions {
    /** The last event received, from `room.position`: what came after it follows. */
    since?: Position | undefined;
    /** Gives the join up. */
    signal?: AbortSignal | undefined;
}
/** Options of `room.send` and its like. */
interface SendOptions {
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
interface HistoryOptions {
    /** The newest first. */
    reverse?: boolean | undefined;
    /** Events to give at most. All that the log has if left out. */
    limit?: number | undefined;
    /** Only events after this offset, or, in reverse, before it. */
    from?: number | undefined;
}
/** Stops what it was returned by. */
type Unsubscribe = () => void;
/** What `room.subscribe` tells. */
interface RoomSignals<K> {
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
type ActionOf<K> = {
    [Name in keyof ActionsOf<K>]: {
        action: Name;
    } & ActionsOf<K>[Name];
}[keyof ActionsOf<K>];
/** What `client.subscribe` tells. */
interface ClientSignals<K> {
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
type Recipient = {
    client: string;
} | {
    user: string;
};
/** Three axes. */
interface Vector {
    x: number;
    y: number;
    z: number;
}
/** A player's state in a `state` room. */
interface PlayerState {
    player_id: string;
    position: Vector;
    velocity: Vector;
    health: number;
    score: number;
    player_num: number;
}
/** The payload of `sync`. */
interface SyncPayload {
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
interface WireMember {
    player_id: string;
    player_num: number;
    nickname?: string;
    presence?: Record<string, unknown>;
    connected?: boolean;
}
/** The payload of `welcome`. */
interface WelcomePayload {
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
interface JoinedPayload {
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
interface ErrorPayload {
    code: string;
    message: string;
    seq?: number;
    retry_after_ms?: number;
    request?: string;
}
/** The payload of `hello`. */
interface HelloPayload {
    version?: number;
    capabilities?: string[];
    token?: string;
    resume_token?: string;
    positions?: {
        room_id: string;
        since?: Position;
        first_seq?: number;
    }[];
    inbox?: Position;
    first_direct_seq?: number;
}
/** The payload of `join_room`. */
interface JoinPayload {
    nickname?: string;
    since?: Position;
    first_seq?: number;
    presence?: Record<string, unknown>;
    token?: string;
}
/** What a payload is that is not the protocol's own; JSON if left out. */
type PayloadKind = "json" | "text" | "bytes";
/** The payload of each message to the server. */
interface ClientPayloads {
    hello: HelloPayload;
    join_room: JoinPayload;
    leave_room: undefined;
    game_action: {
        action: string;
        position?: Partial<Vector>;
        target_id?: number;
        [key: string]: unknown;
    };
    chat: unknown;
    event: unknown;
    presence: {
        presence: Record<string, unknown>;
        nickname?: string | undefined;
    };
    skip: {
        seq: number;
    };
    ping: unknown;
    members: {
        after?: number;
        limit?: number;
    };
    history: {
        after?: number;
        before?: number;
        limit?: number;
    };
    auth: {
        token: string;
    };
}
/** The payload of each message from the server. */
interface ServerPayloads {
    welcome: WelcomePayload;
    joined: JoinedPayload;
    player_joined: WireMember;
    player_left: {
        player_id: string;
        player_num: number;
    };
    presence: Partial<WireMember> & {
        total?: number;
    };
    sync: SyncPayload;
    game_action: {
        action: string;
        [key: string]: unknown;
    };
    chat: unknown;
    event: unknown;
    ack: {
        acks: {
            seq: number;
            offset: number;
        }[];
    };
    error: ErrorPayload;
    pong: unknown;
    members: {
        members: WireMember[];
        total: number;
        next: number;
    };
    history: {
        events: ServerEnvelope[];
        next: number;
        epoch: string;
    };
    reconnect: {
        delay_ms: number;
        url?: string;
        reason?: string;
    };
    auth: {
        token_expires_at: number;
        user_id?: string;
    };
}
/** What every message may have beside `type` and `payload`. */
interface EnvelopeFields {
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
type ClientEnvelope = {
    [T in keyof ClientPayloads]: EnvelopeFields & {
        type: T;
        payload?: ClientPayloads[T];
    };
}[keyof ClientPayloads];
/** A message from the server, in its JSON form. Keys that say nothing are left out. */
type ServerEnvelope = {
    [T in keyof ServerPayloads]: EnvelopeFields & {
        type: T;
        payload: ServerPayloads[T];
    };
}[keyof ServerPayloads];

/**
 * Turns messages into what a WebSocket carries, and back. The envelopes are the JSON forms of the protocol, whatever
 * the format is on the wire, but for payloads with `payload_kind: "bytes"`: to `encode` they are a `Uint8Array`, and
 * `decode` gives a `Uint8Array` or the text in base64.
 */
interface Codec {
    /** The WebSocket's subprotocol. */
    readonly subprotocol: string;
    /** One message: a text frame or a binary one. */
    encode(message: ClientEnvelope): string | Uint8Array;
    /** One frame. Throws if it can't be read. A `type` that is not known is no error: it is ignored. */
    decode(data: string | ArrayBuffer): ServerEnvelope;
}
/** JSON, the default. */
declare const json: Codec;

/**
 * Something was refused, or could not be done.
 *
 * `code` is stable: one of the server's ([protocol.md](../../../docs/protocol.md#errors)), the name of a close code, or
 * one of the client's own:
 *
 * | code | meaning |
 * |---|---|
 * | `not_connected` | an action or ephemeral event while there is no connection: it was not sent. Or no connection can be made |
 * | `not_joined` | the room is not joined: `room.join()` comes first |
 * | `already_joined` | the room is joined, and past the place that it is to be joined from |
 * | `outbox_full` | too many bytes wait to be sent; this message is not among them |
 * | `expired`, `aborted` | the message's time ran out, or its signal said so: it was not done |
 * | `unconfirmed` | the message was sent, and nobody will say what became of it: it may have been done |
 * | `left` | the room was left before the message was sent |
 * | `closed` | the client was closed |
 * | `rate_limited` | an action or ephemeral event that comes too soon after others: it was not sent |
 * | `invalid_value`, `invalid_name` | what can't be encoded, or no recipient: nothing was sent |
 * | `too_large` | more than the server takes in a message: nothing was sent |
 * | `unreadable` | the server's answer can't be read |
 * | `connection_lost` | the connection broke (a reason of `reconnecting`) |
 */
declare class RoomcastError extends Error {
    /** A stable name for what went wrong. */
    readonly code: string;
    /** Trying again may help after this many milliseconds. */
    readonly retryAfterMs?: number | undefined;
    name: string;
    constructor(
    /** A stable name for what went wrong. */
    code: string, message?: string,
    /** Trying again may help after this many milliseconds. */
    retryAfterMs?: number | undefined);
}
/** Thrown by `getToken`: there is no token for this user, and asking again won't help. The client closes. */
declare class UnauthorizedError extends RoomcastError {
    constructor(message?: string);
}
/** As an error of this kind: what an application's code, or the platform, has thrown. */
declare const asError: (error: unknown, code?: string) => RoomcastError;
/** Somebody who waits. */
type Done<T = any> = (error?: RoomcastError, value?: T) => void;
/** A promise that is no unhandled rejection when nobody awaits it. */
declare const promise: <T>(run: (done: Done<T>) => void) => Promise<T>;
/** A copy, as JSON says it: the application may change its object. Throws what JSON can't say. */
declare const copyOf: (it: unknown) => any;
/** Whether a text has half of a character, which no server takes in a name. */
declare const isTorn: (it: string) => boolean;
/** Calls `then` when the signal says so. Returns what ends that: a signal may live longer than what it is for. */
declare const onAbort: (signal: AbortSignal | undefined, then: () => void) => (() => void);
/** A message was given to a connection, and nobody will say what became of it. */
declare const unconfirmed: () => RoomcastError;
/** What the server refused something with. */
declare const errorOf: (it: ErrorPayload) => RoomcastError;
/** Whether the same request may be taken a little later. */
declare const isTransient: (code: string) => boolean;

/** A room: one cached handle per name, made by `client.room(name)`. K is its kind. */
declare class Room<K = any> extends Channel<K, RoomSignals<K>> {
    /** The room's whole name. */
    readonly name: string;
    /** How it stands: `joining` also after a lost connection, until the room is joined again. */
    status: RoomStatus;
    /** How many members there are. */
    total: number;
    /**
     * The members that are known, in the order of their numbers: all, where `total` is no greater; only oneself in a room
     * that tells no more than their number. Another list after each change.
     */
    readonly members: readonly Member<PresenceOf<K>>[];
    /** What the application's backend says of the room. A change comes as the event `roomcast.properties`. */
    readonly properties: Readonly<Record<string, any>>;
    /** The last event received: store it, and pass it as `since`. */
    readonly position: Position | undefined;
    /** What the server owns in a `state` room, by `player_id`: the same map all the time, changed by each `sync`. */
    readonly state: ReadonlyMap<string, PlayerState>;
    private _joins;
    /** `joined` has not come since the application joined it. */
    private _fresh?;
    /** What is asked of the server and not answered: one thing at a time. */
    private _op;
    private _timer;
    private _joiners;
    private _leavers;
    /** The log that messages were sent to. */
    private _epoch?;
    private _num;
    /** The room's clock when the list was made. */
    private _listedAt?;
    private _known;
    /** What one wants to be called, once it was changed. */
    private _name;
    /** One's own keys as they are to be. */
    private _presence;
    /** Keys to tell, and those told last; the empty one, which is no key, is the nickname. */
    private _unsent;
    private _told;
    /** Whether the server tells of each member; else of their number. */
    private _lists;
    /** The page that is asked for, and those that wait for it. */
    private _ask;
    private _asks;
    /** One's own entry, when it is known. */
    get self(): Member<PresenceOf<K>> | undefined;
    /**
     * Joins, and joins again after each lost connection, until `leave` was called as often as `join`. Settles when the
     * room is joined; rejects when the server refuses it. Where others have joined it already and are past `since`, it
     * rejects with `already_joined`: they would hear again what they have heard. `history` gives what is missing.
     */
    join({ since, signal }?: JoinOptions): Promise<void>;
    /**
     * Takes back one `join`; the last one leaves the room, unless it is joined again at once. What was not yet sent is
     * rejected with `left`. Settles when the server has answered, or has nothing to leave.
     */
    leave(): Promise<void>;
    /** Sends an event. Settles with its place in the log; needs not be awaited. Waits while there is no connection. */
    send<N extends keyof EventsOf<K> & string>(event: N, ...[data, options]: DataArgs<EventsOf<K>[N], SendOptions>): Promise<Receipt>;
    /** Sends a chat message; otherwise like `send`. */
    chat(data: ChatOf<K>, options?: SendOptions): Promise<Receipt>;
    /**
     * Does something in the game: now, or not at all (`not_connected`, `not_joined`). It has no answer; one that the
     * server refuses is told by the signal `error`.
     */
    action<N extends keyof ActionsOf<K> & string>(name: N, ...[parameters]: DataArgs<ActionsOf<K>[N], never>): Promise<unknown>;
    /**
     * Sets keys of one's own member entry and removes those that are `null`. Only the newest value is kept; it is told
     * again after a lost connection. A refusal is told by the signal `error`.
     */
    updatePresence(keys: {
        [P in keyof PresenceOf<K>]?: PresenceOf<K>[P] | null | undefined;
    }): void;
    /**
     * Changes one's nickname, also for later joins. A refusal, such as that of a room whose nicknames are those of tokens, is
     * told by the signal `error`.
     */
    setNickname(nickname: string): void;
    /** The log's events, the oldest first or, in `reverse`, the newest first. */
    history({ reverse, limit, from }?: HistoryOptions): AsyncGenerator<HistoryEvent, void, void>;
    /** One page of a room is asked for at a time. */
    private _page;
    private _sendAsk;
    private _answerAsk;
    private _setStatus;
    /** Asks the server for what the application wants, if nothing else is asked. */
    private _step;
    /** Asks again after this time. */
    private _again;
    /** Nothing is asked any more. */
    private _answered;
    /** The server has put this client out of the room, or did not let it in. */
    private _lose;
    private _tell;
    private _changed;
    private _add;
    /** Who came and went is not told from now on: a list would be of those who were there. */
    private _countOnly;
    private _onJoined;
    /** `joined` lists no more than 100 members. */
    private _listRest;
    /** A leave was answered: by one's own `player_left`, or because the room is not joined. Or the server lacks it. */
    private _left;
    /** The server says which numbers it lacks, should the room be joined again. */
    private _forgetSent;
    private _refused;
}

export { Client, Room, RoomcastError, UnauthorizedError, json, Codec, Kind, AppShape, AnyApp, AnyKind, KindOf, EventsOf, ActionsOf, PresenceOf, ChatOf, DataArgs, Position, EventMeta, HistoryEvent, Member, Receipt, Status, RoomStatus, Gap, Stats, ClientOptions, Saved, WebSocketLike, RoomOptions, JoinOptions, SendOptions, HistoryOptions, Unsubscribe, RoomSignals, ActionOf, ClientSignals, Recipient, Vector, PlayerState, SyncPayload, WireMember, WelcomePayload, JoinedPayload, ErrorPayload, HelloPayload, JoinPayload, PayloadKind, ClientPayloads, ServerPayloads, EnvelopeFields, ClientEnvelope, ServerEnvelope };
