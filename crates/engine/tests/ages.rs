//! Logs and their events end with their age, whatever other logs, their members and the wall clock do.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use roomcast_core::Now;
use roomcast_core::engine::{Engine, LogId, Record, Retention, Submitted};
use roomcast_engine::MemoryEngine;

fn at(ms: u64) -> Now {
    Now {
        micros: ms * 1_000,
        unix_ms: 1_700_000_000_000 + ms as i64,
    }
}

fn open(engine: &mut MemoryEngine, now: Now, room: &str, age: u64) -> LogId {
    let retention = Retention {
        age,
        ..Retention::default()
    };
    engine.open(now, room, retention, 7).unwrap().log
}

fn submit(engine: &mut MemoryEngine, now: Now, log: LogId) {
    let record = Record {
        payload: &[b'x'; 1_000],
        ..Record::default()
    };
    let submitted = engine.submit(now, log, None, record);
    assert!(matches!(submitted, Submitted::Done(_)));
}

#[test]
fn a_log_that_is_kept_for_longer_holds_up_no_other() {
    let mut engine = MemoryEngine::default();
    let ages = [0, 3_600_000].into_iter().chain([1_000; 100]);
    for (n, age) in ages.enumerate() {
        let log = open(&mut engine, at(0), &format!("room-{n}"), age);
        submit(&mut engine, at(0), log);
        engine.close(at(0), log);
    }
    for ms in (0..3_000).step_by(100) {
        engine.poll(at(ms));
    }
    assert_eq!(engine.len(), 2, "those of 1 s are over");
}

#[test]
fn an_open_room_where_nobody_speaks_gives_its_memory_back() {
    let mut engine = MemoryEngine::default();
    let log = open(&mut engine, at(0), "room", 1_000);
    let empty = engine.held();
    for ms in 0..200 {
        submit(&mut engine, at(ms), log);
    }
    assert!(engine.held() > empty + 200_000);
    engine.poll(at(3_000));
    assert_eq!(engine.held(), empty);
}

#[test]
fn nothing_is_read_after_its_age_and_the_engine_says_when_it_wakes() {
    let mut engine = MemoryEngine::default();
    let log = open(&mut engine, at(0), "room", 1_000);
    assert_eq!(engine.next_wake(), None, "nothing can age");
    for ms in [0, 500, 900] {
        submit(&mut engine, at(ms), log);
    }
    let mut first = |ms| engine.events(at(ms), log).unwrap().first();
    assert_eq!([1_000, 1_001, 1_501, 1_901].map(&mut first), [1, 2, 3, 4]);
    // With no submission and no reader, it is woken until all is given back.
    while let Some(due) = engine.next_wake() {
        assert!(due <= 4_000_000, "{due}");
        engine.poll(Now {
            micros: due,
            unix_ms: 0,
        });
    }
}

#[test]
fn a_wall_clock_that_is_set_ends_nothing() {
    let mut engine = MemoryEngine::default();
    let log = open(&mut engine, at(0), "room", 300_000);
    for (ms, unix_ms) in [0, 4_000_000_000_000, 5, 1_700_000_000_000]
        .into_iter()
        .enumerate()
    {
        let now = Now {
            unix_ms,
            ..at(ms as u64)
        };
        submit(&mut engine, now, log);
        engine.poll(now);
        assert_eq!(engine.events(now, log).unwrap().first(), 1);
    }
}

#[test]
fn in_a_busy_room_looking_is_rare() {
    let mut engine = MemoryEngine::default();
    let log = open(&mut engine, at(0), "room", 60_000);
    let (mut looks, mut due) = (0, None);
    for ms in (0..600_000).step_by(20) {
        submit(&mut engine, at(ms), log);
        engine.poll(at(ms));
        looks += u32::from(engine.next_wake() != due);
        due = engine.next_wake();
    }
    assert!(looks <= 90, "{looks}");
}
