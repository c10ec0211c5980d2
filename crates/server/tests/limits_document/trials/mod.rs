//! One trial for each row of the document.

mod backend;
mod client;
mod sessions;
mod slow_reader;
mod stranger;
mod stream;

use std::net::TcpStream;

use roomcast_websocket::Opcode;

use crate::Trial;
use crate::wire::{Wire, masked};

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Trial> {
    let parts = [
        stranger::TRIALS,
        client::TRIALS,
        sessions::TRIALS,
        stream::TRIALS,
        slow_reader::TRIALS,
        backend::TRIALS,
    ];
    parts.into_iter().flatten()
}

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
