//! The metrics of webhooks, and of questions to backends. Their names are those of the configuration, so there are few.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Scrape;
use super::exposition::seconds;
use super::families::{Family, counter, gauge, sum};
use crate::authorize::OUTCOMES;
use crate::webhooks::HookStats;

pub(super) const WEBHOOK_FAMILIES: &[Family] = &[
    counter(
        "roomcast_webhook_events_total",
        &["webhook", "outcome"],
        "Events of a webhook: `sent` to its receiver, or dropped because there was no room for more (`full`), or because \
         it took them for longer than `retry_for` (`expired`).",
        |scrape, out| {
            for_each(scrape, |hook| {
                for (outcome, count) in [
                    ("sent", &hook.sent),
                    ("full", &hook.full),
                    ("expired", &hook.expired),
                ] {
                    out.sample(&[("webhook", &hook.name), ("outcome", &outcome)], of(count));
                }
            });
        },
    ),
    counter(
        "roomcast_webhook_requests_total",
        &["webhook", "outcome"],
        "Requests to the receiver of a webhook that it took (`done`), and that it did not take, so that they are sent again \
         (`failed`).",
        |scrape, out| {
            for_each(scrape, |hook| {
                for (outcome, count) in ["done", "failed"].into_iter().zip(&hook.requests) {
                    out.sample(&[("webhook", &hook.name), ("outcome", &outcome)], of(count));
                }
            });
        },
    ),
    gauge(
        "roomcast_webhook_waiting",
        &["webhook", "where"],
        "Events that wait for the receiver of a webhook: in this process, and in Redis as it said last.",
        |scrape, out| {
            for_each(scrape, |hook| {
                for (place, count) in ["process", "redis"].into_iter().zip(&hook.waiting) {
                    out.sample(&[("webhook", &hook.name), ("where", &place)], of(count));
                }
            });
        },
    ),
    counter(
        "roomcast_webhook_seconds_total",
        &["webhook"],
        "Sum over the requests that a receiver took: the time from the first of their events until it was taken. Divided \
         by the requests that are `done` it is the mean.",
        |scrape, out| {
            for_each(scrape, |hook| {
                out.sample(&[("webhook", &hook.name)], seconds(of(&hook.micros)));
            });
        },
    ),
    counter(
        "roomcast_webhook_facts_dropped_total",
        &[],
        "Events of all webhooks that were dropped as shards made them faster than they could be looked at.",
        |scrape, out| {
            out.sample(&[], scrape.webhooks.map_or(0, |it| it.dropped()));
        },
    ),
    counter(
        "roomcast_webhook_facts_lost_total",
        &[],
        "Events that rooms had to tell when another server took them, and that Redis had not confirmed. What was not done is done \
         and told there; what was done is told by nobody.",
        |scrape, out| {
            out.sample(&[], scrape.webhooks.map_or(0, |it| it.lost()));
        },
    ),
    counter(
        "roomcast_authorize_total",
        &["backend", "outcome"],
        "Questions to a backend (`[authorize.NAME]`): `allowed`, `refused`, without an answer in time that can be read (`silent`), \
         or not sent as too many were under way (`busy`).",
        |scrape, out| {
            for table in scrape.authorize {
                for (outcome, count) in OUTCOMES.into_iter().zip(&table.outcomes) {
                    out.sample(
                        &[("backend", &table.name), ("outcome", &outcome)],
                        of(count),
                    );
                }
            }
        },
    ),
    counter(
        "roomcast_authorize_seconds_total",
        &["backend"],
        "Sum over the questions that were answered: the time until the answer. Divided by those that are `allowed` and \
         `refused` it is the mean.",
        |scrape, out| {
            for table in scrape.authorize {
                out.sample(&[("backend", &table.name)], seconds(of(&table.micros)));
            }
        },
    ),
    counter(
        "roomcast_authorize_known_total",
        &[],
        "Questions that were not asked, as a backend had answered them before.",
        |scrape, out| out.sample(&[], sum(scrape, |report| report.core.inquiries[3])),
    ),
];

fn for_each(scrape: &Scrape<'_>, mut each: impl FnMut(&HookStats)) {
    for hook in scrape.webhooks.iter().flat_map(|it| &it.hooks) {
        each(hook);
    }
}

fn of(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
