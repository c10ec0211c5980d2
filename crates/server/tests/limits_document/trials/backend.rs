//! What backends and those who run the server can do.

use std::net::TcpStream;

use serde_json::{Value, json};

use super::{HOST, status};
use crate::common::{eventually, metric};
use crate::wire::Heard;
use crate::{Trial, Tried};

const KEY: &str = "a-key-of-these-tests-which-is-long-enough";
/// Its key may do what these trials do.
const OPS: [&str; 3] = [
    "api_keys.ops.key=a-key-of-these-tests-which-is-long-enough",
    "api_keys.ops.rights=publish,tail",
    "api_keys.ops.rate=0",
];
/// Spans that wait, and those of the batch that is under way.
const SPANS: u64 = 8_192 + 512;

fn ask(tried: &Tried<'_>, request: &str, body: &str) -> (String, TcpStream) {
    let length = body.len();
    tried.ask(&format!(
        "{request} HTTP/1.1\r\n{HOST}Authorization: Bearer {KEY}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        what: "live tails of rooms",
        set: &OPS,
        run: |tried| {
            let tail = || ask(tried, "GET /api/v1/rooms/arena/tail", "");
            let tails: Vec<_> = (0..16).map(|_| tail()).collect();
            assert!(tails.iter().all(|(status, _)| status == "200"));
            status(tail())
        },
    },
    Trial {
        what: "spans that wait for the collector",
        set: &[
            OPS[0],
            OPS[1],
            OPS[2],
            "tracing.endpoint=http://{SILENT}",
            "tracing.sample=1",
        ],
        run: |tried| {
            let messages: Vec<_> = (0..100)
                .map(|n| json!({"room_id": format!("r{n}"), "type": "chat", "payload": n}))
                .collect();
            let body = json!({ "messages": messages }).to_string();
            // A span of each request, and one of each message.
            let (mut spans, most) = (0, SPANS + 2_000);
            while spans < most {
                assert_eq!(status(ask(tried, "POST /api/v1/messages", &body)), "200");
                spans += 101;
            }
            eventually("there is no room for more", || {
                metric(tried.server, tried.counter) >= spans - SPANS
            });
            "further ones are dropped"
        },
    },
    Trial {
        what: "memory of the second copy",
        set: &[
            "rooms.log_memory=1MiB",
            "session.inbox_memory=1MiB",
            "memory.snapshot_path={FOLDER}/rooms",
            "memory.snapshot_interval=0",
        ],
        run: |tried| {
            let text = "x".repeat(50_000);
            let mut sender = tried.open();
            // Now and then it makes room.
            for _ in 0..2_000 {
                let mut wire = tried.open();
                wire.send(r#"{"type":"hello"}"#);
                let welcome = match wire.next() {
                    Heard::Text(text) => serde_json::from_str::<Value>(&text).unwrap(),
                    Heard::Close(4000, _) => return "a new session is closed with 4000",
                    other => panic!("{other:?}"),
                };
                let to = &welcome["payload"]["client_id"];
                sender.send(&format!(
                    r#"{{"type":"chat","to_client_id":{to},"payload":"{text}"}}"#
                ));
                sender.send(r#"{"type":"ping"}"#);
                // It may have no room for that.
                sender.until(|it| it["type"] == "pong");
            }
            panic!("nothing is bounded");
        },
    },
];
