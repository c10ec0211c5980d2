//! Somebody in a room.

use crate::host::Encoding;
use crate::id::{ClientId, ConnRef};
use crate::logic::{Player, PlayerNum};
use crate::state::PlayerBody;

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) conn: ConnRef,
    pub(crate) encoding: Encoding,
    pub(crate) client_id: ClientId,
    pub(crate) nickname: Box<str>,
    /// A JSON object; empty where the member has set no key.
    pub(crate) presence: Box<str>,
    /// The room's state version that first showed this presence.
    pub(crate) presence_version: u64,
    pub(crate) body: PlayerBody,
    /// The room's state version that first showed this body.
    pub(crate) body_version: u64,
    /// The body changed since.
    pub(crate) changed: bool,
}

impl Member {
    /// Without auth, the user is the client.
    pub(crate) fn player_id(&self) -> &str {
        self.client_id.as_str()
    }

    pub(crate) fn player(&self, num: PlayerNum) -> Player<'_> {
        Player {
            num,
            id: self.player_id(),
            nickname: &self.nickname,
        }
    }

    pub(crate) fn mark_changed(&mut self, num: PlayerNum, changed: &mut Vec<PlayerNum>) {
        if !self.changed {
            self.changed = true;
            changed.push(num);
        }
    }

    /// As messages show it.
    pub(crate) fn listed(&self, num: PlayerNum) -> roomcast_protocol::Member<'_> {
        roomcast_protocol::Member {
            player_id: self.player_id(),
            player_num: num,
            nickname: &self.nickname,
            presence: &self.presence,
            connected: true,
        }
    }
}
