//! What a shard tells the log: a few lines of each cause, then how many more there were.

use roomcast_core::Notice;
use tracing::{error, warn};

use crate::log::{Admitted, RateLimited};

/// The shard's share of the log.
#[derive(Debug, Default)]
pub(super) struct Notices {
    limited: RateLimited,
}

impl Notices {
    pub(super) fn log(&mut self, now: u64, notice: Notice<'_>) {
        let Some(Admitted { suppressed: more }) = self.limited.admit(cause(&notice), now) else {
            return;
        };
        match notice {
            Notice::RateLimited => warn!(
                more,
                "a connection sends too many messages: they are refused (limits.messages_per_second, limits.burst)"
            ),
            Notice::SlowReader { waiting } => warn!(
                more,
                waiting,
                "a connection reads too slowly: its events wait in the rooms' logs, or it is closed (queues.event_lane)"
            ),
            Notice::TooManyErrors { code } => warn!(
                more,
                code = code.as_str(),
                "a connection caused too many errors and is closed (limits.max_offences)"
            ),
            Notice::RoomFull { kind } => {
                warn!(
                    more,
                    kind, "a room is full: newcomers are refused (max_players of its kind)"
                );
            }
            Notice::UnknownKind => warn!(
                more,
                "a room of a kind that is not configured was refused (rooms.refuse_unknown_kinds)"
            ),
            Notice::NoLogMemory => warn!(
                more,
                "the open rooms take all memory that logs may take: no new room is opened (rooms.log_memory)"
            ),
            Notice::SlowLogic { kind, micros } => {
                warn!(
                    more,
                    kind, micros, "room logic took too long: it holds up every room of its shard"
                );
            }
            Notice::LogicTooLarge { kind, bytes } => warn!(
                more,
                kind,
                bytes,
                "the state of a room's logic is larger than 64 KiB: Redis does not keep it, and it begins anew on another server"
            ),
            Notice::BadRelay { kind, why, bytes } => warn!(
                more,
                kind,
                bytes,
                why,
                "room logic has returned RelayAs with what can't be passed on: its sender got an error"
            ),
            Notice::LogicPanicked { kind } => {
                error!(more, kind, "room logic panicked: its room is closed");
            }
            Notice::ShortLog { kind } => warn!(
                more,
                kind,
                "a room's log is shorter than session.grace: who comes back may miss events (log.events, log.bytes of its kind)"
            ),
            Notice::StoreRefuses { cause } => {
                error!(
                    more,
                    ?cause,
                    "the store refuses what rooms ask for, and is asked rarely from now on: change its settings or rights"
                );
            }
            Notice::LinkFull { shard } => {
                warn!(
                    more,
                    ?shard,
                    "the way to a shard is full: rooms with members there wait (queues.link_window)"
                );
            }
        }
    }

    /// Sums up the causes that went quiet. To be called now and then.
    pub(super) fn sum_up(&mut self, now: u64) {
        while let Some((cause, more)) = self.limited.overdue(now) {
            warn!(more, cause, "this happened more often than it was logged");
        }
    }
}

fn cause(notice: &Notice<'_>) -> &'static str {
    match notice {
        Notice::RateLimited => "rate_limited",
        Notice::SlowReader { .. } => "slow_reader",
        Notice::TooManyErrors { .. } => "too_many_errors",
        Notice::RoomFull { .. } => "room_full",
        Notice::UnknownKind => "unknown_kind",
        Notice::NoLogMemory => "no_log_memory",
        Notice::SlowLogic { .. } => "slow_logic",
        Notice::LogicTooLarge { .. } => "logic_too_large",
        Notice::BadRelay { .. } => "bad_relay",
        Notice::LogicPanicked { .. } => "logic_panicked",
        Notice::ShortLog { .. } => "short_log",
        Notice::StoreRefuses { .. } => "store_refuses",
        Notice::LinkFull { .. } => "link_full",
    }
}
