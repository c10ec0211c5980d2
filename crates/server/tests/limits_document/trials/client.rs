//! What a client can do with messages and rooms.

use roomcast_websocket::Opcode;

use super::{closed, error, pings};
use crate::Trial;
use crate::wire::masked;

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        what: "bytes of a message",
        set: &["limits.max_message=256B"],
        run: |tried| {
            let mut wire = tried.open();
            wire.message("x".repeat(257));
            error(&mut wire)
        },
    },
    Trial {
        what: "bytes of a message that is refused and skipped",
        set: &[],
        run: |tried| {
            let mut wire = tried.open();
            wire.raw(b"\x81\xff\x00\x00\x00\x00\x00\x10\x00\x01\x00\x00\x00\x00");
            closed(&mut wire)
        },
    },
    Trial {
        what: "time from a message's first byte to its last",
        set: &["limits.message_timeout=100ms"],
        run: |tried| {
            let mut wire = tried.open();
            wire.raw(b"\x81");
            closed(&mut wire)
        },
    },
    Trial {
        what: "messages a second",
        set: &["limits.messages_per_second=1", "limits.burst=5"],
        run: |tried| {
            let mut wire = tried.open();
            pings(&mut wire, 6);
            error(&mut wire)
        },
    },
    Trial {
        what: "messages at once",
        set: &["limits.burst=2", "limits.messages_per_second=1"],
        run: |tried| {
            let mut wire = tried.open();
            pings(&mut wire, 3);
            error(&mut wire)
        },
    },
    Trial {
        what: "ping frames, pong frames and empty fragments",
        set: &["limits.burst=2", "limits.messages_per_second=1"],
        run: |tried| {
            let frames = [
                &b"\x89\x80\x00\x00\x00\x00"[..],
                b"\x8a\x80\x00\x00\x00\x00",
                b"\x01\x80\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00",
            ];
            let mut wire = tried.open();
            wire.raw(&frames.concat());
            error(&mut wire)
        },
    },
    Trial {
        what: "errors in ten seconds",
        set: &["limits.max_offences=1"],
        run: |tried| {
            let mut wire = tried.open();
            wire.raw(&masked(Opcode::Text, b"{").repeat(2));
            closed(&mut wire)
        },
    },
    Trial {
        what: "bytes of messages that no room has taken yet",
        set: &["queues.publish_window=1KiB", "limits.max_message=1KiB"],
        run: |tried| {
            let mut wire = tried.open();
            wire.join("arena");
            let chat = format!(r#"{{"type":"chat","payload":"{}"}}"#, "x".repeat(500));
            wire.raw(&masked(Opcode::Text, chat.as_bytes()).repeat(50));
            // All of it comes, in its time.
            for _ in 0..50 {
                wire.expect("chat");
            }
            "the connection is not read for a while"
        },
    },
    Trial {
        what: "rooms of a session",
        set: &["limits.max_rooms=1"],
        run: |tried| {
            let mut wire = tried.open();
            wire.join("arena");
            wire.send(r#"{"type":"join_room","room_id":"other"}"#);
            error(&mut wire)
        },
    },
    Trial {
        what: "bytes of a member's presence",
        set: &["message.max_presence=10B"],
        run: |tried| {
            let mut wire = tried.open();
            wire.join("arena");
            wire.send(r#"{"type":"presence","payload":{"presence":{"key":12345}}}"#);
            error(&mut wire)
        },
    },
    Trial {
        what: "players of a room",
        set: &["kinds.default.max_players=1"],
        run: |tried| {
            let (mut one, mut two) = (tried.open(), tried.open());
            one.join("arena");
            two.send(r#"{"type":"join_room","room_id":"arena"}"#);
            error(&mut two)
        },
    },
    Trial {
        what: "events in a room's log",
        set: &["kinds.default.log.events=3"],
        run: |tried| {
            let mut wire = tried.open();
            wire.join("arena");
            for said in 0..10 {
                wire.send(&format!(r#"{{"type":"chat","payload":{said}}}"#));
                wire.expect("chat");
            }
            wire.send(r#"{"type":"history","room_id":"arena","payload":{"limit":100}}"#);
            let history = wire.expect("history");
            let events = history["payload"]["events"].as_array().unwrap();
            assert_eq!(events.len(), 3, "{history}");
            assert_eq!(events[0]["payload"], 9, "{history}");
            "the oldest are dropped"
        },
    },
    Trial {
        what: "memory of all logs",
        set: &["rooms.log_memory=1MiB"],
        run: |tried| {
            let chat = |room: usize| {
                let text = "x".repeat(50_000);
                format!(r#"{{"type":"chat","room_id":"r{room}","payload":"{text}"}}"#)
            };
            let mut wire = tried.open();
            for room in 0..60 {
                wire.join(&format!("r{room}"));
                wire.send(&chat(room));
                wire.expect("chat");
                wire.send(&format!(r#"{{"type":"leave_room","room_id":"r{room}"}}"#));
                wire.expect("player_left");
            }
            "whole logs are dropped, those of empty rooms first"
        },
    },
    Trial {
        what: "rooms that are open",
        set: &["rooms.log_memory=1MiB", "limits.max_rooms=0"],
        run: |tried| {
            let mut wire = tried.open();
            for room in 0.. {
                let name = format!("r{room:0>100}");
                wire.send(&format!(r#"{{"type":"join_room","room_id":"{name}"}}"#));
                let answer = wire.until(|it| it["type"] == "joined" || it["type"] == "error");
                if answer["type"] == "error" {
                    assert!(room > 500, "{room}");
                    assert_eq!(answer["room_id"], name);
                    let refused = &answer["payload"];
                    assert_eq!(refused["code"], "unavailable");
                    assert!(refused["message"].as_str().unwrap().contains("log_memory"));
                    break;
                }
                assert!(room < 10_000, "nothing is bounded");
            }
            "no new room is opened: `unavailable`"
        },
    },
];
