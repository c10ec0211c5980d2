//! The metrics of sessions, logs and numbered messages.

use super::families::{Family, counter, gauge, per_shard, sum};

pub(super) const SESSION_FAMILIES: &[Family] = &[
    gauge(
        "roomcast_parked_sessions",
        &["shard"],
        "Sessions without a connection, whose clients may come back.",
        |scrape, out| per_shard(scrape, out, |report| report.core.parked as u64),
    ),
    counter(
        "roomcast_sessions_resumed_total",
        &[],
        "Sessions to which their clients came back.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.resumed)),
    ),
    counter(
        "roomcast_takeovers_total",
        &[],
        "Of these, from a connection that still looked alive.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.taken_over)),
    ),
    counter(
        "roomcast_resumes_refused_total",
        &[],
        "Resume tokens that brought no session back: wrong, stale, or the session was gone.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.resumes_refused)),
    ),
    counter(
        "roomcast_sessions_ended_total",
        &["cause"],
        "Sessions without a connection that ended: nobody came back in time, or `session.max_parked` or \
         `session.max_parked_per_address` was reached.",
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
        "Sessions that ended because their user had `limits.sessions_per_user`.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.sessions_refused)),
    ),
    counter(
        "roomcast_recoveries_total",
        &["result"],
        "Positions that clients came back with: the log still reached there, or not.",
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
        "Parts of logs that were told again to single members.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.recovered_slices)),
    ),
    counter(
        "roomcast_readers_behind_total",
        &[],
        "Times that the events of a slow reader were dropped, to be told again from the log.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.readers_behind)),
    ),
    counter(
        "roomcast_log_overruns_total",
        &[],
        "Times that a slow reader came back to a log that had moved on: it got `recovered: false`.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.log_overruns)),
    ),
    counter(
        "roomcast_short_logs_total",
        &[],
        "Rooms whose log was shorter than `session.grace`: raise `log.events` or `log.bytes` of their kind.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.short_logs)),
    ),
    gauge(
        "roomcast_log_bytes",
        &["shard"],
        "Memory that rooms' logs hold.",
        |scrape, out| per_shard(scrape, out, |report| report.core.log_bytes as u64),
    ),
    counter(
        "roomcast_logs_evicted_total",
        &[],
        "Logs that went whole to stay under `rooms.log_memory`.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.logs_evicted)),
    ),
    counter(
        "roomcast_history_pages_total",
        &[],
        "Pages of history answered.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.history_pages)),
    ),
    counter(
        "roomcast_acks_total",
        &[],
        "Numbered messages that were acked.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.acks)),
    ),
    counter(
        "roomcast_repeats_total",
        &[],
        "Numbered messages that had their answer already and were not done twice.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.repeats)),
    ),
    counter(
        "roomcast_seq_gaps_total",
        &[],
        "Numbered messages that came before one that is missing.",
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
        "Memory that inboxes hold.",
        |scrape, out| per_shard(scrape, out, |report| report.core.inbox_bytes as u64),
    ),
    counter(
        "roomcast_inboxes_evicted_total",
        &[],
        "Inboxes that lost their messages to stay under `session.inbox_memory`.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.inboxes_evicted)),
    ),
];
