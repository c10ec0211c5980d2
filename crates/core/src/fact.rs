//! What an application's backend may want to be told: facts, as values. Who is told, and how, is the host's business.
//!
//! A fact about a room passes the room's gate, as all that the room says. So with a store it is told once it is kept, and in the
//! room's order.

use std::sync::Arc;

use roomcast_protocol::ErrorCode;

use crate::id::ClientId;
use crate::player::PlayerNum;

/// Which facts of a kind's rooms are told. The default is none: then none is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomFacts {
    /// That a room got its first member, and lost its last.
    pub rooms: bool,
    /// That a player came, and left.
    pub members: bool,
    /// Messages whose lot is at most this: 0 is none, [`u32::MAX`] is all, half of that is every second one.
    pub messages: u32,
}

/// Which facts are told that are of no room. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// That a session began, and ended.
    pub sessions: bool,
    /// That a client was refused.
    pub refusals: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// What it was.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A session began. One that is resumed does not begin.
    SessionBegan(SessionFact),
    /// A session ended: its client has left for good, or did not come back in time.
    SessionEnded(SessionFact),
    /// A client was refused after its handshake.
    Refused(ErrorCode),
    /// A room has its first member.
    RoomOpened(Arc<str>),
    /// A room has no members any more.
    RoomEmptied(Arc<str>),
    /// A player is in a room. A further session of one that is there brings no fact.
    Joined(Box<MemberFact>),
    /// A player is in a room no more.
    Left(Box<MemberFact>),
    /// A room has put a message into its log.
    Message {
        /// The room.
        room: Arc<str>,
        /// The message in JSON, as a client gets it.
        json: Box<[u8]>,
        /// A random number, for whoever is told of a part of all messages.
        lot: u32,
    },
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFact {
    /// Its id.
    pub client: ClientId,
    /// Its user; empty where no token names one.
    pub user_id: Box<str>,
    /// The `name` of its token; empty for none.
    pub name: Box<str>,
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFact {
    /// The room.
    pub room: Arc<str>,
    /// The session with which the player came, or left.
    pub client: ClientId,
    /// The user; empty where no token names one.
    pub user_id: Box<str>,
    /// The player's number in the room.
    pub player_num: PlayerNum,
    /// The player's nickname; empty for none.
    pub nickname: Box<str>,
    /// Players in the room, with the one who came, and without the one who left.
    pub members: u32,
}

impl Fact {
    /// The room that it is about.
    pub fn room(&self) -> Option<&Arc<str>> {
        match &self.what {
            What::SessionBegan(_) | What::SessionEnded(_) | What::Refused(_) => None,
            What::RoomOpened(room) | What::RoomEmptied(room) | What::Message { room, .. } => {
                Some(room)
            }
            What::Joined(member) | What::Left(member) => Some(&member.room),
        }
    }

    /// Bytes that it holds while it waits.
    pub fn held(&self) -> usize {
        let more = match &self.what {
            What::SessionBegan(it) | What::SessionEnded(it) => it.user_id.len() + it.name.len(),
            What::Refused(_) | What::RoomOpened(_) | What::RoomEmptied(_) => 0,
            What::Joined(it) | What::Left(it) => {
                size_of::<MemberFact>() + it.user_id.len() + it.nickname.len()
            }
            What::Message { json, .. } => json.len(),
        };
        size_of::<Fact>() + more
    }
}
