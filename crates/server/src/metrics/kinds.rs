//! Metrics by kind of room, and of traces. The number of kinds is bounded: those beyond the first 32 are counted together.

use std::sync::atomic::Ordering;

use roomcast_core::KindStats;

use super::Scrape;
use super::exposition::{Exposition, Type};
use super::families::Family;

pub(super) const KIND_FAMILIES: &[Family] = &[
    Family {
        name: "roomcast_kind_rooms",
        kind: Type::Gauge,
        labels: &["kind"],
        help: "Open rooms, by their kind. The label is `other` for kinds beyond the first 32, and `default` for those that \
               are not configured.",
        samples: |scrape, out| by_kind(scrape, out, |kind| kind.rooms as u64),
    },
    Family {
        name: "roomcast_kind_members",
        kind: Type::Gauge,
        labels: &["kind"],
        help: "Players in rooms, by the rooms' kind.",
        samples: |scrape, out| by_kind(scrape, out, |kind| kind.members as u64),
    },
    Family {
        name: "roomcast_kind_messages_total",
        kind: Type::Counter,
        labels: &["kind"],
        help: "Messages published to rooms, by clients and over the API, by the rooms' kind.",
        samples: |scrape, out| by_kind(scrape, out, |kind| kind.messages),
    },
    Family {
        name: "roomcast_kind_message_bytes_total",
        kind: Type::Counter,
        labels: &["kind"],
        help: "Bytes of what was published, without envelopes, by the rooms' kind.",
        samples: |scrape, out| by_kind(scrape, out, |kind| kind.bytes),
    },
    Family {
        name: "roomcast_spans_total",
        kind: Type::Counter,
        labels: &["outcome"],
        help: "Spans of traces: `sent` to the collector, or `dropped`, as it did not take them in time.",
        samples: |scrape, out| {
            let of = [
                ("sent", &scrape.spans.sent),
                ("dropped", &scrape.spans.dropped),
            ];
            for (outcome, count) in of {
                out.sample(&[("outcome", &outcome)], count.load(Ordering::Relaxed));
            }
        },
    },
];

fn by_kind(scrape: &Scrape<'_>, out: &mut Exposition, value: fn(&KindStats) -> u64) {
    for (nth, label) in scrape.kinds.labels().enumerate() {
        let of_shards = scrape.shards.iter();
        let of_shards = of_shards.filter_map(|report| report.core.kinds.get(nth));
        out.sample(&[("kind", &label)], of_shards.map(value).sum::<u64>());
    }
}
