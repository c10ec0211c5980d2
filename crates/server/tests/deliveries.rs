//! What is counted of messages on their way: deliveries by message and receiver, closes by code.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
mod wire;

use common::{address, eventually, metric, start};
use roomcast_protocol::Format;
use roomcast_websocket::Opcode;
use wire::{Wire, close_frame, masked};

const MESSAGES: u64 = 100;

/// Many messages of one turn are one piece of memory to each receiver, and are counted one by one all the same.
#[test]
fn a_delivery_is_a_message_and_a_receiver() {
    for shards in [1, 2] {
        let server = start(|config| {
            config.server.shards = Some(shards);
            config.core.messages_per_second = 0;
        });
        let deliveries = || metric(&server, "roomcast_deliveries_total");
        let mut wires: Vec<Wire> = (0..6)
            .map(|nth| {
                let format = [Format::Json, Format::Protobuf][nth % 2];
                let mut wire = Wire::open(address(&server), format);
                wire.join("relay:1");
                wire
            })
            .collect();
        // The last `player_joined` has reached everybody when this comes after it.
        wires[0].send(r#"{"type":"chat","payload":"begin"}"#);
        for wire in &mut wires {
            wire.until(|message| message["payload"] == "begin");
        }
        for (message, receivers) in [
            (r#"{"type":"chat","payload":"all"}"#, 6),
            (r#"{"type":"chat","payload":"others","no_echo":true}"#, 5),
            (
                r#"{"type":"event","name":"e","payload":1,"ephemeral":true}"#,
                6,
            ),
        ] {
            let before = deliveries();
            let frames = masked(Opcode::Text, message.as_bytes()).repeat(MESSAGES as usize);
            wires[0].raw(&frames);
            for wire in wires.iter_mut().skip(6 - receivers) {
                for _ in 0..MESSAGES {
                    wire.until(|heard| heard["type"] == "chat" || heard["type"] == "event");
                }
            }
            let expected = before + MESSAGES * receivers as u64;
            eventually("all are counted", || deliveries() >= expected);
            assert_eq!(deliveries(), expected, "{message} on {shards} shards");
        }
    }
}

#[test]
fn a_clients_own_close_is_counted_with_its_code_where_that_is_known() {
    let server = start(|_| {});
    for (code, label) in [
        (1000, "1000"),
        (1001, "1001"),
        (1008, "1008"),
        (1011, "1011"),
        (3000, "other"),
        (3999, "other"),
        (4321, "other"),
    ] {
        let name = format!("roomcast_closes_total{{code=\"{label}\"}}");
        let before = metric(&server, &name);
        let mut wire = Wire::open(address(&server), Format::Json);
        wire.raw(&close_frame(code, ""));
        assert_eq!(wire.expect_close().0, code);
        assert_eq!(metric(&server, &name), before + 1, "{code}");
    }
    assert_eq!(metric(&server, "roomcast_closes_total{code=\"0\"}"), 0);
}
