//! What the application says of a room: a small map that members get when they join, and when it changes.
//!
//! A change is an event of the room's log, so that members get it in its order, once, and after they were away.

use roomcast_protocol::{ErrorCode, MessageType, PayloadKind, PresenceUpdate, presence};

use crate::backend::{Failure, Reply};
use crate::context::Context;
use crate::home::append::log_unavailable;
use crate::home::backend::failure_of;
use crate::home::room::Room;
use crate::host::Host;
use crate::log::Record;
use crate::logs::{Appended, Logs};
use crate::time::Now;

/// The event that says what they are from then on.
pub(super) const PROPERTIES_EVENT: &str = "roomcast.properties";
/// Milliseconds for which a room without members keeps them where its kind keeps no log.
const KEPT: u64 = 300_000;

impl Room {
    /// The text of a JSON object; empty: there are none.
    pub(super) fn properties(&self) -> &str {
        self.rules.as_ref().map_or("", |rules| &rules.properties)
    }

    /// Changes some of them, and tells members.
    pub(super) fn set_properties<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        (now, born): (Now, u64),
        update: &PresenceUpdate<'_>,
    ) -> Reply {
        let limits = &ctx.settings.message;
        let merged = match presence::merge(self.properties(), update, limits) {
            Ok(merged) => merged,
            Err(ErrorCode::PresenceTooLarge) => {
                let sentence = "the room's properties would be larger than `message.max_presence`, or more than \
                                `message.max_presence_keys`";
                return Reply::Failed(Failure::new(ErrorCode::TooLarge, sentence));
            }
            Err(code) => return Reply::Failed(Failure::new(code, "the properties are no JSON")),
        };
        if merged == self.properties() {
            return Reply::Properties(merged.into());
        }
        let until = self.properties_end(now);
        let more = merged.len();
        if let Err(failure) = self.rules_with(ctx, now, more) {
            return Reply::Failed(failure);
        }
        let told = match merged.as_str() {
            "" => "{}",
            merged => merged,
        };
        let record = Record {
            message_type: MessageType::Event,
            name: PROPERTIES_EVENT,
            payload_kind: PayloadKind::Json,
            payload: told.as_bytes(),
            ..Record::default()
        };
        let Some(Appended::Done(done)) = self.append(ctx, logs, now, None, record) else {
            self.rules_have_changed(now);
            return Reply::Failed(failure_of(&log_unavailable()));
        };
        if let Ok(rules) = self.rules_with(ctx, now, more) {
            (rules.properties, rules.properties_until) = (merged.as_str().into(), until);
        }
        self.rules_have_changed(now);
        self.tell_of_room(ctx, born, done.timestamp, (PROPERTIES_EVENT, told));
        Reply::Properties(merged.into())
    }

    /// The last member has left: they are kept for as long as the log.
    pub(super) fn keep_properties(&mut self, now: Now) {
        let until = self.properties_end(now);
        let rules = self.rules.as_mut();
        if let Some(rules) = rules.filter(|rules| !rules.properties.is_empty()) {
            rules.properties_until = until;
            self.rules_have_changed(now);
        }
    }

    fn properties_end(&self, now: Now) -> i64 {
        let age = match self.entry.kind.retention.age {
            0 => KEPT,
            age => age,
        };
        now.unix_ms.saturating_add_unsigned(age)
    }
}
