//! What goes through the engine: submitted, completed, or not possible now.

use roomcast_protocol::{ErrorCode, MessageType, mutated};

use crate::context::{Context, Fault};
use crate::engine::{Completion, Engine, Record, Submitted};
use crate::home::room::Room;
use crate::host::{Host, Notice};
use crate::id::ClientId;
use crate::letter::{Join, Leave, OpHead, Publish};
use crate::time::Now;

/// What the engine is given.
#[derive(Debug)]
pub(super) enum Submission {
    Join(Box<Join>),
    Leave(Leave),
    Publish(Publish),
}

impl Submission {
    /// Whether it changes who is in the room: it keeps its place among publishes.
    pub(super) fn comes_or_goes(&self) -> bool {
        matches!(self, Submission::Join(_) | Submission::Leave(_))
    }

    /// The type of the message that asked for it.
    fn request(&self) -> MessageType {
        match self {
            Submission::Join(_) => MessageType::JoinRoom,
            Submission::Leave(_) => MessageType::LeaveRoom,
            Submission::Publish(publish) => publish.message_type,
        }
    }
}

impl Room {
    /// Submits an event; done or refused at once, or put in flight.
    pub(super) fn submit<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: OpHead,
        submission: Submission,
    ) {
        if mutated!("ack_before_append") && op.seq > 0 {
            self.acked((op.conn, op.encoding), op.born, op.seq, self.offset + 1);
        }
        let payload;
        let sender = self.client_of(&op);
        let member = self.members.get(&op.player);
        let client_id = sender.as_ref().map_or("", ClientId::as_str);
        let record = match &submission {
            Submission::Join(join) => {
                payload = self.join_payload(ctx, join);
                self.join_record(join, &payload)
            }
            Submission::Publish(publish) => Record {
                message_type: publish.message_type,
                payload_kind: publish.payload_kind,
                format: publish.format,
                silent: publish.no_echo.unwrap_or(self.entry.kind.no_echo),
                client_id,
                seq: publish.seq,
                name: publish.name(),
                payload: publish.payload(),
                ..Record::default()
            },
            Submission::Leave(_) => Record {
                message_type: MessageType::PlayerLeft,
                client_id,
                player_id: member.map_or("", |member| &member.user_id),
                player_num: op.player,
                ..Record::default()
            },
        };
        match engine.submit(now, self.log, sender, record) {
            Submitted::Pending => self.in_flight.push_back((op, submission)),
            submitted => self.settle(ctx, engine, now, (op, submission), submitted),
        }
        self.note_short_log(ctx, engine);
    }

    /// What became of a submission.
    fn settle<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        (op, submission): (OpHead, Submission),
        submitted: Submitted,
    ) {
        match submitted {
            Submitted::Done(completion) => {
                self.complete(ctx, engine, now, (op, submission), completion);
            }
            Submitted::Known(verdict) => {
                self.answer_known(ctx, now, &op, submission.request(), verdict);
                if let Submission::Publish(publish) = submission {
                    ctx.recycle_for(op.conn.shard, publish.bytes);
                }
            }
            Submitted::Unavailable { retry_after_ms } => {
                self.unavailable(ctx, engine, now, (op, submission), retry_after_ms);
            }
            Submitted::Pending => {}
        }
    }

    /// Numbered messages of the same sender that wait for the engine.
    pub(super) fn waiting_of(&self, op: &OpHead) -> usize {
        let same = |other: &&OpHead| other.conn == op.conn && other.seq > 0;
        let in_flight = self.in_flight.iter().map(|(op, _)| op);
        in_flight.filter(same).count()
    }

    /// A log that is shorter than sessions live leaves gaps for those who come back: it is said which setting is why.
    fn note_short_log<H: Host, E: Engine>(&mut self, ctx: &mut Context<H>, engine: &E) {
        if self.short_log || engine.cut(self.log) == 0 {
            return;
        }
        self.short_log = true;
        ctx.stats.short_logs += 1;
        ctx.host.notice(Notice::ShortLog {
            kind: &self.entry.kind.name,
        });
    }

    /// A pending submission of this room has ended.
    pub(super) fn completed<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        submitted: Submitted,
    ) {
        let Some((op, submission)) = self.in_flight.pop_front() else {
            return;
        };
        let (conn, window) = (op.conn, op.window);
        if window > 0 && !matches!(submitted, Submitted::Pending) {
            ctx.accepted(conn, window);
        }
        match submitted {
            Submitted::Pending => self.in_flight.push_front((op, submission)),
            submitted => self.settle(ctx, engine, now, (op, submission), submitted),
        }
    }

    /// Does what the engine has given its place in the order.
    fn complete<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        (op, submission): (OpHead, Submission),
        completion: Completion,
    ) {
        self.offset = completion.offset;
        self.timestamp = self.timestamp.max(completion.timestamp);
        ctx.stats.events += 1;
        let completion = Some(completion);
        match submission {
            Submission::Join(join) => self.joined(ctx, engine, now, op, *join, completion),
            Submission::Leave(leave) => self.left(ctx, engine, now, op, leave, completion),
            Submission::Publish(publish) => self.published(ctx, &op, publish, completion),
        }
    }

    /// The engine can't log now. Whoever leaves leaves all the same.
    fn unavailable<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        (op, submission): (OpHead, Submission),
        retry_after_ms: u64,
    ) {
        let fault = Fault {
            retry_after_ms,
            ..Fault::new(
                ErrorCode::Unavailable,
                "the room's log can't be written at the moment; send this message again later",
            )
        };
        match submission {
            Submission::Leave(leave) => self.left(ctx, engine, now, op, leave, None),
            Submission::Join(join) => self.refuse_join(ctx, now, &op, join.edge_room, fault),
            Submission::Publish(publish) => {
                let seq = publish.seq;
                let request = Some(publish.message_type);
                ctx.recycle(publish.bytes);
                let fault = Fault {
                    seq,
                    request_id: op.request_id,
                    request,
                    room: &self.name,
                    ..fault
                };
                ctx.refuse(op.conn, op.encoding, op.born, now.unix_ms, fault);
            }
        }
    }
}
