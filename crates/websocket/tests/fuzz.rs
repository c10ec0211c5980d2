//! Runs every fuzz target over its corpus and over fresh inputs made from it.
//!
//! `cargo test --release -p roomcast-websocket --test fuzz`: 100,000 fresh inputs a target.
//! `ROOMCAST_FUZZ_RUNS` sets another number, `ROOMCAST_FUZZ_SEED` repeats a run (the seed is in the
//! message of a failure).

// The helpers of tests may unwrap as the tests do.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../fuzz_targets/mod.rs"]
mod fuzz_targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

use fuzz_targets::{TARGETS, Target};
use roomcast_websocket::frame::{write_close, write_frame};
use roomcast_websocket::{CloseFrame, Deflater, Opcode};

#[test]
fn receiver_server() {
    fuzz("receiver_server");
}

#[test]
fn receiver_client_deflate() {
    fuzz("receiver_client_deflate");
}

#[test]
fn extensions() {
    fuzz("extensions");
}

#[test]
fn handshake_request() {
    fuzz("handshake_request");
}

#[test]
fn handshake_response() {
    fuzz("handshake_response");
}

fn fuzz(name: &str) {
    let Some((_, target)) = TARGETS.iter().find(|target| target.0 == name) else {
        panic!("no target {name}");
    };
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "the corpus of {name} is empty");
    for input in &corpus {
        run(name, *target, input, "of the corpus");
    }
    let default_runs = if cfg!(debug_assertions) {
        2_000
    } else {
        100_000
    };
    let runs = number("ROOMCAST_FUZZ_RUNS").unwrap_or(default_runs);
    let seed = number("ROOMCAST_FUZZ_SEED").unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |now| now.as_nanos() as u64)
    });
    println!(
        "{name}: {} inputs of the corpus, {runs} fresh ones, seed {seed}",
        corpus.len()
    );
    let mut random = Random(seed);
    for _ in 0..runs {
        let input = random.mutate(&corpus);
        run(name, *target, &input, &format!("ROOMCAST_FUZZ_SEED={seed}"));
    }
}

fn run(name: &str, target: Target, input: &[u8], origin: &str) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let hex: String = input.iter().map(|octet| format!("{octet:02x}")).collect();
        panic!("{name} failed on an input {origin}, in hex: {hex}");
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

fn corpus_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz_targets/corpus")
        .join(name)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(corpus_dir(name))
        .map(|entries| {
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect()
        })
        .unwrap_or_default();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn mutate(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        const TELLING: [u8; 14] = [
            0, 1, 2, 8, 9, 10, 125, 126, 127, 0x80, 0x81, 0xc1, 0xf4, 0xff,
        ];
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..1 + self.below(6) {
            let at = self.below(input.len() + 1);
            let len = (1 + self.below(16)).min(input.len() - at);
            match self.below(8) {
                0 if at < input.len() => input[at] ^= 1 << self.below(8),
                1 if at < input.len() => input[at] = self.next() as u8,
                2 if at < input.len() => input[at] = TELLING[self.below(TELLING.len())],
                3 => input.insert(at, TELLING[self.below(TELLING.len())]),
                4 => drop(input.drain(at..at + len)),
                5 => {
                    let piece = input[at..at + len].to_vec();
                    let to = self.below(input.len() + 1);
                    input.splice(to..to, piece);
                }
                6 => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
                _ if self.below(4) == 0 => input.truncate(at),
                // The options of the receivers' targets.
                _ if !input.is_empty() => {
                    let option = self.below(3.min(input.len()));
                    input[option] = self.next() as u8;
                }
                _ => {}
            }
        }
        input.truncate(8192);
        input
    }
}

/// Writes the corpus anew: `cargo test -p roomcast-websocket --test fuzz write_corpus --
/// --ignored`.
#[test]
#[ignore = "writes files"]
fn write_corpus() {
    for (role, mask) in [
        ("receiver_server", Some([1, 2, 3, 4])),
        ("receiver_client_deflate", None),
    ] {
        for (name, takeover, options) in [
            ("plain", false, 0),
            ("limited", false, 2),
            ("small", false, 5),
            ("no_takeover", false, 0x1a),
            ("takeover", true, 0xd3),
            ("takeover_limited", true, 0xd6),
            ("window_9", true, 0x14),
        ] {
            let bits = 9 + (options >> 5) % 7;
            let deflater = (options & 16 != 0).then(|| Deflater::new(6, bits, takeover));
            let mut input = vec![options, 7, 3];
            input.extend(conversation(deflater, mask));
            save(role, name, &input);
        }
        for (name, frame) in breaches() {
            let mut input = vec![0x10, 1, 1];
            input.extend(frame);
            if mask.is_some() {
                input[4] ^= 0x80;
            }
            save(role, name, &input);
        }
    }
    for (at, value) in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
        "permessage-deflate;server_no_context_takeover;client_no_context_takeover;client_max_window_bits=\"9\"",
        "x; a=1, permessage-deflate; server_max_window_bits=\"1\\5\" , permessage-deflate; client_max_window_bits=8",
    ]
    .iter()
    .enumerate()
    {
        save("extensions", &format!("offer_{at}"), value.as_bytes());
    }
    save("handshake_request", "browser", b"\0Host: example.com\nUpgrade: websocket\nConnection: keep-alive, Upgrade\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\nOrigin: http://example.com\n\
        Sec-WebSocket-Protocol: chat, superchat\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\n");
    let response = "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n\
        Sec-WebSocket-Protocol: b\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\n";
    save("handshake_response", "chosen", response.as_bytes());
}

fn save(target: &str, name: &str, input: &[u8]) {
    let dir = corpus_dir(target);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name), input).unwrap();
}

/// Messages of all kinds, in one frame and in several, with control frames between.
fn conversation(mut deflater: Option<Deflater>, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::new();
    let long = "Alle Menschen werden Brüder, wo dein sanfter Flügel weilt. ".repeat(9);
    for (opcode, message, pieces) in [
        (Opcode::Text, "Grüße 😀", 1),
        (Opcode::Binary, "", 1),
        (Opcode::Text, &long, 3),
        (Opcode::Text, &long, 1),
        (Opcode::Binary, "again and again and again and again", 2),
        (Opcode::Text, "", 2),
    ] {
        let mut payload = message.as_bytes().to_vec();
        if let Some(deflater) = &mut deflater {
            payload.clear();
            deflater.compress(message.as_bytes(), &mut payload);
        }
        let size = payload.len().div_ceil(pieces);
        for piece in 0..pieces {
            let first = piece == 0;
            let part = &payload
                [(piece * size).min(payload.len())..((piece + 1) * size).min(payload.len())];
            let opcode = if first { opcode } else { Opcode::Continuation };
            write_frame(
                &mut out,
                opcode,
                piece + 1 == pieces,
                first && deflater.is_some(),
                part,
                mask,
            );
            write_frame(&mut out, Opcode::Ping, true, false, b"?", mask);
        }
        write_frame(&mut out, Opcode::Pong, true, false, b"", mask);
    }
    write_close(
        &mut out,
        Some(CloseFrame {
            code: 1000,
            reason: "bye",
        }),
        mask,
    );
    out
}

fn breaches() -> Vec<(&'static str, &'static [u8])> {
    vec![
        ("rsv", b"\xb1\x00"),
        ("opcode", b"\x83\x00"),
        ("long_length", b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ("final_block", b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
        ("final_block_without_tail", b"\xc1\x07\xf3\x48\xcd\xc9\xc9\x07\x00"),
        ("stored_block", b"\xc1\x0b\x00\x05\x00\xfa\xffHello\x00"),
        ("close_code", b"\x88\x02\x03\xed"),
        ("bomb", b"\xc2\x16\xec\xc1\x01\x0d\x00\x00\x00\xc2\xa0\xf7\x4f\x6d\x0e\x37\xa0\x00\x00\x00\x00\x80\x77\x03"),
    ]
}
