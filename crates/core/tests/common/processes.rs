//! Processes at one model of a store, whose answers about sessions may wait, be lost or come twice.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test uses its part of the harness"
)]

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use crate::common::{Client, Got, Node, node_on, relay, text};
use roomcast_core::node::{ClusterView, Own};
use roomcast_core::settings::Settings;
use roomcast_core::store::{
    Answer, Cause, HomeName, NodeId, Request, SessionRecord, Store, StoreError, StoreId, Ticket,
};
use roomcast_core::{ClientId, Now};
use roomcast_engine::model::Model;
use serde_json::{Value, json};

type Answered = (Ticket, Result<Answer, StoreError>);

/// What all processes share.
#[derive(Clone)]
pub struct Records(pub Rc<RefCell<Model>>);

impl Records {
    pub fn new() -> Records {
        Records(Rc::new(RefCell::new(Model::new(STORE))))
    }

    /// All sessions.
    pub fn borrow(&self) -> BTreeMap<ClientId, SessionRecord> {
        let model = self.0.borrow();
        let sessions = model.sessions(0);
        sessions.map(|(client, it)| (client, it.clone())).collect()
    }
}

/// How a process reaches the store with what it asks about sessions. All else is answered at once.
pub struct Tap {
    /// Whether it answers at all.
    pub open: bool,
    /// Whether each request is done, and its first answer is lost.
    pub loses: bool,
    /// Whether what changes sessions does not arrive: they are looked at and taken all the same.
    pub saves_nothing: bool,
    /// Whether each answer comes twice.
    pub doubles: bool,
    pub seen: Vec<Request>,
}

/// The store of one shard.
pub struct Bench {
    records: Records,
    tap: Rc<RefCell<Tap>>,
    asked: VecDeque<(Ticket, Request)>,
    answers: VecDeque<Answered>,
    of_rooms: VecDeque<Answered>,
}

impl Store for Bench {
    const WAITS: bool = true;

    fn submit(&mut self, now: Now, ticket: Ticket, request: Request) {
        let (Request::Claim(_) | Request::Append(_) | Request::Renew(_) | Request::Release(_)) =
            request
        else {
            return self.asked.push_back((ticket, request));
        };
        let mut model = self.records.0.borrow_mut();
        let answer = model.apply(now.unix_ms as u64, &request);
        self.of_rooms.push_back((ticket, answer));
    }

    fn poll(&mut self, now: Now) -> Option<Answered> {
        if let Some(answered) = self.of_rooms.pop_front() {
            return Some(answered);
        }
        let mut tap = self.tap.borrow_mut();
        if !tap.open {
            return None;
        }
        let saves = |it: &Request| matches!(it, Request::Save(_) | Request::End(_));
        let asked = std::mem::take(&mut self.asked);
        let arrives = |(_, it): &(Ticket, Request)| !(tap.saves_nothing && saves(it));
        let (arrived, waits): (Vec<_>, _) = asked.into_iter().partition(arrives);
        self.asked = waits.into();
        for (ticket, request) in arrived {
            let mut model = self.records.0.borrow_mut();
            let answer = model.apply(now.unix_ms as u64, &request);
            let is_new = !tap.seen.contains(&request);
            tap.seen.push(request);
            let answer = match tap.loses && is_new {
                true => Err(StoreError::Again(Cause::Timeout)),
                false => answer,
            };
            for _ in 0..1 + u8::from(tap.doubles) {
                self.answers.push_back((ticket, answer.clone()));
            }
        }
        self.answers.pop_front()
    }

    fn next_wake(&self) -> Option<u64> {
        let tap = self.tap.borrow();
        let asked = !tap.saves_nothing && !self.asked.is_empty();
        let any = !self.answers.is_empty() || asked;
        let any = any && tap.open || !self.of_rooms.is_empty();
        any.then_some(0)
    }
}

pub const STORE: StoreId = StoreId(7);

pub struct Process {
    pub node: Node<Bench>,
    pub tap: Rc<RefCell<Tap>>,
}

/// A process with this number, whose shards share one way to the store.
pub fn process(records: &Records, number: u64) -> Process {
    process_with(records, number, |_| {})
}

pub fn process_with(records: &Records, number: u64, change: impl FnOnce(&mut Settings)) -> Process {
    let mut settings = Settings {
        messages_per_second: 0,
        max_offences: 0,
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    };
    change(&mut settings);
    let tap = Rc::new(RefCell::new(Tap {
        open: true,
        loses: false,
        saves_nothing: false,
        doubles: false,
        seen: Vec::new(),
    }));
    let store = || Bench {
        records: records.clone(),
        tap: tap.clone(),
        asked: VecDeque::new(),
        answers: VecDeque::new(),
        of_rooms: VecDeque::new(),
    };
    let node = node_on(number, 2, settings, vec![(relay("default"), None)], store);
    let mut process = Process { node, tap };
    process.know(number, &[]);
    process
}

pub fn home(number: u64) -> HomeName {
    HomeName {
        node: NodeId(number),
        lease: 1,
    }
}

impl Process {
    /// Tells its shards which process it is, and which ones are gone.
    pub fn know(&mut self, number: u64, dead: &[u64]) {
        self.know_at(STORE, true, number, dead);
    }

    /// The same of another store.
    pub fn know_at(&mut self, store: StoreId, settled: bool, number: u64, dead: &[u64]) {
        let own = Own {
            home: home(number),
            links: 0,
            until: u64::MAX,
        };
        let cluster = Arc::new(ClusterView {
            own: Some(own),
            store,
            settled,
            dead: dead.iter().copied().map(home).collect(),
            ..ClusterView::default()
        });
        for shard in self.node.shards.iter_mut() {
            shard.set_cluster(cluster.clone());
        }
    }

    pub fn tap(&mut self, open: bool) {
        self.tap.borrow_mut().open = open;
        self.node.settle();
    }

    /// Says hello with a token, or without one.
    pub fn greet(&mut self, token: Option<&str>) -> Client {
        let client = self.node.connect();
        let mut payload = json!({"version": 1, "first_direct_seq": 4});
        if let Some(token) = token {
            payload["resume_token"] = token.into();
        }
        let hello = json!({"type": "hello", "payload": payload});
        self.node.say(client, &hello.to_string());
        client
    }

    /// What a client was told, once time enough for lost answers has passed.
    pub fn told(&mut self, client: Client) -> Vec<Value> {
        let lossy = self.tap.borrow().loses;
        if lossy {
            self.node.pass(500);
        }
        self.node.messages(client)
    }

    pub fn welcome(&mut self, client: Client) -> Value {
        let told = self.told(client);
        let welcome = told.iter().find(|it| it["type"] == "welcome");
        welcome.unwrap_or_else(|| panic!("{told:#?}"))["payload"].clone()
    }

    /// A new client that was welcomed, with its token.
    pub fn newcomer(&mut self) -> (Client, String) {
        let client = self.greet(None);
        let welcome = self.welcome(client);
        (client, text(&welcome["resume_token"]))
    }

    pub fn join(&mut self, client: Client, room: &str) -> Vec<Value> {
        let join = json!({"type": "join_room", "room_id": room});
        self.node.say(client, &join.to_string());
        self.told(client)
    }

    pub fn closed(&mut self, client: Client) -> Option<u16> {
        let code = |got| match got {
            Got::Close(code, _) => Some(code),
            _ => None,
        };
        self.node.drain(client).into_iter().find_map(code)
    }

    /// How many requests were takeovers, not looks.
    pub fn takeovers(&self) -> usize {
        let tap = self.tap.borrow();
        let is_one = |it: &&Request| matches!(it, Request::Take(take) if take.turn != Some(0));
        tap.seen.iter().filter(is_one).count()
    }
}

pub fn types(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|it| text(&it["type"])).collect()
}

/// The rooms that a client was told it is in.
pub fn rooms_joined(messages: &[Value]) -> Vec<String> {
    let joined = messages.iter().filter(|it| it["type"] == "joined");
    let mut rooms: Vec<_> = joined.map(|it| text(&it["room_id"])).collect();
    rooms.sort();
    rooms
}
