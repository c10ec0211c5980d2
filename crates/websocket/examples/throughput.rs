//! How fast frames are read and written, on one core: `cargo run --release --example throughput`

use std::hint::black_box;
use std::time::{Duration, Instant};

use roomcast_websocket::frame::write_frame;
use roomcast_websocket::{
    Deflate, Deflater, Opcode, Receiver, ReceiverConfig, Role, Scratch, apply_mask,
};

fn main() {
    let mut block = vec![7; 64 * 1024];
    let time = measure(|| apply_mask(black_box(&mut block), [1, 2, 3, 4], 1));
    println!(
        "unmask 64 KiB: {:.1} GB/s",
        block.len() as f64 / time.as_nanos() as f64
    );

    for size in [32, 128, 1024, 16 * 1024] {
        receive("whole", size, usize::MAX, None);
    }
    receive("in fragments of 100", 1024, 100, None);
    for size in [128, 1024, 16 * 1024] {
        receive("compressed", size, usize::MAX, Some(6));
    }
    for (level, size) in [
        (1, 1024),
        (3, 1024),
        (6, 1024),
        (1, 16 * 1024),
        (6, 16 * 1024),
    ] {
        let mut deflater = Deflater::new(level, 15, false);
        let message = json(size);
        let mut out = Vec::new();
        let time = measure(|| {
            out.clear();
            deflater.compress(message.as_bytes(), &mut out);
        });
        println!(
            "compress {size} bytes, level {level}: {time:?} to {} bytes",
            out.len()
        );
    }
}

/// Reads a buffer of 64 KiB full of messages, as a server does after each `read`.
fn receive(name: &str, size: usize, fragment: usize, level: Option<u8>) {
    let message = json(size);
    let mut deflater = level.map(|level| Deflater::new(level, 15, false));
    let mut payload = message.clone().into_bytes();
    if let Some(deflater) = &mut deflater {
        payload.clear();
        deflater.compress(message.as_bytes(), &mut payload);
    }
    let mut wire = Vec::new();
    let mut messages = 0;
    while wire.len() < 60 * 1024 {
        let mut start = 0;
        while start < payload.len() {
            let end = start.saturating_add(fragment).min(payload.len());
            let opcode = if start == 0 {
                Opcode::Text
            } else {
                Opcode::Continuation
            };
            let rsv1 = start == 0 && level.is_some();
            let mask = Some([1, 2, 3, 4]);
            write_frame(
                &mut wire,
                opcode,
                end == payload.len(),
                rsv1,
                &payload[start..end],
                mask,
            );
            start = end;
        }
        messages += 1;
    }
    let deflate = level.map(|_| Deflate {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    });
    let config = ReceiverConfig {
        deflate,
        ..ReceiverConfig::default()
    };
    let mut receiver = Receiver::new(Role::Server, &config);
    let mut scratch = Scratch::new();
    let mut buffer = wire.clone();
    let copy = measure(|| black_box(&mut buffer).copy_from_slice(black_box(&wire)));
    let time = measure(|| {
        buffer.copy_from_slice(&wire);
        let mut input = &mut buffer[..];
        while let Ok(Some(event)) = receiver.receive(&mut input, &mut scratch) {
            black_box(event);
        }
    });
    let time = time.saturating_sub(copy) / messages;
    let rate = size as f64 / time.as_nanos() as f64;
    println!("receive {size} bytes of text, {name}: {time:?} a message, {rate:.1} GB/s");
}

fn json(size: usize) -> String {
    let mut text = String::new();
    for n in 0.. {
        text.push_str(&format!(
            "{{\"type\":\"chat\",\"seq\":{n},\"text\":\"message {}\"}}",
            n * 7919
        ));
        if text.len() >= size {
            text.truncate(size);
            break;
        }
    }
    text
}

/// The time of one call: the quickest of ten rounds of 20 ms.
fn measure(mut work: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_millis(20) {
            work();
            calls += 1;
        }
        best = best.min(start.elapsed() / calls);
    }
    best
}
