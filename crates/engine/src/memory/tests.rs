use roomcast_core::Now;
use roomcast_core::engine::{Completion, Engine, LogId, Opened, Record, Retention, Submitted};

use super::MemoryEngine;

fn at(ms: i64) -> Now {
    Now {
        micros: ms as u64 * 1_000,
        unix_ms: ms,
    }
}

fn open(engine: &mut MemoryEngine, room: &str, ms: i64) -> Opened {
    let opened = engine.open(at(ms), room, Retention::default(), ms as u64);
    opened.unwrap()
}

fn submit(engine: &mut MemoryEngine, log: LogId, ms: i64) -> Completion {
    let record = Record {
        payload: &[b'x'; 100],
        ..Record::default()
    };
    match engine.submit(at(ms), log, None, record) {
        Submitted::Done(completion) => completion,
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_count_and_time_never_falls() {
    let mut engine = MemoryEngine::default();
    let log = open(&mut engine, "room", 7).log;
    let first = submit(&mut engine, log, 1_000);
    let second = submit(&mut engine, log, 900);
    assert_eq!((first.offset, first.timestamp), (1, 1_000));
    assert_eq!((second.offset, second.timestamp), (2, 1_000));
}

#[test]
fn a_log_outlives_its_room_for_its_retention() {
    let mut engine = MemoryEngine::default();
    let first = open(&mut engine, "room", 0);
    submit(&mut engine, first.log, 0);
    engine.close(at(1_000), first.log);
    let second = open(&mut engine, "room", 2_000);
    assert_eq!((second.epoch, second.offset), (first.epoch, 1));
    engine.close(at(3_000), second.log);
    assert!(engine.poll(at(302_000)).is_none());
    assert_eq!(engine.len(), 1);
    assert!(engine.poll(at(303_000)).is_none());
    assert!(engine.is_empty() && engine.held() == 0 && engine.next_wake().is_none());
    let third = open(&mut engine, "room", 400_000);
    assert_ne!(third.epoch, first.epoch);
}

#[test]
fn a_log_without_events_leaves_nothing() {
    let mut engine = MemoryEngine::default();
    let log = open(&mut engine, "room", 7).log;
    engine.close(at(8), log);
    assert!(engine.is_empty() && engine.by_name.is_empty());
}

#[test]
fn under_the_ceiling_closed_rooms_go_first_then_the_quietest() {
    let ceiling = 40_000;
    let mut engine = MemoryEngine::new(ceiling);
    let logs: Vec<_> = (0..4)
        .map(|n| open(&mut engine, &format!("room-{n}"), n).log)
        .collect();
    for (n, log) in logs.iter().enumerate() {
        for _ in 0..30 {
            submit(&mut engine, *log, n as i64);
        }
    }
    engine.close(at(10), logs[3]);
    for ms in 20..300 {
        submit(&mut engine, logs[2], ms);
        assert!(engine.held() <= ceiling, "{}", engine.held());
    }
    assert_eq!(engine.len(), 3, "the closed one went whole");
    let first = engine.events(at(300), logs[0]).unwrap().first();
    assert_eq!(first, 31, "the quietest was emptied");
    assert_eq!(
        submit(&mut engine, logs[0], 400).offset,
        31,
        "its order goes on"
    );
}
