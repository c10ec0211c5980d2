//! What a room does for an application's backend, which is no member.

use std::borrow::Cow;

use roomcast_protocol::{Body, ErrorCode, Format, History, Outgoing, encode};

use crate::backend::{Ask, Failure, Publication, Published, Reply};
use crate::context::{Context, Fault};
use crate::desk::TOO_LATE;
use crate::home::append::log_unavailable;
use crate::home::ask_logic::fault_of;
use crate::home::publish::{Author, PAGE, page};
use crate::home::refusals::unknown_kind;
use crate::home::room::Room;
use crate::host::{Host, Notice};
use crate::letter::{OpHead, Publish, ToEdge};
use crate::log::{Completion, Record, Verdict};
use crate::logic::Outcome;
use crate::logs::{Appended, Logs};
use crate::player::PlayerNum;
use crate::time::{Now, micros};
use crate::trace::{MOST_TRACED, Span, Step, TraceContext, Traced};

/// Operations that may wait in a room before a backend's are not queued any more.
const MOST_WAITING: usize = 1_024;

impl Room {
    /// Whether a backend's question may wait here for its turn. What waits for verdicts is not before it.
    pub(super) fn takes_questions(&self) -> bool {
        self.pending.len() < MOST_WAITING
    }

    /// Does what a backend has asked for, and answers.
    pub(super) fn answer_backend<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &OpHead,
        ask: &Ask,
    ) {
        if now.micros.saturating_sub(op.born) > micros(TOO_LATE) {
            return refuse_question(ctx, op, too_late());
        }
        let reply = match ask {
            Ask::Publish(publication) => self.publish_for(ctx, logs, now, op, publication),
            Ask::Members { after, limit } => self.members_for(now, *after, *limit),
            Ask::History(request) => self.history_for(ctx, logs, now, *request),
            Ask::Kick { user } => self.kick(ctx, logs, now, user),
            Ask::Ban { user, until } => self.ban(ctx, logs, now, user, *until),
            Ask::Lock { until } => self.lock(ctx, now, *until),
            Ask::Rules => self.list_rules(now),
            Ask::Properties => Reply::Properties(self.properties().into()),
            Ask::SetProperties(update) => self.set_properties(ctx, logs, (now, op.born), update),
            Ask::Clear => self.clear_log(logs),
            Ask::Tail { tap, after } => self.tail(ctx, now, *tap, *after),
            Ask::Newer => Reply::Failed(not_known()),
        };
        answer(ctx, op, Some(reply));
    }

    fn members_for(&self, now: Now, after: PlayerNum, limit: u32) -> Reply {
        let most = match limit {
            0 => PAGE,
            limit => (limit as usize).min(PAGE),
        };
        let listed = page(self.members.between(after, None), most);
        let last = listed.last().map_or(0, |member| member.player_num);
        let more = last > 0 && self.members.between(last, None).next().is_some();
        message(&Outgoing {
            room_id: &self.name,
            timestamp: self.timestamp.max(now.unix_ms),
            body: Body::Members {
                members: &listed,
                total: self.members.len() as u64,
                next: if more { last } else { 0 },
            },
            ..Outgoing::default()
        })
    }

    fn publish_for<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &OpHead,
        publication: &Publication,
    ) -> Reply {
        self.load.note(now);
        self.count_message(ctx, publication.payload.len());
        let mut publish = publish_of(ctx, publication);
        let asked = self.ask_about_service(ctx, logs, now, publication, &mut publish);
        let reply = match asked {
            None => self.publish_nobodys(ctx, logs, now, op, publication, &publish),
            Some(reply) => reply,
        };
        if let Some(parent) = publication.trace {
            self.note_traced(ctx, now, op, parent, &reply);
        }
        ctx.recycle(publish.bytes);
        reply
    }

    /// Lets the logic have it first, and once if it has a key. `None`: it is published, or was.
    fn ask_about_service<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        publication: &Publication,
        publish: &mut Publish,
    ) -> Option<Reply> {
        let author = Author::Service(&publication.service);
        let is_logged = publication.once.is_some_and(|it| logs.knows(self.log, it));
        if is_logged || !self.asks_logic(publish, author) {
            return None;
        }
        match self.outcome(ctx, now, author, publish) {
            Outcome::Relay | Outcome::RelayAs(_) => None,
            Outcome::Handled => {
                if let Some(once) = publication.once {
                    // With what the logic made of it, or not at all.
                    self.note_logic(true);
                    logs.handled_once(self.log, once);
                }
                Some(Reply::Published(Published {
                    epoch: self.epoch,
                    offset: 0,
                    timestamp: now.unix_ms,
                    repeated: false,
                }))
            }
            Outcome::Refused(refusal) => Some(Reply::Failed(failure_of(&fault_of(&refusal)))),
        }
    }

    /// The append is a step of its own. What follows has it as its parent.
    fn note_traced<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        op: &OpHead,
        parent: TraceContext,
        reply: &Reply,
    ) {
        let (step, id) = (Step::Append, ctx.host.random().max(1));
        ctx.host.span(Span {
            step,
            parent,
            id,
            start: op.born.min(now.micros),
            end: now.micros,
            receivers: 0,
        });
        let is_new = matches!(reply, Reply::Published(published) if !published.repeated);
        if !is_new {
            return;
        }
        let traced = self.output.traced.get_or_insert_default();
        if traced.len() < MOST_TRACED {
            traced.push(Traced {
                parent: TraceContext {
                    trace: parent.trace,
                    span: id,
                },
                at: now.micros,
            });
        }
    }

    fn publish_nobodys<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &OpHead,
        publication: &Publication,
        publish: &Publish,
    ) -> Reply {
        let (offset, timestamp) = if publication.ephemeral {
            self.timestamp = self.timestamp.max(now.unix_ms);
            (0, self.timestamp)
        } else {
            let record = Record {
                service: &publication.service,
                ..publish.record("", false)
            };
            match self.append_once(ctx, logs, now, publication.once, record) {
                Some(Appended::Done(Completion { offset, timestamp })) => (offset, timestamp),
                Some(Appended::Known(Verdict::Logged(offset))) => {
                    ctx.stats.repeats += 1;
                    return Reply::Published(Published {
                        epoch: self.epoch,
                        offset,
                        timestamp: 0,
                        repeated: true,
                    });
                }
                _ => return Reply::Failed(failure_of(&log_unavailable())),
            }
        };
        // With nobody to hear it there is nothing to encode, and no range of offsets to hand out.
        if self.output.is_tapped() || self.receivers.iter().any(|count| *count > 0) {
            let author = Author::Service(&publication.service);
            self.deliver(ctx, author, op.born, publish);
        }
        Reply::Published(Published {
            epoch: self.epoch,
            offset,
            timestamp,
            repeated: false,
        })
    }
}

/// What a room that is not there, and has no log, says of itself.
pub(super) fn answer_absent<H: Host>(ctx: &mut Context<H>, now: Now, op: &OpHead, ask: &Ask) {
    if ctx.kinds.of_room(&op.room.name).is_none() {
        ctx.host.notice(Notice::UnknownKind);
        return refuse_question(ctx, op, failure_of(&unknown_kind()));
    }
    let page = |body| {
        message(&Outgoing {
            room_id: &op.room.name,
            timestamp: now.unix_ms,
            body,
            ..Outgoing::default()
        })
    };
    let reply = match ask {
        Ask::Members { .. } => page(Body::Members {
            members: &[],
            total: 0,
            next: 0,
        }),
        Ask::History(_) => page(Body::History(History::default())),
        Ask::Rules => Reply::Rules {
            bans: Vec::new(),
            locked_until: 0,
        },
        Ask::Properties => Reply::Properties(Box::default()),
        Ask::Newer => Reply::Failed(not_known()),
        _ => Reply::Done(0),
    };
    answer(ctx, op, Some(reply));
}

/// A message in JSON.
pub(super) fn message(message: &Outgoing<'_>) -> Reply {
    let mut bytes = Vec::new();
    encode(Format::Json, message, &mut bytes);
    Reply::Message(bytes.into())
}

fn publish_of<H>(ctx: &mut Context<H>, publication: &Publication) -> Publish {
    let mut bytes = ctx.buffer();
    bytes.extend_from_slice(publication.name.as_bytes());
    bytes.extend_from_slice(&publication.payload);
    Publish {
        message_type: publication.message_type,
        format: Format::Json,
        payload_kind: publication.payload_kind,
        bytes,
        name_length: publication.name.len() as u32,
        seq: 0,
        ephemeral: publication.ephemeral,
        no_echo: None,
    }
}

/// `None`: it was not done, and is to be asked again.
pub(crate) fn answer<H>(ctx: &mut Context<H>, op: &OpHead, reply: Option<Reply>) {
    let (shard, conn) = (op.conn.shard, op.conn.conn);
    let reply = reply.map(Box::new);
    ctx.send_edge(shard, ToEdge::Backend { conn, reply });
}

/// What was asked is not done.
pub(super) fn refuse_question<H>(ctx: &mut Context<H>, op: &OpHead, failure: Failure) {
    answer(ctx, op, Some(Reply::Failed(failure)));
}

pub(super) fn failure_of(fault: &Fault<'_>) -> Failure {
    Failure {
        code: fault.code,
        sentence: Cow::Owned(fault.message.to_owned()),
        retry_after_ms: fault.retry_after_ms,
    }
}

pub(super) fn too_many_waiting() -> Failure {
    Failure::unavailable("too much waits for this room; ask again later")
}

fn too_late() -> Failure {
    Failure::unavailable("the room could not do this in time")
}

fn not_known() -> Failure {
    let sentence = "the node that has this room is of an older version and does not know this";
    Failure::new(ErrorCode::NotSupported, sentence)
}
