//! What is accepted, read past and refused, and what memory that takes.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{Got, Peer, masked, write_message};
use roomcast_websocket::frame::{Header, MAX_HEADER, write_frame};
use roomcast_websocket::{
    Deflate, Deflater, Event, Inflater, Opcode, ProtocolError, Receiver, ReceiverConfig, Role,
    Scratch,
};

/// Counts what a thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(allocations: usize, bytes: isize) {
    // At a thread's end the counters may be gone already.
    let _ = ALLOCATIONS.try_with(|all| all.set(all.get() + allocations));
    let live = LIVE
        .try_with(|live| live.replace(live.get() + bytes) + bytes)
        .unwrap_or(0);
    let _ = MOST.try_with(|most| most.set(most.get().max(live)));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocations of `work`, and the most bytes that it had allocated at once.
fn measure(work: impl FnOnce()) -> (usize, isize) {
    let (allocations, live) = (ALLOCATIONS.get(), LIVE.get());
    MOST.set(live);
    work();
    (ALLOCATIONS.get() - allocations, MOST.get() - live)
}

const NO_TAKEOVER: Deflate = Deflate {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

const TAKEOVER: Deflate = Deflate {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    ..NO_TAKEOVER
};

fn config(max_message: usize, max_skip: usize, deflate: Option<Deflate>) -> ReceiverConfig {
    ReceiverConfig {
        max_message,
        max_skip,
        deflate,
    }
}

/// Frames of a client, one for each piece.
fn fragments(pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let opcode = if index == 0 {
            Opcode::Binary
        } else {
            Opcode::Continuation
        };
        out.extend(masked(opcode, index + 1 == pieces.len(), piece));
    }
    out
}

fn compressed(message: &[u8], deflate: Deflate) -> Vec<u8> {
    let mut deflater = Deflater::new(9, 15, !deflate.client_no_context_takeover);
    let mut out = Vec::new();
    write_message(
        &mut out,
        Opcode::Binary,
        message,
        usize::MAX,
        Some(&mut deflater),
        Some([1; 4]),
    );
    out
}

#[test]
fn the_limits_are_exact() {
    for pieces in [
        vec![&[1u8; 100][..]],
        vec![&[1; 60], &[1; 40]],
        vec![&[1; 100], &[]],
    ] {
        for chunk in [1, 7, usize::MAX] {
            let bytes = fragments(&pieces);
            let run = |max_message, max_skip| {
                let mut peer = Peer::new(Role::Server, &config(max_message, max_skip, None));
                peer.feed_chunks(&bytes, chunk);
                if peer.error.is_none() {
                    peer.feed(&masked(Opcode::Text, true, b"next"));
                    assert_eq!(peer.got.pop(), Some(Got::Text("next".to_owned())));
                }
                (peer.got, peer.error)
            };
            assert_eq!(run(100, 1), (vec![Got::Binary(vec![1; 100])], None));
            assert_eq!(run(0, 1), (vec![Got::Binary(vec![1; 100])], None));
            assert_eq!(run(99, 100), (vec![Got::TooLarge(100)], None));
            assert_eq!(run(99, 0), (vec![Got::TooLarge(100)], None));
            assert_eq!(run(99, 99), (vec![], Some(ProtocolError::TooLarge)));
        }
    }
}

#[test]
fn a_text_that_is_read_past_is_checked_all_the_same() {
    let mut peer = Peer::new(Role::Server, &config(4, 100, None));
    peer.feed(&masked(Opcode::Text, true, "far too long é".as_bytes()));
    assert_eq!(
        (&peer.got[..], peer.error),
        (&[Got::TooLarge(15)][..], None)
    );
    peer.feed(&masked(Opcode::Text, true, b"far too long \xff"));
    assert_eq!(peer.error, Some(ProtocolError::InvalidUtf8));
}

#[test]
fn a_message_that_is_too_large_for_all_is_refused_by_its_header() {
    let mut header = [0; MAX_HEADER];
    let mask = Some([0; 4]);
    let len = Header {
        opcode: Opcode::Binary,
        fin: true,
        rsv1: false,
        mask,
        len: 1 << 30,
    }
    .encode(&mut header);
    let mut peer = Peer::server();
    peer.feed(&header[..len]);
    assert_eq!(peer.error, Some(ProtocolError::TooLarge));
}

#[test]
fn announced_lengths_take_no_memory() {
    // 16 MiB are announced and allowed, one byte comes.
    let mut bytes = Vec::new();
    let payload = vec![0; 16 << 20];
    write_frame(
        &mut bytes,
        Opcode::Binary,
        true,
        false,
        &payload,
        Some([1; 4]),
    );
    bytes.truncate(15);
    let mut scratch = Scratch::new();
    let mut receiver = Receiver::new(Role::Server, &config(16 << 20, 0, None));
    let (_, most) = measure(|| {
        let mut input = &mut bytes[..];
        assert_eq!(receiver.receive(&mut input, &mut scratch), Ok(None));
    });
    assert!(most < 1024, "{most} bytes");
}

#[test]
fn what_is_read_past_takes_no_memory() {
    for deflate in [None, Some(NO_TAKEOVER), Some(TAKEOVER)] {
        let mut scratch = Scratch::new();
        let mut receiver = Receiver::new(Role::Server, &config(1000, 1 << 20, deflate));
        let noise: Vec<u8> = (0..1_000_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let bytes = match deflate {
            Some(deflate) => compressed(&noise, deflate),
            None => fragments(&[&noise]),
        };
        let mut buffer = vec![0; 4096];
        let mut sizes = Vec::new();
        let (_, most) = measure(|| {
            for chunk in bytes.chunks(4096) {
                buffer[..chunk.len()].copy_from_slice(chunk);
                let mut input = &mut buffer[..chunk.len()];
                while let Some(event) = receiver.receive(&mut input, &mut scratch).unwrap() {
                    let Event::TooLarge { size } = event else {
                        panic!("{event:?}")
                    };
                    sizes.push(size);
                }
            }
        });
        assert_eq!(sizes.len(), 1);
        // The room into which a connection's own decompressor discards is 16 KiB.
        assert!(most < 20_000, "{most} bytes");
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let message = vec![0; 10 << 20];
    for deflate in [NO_TAKEOVER, TAKEOVER] {
        let bytes = compressed(&message, deflate);
        assert!(bytes.len() < 11_000);
        for chunk in [100, usize::MAX] {
            let mut peer = Peer::new(Role::Server, &config(65_536, 1 << 20, Some(deflate)));
            let (_, most) = measure(|| peer.feed_chunks(&bytes, chunk));
            assert!(most < 400_000, "{most} bytes");
            if deflate.client_no_context_takeover {
                // Nothing refers back to it, so the rest is never decompressed.
                assert_eq!(peer.got, [Got::TooLarge(bytes.len() as u64 - 8)]);
            } else {
                // To keep the context it has to be decompressed, which is bounded as reading past
                // is.
                assert_eq!(peer.error, Some(ProtocolError::TooLarge));
            }
        }
    }
}

#[test]
fn data_that_does_not_compress_has_its_full_limit() {
    let noise: Vec<u8> = (0..65_536u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for deflate in [NO_TAKEOVER, TAKEOVER] {
        let mut out = Vec::new();
        let mut deflater = Deflater::new(0, 15, true);
        let mask = Some([1; 4]);
        write_message(
            &mut out,
            Opcode::Binary,
            &noise,
            5000,
            Some(&mut deflater),
            mask,
        );
        let mut peer = Peer::new(Role::Server, &config(65_536, 65_536, Some(deflate)));
        peer.feed(&out);
        assert_eq!(
            (peer.got, peer.error),
            (vec![Got::Binary(noise.clone())], None)
        );
    }
}

#[test]
fn a_warm_receiver_does_not_allocate() {
    let mut deflater = Deflater::new(6, 15, false);
    let mut bytes = Vec::new();
    let text = "A message that is long enough to be worth it. ".repeat(20);
    for _ in 0..10 {
        bytes.extend(masked(Opcode::Text, true, text.as_bytes()));
        bytes.extend(masked(Opcode::Ping, true, b"ping"));
        let mask = Some([1, 2, 3, 4]);
        write_message(&mut bytes, Opcode::Text, text.as_bytes(), 100, None, mask);
        write_message(
            &mut bytes,
            Opcode::Text,
            text.as_bytes(),
            40,
            Some(&mut deflater),
            mask,
        );
    }
    let mut scratch = Scratch::new();
    let mut receiver = Receiver::new(Role::Server, &config(65_536, 0, Some(NO_TAKEOVER)));
    let mut buffer = vec![0; bytes.len()];
    let mut messages = 0;
    let mut run = |chunk: usize| {
        for chunk in bytes.chunks(chunk) {
            buffer[..chunk.len()].copy_from_slice(chunk);
            let mut input = &mut buffer[..chunk.len()];
            while let Some(event) = receiver.receive(&mut input, &mut scratch).unwrap() {
                assert!(matches!(event, Event::Ping(_)) || event == Event::Text(&text));
                messages += 1;
            }
        }
    };
    run(61);
    let (allocations, _) = measure(|| {
        run(1);
        run(61);
        run(1000);
        run(usize::MAX);
    });
    assert_eq!((allocations, messages), (0, 5 * 40));
    assert!(!receiver.is_mid_message());
    assert_eq!(scratch.free_buffers(), 1);
}

#[test]
fn buffers_come_back_and_large_ones_are_freed() {
    let mut scratch = Scratch::with_limits(2, 1000);
    let begin = |scratch: &mut Scratch| {
        let mut receiver = Receiver::new(Role::Server, &config(0, 0, None));
        let mut frame = masked(Opcode::Binary, false, &[1; 100]);
        let mut input = &mut frame[..];
        assert_eq!(receiver.receive(&mut input, scratch), Ok(None));
        assert!(receiver.is_mid_message());
        receiver
    };
    let receivers: Vec<_> = (0..3).map(|_| begin(&mut scratch)).collect();
    assert_eq!(scratch.free_buffers(), 0);
    for receiver in receivers {
        receiver.release(&mut scratch);
    }
    assert_eq!(scratch.free_buffers(), 2);

    let mut receiver = begin(&mut scratch);
    let mut frame = masked(Opcode::Continuation, true, &vec![1; 1 << 20]);
    let held = LIVE.get();
    let mut input = &mut frame[..];
    assert!(
        receiver
            .receive(&mut input, &mut scratch)
            .unwrap()
            .is_some()
    );
    assert!(LIVE.get() > held + (1 << 20) - 1000);
    assert_eq!(receiver.receive(&mut input, &mut scratch), Ok(None));
    assert!(LIVE.get() < held + 1000, "{} bytes", LIVE.get() - held);
}

#[test]
fn one_inflater_serves_many_after_a_fault_too() {
    let mut scratch = Scratch::new();
    let config = config(1000, 0, Some(NO_TAKEOVER));
    let mut run = |frame: &[u8]| {
        let mut receiver = Receiver::new(Role::Server, &config);
        let mut frame = frame.to_vec();
        let mut input = &mut frame[..];
        let event = receiver.receive(&mut input, &mut scratch);
        event.map(|event| event.map(Got::from))
    };
    let good = compressed(b"good good good good", NO_TAKEOVER);
    for bad in [&b"\xff\xff\xff"[..], b"\x62", b"", b"\x06\x00"] {
        let mut frame = Vec::new();
        write_frame(&mut frame, Opcode::Binary, true, true, bad, Some([3; 4]));
        assert_eq!(run(&frame), Err(ProtocolError::InvalidDeflate), "{bad:x?}");
        assert_eq!(
            run(&good),
            Ok(Some(Got::Binary(b"good good good good".to_vec())))
        );
    }
    let bomb = compressed(&vec![0; 100_000], NO_TAKEOVER);
    assert!(matches!(run(&bomb), Ok(Some(Got::TooLarge(_)))));
    assert_eq!(
        run(&good),
        Ok(Some(Got::Binary(b"good good good good".to_vec())))
    );
}

#[test]
fn the_examples_of_rfc_7692() {
    let cases: &[(&[u8], &str)] = &[
        // 7.2.3.1: one block, as a whole and in fragments.
        (b"\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello"),
        // 7.2.3.3: a stored block.
        (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"),
        // 7.2.3.4: a final block, with and without the octet behind it.
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"),
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00", "Hello"),
        // 7.2.3.5: two blocks.
        (
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            "Hello",
        ),
        // 7.2.3.6: nothing.
        (b"\x00", ""),
    ];
    for (payload, message) in cases {
        for takeover in [false, true] {
            let mut inflater = Inflater::new(15, takeover);
            for _ in 0..3 {
                let mut out = b"kept".to_vec();
                assert_eq!(inflater.decompress(payload, &mut out, 5), Ok(true));
                assert_eq!(out, [b"kept", message.as_bytes()].concat());
            }
        }
    }
    // 7.2.3.2: the window is kept from message to message, or not.
    let mut inflater = Inflater::new(15, true);
    let mut out = Vec::new();
    assert_eq!(
        inflater.decompress(b"\xf2\x48\xcd\xc9\xc9\x07\x00", &mut out, 0),
        Ok(true)
    );
    assert_eq!(
        inflater.decompress(b"\xf2\x00\x11\x00\x00", &mut out, 0),
        Ok(true)
    );
    assert_eq!(out, b"HelloHello");
    let mut inflater = Inflater::new(15, false);
    assert_eq!(
        inflater.decompress(b"\xf2\x48\xcd\xc9\xc9\x07\x00", &mut out, 0),
        Ok(true)
    );
    let refers_back = inflater.decompress(b"\xf2\x00\x11\x00\x00", &mut out, 0);
    assert_eq!(refers_back, Err(ProtocolError::InvalidDeflate));
}

#[test]
fn a_message_after_a_final_block_may_refer_back() {
    let mut deflater =
        flate2::Compress::new_with_window_bits(flate2::Compression::best(), false, 15);
    let text = b"Freude, schoener Goetterfunken, Tochter aus Elysium";
    let mut inflater = Inflater::new(15, true);
    for _ in 0..3 {
        let mut payload = Vec::with_capacity(1000);
        deflater.reset();
        deflater
            .compress_vec(text, &mut payload, flate2::FlushCompress::Finish)
            .unwrap();
        payload.push(0);
        let mut out = Vec::new();
        assert_eq!(inflater.decompress(&payload, &mut out, 0), Ok(true));
        assert_eq!(out, text);
    }
}

#[test]
fn empty_messages_compress_to_one_octet() {
    for takeover in [false, true] {
        let mut deflater = Deflater::new(6, 15, takeover);
        let mut out = Vec::new();
        for message in [&b""[..], b"", b"a", b"", b""] {
            let before = out.len();
            deflater.compress(message, &mut out);
            if message.is_empty() {
                assert_eq!(out[before..], [0]);
            }
        }
    }
}
