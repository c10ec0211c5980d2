//! The families of cases of the Autobahn|Testsuite, without its network: 1 to 7, 10, 12 and 13. (9
//! is about large messages; the conformance script runs it against the example `echo`.)

mod common;

use common::{Got, Peer, masked, write_message};
use roomcast_websocket::frame::write_frame;
use roomcast_websocket::{
    Deflate, DeflateConfig, DeflateOffer, Deflater, Opcode, ProtocolError, ReceiverConfig, Role,
};

/// Feeds a server at once and octet by octet; what it gave and what it failed with have to be the
/// same.
fn run(frames: &[Vec<u8>]) -> (Vec<Got>, Option<ProtocolError>) {
    let bytes = frames.concat();
    let mut at_once = Peer::server();
    at_once.feed(&bytes);
    let mut octets = Peer::server();
    octets.feed_chunks(&bytes, 1);
    assert_eq!((&at_once.got, at_once.error), (&octets.got, octets.error));
    (at_once.got, at_once.error)
}

fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

const HELLO: &str = "Hello, world!";

#[test]
fn case_1_messages_of_every_length_form() {
    for len in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let config = ReceiverConfig {
            max_message: 65_536,
            ..Default::default()
        };
        for chunk in [1, 997, usize::MAX] {
            let mut peer = Peer::new(Role::Server, &config);
            let ascii = "*".repeat(len);
            let bytes = vec![0xfe; len];
            peer.feed_chunks(&masked(Opcode::Text, true, ascii.as_bytes()), chunk);
            peer.feed_chunks(&masked(Opcode::Binary, true, &bytes), chunk);
            assert_eq!(
                (peer.got, peer.error),
                (vec![Got::Text(ascii), Got::Binary(bytes)], None)
            );
        }
    }
}

#[test]
fn case_2_pings_and_pongs() {
    for payload in [
        &b""[..],
        b"Hello, world!",
        b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff",
        &[0xfe; 125],
    ] {
        assert_eq!(
            run(&[
                masked(Opcode::Ping, true, payload),
                masked(Opcode::Pong, true, payload)
            ]),
            (
                vec![Got::Ping(payload.to_vec()), Got::Pong(payload.to_vec())],
                None
            )
        );
    }
    // 2.5: one octet too many.
    assert_eq!(
        run(&[masked(Opcode::Ping, true, &[0xfe; 126])]),
        (vec![], Some(ProtocolError::OversizedControl))
    );
    // 2.10 and 2.11: ten of them, in order.
    let pings: Vec<_> = (0..10).map(|n| masked(Opcode::Ping, true, &[n])).collect();
    assert_eq!(
        run(&pings),
        ((0..10).map(|n| Got::Ping(vec![n])).collect(), None)
    );
}

#[test]
fn case_3_reserved_bits() {
    for rsv in 1..8 {
        for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Close] {
            let mut frame = masked(opcode, true, b"");
            frame[0] |= rsv << 4;
            let frames = [
                masked(Opcode::Text, true, HELLO.as_bytes()),
                frame,
                masked(Opcode::Ping, true, b""),
            ];
            assert_eq!(
                run(&frames),
                (vec![text(HELLO)], Some(ProtocolError::ReservedBits))
            );
        }
    }
}

#[test]
fn case_4_reserved_opcodes() {
    for opcode in (3..8).chain(11..16) {
        for payload in ["", "reserved opcode payload"] {
            let mut frame = masked(Opcode::Text, true, payload.as_bytes());
            frame[0] = 0x80 | opcode;
            let frames = [masked(Opcode::Text, true, HELLO.as_bytes()), frame];
            assert_eq!(
                run(&frames),
                (vec![text(HELLO)], Some(ProtocolError::ReservedOpcode))
            );
        }
    }
}

#[test]
fn case_5_fragmentation() {
    // 5.1, 5.2: a control frame in fragments.
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        assert_eq!(
            run(&[
                masked(opcode, false, b"a"),
                masked(Opcode::Continuation, true, b"b")
            ]),
            (vec![], Some(ProtocolError::FragmentedControl))
        );
    }
    // 5.3 to 5.8: a text in fragments, with and without a ping between.
    let first = masked(Opcode::Text, false, b"fragment1");
    let last = masked(Opcode::Continuation, true, b"fragment2");
    let ping = masked(Opcode::Ping, true, b"ping payload");
    assert_eq!(
        run(&[first.clone(), last.clone()]),
        (vec![text("fragment1fragment2")], None)
    );
    assert_eq!(
        run(&[first.clone(), ping, last.clone()]),
        (
            vec![
                Got::Ping(b"ping payload".to_vec()),
                text("fragment1fragment2")
            ],
            None
        )
    );
    // 5.9 to 5.14: nothing to continue, whatever FIN says, also behind a whole message.
    for fin in [true, false] {
        let stray = masked(Opcode::Continuation, fin, b"non-continuation payload");
        let unexpected = Some(ProtocolError::UnexpectedContinuation);
        assert_eq!(run(std::slice::from_ref(&stray)), (vec![], unexpected));
        let hello = masked(Opcode::Text, true, HELLO.as_bytes());
        assert_eq!(
            run(&[hello.clone(), stray.clone(), hello]),
            (vec![text(HELLO)], unexpected)
        );
        // 5.15: behind a whole message in fragments.
        assert_eq!(
            run(&[first.clone(), last.clone(), stray]),
            (vec![text("fragment1fragment2")], unexpected)
        );
    }
    // 5.18: a new message inside another.
    assert_eq!(
        run(&[first.clone(), masked(Opcode::Text, true, b"fragment2")]),
        (vec![], Some(ProtocolError::ExpectedContinuation))
    );
    // 5.19, 5.20: five fragments with pings between, each answered in its place.
    let frames = [
        first,
        masked(Opcode::Continuation, false, b"fragment2"),
        masked(Opcode::Ping, true, b"pongme 1!"),
        masked(Opcode::Continuation, false, b"fragment3"),
        masked(Opcode::Ping, true, b"pongme 2!"),
        masked(Opcode::Continuation, true, b"fragment4"),
    ];
    let expected = vec![
        Got::Ping(b"pongme 1!".to_vec()),
        Got::Ping(b"pongme 2!".to_vec()),
        text("fragment1fragment2fragment3fragment4"),
    ];
    assert_eq!(run(&frames), (expected, None));
}

#[test]
fn case_6_1_to_6_3_texts_in_fragments() {
    // 6.1: empty fragments.
    let empty = [
        masked(Opcode::Text, false, b""),
        masked(Opcode::Continuation, false, b""),
        masked(Opcode::Continuation, true, b""),
    ];
    assert_eq!(run(&empty), (vec![text("")], None));
    // 6.2: cut anywhere, inside of characters too.
    let message = "Hello-µ@ßöäüàá-UTF-8!!\u{10ffff}\u{0}";
    for cut in 0..=message.len() {
        let (first, last) = message.as_bytes().split_at(cut);
        let frames = [
            masked(Opcode::Text, false, first),
            masked(Opcode::Continuation, true, last),
        ];
        assert_eq!(run(&frames), (vec![text(message)], None));
    }
    // 6.3: surrogates.
    let invalid =
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64";
    assert_eq!(
        run(&[masked(Opcode::Text, true, invalid)]),
        (vec![], Some(ProtocolError::InvalidUtf8))
    );
}

#[test]
fn case_6_4_the_offending_octet_fails_at_once() {
    let valid = "κόσμε".as_bytes();
    let (offending, rest) = (b"\xf4\x90", b"\x80\x80edited");
    // In fragments (6.4.1, 6.4.2).
    let mut peer = Peer::server();
    peer.feed(&masked(Opcode::Text, false, valid));
    assert_eq!((&peer.got[..], peer.error), (&[][..], None));
    peer.feed(&masked(Opcode::Continuation, false, &offending[..1]));
    assert_eq!(peer.error, None);
    peer.feed(&masked(Opcode::Continuation, false, &offending[1..]));
    assert_eq!(peer.error, Some(ProtocolError::InvalidUtf8));
    // Within one frame (6.4.3, 6.4.4): the frame's end has not arrived.
    let frame = masked(Opcode::Text, true, &[valid, offending, rest].concat());
    let (before, after) = frame.split_at(6 + valid.len() + 1);
    for chunk in [1, 3, usize::MAX] {
        let mut peer = Peer::server();
        peer.feed_chunks(before, chunk);
        assert_eq!(peer.error, None);
        peer.feed(&after[..1]);
        assert_eq!(peer.error, Some(ProtocolError::InvalidUtf8));
    }
}

#[test]
fn case_6_5_to_6_23_texts_of_all_kinds() {
    let valid: &[&[u8]] = &[
        "κόσμε".as_bytes(),
        b"\x00",
        b"\xc2\x80",
        b"\xe0\xa0\x80",
        b"\xf0\x90\x80\x80",
        b"\x7f",
        b"\xdf\xbf",
        b"\xef\xbf\xbf",
        b"\xf4\x8f\xbf\xbf",
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\xef\xbf\xbd",
        b"\xef\xbf\xbe",
        b"\xef\xbb\xbf",
        b"\xf0\x9f\xbf\xbe",
    ];
    let invalid: &[&[u8]] = &[
        b"\xce",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80",
        b"\xc0 \xc1 ",
        b"\xe0 \xe1 ",
        b"\xf0 \xf1 ",
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfe",
        b"\xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
    ];
    for bytes in valid {
        let got = vec![text(std::str::from_utf8(bytes).unwrap())];
        assert_eq!(
            run(&[masked(Opcode::Text, true, bytes)]),
            (got, None),
            "{bytes:x?}"
        );
    }
    for bytes in invalid {
        let error = Some(ProtocolError::InvalidUtf8);
        assert_eq!(
            run(&[masked(Opcode::Text, true, bytes)]),
            (vec![], error),
            "{bytes:x?}"
        );
    }
}

fn close(payload: &[u8]) -> (Vec<Got>, Option<ProtocolError>) {
    // 7.1: whatever comes after a close frame is ignored, also a breach.
    run(&[
        masked(Opcode::Close, true, payload),
        masked(Opcode::Text, true, b"ignored"),
        masked(Opcode::Close, true, payload),
        vec![0xff; 9],
    ])
}

#[test]
fn case_7_close_frames() {
    // 7.1.5: within a message.
    let within = [
        masked(Opcode::Text, false, b"a"),
        masked(Opcode::Close, true, b""),
    ];
    assert_eq!(run(&within), (vec![Got::Close(None)], None));
    // 7.3: payloads of every length.
    assert_eq!(close(b""), (vec![Got::Close(None)], None));
    assert_eq!(close(b"a"), (vec![], Some(ProtocolError::ClosePayload)));
    for len in [0, 11, 123] {
        let reason = "*".repeat(len);
        let payload = [&1000u16.to_be_bytes()[..], reason.as_bytes()].concat();
        assert_eq!(
            close(&payload),
            (vec![Got::Close(Some((1000, reason)))], None)
        );
    }
    let too_long = [&1000u16.to_be_bytes()[..], &[b'*'; 124]].concat();
    assert_eq!(
        close(&too_long),
        (vec![], Some(ProtocolError::OversizedControl))
    );
    // 7.5: a reason that isn't UTF-8.
    assert_eq!(
        close(b"\x03\xe8\xed\xa0\x80"),
        (vec![], Some(ProtocolError::CloseReason))
    );
    // 7.7: codes that may be sent.
    for code in (1000..=1003)
        .chain(1007..=1014)
        .chain([3000, 3999, 4000, 4999])
    {
        let expected = vec![Got::Close(Some((code, String::new())))];
        assert_eq!(close(&code.to_be_bytes()), (expected, None));
    }
    // 7.9, 7.13: codes that may not.
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535u16,
    ] {
        assert_eq!(
            close(&code.to_be_bytes()),
            (vec![], Some(ProtocolError::CloseCode))
        );
    }
}

#[test]
fn case_10_a_message_in_fragments_of_1300() {
    let message = "*".repeat(65_536);
    let mut bytes = Vec::new();
    write_message(
        &mut bytes,
        Opcode::Text,
        message.as_bytes(),
        1300,
        None,
        Some([1, 2, 3, 4]),
    );
    let mut peer = Peer::server();
    peer.feed(&bytes);
    assert_eq!((peer.got, peer.error), (vec![Got::Text(message)], None));
}

/// Data that compresses as documents do: numbered lines.
fn document(len: usize) -> String {
    let mut text = String::new();
    for line in 0.. {
        text.push_str(&format!(
            "{{\"line\": {line}, \"hash\": \"{:x}\"}}\n",
            line * 2_654_435_761u64
        ));
        if text.len() >= len {
            text.truncate(len);
            return text;
        }
    }
    unreachable!()
}

fn echo_compressed(deflate: Deflate) {
    let config = ReceiverConfig {
        max_message: 131_072,
        max_skip: 0,
        deflate: Some(deflate),
    };
    let mut server = Peer::new(Role::Server, &config);
    let mut client = Peer::new(Role::Client, &config);
    let deflater = |role| {
        let outgoing = deflate.outgoing(role);
        Deflater::new(6, outgoing.window_bits, outgoing.context_takeover)
    };
    let (mut to_server, mut to_client) = (deflater(Role::Client), deflater(Role::Server));
    let document = document(131_072);
    for round in 0..5 {
        for (len, fragment) in [
            (16, 1 << 20),
            (1024, 1 << 20),
            (8192, 256),
            (65_536, 1024),
            (131_072, 32_768),
        ] {
            let start = (round * 997) % (document.len() - len + 1);
            let message = document[start..start + len].to_owned();
            let mut out = Vec::new();
            let mask = Some([5, 6, 7, 8]);
            let bytes = message.as_bytes();
            write_message(
                &mut out,
                Opcode::Text,
                bytes,
                fragment,
                Some(&mut to_server),
                mask,
            );
            server.feed_chunks(&out, 4096);
            assert_eq!(
                (server.got.pop(), server.error),
                (Some(Got::Text(message.clone())), None)
            );
            out.clear();
            write_message(
                &mut out,
                Opcode::Text,
                bytes,
                fragment,
                Some(&mut to_client),
                None,
            );
            client.feed_chunks(&out, 4096);
            assert_eq!(
                (client.got.pop(), client.error),
                (Some(Got::Text(message)), None)
            );
        }
    }
}

#[test]
fn case_12_the_default_offer() {
    let offer = DeflateOffer::default().header_value();
    let accepted = DeflateConfig::default()
        .negotiate([offer.as_bytes()])
        .unwrap()
        .unwrap();
    echo_compressed(accepted.deflate);
}

#[test]
fn case_13_offers_with_parameters() {
    for server_no_context_takeover in [false, true] {
        for server_max_window_bits in [None, Some(9), Some(15)] {
            let offer = DeflateOffer {
                server_no_context_takeover,
                server_max_window_bits,
                ..DeflateOffer::default()
            };
            let value = offer.header_value();
            let accepted = DeflateConfig::default()
                .negotiate([value.as_bytes()])
                .unwrap()
                .unwrap();
            let deflate = offer
                .verify([accepted.response.as_bytes()])
                .unwrap()
                .unwrap();
            assert_eq!(deflate, accepted.deflate);
            assert_eq!(
                deflate.server_no_context_takeover,
                server_no_context_takeover
            );
            assert_eq!(
                deflate.server_max_window_bits,
                server_max_window_bits.unwrap_or(15)
            );
            echo_compressed(deflate);
        }
    }
}

#[test]
fn masks_and_lengths() {
    let mut unmasked = Vec::new();
    write_frame(&mut unmasked, Opcode::Text, true, false, b"a", None);
    assert_eq!(run(&[unmasked]), (vec![], Some(ProtocolError::Unmasked)));
    let mut client = Peer::new(Role::Client, &ReceiverConfig::default());
    client.feed(&masked(Opcode::Text, true, b"a")[..2]);
    assert_eq!(client.error, Some(ProtocolError::Masked));

    for length in [
        &b"\x82\xfe\x00\x7d"[..],
        b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff",
    ] {
        assert_eq!(
            run(&[length.to_vec()]),
            (vec![], Some(ProtocolError::LengthNotMinimal))
        );
    }
    // The first octet of the length is enough.
    assert_eq!(
        run(&[b"\x82\xff\x80".to_vec()]),
        (vec![], Some(ProtocolError::LengthTopBit))
    );
    // The largest length there is passes any limit.
    let longest = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00".to_vec();
    assert_eq!(run(&[longest]), (vec![], Some(ProtocolError::TooLarge)));
}
