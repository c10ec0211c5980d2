//! `[webhooks.NAME]`.

use super::super::field::{List, Number, Real, Text, Zero};
use super::super::units::Unit;
use super::super::{WebhookSettings, items};
use super::{Key, backend};

/// Each is one receiver, with what it is told.
pub(crate) static WEBHOOK_KEYS: &[Key<WebhookSettings>] = &[
    backend::url!(
        WebhookSettings,
        "Where events are sent to, with POST. There is no default. Redirects are not followed.",
        "a URL, such as \"https://shop.example/roomcast\""
    ),
    backend::secret!(
        WebhookSettings,
        "What requests are signed with: `whsec_` and 24 to 64 bytes in base64. While one secret replaces another, name both, \
         with a space between them: each request then has two signatures. Better keep them out of the file: name a file in \
         `secret_path`."
    ),
    backend::secret_path!(
        WebhookSettings,
        "A file with one secret or two. It is looked at every `auth.reload_interval`, and what is new in it is used at once."
    ),
    backend::ca_path!(WebhookSettings),
    Key::new(
        "events",
        "What is told. There is no default: name each type of event.",
        &List {
            place: |w: &mut WebhookSettings| &mut w.events,
            read: items::event_type,
            show: |event| event.as_str().to_owned(),
            takes: "a list of \"session.began\", \"session.ended\", \"room.opened\", \"room.emptied\", \
                    \"member.joined\", \"member.left\", \"message\" and \"connection.refused\"",
        },
    ),
    backend::kinds!(
        WebhookSettings,
        "The kinds of rooms that are told of. If there are none here, all are."
    ),
    Key::new(
        "sample",
        "The part of all messages that is told, drawn at random. It is about `message` alone.",
        &Real {
            place: |w: &mut WebhookSettings| &mut w.sample,
            range: (0.000_001, 1.0),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "timeout",
        "How long an answer to a request is waited for.",
        &Number {
            place: |w: &mut WebhookSettings| &mut w.timeout,
            unit: Unit::Micros,
            range: ("10ms", "60s"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "retry_for",
        "How long an event is sent again that the receiver does not take. After that it is dropped.",
        &Number {
            place: |w: &mut WebhookSettings| &mut w.retry_for,
            unit: Unit::Micros,
            range: ("1s", "30d"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "batch_events",
        "Events of one request.",
        &Number {
            place: |w: &mut WebhookSettings| &mut w.batch_events,
            unit: Unit::Count,
            range: ("1", "1000"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "batch_bytes",
        "Size of the events of one request. An event that is larger is alone in its request.",
        &Number {
            place: |w: &mut WebhookSettings| &mut w.batch_bytes,
            unit: Unit::Bytes,
            range: ("1KiB", "16MiB"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "queue_events",
        "Events that wait for this receiver: in this process, and once more in Redis where there is one. Beyond it, new \
         events are dropped and counted.",
        &Number {
            place: |w: &mut WebhookSettings| &mut w.queue_events,
            unit: Unit::Count,
            range: ("1", "100000000"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "queue_bytes",
        "Size of the events that wait, likewise.",
        &Number {
            place: |w: &mut WebhookSettings| &mut w.queue_bytes,
            unit: Unit::Bytes,
            range: ("64KiB", "64GiB"),
            zero: Zero::Refused,
        },
    ),
];
