//! Clients that come back, on several nodes whose links are lost and that die: what they are promised holds all the same.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use std::collections::{BTreeMap, BTreeSet};

use cluster::{At, Cluster};
use common::{Got, Random, relay, text};
use roomcast_core::settings::Settings;
use serde_json::{Value, json};

const ROOMS: [&str; 3] = ["r:1", "r:2", "r:3"];
const NODES: usize = 4;

/// What a client knows of a room.
#[derive(Default)]
struct Place {
    epoch: String,
    offset: u64,
    /// It was told `joined` on this connection.
    joined: bool,
    sent: u64,
    /// Numbers without an answer.
    open: Vec<u64>,
}

/// A client as the SDKs are: it comes back, and sends again what has no answer.
struct Fan {
    name: usize,
    at: Option<At>,
    token: String,
    rooms: BTreeMap<&'static str, Place>,
}

struct World {
    seed: u64,
    random: Random,
    cluster: Cluster,
    fans: Vec<Fan>,
    killed: usize,
    /// Rooms that were taken from homes that have a lease, which nothing but this test does. Such a home does not hear of
    /// it before it writes, and may refuse who is not a member there.
    stolen: BTreeSet<&'static str>,
    /// By room and offset: what it was.
    seen: BTreeMap<(&'static str, u64), String>,
    comebacks: usize,
    unasked: usize,
}

fn room_of(message: &Value) -> &'static str {
    let name = text(&message["room_id"]);
    ROOMS.into_iter().find(|it| *it == name).unwrap_or("")
}

impl World {
    fn new(seed: u64) -> World {
        let settings = Settings {
            messages_per_second: 0,
            max_offences: 0,
            ping_interval: 0,
            pong_timeout: 0,
            ..Settings::default()
        };
        let mut random = Random(seed);
        let shards: Vec<_> = (0..NODES).map(|_| 1 + random.below(3) as u16).collect();
        World {
            seed,
            cluster: Cluster::new(&shards, &settings, &[relay("default"), relay("r")]),
            random,
            fans: Vec::new(),
            killed: 0,
            stolen: BTreeSet::new(),
            seen: BTreeMap::new(),
            comebacks: 0,
            unasked: 0,
        }
    }

    fn some_node(&mut self) -> usize {
        let living = self.cluster.living();
        living[self.random.below(living.len() as u64) as usize]
    }

    fn send(&mut self, fan: usize, message: &Value) {
        if let Some((node, client)) = self.fans[fan].at {
            self.cluster.node(node).send(client, &message.to_string());
        }
    }

    fn connect(&mut self, fan: usize) {
        let node = self.some_node();
        let client = self.cluster.node(node).connect();
        let it = &mut self.fans[fan];
        it.at = Some((node, client));
        let position = |(room, place): (&&str, &mut Place)| {
            place.joined = false;
            let first_seq = place.open.first().copied().unwrap_or(place.sent + 1);
            let mut position = json!({"room_id": room, "first_seq": first_seq});
            if !place.epoch.is_empty() {
                position["since"] = json!({"epoch": place.epoch, "offset": place.offset});
            }
            position
        };
        let positions: Vec<_> = it.rooms.iter_mut().map(position).collect();
        let mut payload = json!({"positions": positions});
        if !it.token.is_empty() {
            payload["resume_token"] = json!(it.token);
        }
        self.send(fan, &json!({"type": "hello", "payload": payload}));
    }

    /// Reads what a client got.
    fn listen(&mut self, fan: usize) {
        let Some((node, client)) = self.fans[fan].at else {
            return;
        };
        if self.cluster.nodes[node].is_none() {
            self.fans[fan].at = None;
            return;
        }
        for got in self.cluster.node(node).read(client) {
            match got {
                Got::Message(message) => self.take(fan, &message),
                Got::Close(code, _) => {
                    assert!(code == 4000 || code == 4501, "{code}, seed {}", self.seed);
                    self.comebacks += 1;
                    self.fans[fan].at = None;
                }
                _ => {}
            }
        }
        if !self.cluster.is_open((node, client)) {
            self.fans[fan].at = None;
        }
    }

    fn take(&mut self, fan: usize, message: &Value) {
        let (seed, payload) = (self.seed, &message["payload"]);
        let (name, room) = (self.fans[fan].name, room_of(message));
        match &*text(&message["type"]) {
            "welcome" => {
                let is_known = !self.fans[fan].token.is_empty();
                assert!(
                    !is_known || payload["resumed"] == true,
                    "{name}'s session is gone, seed {seed}"
                );
                self.fans[fan].token = text(&payload["resume_token"]);
                // What the server has not heard of, or may not.
                let rooms = self.fans[fan].rooms.iter();
                let unknown = rooms.filter(|(_, it)| it.epoch.is_empty());
                let unknown: Vec<_> = unknown.map(|(room, _)| *room).collect();
                for room in unknown {
                    self.join(fan, room);
                }
            }
            "joined" => {
                let place = self.fans[fan].rooms.get_mut(room).unwrap();
                let is_known = !place.epoch.is_empty();
                if is_known {
                    assert_eq!(
                        payload["recovered"], true,
                        "{name} in {room}: {message}, seed {seed}"
                    );
                    assert_eq!(payload["epoch"], place.epoch, "seed {seed}");
                } else {
                    place.epoch = text(&payload["epoch"]);
                    place.offset = payload["offset"].as_u64().unwrap();
                }
                self.unasked += usize::from(place.joined);
                if !std::mem::replace(&mut place.joined, true) {
                    for seq in place.open.clone() {
                        self.chat(fan, room, seq);
                    }
                }
            }
            "ack" => {
                let place = self.fans[fan].rooms.get_mut(room).unwrap();
                for pair in payload["acks"].as_array().unwrap_or(&Vec::new()) {
                    let seq = pair["seq"].as_u64().unwrap();
                    place.open.retain(|it| *it != seq);
                }
            }
            "error" => {
                let code = &payload["code"];
                let unknown = |it: &Place| it.epoch.is_empty();
                // A join of before was not done; it is asked again.
                if payload["request"] == "join_room"
                    && code == "not_in_room"
                    && self.fans[fan].rooms.get(room).is_some_and(unknown)
                {
                    return;
                }
                if payload["request"] == "join_room"
                    && code == "not_in_room"
                    && self.stolen.contains(room)
                {
                    return self.join_again(fan, room);
                }
                assert_eq!(
                    code, "unavailable",
                    "{name} in {room}: {message}, seed {seed}"
                );
                let place = self.fans[fan].rooms.get_mut(room);
                if payload["request"] == "join_room" {
                    self.join(fan, room);
                } else if let (Some(seq), Some(_)) = (payload["seq"].as_u64(), place) {
                    self.chat(fan, room, seq);
                }
            }
            _ => self.note_event(fan, room, message),
        }
    }

    fn note_event(&mut self, fan: usize, room: &'static str, message: &Value) {
        let (seed, name) = (self.seed, self.fans[fan].name);
        let Some(offset) = message["offset"].as_u64().filter(|it| *it > 0) else {
            return;
        };
        let place = self.fans[fan].rooms.get_mut(room).unwrap();
        assert_eq!(
            offset,
            place.offset + 1,
            "{name} in {room} has {}, and gets {message}, seed {seed}",
            place.offset
        );
        place.offset = offset;
        let what = format!(
            "{} {} {} {}",
            text(&message["type"]),
            text(&message["from_client_id"]),
            message["seq"],
            message["payload"]
        );
        let before = self.seen.insert((room, offset), what.clone());
        assert!(before.is_none_or(|it| it == what), "seed {seed}");
    }

    fn join(&mut self, fan: usize, room: &'static str) {
        self.send(fan, &json!({"type": "join_room", "room_id": room}));
    }

    /// As SDKs do who are told unasked that they are in no room: that home writes for it, and hears that it is none.
    fn join_again(&mut self, fan: usize, room: &'static str) {
        let place = &self.fans[fan].rooms[room];
        let first_seq = place.open.first().copied().unwrap_or(place.sent + 1);
        let since = json!({"epoch": place.epoch, "offset": place.offset});
        let payload = json!({"since": since, "first_seq": first_seq});
        let join = json!({"type": "join_room", "room_id": room, "payload": payload});
        self.send(fan, &join);
    }

    fn chat(&mut self, fan: usize, room: &str, seq: u64) {
        let payload = format!("{}:{seq}", self.fans[fan].name);
        let chat = json!({"type": "chat", "room_id": room, "payload": payload, "seq": seq});
        self.send(fan, &chat);
    }

    fn say_something(&mut self, fan: usize) {
        let room = ROOMS[self.random.below(ROOMS.len() as u64) as usize];
        let Some(place) = self.fans[fan].rooms.get_mut(room) else {
            self.fans[fan].rooms.insert(room, Place::default());
            return self.join(fan, room);
        };
        if place.joined && place.open.len() < 10 {
            place.sent += 1;
            let seq = place.sent;
            place.open.push(seq);
            self.chat(fan, room, seq);
        }
    }

    fn fail_somewhere(&mut self) {
        let (one, other) = (self.some_node(), self.some_node());
        match self.random.below(40) {
            0..3 if one != other => self.cluster.lose_link(one, other),
            3..10 => self.cluster.hold(one, other),
            10..24 => self.cluster.let_all_go(),
            24 if self.killed + 2 < NODES => {
                self.killed += 1;
                self.cluster.kill(one);
            }
            25..27 => {
                let room = ROOMS[self.random.below(ROOMS.len() as u64) as usize];
                let home = self.cluster.home_of(room);
                let living = self.cluster.living();
                if let Some(home) = home.filter(|it| living.contains(it) && *it != other) {
                    self.stolen.insert(room);
                    self.cluster.steal(room, home, other);
                }
            }
            27..30 => {
                let fan = self.random.below(self.fans.len() as u64) as usize;
                if let Some((node, client)) = self.fans[fan].at.take()
                    && let Some(node) = &mut self.cluster.nodes[node]
                {
                    node.cut(client);
                }
            }
            _ => {}
        }
    }

    fn run(mut self) -> (usize, usize) {
        for name in 0..6 {
            self.fans.push(Fan {
                name,
                at: None,
                token: String::new(),
                rooms: BTreeMap::new(),
            });
        }
        for step in 0..600 {
            let is_over = step >= 450;
            if is_over {
                self.cluster.let_all_go();
            } else {
                self.fail_somewhere();
            }
            for fan in 0..self.fans.len() {
                self.listen(fan);
                if self.fans[fan].at.is_none() {
                    self.connect(fan);
                } else if !is_over && self.random.below(3) == 0 {
                    self.say_something(fan);
                }
            }
            self.cluster.step(self.random.below(8));
        }
        for fan in 0..self.fans.len() {
            self.listen(fan);
        }
        self.check();
        (self.comebacks, self.unasked)
    }

    /// All is quiet: everybody has everything, once.
    fn check(&mut self) {
        let seed = self.seed;
        let mut newest = BTreeMap::new();
        for (room, offset) in self.seen.keys() {
            newest.insert(*room, *offset);
        }
        let mut said = BTreeMap::new();
        for ((room, _), what) in &self.seen {
            if what.starts_with("chat") {
                *said.entry((*room, what.clone())).or_insert(0) += 1;
            }
        }
        assert!(said.values().all(|count| *count == 1), "twice, seed {seed}");
        for fan in &self.fans {
            for (room, place) in &fan.rooms {
                assert!(place.joined, "{} waits for {room}, seed {seed}", fan.name);
                assert_eq!(place.open, [0; 0], "{} in {room}, seed {seed}", fan.name);
                let newest = newest.get(room).copied().unwrap_or(place.offset);
                assert_eq!(
                    place.offset.max(newest),
                    place.offset,
                    "{} in {room} lacks something, seed {seed}",
                    fan.name
                );
            }
        }
        for node in self.cluster.living() {
            for shard in self.cluster.node(node).shards.iter() {
                assert_eq!(shard.link_bytes(), 0, "seed {seed}");
            }
        }
    }
}

#[test]
fn whatever_fails_nothing_is_lost_and_nothing_done_twice() {
    let one = std::env::var("ROOMCAST_SEED").ok();
    let seeds: Vec<u64> = match one.and_then(|it| it.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..13).chain([47]).collect(),
    };
    let (mut comebacks, mut unasked) = (0, 0);
    for seed in seeds {
        println!("seed {seed}");
        let (closed, told) = World::new(seed).run();
        (comebacks, unasked) = (comebacks + closed, unasked + told);
    }
    println!("{comebacks} came back, {unasked} went on by themselves");
    assert!(comebacks > 0 && unasked > 0);
}
