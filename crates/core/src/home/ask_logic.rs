//! What members send, and a room's logic has a say in before it is relayed.

use roomcast_protocol::{ErrorCode, GameAction, MessageType};

use crate::context::{Context, Fault};
use crate::home::publish::NOBODY;
use crate::home::room::Room;
use crate::host::Host;
use crate::id::ConnRef;
use crate::letter::{OpHead, Publish, ToEdge};
use crate::log::Verdict;
use crate::logic::{MemberEvent, Outcome, Refusal};
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
    /// Whether the logic has a say in a message: it hears of actions, and of what else members send if it wants to.
    pub(super) fn asks_logic(&self, publish: &Publish, sender: ConnRef) -> bool {
        let heard = publish.message_type == MessageType::GameAction || self.hears_events();
        heard && self.has_logic() && sender != NOBODY
    }

    /// Lets the logic have a message first. A numbered one is not given to it twice.
    pub(super) fn ask_logic<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &OpHead,
        publish: &Publish,
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
        let refused = match self.outcome(ctx, now, op.player, publish) {
            Outcome::Relay => return Asked::Relay,
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

    /// What the logic makes of a message.
    fn outcome<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        player: PlayerNum,
        publish: &Publish,
    ) -> Outcome {
        let outcome = if publish.message_type == MessageType::GameAction {
            let limits = &ctx.settings.message;
            let Ok(action) = GameAction::parse(publish.format, publish.payload(), limits) else {
                return Outcome::Handled;
            };
            self.with_logic_aside(ctx, now, |logic, room| logic.action(room, player, &action))
        } else {
            let event = MemberEvent {
                name: (publish.message_type == MessageType::Event).then(|| publish.name()),
                payload_kind: publish.payload_kind,
                payload: publish.payload(),
                ephemeral: publish.ephemeral,
            };
            if event.name.is_some_and(|name| self.is_own_event(name)) {
                return Outcome::refused("only the room's logic sends events of this name");
            }
            self.with_logic_aside(ctx, now, |logic, room| logic.event(room, player, &event))
        };
        self.note_changes();
        // It panicked: the room is closed, and everybody was told. This is the answer.
        outcome.unwrap_or_else(|| {
            Outcome::refused_with(
                ErrorCode::RoomFailed,
                "the room's logic failed and the room is closed",
            )
        })
    }

    fn refuse_by_rule<H: Host>(
        &self,
        ctx: &mut Context<H>,
        now: Now,
        op: &OpHead,
        request: MessageType,
        refusal: &Refusal,
    ) -> ErrorCode {
        let fault = Fault {
            code: refusal.code,
            message: &refusal.message,
            seq: op.seq,
            retry_after_ms: refusal.retry_after_ms,
            request: Some(request),
            request_id: op.request_id,
            room: &self.name,
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
