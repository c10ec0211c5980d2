//! What an application's backend asks of rooms, and what it is answered.
//!
//! A backend has no connection and no session, and is in no room. What it asks takes the way of all operations, and what
//! it is answered waits at the room's gate like all that a room says: so *published* means that it is kept.

mod looking;

use std::borrow::Cow;

use roomcast_protocol::{ErrorCode, HistoryRequest, MessageType, PayloadKind, PresenceUpdate};

use crate::desk::MOST_OF_ASKER;
use crate::id::ClientId;
use crate::log::Epoch;
use crate::store::NodeId;
use crate::trace::TraceContext;

pub use looking::{
    ConnectionLine, ConnectionsQuery, MOST_LINES, NodeLine, TopLine, TopOrder, TopQuery, Whose,
};
pub(crate) use looking::{Greatest, greatest};

/// What a backend asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Something of the home of this room, whose name is good.
    Room(Box<str>, Ask),
    /// A direct message: it is kept for its recipient. Not an ephemeral one.
    Direct(Recipient, Publication),
    /// Something of all shards of all nodes.
    All(Query),
    /// Another node is handed what a client has posted here, as its event stream is there.
    Batch(NodeId, Batch),
}

/// Messages that a client has posted for its event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The stream's secret.
    pub stream: [u8; 16],
    /// The batches of a stream are numbered from 1, and each is taken once, in this order.
    pub number: u64,
    /// The client closes the connection behind it, with this code; 0: it does not.
    pub close: u16,
    /// One message on each line, in UTF-8.
    pub body: Box<[u8]>,
}

/// Bytes of a [`Batch`]'s body at most: a desk never takes a larger one.
pub const MOST_BATCH: usize = MOST_OF_ASKER - size_of::<Question>();

/// What became of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Its messages were taken, now or before.
    Done,
    /// There is no such stream, or none any more.
    Gone,
    /// The one before it has not come. This one is next.
    OutOfOrder(u64),
    /// The one before it has not been taken yet: it may come again.
    Busy,
}

/// Whom a direct message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// One session.
    Client(ClientId),
    /// All sessions of a user.
    User(Box<str>),
}

/// What all shards are asked, each about what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Rooms that have members, in the order of their names.
    Rooms(RoomsQuery),
    /// The sessions of a user.
    Sessions {
        /// The user.
        user: Box<str>,
        /// Those that are meant. Whoever asks leaves it empty: they are found.
        clients: Vec<ClientId>,
    },
    /// The sessions of a user end, and their connections are closed.
    Disconnect {
        /// The user.
        user: Box<str>,
        /// As in [`Query::Sessions`].
        clients: Vec<ClientId>,
        /// Why, as the close frame says it: at most [`LONGEST_REASON`] bytes.
        reason: Box<str>,
    },
    /// The nodes.
    Nodes,
    /// The rooms with the most of something.
    Top(TopQuery),
    /// Connections, those that lag most first.
    Connections(ConnectionsQuery),
    /// Which sessions a user has on a node; asked by the desk.
    Whose(Box<str>),
    /// The sessions of a user end that only the store has; asked by the desk.
    EndOrphans(Box<str>),
    /// A batch for an event stream of the node that is asked. Of one shard only.
    Batch(Batch),
    /// Something that this version does not know.
    Newer,
}

/// Bytes of a reason in a close frame.
pub const LONGEST_REASON: usize = 80;

/// Which rooms are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomsQuery {
    /// Of this kind alone; empty: of all.
    pub kind: Box<str>,
    /// Whose names begin so.
    pub prefix: Box<str>,
    /// Whose names come behind this one.
    pub after: Box<str>,
    /// So many at most.
    pub limit: u32,
}

/// What is asked of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Everybody in the room gets this, and its log keeps it. A room that is not there is opened for it.
    Publish(Publication),
    /// A page of its members.
    Members {
        /// Members with a greater `player_num`.
        after: u32,
        /// At most so many; 0 leaves it to the room.
        limit: u32,
    },
    /// A page of its log.
    History(HistoryRequest),
    /// A user is put out of the room, and may join it again.
    Kick {
        /// The user.
        user: Box<str>,
    },
    /// A user is put out of the room, and does not get in again for a time.
    Ban {
        /// The user.
        user: Box<str>,
        /// Milliseconds since the Unix epoch at which it ends; 0: it is lifted.
        until: i64,
    },
    /// Nobody joins the room for a time, but who is in it.
    Lock {
        /// Milliseconds since the Unix epoch at which it ends; 0: it is lifted.
        until: i64,
    },
    /// The room's log forgets its events, and goes on counting.
    Clear,
    /// What the room has told its members lately: it is listened to from now on, for a few seconds after the last time. The
    /// answer is a [`Reply::Message`] with `tap`, `next`, `missed` and `messages`.
    Tail {
        /// `tap` of the answer before; 0: there is none.
        tap: u64,
        /// `next` of the answer before.
        after: u64,
    },
    /// Whom the room does not let in.
    Rules,
    /// Some of its properties change. A room that is not there is opened for them.
    SetProperties(PresenceUpdate<'static>),
    /// Its properties.
    Properties,
    /// Something that this version does not know. It is answered with [`ErrorCode::NotSupported`].
    Newer,
}

impl Question {
    /// Bytes that it holds while it waits.
    pub(crate) fn held(&self) -> usize {
        let more = match self {
            Question::Room(room, ask) => room.len() + ask.held(),
            Question::Direct(_, publication) => publication.held(),
            Question::All(_) => 0,
            Question::Batch(_, batch) => batch.body.len(),
        };
        size_of::<Question>() + more
    }
}

impl Publication {
    fn held(&self) -> usize {
        self.name.len() + self.payload.len() + self.service.len()
    }
}

impl Ask {
    /// Bytes that it holds while it waits.
    pub(crate) fn held(&self) -> usize {
        let more = match self {
            Ask::Publish(publication) => publication.held(),
            Ask::Kick { user } | Ask::Ban { user, .. } => user.len(),
            Ask::SetProperties(update) => {
                let sizes = update.keys.iter();
                let sizes = sizes
                    .map(|(key, value)| key.len() + value.as_ref().map_or(0, |it| it.len()) + 64);
                sizes.sum()
            }
            _ => 0,
        };
        size_of::<Ask>() + more
    }

    /// Whether it is against somebody who may be flooding the room: what waits there does not keep it out.
    pub(crate) fn moderates(&self) -> bool {
        matches!(self, Ask::Kick { .. } | Ask::Ban { .. } | Ask::Lock { .. })
    }

    /// Whether it is kept: a room that is not there is opened for it.
    pub(crate) fn opens(&self) -> bool {
        match self {
            Ask::Publish(_) | Ask::SetProperties(_) | Ask::Tail { .. } => true,
            Ask::Ban { until, .. } | Ask::Lock { until } => *until > 0,
            _ => false,
        }
    }

    /// Whether it may be done twice without anybody noticing: it is asked again where it may have been done.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            // A room's logic would notice: what is ephemeral is no exception.
            Ask::Publish(publication) => publication.once.is_some(),
            // What was said meanwhile would be gone too.
            Ask::Clear => false,
            _ => true,
        }
    }
}

/// A message that comes from no member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// `CHAT` or `EVENT`.
    pub message_type: MessageType,
    /// What the payload is.
    pub payload_kind: PayloadKind,
    /// The event's name; empty for a chat.
    pub name: Box<str>,
    /// The payload, good for its kind: JSON is one value, a text is UTF-8.
    pub payload: Box<[u8]>,
    /// It has no offset, and no log keeps it.
    pub ephemeral: bool,
    /// Whose it is among those that are published once: [`ClientId::of_key`]. A room's log that has an event of this one
    /// answers with the place of that event, or with 0 where the room's logic has handled it. Not with `ephemeral`.
    pub once: Option<ClientId>,
    /// Who sends it, as those who get it see it: the name of the backend's key. Not empty.
    pub service: Box<str>,
    /// What becomes of it is traced, with this as its parent.
    pub trace: Option<TraceContext>,
}

/// What a backend is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is published.
    Published(Published),
    /// A message of the protocol in JSON, as a client would get it.
    Message(Box<[u8]>),
    /// A direct message is in so many inboxes, and could not be put into so many others.
    Sent {
        /// Inboxes that have it.
        stored: u32,
        /// Sessions that are gone, or can't take more.
        failed: u32,
    },
    /// Rooms, in the order of their names.
    Rooms {
        /// The first ones.
        rooms: Vec<RoomLine>,
        /// There may be more behind this name.
        next: Option<Box<str>>,
    },
    /// A user's sessions.
    Sessions(Vec<SessionLine>),
    /// So many sessions ended.
    Disconnected(u32),
    /// The nodes, by their names.
    Nodes(Vec<NodeLine>),
    /// Rooms, those with the most first.
    Top(Vec<TopLine>),
    /// Connections, those that lag most first.
    Connections(Vec<ConnectionLine>),
    /// What became of a batch.
    Taken(Taken),
    /// It is done, and has put so many sessions out of the room.
    Done(u32),
    /// Whom the room does not let in.
    Rules {
        /// Users, in their order, and until when, in milliseconds since the Unix epoch.
        bans: Vec<(Box<str>, i64)>,
        /// Until when nobody more joins, likewise; 0: it is not locked.
        locked_until: i64,
    },
    /// A room's properties: the text of a JSON object; empty: there are none.
    Properties(Box<str>),
    /// It was not done, or it is not known whether it was.
    Failed(Failure),
}

impl Reply {
    /// Bytes that it holds while it waits.
    pub(crate) fn held(&self) -> usize {
        let more = match self {
            Reply::Message(message) => message.len(),
            Reply::Published(_)
            | Reply::Sent { .. }
            | Reply::Rooms { .. }
            | Reply::Sessions(_)
            | Reply::Disconnected(_)
            | Reply::Nodes(_)
            | Reply::Top(_)
            | Reply::Connections(_)
            | Reply::Taken(_)
            | Reply::Done(_) => 0,
            Reply::Rules { bans, .. } => bans.iter().map(|(user, _)| user.len() + 32).sum(),
            Reply::Properties(text) => text.len(),
            Reply::Failed(failure) => failure.sentence.len(),
        };
        size_of::<Reply>() + more
    }
}

/// A room that is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomLine {
    /// Its name.
    pub room: Box<str>,
    /// Players in it.
    pub members: u32,
    /// Its properties: the text of a JSON object; empty: there are none.
    pub properties: Box<str>,
}

/// A session that is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLine {
    /// Its id.
    pub client: ClientId,
    /// Whether it has a connection. If not, it waits for its client to come back.
    pub connected: bool,
    /// The rooms that it is in.
    pub rooms: Vec<Box<str>>,
}

/// What one shard says to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Rooms {
        rooms: Vec<RoomLine>,
        /// It has looked no further than here.
        cut: Option<Box<str>>,
    },
    Whose(Vec<ClientId>),
    Sessions(Vec<SessionLine>),
    Ended(u32),
    Node(Box<NodeLine>),
    Top(Vec<TopLine>),
    Connections(Vec<ConnectionLine>),
    Taken(Taken),
    /// It does not know the question.
    Unknown,
}

/// Where an event is in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The log's name.
    pub epoch: Epoch,
    /// The event's place in it; 0 of an ephemeral one.
    pub offset: u64,
    /// Milliseconds since the Unix epoch; 0 where it was published before.
    pub timestamp: i64,
    /// It was published before, with the same [`Publication::once`].
    pub repeated: bool,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub code: ErrorCode,
    /// The same in words.
    pub sentence: Cow<'static, str>,
    /// Milliseconds after which it may be done; 0 where waiting does not help.
    pub retry_after_ms: u64,
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, sentence: &'static str) -> Failure {
        Failure {
            code,
            sentence: Cow::Borrowed(sentence),
            retry_after_ms: 0,
        }
    }

    pub(crate) fn unavailable(sentence: &'static str) -> Failure {
        Failure {
            retry_after_ms: 1_000,
            ..Failure::new(ErrorCode::Unavailable, sentence)
        }
    }
}

/// Who asks. Each has a share of what may wait at a shard, so that none keeps the others from asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Asker(pub u32);

/// A question was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// The shard has as many questions without an answer as it may have.
    Shard,
    /// It has as many of this one who asks.
    Asker,
}
