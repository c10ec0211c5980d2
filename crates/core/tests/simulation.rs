//! Random schedules of whole nodes under a virtual clock: several shards, slow links between them,
//! clients that read slowly, come, go and are cut.
//!
//! Checked of every schedule: each member sees each room's events without gap, twice or disorder
//! and all see the same; state ends up equal for all; nothing is left when everybody is gone.
//! A failure prints its seed; `ROOMCAST_SIM_SEED` runs that one alone, `ROOMCAST_SIM_RUNS` sets how many.

mod common;

use std::collections::{BTreeMap, HashMap, HashSet};

use common::{Got, Node, Random, node_with, relay, text};
use roomcast_core::Encoding;
use roomcast_core::settings::{Kind, Settings};
use serde_json::Value;

/// What one client knows of one room.
#[derive(Default)]
struct View {
    epoch: String,
    next: u64,
    joined: bool,
    me: String,
    frame: i64,
    players: BTreeMap<String, Value>,
}

/// Room, epoch and offset of what did not come, and who it was then.
type Missed = (String, String, u64, String);

impl View {
    fn missing(&self, room: &str, until: u64) -> Vec<Missed> {
        let (epoch, me) = (&self.epoch, &self.me);
        let own = |offset| (room.to_owned(), epoch.clone(), offset, me.clone());
        (self.next..until).map(own).collect()
    }
}

/// Events by room, epoch and offset, as whoever saw them first saw them.
type Truth = HashMap<(String, String, u64), Value>;

#[derive(Default)]
struct Watcher {
    rooms: HashMap<String, View>,
    missed: Vec<Missed>,
}

impl Watcher {
    fn see(&mut self, message: &Value, truth: &mut Truth) {
        let room = text(&message["room_id"]);
        let kind = text(&message["type"]);
        let view = self.rooms.entry(room.clone()).or_default();
        let payload = &message["payload"];
        match kind.as_str() {
            "joined" => {
                let offset = payload["offset"].as_u64().expect("an offset");
                if view.joined {
                    // What it lacks was its own and silent.
                    assert!(
                        view.next <= offset + 1,
                        "a repeated joined is true: {message}"
                    );
                    self.missed.extend(view.missing(&room, offset + 1));
                    view.next = offset + 1;
                    return;
                }
                *view = View {
                    me: text(&payload["player_id"]),
                    epoch: text(&payload["epoch"]),
                    next: offset + 1,
                    joined: true,
                    ..View::default()
                };
            }
            "sync" => {
                assert!(view.joined, "state of a room that it is not in: {message}");
                let frame = payload["frame_num"].as_i64().expect("a frame");
                assert!(
                    frame >= view.frame,
                    "frames fall: {frame} after {}",
                    view.frame
                );
                view.frame = frame;
                if payload["full"] == true {
                    view.players.clear();
                }
                for player in payload["players"].as_array().into_iter().flatten() {
                    view.players
                        .insert(text(&player["player_id"]), player.clone());
                }
                for player in payload["left"].as_array().into_iter().flatten() {
                    view.players.remove(&text(player));
                }
            }
            _ => {}
        }
        let farewell = kind == "player_left" && text(&payload["player_id"]) == view.me;
        let Some(offset) = message["offset"].as_u64() else {
            if farewell {
                self.rooms.remove(&room);
            }
            return;
        };
        assert!(
            view.joined,
            "an event of a room that it is not in: {message}"
        );
        assert!(
            offset >= view.next,
            "a repeat or disorder in {room}: {message}"
        );
        assert_eq!(text(&message["epoch"]), view.epoch);
        self.missed.extend(view.missing(&room, offset));
        view.next = offset + 1;
        let first = truth
            .entry((room.clone(), view.epoch.clone(), offset))
            .or_insert_with(|| message.clone());
        assert_eq!(first, message, "all see the same");
        if farewell {
            self.rooms.remove(&room);
        }
    }
}

struct Run {
    node: Node,
    random: Random,
    watchers: Vec<Watcher>,
    ids: Vec<String>,
    truth: Truth,
    sent: u64,
    /// What was sent without wanting it back.
    silent: HashSet<u64>,
}

const ROOMS: [&str; 4] = ["arena:1", "arena:2", "chat:1", "chat:2"];

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = Random(seed);
        let settings = Settings {
            messages_per_second: 0,
            max_offences: 0,
            event_lane: if random.below(4) == 0 { 8_000 } else { 0 },
            publish_window: 500 + random.below(5_000) as usize,
            link_window: 500 + random.below(10_000) as usize,
            turn_bytes: 1_000 + random.below(100_000) as usize,
            ..Settings::default()
        };
        let mut arena = Kind {
            name: "arena".to_owned(),
            ..Kind::default()
        };
        arena.rules.respawn_after = 100;
        arena.rules.attack_damage = 50;
        let kinds = vec![(arena, None), (relay("chat"), None)];
        let shards = 1 + random.below(3) as u16;
        let mut node = node_with(random.next(), shards, settings, kinds);
        node.slow_links = random.below(60);
        Run {
            node,
            random,
            watchers: Vec::new(),
            ids: Vec::new(),
            truth: Truth::new(),
            sent: 0,
            silent: HashSet::new(),
        }
    }

    fn connect(&mut self) {
        let shard = self.random.below(self.node.shards.len() as u64) as usize;
        // Two ways of framing, as with and without compression; the harness reads JSON only.
        let json = Encoding::ALL.map(|encoding| Encoding {
            format: roomcast_protocol::Format::Json,
            ..encoding
        });
        let encoding = json[self.random.below(json.len() as u64) as usize];
        let client = self.node.connect_to(shard, encoding);
        assert_eq!(client, self.watchers.len());
        self.watchers.push(Watcher::default());
        self.ids.push(String::new());
    }

    fn read(&mut self, client: usize) {
        for got in self.node.read(client) {
            if let Got::Message(message) = got {
                if std::env::var_os("ROOMCAST_SIM_TRACE").is_some() {
                    eprintln!("{client}: {message}");
                }
                self.watchers[client].see(&message, &mut self.truth);
            }
        }
    }

    fn step(&mut self) {
        let open: Vec<_> = (0..self.watchers.len())
            .filter(|c| self.node.sockets[*c].open)
            .collect();
        if open.is_empty() || self.random.below(40) == 0 && self.watchers.len() < 12 {
            return self.connect();
        }
        let client = open[self.random.below(open.len() as u64) as usize];
        let room = ROOMS[self.random.below(4) as usize];
        self.sent += 1;
        let n = self.sent;
        match self.random.below(30) {
            0..=4 => self.node.send(client, &format!(r#"{{"type":"join_room","room_id":"{room}"}}"#)),
            5 => self.node.send(client, &format!(r#"{{"type":"leave_room","room_id":"{room}"}}"#)),
            6 => {
                self.silent.insert(n);
                self.node.send(client, &format!(r#"{{"type":"chat","room_id":"{room}","payload":{n},"no_echo":true}}"#));
            }
            7..=10 => self.node.send(client, &format!(r#"{{"type":"chat","room_id":"{room}","payload":{n}}}"#)),
            11 => self.node.send(client, &format!(r#"{{"type":"chat","room_id":"{room}","payload":"{}"}}"#, "x".repeat(700))),
            12..=16 => self.node.send(client, &format!(
                r#"{{"type":"game_action","room_id":"{room}","payload":{{"action":"move","position":{{"x":{n},"y":0,"z":0}}}}}}"#
            )),
            17 => {
                let target = 1 + self.random.below(5);
                self.node.send(client, &format!(
                    r#"{{"type":"game_action","room_id":"{room}","payload":{{"action":"attack","target_id":{target}}}}}"#
                ));
            }
            18 => self.node.send(client, &format!(r#"{{"type":"presence","room_id":"{room}","payload":{{"presence":{{"n":{n}}}}}}}"#)),
            19 => self.node.send(client, &format!(
                r#"{{"type":"event","name":"e","room_id":"{room}","ephemeral":true,"payload":{n}}}"#
            )),
            20 => self.node.sockets[client].window = self.random.below(3_000) as usize,
            21..=24 => self.read(client),
            25 => {
                if self.random.below(5) == 0 {
                    self.node.cut(client);
                }
            }
            _ => {
                self.node.now.micros += self.random.below(60_000);
                self.node.now.unix_ms += 30;
                // The wall clock may step back.
                if self.random.below(20) == 0 {
                    self.node.now.unix_ms -= 5_000;
                }
                self.node.turn();
            }
        }
    }

    fn run(mut self) {
        for _ in 0..3 {
            self.connect();
        }
        for _ in 0..400 {
            self.step();
        }
        self.node.slow_links = 0;
        for client in 0..self.watchers.len() {
            self.node.sockets[client].window = usize::MAX;
        }
        for _ in 0..50 {
            for _ in 0..20 {
                self.node.turn();
            }
            for client in 0..self.watchers.len() {
                self.read(client);
            }
            self.node.now.micros += 20_000;
        }
        for client in 0..self.watchers.len() {
            assert_eq!(
                self.node.unread(client) * usize::from(self.node.sockets[client].open),
                0
            );
        }
        self.compare();
        self.check_missed();
        for client in 0..self.watchers.len() {
            self.node.cut(client);
        }
        for _ in 0..200 {
            self.node.turn();
        }
        self.node.assert_empty();
    }

    /// Members of a room agree on where its log ends and on every player's state.
    fn compare(&self) {
        for room in ROOMS {
            let open = |client: &usize| self.node.sockets[*client].open;
            let views: Vec<_> = (0..self.watchers.len())
                .filter(open)
                .filter_map(|client| {
                    self.watchers[client]
                        .rooms
                        .get(room)
                        .filter(|view| view.joined)
                })
                .collect();
            // Whose last events were its own and silent has not seen the end.
            let end = views.iter().map(|view| view.next).max().unwrap_or(0);
            for view in &views {
                for offset in view.next..end {
                    let key = (room.to_owned(), view.epoch.clone(), offset);
                    let event = self.truth.get(&key).expect("somebody saw it");
                    assert_eq!(event["from_client_id"], *view.me, "{room}: missing {event}");
                }
                assert_eq!(view.players, views[0].players, "{room}: one state for all");
                if room.starts_with("arena") {
                    assert_eq!(
                        view.players.len(),
                        views.len(),
                        "{room}: a state for each member"
                    );
                }
            }
        }
    }
}

impl Run {
    /// What did not come was the client's own, and sent with `no_echo`.
    fn check_missed(&self) {
        for (room, epoch, offset, me) in self.watchers.iter().flat_map(|watcher| &watcher.missed) {
            let event = self.truth.get(&(room.clone(), epoch.clone(), *offset));
            let Some(event) = event else { continue };
            assert_eq!(event["from_client_id"], **me, "a gap: {event}");
            let silent = event["payload"]
                .as_u64()
                .is_some_and(|n| self.silent.contains(&n));
            assert!(silent, "a gap: {event}");
        }
    }
}

#[test]
fn random_schedules() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    let seeds: Vec<u64> = match number("ROOMCAST_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("ROOMCAST_SIM_RUNS").unwrap_or(500)).collect(),
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| Run::new(seed).run());
        if let Err(panic) = result {
            eprintln!("the schedule with ROOMCAST_SIM_SEED={seed} failed");
            std::panic::resume_unwind(panic);
        }
    }
}
