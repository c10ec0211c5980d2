//! `[tracing]`.

use super::super::Config;
use super::super::field::{Real, Text, Zero};
use super::{Key, Section};

pub(super) static TRACING: Section = Section {
    name: "tracing",
    about: "Traces (OpenTelemetry) of what is asked over the API: from the request to the last write of its message. See \
            docs/tracing.md.",
    keys: &[
        Key::new(
            "endpoint",
            "Where a collector takes OTLP over HTTP. If it is empty, nothing is traced. It has no user and no password in it: \
             what the collector wants to see goes into `headers_path`.",
            &Text {
                place: |c: &mut Config| &mut c.tracing.endpoint,
                check: crate::spans::check_endpoint,
                takes: "a URL, such as \"http://127.0.0.1:4318\", or \"\" (off)",
            },
        ),
        Key::new(
            "headers_path",
            "A file with headers that are sent to the collector: `Name: value`, one on each line. It is looked at every \
             `auth.reload_interval`, and what is new in it is used at once.",
            &Text {
                place: |c: &mut Config| &mut c.tracing.headers_path,
                check: |_| Ok(()),
                takes: "a file, such as \"/etc/roomcast/collector.headers\", or \"\" (none)",
            },
        ),
        Key::new(
            "sample",
            "The part of requests that is traced, of those that come without a `traceparent`. One that comes with it is \
             traced if that says so.",
            &Real {
                place: |c: &mut Config| &mut c.tracing.sample,
                range: (0.0, 1.0),
                zero: Zero::Is("none"),
            },
        ),
        Key::new(
            "service_name",
            "What traces call the servers (`service.name`).",
            &Text {
                place: |c: &mut Config| &mut c.tracing.service_name,
                check: crate::spans::check_name,
                takes: "a text of 1 to 64 bytes",
            },
        ),
    ],
};
