//! Which players' state a message tells, and how much that is.

use roomcast_protocol::{Body, Outgoing, PlayerState, Players};

use crate::host::Encoding;
use crate::member::Member;
use crate::numbered::Numbered;
use crate::player::PlayerNum;
use crate::settings::Settings;

/// A part ends after so many encoded bytes, about, or after a quarter of a lane.
const PART: usize = 16 * 1024;
/// What a player's state takes beside its id, about.
const STATE: usize = 192;

/// What a part tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) encoding: Encoding,
    /// It replaces all that is known.
    pub(super) full: bool,
    /// State that changed after this version.
    pub(super) since: u64,
    /// The same of presences.
    pub(super) listed: u64,
    /// Of players after this one.
    pub(super) after: PlayerNum,
}

/// What a room's home says.
pub(super) fn message<'a>(room_id: &'a str, timestamp: i64, body: Body<'a>) -> Outgoing<'a> {
    Outgoing {
        room_id,
        timestamp,
        body,
        ..Outgoing::default()
    }
}

/// Bytes that one message with state, or one part, is to have at most, about.
pub(super) fn part_bytes(settings: &Settings) -> usize {
    match settings.event_lane / 4 {
        0 => PART,
        quarter => quarter.min(PART),
    }
}

/// What a player's state takes, about.
pub(super) fn state_weight(member: &Member) -> usize {
    STATE + member.player_id().len()
}

impl Span {
    /// Those whom it goes through.
    pub(super) fn members<'a>(
        &self,
        members: &'a Numbered<Member>,
        to: Option<PlayerNum>,
    ) -> impl Iterator<Item = (&'a PlayerNum, &'a Member)> + use<'a> {
        members.between(self.after, to)
    }

    /// Whether it has this member's state. One that is new has the version of before.
    pub(super) fn tells(&self, member: &Member) -> bool {
        self.since == 0 || member.body_version > self.since
    }
}

/// Players of a room that an encoder goes through in its table.
pub(super) struct Listed<'a> {
    pub(super) members: &'a Numbered<Member>,
    pub(super) which: Which<'a>,
}

pub(super) enum Which<'a> {
    Among(&'a [PlayerNum]),
    /// Those of a part that goes as far as this player.
    Within(&'a Span, Option<PlayerNum>),
}

impl Players for Listed<'_> {
    fn for_each(&self, each: &mut dyn FnMut(&PlayerState<'_>)) {
        let mut show = |num: PlayerNum, member: &Member| {
            each(&PlayerState {
                player_id: member.player_id(),
                position: member.body.position,
                velocity: member.body.velocity,
                health: member.body.health,
                score: member.body.score,
                player_num: i32::try_from(num).unwrap_or(i32::MAX),
            });
        };
        match self.which {
            Which::Among(nums) => {
                for num in nums {
                    if let Some(member) = self.members.get(num) {
                        show(*num, member);
                    }
                }
            }
            Which::Within(span, to) => {
                for (num, member) in span.members(self.members, to) {
                    if span.tells(member) {
                        show(*num, member);
                    }
                }
            }
        }
    }
}
