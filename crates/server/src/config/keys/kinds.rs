//! `[kinds.NAME]`.

use roomcast_core::settings::{Kind, Mode, PresenceMode};

use super::super::field::{Choice, Number, Real, Switch, Zero};
use super::super::units::Unit;
use super::Key;

/// What a `[kinds.NAME]` lacks it takes from `[kinds.default]`.
pub(crate) static KIND_KEYS: &[Key<Kind>] = &[
    Key::new(
        "mode",
        "What a room does with `game_action`: in a `state` room the server owns each player's state and sends `sync`; \
         a `relay` room passes every action on.",
        &Choice {
            place: |k: &mut Kind| &mut k.mode,
            names: &[("state", Mode::State), ("relay", Mode::Relay)],
        },
    ),
    Key::new(
        "max_players",
        "Players that a room takes. Beyond it: `room_full`.",
        &Number {
            place: |k: &mut Kind| &mut k.max_players,
            unit: Unit::Count,
            range: ("1", "10000000"),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "presence",
        "How much members learn about each other: everybody's coming, going and keys; only how many there are; nothing.",
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
        "Members above which `full` becomes `count` for the rest of a room's life.",
        &Number {
            place: |k: &mut Kind| &mut k.full_presence_limit,
            unit: Unit::Count,
            range: ("1", "10000000"),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "no_echo",
        "Whether a sender does not get its own events, where the message does not say.",
        &Switch {
            place: |k: &mut Kind| &mut k.no_echo,
        },
    ),
    Key::new(
        "tick",
        "Time between two `sync`s of a `state` room.",
        &Number {
            place: |k: &mut Kind| &mut k.tick,
            unit: Unit::Millis,
            range: ("1ms", "1h"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "log.events",
        "Events that a room's log keeps, for those who come back and for `history`.",
        &Number {
            place: |k: &mut Kind| &mut k.retention.events,
            unit: Unit::Count,
            range: ("1", "10000000"),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "log.bytes",
        "Memory that a room's log takes.",
        &Number {
            place: |k: &mut Kind| &mut k.retention.bytes,
            unit: Unit::Bytes,
            range: ("1KiB", "4GiB"),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "log.age",
        "How long a room's log keeps an event. Nobody is given an older one, and its memory is given back soon after.",
        &Number {
            place: |k: &mut Kind| &mut k.retention.age,
            unit: Unit::Millis,
            range: ("1s", "9000h"),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "compression.enabled",
        "Whether messages of these rooms are compressed, for connections that agreed to it.",
        &Switch {
            place: |k: &mut Kind| &mut k.compression.enabled,
        },
    ),
    Key::new(
        "compression.threshold",
        "Size from which a message is compressed.",
        &Number {
            place: |k: &mut Kind| &mut k.compression.threshold,
            unit: Unit::Bytes,
            range: ("1B", "1GiB"),
            zero: Zero::Is("every message"),
        },
    ),
    Key::new(
        "compression.level",
        "From fast to small.",
        &Number {
            place: |k: &mut Kind| &mut k.compression.level,
            unit: Unit::Count,
            range: ("1", "9"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "state.bounds",
        "Coordinates are from minus this to this, on every axis.",
        &Real {
            place: |k: &mut Kind| &mut k.rules.bounds,
            range: (0.001, 1e12),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "state.max_speed",
        "Distance a second that a `move` may cover.",
        &Real {
            place: |k: &mut Kind| &mut k.rules.max_speed,
            range: (0.001, 1e12),
            zero: Zero::Off,
        },
    ),
    Key::new(
        "state.max_health",
        "Health of a player who joins.",
        &Number {
            place: |k: &mut Kind| &mut k.rules.max_health,
            unit: Unit::Count,
            range: ("1", "2147483647"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "state.attack_range",
        "Farthest distance at which an `attack` hits.",
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
        "Score for taking the last of somebody's health.",
        &Number {
            place: |k: &mut Kind| &mut k.rules.score_per_kill,
            unit: Unit::Count,
            range: ("1", "2147483647"),
            zero: Zero::Is("none"),
        },
    ),
    Key::new(
        "state.respawn_after",
        "Time after which a player without health is back with all of it.",
        &Number {
            place: |k: &mut Kind| &mut k.rules.respawn_after,
            unit: Unit::Millis,
            range: ("1ms", "24h"),
            zero: Zero::Is("at once"),
        },
    ),
];
