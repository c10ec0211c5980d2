//! What happened, as a backend is told it.

use std::hash::{Hash as _, Hasher as _};

use bytes::Bytes;
use roomcast_core::fact::{Fact, MemberFact, SessionFact, What};
use serde::Serialize;
use serde_json::value::RawValue;

use super::settings::EventType;

/// An event in JSON.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Milliseconds since the Unix epoch.
    pub(super) unix_ms: i64,
    pub(super) json: Bytes,
}

/// What an event is about: those about the same thing stay in their order.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum About<'a> {
    Room(&'a str),
    Session(&'a str),
    Connections,
}

impl About<'_> {
    /// One of `lanes`, the same on all nodes of this version.
    pub(super) fn lane(self, lanes: usize) -> usize {
        let mut hasher = std::hash::DefaultHasher::new();
        self.hash(&mut hasher);
        (hasher.finish() % lanes.max(1) as u64) as usize
    }
}

/// Gives events their ids: no two are the same, of any node.
#[derive(Debug)]
pub(super) struct Ids {
    process: u64,
    next: u64,
}

impl Ids {
    /// `process`: a random number.
    pub(super) fn new(process: u64) -> Ids {
        Ids { process, next: 0 }
    }

    fn next(&mut self) -> String {
        self.next += 1;
        format!("evt_{:016x}{:08x}", self.process, self.next)
    }
}

#[derive(Serialize)]
struct Told<'a> {
    id: String,
    #[serde(rename = "type")]
    event: &'static str,
    timestamp: i64,
    #[serde(flatten)]
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Session {
        client_id: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        user_id: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        name: &'a str,
    },
    Room {
        room_id: &'a str,
    },
    Member {
        room_id: &'a str,
        client_id: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        user_id: &'a str,
        player_num: u32,
        #[serde(skip_serializing_if = "str::is_empty")]
        nickname: &'a str,
        members: u32,
    },
    Message {
        room_id: &'a str,
        message: &'a RawValue,
    },
    Refused {
        cause: &'a str,
        count: u64,
    },
}

/// What a fact is told as. `None`: it is none that is told by itself.
pub(super) fn type_of(fact: &Fact) -> Option<EventType> {
    Some(match fact.what {
        What::SessionBegan(_) => EventType::SessionBegan,
        What::SessionEnded(_) => EventType::SessionEnded,
        What::RoomOpened(_) => EventType::RoomOpened,
        What::RoomEmptied(_) => EventType::RoomEmptied,
        What::Joined(_) => EventType::MemberJoined,
        What::Left(_) => EventType::MemberLeft,
        What::Message { .. } => EventType::Message,
        What::Refused(_) => return None,
    })
}

/// What it is about.
pub(super) fn about(fact: &Fact) -> About<'_> {
    match &fact.what {
        What::SessionBegan(it) | What::SessionEnded(it) => About::Session(it.client.as_str()),
        What::Refused(_) => About::Connections,
        _ => fact
            .room()
            .map_or(About::Connections, |room| About::Room(room)),
    }
}

/// The event of a fact.
pub(super) fn of_fact(ids: &mut Ids, fact: &Fact) -> Option<Event> {
    let event = type_of(fact)?;
    let data = match &fact.what {
        What::SessionBegan(it) | What::SessionEnded(it) => session(it),
        What::RoomOpened(room) | What::RoomEmptied(room) => Data::Room { room_id: room },
        What::Joined(it) | What::Left(it) => member(it),
        What::Message { room, json, .. } => Data::Message {
            room_id: room,
            message: serde_json::from_slice(json).ok()?,
        },
        What::Refused(_) => return None,
    };
    told(ids, event, fact.unix_ms, data)
}

/// So many clients were refused for a cause since the last time.
pub(super) fn of_refusals(ids: &mut Ids, unix_ms: i64, cause: &str, count: u64) -> Option<Event> {
    let data = Data::Refused { cause, count };
    told(ids, EventType::ConnectionRefused, unix_ms, data)
}

fn told(ids: &mut Ids, event: EventType, timestamp: i64, data: Data<'_>) -> Option<Event> {
    let told = Told {
        id: ids.next(),
        event: event.as_str(),
        timestamp,
        data,
    };
    // What has no values but texts and numbers can be written.
    let json = serde_json::to_vec(&told).ok()?;
    Some(Event {
        unix_ms: timestamp,
        json: json.into(),
    })
}

fn session(fact: &SessionFact) -> Data<'_> {
    Data::Session {
        client_id: fact.client.as_str(),
        user_id: &fact.user_id,
        name: &fact.name,
    }
}

fn member(fact: &MemberFact) -> Data<'_> {
    Data::Member {
        room_id: &fact.room,
        client_id: fact.client.as_str(),
        user_id: &fact.user_id,
        player_num: fact.player_num,
        nickname: &fact.nickname,
        members: fact.members,
    }
}

/// The body of a request: its events, and how many there was no room for since the last one.
pub(super) fn body<'a>(events: impl Iterator<Item = &'a [u8]>, dropped: u64) -> Bytes {
    let mut body = b"{\"events\":[".to_vec();
    for (at, event) in events.enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event);
    }
    body.push(b']');
    if dropped > 0 {
        body.extend_from_slice(format!(",\"dropped\":{dropped}").as_bytes());
    }
    body.push(b'}');
    body.into()
}
