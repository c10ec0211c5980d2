//! What logs are counted with is what they take: held against an allocator that counts.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../core/tests/common/allocator.rs"]
mod allocator;

use std::fmt::Write;

use allocator::held;
use roomcast_core::engine::{Engine, LogId, Record, Retention};
use roomcast_core::{ClientId, Now};
use roomcast_engine::MemoryEngine;
use roomcast_protocol::ErrorCode;

fn at(ms: u64) -> Now {
    Now {
        micros: ms * 1_000,
        unix_ms: ms as i64,
    }
}

fn open(engine: &mut MemoryEngine, ms: u64, name: &str) -> LogId {
    let opened = engine.open(at(ms), name, Retention::default(), ms);
    opened.unwrap().log
}

fn submit(engine: &mut MemoryEngine, ms: u64, log: LogId, sender: Option<ClientId>, seq: u64) {
    let record = Record {
        payload: b"{}",
        seq,
        ..Record::default()
    };
    engine.submit(at(ms), log, sender, record);
}

fn client(number: u64) -> ClientId {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ClientId::from_random([mixed ^ mixed >> 29, mixed.rotate_left(32) ^ number])
}

/// Runs `each` so many times; what the engine counts is never less than what it took, and not much more.
fn is_counted(ceiling: usize, times: u64, mut each: impl FnMut(&mut MemoryEngine, u64)) {
    let before = held();
    let mut engine = MemoryEngine::new(ceiling);
    for n in 0..times {
        each(&mut engine, n);
        if n % 97 == 0 || n + 1 == times {
            let (takes, counted) = ((held() - before) as usize, engine.held());
            assert!(
                takes <= counted + 2_000,
                "{n}: {takes} and counts {counted}"
            );
            assert!(counted <= 3 * takes, "{n}: {takes} and counts {counted}");
            assert!(ceiling == 0 || counted <= ceiling, "{n}: {counted}");
        }
    }
}

#[test]
fn names_joined_written_to_and_left_stay_under_the_ceiling() {
    let mut name = String::with_capacity(100);
    is_counted(8 << 20, 250_000, |engine, n| {
        name.clear();
        write!(name, "room-{n:060}").unwrap();
        let log = open(engine, n / 10_000, &name);
        engine.enter(log, client(n), 1, false);
        submit(engine, n / 10_000, log, Some(client(n)), 1);
        engine.exit(log, client(n));
        engine.close(at(n / 10_000), log);
        if n == 249_999 {
            assert!(engine.usage().1 > 200_000);
        }
    });
}

#[test]
fn clients_that_come_and_go_in_an_open_room_are_counted() {
    let mut log = None;
    is_counted(1 << 20, 50_000, |engine, n| {
        let log = *log.get_or_insert_with(|| open(engine, 0, "room"));
        engine.enter(log, client(n), 1, false);
        for seq in 1..=4 {
            submit(engine, n, log, Some(client(n)), seq);
        }
        engine.refuse(log, client(n), 7, ErrorCode::TooLarge);
        if n % 3 > 0 {
            engine.exit(log, client(n));
        }
        if n % 1_000 == 999 {
            // They all go at last.
            (n - 999..=n).for_each(|n| engine.exit(log, client(n)));
        }
    });
}

#[test]
fn open_rooms_with_nothing_logged_are_counted() {
    is_counted(0, 100_000, |engine, n| {
        open(engine, 0, &format!("room-{n}"));
    });
}

#[test]
fn what_was_held_once_is_given_back() {
    let before = held();
    let mut engine = MemoryEngine::default();
    let mut logs: Vec<_> = (0..50_000)
        .map(|n| open(&mut engine, 0, &format!("room-{n}")))
        .collect();
    for log in &logs {
        submit(&mut engine, 0, *log, None, 0);
    }
    let most = held() - before;
    let last = logs.pop().unwrap();
    for log in logs {
        engine.close(at(1), log);
    }
    for _ in 0..1_000 {
        engine.poll(at(400_000));
    }
    assert_eq!(engine.len(), 1);
    let takes = held() - before;
    assert!(takes < most / 20, "{takes} of {most}");
    engine.close(at(400_000), last);
    assert_eq!((engine.len(), engine.held()), (0, 0));
}
