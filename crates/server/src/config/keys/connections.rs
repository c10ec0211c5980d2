//! `[limits]`, `[heartbeat]`, `[pool]`, `[queues]`, `[batcher]`, `[socket]`, `[compression]`, `[rooms]`.

use super::super::Config;
use super::super::field::{AutoNumber, Number, Place, Switch, Zero};
use super::super::units::Unit;
use super::{Key, Section};

pub(super) static LIMITS: Section = Section {
    name: "limits",
    about: "How many connections are let in, and what each of them may do. Beyond a limit on connections newcomers get \
            a 503.",
    keys: &[
        Key::new(
            "connections",
            "Connections in all. The limit on file descriptors (`ulimit -n`) holds besides.",
            &Number {
                place: |c: &mut Config| &mut c.limits.connections,
                unit: Unit::Count,
                range: ("1", "100000000"),
                zero: Zero::Off,
            },
        ),
        Key::new(
            "connections_per_address",
            "Connections from one IPv4 address, or from one IPv6 network of 64 bits.",
            &Number {
                place: |c: &mut Config| &mut c.limits.connections_per_address,
                unit: Unit::Count,
                range: ("1", "100000000"),
                zero: Zero::Off,
            },
        ),
        Key::new(
            "sessions_per_user",
            "Sessions of one user, those included that have no connection at the moment. Beyond it newcomers get the error \
             `too_many_sessions` and are closed with 4006. Clients without a token are not counted.",
            &Number {
                place: |c: &mut Config| &mut c.core.max_user_sessions,
                unit: Unit::Count,
                range: ("1", "1000000"),
                zero: Zero::Off,
            },
        ),
        Key::new(
            "memory",
            "Memory in use that the process should stay under. Newcomers are refused shortly before it is reached. What the \
             process holds can be more: its allocator keeps some of what was given back, and the kernel has buffers \
             for each socket (`[socket]`).",
            &AutoNumber {
                place: |c: &mut Config| &mut c.limits.memory,
                unit: Unit::Bytes,
                range: ("16MiB", "65536GiB"),
                zero: Zero::Off,
                auto: |c| c.limits.memory(),
                meaning: "80 % of what the machine or its cgroup allows",
            },
        ),
        Key::new(
            "max_message",
            "Size of a message from a client, inflated where it came compressed. A larger one is answered with \
             `too_large`; beyond 1MiB and this size the connection is closed with 1009.",
            &bytes(|c| &mut c.core.max_message, ("256B", "16MiB"), Zero::Off),
        ),
        Key::new(
            "max_rooms",
            "Rooms that one session may be in.",
            &count(|c| &mut c.core.max_rooms, ("1", "1000000"), Zero::Off),
        ),
        Key::new(
            "messages_per_second",
            "Messages a second that one connection may send in the long run. Beyond it: `rate_limited`. A ping frame, a \
             pong frame and a fragment without payload count as a message each.",
            &count(
                |c| &mut c.core.messages_per_second,
                ("1", "1000000"),
                Zero::Off,
            ),
        ),
        Key::new(
            "burst",
            "Messages that one connection may send at once.",
            &count(|c| &mut c.core.burst, ("1", "10000000"), Zero::Refused),
        ),
        Key::new(
            "message_timeout",
            "Time from a message's first byte to its last. After it the connection is closed with 4008.",
            &millis(|c| &mut c.core.message_timeout, ("100ms", "1h"), Zero::Off),
        ),
        Key::new(
            "max_offences",
            "Errors that one connection may cause in ten seconds before it is closed with 4500.",
            &count(|c| &mut c.core.max_offences, ("1", "1000000"), Zero::Off),
        ),
    ],
};

pub(super) static HEARTBEAT: Section = Section {
    name: "heartbeat",
    about: "How it is noticed that a client is gone. Any byte that it sends is a sign of life.",
    keys: &[
        Key::new(
            "ping_interval",
            "A ping is sent after this much silence. Clients are told, for `ping` messages of their own.",
            &millis(|c| &mut c.core.ping_interval, ("50ms", "1h"), Zero::Off),
        ),
        Key::new(
            "pong_timeout",
            "A connection is closed after this much silence. Longer than `ping_interval`.",
            &millis(|c| &mut c.core.pong_timeout, ("100ms", "24h"), Zero::Off),
        ),
        Key::new(
            "write_timeout",
            "A connection is closed when its socket took no byte for so long while something waited for it.",
            &millis(|c| &mut c.core.write_timeout, ("100ms", "1h"), Zero::Off),
        ),
    ],
};

pub(super) static POOL: Section = Section {
    name: "pool",
    about: "When connections that are in no room are closed. One in a room never is.",
    keys: &[
        Key::new(
            "max_idle",
            "A connection in no room is closed after so long without a message from it (`ping` messages count).",
            &millis(|c| &mut c.core.max_idle, ("50ms", "30d"), Zero::Off),
        ),
        Key::new(
            "max_lifetime",
            "A connection in no room is closed at this age.",
            &millis(|c| &mut c.core.max_lifetime, ("50ms", "365d"), Zero::Off),
        ),
    ],
};

pub(super) static QUEUES: Section = Section {
    name: "queues",
    about: "Bounds of what waits in memory.",
    keys: &[
        Key::new(
            "event_lane",
            "Events that may wait for one connection. Beyond it the connection is closed with 4001 and may come back. \
             At least twice `limits.max_message`.",
            &bytes(|c| &mut c.core.event_lane, ("1KiB", "1GiB"), Zero::Off),
        ),
        Key::new(
            "control_lane",
            "Answers (acks, errors, pongs) that may wait for one connection. Its messages are read only while there \
             is room.",
            &bytes(
                |c| &mut c.core.control_lane,
                ("4KiB", "16MiB"),
                Zero::Refused,
            ),
        ),
        Key::new(
            "publish_window",
            "What one connection may have published that the rooms have not taken yet. Beyond it its socket is not \
             read. At least `limits.max_message`.",
            &bytes(
                |c| &mut c.core.publish_window,
                ("1KiB", "1GiB"),
                Zero::Refused,
            ),
        ),
        Key::new(
            "link_window",
            "What may be on its way from one shard to another. At least twice `limits.max_message`.",
            &bytes(
                |c| &mut c.core.link_window,
                ("64KiB", "4GiB"),
                Zero::Refused,
            ),
        ),
        Key::new(
            "turn_bytes",
            "What the rooms of a shard take in one turn of its event loop before it writes.",
            &bytes(|c| &mut c.core.turn_bytes, ("64KiB", "1GiB"), Zero::Refused),
        ),
        Key::new(
            "behind_timeout",
            "A reader whose events wait in its rooms' logs, because it is slow, is closed with 4001 when it has not \
             caught up in this time.",
            &millis(|c| &mut c.core.behind_timeout, ("100ms", "24h"), Zero::Off),
        ),
    ],
};

pub(super) static BATCHER: Section = Section {
    name: "batcher",
    about: "When what waits for a connection is written. By default everything is written at the end of the turn that \
            made it: one write for each connection, and no delay. A `max_wait` trades delay for fewer writes.",
    keys: &[
        Key::new(
            "max_size",
            "With a `max_wait`: so much for one connection is written without waiting longer.",
            &Number {
                place: |c: &mut Config| &mut c.batcher.max_size,
                unit: Unit::Bytes,
                range: ("1B", "1GiB"),
                zero: Zero::Is("no size ends the wait"),
            },
        ),
        Key::new(
            "max_wait",
            "Longest time that something waits for more to be written with it.",
            &Number {
                place: |c: &mut Config| &mut c.batcher.max_wait,
                unit: Unit::Micros,
                range: ("10us", "1s"),
                zero: Zero::Is("written at the end of the turn"),
            },
        ),
    ],
};

pub(super) static SOCKET: Section = Section {
    name: "socket",
    about: "Buffers of the system for each connection. They are not part of the process's own memory, but a stalled \
            reader can fill them.",
    keys: &[
        Key::new(
            "send_buffer",
            "`SO_SNDBUF`. Linux doubles it.",
            &bytes(
                |c| &mut c.socket.send_buffer,
                ("2KiB", "1GiB"),
                Zero::Is("as the system chooses"),
            ),
        ),
        Key::new(
            "receive_buffer",
            "`SO_RCVBUF`. Linux doubles it.",
            &bytes(
                |c| &mut c.socket.receive_buffer,
                ("2KiB", "1GiB"),
                Zero::Is("as the system chooses"),
            ),
        ),
    ],
};

pub(super) static COMPRESSION: Section = Section {
    name: "compression",
    about: "permessage-deflate (RFC 7692). What is compressed, and how, is said per kind.",
    keys: &[Key::new(
        "enabled",
        "Whether a client that offers compression gets it.",
        &Switch {
            place: |c: &mut Config| &mut c.compression,
        },
    )],
};

pub(super) static ROOMS: Section = Section {
    name: "rooms",
    about: "What holds for all rooms, of whatever kind.",
    keys: &[
        Key::new(
            "refuse_unknown_kinds",
            "Whether a room of a kind without a `[kinds.NAME]` is refused. Else it takes the settings of `default`.",
            &Switch {
                place: |c: &mut Config| &mut c.core.refuse_unknown_kinds,
            },
        ),
        Key::new(
            "log_memory",
            "Memory that the logs of all rooms may take together: events, names, what is known of senders, and tables. \
             Over it logs go whole: first those of rooms that nobody is in, the one left first first; then those of \
             the others, the quietest first.",
            &bytes(|c| &mut c.log_memory, ("1MiB", "65536GiB"), Zero::Off),
        ),
        Key::new(
            "logic_budget",
            "A call of room logic that takes longer is logged and counted.",
            &millis(|c| &mut c.core.logic_budget, ("1ms", "10s"), Zero::Off),
        ),
    ],
};

type Range = (&'static str, &'static str);

const fn bytes(place: Place<Config, usize>, range: Range, zero: Zero) -> Number<Config, usize> {
    Number {
        place,
        unit: Unit::Bytes,
        range,
        zero,
    }
}

const fn millis(place: Place<Config, u64>, range: Range, zero: Zero) -> Number<Config, u64> {
    Number {
        place,
        unit: Unit::Millis,
        range,
        zero,
    }
}

const fn count(place: Place<Config, u32>, range: Range, zero: Zero) -> Number<Config, u32> {
    Number {
        place,
        unit: Unit::Count,
        range,
        zero,
    }
}
