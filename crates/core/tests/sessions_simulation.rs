//! Schedules of clients that come back: cuts at any message, takeovers, slow readers, slow links between shards.
//!
//! A model checks that every client sees each room's events without gap, twice or disorder, or is told that it doesn't;
//! that all of them see one log; and that what was acked is in it, once. `ROOMCAST_SEED` repeats one schedule,
//! `ROOMCAST_SCHEDULES` says how many there are.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Client, Got, Node, Random, node_with, relay, text};
use roomcast_core::Encoding;
use roomcast_core::settings::Settings;
use serde_json::{Value, json};

const ROOMS: [&str; 2] = ["chat:1", "chat:2"];
const GRACE: u64 = 5_000;

/// What one client knows of one room.
#[derive(Default)]
struct Place {
    joined: bool,
    wanted: bool,
    epoch: String,
    last: u64,
    next_seq: u64,
    unanswered: BTreeMap<u64, String>,
}

#[derive(Default)]
struct Person {
    conn: Option<Client>,
    id: String,
    token: String,
    welcomed: bool,
    places: BTreeMap<&'static str, Place>,
    gaps: usize,
}

/// Epoch, offset, and who says what there.
type Log = BTreeMap<(String, u64), (String, u64, String)>;

#[derive(Default)]
struct Model {
    logs: BTreeMap<&'static str, Log>,
    /// Who had which number acked, at which offset.
    acked: BTreeMap<(&'static str, String, u64), u64>,
    /// Those that the server said may be done twice: it had forgotten their senders, who were away for too long.
    forgotten: BTreeSet<(&'static str, String, u64)>,
    recovered: usize,
    resumed: usize,
}

struct World {
    node: Node,
    random: Random,
    people: Vec<Person>,
    model: Model,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let shards = 1 + random.below(3) as u16;
        let settings = Settings {
            event_lane: 1_500 + random.below(10_000) as usize,
            messages_per_second: 0,
            max_offences: 0,
            write_timeout: 0,
            session_grace: GRACE,
            behind_timeout: [0, 2_000][random.below(2) as usize],
            ..Settings::default()
        };
        let mut kind = relay("chat");
        kind.retention.events = 10 + random.below(300) as usize;
        let kinds = vec![(kind, None)];
        let mut node = node_with(seed, shards, settings, kinds);
        node.slow_links = random.below(60);
        let people = (0..2 + random.below(3)).map(|_| Person::default());
        World {
            node,
            people: people.collect(),
            random,
            model: Model::default(),
        }
    }

    fn send(&mut self, who: usize, message: &Value) {
        if let Some(conn) = self.people[who].conn {
            self.node.send(conn, &message.to_string());
        }
    }

    /// A connection, whatever became of the one before: what was under way on that is lost, or it is taken over.
    fn connect(&mut self, who: usize) {
        let shard = self.random.below(self.node.shards.len() as u64) as usize;
        let conn = self.node.connect_to(shard, Encoding::ALL[0]);
        let person = &mut self.people[who];
        (person.conn, person.welcomed) = (Some(conn), false);
        let positions: Vec<Value> = person
            .places
            .iter_mut()
            .filter(|(_, place)| !place.epoch.is_empty())
            .map(|(room, place)| {
                place.joined = false;
                json!({"room_id": room, "since": {"epoch": place.epoch, "offset": place.last},
                    "first_seq": place.first_seq()})
            })
            .collect();
        let hello = json!({"version": 1, "resume_token": person.token, "positions": positions});
        self.send(who, &json!({"type": "hello", "payload": hello}));
        if self.random.below(3) == 0 {
            self.node.sockets[conn].window = 200 + self.random.below(5_000) as usize;
        }
    }

    fn join(&mut self, who: usize, room: &'static str) {
        let place = self.people[who].places.entry(room).or_default();
        place.wanted = true;
        let mut payload = json!({"first_seq": place.first_seq()});
        if !place.epoch.is_empty() {
            payload["since"] = json!({"epoch": place.epoch, "offset": place.last});
        }
        self.send(
            who,
            &json!({"type": "join_room", "room_id": room, "payload": payload}),
        );
    }

    fn say(&mut self, who: usize, room: &'static str) {
        let length = self.random.below(300) as usize;
        let Some(place) = self.people[who].places.get_mut(room) else {
            return;
        };
        if !place.joined || place.unanswered.len() >= 30 {
            return;
        }
        place.next_seq += 1;
        let seq = place.next_seq;
        let said = format!("{who}.{seq}{:>length$}", "");
        place.unanswered.insert(seq, said.clone());
        self.send(who, &chat(room, seq, &said));
    }

    fn resend(&mut self, who: usize, room: &'static str, from: u64) {
        let place = &self.people[who].places[room];
        let again: Vec<Value> = place
            .unanswered
            .range(from..)
            .map(|(seq, said)| chat(room, *seq, said))
            .collect();
        for message in again {
            self.send(who, &message);
        }
    }

    fn read(&mut self, who: usize) {
        let Some(conn) = self.people[who].conn else {
            return;
        };
        for got in self.node.read(conn) {
            match got {
                Got::Message(message) => self.take(who, &message),
                Got::Close(code, reason) => {
                    // 4501: the `hello` of a connection before this one came late.
                    let known = (4000..4500).contains(&code) || code == 4501;
                    assert!(known, "{code} {reason}");
                }
                Got::Ping | Got::Pong(_) => {}
            }
        }
        if !self.node.sockets[conn].open {
            self.people[who].conn = None;
        }
    }

    fn take(&mut self, who: usize, message: &Value) {
        let kind = text(&message["type"]);
        let payload = &message["payload"];
        if kind == "welcome" {
            return self.welcome(who, payload);
        }
        let room = ROOMS.into_iter().find(|room| message["room_id"] == *room);
        let Some(room) = room else { return };
        match &*kind {
            "joined" => self.joined(who, room, payload),
            "ack" => self.ack(who, room, payload),
            "error" => match payload["code"].as_str().unwrap() {
                "seq_gap" => self.resend(who, room, payload["seq"].as_u64().unwrap()),
                "not_in_room" => self.people[who].places.get_mut(room).unwrap().joined = false,
                other => panic!("{other}: {message}"),
            },
            _ if message["offset"].is_u64() => self.event(who, room, &kind, message),
            _ => {}
        }
    }

    fn welcome(&mut self, who: usize, payload: &Value) {
        let person = &mut self.people[who];
        person.welcomed = true;
        person.token = text(&payload["resume_token"]);
        let id = text(&payload["client_id"]);
        assert!(
            person.id.is_empty() || person.id == id,
            "a good token keeps its name"
        );
        person.id = id;
        if payload["resumed"] == true {
            self.model.resumed += 1;
            return;
        }
        let again: Vec<_> = person
            .places
            .iter()
            .filter(|it| it.1.wanted)
            .map(|it| *it.0)
            .collect();
        for room in again {
            self.join(who, room);
        }
    }

    fn joined(&mut self, who: usize, room: &'static str, payload: &Value) {
        let person = &mut self.people[who];
        let place = person.places.get_mut(room).unwrap();
        let (epoch, offset) = (text(&payload["epoch"]), payload["offset"].as_u64().unwrap());
        if payload["recovered"] == true {
            assert_eq!(epoch, place.epoch, "{who} in {room}");
            self.model.recovered += 1;
        } else {
            person.gaps += usize::from(!place.epoch.is_empty());
            assert!(
                epoch != place.epoch || offset >= place.last,
                "{who} in {room} goes back"
            );
            (place.epoch, place.last) = (epoch, offset);
        }
        place.joined = true;
        if payload["repeats_possible"] == true {
            let forgotten = place
                .unanswered
                .keys()
                .map(|seq| (room, person.id.clone(), *seq));
            self.model.forgotten.extend(forgotten);
        }
        self.resend(who, room, 0);
    }

    fn ack(&mut self, who: usize, room: &'static str, payload: &Value) {
        let person = &mut self.people[who];
        let place = person.places.get_mut(room).unwrap();
        for ack in payload["acks"].as_array().unwrap() {
            let (seq, offset) = (
                ack["seq"].as_u64().unwrap(),
                ack["offset"].as_u64().unwrap(),
            );
            place.unanswered.remove(&seq);
            let known = self
                .model
                .acked
                .insert((room, person.id.clone(), seq), offset);
            let forgotten = self
                .model
                .forgotten
                .contains(&(room, person.id.clone(), seq));
            assert!(
                forgotten || known.is_none_or(|known| known == offset || offset == 0),
                "{who}'s {seq} in {room} has another answer: {known:?}, {offset}"
            );
        }
    }

    fn event(&mut self, who: usize, room: &'static str, kind: &str, message: &Value) {
        let place = self.people[who].places.get_mut(room).unwrap();
        let (epoch, offset) = (text(&message["epoch"]), message["offset"].as_u64().unwrap());
        assert_eq!(epoch, place.epoch, "{who} in {room}");
        assert_eq!(offset, place.last + 1, "{who} in {room}: {message}");
        place.last = offset;
        let seq = message["seq"].as_u64().unwrap_or(0);
        let said = match kind {
            "chat" => text(&message["payload"]),
            other => format!("{other} {}", message["payload"]["player_id"]),
        };
        let event = (text(&message["from_client_id"]), seq, said);
        let log = self.model.logs.entry(room).or_default();
        let known = log.entry((epoch, offset)).or_insert_with(|| event.clone());
        assert_eq!(*known, event, "{who} in {room} at {offset}");
    }

    fn step(&mut self) {
        let who = self.random.below(self.people.len() as u64) as usize;
        let room = ROOMS[self.random.below(2) as usize];
        match self.random.below(100) {
            0..4 => self.connect(who),
            4..8 => {
                if let Some(conn) = self.people[who].conn.take() {
                    self.node.cut(conn);
                }
            }
            8..14 if self.people[who].welcomed => self.join(who, room),
            14..50 => {
                for _ in 0..=self.random.below(6) {
                    self.say(who, room);
                }
            }
            50..52 => self.node.jump(GRACE + 1),
            52..60 => {
                let ms = self.random.below(1_000);
                self.node.jump(ms);
            }
            60..80 => self.read(who),
            80..84 => {
                if let Some(conn) = self.people[who].conn {
                    self.node.sockets[conn].window = 100 + self.random.below(50_000) as usize;
                }
            }
            _ => {
                self.node.turn();
            }
        }
        if self.people[who].conn.is_none() && self.random.below(4) == 0 {
            self.connect(who);
        }
    }

    /// Everybody comes back, reads all, and has an answer to everything.
    fn end(&mut self) {
        self.node.slow_links = 0;
        for round in 0..200 {
            self.node.settle();
            for who in 0..self.people.len() {
                if let Some(conn) = self.people[who].conn {
                    self.node.sockets[conn].window = usize::MAX;
                } else {
                    self.connect(who);
                }
                self.read(who);
                let again: Vec<_> = self.people[who]
                    .places
                    .iter()
                    .filter(|it| it.1.wanted && !it.1.joined && self.people[who].welcomed)
                    .map(|it| *it.0)
                    .collect();
                for room in again.into_iter().filter(|_| round % 4 == 3) {
                    self.join(who, room);
                }
            }
        }
        for room in ROOMS {
            let places = || {
                self.people
                    .iter()
                    .filter_map(|person| person.places.get(room))
            };
            let newest: Vec<_> = places().map(|place| (&place.epoch, place.last)).collect();
            assert!(
                newest.windows(2).all(|two| two[0] == two[1]),
                "{room}: {newest:?}"
            );
            let waiting: Vec<_> = places().map(|place| place.unanswered.len()).collect();
            assert!(
                waiting.iter().all(|waiting| *waiting == 0),
                "{room}: {waiting:?}"
            );
        }
        // What was acked is where the ack says, as far as anybody saw that part of the log; nothing is there twice.
        for (room, log) in &self.model.logs {
            let mut numbered = BTreeMap::new();
            for ((epoch, offset), (from, seq, said)) in log {
                if self.model.forgotten.contains(&(*room, from.clone(), *seq)) {
                    continue;
                }
                let key = (epoch, from, *seq);
                if *seq > 0
                    && let Some(other) = numbered.insert(key, *offset)
                {
                    panic!("{said} is in {room} twice: at {other} and {offset}");
                }
                if let Some(at) = self.model.acked.get(&(*room, from.clone(), *seq)) {
                    assert!(
                        *at == *offset || *at == 0,
                        "{said} in {room}: {at}, {offset}"
                    );
                }
            }
        }
        self.node.assert_gone();
    }
}

impl Place {
    fn first_seq(&self) -> u64 {
        let oldest = self.unanswered.keys().next();
        oldest.copied().unwrap_or(self.next_seq + 1)
    }
}

fn chat(room: &str, seq: u64, said: &str) -> Value {
    json!({"type": "chat", "room_id": room, "payload": said, "seq": seq})
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whoever_comes_back_misses_nothing_or_is_told() {
    let (mut recovered, mut resumed, mut behind, mut gaps) = (0, 0, 0, 0);
    let first = variable("ROOMCAST_SEED");
    let schedules =
        variable("ROOMCAST_SCHEDULES").unwrap_or(if cfg!(debug_assertions) { 150 } else { 10_000 });
    let seeds = match first {
        Some(seed) => seed..seed + 1,
        None => 1..schedules + 1,
    };
    for seed in seeds {
        println!("ROOMCAST_SEED={seed}");
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step();
        }
        world.end();
        recovered += world.model.recovered;
        resumed += world.model.resumed;
        let count = |shard: &mut roomcast_core::Shard<_, _>| shard.stats().readers_behind;
        behind += world.node.shards.iter_mut().map(count).sum::<u64>();
        gaps += world.people.iter().map(|person| person.gaps).sum::<usize>();
    }
    if first.is_none() {
        let happened = [resumed, recovered, gaps, behind as usize];
        println!("resumed, recovered, gaps, behind: {happened:?}");
        assert!(happened.iter().all(|times| *times > 0), "{happened:?}");
    }
}
