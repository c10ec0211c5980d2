//! Clients that write each message by hand, good ones and bad ones, and check that each request is answered.
//!
//! They have rooms of their own, in some of which the logic panics. They don't resume: what ends a connection ends what
//! was asked on it.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_protocol::Format;
use roomcast_websocket::{
    CloseFrame, Event, Opcode, Receiver, ReceiverConfig, Role, Scratch, frame,
};
use serde_json::{Value, json};

use crate::network::Read;
use crate::random::Random;
use crate::world::World;

/// Rooms whose logic panics at times, and others.
const ROOMS: [&str; 4] = ["fragile:1", "fragile:2", "asked:1", "asked:2"];
/// Whose numbers direct messages have.
const NO_ROOM: &str = "";

/// What it has of a room.
struct Place {
    epoch: String,
    last: u64,
}

/// One connection, and what was asked on it.
struct Line {
    wire: usize,
    receiver: Receiver,
    client_id: String,
    /// What the socket did not take.
    unsent: Vec<u8>,
    /// By `request_id`.
    requests: BTreeMap<u64, Value>,
    /// Numbered messages that wait for their answers, by room.
    numbered: BTreeMap<(&'static str, u64), Value>,
    /// Rooms in which they are to be sent again.
    again: BTreeSet<&'static str>,
    next_seq: BTreeMap<&'static str, u64>,
    places: BTreeMap<&'static str, Place>,
}

pub(crate) struct Asker {
    random: Random,
    line: Option<Line>,
    /// It does not read before this time.
    sleeps_until: u64,
    next_id: u64,
}

impl Asker {
    pub(crate) fn new(random: Random) -> Asker {
        Asker {
            random,
            line: None,
            sleeps_until: 0,
            next_id: 0,
        }
    }

    /// When it reads again what has come.
    pub(crate) fn due(&self, now: u64) -> Option<u64> {
        Some(self.sleeps_until).filter(|until| *until > now)
    }

    /// Reads no more for a while.
    fn sleep(&mut self, now: u64) {
        self.sleeps_until = now + self.random.below(8_000);
    }

    /// A request, with a number of its own.
    fn request(&mut self, mut message: Value) {
        self.next_id += 1;
        message["request_id"] = json!(self.next_id);
        if let Some(line) = &mut self.line {
            line.requests.insert(self.next_id, message.clone());
            line.send(&message);
        }
    }

    /// Asks for something, at random.
    fn ask(&mut self) {
        let room = self.random.pick(&ROOMS);
        let what = self.random.below(100);
        let again = self.random.chance(200);
        let Some(line) = &mut self.line else { return };
        if again {
            line.send_again();
        }
        match what {
            0..25 => self.join(room),
            25..32 if !line.moves(room) => {
                self.request(json!({ "type": "leave_room", "room_id": room }));
                // Another room may get the number that this one had, while events of this one wait.
                if self.random.chance(500) {
                    let other = self.random.pick(&ROOMS);
                    self.join(other);
                }
            }
            32..37 => self.request(json!({ "type": "members", "room_id": room })),
            37..42 => self.request(json!({ "type": "history", "room_id": room })),
            42..44 => self.request(json!({ "type": "ping" })),
            44..45 => self.request(json!({ "type": "join_room", "room_id": "a b" })),
            45..46 => {
                let name = "r".repeat(600);
                self.request(json!({ "type": "join_room", "room_id": name }));
            }
            46..47 => self.request(json!({ "type": "auth", "payload": { "token": "none" } })),
            47..53 => {
                let to = line.client_id.clone();
                let to = self.random.pick(&[&*to, "01234567890123456789"]);
                self.number(
                    NO_ROOM,
                    json!({ "type": "chat", "payload": "psst", "to_client_id": to }),
                );
            }
            53..56 => {
                let skip = json!({ "type": "skip", "room_id": room, "payload": {} });
                self.number(room, skip);
            }
            56..60 => self.number_out_of_turn(room),
            60..75 => {
                let action = json!({ "action": "wave" });
                let act = json!({ "type": "game_action", "room_id": room, "payload": action });
                self.number(room, act);
            }
            _ => {
                let text = "x".repeat(self.random.below(400) as usize);
                let chat = json!({ "type": "chat", "room_id": room, "payload": text });
                if what < 85 && line.places.contains_key(room) {
                    line.send(&chat);
                } else {
                    self.number(room, chat);
                }
            }
        }
    }

    /// Joins a room, or joins it again.
    fn join(&mut self, room: &'static str) {
        let Some(line) = &self.line else { return };
        if line.moves(room) || line.waits(room) {
            return;
        }
        let first_seq = line.next_seq.get(room).copied().unwrap_or(1);
        let mut payload = json!({ "first_seq": first_seq });
        if self.random.chance(200) {
            payload["since"] = json!({ "epoch": "of no log", "offset": 1 });
        }
        self.request(json!({ "type": "join_room", "room_id": room, "payload": payload }));
    }

    /// A numbered message: one at a time in each room that it is in.
    fn number(&mut self, room: &'static str, mut message: Value) {
        let Some(line) = &mut self.line else { return };
        let there = room == NO_ROOM || line.places.contains_key(room);
        if !there || line.waits(room) {
            return;
        }
        let next = line.next_seq.entry(room).or_insert(1);
        let seq = *next;
        *next += 1;
        if message["type"] == "skip" {
            message["payload"]["seq"] = json!(seq);
        } else {
            message["seq"] = json!(seq);
        }
        line.send(&message);
        line.numbered.insert((room, seq), message);
    }

    /// Two messages, of which the second, which is refused for good, comes first: as if the first had been refused for
    /// now.
    fn number_out_of_turn(&mut self, room: &'static str) {
        let Some(line) = &mut self.line else { return };
        if !line.places.contains_key(room) || line.waits(room) {
            return;
        }
        let next = line.next_seq.entry(room).or_insert(1);
        let seq = *next;
        *next += 2;
        let bad = json!({ "type": "event", "room_id": room, "name": "a b", "seq": seq + 1 });
        line.send(&bad);
        line.numbered.insert((room, seq + 1), bad);
        let message = json!({ "type": "chat", "room_id": room, "payload": "late", "seq": seq });
        line.send(&message);
        line.numbered.insert((room, seq), message);
    }

    fn owes(&self) -> Option<String> {
        let line = self.line.as_ref()?;
        let requests = line.requests.values();
        requests
            .chain(line.numbered.values())
            .next()
            .map(Value::to_string)
    }
}

impl Line {
    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        let unsent = &mut self.unsent;
        frame::write_frame(
            unsent,
            Opcode::Text,
            true,
            false,
            text.as_bytes(),
            Some([7; 4]),
        );
    }

    fn answer(&mut self, message: &Value) {
        let id = message["request_id"].as_u64();
        let request = id.map(|id| {
            let request = self.requests.remove(&id);
            request.unwrap_or_else(|| panic!("nobody asked for {message}"))
        });
        let name = message["room_id"].as_str().unwrap_or(NO_ROOM);
        let room = ROOMS.into_iter().find(|it| *it == name);
        let payload = &message["payload"];
        match message["type"].as_str().unwrap() {
            "welcome" => self.client_id = payload["client_id"].as_str().unwrap().to_owned(),
            "joined" => {
                let epoch = payload["epoch"].as_str().unwrap().to_owned();
                let recovered = payload["recovered"] == true;
                let of_none = request.is_some_and(|it| it["payload"].get("since").is_some());
                assert!(!of_none || !recovered, "a position of no log was believed");
                let last = payload["offset"].as_u64().unwrap();
                let room = room.unwrap();
                match self.places.get_mut(room) {
                    // Of another name where the store has come back, which is checked at the end.
                    Some(place) if recovered => place.epoch = epoch,
                    _ => drop(self.places.insert(room, Place { epoch, last })),
                }
            }
            "player_left" if payload["player_id"] == *self.client_id => {
                self.places.remove(name);
            }
            "error" => self.refused(room.unwrap_or(NO_ROOM), message),
            "ack" => {
                for ack in payload["acks"].as_array().unwrap() {
                    self.settle(room.unwrap_or(NO_ROOM), ack["seq"].as_u64().unwrap());
                }
            }
            _ => {}
        }
        if let (Some(offset), Some(place)) = (message["offset"].as_u64(), self.places.get_mut(name))
        {
            let next = offset == place.last + 1;
            let old = offset <= place.last;
            assert!(next || old, "{message} after {}", place.last);
            if next && let Some(epoch) = message["epoch"].as_str() {
                (place.epoch, place.last) = (epoch.to_owned(), offset);
            }
        }
    }

    /// Whether it is on its way into this room, or out of it.
    fn moves(&self, room: &str) -> bool {
        self.requests.values().any(|it| {
            it["room_id"] == room && (it["type"] == "join_room" || it["type"] == "leave_room")
        })
    }

    /// Whether a numbered message to this room waits for its answer.
    fn waits(&self, room: &'static str) -> bool {
        let mut waiting = self.numbered.range((room, 0)..=(room, u64::MAX));
        waiting.next().is_some()
    }

    fn settle(&mut self, room: &'static str, seq: u64) {
        self.numbered.remove(&(room, seq));
    }

    /// Sends again what was refused for now, and all behind it.
    fn send_again(&mut self) {
        for room in std::mem::take(&mut self.again) {
            let waiting = self.numbered.range((room, 0)..=(room, u64::MAX));
            let messages: Vec<Value> = waiting.map(|it| it.1.clone()).collect();
            messages.iter().for_each(|message| self.send(message));
        }
    }

    fn refused(&mut self, room: &'static str, message: &Value) {
        let payload = &message["payload"];
        let code = payload["code"].as_str().unwrap();
        if code == "room_failed" || code == "not_in_room" {
            self.places.remove(room);
        }
        let Some(seq) = payload["seq"].as_u64() else {
            return;
        };
        let again = [
            "rate_limited",
            "unavailable",
            "too_many_unanswered",
            "seq_gap",
        ];
        if !again.contains(&code) {
            return self.settle(room, seq);
        }
        self.again.insert(room);
    }
}

impl World {
    /// Those who ask do something.
    pub(crate) fn let_ask(&mut self) {
        for who in 0..self.askers.len() {
            if self.askers[who].line.is_none() {
                self.connect_asker(who);
            }
            for _ in 0..self.askers[who].random.below(4) {
                self.askers[who].ask();
            }
            if self.askers[who].random.chance(40) {
                let now = self.now;
                self.askers[who].sleep(now);
            }
        }
    }

    /// They read from now on.
    pub(crate) fn wake_askers(&mut self) {
        self.askers.iter_mut().for_each(|it| it.sleeps_until = 0);
    }

    fn connect_asker(&mut self, who: usize) {
        let wire = self.net.open(self.now);
        self.server.accept(wire, Format::Json);
        let asker = &mut self.askers[who];
        asker.line = Some(Line {
            wire,
            receiver: Receiver::new(Role::Client, &ReceiverConfig::default()),
            client_id: String::new(),
            unsent: Vec::new(),
            requests: BTreeMap::new(),
            numbered: BTreeMap::new(),
            again: BTreeSet::new(),
            next_seq: BTreeMap::new(),
            places: BTreeMap::new(),
        });
        asker.request(json!({ "type": "hello", "payload": { "version": 1 } }));
        // It may be there before the connection is a shard's.
        if let Some(line) = &mut asker.line {
            let taken = self.net.client_writes(wire, self.now, &line.unsent);
            line.unsent.drain(..taken);
        }
    }

    /// Writes what was asked, and reads what has come. Whether there was anything to do.
    pub(crate) fn drive_askers(&mut self) -> bool {
        let mut busy = false;
        for who in 0..self.askers.len() {
            busy |= self.drive_asker(who);
        }
        busy
    }

    fn drive_asker(&mut self, who: usize) -> bool {
        let (now, asker) = (self.now, &mut self.askers[who]);
        let Some(line) = &mut asker.line else {
            return false;
        };
        let taken = self.net.client_writes(line.wire, now, &line.unsent);
        line.unsent.drain(..taken);
        if asker.sleeps_until > now {
            return taken > 0;
        }
        let mut bytes = match self.net.wires[line.wire].down.read(now) {
            Read::Bytes(bytes) => bytes,
            Read::Nothing => return taken > 0,
            Read::End => {
                self.net.client_ends(line.wire, now);
                asker.line = None;
                return true;
            }
        };
        let (mut input, mut scratch) = (&mut bytes[..], Scratch::new());
        while let Ok(Some(event)) = line.receiver.receive(&mut input, &mut scratch) {
            match event {
                Event::Text(text) => {
                    let message: Value = serde_json::from_str(text).unwrap();
                    if self.facts.trace_on {
                        println!("{now:7} asker {who}: {message}");
                    }
                    line.answer(&message);
                    if message["type"] == "ack" || message["type"] == "error" {
                        self.facts.answers += 1;
                    }
                    if message["payload"]["code"] == "room_failed" {
                        self.facts.failures += 1;
                    }
                }
                Event::Ping(data) => {
                    let pong = data.to_vec();
                    let unsent = &mut line.unsent;
                    frame::write_frame(unsent, Opcode::Pong, true, false, &pong, Some([7; 4]));
                }
                _ => {}
            }
        }
        true
    }

    /// Each request that the server took was answered, and what each room has said has come. Then they go.
    pub(crate) fn check_askers(&mut self) {
        self.await_answers(200);
        let truth = self.ledger.borrow();
        for line in self.askers.iter().filter_map(|asker| asker.line.as_ref()) {
            for (room, place) in &line.places {
                let log = truth.newest(room).unwrap();
                let last = log.entries.len() as u64;
                assert!(
                    last == place.last && truth.goes_on(room, (&place.epoch, last), &log.epoch),
                    "{room}: events that never came: {} {} of {} {last}",
                    place.epoch,
                    place.last,
                    log.epoch
                );
            }
        }
        drop(truth);
        self.part();
        // Who says one thing behind the handshake is answered, and not only when the pong to a ping is read.
        (0..self.askers.len()).for_each(|who| self.connect_asker(who));
        self.await_answers(4);
        self.part();
        self.askers.clear();
        self.pass(1_000);
        if self.facts.store_restarts > 0 {
            // Whose inbox may have another epoch was asked to come back, and has not.
            self.pass(self.setup.settings.session_grace);
        }
    }

    fn await_answers(&mut self, most: u32) {
        let mut waits = 0;
        while let Some(owed) = self.askers.iter().find_map(Asker::owes) {
            waits += 1;
            assert!(waits < most, "this was never answered: {owed}");
            let lines = self.askers.iter_mut().filter_map(|it| it.line.as_mut());
            lines.for_each(Line::send_again);
            self.pass(500);
        }
    }

    /// They say goodbye.
    fn part(&mut self) {
        for asker in &mut self.askers {
            let Some(line) = asker.line.take() else {
                continue;
            };
            let mut out = Vec::new();
            let (code, reason) = (1000, "");
            frame::write_close(&mut out, Some(CloseFrame { code, reason }), Some([7; 4]));
            self.net.client_writes(line.wire, self.now, &out);
            self.net.client_ends(line.wire, self.now);
        }
    }
}
