//! Logs and their events end with their age, whatever other logs, their members and the wall clock do.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use roomcast_core::Now;
use roomcast_core::log::{Record, Retention};
use roomcast_core::logs::{Appended, LogId, Logs};

fn at(ms: u64) -> Now {
    Now {
        micros: ms * 1_000,
        unix_ms: 1_700_000_000_000 + ms as i64,
    }
}

fn open(logs: &mut Logs, now: Now, room: &str, age: u64) -> LogId {
    let retention = Retention {
        age,
        ..Retention::default()
    };
    logs.open(now, room, retention, 7).unwrap().log
}

fn append(logs: &mut Logs, now: Now, log: LogId) {
    let record = Record {
        payload: &[b'x'; 1_000],
        ..Record::default()
    };
    let appended = logs.append(now, log, None, &record);
    assert!(matches!(appended, Some(Appended::Done(_))));
}

#[test]
fn a_log_that_is_kept_for_longer_holds_up_no_other() {
    let mut logs = Logs::default();
    let ages = [0, 3_600_000].into_iter().chain([1_000; 100]);
    for (n, age) in ages.enumerate() {
        let log = open(&mut logs, at(0), &format!("room-{n}"), age);
        append(&mut logs, at(0), log);
        logs.close(at(0), log);
    }
    for ms in (0..3_000).step_by(100) {
        logs.sweep(at(ms));
    }
    assert_eq!(logs.len(), 2, "those of 1 s are over");
}

#[test]
fn an_open_room_where_nobody_speaks_gives_its_memory_back() {
    let mut logs = Logs::default();
    let log = open(&mut logs, at(0), "room", 1_000);
    let empty = logs.held();
    for ms in 0..200 {
        append(&mut logs, at(ms), log);
    }
    assert!(logs.held() > empty + 200_000);
    logs.sweep(at(3_000));
    assert_eq!(logs.held(), empty);
}

#[test]
fn nothing_is_read_after_its_age_and_it_is_said_when_to_look() {
    let mut logs = Logs::default();
    let log = open(&mut logs, at(0), "room", 1_000);
    assert_eq!(logs.next_wake(), None, "nothing can age");
    for ms in [0, 500, 900] {
        append(&mut logs, at(ms), log);
    }
    let mut first = |ms| logs.events(at(ms), log).unwrap().first();
    assert_eq!([1_000, 1_001, 1_501, 1_901].map(&mut first), [1, 2, 3, 4]);
    // With no submission and no reader, it is woken until all is given back.
    while let Some(due) = logs.next_wake() {
        assert!(due <= 4_000_000, "{due}");
        logs.sweep(Now {
            micros: due,
            unix_ms: 0,
        });
    }
}

#[test]
fn a_wall_clock_that_is_set_ends_nothing() {
    let mut logs = Logs::default();
    let log = open(&mut logs, at(0), "room", 300_000);
    for (ms, unix_ms) in [0, 4_000_000_000_000, 5, 1_700_000_000_000]
        .into_iter()
        .enumerate()
    {
        let now = Now {
            unix_ms,
            ..at(ms as u64)
        };
        append(&mut logs, now, log);
        logs.sweep(now);
        assert_eq!(logs.events(now, log).unwrap().first(), 1);
    }
}

#[test]
fn in_a_busy_room_looking_is_rare() {
    let mut logs = Logs::default();
    let log = open(&mut logs, at(0), "room", 60_000);
    let (mut looks, mut due) = (0, None);
    for ms in (0..600_000).step_by(20) {
        append(&mut logs, at(ms), log);
        logs.sweep(at(ms));
        looks += u32::from(logs.next_wake() != due);
        due = logs.next_wake();
    }
    assert!(looks <= 90, "{looks}");
}
