//! What is sent to a room, and its logic has a say in before it is passed on.

use std::borrow::Cow;

use roomcast_protocol::{ErrorCode, Format, GameAction, MessageType, PresenceUpdate, presence};

use crate::context::{Context, Fault};
use crate::home::publish::{Author, NOBODY};
use crate::home::room::Room;
use crate::host::{Host, Notice};
use crate::letter::{Join, OpHead, Publish, ToEdge};
use crate::log::Verdict;
use crate::logic::{Changed, Outcome, Profile, Refusal, RoomEvent, cut, update_of};
use crate::logs::Logs;
use crate::player::PlayerNum;
use crate::time::Now;

/// What became of a message that the logic was asked about.
pub(super) enum Asked {
    /// The room relays it.
    Relay,
    /// Handled, refused, or a number that was used up before: its sender has its answer.
    Answered,
}

impl Room {
    /// Whether the logic has a say in a message: it holds names, hears of actions, and of all else that is sent if it
    /// wants to.
    pub(super) fn asks_logic(&self, publish: &Publish, author: Author<'_>) -> bool {
        if !self.has_logic() || matches!(author, Author::Client(NOBODY, _)) {
            return false;
        }
        publish.message_type == MessageType::GameAction
            || self.logic_rules().hears_events()
            || self.logic_rules().is_own(publish.name())
    }

    /// Lets the logic have a member's message first, which it may change. A numbered one is not given to it twice.
    pub(super) fn ask_logic<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &OpHead,
        publish: &mut Publish,
    ) -> Asked {
        let numbered = self.client_of(op).filter(|_| op.seq > 0);
        if let Some(client) = numbered {
            match logs.check(self.log, client, op.seq) {
                Verdict::Next => {}
                known => {
                    self.answer_known(ctx, now, op, publish.message_type, known);
                    return Asked::Answered;
                }
            }
        }
        let author = Author::Client(op.conn, op.player);
        let refused = match self.outcome(ctx, now, author, publish) {
            Outcome::Relay | Outcome::RelayAs(_) => return Asked::Relay,
            // The sender was told with all others, and nobody waits for an answer.
            Outcome::Refused(_) if self.has_failed() && op.seq == 0 && op.request_id == 0 => None,
            Outcome::Handled => None,
            Outcome::Refused(refusal) => {
                Some(self.refuse_by_rule(ctx, now, op, publish.message_type, &refusal))
            }
        };
        if numbered.is_some() {
            self.note_logic(true);
        }
        // Neither is in the log: a number that was handled is answered with the offset 0.
        match (numbered, refused) {
            (None, _) => {}
            (Some(client), Some(code)) => logs.refuse(self.log, client, op.seq, code),
            (Some(client), None) => {
                logs.skip(self.log, client, op.seq);
                self.acked((op.conn, op.encoding), op.born, op.seq, 0);
            }
        }
        Asked::Answered
    }

    /// What becomes of a message, whoever has sent it; it is changed as the logic wants it. Nothing that somebody sends
    /// gets past this.
    pub(super) fn outcome<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        author: Author<'_>,
        publish: &mut Publish,
    ) -> Outcome {
        let by_service = matches!(author, Author::Service(_));
        let is_event = publish.message_type == MessageType::Event;
        if is_event && let Some(refusal) = self.logic_rules().holds(publish.name(), by_service) {
            return Outcome::Refused(refusal);
        }
        let outcome = if publish.message_type == MessageType::GameAction {
            let limits = &ctx.settings.message;
            let Ok(action) = GameAction::parse(publish.format, publish.payload(), limits) else {
                return Outcome::Handled;
            };
            let player = author.player();
            self.with_logic_aside(ctx, now, |logic, room| logic.action(room, player, &action))
        } else if self.logic_rules().hears_events() {
            let event = RoomEvent {
                name: is_event.then(|| publish.name()),
                payload_kind: publish.payload_kind,
                payload: publish.payload(),
                ephemeral: publish.ephemeral,
            };
            self.with_logic_aside(ctx, now, |logic, room| match author {
                Author::Client(_, player) => logic.event(room, player, &event),
                Author::Service(service) => logic.service_event(room, service, &event),
            })
        } else {
            return Outcome::Relay;
        };
        self.note_changes();
        match outcome {
            Some(Outcome::RelayAs(changed)) => {
                match change(ctx, &self.entry.kind.name, publish, &changed) {
                    Ok(()) => Outcome::Relay,
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
            Some(outcome) => outcome,
            // It panicked: the room is closed, and everybody was told. This is the answer.
            None => Outcome::refused_with(
                ErrorCode::RoomFailed,
                "the room's logic failed and the room is closed",
            ),
        }
    }

    /// Whether somebody may join, with the nickname and the presence that the logic wants it to have.
    pub(super) fn admit<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        join: &mut Join,
    ) -> Result<(), Refusal> {
        if !self.asks_about_members() {
            return Ok(());
        }
        let limits = ctx.settings.message.clone();
        let merged = presence::merge("", &join.presence, &limits).unwrap_or_default();
        let id = match &*join.user_id {
            "" => join.client_id.as_str(),
            user => user,
        };
        let mut profile = Profile {
            id,
            nickname: Cow::Borrowed(&join.nickname),
            presence: Cow::Owned(merged.clone()),
            limits: &limits,
        };
        let admitted =
            self.with_logic_aside(ctx, now, |logic, room| logic.admit(room, &mut profile));
        self.note_changes();
        admitted.unwrap_or_else(|| {
            let sentence = "the room's logic failed; join again for a new room";
            Err(Refusal::new(sentence).with_code(ErrorCode::RoomFailed))
        })?;
        let Profile {
            nickname, presence, ..
        } = profile;
        let nickname: Box<str> = nickname.into();
        if presence != merged {
            join.presence = update_of(&presence)?;
        }
        join.nickname = nickname;
        Ok(())
    }

    /// Whether a member may change its nickname and presence like this, and how they are to be then.
    pub(super) fn ask_presence<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        player: PlayerNum,
        update: &PresenceUpdate<'_>,
        merged: String,
    ) -> Result<(Option<Box<str>>, String), Refusal> {
        let member = self.members.get(&player);
        let Some(member) = member.filter(|_| self.asks_about_members()) else {
            return Ok((update.nickname.as_deref().map(Box::from), merged));
        };
        let limits = ctx.settings.message.clone();
        let id = member.player_id().to_owned();
        let nickname = update.nickname.as_deref().unwrap_or(&member.nickname);
        let mut profile = Profile {
            id: &id,
            nickname: Cow::Owned(nickname.to_owned()),
            presence: Cow::Owned(merged),
            limits: &limits,
        };
        let taken = self.with_logic_aside(ctx, now, |logic, room| {
            logic.presence(room, player, &mut profile)
        });
        self.note_changes();
        taken.unwrap_or_else(|| {
            let sentence = "the room's logic failed and the room is closed";
            Err(Refusal::new(sentence).with_code(ErrorCode::RoomFailed))
        })?;
        let nickname = Box::from(&*profile.nickname);
        Ok((Some(nickname), profile.presence.into_owned()))
    }

    fn asks_about_members(&self) -> bool {
        self.has_logic() && self.logic_rules().hears_events()
    }

    pub(super) fn refuse_by_rule<H: Host>(
        &self,
        ctx: &mut Context<H>,
        now: Now,
        op: &OpHead,
        request: MessageType,
        refusal: &Refusal,
    ) -> ErrorCode {
        let fault = Fault {
            seq: op.seq,
            request: Some(request),
            request_id: op.request_id,
            room: &self.name,
            ..fault_of(refusal)
        };
        let answer = ctx.error(op.encoding, op.born, now.unix_ms, fault);
        // The rules of a game are not the protocol's: to break them is no offence.
        ctx.send_edge(
            op.conn.shard,
            ToEdge::Answer {
                conn: op.conn.conn,
                answer,
                offence: None,
                ordered: false,
            },
        );
        refusal.code
    }
}

/// A refusal as it is told.
pub(super) fn fault_of(refusal: &Refusal) -> Fault<'_> {
    Fault {
        retry_after_ms: refusal.retry_after_ms,
        ..Fault::new(refusal.code, cut(&refusal.message))
    }
}

/// Puts something else in the place of what was sent.
fn change<H: Host>(
    ctx: &mut Context<H>,
    kind: &str,
    publish: &mut Publish,
    changed: &Changed,
) -> Result<(), Refusal> {
    let (settings, payload) = (&ctx.settings, &changed.payload);
    let name = match &changed.name {
        Some(name) if publish.message_type == MessageType::Event => &**name,
        _ => publish.name(),
    };
    // The fault is the logic's, and the room goes on: its author reads of it in the log.
    let is_large = settings.max_message > 0 && payload.len() > settings.max_message;
    let wrong = if is_large {
        Some((
            ErrorCode::TooLarge,
            "the room's logic has made it larger than a message may be",
        ))
    } else if publish.message_type == MessageType::GameAction
        && GameAction::parse(Format::Json, payload, &settings.message).is_err()
    {
        Some((
            ErrorCode::ActionRefused,
            "the room's logic has made no action of it",
        ))
    } else {
        None
    };
    if let Some((code, why)) = wrong {
        let bytes = payload.len();
        ctx.host.notice(Notice::BadRelay { kind, why, bytes });
        return Err(Refusal::new(why).with_code(code));
    }
    let mut bytes = ctx.buffer();
    bytes.extend_from_slice(name.as_bytes());
    publish.name_length = name.len() as u32;
    bytes.extend_from_slice(payload);
    publish.format = Format::Json;
    publish.payload_kind = changed.payload_kind;
    let sent = std::mem::replace(&mut publish.bytes, bytes);
    ctx.recycle(sent);
    Ok(())
}
