//! What is told of a message before it is complete: since when, and which of its fragments brought nothing.

mod common;

use common::{Got, Peer, masked};
use roomcast_websocket::Opcode;

#[test]
fn a_message_is_incomplete_since_its_first_byte_was_seen() {
    let mut frames = masked(Opcode::Text, false, b"one");
    frames.extend(masked(Opcode::Ping, true, b"between"));
    frames.extend(masked(Opcode::Continuation, true, b"two"));
    for cut in 1..frames.len() {
        let mut peer = Peer::server();
        assert_eq!(peer.incomplete_since(1), None, "nothing has come");
        peer.feed(&frames[..cut]);
        assert_eq!(peer.incomplete_since(2), Some(2), "{cut}");
        assert_eq!(peer.incomplete_since(3), Some(2), "{cut}");
        peer.feed(&frames[cut..]);
        assert_eq!(peer.incomplete_since(4), None, "{cut}");
        assert_eq!(peer.got.len(), 2, "{cut}");
    }
}

#[test]
fn each_message_has_a_time_of_its_own() {
    let message = masked(Opcode::Binary, true, b"some bytes");
    let mut peer = Peer::server();
    peer.feed(&message[..7]);
    for now in 10..20 {
        assert_eq!(peer.incomplete_since(now), Some(now));
        // The end of one and the beginning of the next in one piece.
        peer.feed(&[&message[7..], &message[..7]].concat());
    }
    peer.restart_incomplete(30);
    assert_eq!(peer.incomplete_since(31), Some(30));
    peer.feed(&message[7..]);
    peer.restart_incomplete(32);
    assert_eq!(peer.incomplete_since(33), None);
}

#[test]
fn fragments_without_payload_are_told_of() {
    let mut frames = masked(Opcode::Text, false, b"");
    for _ in 0..3 {
        frames.extend(masked(Opcode::Continuation, false, b""));
    }
    frames.extend(masked(Opcode::Continuation, false, b"x"));
    // The last one ends the message, and is not told of apart from it.
    frames.extend(masked(Opcode::Continuation, true, b""));
    for chunk in 1..frames.len() {
        let mut peer = Peer::server();
        peer.feed_chunks(&frames, chunk);
        assert_eq!(peer.empty_fragments, 4, "{chunk}");
        assert_eq!(peer.got, [Got::Text("x".into())], "{chunk}");
    }
}
