//! The reader of Redis's protocol over answers that were damaged: 2,000 of them, optimised 100,000. It neither panics nor
//! takes more memory than it was given, and reads the same however the bytes are cut.

use proptest::prelude::*;
use roomcast_engine::redis::{Malformed, Reader, Value};

const MOST: usize = 4096;

fn read(bytes: &[u8], pieces: usize) -> (Vec<Value>, Result<(), Malformed>) {
    let mut reader = Reader::new(MOST);
    let mut values = Vec::new();
    for piece in bytes.chunks(pieces) {
        reader.buffer().extend_from_slice(piece);
        loop {
            match reader.read() {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(problem) => return (values, Err(problem)),
            }
        }
    }
    (values, Ok(()))
}

fn size(value: &Value) -> usize {
    match value {
        Value::Nil | Value::Int(_) => 0,
        Value::Bytes(bytes) => bytes.len(),
        Value::Error(text) => text.len(),
        Value::Array(values) => values.iter().map(size).sum(),
    }
}

/// Answers as Redis gives them, and damage: a byte that is another, is gone, or is there twice.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::sample::select(vec![
        "*2\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*3000\r\n",
        "*9999999999\r\n",
        "$3\r\nabc\r\n",
        "$0\r\n\r\n",
        "$-1\r\n",
        "$99999999999999999999\r\n",
        "$4096\r\n",
        ":1\r\n",
        ":-9223372036854775808\r\n",
        "+OK\r\n",
        "-ERR no\r\n",
        "-\r\n",
        "+a\rb\r\n",
    ]);
    let damage = prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, any::<u8>()), 0..4);
    (prop::collection::vec(parts, 1..30), damage).prop_map(|(parts, damage)| {
        let mut bytes = parts.concat().into_bytes();
        for (place, kind, byte) in damage {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(debug_assertions) { 2_000 } else { 100_000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_answers_are_read_or_refused(bytes in damaged(), pieces in 1..20usize) {
        let (whole, ended) = read(&bytes, usize::MAX);
        let (cut, cut_ended) = read(&bytes, pieces);
        prop_assert_eq!(&whole, &cut);
        prop_assert_eq!(ended.is_err(), cut_ended.is_err());
        for value in &whole {
            prop_assert!(size(value) <= MOST);
        }
    }
}
