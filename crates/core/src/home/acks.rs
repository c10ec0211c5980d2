//! What senders of numbered messages are told: one `ack` a room and turn, or the error of each.

use roomcast_protocol::{Body, ErrorCode, MessageType, Outgoing};

use crate::context::{Context, Fault};
use crate::home::refusals::refuse_non_member;
use crate::home::room::Room;
use crate::host::{Encoding, Host};
use crate::id::ConnRef;
use crate::identity::Rights;
use crate::letter::{OpHead, ToEdge};
use crate::log::Verdict;
use crate::logs::Logs;
use crate::time::Now;

/// An answer that waits for the end of the turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acked {
    conn: ConnRef,
    encoding: Encoding,
    born: u64,
    pair: (u64, u64),
}

/// The answers of a turn. Keeps its memory from turn to turn.
#[derive(Debug, Default)]
pub(super) struct Acks {
    waiting: Vec<Acked>,
    pairs: Vec<(u64, u64)>,
    /// Bytes of windows that are given back behind the answers, with a store.
    windows: Vec<(ConnRef, u32)>,
}

/// Answers for which memory is kept.
const KEPT: usize = 256;

impl Room {
    /// The message with this number is in the log, or was given up where the offset is 0.
    pub(super) fn acked(
        &mut self,
        (conn, encoding): (ConnRef, Encoding),
        born: u64,
        seq: u64,
        offset: u64,
    ) {
        self.acks.waiting.push(Acked {
            conn,
            encoding,
            born,
            pair: (seq, offset),
        });
    }

    /// Gives a connection the window back that an operation took: behind its `ack`, if there is one. So an edge that has
    /// all windows back has all answers, and can go on by itself should the home be lost.
    pub(super) fn accepted<H: Host>(&mut self, ctx: &mut Context<H>, conn: ConnRef, window: u32) {
        let last = self.acks.waiting.last();
        if self.gate.is_some() && last.is_some_and(|it| it.conn == conn) {
            self.acks.windows.push((conn, window));
        } else {
            ctx.accepted(conn, window);
        }
    }

    /// Sends the answers of this turn.
    pub(super) fn flush_acks<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        if self.acks.waiting.is_empty() {
            return;
        }
        let Acks { waiting, pairs, .. } = &mut self.acks;
        waiting.sort_unstable_by_key(|it| (it.conn.shard, it.conn.conn.to_u64(), it.pair));
        for own in waiting.chunk_by(|a, b| a.conn == b.conn) {
            let Some(first) = own.first() else { continue };
            pairs.clear();
            pairs.extend(own.iter().map(|it| it.pair));
            let message = Outgoing {
                room_id: &self.name,
                timestamp: self.timestamp.max(now.unix_ms),
                body: Body::Ack(pairs),
                ..Outgoing::default()
            };
            let answer = ctx.single(first.encoding, first.born, &message);
            ctx.stats.acks += own.len() as u64;
            ctx.send_edge(
                first.conn.shard,
                ToEdge::Answer {
                    conn: first.conn.conn,
                    answer,
                    offence: None,
                    ordered: false,
                },
            );
        }
        for (conn, window) in self.acks.windows.drain(..) {
            ctx.accepted(conn, window);
        }
        let waiting = &mut self.acks.waiting;
        waiting.clear();
        if waiting.capacity() > KEPT {
            self.acks = Acks::default();
        }
    }

    /// Answers a message whose number was used up before, or is not the next.
    pub(super) fn answer_known<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        op: &OpHead,
        request: MessageType,
        verdict: Verdict,
    ) {
        match verdict {
            Verdict::Next => {}
            Verdict::Logged(offset) => {
                ctx.stats.repeats += 1;
                self.acked((op.conn, op.encoding), op.born, op.seq, offset);
            }
            Verdict::Refused(code) => {
                ctx.stats.repeats += 1;
                let fault = Fault::new(code, "this message was refused before");
                self.refuse_seq(ctx, now, op, request, fault, op.seq);
            }
            Verdict::Gap { missing, first } => {
                ctx.stats.seq_gaps += 1;
                if first {
                    let sentence = "a message before this one is missing: send that one again, or give it up with `skip`";
                    let fault = Fault::new(ErrorCode::SeqGap, sentence);
                    self.refuse_seq(ctx, now, op, request, fault, missing);
                }
            }
        }
    }

    pub(super) fn refuse_seq<H: Host>(
        &self,
        ctx: &mut Context<H>,
        now: Now,
        op: &OpHead,
        request: MessageType,
        fault: Fault<'_>,
        seq: u64,
    ) {
        let fault = Fault {
            seq,
            request_id: op.request_id,
            request: Some(request),
            room: &self.name,
            ..fault
        };
        let answer = ctx.error(op.encoding, op.born, now.unix_ms, fault);
        ctx.send_edge(
            op.conn.shard,
            ToEdge::Answer {
                conn: op.conn.conn,
                answer,
                // The first one was counted.
                offence: None,
                ordered: false,
            },
        );
    }

    /// A number is given up.
    pub(super) fn skip<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &OpHead,
    ) {
        let Some(client) = self.client_of(op) else {
            return refuse_non_member(ctx, now, op, MessageType::Skip);
        };
        match logs.skip(self.log, client, op.seq) {
            Verdict::Next => self.acked((op.conn, op.encoding), op.born, op.seq, 0),
            known => self.answer_known(ctx, now, op, MessageType::Skip, known),
        }
    }

    /// A numbered message that its sender may not send is refused, unless it was sent before.
    pub(super) fn forbid<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &OpHead,
        request: MessageType,
        right: Rights,
    ) {
        let Some(client) = self.client_of(op) else {
            return refuse_non_member(ctx, now, op, request);
        };
        let verdict = logs.check(self.log, client, op.seq);
        if matches!(verdict, Verdict::Logged(_) | Verdict::Refused(_)) {
            return self.answer_known(ctx, now, op, request, verdict);
        }
        logs.refuse(self.log, client, op.seq, ErrorCode::Forbidden);
        let fault = Fault::new(ErrorCode::Forbidden, right.denied());
        self.refuse_seq(ctx, now, op, request, fault, op.seq);
    }

    /// A number was used up by a message that never came here.
    pub(super) fn note_refusal(&mut self, logs: &mut Logs, op: &OpHead, code: ErrorCode) {
        if let Some(client) = self.client_of(op) {
            logs.refuse(self.log, client, op.seq, code);
        }
    }
}
