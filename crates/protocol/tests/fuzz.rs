//! The fuzz targets of `fuzz/protocol` on stable Rust: over the vectors, and over fresh mutations of them.
//!
//! `ROOMCAST_FUZZ_SEED` repeats a run, `ROOMCAST_FUZZ_INPUTS` says how many inputs each target gets (100,000; without
//! optimisation 5,000).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "../../../fuzz/protocol/targets.rs"]
mod targets;

use std::time::{SystemTime, UNIX_EPOCH};

use common::{bytes, text, unhex, vectors};
use roomcast_protocol::Format;

#[test]
fn any_bytes_from_a_client() {
    for format in Format::ALL {
        let good = messages(&["client.json", "mapping.json"], format);
        fuzz(&good, |data| targets::client(format, data));
        let bad = messages(&["bad.json"], format);
        fuzz(&bad, |data| targets::client(format, data));
    }
}

#[test]
fn any_bytes_from_a_server() {
    for format in Format::ALL {
        let corpus = messages(&["server.json"], format);
        fuzz(&corpus, |data| targets::server(format, data));
    }
}

#[test]
fn any_bytes_as_an_action() {
    let json: [&[u8]; 4] = [
        br#"{"action":"move","position":{"x":1.5,"y":-2e3,"z":0},"target_id":3}"#,
        br#"{"params":{"a":"b","c":[1,{"d":null}]},"action":"cast","e":"\ud83c\udfae","f":true}"#,
        br#"{"action":"a","k":1,"k":"2","params":{"l":1}}"#,
        b"{}",
    ];
    fuzz(&json.map(<[u8]>::to_vec), |data| {
        targets::action(Format::Json, data)
    });
    let protobuf = [
        "0a046d6f76651212090000000000000840110000000000001040",
        "0a046361737418022207 0a016b12027676 220a0a05706f7765721201 39",
        "",
    ];
    fuzz(&protobuf.map(unhex), |data| {
        targets::action(Format::Protobuf, data)
    });
}

#[test]
fn any_bytes_as_a_stored_presence() {
    let texts: [&[u8]; 3] = [
        br#"{"a":1,"b":[1, 2],"c":{"d":null}}"#,
        b"",
        br#"{"q\"":"\u00e9"}"#,
    ];
    fuzz(&texts.map(<[u8]>::to_vec), targets::stored_presence);
}

fn messages(files: &[&str], format: Format) -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    for vector in files.iter().flat_map(|file| vectors(file)) {
        match (vector["format"].as_str(), format) {
            (None, _) => corpus.push(bytes(&vector, format)),
            (Some("json"), Format::Json) => corpus.push(text(&vector, "data").as_bytes().to_vec()),
            (Some("protobuf"), Format::Protobuf) => corpus.push(unhex(text(&vector, "data"))),
            _ => {}
        }
    }
    corpus
}

fn fuzz(corpus: &[Vec<u8>], target: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse().unwrap());
    let clock = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
    };
    let seed = number("ROOMCAST_FUZZ_SEED").unwrap_or_else(clock);
    let default = if cfg!(debug_assertions) {
        5_000
    } else {
        100_000
    };
    let inputs = number("ROOMCAST_FUZZ_INPUTS").unwrap_or(default);
    println!("ROOMCAST_FUZZ_SEED={seed}");
    corpus.iter().for_each(|input| target(input));
    let mut random = Random(seed | 1);
    for _ in 0..inputs {
        let mut input = corpus[random.below(corpus.len())].clone();
        // Mostly one change: after more, little is left that a decoder goes far into.
        for _ in 0..=random.below(8).saturating_sub(4) {
            mutate(&mut input, corpus, &mut random);
        }
        target(&input);
    }
}

/// Pieces that decoders treat in ways of their own.
const PIECES: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\\u0000",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"1e999",
    b"-0",
    b"0.5",
    b"9007199254740992",
    b"params",
    b"\xff",
    b"\x80\x80",
    b"\x0a",
    b"\x22",
    b"\x0b",
    b"\x0c",
    b" ",
];

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(16)).min(input.len());
    match random.below(8) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.below(256) as u8,
        2 => drop(input.drain(at..end)),
        3 => input.truncate(at),
        4 => {
            let piece = PIECES[random.below(PIECES.len())];
            drop(input.splice(at..at, piece.iter().copied()));
        }
        5 => {
            let piece = PIECES[random.below(PIECES.len())];
            drop(input.splice(at..end, piece.iter().copied()));
        }
        6 => {
            let copy = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            drop(input.splice(to..to, copy));
        }
        _ => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            let until = (from + random.below(32)).min(other.len());
            drop(input.splice(at..end, other[from..until].iter().copied()));
        }
    }
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
