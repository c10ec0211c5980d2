//! What an application's backend is asked before something is done: inquiries and decisions, as values.

use std::sync::Arc;

use crate::id::ClientId;

/// What of a kind's rooms the backend decides. The default is nothing: then nobody is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Who may join.
    pub joins: bool,
    /// Chats of members.
    pub chats: bool,
    /// Named events of members.
    pub events: bool,
    /// Actions of members.
    pub actions: bool,
    /// How long a decision is waited for, in milliseconds.
    pub timeout: u64,
    /// What is done without one: it is allowed, or else answered `unavailable`.
    pub allows_silence: bool,
}

impl Asks {
    pub(crate) fn any(self) -> bool {
        self.joins || self.chats || self.events || self.actions
    }
}

/// What the backend is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// Names it in the answer. A shard gives each number once, until they run out.
    pub number: u32,
    /// The room.
    pub room: Arc<str>,
    /// The session.
    pub client: ClientId,
    /// Its user; empty where no token names one.
    pub user_id: Box<str>,
    /// The nickname in the room; empty for none.
    pub nickname: Box<str>,
    /// What is to be allowed.
    pub what: Wish,
}

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Join the room.
    Join,
    /// Send this message, in JSON as members would get it. It has no place in the room yet.
    Send(Box<[u8]>),
}

impl Inquiry {
    /// Bytes that it holds while it waits.
    pub fn held(&self) -> usize {
        let message = match &self.what {
            Wish::Join => 0,
            Wish::Send(json) => json.len(),
        };
        size_of::<Inquiry>() + self.user_id.len() + self.nickname.len() + message
    }
}

/// What the backend says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is done.
    Allow {
        /// The nickname with which somebody joins, in the place of the own one.
        nickname: Option<Box<str>>,
        /// Milliseconds for which nobody asks again about the same user, room and kind of message.
        cache: u64,
    },
    /// It is answered `forbidden`.
    Refuse {
        /// A sentence for the client; empty for a usual one.
        reason: Box<str>,
        /// As with [`Decision::Allow`].
        cache: u64,
    },
    /// It does not say: it could not be asked, or what it said is no answer.
    Silent,
}
