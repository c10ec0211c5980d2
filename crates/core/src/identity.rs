//! Whom a token names, and what it allows.

/// What a client may do in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Nothing.
    pub const NONE: Rights = Rights(0);
    /// Be a member, and receive what members do.
    pub const JOIN: Rights = Rights(1);
    /// Send chats, events and actions.
    pub const PUBLISH: Rights = Rights(1 << 1);
    /// Set keys of the own member entry.
    pub const PRESENCE: Rights = Rights(1 << 2);
    /// Read what is older than the own stay.
    pub const HISTORY: Rights = Rights(1 << 3);
    /// All of them.
    pub const ALL: Rights = Rights(0b1111);

    /// What either of them allows.
    #[must_use]
    pub const fn union(self, others: Rights) -> Rights {
        Rights(self.0 | others.0)
    }

    /// Whether all of `others` are among these.
    pub const fn allow(self, others: Rights) -> bool {
        self.0 & others.0 == others.0
    }

    /// As a number, one bit each.
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// The reverse of [`Rights::bits`]. Those that are not known here allow nothing.
    pub(crate) const fn from_bits(bits: u8) -> Rights {
        Rights(bits & Rights::ALL.0)
    }

    /// What somebody is told who lacks one of them.
    pub(crate) fn denied(self) -> &'static str {
        match self {
            Rights::JOIN => "the token does not allow joining this room",
            Rights::PUBLISH => "the token does not allow sending to this room",
            Rights::PRESENCE => "the token does not allow setting presence in this room",
            Rights::HISTORY => "the token does not allow reading this room's history",
            _ => "the token does not allow this",
        }
    }
}

/// The rooms that a grant is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rooms {
    /// Every room.
    All,
    /// Rooms of this kind.
    Kind(Box<str>),
    /// This room.
    Room(Box<str>),
}

/// Rights in some rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Where.
    pub rooms: Rooms,
    /// What.
    pub rights: Rights,
}

/// What a token says, once it was found to be good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user: the `player_id` in rooms. Empty: nobody in particular.
    pub user_id: Box<str>,
    /// The nickname where the client gives none; empty for none.
    pub name: Box<str>,
    /// What it allows; what several say adds up.
    pub grants: Vec<Grant>,
    /// Whether direct messages may be sent, to anybody.
    pub direct: bool,
    /// When it ends, in milliseconds since the Unix epoch; 0: never.
    pub expires_at: i64,
}

impl Identity {
    /// What is allowed in a room.
    pub fn rights(&self, room: &str) -> Rights {
        let about = |rooms: &Rooms| match rooms {
            Rooms::All => true,
            Rooms::Kind(kind) => **kind == *crate::kinds::kind_name(room),
            Rooms::Room(name) => **name == *room,
        };
        self.grants
            .iter()
            .filter(|grant| about(&grant.rooms))
            .fold(Rights::NONE, |rights, grant| rights.union(grant.rights))
    }

    /// Whether its time is over.
    pub fn is_over(&self, unix_ms: i64) -> bool {
        self.expires_at > 0 && unix_ms >= self.expires_at
    }
}

/// Why a token was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenFault {
    /// No key is configured to check one with.
    NotSupported,
    /// The keys to check it with are not there yet: they come from elsewhere. Another time it may be good.
    NotYet,
    /// It is not good; a sentence for a developer, without any part of it.
    Bad(&'static str),
}

/// Where a connection comes from: a number that the embedder gives to each address that is counted. Sessions without a
/// connection are counted under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(pub u64);

impl Origin {
    /// Not counted: a program on the same machine.
    pub const NONE: Origin = Origin(u64::MAX);
}

/// What a connection's request said about its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What the token of its `Authorization` header says.
    pub identity: Option<Box<Identity>>,
    /// Whether a client without a token is served.
    pub anonymous: bool,
    /// Where the connection comes from.
    pub origin: Origin,
}

impl Access {
    /// A client without a token, where one is needed.
    pub const NONE: Access = Access {
        identity: None,
        anonymous: false,
        origin: Origin::NONE,
    };
    /// A client without a token, where that is allowed.
    pub const ANONYMOUS: Access = Access {
        identity: None,
        anonymous: true,
        origin: Origin::NONE,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_add_up_where_they_are_about_the_room() {
        let grant = |rooms, rights| Grant { rooms, rights };
        let identity = Identity {
            user_id: "u".into(),
            name: "".into(),
            grants: vec![
                grant(Rooms::All, Rights::HISTORY),
                grant(Rooms::Kind("chat".into()), Rights::JOIN),
                grant(Rooms::Room("chat:1".into()), Rights::PUBLISH),
            ],
            direct: false,
            expires_at: 5,
        };
        let both = Rights::JOIN.union(Rights::HISTORY);
        assert_eq!(identity.rights("chat:1"), both.union(Rights::PUBLISH));
        assert_eq!(identity.rights("chat:2"), both);
        assert_eq!(
            identity.rights("chat"),
            Rights::HISTORY,
            "of the kind `default`"
        );
        assert!(!identity.rights("chat:2").allow(Rights::PUBLISH));
        assert!(identity.is_over(5) && !identity.is_over(4));
    }
}
