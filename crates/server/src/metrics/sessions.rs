//! The metrics of sessions, logs and numbered messages.

use super::families::{Family, counter, gauge, per_shard, sum};

pub(super) const SESSION_FAMILIES: &[Family] = &[
    gauge(
        "roomcast_parked_sessions",
        &["shard"],
        "Sessions without a connection, which their clients may still resume.",
        |scrape, out| per_shard(scrape, out, |report| report.core.parked as u64),
    ),
    counter(
        "roomcast_sessions_resumed_total",
        &[],
        "Sessions that their clients resumed.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.resumed)),
    ),
    counter(
        "roomcast_takeovers_total",
        &[],
        "Resumed sessions that still had another connection. That connection was closed with 4501 or 4000.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.taken_over)),
    ),
    counter(
        "roomcast_resumes_refused_total",
        &[],
        "Resume tokens that resumed nothing: the token was wrong or stale, or the session was gone.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.resumes_refused)),
    ),
    counter(
        "roomcast_sessions_ended_total",
        &["cause"],
        "Sessions that ended without a connection. `grace`: nobody resumed it in time. `max_parked` and \
         `max_parked_per_address`: that limit was reached, so that it ended with its connection.",
        |scrape, out| {
            let expired = sum(scrape, |report| report.core.sessions_expired);
            let all = sum(scrape, |report| report.core.sessions_not_parked[0]);
            let address = sum(scrape, |report| report.core.sessions_not_parked[1]);
            out.sample(&[("cause", &"grace")], expired);
            out.sample(&[("cause", &"max_parked")], all);
            out.sample(&[("cause", &"max_parked_per_address")], address);
        },
    ),
    counter(
        "roomcast_sessions_refused_total",
        &[],
        "Sessions that were refused because their user had `limits.sessions_per_user` already.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.sessions_refused)),
    ),
    counter(
        "roomcast_recoveries_total",
        &["result"],
        "Positions that clients gave when they resumed or joined. `recovered`: the log reached back to it. `lost`: \
         it did not.",
        |scrape, out| {
            let lost = sum(scrape, |report| report.core.recoveries[0]);
            let recovered = sum(scrape, |report| report.core.recoveries[1]);
            out.sample(&[("result", &"lost")], lost);
            out.sample(&[("result", &"recovered")], recovered);
        },
    ),
    counter(
        "roomcast_recovered_slices_total",
        &[],
        "Slices of logs that were sent to single clients to bring them up to date.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.recovered_slices)),
    ),
    counter(
        "roomcast_readers_behind_total",
        &[],
        "Times that a client was found lagging: its pending events were dropped, to be read from the log later.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.readers_behind)),
    ),
    counter(
        "roomcast_log_overruns_total",
        &[],
        "Times that a lagging client could not catch up, as the log no longer had its events. It got `recovered: \
         false`.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.log_overruns)),
    ),
    counter(
        "roomcast_short_logs_total",
        &[],
        "Rooms whose log did not cover `session.grace`. Raise `log.events` or `log.bytes` of their kind.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.short_logs)),
    ),
    gauge(
        "roomcast_log_bytes",
        &["shard"],
        "Memory that the logs of rooms take: what `rooms.log_memory` limits.",
        |scrape, out| per_shard(scrape, out, |report| report.core.log_bytes as u64),
    ),
    counter(
        "roomcast_logs_evicted_total",
        &[],
        "Logs that were dropped to stay under `rooms.log_memory`.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.logs_evicted)),
    ),
    counter(
        "roomcast_history_pages_total",
        &[],
        "Requests for `history` that were answered with a page.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.history_pages)),
    ),
    counter(
        "roomcast_acks_total",
        &[],
        "Messages with a `seq` that were acked.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.acks)),
    ),
    counter(
        "roomcast_repeats_total",
        &[],
        "Messages with a `seq` that had been answered before. They were answered again, and not done again.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.repeats)),
    ),
    counter(
        "roomcast_seq_gaps_total",
        &[],
        "Messages that were refused because one with a lower `seq` was missing.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.seq_gaps)),
    ),
    counter(
        "roomcast_inbox_messages_total",
        &[],
        "Direct messages put into inboxes.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.inbox_messages)),
    ),
    gauge(
        "roomcast_inbox_bytes",
        &["shard"],
        "Memory that inboxes take: what `session.inbox_memory` limits.",
        |scrape, out| per_shard(scrape, out, |report| report.core.inbox_bytes as u64),
    ),
    counter(
        "roomcast_inboxes_evicted_total",
        &[],
        "Inboxes that lost their messages, to stay under `session.inbox_memory`.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.inboxes_evicted)),
    ),
];
