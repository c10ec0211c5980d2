//! `[message]`.

use super::super::Config;
use super::super::field::{Number, Place, Zero};
use super::super::units::Unit;
use super::{Key, Section};

pub(super) static MESSAGE: Section = Section {
    name: "message",
    about: "Limits of the parts of a message. They are checked before memory is spent on a part. Sizes are bytes of \
            text in UTF-8.",
    keys: &[
        Key::new(
            "max_nesting",
            "Depth of objects and arrays inside each other. The envelope and its payload count. Beyond it: \
             `too_deep`.",
            &Number {
                place: |c: &mut Config| &mut c.core.message.max_nesting,
                unit: Unit::Count,
                range: ("4", "255"),
                zero: Zero::Is("255"),
            },
        ),
        Key::new(
            "max_name",
            "A room's name.",
            &bytes(|c| &mut c.core.message.max_name, SHORT),
        ),
        Key::new(
            "max_event_name",
            "An event's name, and the `action` of a `game_action`.",
            &bytes(|c| &mut c.core.message.max_event_name, SHORT),
        ),
        Key::new(
            "max_nickname",
            "A player's nickname.",
            &bytes(|c| &mut c.core.message.max_nickname, SHORT),
        ),
        Key::new(
            "max_id",
            "A client's or user's id.",
            &bytes(|c| &mut c.core.message.max_id, SHORT),
        ),
        Key::new(
            "max_params",
            "Keys of a `game_action` that are not in the schema.",
            &count(|c| &mut c.core.message.max_params),
        ),
        Key::new(
            "max_presence_keys",
            "Keys of one member's presence.",
            &count(|c| &mut c.core.message.max_presence_keys),
        ),
        Key::new(
            "max_presence",
            "One member's presence, as JSON text. Beyond it: `presence_too_large`.",
            &bytes(|c| &mut c.core.message.max_presence, ("2B", "1MiB")),
        ),
        Key::new(
            "max_positions",
            "Rooms in the `positions` of a `hello`.",
            &count(|c| &mut c.core.message.max_positions),
        ),
        Key::new(
            "max_capabilities",
            "Names in the `capabilities` of a `hello`.",
            &count(|c| &mut c.core.message.max_capabilities),
        ),
        Key::new(
            "max_token",
            "A token, in a message or in a request's header.",
            &bytes(|c| &mut c.core.message.max_token, ("64B", "1MiB")),
        ),
    ],
};

const SHORT: (&str, &str) = ("8B", "64KiB");

const fn bytes(
    place: Place<Config, usize>,
    range: (&'static str, &'static str),
) -> Number<Config, usize> {
    Number {
        place,
        unit: Unit::Bytes,
        range,
        zero: Zero::Off,
    }
}

const fn count(place: Place<Config, usize>) -> Number<Config, usize> {
    Number {
        place,
        unit: Unit::Count,
        range: ("1", "1000000"),
        zero: Zero::Off,
    }
}
