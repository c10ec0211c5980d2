//! What a room puts into its log.

use roomcast_protocol::ErrorCode;

use crate::context::{Context, Fault};
use crate::home::room::Room;
use crate::host::{Host, LogNews, Notice};
use crate::id::ClientId;
use crate::log::{Logged, Record};
use crate::logs::{Appended, Logs};
use crate::member::Member;
use crate::numbered::Numbered;
use crate::time::Now;

impl Room {
    /// Gives an event its place in the room's order. One with a `seq` is logged once, in its sender's order. `None`: it
    /// can't be logged now. A record with a member's number is logged with that one's user.
    pub(super) fn append<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        sender: Option<ClientId>,
        record: Record<'_>,
    ) -> Option<Appended> {
        let whole = with_user(&self.members, record);
        let appended = logs.append(now, self.log, sender, &whole)?;
        self.appended(ctx, logs, now, record, appended);
        Some(appended)
    }

    /// The same of somebody who is not in the room. With an id it is logged once.
    pub(super) fn append_once<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        once: Option<ClientId>,
        record: Record<'_>,
    ) -> Option<Appended> {
        let Some(once) = once else {
            return self.append(ctx, logs, now, None, record);
        };
        let appended = logs.append_once(now, self.log, once, &record)?;
        self.appended(ctx, logs, now, record, appended);
        Some(appended)
    }

    fn appended<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        record: Record<'_>,
        appended: Appended,
    ) {
        if let Appended::Done(completion) = appended {
            self.offset = completion.offset;
            self.timestamp = self.timestamp.max(completion.timestamp);
            ctx.stats.events += 1;
            let logged = Logged {
                offset: completion.offset,
                timestamp: completion.timestamp,
                record: with_user(&self.members, record),
            };
            let news = LogNews::Logged(&logged);
            ctx.host.log_news(now, &self.name, &self.epoch, news);
            if self.entry.kind.facts.messages > 0 {
                self.tell_message(ctx, now, &logged);
            }
        }
        self.note_short_log(ctx, logs);
    }

    /// A log that is shorter than sessions live leaves gaps for those who come back: it is said which setting is why.
    fn note_short_log<H: Host>(&mut self, ctx: &mut Context<H>, logs: &Logs) {
        if self.short_log || logs.cut(self.log) == 0 {
            return;
        }
        self.short_log = true;
        ctx.stats.short_logs += 1;
        ctx.host.notice(Notice::ShortLog {
            kind: &self.entry.kind.name,
        });
    }
}

/// A record with the number of a member has that one's user.
fn with_user<'a>(members: &'a Numbered<Member>, record: Record<'a>) -> Record<'a> {
    let member = members.get(&record.player_num);
    Record {
        user_id: member.map_or(record.user_id, |member| &member.user_id),
        ..record
    }
}

/// A room can't do anything new now.
pub(super) fn log_unavailable() -> Fault<'static> {
    Fault::new(
        ErrorCode::Unavailable,
        "the room can't do this at the moment, as nothing new can be kept; ask again later",
    )
}
