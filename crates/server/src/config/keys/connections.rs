//! `[limits]`, `[heartbeat]`, `[pool]`, `[queues]`, `[batcher]`, `[socket]`, `[compression]`, `[rooms]`.

use super::super::Config;
use super::super::field::{AutoNumber, Number, Place, Switch, Zero};
use super::super::units::Unit;
use super::{Key, Section};

pub(super) static LIMITS: Section = Section {
    name: "limits",
    about: "How many connections are accepted, and what each of them may do. Beyond a limit on connections a new one \
            gets a 503.",
    keys: &[
        Key::new(
            "connections",
            "Connections in all. The limit on open files (`ulimit -n`) applies as well.",
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
            "Sessions of one user, with or without a connection. Beyond it a new session gets the error \
             `too_many_sessions`, and its connection is closed with 4006. Clients without a token are not counted.",
            &Number {
                place: |c: &mut Config| &mut c.core.max_user_sessions,
                unit: Unit::Count,
                range: ("1", "1000000"),
                zero: Zero::Off,
            },
        ),
        Key::new(
            "memory",
            "Memory in use that the process should stay under. New connections are refused shortly before that. The \
             process can hold more than it has in use: its allocator keeps some of what was freed, and the kernel \
             has buffers for each socket (`[socket]`).",
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
            "Size of a message from a client, after decompression. A larger one is answered with `too_large`. One \
             that is larger than both this and 1 MiB closes the connection with 1009.",
            &bytes(|c| &mut c.core.max_message, ("256B", "16MiB"), Zero::Off),
        ),
        Key::new(
            "max_rooms",
            "Rooms that one session may be in. Beyond it: `too_many_rooms`.",
            &count(|c| &mut c.core.max_rooms, ("1", "1000000"), Zero::Off),
        ),
        Key::new(
            "messages_per_second",
            "Messages a second that one connection may send on average. Beyond it: `rate_limited`. A ping frame, a \
             pong frame and a fragment without payload count as a message each.",
            &count(
                |c| &mut c.core.messages_per_second,
                ("1", "1000000"),
                Zero::Off,
            ),
        ),
        Key::new(
            "burst",
            "Messages that one connection may send at once: the size of its token bucket, which \
             `messages_per_second` refills.",
            &count(|c| &mut c.core.burst, ("1", "10000000"), Zero::Refused),
        ),
        Key::new(
            "message_timeout",
            "Time from the first byte of a message to its last. After it the connection is closed with 4008.",
            &millis(|c| &mut c.core.message_timeout, ("100ms", "1h"), Zero::Off),
        ),
        Key::new(
            "max_offences",
            "Errors that one connection may cause in ten seconds. Beyond it the connection is closed with 4500. \
             docs/protocol.md says which errors count.",
            &count(|c| &mut c.core.max_offences, ("1", "1000000"), Zero::Off),
        ),
    ],
};

pub(super) static HEARTBEAT: Section = Section {
    name: "heartbeat",
    about: "How the server notices that a client is gone. Any byte from the client is a sign of life.",
    keys: &[
        Key::new(
            "ping_interval",
            "The server sends a ping after this much silence, and again while it goes on. `welcome` tells clients the interval, so that they can \
             send `ping` messages of their own.",
            &millis(|c| &mut c.core.ping_interval, ("50ms", "1h"), Zero::Off),
        ),
        Key::new(
            "pong_timeout",
            "The server closes a connection after this much silence, with 4002. Must be longer than `ping_interval`.",
            &millis(|c| &mut c.core.pong_timeout, ("100ms", "24h"), Zero::Off),
        ),
        Key::new(
            "write_timeout",
            "The server closes a connection, with 4005, when bytes are pending and its socket has taken none for \
             this long.",
            &millis(|c| &mut c.core.write_timeout, ("100ms", "1h"), Zero::Off),
        ),
    ],
};

pub(super) static POOL: Section = Section {
    name: "pool",
    about: "When a connection that is in no room is closed. These two limits do not apply while it is in a room.",
    keys: &[
        Key::new(
            "max_idle",
            "A connection in no room is closed after this much time without a message from it, with 4003. `ping` \
             messages count.",
            &millis(|c| &mut c.core.max_idle, ("50ms", "30d"), Zero::Off),
        ),
        Key::new(
            "max_lifetime",
            "A connection in no room is closed at this age, with 4004.",
            &millis(|c| &mut c.core.max_lifetime, ("50ms", "365d"), Zero::Off),
        ),
    ],
};

pub(super) static QUEUES: Section = Section {
    name: "queues",
    about: "Bounds of what is pending in memory. docs/reliability.md says what a client notices of them.",
    keys: &[
        Key::new(
            "event_lane",
            "Bytes of events that may be pending for one connection. Beyond it the client is lagging. If it said \
             `hello`, the pending events are dropped and read from the rooms' logs later. If it did not, the \
             connection is closed with 4001. At least twice `limits.max_message`.",
            &bytes(|c| &mut c.core.event_lane, ("1KiB", "1GiB"), Zero::Off),
        ),
        Key::new(
            "control_lane",
            "Bytes of answers (acks, errors, pongs) that may be pending for one connection. Beyond it the connection \
             is not read until there is room.",
            &bytes(
                |c| &mut c.core.control_lane,
                ("4KiB", "16MiB"),
                Zero::Refused,
            ),
        ),
        Key::new(
            "publish_window",
            "Bytes of messages that one connection has sent and the rooms have not taken yet. Beyond it the \
             connection is not read. At least `limits.max_message`.",
            &bytes(
                |c| &mut c.core.publish_window,
                ("1KiB", "1GiB"),
                Zero::Refused,
            ),
        ),
        Key::new(
            "link_window",
            "Bytes of deliveries that may be in flight from one shard to another. At least twice \
             `limits.max_message`.",
            &bytes(
                |c| &mut c.core.link_window,
                ("64KiB", "4GiB"),
                Zero::Refused,
            ),
        ),
        Key::new(
            "turn_bytes",
            "Bytes of output (each message times its receivers) that the rooms of a shard make in one turn of its \
             event loop, before it writes to sockets.",
            &bytes(|c| &mut c.core.turn_bytes, ("64KiB", "1GiB"), Zero::Refused),
        ),
        Key::new(
            "behind_timeout",
            "How long a client may be lagging. One that has not caught up with its rooms after this time is closed \
             with 4001.",
            &millis(|c| &mut c.core.behind_timeout, ("100ms", "24h"), Zero::Off),
        ),
    ],
};

pub(super) static BATCHER: Section = Section {
    name: "batcher",
    about: "When pending messages are written to a connection. By default that is at the end of the turn in which \
            they were made: one write for each connection, and no delay. With `max_wait` there are fewer writes and \
            more delay.",
    keys: &[
        Key::new(
            "max_size",
            "With a `max_wait`: as soon as this much is pending for a connection, it is written.",
            &Number {
                place: |c: &mut Config| &mut c.batcher.max_size,
                unit: Unit::Bytes,
                range: ("1B", "1GiB"),
                zero: Zero::Is("no size ends the wait"),
            },
        ),
        Key::new(
            "max_wait",
            "Longest time that a message may be held back, so that more can be written with it.",
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
    about: "Buffers of the operating system for each connection. They are not part of the process's memory, but a \
            client that does not read can fill them.",
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
    about: "permessage-deflate (RFC 7692). `[kinds.NAME]` says which rooms use it, and how.",
    keys: &[Key::new(
        "enabled",
        "Whether the server agrees to compression with clients that offer it.",
        &Switch {
            place: |c: &mut Config| &mut c.compression,
        },
    )],
};

pub(super) static ROOMS: Section = Section {
    name: "rooms",
    about: "Settings for all rooms, of any kind.",
    keys: &[
        Key::new(
            "refuse_unknown_kinds",
            "Whether a room is refused whose kind has no `[kinds.NAME]`. If not, such a room takes the settings of \
             `[kinds.default]`.",
            &Switch {
                place: |c: &mut Config| &mut c.core.refuse_unknown_kinds,
            },
        ),
        Key::new(
            "log_memory",
            "Memory that the logs of all rooms may take together: events, names, records of senders, and tables. \
             Beyond it whole logs are dropped. Logs of closed rooms are dropped first, the one that was closed first \
             before the others. Then come logs of open rooms, the one that was written to longest ago before the \
             others. Each open room takes about 500 bytes that can't be dropped. When open rooms take all of it, \
             no new room is opened: `unavailable`.",
            &bytes(|c| &mut c.core.log_memory, ("1MiB", "65536GiB"), Zero::Off),
        ),
        Key::new(
            "logic_budget",
            "A call of room logic that takes longer is logged and counted. It is not interrupted.",
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
