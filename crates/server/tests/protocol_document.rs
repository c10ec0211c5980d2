//! `docs/protocol.md` is true: what it says a client sends is sent to a server, and what it says comes back does.
//!
//! That its JSON and its Protobuf are the same messages is checked in `roomcast-protocol`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
mod wire;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use common::{address, start};
use roomcast_protocol::Format;
use roomcast_server::{Kind, PresenceMode};
use serde_json::Value;
use wire::{Heard, Wire, close_frame, json_of};

const FORMATS: [Format; 2] = [Format::Json, Format::Protobuf];

/// The conversation of the document, from its first message to its last.
#[test]
fn the_conversation_goes_as_it_is_written() {
    let examples: Vec<Example> = examples();
    let conversation = || examples.iter().filter(|example| !example.further);
    assert!(conversation().count() > 25);
    for format in FORMATS {
        let server = start(|config| config.core.messages_per_second = 120);
        let mut wire = Wire::open(address(&server), format);
        let (mut names, mut frames) = (Names::default(), Frames::default());
        for example in conversation() {
            match (example.from_client, format) {
                (true, Format::Json) => wire.message(&example.text),
                (true, Format::Protobuf) => wire.message(&example.protobuf),
                (false, _) => {
                    let (heard, fields) = loop {
                        let next = next(&mut wire);
                        if frames.tells_something(&next.0) {
                            break next;
                        }
                    };
                    if format == Format::Json {
                        names.compare(&example.json, &heard, &example.text);
                    } else {
                        names.compare(&json_of(&example.protobuf), &heard, &example.text);
                        assert_eq!(fields, field_numbers(&example.protobuf), "{}", example.text);
                    }
                }
            }
        }
        wire.raw(&close_frame(1000, ""));
        assert_eq!(wire.next(), Heard::Close(1000, String::new()), "no more");
    }
}

/// The further messages, each where it belongs. `a` speaks the format, `b` the other one.
#[test]
fn the_further_messages_do_what_is_written() {
    for (format, other) in [FORMATS, [FORMATS[1], FORMATS[0]]].map(|[a, b]| (a, b)) {
        let examples = Further::new();
        let server = start(|config| {
            config.kinds.push(Kind {
                name: "crowd".into(),
                presence: PresenceMode::Count,
                ..Kind::default()
            });
        });

        // Without `hello`, the room in the payload.
        let mut a = Wire::open(address(&server), format);
        examples.send(&mut a, r#""payload":{"room_id":"room-123"}"#, &[]);
        let joined = a.until(|message| message["type"] == "joined");
        assert_eq!(joined["room_id"], "room-123");
        let a_id = joined["payload"]["player_id"].as_str().unwrap().to_owned();

        // Coming back to a server that keeps no sessions: a new one, and in the room as a newcomer.
        let mut b = Wire::open(address(&server), other);
        examples.send(&mut b, r#""resume_token":"r1""#, &[]);
        let welcome = b.until(|message| message["type"] == "welcome");
        assert_eq!(welcome["payload"]["resumed"], false);
        let b_id = welcome["payload"]["client_id"].as_str().unwrap().to_owned();
        examples.send(&mut b, r#""payload":{"since""#, &[]);
        let joined = b.until(|message| message["type"] == "joined");
        assert_eq!(joined["payload"]["recovered"], false);
        assert_eq!(joined["payload"]["player_num"], 2);

        let ids = [("c1", &*a_id), ("c2", &*b_id), ("u7", &*b_id)];
        examples.send(&mut a, r#""psst","payload_kind":"text"}"#, &ids);
        let direct = b.until(|message| message["type"] == "chat");
        examples.compare(
            r#""from_client_id":"c1","to_client_id":"c2""#,
            &ids,
            &direct,
        );
        examples.send(&mut a, r#""to_user_id":"u7""#, &ids);
        let invite = b.until(|message| message["type"] == "event");
        assert_eq!(
            (&invite["name"], &invite["payload"]["game"]),
            (&"invite".into(), &7.into())
        );
        assert_eq!(invite["from_client_id"], *a_id);

        examples.send(&mut a, r#""action":"attack""#, &ids);
        a.until(|message| {
            let players = message["payload"]["players"].as_array();
            let mut players = players.into_iter().flatten();
            players.any(|player| player["player_id"] == *b_id && player["health"] == 90)
        });
        examples.send(&mut a, r#""action":"attack""#, &ids);
        let refused = a.until(|message| message["type"] == "error");
        let wait = refused["payload"]["retry_after_ms"].as_u64().unwrap();
        assert!((1..=500).contains(&wait), "{wait}");
        examples.compare(r#""code":"on_cooldown""#, &ids, &refused);

        // Without an echo: what its sender hears next is what comes after it.
        examples.send(&mut a, r#""no_echo":true"#, &ids);
        let cursor = b.until(|message| message["type"] == "event");
        assert_eq!(
            (&cursor["name"], &cursor["ephemeral"]),
            (&"cursor".into(), &true.into())
        );
        assert_eq!(cursor["payload"], serde_json::json!({"x": 1.5, "y": 2}));
        assert_eq!(cursor.get("no_echo"), None);
        b.send(r#"{"type":"chat","room_id":"room-123","payload":"after"}"#);
        let after = a.until(|message| {
            assert_ne!(message["type"], "event", "its sender got {message}");
            message["type"] == "chat"
        });
        assert_eq!(after["payload"], "after");

        // Keys that the schema lacks are `params` for who speaks, or spoke, Protobuf.
        examples.send(&mut a, r#""spell":"frost""#, &ids);
        let cast = b.until(|message| message["type"] == "game_action");
        let params = serde_json::json!({"spell": "frost", "power": "[1,2]"});
        assert_eq!(cast["payload"]["params"], params);
        assert_eq!(cast["payload"]["target_id"], 2);

        // One who only vanished would stay for the grace of its session.
        b.raw(&close_frame(1000, ""));
        let (mut left, mut sync) = (None, None);
        while left.is_none() || sync.is_none() {
            let message = a.receive();
            match message["type"].as_str() {
                Some("player_left") => left = Some(message),
                Some("sync") if message["payload"]["left"] != Value::Array(vec![]) => {
                    sync = Some(message);
                }
                _ => {}
            }
        }
        examples.compare(r#""type":"player_left""#, &ids, &left.unwrap());
        examples.compare(r#""left":["c2"]"#, &ids, &sync.unwrap());

        examples.send(&mut a, r#""type":"members","room_id":"another-room""#, &[]);
        let refused = a.until(|message| message["type"] == "error");
        examples.compare(r#""request":"members""#, &[], &refused);

        a.send(r#"{"type":"join_room","room_id":"crowd:1"}"#);
        let count = a.until(|message| message["type"] == "presence");
        examples.compare(r#""total":257"#, &[("room-123", "crowd:1")], &count);

        let ending = std::thread::spawn(move || server.shutdown());
        let reconnect = a.until(|message| message["type"] == "reconnect");
        // Without a `url`, as the place is the same.
        let mut shown = examples.take(r#""type":"reconnect""#).json.clone();
        shown["payload"].as_object_mut().unwrap().remove("url");
        Names::default().compare(&shown, &reconnect, "reconnect");
        assert_eq!(a.expect_close().0, 4000);
        ending.join().unwrap().unwrap();

        assert_eq!(
            examples.unused(),
            [
                "ack", "hello", "welcome", "joined", "presence", "chat", "ack", "error", "ack",
                "history", "history", "auth", "auth"
            ],
            "tokens need a key, and sessions a history: crates/core/tests/sessions.rs plays these"
        );
    }
}

// === the document ===

struct Example {
    from_client: bool,
    /// Outside of the conversation.
    further: bool,
    text: String,
    json: Value,
    protobuf: Vec<u8>,
}

/// All examples, in their order.
fn examples() -> Vec<Example> {
    let document = std::fs::read_to_string(codec::root().join("docs/protocol.md")).unwrap();
    let mut examples: Vec<Example> = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(marker) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = block.concat();
        let words: Vec<&str> = marker.split(' ').collect();
        match words[..] {
            ["json", side, ref rest @ ..] => examples.push(Example {
                from_client: side == "client",
                further: rest == ["example"],
                json: serde_json::from_str(&text).unwrap(),
                text,
                protobuf: Vec::new(),
            }),
            ["protobuf"] => examples.last_mut().unwrap().protobuf = codec::unhex(&text),
            _ => {}
        }
    }
    examples
}

/// The examples outside of the conversation, found by a part of their text.
struct Further {
    examples: Vec<Example>,
    used: RefCell<BTreeSet<String>>,
}

impl Further {
    fn new() -> Further {
        let mut examples = examples();
        examples.retain(|example| example.further);
        Further {
            examples,
            used: RefCell::default(),
        }
    }

    fn take(&self, part: &str) -> &Example {
        let mut found = self
            .examples
            .iter()
            .filter(|example| example.text.contains(part));
        let example = found.next().unwrap_or_else(|| panic!("no {part}"));
        self.used.borrow_mut().insert(example.text.clone());
        example
    }

    /// Sends an example, with the ids of this run in the place of those that are written.
    fn send(&self, wire: &mut Wire, part: &str, ids: &[(&str, &str)]) {
        let example = self.take(part);
        assert!(example.from_client, "{part}");
        let mut text = example.text.clone();
        for (written, real) in ids {
            text = text.replace(&format!("\"{written}\""), &format!("\"{real}\""));
        }
        wire.send(&text);
    }

    fn compare(&self, part: &str, ids: &[(&str, &str)], heard: &Value) {
        let example = self.take(part);
        assert!(!example.from_client, "{part}");
        let ids = ids
            .iter()
            .map(|(written, real)| ((*written).to_owned(), (*real).to_owned()));
        Names(ids.collect()).compare(&example.json, heard, &example.text);
    }

    /// The types of those that were neither sent nor received.
    fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        let unused = self
            .examples
            .iter()
            .filter(|example| !used.contains(&example.text));
        unused
            .map(|example| example.json["type"].as_str().unwrap().to_owned())
            .collect()
    }
}

// === comparing ===

/// The `sync`s so far: a newcomer's state is told once more, to everybody, after the newcomer got all.
#[derive(Default)]
struct Frames {
    last: i64,
    players: Value,
}

impl Frames {
    /// Whether it is no `sync`, or one with something new. Their `frame_num` rises.
    fn tells_something(&mut self, message: &Value) -> bool {
        if message["type"] != "sync" {
            return true;
        }
        let payload = &message["payload"];
        let frame = payload["frame_num"].as_i64().unwrap();
        assert!(frame > self.last, "frame {frame} after {}", self.last);
        self.last = frame;
        let players = std::mem::replace(&mut self.players, payload["players"].clone());
        self.players != players
    }
}

/// What this run has in the place of the ids that are written: `c1`, `k3x9` and their like.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    /// Panics unless a message is the one that is written, but for what differs from run to run.
    fn compare(&mut self, written: &Value, heard: &Value, text: &str) {
        self.same(
            written,
            heard,
            "",
            &format!("\nshown: {text}\nheard: {heard}"),
        );
    }

    fn same(&mut self, written: &Value, heard: &Value, key: &str, whole: &str) {
        match (written, heard) {
            (Value::Object(written), Value::Object(heard)) => {
                let keys = |object: &serde_json::Map<String, Value>| -> BTreeSet<String> {
                    object.keys().cloned().collect()
                };
                assert_eq!(keys(written), keys(heard), "the keys of `{key}`{whole}");
                for (inner, value) in written {
                    match (key, value.as_f64(), heard[inner].as_f64()) {
                        // How fast depends on when.
                        ("velocity", Some(value), Some(heard)) => {
                            assert_eq!(value > 0.0, heard > 0.0, "`{key}`{whole}");
                        }
                        _ => self.same(value, &heard[inner], inner, whole),
                    }
                }
            }
            (Value::Array(written), Value::Array(heard)) => {
                assert_eq!(written.len(), heard.len(), "`{key}`{whole}");
                for (written, heard) in written.iter().zip(heard) {
                    self.same(written, heard, key, whole);
                }
            }
            (Value::String(written), Value::String(heard)) => match key {
                "client_id" | "resume_token" | "player_id" | "from_client_id" | "to_client_id"
                | "epoch" | "room_id" | "left" => {
                    let real = self.0.entry(written.clone());
                    let real = match key {
                        "room_id" => real.or_insert_with(|| written.clone()),
                        _ => real.or_insert_with(|| heard.clone()),
                    };
                    assert_eq!(real, heard, "`{key}`{whole}");
                }
                // A sentence for a developer.
                "message" => assert!(!heard.is_empty(), "`{key}`{whole}"),
                _ => assert_eq!(written, heard, "`{key}`{whole}"),
            },
            (Value::Number(written), Value::Number(heard)) => match key {
                "timestamp" | "server_time" => {
                    let heard = heard.as_i64().unwrap();
                    assert!(heard > 1_600_000_000_000, "`{key}`{whole}");
                }
                "delay_ms" | "retry_after_ms" | "frame_num" | "total" | "offset" => {
                    assert!(heard.is_u64(), "`{key}`{whole}");
                }
                _ => assert_eq!(written, heard, "`{key}`{whole}"),
            },
            (written, heard) => assert_eq!(written, heard, "`{key}`{whole}"),
        }
    }
}

/// The next message as JSON, and the numbers of its envelope's fields in Protobuf.
fn next(wire: &mut Wire) -> (Value, BTreeSet<u64>) {
    match wire.next() {
        Heard::Text(text) => (serde_json::from_str(&text).unwrap(), BTreeSet::new()),
        Heard::Binary(bytes) => (json_of(&bytes), field_numbers(&bytes)),
        other => panic!("{other:?}"),
    }
}

/// The numbers of a Protobuf message's fields, by the encoding's rules alone.
fn field_numbers(mut message: &[u8]) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        match tag & 7 {
            0 => _ = varint(&mut message),
            2 => {
                let length = varint(&mut message) as usize;
                message = &message[length..];
            }
            other => panic!("no envelope has a field of wire type {other}"),
        }
        numbers.insert(tag >> 3);
    }
    numbers
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    unreachable!()
}
