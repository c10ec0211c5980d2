//! What a slow reader can do.

use roomcast_protocol::Format;
use roomcast_websocket::Opcode;

use super::{SLOW, closed};
use crate::Trial;
use crate::common::address;
use crate::wire::{Wire, masked};

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        what: "bytes of events that wait for a client that sent a `hello`",
        set: &["queues.event_lane=8KiB", SLOW[0], SLOW[1], SLOW[2]],
        run: |tried| {
            let (mut stalled, mut talker) = tried.stalled(true);
            tried.talk(&mut talker, &[]);
            // It gets all of it, in its time.
            talker.send(r#"{"type":"chat","payload":"last"}"#);
            stalled.until(|message| message["payload"] == "last");
            "they are dropped, and the server reads them from the log when the client takes more"
        },
    },
    Trial {
        what: "bytes of events that wait for a client that sent none",
        set: &["queues.event_lane=8KiB", SLOW[0], SLOW[1], SLOW[2]],
        run: |tried| {
            let (mut stalled, mut talker) = tried.stalled(false);
            tried.talk(&mut talker, &[]);
            closed(&mut stalled)
        },
    },
    Trial {
        what: "states of a room that wait for a client",
        set: &[SLOW[0], SLOW[1], SLOW[2], "kinds.default.tick=1ms"],
        run: |tried| {
            let (_stalled, mut talker) = tried.stalled(true);
            let there = r#"{"type":"game_action","payload":{"action":"move","position":{"x":1,"y":0,"z":0}}}"#;
            let back = r#"{"type":"game_action","payload":{"action":"move","position":{"x":2,"y":0,"z":0}}}"#;
            tried.talk(&mut talker, &[there, back]);
            "a newer one replaces it"
        },
    },
    Trial {
        what: "bytes of a room's state in one message",
        set: &[],
        run: |tried| {
            let players: Vec<Wire> = (0..250)
                .map(|_| {
                    let mut wire = tried.open();
                    wire.join("arena");
                    wire
                })
                .collect();
            let mut newcomer = tried.open();
            newcomer.send(r#"{"type":"join_room","room_id":"arena"}"#);
            let (mut known, mut parts) = (0, 0);
            while known <= players.len() {
                let sync = newcomer.expect("sync");
                assert_eq!(sync["payload"]["full"], parts == 0, "{sync}");
                assert!(sync.to_string().len() < 20 * 1024, "{sync}");
                known += sync["payload"]["players"].as_array().unwrap().len();
                parts += 1;
            }
            assert!(parts > 1);
            "the rest follows in further ones"
        },
    },
    Trial {
        what: "ephemeral events that wait while the socket takes no byte",
        set: &SLOW,
        run: |tried| {
            let (_stalled, mut talker) = tried.stalled(true);
            let typing = r#"{"type":"event","name":"typing","payload":1,"ephemeral":true}"#;
            tried.talk(&mut talker, &[typing]);
            "they are dropped"
        },
    },
    Trial {
        what: "bytes of answers that wait",
        set: &["queues.control_lane=4KiB", SLOW[0], SLOW[2]],
        run: |tried| {
            let mut wire = Wire::narrow(address(tried.server), Format::Json);
            let ping = format!(r#"{{"type":"ping","payload":"{}"}}"#, "x".repeat(1_000));
            wire.raw(&masked(Opcode::Text, ping.as_bytes()).repeat(60));
            for _ in 0..60 {
                wire.expect("pong");
            }
            "the connection is not read for a while"
        },
    },
    Trial {
        what: "time in which the socket takes no byte",
        set: &[
            "heartbeat.write_timeout=100ms",
            SLOW[0],
            SLOW[1],
            "queues.event_lane=0",
        ],
        run: |tried| {
            let (_stalled, mut talker) = tried.stalled(true);
            tried.talk(&mut talker, &[]);
            "closed with 4005"
        },
    },
    Trial {
        what: "time for which a client lags",
        set: &[
            "queues.behind_timeout=100ms",
            SLOW[0],
            SLOW[1],
            SLOW[2],
            "queues.event_lane=8KiB",
        ],
        run: |tried| {
            let (_stalled, mut talker) = tried.stalled(true);
            tried.talk(&mut talker, &[]);
            "closed with 4001"
        },
    },
];
