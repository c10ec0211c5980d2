//! Steps of messages that are traced, at the shard of their receivers.

use crate::context::Context;
use crate::edge::Edge;
use crate::host::Host;
use crate::store::Store;
use crate::time::Now;
use crate::trace::{Span, Step, TraceContext, Traced};

/// They have come, and wait for the sockets of so many connections. What follows has this step as its parent.
#[cold]
pub(super) fn delivered<H: Host>(
    ctx: &mut Context<H>,
    now: Now,
    receivers: usize,
    mut all: Vec<Traced>,
) -> Vec<Traced> {
    for traced in &mut all {
        let id = ctx.host.random().max(1);
        ctx.host.span(Span {
            step: Step::Deliver,
            parent: traced.parent,
            id,
            start: traced.at.min(now.micros),
            end: now.micros,
            receivers: u32::try_from(receivers).unwrap_or(u32::MAX),
        });
        *traced = Traced {
            parent: TraceContext {
                trace: traced.parent.trace,
                span: id,
            },
            at: now.micros,
        };
    }
    all
}

impl<S: Store> Edge<S> {
    /// Nobody waits for them any more: the last socket has taken them.
    #[cold]
    pub(super) fn end_traces<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        for traced in self.table.take_written() {
            let id = ctx.host.random().max(1);
            ctx.host.span(Span {
                step: Step::LastWrite,
                parent: traced.parent,
                id,
                start: traced.at,
                end: now.micros.max(traced.at),
                receivers: 0,
            });
        }
    }
}
