//! Whatever is sent arrives, in both roles, compressed or not, in fragments and chunks of any size.

mod common;

use common::{Got, Peer, write_message};
use proptest::prelude::*;
use roomcast_websocket::frame::write_frame;
use roomcast_websocket::{Deflate, Deflater, Opcode, ReceiverConfig, Role};

#[derive(Clone, Debug)]
struct Sent {
    message: Got,
    fragment: usize,
    compress: bool,
    mask: [u8; 4],
}

fn messages() -> impl Strategy<Value = Vec<Sent>> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        // Repetitive data, past the windows of 9 to 12 bits.
        (proptest::collection::vec(any::<u8>(), 1..50), 1usize..200)
            .prop_map(|(piece, times)| piece.repeat(times)),
    ];
    let message = prop_oneof![
        4 => payload.prop_map(Got::Binary),
        2 => (any::<String>(), 1usize..50).prop_map(|(text, times)| Got::Text(text.repeat(times))),
        1 => proptest::collection::vec(any::<u8>(), 0..=125).prop_map(Got::Ping),
        1 => proptest::collection::vec(any::<u8>(), 0..=125).prop_map(Got::Pong),
    ];
    let sent = (message, 1usize..2000, any::<bool>(), any::<[u8; 4]>()).prop_map(
        |(message, fragment, compress, mask)| Sent {
            message,
            fragment,
            compress,
            mask,
        },
    );
    proptest::collection::vec(sent, 0..12)
}

fn deflate() -> impl Strategy<Value = Option<Deflate>> {
    proptest::option::of((any::<bool>(), any::<bool>(), 9u8..=15, 9u8..=15).prop_map(
        |(server, client, server_bits, client_bits)| Deflate {
            server_no_context_takeover: server,
            client_no_context_takeover: client,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        },
    ))
}

fn write(messages: &[Sent], sender: Role, deflate: Option<Deflate>, level: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut deflater = deflate.map(|deflate| {
        let outgoing = deflate.outgoing(sender);
        Deflater::new(level, outgoing.window_bits, outgoing.context_takeover)
    });
    for Sent {
        message,
        fragment,
        compress,
        mask,
    } in messages
    {
        let mask = (sender == Role::Client).then_some(*mask);
        let deflater = deflater.as_mut().filter(|_| *compress);
        match message {
            Got::Text(text) => {
                write_message(
                    &mut out,
                    Opcode::Text,
                    text.as_bytes(),
                    *fragment,
                    deflater,
                    mask,
                );
            }
            Got::Binary(bytes) => {
                write_message(&mut out, Opcode::Binary, bytes, *fragment, deflater, mask);
            }
            Got::Ping(payload) => write_frame(&mut out, Opcode::Ping, true, false, payload, mask),
            Got::Pong(payload) => write_frame(&mut out, Opcode::Pong, true, false, payload, mask),
            Got::EmptyFragment | Got::Close(_) | Got::TooLarge(_) => unreachable!(),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_sent_arrives(
        messages in messages(),
        deflate in deflate(),
        level in 0u8..=9,
        chunk in prop_oneof![1usize..20, 1usize..5000, Just(usize::MAX)],
        receiver in prop_oneof![Just(Role::Server), Just(Role::Client)],
    ) {
        let sender = if receiver == Role::Server { Role::Client } else { Role::Server };
        let bytes = write(&messages, sender, deflate, level);
        let config = ReceiverConfig { max_message: 0, max_skip: 0, deflate };
        let mut peer = Peer::new(receiver, &config);
        peer.feed_chunks(&bytes, chunk);
        prop_assert_eq!(peer.error, None);
        prop_assert!(!peer.is_mid_message());
        let sent: Vec<_> = messages.into_iter().map(|sent| sent.message).collect();
        prop_assert_eq!(peer.got, sent);
    }

    #[test]
    fn a_message_past_the_limit_is_reported_and_the_next_ones_arrive(
        messages in messages(),
        deflate in deflate(),
        chunk in prop_oneof![1usize..20, Just(usize::MAX)],
        limit in 1usize..500,
    ) {
        let bytes = write(&messages, Role::Client, deflate, 6);
        let config = ReceiverConfig { max_message: limit, max_skip: 0, deflate };
        let mut peer = Peer::new(Role::Server, &config);
        peer.feed_chunks(&bytes, chunk);
        prop_assert_eq!(peer.error, None);
        prop_assert_eq!(peer.got.len(), messages.len());
        for (got, sent) in peer.got.iter().zip(&messages) {
            let len = match &sent.message {
                Got::Text(text) => text.len(),
                Got::Binary(bytes) => bytes.len(),
                _ => 0,
            };
            if len > limit {
                prop_assert!(matches!(got, Got::TooLarge(_)), "{:?}", got);
            } else {
                prop_assert_eq!(got, &sent.message);
            }
        }
    }
}
