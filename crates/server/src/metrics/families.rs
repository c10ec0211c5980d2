//! Every metric: its name, what it means, and where its numbers come from.

use roomcast_core::Stats;
use roomcast_protocol::{ErrorCode, MessageType};

use super::Scrape;
use super::exposition::{Exposition, Labels, Type};
use crate::api::{OUTCOMES, route_names};
use crate::http::RefusedBy;
use crate::shard::Report;

/// Metrics of one name.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Type,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
    pub(super) samples: fn(&Scrape<'_>, &mut Exposition),
}

const FORMATS: [&str; 2] = ["json", "protobuf"];

pub(super) const FAMILIES: &[Family] = &[
    gauge(
        "roomcast_connections",
        &["shard"],
        "Connections of clients: WebSockets and event streams.",
        |scrape, out| {
            per_shard(scrape, out, |report| report.connections as u64);
        },
    ),
    gauge(
        "roomcast_event_streams",
        &[],
        "Event streams (`/sse`) among the connections.",
        |scrape, out| {
            out.sample(&[], scrape.streams.count());
        },
    ),
    counter(
        "roomcast_posts_total",
        &["outcome"],
        "Requests to `/send`: `taken`, at once or before; `gone`, as their event stream is; `out_of_order`; `busy`, to be \
         sent again; `refused` for their form, size or origin.",
        |scrape, out| {
            for (outcome, count) in scrape.streams.outcomes() {
                out.sample(&[("outcome", &outcome)], count);
            }
        },
    ),
    gauge(
        "roomcast_open_sockets",
        &[],
        "Connections that count towards the limits: WebSockets, event streams, and connections that are still HTTP.",
        |scrape, out| {
            out.sample(&[], scrape.open);
        },
    ),
    gauge(
        "roomcast_rooms",
        &["shard"],
        "Open rooms, by the shard that runs them.",
        |scrape, out| {
            per_shard(scrape, out, |report| report.rooms.0 as u64);
        },
    ),
    counter(
        "roomcast_connections_opened_total",
        &[],
        "WebSocket connections that were handed to a shard after their handshake.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.io.opened));
        },
    ),
    counter(
        "roomcast_http_accepted_total",
        &[],
        "TCP connections accepted.",
        |scrape, out| {
            out.sample(&[], scrape.http.accepted());
        },
    ),
    counter(
        "roomcast_http_upgraded_total",
        &[],
        "Handshakes that were answered with 101, and event streams that were begun.",
        |scrape, out| {
            out.sample(&[], scrape.http.upgraded());
        },
    ),
    counter(
        "roomcast_http_requests_total",
        &[],
        "HTTP requests that were answered, handshakes included.",
        |scrape, out| {
            out.sample(&[], scrape.http.requests());
        },
    ),
    counter(
        "roomcast_http_refused_total",
        &["cause"],
        "Requests and connections that were refused, so that the client did not get a WebSocket.",
        |scrape, out| {
            for cause in RefusedBy::ALL {
                out.sample(&[("cause", &cause.as_str())], scrape.http.refused(cause));
            }
        },
    ),
    counter(
        "roomcast_api_requests_total",
        &["route", "outcome"],
        "Requests to the API: `done`; `unauthorized`, without a key or a right; `limited` by a key's rate; `refused` for \
         another fault of theirs; `failed` for one of the server's.",
        |scrape, out| {
            for (nth, route) in route_names().enumerate() {
                for (at, outcome) in OUTCOMES.iter().enumerate() {
                    let labels: Labels<'_> = &[("route", &route), ("outcome", outcome)];
                    out.sample(labels, scrape.api.requests(nth, at));
                }
            }
        },
    ),
    counter(
        "roomcast_messages_in_total",
        &["format", "type"],
        "Messages received from clients. The type is `unknown` where it could not be read.",
        |scrape, out| {
            by_type(scrape, out, true, |stats| &stats.messages_in);
        },
    ),
    counter(
        "roomcast_message_bytes_in_total",
        &["format", "type"],
        "Bytes of messages received, without frame headers, after decompression.",
        |scrape, out| {
            by_type(scrape, out, true, |stats| &stats.bytes_in);
        },
    ),
    counter(
        "roomcast_messages_out_total",
        &["format", "type"],
        "Messages queued for clients. An event counts once for each receiver.",
        |scrape, out| {
            by_type(scrape, out, false, |stats| &stats.messages_out);
        },
    ),
    counter(
        "roomcast_socket_read_bytes_total",
        &[],
        "Bytes read from WebSocket connections, frame headers included.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.io.bytes_read));
        },
    ),
    counter(
        "roomcast_socket_written_bytes_total",
        &[],
        "Bytes written to WebSocket connections, frame headers included.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.io.bytes_written));
        },
    ),
    counter(
        "roomcast_socket_reads_total",
        &[],
        "System calls that read from WebSocket connections.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.io.reads));
        },
    ),
    counter(
        "roomcast_socket_writes_total",
        &[],
        "System calls that wrote to WebSocket connections.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.io.writes));
        },
    ),
    counter(
        "roomcast_events_total",
        &[],
        "Events that rooms put in order.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.events));
        },
    ),
    counter(
        "roomcast_deliveries_total",
        &[],
        "Events and state messages queued for clients. A message counts once for each receiver.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.deliveries));
        },
    ),
    counter(
        "roomcast_dropped_total",
        &["cause"],
        "Messages that a lagging client did not get. `state_replaced`: a newer state took its place. `ephemeral`: an \
         ephemeral event was dropped.",
        |scrape, out| {
            out.sample(
                &[("cause", &"state_replaced")],
                sum(scrape, |report| report.core.state_replaced),
            );
            out.sample(
                &[("cause", &"ephemeral")],
                sum(scrape, |report| report.core.ephemeral_dropped),
            );
        },
    ),
    counter(
        "roomcast_catch_ups_total",
        &[],
        "Times that the newest state of a room was encoded for one client, because that client had missed some.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.catch_ups));
        },
    ),
    counter(
        "roomcast_errors_total",
        &["code"],
        "Messages of type `error` sent to clients.",
        |scrape, out| {
            for code in ErrorCode::ALL {
                let of_code = |report: &Report| {
                    report
                        .core
                        .errors
                        .get(usize::from(code.number()))
                        .copied()
                        .unwrap_or(0)
                };
                out.sample(&[("code", &code.as_str())], sum(scrape, of_code));
            }
        },
    ),
    counter(
        "roomcast_closes_total",
        &["code"],
        "Close frames sent, by code. If the client sent a close frame first, the server's answer has the client's \
         code. `other`: codes that neither RFC 6455 nor docs/protocol.md lists.",
        closes,
    ),
    counter(
        "roomcast_closed_by_server_total",
        &["cause"],
        "Connections that the server closed because a limit on time or on pending bytes was reached.",
        |scrape, out| {
            out.sample(
                &[("cause", &"slow_reader")],
                sum(scrape, |report| report.core.slow_readers),
            );
            out.sample(
                &[("cause", &"heartbeat_timeout")],
                sum(scrape, |report| report.core.heartbeat_timeouts),
            );
            out.sample(
                &[("cause", &"write_timeout")],
                sum(scrape, |report| report.core.write_timeouts),
            );
            out.sample(
                &[("cause", &"pool_idle")],
                sum(scrape, |report| report.core.pool_idle),
            );
            out.sample(
                &[("cause", &"pool_lifetime")],
                sum(scrape, |report| report.core.pool_lifetime),
            );
        },
    ),
    counter(
        "roomcast_pings_total",
        &[],
        "Ping frames sent.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.pings));
        },
    ),
    counter(
        "roomcast_rate_limited_total",
        &[],
        "Messages refused with `rate_limited`.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.rate_limited));
        },
    ),
    counter(
        "roomcast_reads_paused_total",
        &[],
        "Times that the server stopped reading from a connection because its messages or its answers had no room.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.reads_paused));
        },
    ),
    counter(
        "roomcast_link_waits_total",
        &[],
        "Times that a room waited because too many bytes were in flight to another shard (`queues.link_window`).",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.link_waits));
        },
    ),
    counter(
        "roomcast_turns_cut_total",
        &[],
        "Turns of an event loop that ended while rooms still had messages to handle (`queues.turn_bytes`).",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.turns_cut));
        },
    ),
    counter(
        "roomcast_slow_logic_total",
        &[],
        "Calls of room logic that took longer than `rooms.logic_budget`.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.slow_logic));
        },
    ),
    counter(
        "roomcast_failed_rooms_total",
        &[],
        "Rooms closed because their logic panicked.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.failed_rooms));
        },
    ),
    gauge(
        "roomcast_lane_pieces",
        &["shard"],
        "Pieces of output that are pending for connections. A piece is one or more messages of one room.",
        |scrape, out| {
            per_shard(scrape, out, |report| report.core.lane_pieces as u64);
        },
    ),
    gauge(
        "roomcast_lane_chunks",
        &["shard"],
        "Buffers that hold the pending output. Many connections share one buffer.",
        |scrape, out| {
            per_shard(scrape, out, |report| report.core.chunks as u64);
        },
    ),
    gauge(
        "roomcast_spare_bytes",
        &["shard"],
        "Memory of empty buffers that a shard keeps for reuse. What it does not use for 10 seconds, it frees.",
        |scrape, out| {
            per_shard(scrape, out, |report| report.core.spare_bytes as u64);
        },
    ),
    gauge(
        "roomcast_link_bytes",
        &["shard"],
        "Bytes of deliveries in flight from a shard to other shards.",
        |scrape, out| {
            per_shard(scrape, out, |report| report.link_bytes as u64);
        },
    ),
    counter(
        "roomcast_compressed_messages_total",
        &[],
        "Messages that were compressed. A message counts once, however many clients receive it.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.compression.messages));
        },
    ),
    counter(
        "roomcast_compressed_bytes_total",
        &["side"],
        "Bytes of compressed messages, before and after compression.",
        |scrape, out| {
            out.sample(
                &[("side", &"before")],
                sum(scrape, |report| report.compression.bytes_in),
            );
            out.sample(
                &[("side", &"after")],
                sum(scrape, |report| report.compression.bytes_out),
            );
        },
    ),
    histogram(
        "roomcast_latency_seconds",
        "Time from the read that caused a piece of output to the write of that piece. One sample for each piece and \
         receiver.",
        |scrape, out| {
            out.histogram(scrape.shards.iter().map(|report| &report.core.latency));
        },
    ),
    histogram(
        "roomcast_turn_seconds",
        "Duration of one turn of a shard's event loop, without its sleep.",
        |scrape, out| {
            out.histogram(scrape.shards.iter().map(|report| &report.io.turns));
        },
    ),
    gauge(
        "roomcast_late_shards",
        &[],
        "Shards that did not answer this scrape within 250 ms. Their numbers are from an earlier scrape.",
        |scrape, out| {
            out.sample(&[], scrape.late);
        },
    ),
    gauge(
        "roomcast_memory_in_use_bytes",
        &[],
        "Memory that the process has in use. `limits.memory` limits this number. The kernel's socket buffers are not \
         in it.",
        |scrape, out| {
            if scrape.in_use > 0 {
                out.sample(&[], scrape.in_use);
            }
        },
    ),
    gauge(
        "roomcast_memory_bytes",
        &[],
        "Resident memory of the process: what is in use, and what its allocator keeps. Missing where the system does \
         not tell.",
        |scrape, out| {
            if let Some(memory) = scrape.memory {
                out.sample(&[], memory);
            }
        },
    ),
    gauge(
        "roomcast_uptime_seconds",
        &[],
        "Time since the server was started.",
        |scrape, out| {
            out.sample(&[], scrape.uptime.as_secs());
        },
    ),
    gauge("roomcast_info", &["version"], "Always 1.", |_, out| {
        out.sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
    }),
];

type Samples = fn(&Scrape<'_>, &mut Exposition);

pub(super) const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    samples: Samples,
) -> Family {
    Family {
        name,
        kind: Type::Counter,
        labels,
        help,
        samples,
    }
}

pub(super) const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    samples: Samples,
) -> Family {
    Family {
        name,
        kind: Type::Gauge,
        labels,
        help,
        samples,
    }
}

const fn histogram(name: &'static str, help: &'static str, samples: Samples) -> Family {
    Family {
        name,
        kind: Type::Histogram,
        labels: &[],
        help,
        samples,
    }
}

pub(super) fn sum(scrape: &Scrape<'_>, number: impl Fn(&Report) -> u64) -> u64 {
    scrape.shards.iter().map(number).sum()
}

pub(super) fn per_shard(
    scrape: &Scrape<'_>,
    out: &mut Exposition,
    number: impl Fn(&Report) -> u64,
) {
    for report in scrape.shards {
        out.sample(&[("shard", &report.shard)], number(report));
    }
}

type Table = [[u64; Stats::TYPES]; 2];

fn by_type(scrape: &Scrape<'_>, out: &mut Exposition, incoming: bool, table: fn(&Stats) -> &Table) {
    for (row, format) in FORMATS.into_iter().enumerate() {
        let cell = |column: usize| sum(scrape, |report| table(&report.core)[row][column]);
        if incoming {
            out.sample(&[("format", &format), ("type", &"unknown")], cell(0));
        }
        for kind in MessageType::ALL
            .into_iter()
            .filter(|kind| !incoming || kind.is_request())
        {
            let value = cell(usize::from(kind.number()));
            // A server sends fewer types than there are; which, the counters themselves say.
            if incoming || value > 0 {
                out.sample(&[("format", &format), ("type", &kind.as_str())], value);
            }
        }
    }
}

fn closes(scrape: &Scrape<'_>, out: &mut Exposition) {
    let mut codes = std::collections::BTreeMap::new();
    for (code, count) in scrape.shards.iter().flat_map(|report| &report.core.closes) {
        *codes.entry(*code).or_insert(0) += count;
    }
    for (code, count) in codes {
        match code {
            0 => out.sample(&[("code", &"other")], count),
            code => out.sample(&[("code", &code)], count),
        }
    }
}
