//! What a client can do with connections and sessions.

use std::net::TcpStream;
use std::time::Duration;

use roomcast_protocol::Format;
use roomcast_server::auth::{NewToken, Signer};

use super::{PING, SLOW, closed, error};
use crate::common::{address, eventually, metric};
use crate::wire::{Heard, Wire};
use crate::{SECRET, Trial};

pub(super) const TRIALS: &[Trial] = &[
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
];
