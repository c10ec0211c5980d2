//! The fuzz targets of `fuzz/core` on stable Rust: over the vectors or what posts say, and over fresh mutations of it.
//!
//! `ROOMCAST_FUZZ_SEED` repeats a run, `ROOMCAST_FUZZ_INPUTS` says how many inputs each target gets (100,000; without
//! optimisation 5,000).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../../fuzz/core/targets.rs"]
mod targets;

use std::time::{SystemTime, UNIX_EPOCH};

use roomcast_core::post::Letter;
use roomcast_core::{NodeNumber, Now};

#[test]
fn any_letters_from_another_node() {
    let corpus = corpus("letters.txt");
    corpus.iter().for_each(|letter| targets::letters(letter));
    fuzz(|random| {
        let mut input = Vec::new();
        for _ in 0..=random.below(2) {
            let mut letter = corpus[random.below(corpus.len())].clone();
            for _ in 0..=random.below(8).saturating_sub(4) {
                letter = mutated(letter, &corpus, random);
            }
            input.extend(letter);
        }
        targets::letters(&input);
    });
}

#[test]
fn any_bytes_as_a_session() {
    let corpus = corpus("sessions.txt");
    corpus.iter().for_each(|session| targets::session(session));
    fuzz(|random| {
        let mut input = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(8).saturating_sub(4) {
            input = changed(input, &corpus, random);
        }
        targets::session(&input);
    });
}

#[test]
fn any_datagrams_from_another_node() {
    let corpus = conversations();
    fuzz(|random| {
        let mut datagrams = corpus[random.below(corpus.len())].clone();
        for _ in 0..random.below(4) {
            let at = random.below(datagrams.len());
            let all: Vec<_> = corpus.iter().flatten().cloned().collect();
            match random.below(5) {
                0 => drop(datagrams.remove(at)),
                1 => datagrams.insert(at, all[random.below(all.len())].clone()),
                _ => datagrams[at] = changed(datagrams[at].clone(), &all, random),
            }
            if datagrams.is_empty() {
                break;
            }
        }
        let mut input = Vec::new();
        for body in &datagrams {
            input.extend((body.len() as u16).to_be_bytes());
            input.extend(body);
        }
        targets::datagrams(&input);
    });
}

fn fuzz(mut input: impl FnMut(&mut Random)) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse().unwrap());
    let clock = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.unwrap().as_nanos() as u64
    };
    let seed = number("ROOMCAST_FUZZ_SEED").unwrap_or_else(clock);
    let default = if cfg!(debug_assertions) {
        5_000
    } else {
        100_000
    };
    let inputs = number("ROOMCAST_FUZZ_INPUTS").unwrap_or(default);
    println!("ROOMCAST_FUZZ_SEED={seed}");
    let mut random = Random(seed | 1);
    for _ in 0..inputs {
        input(&mut random);
    }
}

/// What node 2 says to node 1, without MACs: a link that opens, letters small and in parts, acks.
fn conversations() -> Vec<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for letters in [&[][..], &[3], &[0, 40, 700], &[90; 9]] {
        let mut posts = [targets::post_of(1), targets::post_of(2)];
        let mut said = Vec::new();
        for turn in 0..12 {
            let now = Now {
                micros: turn * 60_000,
                unix_ms: 0,
            };
            let letter = |shard, length| Letter {
                to_shard: shard,
                from_shard: 1,
                bytes: vec![7; length].into(),
            };
            if turn == 0 {
                let sent = posts[0].send(NodeNumber::met(1), letter(0, 1));
                assert_eq!(sent, Ok(()));
            }
            for length in letters.iter().filter(|_| turn == 6) {
                let sent = posts[1].send(NodeNumber::met(1), letter(2, *length));
                assert_eq!(sent, Ok(()));
            }
            for from in [0, 1] {
                while let Some((node, bytes)) = posts[from].poll_transmit(now) {
                    posts[from].taken(now, node);
                    posts[1 - from].handle(now, &bytes);
                    if from == 1 {
                        said.push(bytes[..bytes.len() - 16].to_vec());
                    }
                }
            }
        }
        assert!(said.len() > 1);
        all.push(said);
    }
    all
}

/// The vectors of a file.
fn corpus(file: &str) -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/");
    let text = std::fs::read_to_string(format!("{path}{file}")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let hex = lines.map(|line| line.split_once(' ').unwrap().1);
    let byte = |hex: &str, at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    hex.map(|hex| (0..hex.len()).step_by(2).map(|at| byte(hex, at)).collect())
        .collect()
}

/// A change of a letter's body alone, whose length is then right, or of any of its bytes.
fn mutated(letter: Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    // Bodies of 128 bytes and more have a second byte of length.
    let header = if letter.get(2).is_some_and(|length| *length > 127) {
        4
    } else {
        3
    };
    if letter.len() < header || random.below(8) == 0 {
        return changed(letter, corpus, random);
    }
    let body = changed(letter[header..].to_vec(), corpus, random);
    let mut letter = letter[..2].to_vec();
    let mut length = body.len();
    while length > 127 {
        letter.push(length as u8 | 0x80);
        length >>= 7;
    }
    letter.push(length as u8);
    letter.extend(body);
    letter
}

/// Numbers that decoders treat in ways of their own.
const PIECES: [&[u8]; 6] = [
    b"\0",
    b"\x80\0",
    b"\x7f",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
];

fn changed(mut bytes: Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(8)).min(bytes.len());
    match random.below(6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
        2 => drop(bytes.drain(at..end)),
        3 => bytes.truncate(at),
        4 => {
            let piece = PIECES[random.below(PIECES.len())];
            drop(bytes.splice(at..end, piece.iter().copied()));
        }
        _ => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            let until = (from + random.below(32)).min(other.len());
            drop(bytes.splice(at..end, other[from..until].iter().copied()));
        }
    }
    bytes
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
