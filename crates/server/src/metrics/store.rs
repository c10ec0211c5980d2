//! The metrics of rooms in a store, and of several servers. Without a store they are 0, or missing.

use super::Scrape;
use super::exposition::Exposition;
use super::families::{Family, counter, gauge, per_shard, sum};
use crate::engine::NodeReport;

pub(super) const STORE_FAMILIES: &[Family] = &[
    counter(
        "roomcast_store_requests_total",
        &["attempt"],
        "What was asked of Redis about rooms: for the first time, and again because it was not answered.",
        |scrape, out| {
            let first = sum(scrape, |report| report.core.store_requests[0]);
            let again = sum(scrape, |report| report.core.store_requests[1]);
            out.sample(&[("attempt", &"first")], first);
            out.sample(&[("attempt", &"repeated")], again);
        },
    ),
    gauge(
        "roomcast_unconfirmed_bytes",
        &["shard"],
        "Bytes that wait until Redis has confirmed what was done before them.",
        |scrape, out| per_shard(scrape, out, |report| report.core.unconfirmed_bytes as u64),
    ),
    counter(
        "roomcast_store_waits_total",
        &[],
        "Times that a room took no more operations, as too much of it was on its way to Redis.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.store_waits)),
    ),
    counter(
        "roomcast_impatient_total",
        &[],
        "Operations that were refused because Redis took longer than `redis.patience`.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.impatient)),
    ),
    counter(
        "roomcast_rooms_lost_total",
        &[],
        "Rooms that a server gave up although it had not closed them: they are another server's, or it was cut off.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.rooms_lost)),
    ),
    counter(
        "roomcast_rooms_renewed_total",
        &[],
        "Rooms that a server has written again, at a Redis that lacked some of it.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.rooms_renewed)),
    ),
    counter(
        "roomcast_withheld_total",
        &[],
        "What was not done or said as a server of an older version in the cluster would not understand it.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.withheld)),
    ),
    counter(
        "roomcast_records_unread_total",
        &[],
        "Parts of records at Redis that could not be read, and were passed over.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.records_unread)),
    ),
    gauge(
        "roomcast_nodes",
        &[],
        "Living servers of the cluster, as this one knows them, with itself.",
        |scrape, out| of_node(scrape, out, |node| node.living as u64),
    ),
    gauge(
        "roomcast_nodes_connected",
        &[],
        "Servers that this one has connected to, to reach them without Redis (`cluster.listen`).",
        |scrape, out| of_node(scrape, out, |node| node.connected as u64),
    ),
    gauge(
        "roomcast_nodes_differing",
        &[],
        "Other living servers of the cluster that have another `session.secret`, or other settings.",
        |scrape, out| of_node(scrape, out, |node| node.differing as u64),
    ),
    gauge(
        "roomcast_lease",
        &[],
        "At how many Redis servers this one may act: they have heard from it in time. 0 or 1, but with a Redis Cluster.",
        |scrape, out| of_node(scrape, out, |node| node.leases as u64),
    ),
    gauge(
        "roomcast_redis_masters",
        &[],
        "Redis servers that share the rooms: more than 1 with a Redis Cluster.",
        |scrape, out| of_node(scrape, out, |node| node.masters as u64),
    ),
    counter(
        "roomcast_beats_total",
        &["outcome"],
        "What became of the signs of life that this server sent to Redis.",
        |scrape, out| {
            if let Some(node) = &scrape.node {
                let agent = &node.agent;
                out.sample(&[("outcome", &"answered")], agent.answered);
                out.sample(&[("outcome", &"error")], agent.errors);
                out.sample(&[("outcome", &"late")], agent.late);
            }
        },
    ),
    counter(
        "roomcast_leases_lost_total",
        &[],
        "Times that this server was silent for longer than `redis.lease`.",
        |scrape, out| of_node(scrape, out, |node| node.agent.gone),
    ),
    counter(
        "roomcast_stores_met_total",
        &[],
        "Redis servers that this server has met, one after the other. A restart or a failover makes another one.",
        |scrape, out| of_node(scrape, out, |node| node.agent.stores),
    ),
    counter(
        "roomcast_datagrams_total",
        &["direction"],
        "Messages between servers, over Redis.",
        |scrape, out| {
            if let Some(node) = &scrape.node {
                out.sample(&[("direction", &"in")], node.post.datagrams_in[0]);
                out.sample(&[("direction", &"out")], node.post.datagrams_out[0]);
            }
        },
    ),
    counter(
        "roomcast_datagram_bytes_total",
        &["direction"],
        "Their bytes.",
        |scrape, out| {
            if let Some(node) = &scrape.node {
                out.sample(&[("direction", &"in")], node.post.datagrams_in[1]);
                out.sample(&[("direction", &"out")], node.post.datagrams_out[1]);
            }
        },
    ),
    counter(
        "roomcast_datagrams_ignored_total",
        &["cause"],
        "Messages between servers that were ignored. `unproven`: that server has another `session.secret`, or somebody \
         else writes to Redis. `stranger`: it is not known to live.",
        |scrape, out| {
            if let Some(node) = &scrape.node {
                let post = &node.post;
                let causes = [
                    ("version", post.unknown_version),
                    ("unproven", post.unproven),
                    ("malformed", post.malformed),
                    ("stranger", post.strangers),
                    ("other_link", post.not_ours),
                ];
                for (cause, count) in causes {
                    out.sample(&[("cause", &cause)], count);
                }
            }
        },
    ),
    counter(
        "roomcast_links_lost_total",
        &[],
        "Links to other servers that were lost.",
        |scrape, out| of_node(scrape, out, |node| node.post.links_lost),
    ),
    counter(
        "roomcast_letters_lost_total",
        &[],
        "Messages for other servers that were dropped, as the link was lost.",
        |scrape, out| {
            of_node(scrape, out, |node| {
                node.post.pieces_lost + node.cluster.letters_lost
            });
        },
    ),
    gauge(
        "roomcast_letters_waiting_bytes",
        &[],
        "Bytes for other servers that have no room on the way there yet.",
        |scrape, out| of_node(scrape, out, |node| node.cluster.waiting_bytes as u64),
    ),
];

fn of_node(scrape: &Scrape<'_>, out: &mut Exposition, number: impl Fn(&NodeReport) -> u64) {
    if let Some(node) = &scrape.node {
        out.sample(&[], number(node));
    }
}
