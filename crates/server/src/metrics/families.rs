//! Every metric: its name, what it means, and where its numbers come from.

use roomcast_core::Stats;
use roomcast_protocol::{ErrorCode, MessageType};

use super::Scrape;
use super::exposition::{Exposition, Type};
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
        "WebSocket connections.",
        |scrape, out| {
            per_shard(scrape, out, |report| report.connections as u64);
        },
    ),
    gauge(
        "roomcast_open_sockets",
        &[],
        "Connections that count towards the limits: WebSockets and those still in HTTP.",
        |scrape, out| {
            out.sample(&[], scrape.open);
        },
    ),
    gauge(
        "roomcast_rooms",
        &["shard"],
        "Rooms, by the shard that they are at home on.",
        |scrape, out| {
            per_shard(scrape, out, |report| report.rooms.0 as u64);
        },
    ),
    counter(
        "roomcast_connections_opened_total",
        &[],
        "WebSocket connections that shards took over.",
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
        "Handshakes answered with 101.",
        |scrape, out| {
            out.sample(&[], scrape.http.upgraded());
        },
    ),
    counter(
        "roomcast_http_requests_total",
        &[],
        "HTTP requests answered, handshakes among them.",
        |scrape, out| {
            out.sample(&[], scrape.http.requests());
        },
    ),
    counter(
        "roomcast_http_refused_total",
        &["cause"],
        "Clients that did not get a WebSocket.",
        |scrape, out| {
            for cause in RefusedBy::ALL {
                out.sample(&[("cause", &cause.as_str())], scrape.http.refused(cause));
            }
        },
    ),
    counter(
        "roomcast_messages_in_total",
        &["format", "type"],
        "Messages read. Type `unknown`: it could not be told.",
        |scrape, out| {
            by_type(scrape, out, true, |stats| &stats.messages_in);
        },
    ),
    counter(
        "roomcast_message_bytes_in_total",
        &["format", "type"],
        "Bytes of messages read, without frame headers, after decompression.",
        |scrape, out| {
            by_type(scrape, out, true, |stats| &stats.bytes_in);
        },
    ),
    counter(
        "roomcast_messages_out_total",
        &["format", "type"],
        "Messages queued: an event counts once for each receiver.",
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
        "Bytes that the sockets of WebSocket connections took.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.io.bytes_written));
        },
    ),
    counter(
        "roomcast_socket_reads_total",
        &[],
        "System calls that read.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.io.reads));
        },
    ),
    counter(
        "roomcast_socket_writes_total",
        &[],
        "System calls that wrote.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.io.writes));
        },
    ),
    counter(
        "roomcast_events_total",
        &[],
        "Events that rooms ordered.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.events));
        },
    ),
    counter(
        "roomcast_deliveries_total",
        &[],
        "Events and state messages queued: each message counts once for each receiver.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.deliveries));
        },
    ),
    counter(
        "roomcast_dropped_total",
        &["cause"],
        "Messages that a slow reader did not get: a newer state replaced them, or they were ephemeral.",
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
        "Newest states made for single readers that had missed some.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.catch_ups));
        },
    ),
    counter(
        "roomcast_errors_total",
        &["code"],
        "Errors answered.",
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
        "Close frames sent, by code. The answer to a client's own has its code; `other` are those that no table has.",
        closes,
    ),
    counter(
        "roomcast_closed_by_server_total",
        &["cause"],
        "Connections that the server closed because of how they behaved.",
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
        "Messages refused by the rate limit.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.rate_limited));
        },
    ),
    counter(
        "roomcast_reads_paused_total",
        &[],
        "Times that a connection was not read because its publishes or answers had no room.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.reads_paused));
        },
    ),
    counter(
        "roomcast_link_waits_total",
        &[],
        "Times that a room waited because the way to a shard was full.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.link_waits));
        },
    ),
    counter(
        "roomcast_turns_cut_total",
        &[],
        "Turns that ended with rooms still waiting to be served.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.core.turns_cut));
        },
    ),
    counter(
        "roomcast_slow_logic_total",
        &[],
        "Calls of room logic beyond their time budget.",
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
        "Pieces that wait in the lanes of all connections; each is one or more messages.",
        |scrape, out| {
            per_shard(scrape, out, |report| report.core.lane_pieces as u64);
        },
    ),
    gauge(
        "roomcast_lane_chunks",
        &["shard"],
        "Buffers that those pieces share.",
        |scrape, out| {
            per_shard(scrape, out, |report| report.core.chunks as u64);
        },
    ),
    gauge(
        "roomcast_link_bytes",
        &["shard"],
        "Bytes of deliveries on their way from a shard to others.",
        |scrape, out| {
            per_shard(scrape, out, |report| report.link_bytes as u64);
        },
    ),
    counter(
        "roomcast_compressed_messages_total",
        &[],
        "Messages compressed, each once for all its receivers.",
        |scrape, out| {
            out.sample(&[], sum(scrape, |report| report.compression.messages));
        },
    ),
    counter(
        "roomcast_compressed_bytes_total",
        &["side"],
        "Bytes of those messages before and after.",
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
        "From reading what caused a message to having written it, for each piece written.",
        |scrape, out| {
            out.histogram(scrape.shards.iter().map(|report| &report.core.latency));
        },
    ),
    histogram(
        "roomcast_turn_seconds",
        "How long a shard's turns take, without its sleep.",
        |scrape, out| {
            out.histogram(scrape.shards.iter().map(|report| &report.io.turns));
        },
    ),
    gauge(
        "roomcast_late_shards",
        &[],
        "Shards that did not answer this scrape within 250 ms; their numbers are older.",
        |scrape, out| {
            out.sample(&[], scrape.late);
        },
    ),
    gauge(
        "roomcast_memory_in_use_bytes",
        &[],
        "Memory that the process has in use: what `limits.memory` is about. The kernel's buffers of sockets are not in it.",
        |scrape, out| {
            if scrape.in_use > 0 {
                out.sample(&[], scrape.in_use);
            }
        },
    ),
    gauge(
        "roomcast_memory_bytes",
        &[],
        "Resident memory of the process, where the system tells: what is in use, and what its allocator keeps.",
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
