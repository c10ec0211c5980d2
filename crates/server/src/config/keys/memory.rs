//! `[memory]`.

use super::super::Config;
use super::super::field::{Number, Text, Zero};
use super::super::units::Unit;
use super::{Key, Section};

pub(super) static MEMORY: Section = Section {
    name: "memory",
    about: "What outlives a server with the engine `memory`. See docs/reliability.md.",
    keys: &[
        Key::new(
            "snapshot_path",
            "A file for rooms, their logs, sessions and inboxes. It is written when the server ends politely and at \
             intervals, and read at start: so clients go on where they were after a restart. It is made anew beside the \
             old one, which it then replaces. It has what users said, and without `session.secret` also the key of resume \
             tokens: only its owner may read it. Rooms take about twice the memory with it.",
            &Text {
                place: |c: &mut Config| &mut c.memory.snapshot_path,
                check: |_| Ok(()),
                takes: "a file, such as \"/var/lib/roomcast/rooms.snapshot\", or \"\" (all ends with the process)",
            },
        )
        .flag("--snapshot FILE"),
        Key::new(
            "snapshot_interval",
            "How often it is written while the server runs. A process that is killed, or a machine that stops, loses what \
             came after the last time.",
            &Number {
                place: |c: &mut Config| &mut c.memory.snapshot_interval,
                unit: Unit::Micros,
                range: ("100ms", "1d"),
                zero: Zero::Is("only when the server ends"),
            },
        ),
    ],
};
