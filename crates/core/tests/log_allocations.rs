//! What logs are counted with is what they take: held against an allocator that counts.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/allocator.rs"]
mod allocator;

use std::fmt::Write;

use allocator::held;
use roomcast_core::log::{Record, Retention};
use roomcast_core::logs::{LogId, Logs};
use roomcast_core::{ClientId, Now};
use roomcast_protocol::ErrorCode;

fn at(ms: u64) -> Now {
    Now {
        micros: ms * 1_000,
        unix_ms: ms as i64,
    }
}

fn open(logs: &mut Logs, ms: u64, name: &str) -> LogId {
    let opened = logs.open(at(ms), name, Retention::default(), ms);
    opened.unwrap().log
}

fn append(logs: &mut Logs, ms: u64, log: LogId, sender: Option<ClientId>, seq: u64) {
    let record = Record {
        payload: b"{}",
        seq,
        ..Record::default()
    };
    logs.append(at(ms), log, sender, &record);
}

fn client(number: u64) -> ClientId {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ClientId::from_random([mixed ^ mixed >> 29, mixed.rotate_left(32) ^ number])
}

/// Runs `each` so many times; what the logs counts is never less than what it took, and not much more.
fn is_counted(ceiling: usize, times: u64, mut each: impl FnMut(&mut Logs, u64)) {
    let before = held();
    let mut logs = Logs::new(ceiling);
    for n in 0..times {
        each(&mut logs, n);
        if n % 97 == 0 || n + 1 == times {
            let (takes, counted) = ((held() - before) as usize, logs.held());
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
    is_counted(8 << 20, 250_000, |logs, n| {
        name.clear();
        write!(name, "room-{n:060}").unwrap();
        let log = open(logs, n / 10_000, &name);
        logs.enter(log, client(n), 1, false);
        append(logs, n / 10_000, log, Some(client(n)), 1);
        logs.exit(log, client(n));
        logs.close(at(n / 10_000), log);
        if n == 249_999 {
            assert!(logs.usage().1 > 200_000);
        }
    });
}

#[test]
fn clients_that_come_and_go_in_an_open_room_are_counted() {
    let mut log = None;
    is_counted(1 << 20, 50_000, |logs, n| {
        let log = *log.get_or_insert_with(|| open(logs, 0, "room"));
        logs.enter(log, client(n), 1, false);
        for seq in 1..=4 {
            append(logs, n, log, Some(client(n)), seq);
        }
        logs.refuse(log, client(n), 7, ErrorCode::TooLarge);
        if n % 3 > 0 {
            logs.exit(log, client(n));
        }
        if n % 1_000 == 999 {
            // They all go at last.
            (n - 999..=n).for_each(|n| logs.exit(log, client(n)));
        }
    });
}

#[test]
fn open_rooms_with_nothing_logged_are_counted() {
    is_counted(0, 100_000, |logs, n| {
        open(logs, 0, &format!("room-{n}"));
    });
}

#[test]
fn what_was_held_once_is_given_back() {
    let before = held();
    let mut logs = Logs::default();
    let mut ids: Vec<_> = (0..50_000)
        .map(|n| open(&mut logs, 0, &format!("room-{n}")))
        .collect();
    for log in &ids {
        append(&mut logs, 0, *log, None, 0);
    }
    let most = held() - before;
    let last = ids.pop().unwrap();
    for log in ids {
        logs.close(at(1), log);
    }
    for _ in 0..1_000 {
        logs.sweep(at(400_000));
    }
    assert_eq!(logs.len(), 1);
    let takes = held() - before;
    assert!(takes < most / 20, "{takes} of {most}");
    logs.close(at(400_000), last);
    assert_eq!((logs.len(), logs.held()), (0, 0));
}
