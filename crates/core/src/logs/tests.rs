use super::{Appended, LogId, Logs, Opened};
use crate::log::{Completion, Record, Retention};
use crate::time::Now;

fn at(ms: i64) -> Now {
    Now {
        micros: ms as u64 * 1_000,
        unix_ms: ms,
    }
}

fn open(logs: &mut Logs, room: &str, ms: i64) -> Opened {
    let opened = logs.open(at(ms), room, Retention::default(), ms as u64);
    opened.unwrap()
}

fn append(logs: &mut Logs, log: LogId, ms: i64) -> Completion {
    let record = Record {
        payload: &[b'x'; 100],
        ..Record::default()
    };
    match logs.append(at(ms), log, None, &record) {
        Some(Appended::Done(completion)) => completion,
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_count_and_time_never_falls() {
    let mut logs = Logs::default();
    let log = open(&mut logs, "room", 7).log;
    let first = append(&mut logs, log, 1_000);
    let second = append(&mut logs, log, 900);
    assert_eq!((first.offset, first.timestamp), (1, 1_000));
    assert_eq!((second.offset, second.timestamp), (2, 1_000));
}

#[test]
fn a_log_outlives_its_room_for_its_retention() {
    let mut logs = Logs::default();
    let first = open(&mut logs, "room", 0);
    append(&mut logs, first.log, 0);
    logs.close(at(1_000), first.log);
    let second = open(&mut logs, "room", 2_000);
    assert_eq!((second.epoch, second.offset), (first.epoch, 1));
    logs.close(at(3_000), second.log);
    logs.sweep(at(302_000));
    assert_eq!(logs.len(), 1);
    logs.sweep(at(303_000));
    assert!(logs.is_empty() && logs.held() == 0 && logs.next_wake().is_none());
    let third = open(&mut logs, "room", 400_000);
    assert_ne!(third.epoch, first.epoch);
}

#[test]
fn a_log_without_events_leaves_nothing() {
    let mut logs = Logs::default();
    let log = open(&mut logs, "room", 7).log;
    logs.close(at(8), log);
    assert!(logs.is_empty() && logs.by_name.is_empty());
}

#[test]
fn under_the_ceiling_closed_rooms_go_first_then_the_quietest() {
    let ceiling = 40_000;
    let mut logs = Logs::new(ceiling);
    let open_logs: Vec<_> = (0..4)
        .map(|n| open(&mut logs, &format!("room-{n}"), n).log)
        .collect();
    for (n, log) in open_logs.iter().enumerate() {
        for _ in 0..30 {
            append(&mut logs, *log, n as i64);
        }
    }
    logs.close(at(10), open_logs[3]);
    for ms in 20..300 {
        append(&mut logs, open_logs[2], ms);
        assert!(logs.held() <= ceiling, "{}", logs.held());
    }
    assert_eq!(logs.len(), 3, "the closed one went whole");
    let first = logs.events(at(300), open_logs[0]).unwrap().first();
    assert_eq!(first, 31, "the quietest was emptied");
    assert_eq!(
        append(&mut logs, open_logs[0], 400).offset,
        31,
        "its order goes on"
    );
}
