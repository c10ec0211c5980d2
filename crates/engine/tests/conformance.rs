//! The scripts do what the model does: random histories are run on the model and on a real Redis, and every answer and
//! all that is left must be the same.

mod common;

use std::cell::RefCell;

use common::history::{CLIENTS, Data, Histories, ROOMS, Step, USERS, client, home};
use common::redis_client::RedisClient;
use common::redis_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use roomcast_core::log::Epoch;
use roomcast_core::store::{
    Answer, Beat, Claim, Claimed, InboxRead, Request, RoomRecord, StoreError, Taken, UserChange,
};
use roomcast_engine::model::Model;
use roomcast_engine::redis::{Commands, Value};

const PREFIX: &str = "test:";

/// All keys of a Redis: name, when it ends, value.
type Keys = Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>;

struct Pair {
    redis: RedisClient,
    model: Model,
    dumped: (Model, Keys),
}

#[test]
fn scripts_and_model_answer_alike() {
    let server = Server::start(["--enable-debug-command", "local"]);
    compare(&server, 300);
}

#[test]
fn a_cluster_answers_like_the_model() {
    let server = Server::cluster(&["--enable-debug-command", "local"]);
    compare(&server, 60);
}

/// In a cluster a script may use the keys that it names, all of one slot, and no other.
fn compare(server: &Server, histories: u32) {
    let redis = RedisClient::connect(server.port, PREFIX);
    let pair = RefCell::new(Pair {
        model: Model::new(redis.store),
        dumped: (Model::new(redis.store), Vec::new()),
        redis,
    });
    let mut runner = TestRunner::new(ProptestConfig {
        cases: histories,
        ..ProptestConfig::with_source_file(file!())
    });
    let choices = prop::collection::vec(any::<[u8; 8]>(), 1..150);
    let result = runner.run(&choices, |choices| pair.borrow_mut().run(&choices));
    if let Err(error) = result {
        panic!("{error}");
    }
}

impl Pair {
    fn run(&mut self, choices: &[[u8; 8]]) -> Result<(), TestCaseError> {
        self.begin();
        let mut histories = Histories::default();
        for &choice in choices {
            let now = self.redis.time();
            match histories.step(&self.model, now, choice) {
                Step::Ask(request) => self.ask(&request)?,
                Step::AskAndEnd(request) => {
                    self.ask(&request)?;
                    let asked = self.redis.time();
                    while self.redis.time() < asked + 3 {}
                }
                Step::Dump => self.dumped = (self.model.clone(), self.redis.keys()),
                Step::Restart(data) => self.restart(data),
                Step::Full(full) => self.fill(full),
            }
        }
        self.fill(false);
        self.compare()
    }

    fn begin(&mut self) {
        self.fill(false);
        self.redis.do_it(&[b"FLUSHALL"]);
        self.redis.do_it(&[b"SCRIPT", b"FLUSH"]);
        self.model = Model::new(self.redis.store);
        self.dumped = (self.model.clone(), Vec::new());
    }

    fn ask(&mut self, request: &Request) -> Result<(), TestCaseError> {
        let before = self.redis.time();
        let real = self.redis.apply(request);
        let after = self.redis.time();
        let time = time_of(&real).filter(|it| (before..=after).contains(it));
        let model = self.model.apply(time.unwrap_or(before), request);
        prop_assert_eq!(real, model, "{:?}", request);
        Ok(())
    }

    /// As a replica that takes over: the same process serves as another store, for its replication id is a new one.
    fn restart(&mut self, data: Data) {
        self.fill(false);
        self.redis.do_it(&[b"DEBUG", b"CHANGE-REPL-ID"]);
        self.redis.meet();
        let store = self.redis.store;
        let before = std::mem::replace(&mut self.model, Model::new(store));
        match data {
            Data::Same => self.model = before.restarted(store),
            Data::Dumped => {
                let (model, keys) = self.dumped.clone();
                self.model = model.restarted(store);
                self.model.set_full(false);
                self.redis.do_it(&[b"FLUSHALL"]);
                for (name, ends, value) in &keys {
                    self.redis
                        .do_it(&[b"RESTORE", name, ends, value, b"ABSTTL"]);
                }
            }
            Data::None => self.redis.do_it(&[b"FLUSHALL"]),
        }
    }

    fn fill(&mut self, full: bool) {
        self.model.set_full(full);
        let most: &[u8] = if full { b"1" } else { b"0" };
        self.redis.do_it(&[b"CONFIG", b"SET", b"maxmemory", most]);
    }

    /// All that is left.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        let now = self.redis.time();
        for name in ROOMS {
            let room = self.redis.room(name);
            prop_assert_eq!(room, self.model.room(now, name), "{}", name);
        }
        for number in 0..CLIENTS {
            let client = client(number);
            self.ask(&Request::InboxRead(InboxRead {
                client,
                after: 0,
                most_bytes: u32::MAX,
            }))?;
            let take = roomcast_core::store::Take {
                client,
                turn: None,
                store: None,
                node: home(0).node,
                attempt: 9,
            };
            self.ask(&Request::Take(take))?;
        }
        for user in USERS {
            self.ask(&Request::User(UserChange {
                user: user.into(),
                add: None,
                remove: Vec::new(),
                most: 0,
                ends_after: 0,
            }))?;
        }
        let store = self.model.store();
        self.ask(&Request::Beat(Box::new(Beat {
            store,
            home: home(0),
            begins: true,
            lease_ms: 10_000_000,
            keep_ms: 10_000_000,
            settled: Some(store),
            shards: 3,
            version: 1,
            key: 7,
            settings: "a=1".into(),
            address: "".into(),
        })))?;
        self.redis.check_ends(&self.model)
    }
}

/// The store's time when it did this, if the answer says it. A fence is the time where that is more.
fn time_of(answer: &Result<Answer, StoreError>) -> Option<u64> {
    match answer.as_ref().ok()? {
        Answer::Claim(Claimed::Loaded(it)) => Some(it.header.fence),
        Answer::Claim(Claimed::Kept(it)) => Some(it.fence),
        Answer::Beat(it) => Some(it.now),
        Answer::Session(Taken::Nothing { now, .. }) => Some(*now),
        _ => None,
    }
}

impl RedisClient {
    fn do_it(&mut self, parts: &[&[u8]]) {
        let answer = self.ask(parts);
        assert_eq!(answer.as_str(), Some("OK"), "{answer:?}");
    }

    fn names(&mut self) -> Vec<Vec<u8>> {
        let names = self.ask(&[b"KEYS", b"*"]);
        let names = names.as_array().expect("names").iter();
        names
            .map(|it| it.as_bytes().expect("a name").to_vec())
            .collect()
    }

    /// When a key ends, milliseconds since the Unix epoch; -1: never, -2: there is none.
    fn ends(&mut self, name: &[u8]) -> i64 {
        self.ask(&[b"PEXPIRETIME", name]).as_int().expect("a time")
    }

    fn keys(&mut self) -> Keys {
        let mut keys = Vec::new();
        for name in self.names() {
            let value = self.ask(&[b"DUMP", &name]);
            let ends = self.ends(&name);
            // It may have ended since.
            if let Some(value) = value.as_bytes() {
                keys.push((name, ends.max(0).to_string().into(), value.to_vec()));
            }
        }
        keys
    }

    /// A room as Redis has it, read as the answer to a claim would be.
    fn room(&mut self, name: &str) -> Option<RoomRecord> {
        let claim = Request::Claim(Claim {
            room: name.into(),
            home: home(0),
            store: self.store,
            dead: None,
            settled: false,
            epoch: Epoch::from_random(1),
            timestamp: 0,
            has: None,
            ends_after: 0,
            only_existing: false,
        });
        let command = self.commands.command(&claim, "");
        let [room, log] = &command.keys[..] else {
            panic!("a claim has two keys");
        };
        let fields = self.ask(&[b"HGETALL", room]);
        let log = self.ask(&[b"XRANGE", log, b"-", b"+"]);
        if fields.as_array().expect("fields").is_empty() {
            return None;
        }
        let claimed = Value::Array(vec![Value::Array(vec![Value::Int(0), fields]), log]);
        match self.commands.answer(&claim, claimed) {
            Ok(Answer::Claim(Claimed::Loaded(record))) => Some(*record),
            other => panic!("{other:?}"),
        }
    }

    /// No log outlives its room and no inbox its session, and both end when the model says.
    fn check_ends(&mut self, model: &Model) -> Result<(), TestCaseError> {
        for name in self.names() {
            let ends = self.ends(&name);
            let text = String::from_utf8_lossy(&name).into_owned();
            if let Some(owner) = text.strip_suffix(":log").or(text.strip_suffix(":inbox")) {
                let owner = self.ends(owner.as_bytes());
                prop_assert!((ends - owner).abs() <= 2, "{}: {} {}", text, ends, owner);
            }
        }
        for room in ROOMS {
            let now = self.time();
            let key = self.commands.keys().room(room);
            let real = u64::try_from(self.ends(&key)).ok();
            same_end(real, model.room_ends(now, room))?;
        }
        for number in 0..CLIENTS {
            let now = self.time();
            let key = self.commands.keys().session(&client(number));
            let real = u64::try_from(self.ends(&key)).ok();
            same_end(real, model.session_ends(now, &client(number)))?;
        }
        Ok(())
    }
}

/// The model's time of a request may be that just before.
fn same_end(real: Option<u64>, model: Option<u64>) -> Result<(), TestCaseError> {
    match (real, model) {
        (Some(real), Some(model)) => prop_assert!(real.abs_diff(model) < 60_000),
        (real, model) => prop_assert_eq!(real, model),
    }
    Ok(())
}
