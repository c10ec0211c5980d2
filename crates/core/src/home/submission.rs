//! What goes through the engine: submitted, completed, or not possible now.

use roomcast_protocol::{ErrorCode, MessageType, mutated};

use crate::context::{Context, Fault};
use crate::engine::{Completion, Engine, Record, Submitted};
use crate::home::room::Room;
use crate::host::{Host, Notice};
use crate::id::ClientId;
use crate::letter::{Op, OpKind};
use crate::time::Now;

impl Room {
    /// Submits an event; done or refused at once, or put in flight.
    pub(super) fn submit<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: Op,
    ) {
        if mutated!("ack_before_append") && op.seq > 0 {
            self.acked((op.conn, op.encoding), op.born, op.seq, self.offset + 1);
        }
        let payload;
        let sender = self.client_of(&op);
        let member = self.members.get(&op.player);
        let client_id = sender.as_ref().map_or("", ClientId::as_str);
        let record = match &op.request {
            OpKind::Join(join) => {
                payload = self.join_payload(ctx, join);
                self.join_record(join, &payload)
            }
            OpKind::Publish(publish) => Record {
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
            _ => Record {
                message_type: MessageType::PlayerLeft,
                client_id,
                player_id: member.map_or("", |member| &member.user_id),
                player_num: op.player,
                ..Record::default()
            },
        };
        match engine.submit(now, self.log, sender, record) {
            Submitted::Pending => self.in_flight.push_back(op),
            submitted => self.settle(ctx, engine, now, op, submitted),
        }
        self.note_short_log(ctx, engine, now);
    }

    /// What became of a submission.
    fn settle<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: Op,
        submitted: Submitted,
    ) {
        match submitted {
            Submitted::Done(completion) => {
                self.complete(ctx, engine, now, op, Some(completion));
            }
            Submitted::Known(verdict) => {
                self.answer_known(ctx, now, &op, verdict);
                if let OpKind::Publish(publish) = op.request {
                    ctx.recycle_for(op.conn.shard, publish.bytes);
                }
            }
            Submitted::Unavailable { retry_after_ms } => {
                self.unavailable(ctx, engine, now, op, retry_after_ms);
            }
            Submitted::Pending => {}
        }
    }

    /// Numbered messages of the same sender that wait for the engine.
    pub(super) fn waiting_of(&self, op: &Op) -> usize {
        let same = |other: &&Op| other.conn == op.conn && other.seq > 0;
        self.in_flight.iter().filter(same).count()
    }

    /// A log that is shorter than sessions live leaves gaps for those who come back: it is said which setting is why.
    fn note_short_log<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
    ) {
        if self.short_log
            || engine
                .events(now, self.log)
                .is_none_or(|log| log.cut() == 0)
        {
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
        let Some(op) = self.in_flight.pop_front() else {
            return;
        };
        let (conn, window) = (op.conn, op.window);
        if window > 0 && !matches!(submitted, Submitted::Pending) {
            ctx.accepted(conn, window);
        }
        match submitted {
            Submitted::Pending => self.in_flight.push_front(op),
            submitted => self.settle(ctx, engine, now, op, submitted),
        }
    }

    /// Delivers what the engine has ordered. Without a completion nothing was to be logged.
    pub(super) fn complete<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: Op,
        completion: Option<Completion>,
    ) {
        if let Some(completion) = completion {
            self.offset = completion.offset;
            self.timestamp = self.timestamp.max(completion.timestamp);
            ctx.stats.events += 1;
        }
        match op.request {
            OpKind::Join(_) => self.joined(ctx, engine, now, op, completion),
            OpKind::Leave { .. } => self.left(ctx, engine, now, op, completion),
            OpKind::Publish(publish) => {
                if publish.seq > 0 && completion.is_some() {
                    let to = (op.conn, op.encoding);
                    self.acked(to, op.born, publish.seq, self.offset);
                }
                self.deliver(ctx, op.conn, op.player, op.born, &publish);
                ctx.recycle_for(op.conn.shard, publish.bytes);
            }
            _ => {}
        }
    }

    /// The engine can't log now. Whoever leaves leaves all the same.
    fn unavailable<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: Op,
        retry_after_ms: u64,
    ) {
        let fault = Fault {
            retry_after_ms,
            ..Fault::new(
                ErrorCode::Unavailable,
                "the room's log can't be written now; send it again",
            )
        };
        match op.request {
            OpKind::Leave { .. } => self.left(ctx, engine, now, op, None),
            OpKind::Join(_) => self.refuse_join(ctx, now, &op, fault),
            OpKind::Publish(publish) => {
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
            _ => {}
        }
    }
}
