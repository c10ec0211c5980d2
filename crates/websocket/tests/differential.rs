//! The same bytes to this crate and to `tokio-websockets`, which is strict too: the same messages,
//! the same verdict.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Got, Peer};
use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use roomcast_websocket::frame::write_frame;
use roomcast_websocket::{Opcode, ProtocolError, ReceiverConfig, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_websockets::{ClientBuilder, CloseCode, Error, Limits, Message, ServerBuilder};

/// The largest message: what is announced beyond it is refused, so that neither waits for it.
const LIMIT: usize = 60_000;

/// The messages and the close code with which the connection was failed, if it was.
type Verdict = (Vec<Got>, Option<u16>);

fn got(message: &Message) -> Got {
    let payload = message.as_payload().to_vec();
    if let Some((code, reason)) = message.as_close() {
        // "No status" stands for a frame without a payload.
        let close =
            (code != CloseCode::NO_STATUS_RECEIVED).then(|| (u16::from(code), reason.to_owned()));
        Got::Close(close)
    } else if message.is_text() {
        Got::Text(String::from_utf8(payload).unwrap())
    } else if message.is_ping() {
        Got::Ping(payload)
    } else if message.is_pong() {
        Got::Pong(payload)
    } else {
        Got::Binary(payload)
    }
}

/// What tokio-websockets makes of a client's bytes. What it sends back is read with this crate.
async fn theirs(bytes: &[u8]) -> Verdict {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let mut server = ServerBuilder::new()
        .limits(Limits::default().max_payload_len(Some(LIMIT)))
        .serve(far);
    let (mut messages, mut failed) = (Vec::new(), false);
    while let Some(message) = server.next().await {
        match message {
            // They let a text in fragments end inside of a character when its last fragment is
            // empty.
            Ok(message)
                if message.is_text() && std::str::from_utf8(message.as_payload()).is_err() =>
            {
                return (messages, Some(1007));
            }
            Ok(message) => messages.push(got(&message)),
            Err(Error::Io(_)) => break,
            Err(_) => {
                failed = true;
                break;
            }
        }
    }
    let _ = server.close().await;
    drop(server);
    let mut sent = Vec::new();
    near.read_to_end(&mut sent).await.unwrap();
    let mut client = Peer::new(Role::Client, &ReceiverConfig::default());
    client.feed(&sent);
    assert_eq!(client.error, None, "{sent:x?}");
    let code = client.got.iter().find_map(|got| match got {
        Got::Close(Some((code, _))) => Some(*code),
        _ => None,
    });
    (messages, code.filter(|_| failed))
}

fn ours(bytes: &[u8], chunk: usize) -> (Vec<Got>, Option<ProtocolError>) {
    let config = ReceiverConfig {
        max_message: LIMIT,
        max_skip: LIMIT,
        deflate: None,
    };
    let mut server = Peer::new(Role::Server, &config);
    server.feed_chunks(bytes, chunk);
    (server.got, server.error)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any::<String>().prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..8),
        1 => proptest::collection::vec(any::<u8>(), 120..300),
        // Close payloads.
        2 => (prop_oneof![900u16..1200, 2900u16..3100, 4900u16..5100], any::<String>())
            .prop_map(|(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat()),
        1 => Just("κόσμε\u{10ffff}".as_bytes().to_vec()),
    ]
}

/// A frame, most of them right.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        4 => Just(Opcode::Text),
        4 => Just(Opcode::Continuation),
        2 => Just(Opcode::Binary),
        2 => Just(Opcode::Ping),
        1 => Just(Opcode::Pong),
        1 => Just(Opcode::Close),
    ];
    let odd = prop_oneof![40 => Just(0u8), 1 => any::<u8>()];
    (
        opcode,
        any::<bool>(),
        payload(),
        any::<[u8; 4]>(),
        odd,
        0usize..2,
    )
        .prop_map(|(opcode, fin, mut payload, mask, odd, octet)| {
            let fin = fin || opcode.is_control();
            if opcode.is_control() {
                payload.truncate(125);
            }
            let mut out = Vec::new();
            write_frame(&mut out, opcode, fin, false, &payload, Some(mask));
            out[octet] ^= odd;
            out
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_same_bytes_mean_the_same(
        frames in proptest::collection::vec(frame(), 0..10),
        cut in 0usize..200,
        chunk in prop_oneof![1usize..30, Just(usize::MAX)],
    ) {
        let mut bytes = frames.concat();
        bytes.truncate(bytes.len().saturating_sub(cut / 10));
        let (messages, error) = ours(&bytes, chunk);
        let code = error.map(ProtocolError::close_code);
        let mut verdict = wait(theirs(&bytes));
        if verdict.1.is_none() && code.is_some() {
            // They may wait for the end of a frame whose beginning is wrong.
            bytes.resize(bytes.len() + 70_000, 0);
            verdict = wait(theirs(&bytes));
        }
        if error == Some(ProtocolError::LengthTopBit) {
            // RFC 6455 section 5.2 forbids it; they take it for a large number.
            prop_assert_eq!(messages, verdict.0);
        } else {
            prop_assert_eq!((messages, code), verdict);
        }
    }

    #[test]
    fn what_they_send_arrives(
        messages in proptest::collection::vec((any::<String>(), any::<bool>()), 0..8),
        fragment in 4usize..100,
        chunk in prop_oneof![1usize..30, Just(usize::MAX)],
    ) {
        let (bytes, sent) = wait(async {
            let (mut near, far) = tokio::io::duplex(1 << 20);
            let config = tokio_websockets::Config::default().frame_size(fragment);
            let mut client = ClientBuilder::new().config(config).take_over(far);
            let mut sent = Vec::new();
            for (text, is_text) in messages {
                let message =
                    if is_text { Message::text(text) } else { Message::binary(text.into_bytes()) };
                sent.push(got(&message));
                client.send(message).await.unwrap();
            }
            drop(client);
            let mut bytes = Vec::new();
            near.read_to_end(&mut bytes).await.unwrap();
            (bytes, sent)
        });
        prop_assert_eq!(ours(&bytes, chunk), (sent, None));
    }
}
