//! `[kinds.NAME]`.

use roomcast_core::settings::{Kind, Mode, Nickname, PresenceMode};

use super::super::field::{Choice, Number, Real, Switch, Zero};
use super::super::units::Unit;
use super::Key;

/// What a `[kinds.NAME]` lacks it takes from `[kinds.default]`.
pub(crate) static KIND_KEYS: &[Key<Kind>] = &[
    Key::new(
        "mode",
        "What a room does with `game_action`. In a `state` room the server owns each player's state and sends \
         `sync`. A `relay` room passes every action on.",
        &Choice {
            place: |k: &mut Kind| &mut k.mode,
            names: &[("state", Mode::State), ("relay", Mode::Relay)],
        },
    ),
    Key::new(
        "max_players",
        "Players that may be in a room. Beyond it: `room_full`.",
        &Number {
            place: |k: &mut Kind| &mut k.max_players,
            unit: Unit::Count,
            range: ("1", "10000000"),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "presence",
        "How much members learn about each other. `full`: who joins and leaves, and everybody's presence keys. \
         `count`: only how many members there are. `none`: nothing.",
        &Choice {
            place: |k: &mut Kind| &mut k.presence,
            names: &[
                ("full", PresenceMode::Full),
                ("count", PresenceMode::Count),
                ("none", PresenceMode::None),
            ],
        },
    ),
    Key::new(
        "full_presence_limit",
        "Number of members above which `full` becomes `count`. The room stays at `count` until it is closed.",
        &Number {
            place: |k: &mut Kind| &mut k.full_presence_limit,
            unit: Unit::Count,
            range: ("1", "10000000"),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "nickname",
        "Where members' nicknames come from. `free`: a client chooses its own with `join_room`, and may change it with \
         `presence`; one that chooses none has the `name` of its token. `token`: only from the token's `name`. Then a \
         nickname in `join_room` is ignored, one in `presence` is refused with `forbidden`, and a member without a token \
         has none.",
        &Choice {
            place: |k: &mut Kind| &mut k.nickname,
            names: &[("free", Nickname::Free), ("token", Nickname::Token)],
        },
    ),
    Key::new(
        "no_echo",
        "The default for messages that do not set `no_echo`. True: the sender does not get its own events. False: it \
         gets them.",
        &Switch {
            place: |k: &mut Kind| &mut k.no_echo,
        },
    ),
    Key::new(
        "tick",
        "Time between two `sync` messages of a `state` room.",
        &Number {
            place: |k: &mut Kind| &mut k.tick,
            unit: Unit::Millis,
            range: ("1ms", "1h"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "log.events",
        "Events that a room's log keeps, for sessions that resume and for `history`.",
        &Number {
            place: |k: &mut Kind| &mut k.retention.events,
            unit: Unit::Count,
            range: ("1", "10000000"),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "log.bytes",
        "Memory that the log of one room may take.",
        &Number {
            place: |k: &mut Kind| &mut k.retention.bytes,
            unit: Unit::Bytes,
            range: ("1KiB", "4GiB"),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "log.age",
        "How long a room's log keeps an event. Nobody gets an older one, and its memory is freed soon after.",
        &Number {
            place: |k: &mut Kind| &mut k.retention.age,
            unit: Unit::Millis,
            range: ("1s", "9000h"),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "compression.enabled",
        "Whether messages of these rooms are compressed, on connections that agreed to compression.",
        &Switch {
            place: |k: &mut Kind| &mut k.compression.enabled,
        },
    ),
    Key::new(
        "compression.threshold",
        "Size from which on a message is compressed.",
        &Number {
            place: |k: &mut Kind| &mut k.compression.threshold,
            unit: Unit::Bytes,
            range: ("1B", "1GiB"),
            zero: Zero::Is("every message"),
        },
    ),
    Key::new(
        "compression.level",
        "Level of deflate: 1 is the fastest, 9 makes the smallest messages.",
        &Number {
            place: |k: &mut Kind| &mut k.compression.level,
            unit: Unit::Count,
            range: ("1", "9"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "state.bounds",
        "Each coordinate of a position is between minus this and plus this.",
        &Real {
            place: |k: &mut Kind| &mut k.rules.bounds,
            range: (0.001, 1e12),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "state.max_speed",
        "Distance a second that a player may cover with `move`.",
        &Real {
            place: |k: &mut Kind| &mut k.rules.max_speed,
            range: (0.001, 1e12),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "state.max_health",
        "Health of a player who has just joined.",
        &Number {
            place: |k: &mut Kind| &mut k.rules.max_health,
            unit: Unit::Count,
            range: ("1", "2147483647"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "state.attack_range",
        "Longest distance at which an `attack` hits.",
        &Real {
            place: |k: &mut Kind| &mut k.rules.attack_range,
            range: (0.001, 1e12),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "state.attack_cooldown",
        "Time between two attacks of one player.",
        &Number {
            place: |k: &mut Kind| &mut k.rules.attack_cooldown,
            unit: Unit::Millis,
            range: ("1ms", "24h"),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "state.attack_damage",
        "Health that an `attack` takes.",
        &Number {
            place: |k: &mut Kind| &mut k.rules.attack_damage,
            unit: Unit::Count,
            range: ("1", "2147483647"),
            zero: Zero::Is("none"),
        },
    ),
    Key::new(
        "state.score_per_kill",
        "Score for an `attack` that takes the last health of another player.",
        &Number {
            place: |k: &mut Kind| &mut k.rules.score_per_kill,
            unit: Unit::Count,
            range: ("1", "2147483647"),
            zero: Zero::Is("none"),
        },
    ),
    Key::new(
        "state.respawn_after",
        "Time after which a player without health is alive again, with full health.",
        &Number {
            place: |k: &mut Kind| &mut k.rules.respawn_after,
            unit: Unit::Millis,
            range: ("1ms", "24h"),
            zero: Zero::Is("at once"),
        },
    ),
];
