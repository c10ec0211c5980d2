//! What can be set: limits and timings of a shard, and the kinds of rooms.
//!
//! Durations are milliseconds, sizes are bytes, and 0 switches a limit off, unless a field says otherwise.

use roomcast_protocol::Limits;

use crate::authorize::Asks;
use crate::fact::{ClientFacts, RoomFacts};
use crate::log::Retention;

/// Settings that hold for every connection and room of a node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits of a single message: names, nesting, maps.
    pub message: Limits,
    /// Largest message taken from a client and told to it in `welcome`. Enforced by the WebSocket layer.
    pub max_message: usize,
    /// Rooms that one session may be in.
    pub max_rooms: u32,
    /// Messages a second that a connection may send in the long run.
    pub messages_per_second: u32,
    /// Messages that it may send at once.
    pub burst: u32,
    /// Time from a message's first byte to its last, after which the connection is closed. Kept by whoever drives the
    /// shard, as the core sees whole messages.
    pub message_timeout: u64,
    /// Errors that a connection may cause in ten seconds before it is closed as a repeat offender.
    pub max_offences: u32,
    /// Bytes of events that may wait for one connection.
    pub event_lane: usize,
    /// Bytes of answers (acks, errors, pongs) that may wait for one connection. Never off.
    pub control_lane: usize,
    /// Bytes that one connection may have published that their rooms have not yet taken. Never off.
    pub publish_window: usize,
    /// Bytes that may be on their way from one shard to another. Never off.
    pub link_window: usize,
    /// Bytes of fan-out (publishes times their receivers) that a shard's rooms make in one turn before
    /// it writes. More bytes a write, longer turns: 16 MiB is about 10 ms of writing. Never off.
    pub turn_bytes: usize,
    /// Heartbeat: a ping after this much silence.
    pub ping_interval: u64,
    /// Heartbeat: gone after this much silence.
    pub pong_timeout: u64,
    /// A socket that took no byte for so long while something waited is closed.
    pub write_timeout: u64,
    /// A connection whose client needs a token, and has shown none, is closed at this age.
    pub token_timeout: u64,
    /// Pool: a connection in no room is closed after so long without use.
    pub max_idle: u64,
    /// Pool: a connection in no room is closed at this age.
    pub max_lifetime: u64,
    /// Time that one call of room logic should take at most; a longer one is counted and logged.
    pub logic_budget: u64,
    /// How long a session lives without a connection; 0: sessions end with their connections.
    pub session_grace: u64,
    /// How long one lives whose client has said goodbye with close code 1001, at most.
    pub goodbye_grace: u64,
    /// How long a resume token is good; 0: for ever.
    pub token_lifetime: u64,
    /// Signs resume tokens. Whoever has it can make tokens for any session.
    pub session_key: [u8; 32],
    /// Sessions without a connection that a shard keeps; beyond that, sessions end with their connections.
    pub max_parked: usize,
    /// The same for those whose connections came from one [`Origin`](crate::Origin).
    pub max_parked_per_origin: usize,
    /// Sessions that one user may have, those without a connection included; beyond it newcomers are refused.
    pub max_user_sessions: usize,
    /// Bytes that the inboxes of a node may take together. Beyond it those lose their messages first that got none for
    /// longest.
    pub inbox_memory: usize,
    /// Bytes that the logs of a node's rooms may cost together.
    pub log_memory: usize,
    /// Bytes of a room, and of all rooms of a shard, that may wait for a store to confirm what was done before them.
    /// Beyond that operations wait. Never off.
    pub unconfirmed: (usize, usize),
    /// When the rooms of a shard write to a store.
    pub gather: GatherSettings,
    /// How long an operation may wait because of a store before it is refused.
    pub patience: u64,
    /// Connections a second of a shard that are asked to come back as their rooms' homes are gone; 0: all at once.
    pub come_back_pace: u32,
    /// A reader that needs so long to catch up with its rooms is closed; 0: it may take its time.
    pub behind_timeout: u64,
    /// Whether a room of a kind that is not configured is refused; else it takes the settings of `default`.
    pub refuse_unknown_kinds: bool,
    /// What is told of clients.
    pub facts: ClientFacts,
}

/// How long rooms wait for each other before they write to a store together: the shortest time of those that follow.
#[derive(Clone, Copy, Debug)]
pub struct GatherSettings {
    /// Microseconds from when rooms write until they write again, where a shard writes `busy` events a second. It grows with
    /// the square of what the shard writes. 0: each room writes at once.
    pub longest: u64,
    /// Events a second of a shard.
    pub busy: u64,
    /// Whether also those count that no other node is told of.
    pub counts_own: bool,
    /// The time in which so many events come: more at once save nothing.
    pub events: u64,
    /// Microseconds by which answers may be later than the quickest. Then nobody waits.
    pub slack: u64,
    /// So many times what they are later.
    pub times: u64,
}

impl Default for GatherSettings {
    fn default() -> GatherSettings {
        GatherSettings {
            longest: 25_000,
            busy: 10_000,
            counts_own: false,
            events: 500,
            slack: 700,
            times: 16,
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            message: Limits::default(),
            max_message: 64 * 1024,
            max_rooms: 64,
            messages_per_second: 120,
            burst: 240,
            message_timeout: 30_000,
            max_offences: 32,
            event_lane: 256 * 1024,
            control_lane: 4 * 1024,
            publish_window: 128 * 1024,
            link_window: 8 * 1024 * 1024,
            turn_bytes: 16 * 1024 * 1024,
            ping_interval: 30_000,
            pong_timeout: 60_000,
            write_timeout: 10_000,
            token_timeout: 10_000,
            max_idle: 5 * 60_000,
            max_lifetime: 30 * 60_000,
            logic_budget: 5,
            session_grace: 30_000,
            goodbye_grace: 5_000,
            token_lifetime: 7 * 24 * 3_600_000,
            session_key: [0; 32],
            max_parked: 100_000,
            max_parked_per_origin: 10_000,
            max_user_sessions: 64,
            inbox_memory: 128 * 1024 * 1024,
            log_memory: 256 * 1024 * 1024,
            unconfirmed: (1024 * 1024, 64 * 1024 * 1024),
            gather: GatherSettings::default(),
            patience: 2_000,
            come_back_pace: 5_000,
            behind_timeout: 0,
            refuse_unknown_kinds: false,
            facts: ClientFacts::default(),
        }
    }
}

/// What a room does with `game_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The server owns a `PlayerState` for each player.
    State,
    /// Events only: every action is relayed.
    Relay,
}

impl Mode {
    /// The name in messages and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::State => "state",
            Mode::Relay => "relay",
        }
    }
}

/// How much a room tells about who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceMode {
    /// Everybody sees everybody come, go and change.
    Full,
    /// Everybody sees how many there are.
    Count,
    /// Nobody is told anything.
    None,
}

impl PresenceMode {
    /// The name in messages and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            PresenceMode::Full => "full",
            PresenceMode::Count => "count",
            PresenceMode::None => "none",
        }
    }
}

/// Where nicknames come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nickname {
    /// A client chooses its own, and may change it. One that chooses none has that of its token.
    Free,
    /// From the token alone; without one, there is none.
    Token,
}

impl Nickname {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Nickname::Free => "free",
            Nickname::Token => "token",
        }
    }
}

/// The settings of one kind of room: the part of a room's name before the first `:`.
#[derive(Clone, Debug)]
pub struct Kind {
    /// The kind's name.
    pub name: String,
    /// What a room does with `game_action`.
    pub mode: Mode,
    /// Players that a room takes.
    pub max_players: u32,
    /// How much members learn about each other.
    pub presence: PresenceMode,
    /// Members above which `full` becomes `count` for the rest of the room's life.
    pub full_presence_limit: u32,
    /// Where its members' nicknames come from.
    pub nickname: Nickname,
    /// Whether a sender does not get its own events, where the message does not say.
    pub no_echo: bool,
    /// Time between two `sync`s of a room. Never off.
    pub tick: u64,
    /// How much of a room's log is kept.
    pub retention: Retention,
    /// Rules of a `state` room.
    pub rules: StateRules,
    /// Compression of what this kind of room sends, for connections that agreed to it.
    pub compression: Compression,
    /// What is told of its rooms.
    pub facts: RoomFacts,
    /// What a backend decides in them.
    pub asks: Asks,
}

impl Default for Kind {
    fn default() -> Kind {
        Kind {
            name: "default".to_owned(),
            mode: Mode::State,
            max_players: 0,
            presence: PresenceMode::Full,
            full_presence_limit: 256,
            nickname: Nickname::Free,
            no_echo: false,
            tick: 50,
            retention: Retention::default(),
            rules: StateRules::default(),
            compression: Compression::default(),
            facts: RoomFacts::default(),
            asks: Asks::default(),
        }
    }
}

/// The rules of the built-in `state` logic.
#[derive(Clone, Debug)]
pub struct StateRules {
    /// Coordinates are within `-bounds..=bounds` on every axis.
    pub bounds: f64,
    /// Distance a second that a `move` may cover.
    pub max_speed: f64,
    /// Health of a player who joins.
    pub max_health: i32,
    /// Farthest distance at which an `attack` hits.
    pub attack_range: f64,
    /// Time between two attacks of one player.
    pub attack_cooldown: u64,
    /// Health that an attack takes.
    pub attack_damage: i32,
    /// Score for taking the last of somebody's health.
    pub score_per_kill: i32,
    /// Time after which a player without health is back with all of it; 0 is at once.
    pub respawn_after: u64,
}

impl Default for StateRules {
    fn default() -> StateRules {
        StateRules {
            bounds: 1_000_000.0,
            max_speed: 0.0,
            max_health: 100,
            attack_range: 100.0,
            attack_cooldown: 500,
            attack_damage: 10,
            score_per_kill: 1,
            respawn_after: 3_000,
        }
    }
}

/// Compression of outgoing messages (permessage-deflate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Whether anything is compressed.
    pub enabled: bool,
    /// Shortest message that is compressed.
    pub threshold: usize,
    /// Level, 1 (fast) to 9 (small).
    pub level: u8,
}

impl Default for Compression {
    fn default() -> Compression {
        Compression {
            enabled: true,
            threshold: 256,
            level: 1,
        }
    }
}
