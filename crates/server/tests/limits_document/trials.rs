//! One trial for each row of the document.

use std::net::TcpStream;
use std::time::Duration;

use roomcast_protocol::Format;
use roomcast_server::auth::{NewToken, Signer};
use roomcast_websocket::Opcode;

use crate::common::{address, eventually, metric};
use crate::wire::{Heard, Wire, masked};
use crate::{SECRET, Trial, Tried};

/// The close code, as the document says it.
fn closed(wire: &mut Wire) -> &'static str {
    let (code, _) = wire.expect_close();
    match code {
        1009 => "closed with 1009",
        4001 => "closed with 4001",
        4002 => "closed with 4002",
        4003 => "closed with 4003",
        4004 => "closed with 4004",
        4008 => "closed with 4008",
        4500 => "closed with 4500",
        4502 => "closed with 4502",
        other => panic!("{other}"),
    }
}

/// The code of the next error, as the document says it.
fn error(wire: &mut Wire) -> &'static str {
    let error = wire.error();
    let code = error["payload"]["code"].as_str().unwrap();
    Box::leak(format!("`{code}`").into_boxed_str())
}

fn status((status, _stream): (String, TcpStream)) -> &'static str {
    Box::leak(status.into_boxed_str())
}

/// Begins an event stream, and returns the header that names it.
fn stream(tried: &Tried<'_>) -> (String, TcpStream) {
    let (status, mut stream) = tried.ask(&format!("GET /sse HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(status, "200");
    let mut told = String::new();
    while !told.contains("max_body") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
        told.push(char::from(byte[0]));
    }
    let id = told.split("\"id\":\"").nth(1).and_then(|id| id.get(..54));
    (format!("Roomcast-Stream: {}\r\n", id.unwrap()), stream)
}

const PING: &str = r#"{"type":"ping"}"#;
const HOST: &str = "Host: localhost\r\n";

fn pings(wire: &mut Wire, count: usize) {
    wire.raw(&masked(Opcode::Text, PING.as_bytes()).repeat(count));
}

/// A reader's buffers are small, so that it stalls soon.
const SLOW: [&str; 3] = [
    "socket.send_buffer=8KiB",
    "limits.max_message=4KiB",
    "heartbeat.write_timeout=0",
];

pub(crate) const TRIALS: &[Trial] = &[
    // === a stranger ===
    Trial {
        what: "connections in all",
        set: &["limits.connections=1"],
        run: |tried| {
            let _first = tried.open();
            status(tried.handshake(HOST))
        },
    },
    Trial {
        what: "connections of one address",
        set: &[
            "limits.connections_per_address=1",
            "server.trusted_proxies=127.0.0.1",
            "auth.anonymous=true",
        ],
        run: |tried| {
            let from = format!("{HOST}X-Forwarded-For: 192.0.2.7\r\n");
            let (first, _kept) = tried.handshake(&from);
            assert_eq!(first, "101");
            status(tried.handshake(&from))
        },
    },
    Trial {
        what: "memory in use",
        set: &["limits.memory=16MiB"],
        run: |tried| {
            let _ballast = vec![1_u8; 32 * 1024 * 1024];
            let (status, _) = tried.handshake(HOST);
            assert_eq!(status, "503");
            "new connections get a 503"
        },
    },
    Trial {
        what: "time until a request has arrived whole",
        set: &["http.handshake_timeout=100ms"],
        run: |tried| status(tried.ask("GET /ws HTTP/1.1\r\nHost: loc")),
    },
    Trial {
        what: "bytes of a request's line and headers",
        set: &["http.max_header_size=8KiB"],
        run: |tried| {
            let long = "x".repeat(9_000);
            status(tried.ask(&format!("GET / HTTP/1.1\r\n{HOST}X: {long}\r\n\r\n")))
        },
    },
    Trial {
        what: "header lines of a request",
        set: &["http.max_headers=16"],
        run: |tried| {
            let many = "X: y\r\n".repeat(20);
            status(tried.ask(&format!("GET / HTTP/1.1\r\n{HOST}{many}\r\n")))
        },
    },
    Trial {
        what: "bytes of a request's body",
        set: &[],
        run: |tried| status(tried.handshake(&format!("{HOST}Content-Length: 1\r\n"))),
    },
    Trial {
        what: "host names that a loopback address answers to",
        set: &["server.hosts=game.example"],
        run: |tried| {
            assert_eq!(status(tried.handshake("Host: game.example\r\n")), "101");
            status(tried.handshake("Host: evil.example\r\n"))
        },
    },
    Trial {
        what: "origins of pages that connect",
        set: &["server.origins=https://game.example"],
        run: |tried| {
            let page = |origin: &str| tried.handshake(&format!("{HOST}Origin: {origin}\r\n"));
            assert_eq!(status(page("https://game.example")), "101");
            status(page("https://evil.example"))
        },
    },
    Trial {
        what: "time to show a token, where one is needed",
        set: &["auth.token_timeout=100ms", SECRET, "auth.anonymous=false"],
        run: |tried| closed(&mut tried.open()),
    },
    // === a client ===
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
    Trial {
        what: "time in no room in which the client sends no message",
        set: &["pool.max_idle=100ms"],
        run: |tried| closed(&mut tried.open()),
    },
    Trial {
        what: "age of a connection in no room",
        set: &["pool.max_lifetime=100ms"],
        run: |tried| closed(&mut tried.open()),
    },
    Trial {
        what: "time in which no byte comes from the client",
        set: &[
            "heartbeat.pong_timeout=200ms",
            "heartbeat.ping_interval=50ms",
        ],
        run: |tried| {
            let mut wire = tried.open();
            wire.join("arena");
            while wire.next() != Heard::Ping {}
            closed(&mut wire)
        },
    },
    Trial {
        what: "time for which a session lives without a connection",
        set: &["session.grace=100ms"],
        run: |tried| {
            tried.parked();
            "the session ends"
        },
    },
    Trial {
        what: "sessions without a connection, on each shard",
        set: &["session.max_parked=1"],
        run: |tried| {
            tried.parked();
            tried.parked();
            "sessions end with their connections"
        },
    },
    Trial {
        what: "sessions without a connection, of one address, on each shard",
        set: &[
            "session.max_parked_per_address=1",
            "server.trusted_proxies=127.0.0.1",
            "auth.anonymous=true",
        ],
        run: |tried| {
            for _ in 0..2 {
                let stream = TcpStream::connect(address(tried.server)).unwrap();
                let from = [("X-Forwarded-For", "192.0.2.7")];
                let mut wire = Wire::with_headers(stream, Format::Json, &from);
                wire.send(r#"{"type":"hello"}"#);
                wire.expect("welcome");
            }
            "sessions end with their connections"
        },
    },
    Trial {
        what: "sessions of a user",
        set: &["limits.sessions_per_user=1", SECRET],
        run: |tried| {
            let token = NewToken {
                user: "u7".to_owned(),
                ttl: Duration::from_secs(60),
                ..NewToken::default()
            };
            let (_, secret) = SECRET.split_once('=').unwrap();
            let token = Signer::from_secret(secret.as_bytes()).unwrap().sign(&token);
            let token = token.unwrap();
            let hello = format!(r#"{{"type":"hello","payload":{{"token":"{token}"}}}}"#);
            let (mut one, mut two) = (tried.open(), tried.open());
            one.send(&hello);
            one.expect("welcome");
            two.send(&hello);
            error(&mut two)
        },
    },
    Trial {
        what: "direct messages that wait for a session",
        set: &[],
        run: |tried| {
            let mut wire = tried.open();
            wire.send(r#"{"type":"hello"}"#);
            let welcome = wire.expect("welcome")["payload"].clone();
            drop(wire);
            let mut sender = tried.open();
            for said in 0..70 {
                let to = &welcome["client_id"];
                sender.send(&format!(
                    r#"{{"type":"chat","to_client_id":{to},"payload":{said}}}"#
                ));
                sender.send(PING);
                sender.expect("pong");
            }
            let mut again = tried.open();
            let token = &welcome["resume_token"];
            again.send(&format!(
                r#"{{"type":"hello","payload":{{"resume_token":{token}}}}}"#
            ));
            let welcome = again.expect("welcome")["payload"].clone();
            assert_eq!(welcome["resumed"], true);
            assert_eq!(welcome["inbox_recovered"], false);
            assert_eq!(again.expect("chat")["payload"], 6);
            "the oldest are dropped, and `welcome` says so"
        },
    },
    Trial {
        what: "memory of all inboxes",
        set: &["session.inbox_memory=1MiB"],
        run: |tried| {
            let mut sender = tried.open();
            let text = "x".repeat(50_000);
            for _ in 0..40 {
                let to = tried.parked();
                let chat = format!(r#"{{"type":"chat","to_client_id":"{to}","payload":"{text}"}}"#);
                sender.send(&chat);
                sender.send(PING);
                sender.expect("pong");
            }
            "inboxes are emptied, first those that got no message for longest"
        },
    },
    Trial {
        what: "memory that a shard keeps for its next messages",
        set: &[SLOW[0], SLOW[1], SLOW[2]],
        run: |tried| {
            // Far more waits for these than may be kept.
            let stalled: Vec<_> = (0..12).map(|n| tried.full(&format!("r{n}"))).collect();
            drop(stalled);
            eventually("they are gone", || tried.server.connections() == 0);
            let kept = metric(tried.server, tried.counter);
            assert!(kept > 512 * 1024 && kept < 4 * 1024 * 1024, "{kept}");
            "the rest is freed at once"
        },
    },
    // === an event stream ===
    Trial {
        what: "bytes that are posted at once",
        set: &["limits.max_message=100KiB"],
        run: |tried| {
            let (id, _kept) = stream(tried);
            let body = " ".repeat(100 * 1024 + 1);
            let length = body.len();
            status(tried.ask(&format!(
                "POST /send HTTP/1.1\r\n{HOST}{id}Roomcast-Batch: 1\r\nContent-Length: {length}\r\n\r\n{body}"
            )))
        },
    },
    Trial {
        what: "requests whose body is read for one stream",
        set: &[],
        run: |tried| {
            let (id, _kept) = stream(tried);
            let begun = || {
                let mut io = TcpStream::connect(address(tried.server)).unwrap();
                let head = format!(
                    "POST /send HTTP/1.1\r\n{HOST}{id}Roomcast-Batch: 1\r\nContent-Length: 9\r\n\r\n"
                );
                std::io::Write::write_all(&mut io, head.as_bytes()).unwrap();
                io
            };
            let _begun = [begun(), begun()];
            let mut last = String::new();
            eventually("a third is one too many", || {
                let ask = format!("POST /send HTTP/1.1\r\n{HOST}{id}Roomcast-Batch: 1\r\n\r\n");
                last = status(tried.ask(&ask)).to_owned();
                last == "503"
            });
            "503"
        },
    },
    // === a slow reader ===
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
