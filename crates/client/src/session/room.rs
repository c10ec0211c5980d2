//! What is known of a room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roomcast_protocol::client::{Member, PlayerState, StateSync};
use serde_json::{Map, Value};

use super::event::SavedRoom;
use super::log::Log;
use super::outbox::Stream;
use super::send::Asked;

/// Members, and players' states, that are kept of a room.
pub(super) const MOST_LISTED: usize = 16_384;

/// What is asked of the server about a room and not answered: one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    None,
    /// A `joined` will come: as an answer, or unasked after a resume.
    Join,
    Leave,
}

/// Whether the server's session has the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    No,
    /// A join or leave was lost on its way, or its answer was.
    Maybe,
    Yes,
}

#[derive(Debug)]
pub(super) struct Room {
    pub(super) stream: Stream,
    pub(super) log: Log,
    /// The log that messages were sent to.
    pub(super) epoch: String,
    /// The application wants to be in it.
    pub(super) joined_by_app: bool,
    /// `joined` has come on this connection.
    pub(super) member: bool,
    pub(super) hold: Hold,
    pub(super) op: Op,
    pub(super) op_deadline: u64,
    /// The number of that request.
    pub(super) op_id: u32,
    /// What answers a request with a lower number, on this connection, is of an earlier stay. 0: nothing is.
    pub(super) first_id: u32,
    /// Refused for now: not tried before.
    pub(super) retry_at: u64,
    /// The application is to be told that it is left.
    pub(super) leaving: bool,
    /// `joined` has not come since the application joined it.
    pub(super) new_stay: bool,
    /// It was joined anew while the server may still have the stay before, whose end comes first.
    pub(super) leave_first: bool,
    /// A leave had no answer in time on this connection, and was asked again: what was told before it may come yet.
    pub(super) gave_up_leave: bool,
    pub(super) nickname: Option<String>,
    pub(super) token: Option<String>,
    /// One's own keys as they are to be; `null` is removed.
    pub(super) presence: BTreeMap<String, Value>,
    /// The nickname was changed in the room: the list is to have it.
    pub(super) renamed: bool,
    /// Those that are to be sent. The empty one, which is no key, is the nickname.
    pub(super) unsent: BTreeSet<String>,
    /// Those of the update sent last.
    pub(super) sent: BTreeSet<String>,
    pub(super) asked: VecDeque<Asked>,
    pub(super) asking: bool,
    /// The number of the request for that page, and until when it is waited for.
    pub(super) page_id: u32,
    pub(super) page_due: u64,
    pub(super) listed: BTreeMap<u32, Member>,
    pub(super) total: u64,
    /// What the server owns, merged from each `sync`.
    pub(super) state: BTreeMap<String, PlayerState>,
    pub(super) player_num: u32,
    pub(super) player_id: String,
    pub(super) mode: String,
    pub(super) presence_mode: String,
    /// What the application says of the room.
    pub(super) properties: serde_json::Map<String, Value>,
    /// The room's clock when `listed` was made: what an older event says of members is in it.
    pub(super) listed_at: i64,
}

/// What is known of a room.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    /// Those that are known, by their number: all, where `total` is no greater.
    pub listed: &'a BTreeMap<u32, Member>,
    /// How many there are.
    pub total: u64,
    /// One's own number.
    pub player_num: u32,
    /// One's own id in the room.
    pub player_id: &'a str,
    /// `state` or `relay`.
    pub mode: &'a str,
    /// `full`, `count` or `none`: what is told about members.
    pub presence: &'a str,
}

impl Room {
    pub(super) fn new(next_seq: u64) -> Room {
        Room {
            stream: Stream::new(next_seq),
            log: Log::default(),
            epoch: String::new(),
            joined_by_app: false,
            member: false,
            hold: Hold::No,
            op: Op::None,
            op_deadline: 0,
            op_id: 0,
            first_id: 0,
            retry_at: 0,
            leaving: false,
            new_stay: false,
            leave_first: false,
            gave_up_leave: false,
            nickname: None,
            token: None,
            presence: BTreeMap::new(),
            renamed: false,
            unsent: BTreeSet::new(),
            sent: BTreeSet::new(),
            asked: VecDeque::new(),
            asking: false,
            page_id: 0,
            page_due: 0,
            listed: BTreeMap::new(),
            total: 0,
            state: BTreeMap::new(),
            player_num: 0,
            player_id: String::new(),
            mode: String::new(),
            presence_mode: String::new(),
            properties: serde_json::Map::new(),
            listed_at: 0,
        }
    }

    pub(super) fn saved(saved: SavedRoom) -> Room {
        Room {
            log: Log::at(saved.position),
            joined_by_app: saved.joined,
            hold: if saved.joined { Hold::Yes } else { Hold::No },
            nickname: saved.nickname,
            ..Room::new(saved.next_seq)
        }
    }

    pub(super) fn save(&self, name: &str) -> SavedRoom {
        SavedRoom {
            room: name.to_owned(),
            joined: self.joined_by_app,
            nickname: self.nickname.clone(),
            position: self.log.position().cloned(),
            next_seq: self.stream.next_seq(),
        }
    }

    pub(super) fn members(&self) -> Members<'_> {
        Members {
            listed: &self.listed,
            total: self.total,
            player_num: self.player_num,
            player_id: &self.player_id,
            mode: &self.mode,
            presence: &self.presence_mode,
        }
    }

    /// Whether nothing is left to remember.
    pub(super) fn is_over(&self) -> bool {
        !self.joined_by_app
            && self.hold == Hold::No
            && self.op == Op::None
            && !self.stream.is_used()
    }

    /// Whether an answer to this request is of an earlier stay. 0: it answers none.
    pub(super) fn is_of_before(&self, request_id: u32) -> bool {
        request_id > 0 && request_id < self.first_id
    }

    /// The connection is gone. Whether the application is to be told that the room is left.
    pub(super) fn link_lost(&mut self) -> bool {
        match self.op {
            Op::Join if self.hold == Hold::No => self.hold = Hold::Maybe,
            Op::Leave => self.hold = Hold::Maybe,
            _ => {}
        }
        self.op = Op::None;
        self.gave_up_leave = false;
        self.retry_at = 0;
        self.member = false;
        self.asking = false;
        self.stream.queued = false;
        self.stream.new_link();
        !self.joined_by_app && std::mem::take(&mut self.leaving)
    }

    /// Nothing of a stay remains, but for messages that are under way.
    pub(super) fn clear(&mut self) {
        self.log = Log::default();
        self.nickname = None;
        self.renamed = false;
        self.token = None;
        self.presence.clear();
        self.unsent.clear();
        self.sent.clear();
        self.listed.clear();
        self.total = 0;
        self.state.clear();
    }

    pub(super) fn merge_state(&mut self, sync: &StateSync) {
        if sync.full {
            self.state.clear();
        }
        for left in &sync.left {
            self.state.remove(left);
        }
        for player in &sync.players {
            if self.state.len() < MOST_LISTED || self.state.contains_key(&player.player_id) {
                self.state.insert(player.player_id.clone(), player.clone());
            }
        }
    }

    /// Own keys that are not in the list as they are to be are told.
    pub(super) fn compare_presence(&mut self) {
        let Some(own) = self.listed.get(&self.player_num) else {
            // A long list: it is not known what arrived.
            self.unsent = self.presence.keys().cloned().collect();
            self.unsent.extend(self.renamed.then(String::new));
            return;
        };
        let known: Map<String, Value> = serde_json::from_str(&own.presence).unwrap_or_default();
        let differs =
            |(key, value): &(&String, &Value)| known.get(*key).unwrap_or(&Value::Null) != *value;
        let unsent = self.presence.iter().filter(differs);
        self.unsent = unsent.map(|(key, _)| key.clone()).collect();
        if self.renamed && self.nickname.as_deref() != Some(&*own.nickname) {
            self.unsent.insert(String::new());
        }
    }
}
