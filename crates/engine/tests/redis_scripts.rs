//! The scripts at a Redis that dies, changes its name, and has large rooms.

mod common;

use std::sync::Arc;

use common::history::{client, home};
use common::redis_client::RedisClient;
use common::redis_server::Server;
use roomcast_core::log::Epoch;
use roomcast_core::store::{
    Answer, Append, Beat, Cause, Claim, Claimed, FieldKey, Header, Log, Renew, Request, RoomRecord,
    StoreError, StoreId, Written,
};
use roomcast_engine::redis::{Commands, Value};

type Changes = Vec<(FieldKey, Option<Box<[u8]>>)>;

fn claim(of: u8) -> Claim {
    Claim {
        room: "room".into(),
        home: home(of),
        store: StoreId::default(),
        dead: None,
        settled: true,
        epoch: Epoch::from_random(u64::from(of)),
        timestamp: 5,
        has: None,
        ends_after: 1_000_000,
        only_existing: false,
    }
}

fn at(redis: &RedisClient, claim: Claim) -> Claim {
    Claim {
        store: redis.store,
        ..claim
    }
}

fn loaded(redis: &mut RedisClient, claim: Claim) -> RoomRecord {
    let claim = at(redis, claim);
    match redis.apply(&Request::Claim(claim)) {
        Ok(Answer::Claim(Claimed::Loaded(record))) => *record,
        other => panic!("{other:?}"),
    }
}

fn append(header: &Header, fields: Changes) -> Append {
    let last = header.offset + 2;
    Append {
        room: "room".into(),
        header: Header {
            n: header.n + 1,
            offset: last,
            ..header.clone()
        },
        settled: true,
        fields,
        log: Some(Log {
            last,
            events: b"two events"[..].into(),
        }),
        first: 0,
        ends_after: 0,
    }
}

fn confirmed(redis: &mut RedisClient, append: &Append) {
    let answer = redis.apply(&Request::Append(Arc::new(append.clone())));
    assert_eq!(answer, Ok(Answer::Written(Written::Confirmed)));
}

#[test]
fn a_redis_that_comes_back_is_another_store() {
    let mut server = Server::start([""; 0]);
    let mut redis = RedisClient::connect(server.port, "test:");
    let record = loaded(&mut redis, claim(0));
    assert_eq!(record.log, []);
    let first = append(&record.header, vec![(FieldKey::State, Some([1].into()))]);
    confirmed(&mut redis, &first);
    let command = redis
        .commands
        .command(&Request::Append(Arc::new(first.clone())), "");
    let text = command.script.text(redis.store);
    let hash = redis.ask(&[b"SCRIPT", b"LOAD", text.as_bytes()]);
    server.ask("SAVE");
    server.restart();

    let old = redis.store;
    let mut redis = RedisClient::connect(server.port, "test:");
    assert_ne!(redis.store, old);
    let unknown = redis.ask(&[b"EVALSHA", hash.as_bytes().unwrap(), b"1", b"x"]);
    assert!(matches!(unknown, Value::Error(it) if it.starts_with("NOSCRIPT")));
    let late = Request::Append(Arc::new(append(&first.header, Vec::new())));
    assert_eq!(
        redis.apply(&late),
        Err(StoreError::Again(Cause::OtherStore))
    );

    let theirs = redis.apply(&Request::Claim(at(&redis, claim(1))));
    assert_eq!(theirs, Ok(Answer::Claim(Claimed::Theirs(home(0)))));
    let over_the_dead = Claim {
        dead: Some(home(0)),
        ..at(&redis, claim(1))
    };
    let unsettled = Claim {
        settled: false,
        ..over_the_dead.clone()
    };
    let answer = redis.apply(&Request::Claim(unsettled));
    assert_eq!(answer, Ok(Answer::Claim(Claimed::Unsettled)));
    let again = loaded(&mut redis, over_the_dead);
    assert_eq!(again.header.epochs.current, Epoch::from_random(1));
    assert_eq!(again.header.epochs.ended[..], [(Epoch::from_random(0), 2)]);
    assert_eq!(again.fields, [(FieldKey::State, [1].into())]);
    assert_eq!(again.log.as_slice(), first.log.as_slice());

    server.restart_empty();
    let mut redis = RedisClient::connect(server.port, "test:");
    let record = loaded(&mut redis, claim(2));
    assert_eq!((record.header.n, record.header.offset), (0, 0));
}

#[test]
fn a_redis_that_was_demoted_claims_nothing_under_its_old_name() {
    let server = Server::start(["--enable-debug-command", "local"]);
    let mut redis = RedisClient::connect(server.port, "test:");
    let record = loaded(&mut redis, claim(0));
    let renamed = redis.ask(&[b"DEBUG", b"CHANGE-REPL-ID"]);
    assert_eq!(renamed.as_str(), Some("OK"));

    // The process knows the old name's scripts still.
    let answer = redis.apply(&Request::Claim(at(&redis, claim(0))));
    assert_eq!(answer, Err(StoreError::Again(Cause::OtherStore)));
    let append = append(&record.header, Vec::new());
    redis.meet();
    let answer = redis.apply(&Request::Append(Arc::new(append)));
    assert_eq!(answer, Err(StoreError::Again(Cause::OtherStore)));
    let record = loaded(&mut redis, claim(0));
    assert_eq!(record.header.store, redis.store);
}

#[test]
fn what_is_left_of_a_log_is_not_the_next_ones() {
    let server = Server::start([""; 0]);
    let mut redis = RedisClient::connect(server.port, "test:");
    let log = redis.commands.keys().log("room");
    redis.ask(&[b"XADD", &log, b"900-0", b"e", b"old"]);
    let record = loaded(&mut redis, claim(0));
    assert_eq!(record.log, []);
    confirmed(&mut redis, &append(&record.header, Vec::new()));
}

#[test]
fn a_room_of_thousands_is_written_and_loaded() {
    let server = Server::start([""; 0]);
    let mut redis = RedisClient::connect(server.port, "test:");
    let header = loaded(&mut redis, claim(0)).header;
    let member = |it: u32| (FieldKey::Member(it), Some(Box::from(it.to_be_bytes())));
    let first = append(&header, (1..=9_000).map(member).collect());
    confirmed(&mut redis, &first);
    let gone = |it: u32| (FieldKey::Member(it), None);
    let second = append(&first.header, (1..=4_500).map(gone).collect());
    confirmed(&mut redis, &second);
    let record = loaded(&mut redis, claim(0));
    assert_eq!(record.fields.len(), 4_500);
    assert_eq!(
        record.fields[0],
        (FieldKey::Member(4_501), 4_501_u32.to_be_bytes().into())
    );
    assert_eq!(record.log.len(), 2);

    // The same again at an empty one, in parts.
    assert_eq!(redis.ask(&[b"FLUSHALL"]).as_str(), Some("OK"));
    let header = Header {
        fence: record.header.fence + 1,
        pending: true,
        ..record.header.clone()
    };
    for part in 0..3 {
        let members = part * 3_000 + 1..=(part + 1) * 3_000;
        let mut fields: Changes = members.map(member).collect();
        fields.push((FieldKey::Sender(client(part.into())), Some([7].into())));
        let log = |it: u32| Log {
            last: u64::from(part * 1_000 + it + 1),
            events: b"one"[..].into(),
        };
        let renew = Renew {
            room: "room".into(),
            header: header.clone(),
            base: None,
            part: (part, part == 2),
            fields,
            log: (0..1_000).map(log).collect(),
            ends_after: 1_000_000,
        };
        let answer = redis.apply(&Request::Renew(Arc::new(renew)));
        assert_eq!(answer, Ok(Answer::Written(Written::Confirmed)));
        let keys = redis.ask(&[b"DBSIZE"]);
        assert_eq!(keys, Value::Int(2), "beside the record, then in its place");
    }
    let record = loaded(&mut redis, claim(0));
    assert_eq!((record.fields.len(), record.log.len()), (9_003, 3_000));
    assert_eq!(record.header.epochs, header.epochs);
}

#[test]
fn a_lease_is_over_when_the_clock_was_set_by_more_than_that() {
    let server = Server::start([""; 0]);
    let mut redis = RedisClient::connect(server.port, "test:");
    let beat = |redis: &mut RedisClient, begins: bool| {
        let beat = Beat {
            store: redis.store,
            home: home(0),
            begins,
            lease_ms: 60_000,
            keep_ms: 3_600_000,
            settled: None,
            shards: 1,
            version: 1,
            key: 0,
            settings: "".into(),
            address: "".into(),
        };
        match redis.apply(&Request::Beat(Box::new(beat))) {
            Ok(Answer::Beat(beaten)) => beaten,
            other => panic!("{other:?}"),
        }
    };
    for moved in [-3_600_000, -120_000, 120_000, 3_600_000] {
        assert!(!beat(&mut redis, true).gone);
        assert!(!beat(&mut redis, false).gone);
        // As if the clock had been set back or ahead since.
        let all = redis.ask(&[b"HGETALL", b"test:nodes"]);
        let [node, entry] = all.as_array().unwrap() else {
            panic!("{all:?}");
        };
        let (node, entry) = (node.as_bytes().unwrap(), entry.as_str().unwrap());
        let time: i64 = entry[1..17].parse().unwrap();
        let entry = format!("1{:016}{}", time + moved, &entry[17..]);
        redis.ask(&[b"HSET", b"test:nodes", node, entry.as_bytes()]);
        assert!(beat(&mut redis, false).gone, "{moved}");
    }
}

#[test]
fn what_a_newer_version_wrote_is_passed_over() {
    let server = Server::start([""; 0]);
    let mut redis = RedisClient::connect(server.port, "test:");
    let record = loaded(&mut redis, claim(0));
    let first = append(&record.header, vec![(FieldKey::State, Some([1].into()))]);
    confirmed(&mut redis, &first);
    for name in ["?new", "m1x", "\u{e9}"] {
        redis.ask(&[b"HSET", b"test:{r:room}", name.as_bytes(), b"value"]);
    }
    let again = loaded(&mut redis, claim(0));
    assert_eq!(again.fields, [(FieldKey::State, [1].into())]);
    // Who does not know them writes the record, and they stay.
    confirmed(&mut redis, &append(&again.header, Vec::new()));
    for name in ["?new", "m1x", "\u{e9}"] {
        let kept = redis.ask(&[b"HGET", b"test:{r:room}", name.as_bytes()]);
        assert_eq!(kept.as_bytes(), Some(&b"value"[..]), "{name}");
    }
    // Of nodes as well: one that can't be read ends nobody's lease.
    redis.ask(&[b"HSET", b"test:nodes", b"zz", b"9"]);
    redis.ask(&[b"HSET", b"test:nodes", b"0000000000000001", b"2later"]);
    for begins in [true, false] {
        let beat = Beat {
            store: redis.store,
            home: home(0),
            begins,
            lease_ms: 10_000,
            keep_ms: 60_000,
            settled: None,
            shards: 1,
            version: 1,
            key: 7,
            settings: "a=1".into(),
            address: "".into(),
        };
        let Ok(Answer::Beat(beaten)) = redis.apply(&Request::Beat(Box::new(beat))) else {
            panic!("no lease");
        };
        assert!(!beaten.gone);
        let homes: Vec<_> = beaten.nodes.iter().map(|it| it.home).collect();
        assert_eq!(homes, [home(0)]);
    }
}

#[test]
fn a_record_in_a_newer_form_is_not_touched() {
    let server = Server::start([""; 0]);
    let mut redis = RedisClient::connect(server.port, "test:");
    let record = loaded(&mut redis, claim(0));
    let first = append(&record.header, vec![(FieldKey::State, Some([1].into()))]);
    confirmed(&mut redis, &first);
    let newer = b"2 and whatever that is";
    redis.ask(&[b"HSET", b"test:{r:room}", b"h", newer]);
    let renew = Renew {
        room: "room".into(),
        header: Header {
            pending: true,
            ..first.header.clone()
        },
        base: None,
        part: (0, true),
        fields: Vec::new(),
        log: Vec::new(),
        ends_after: 0,
    };
    let never = Err(StoreError::Never(Cause::Protocol));
    for request in [
        Request::Claim(at(&redis, claim(0))),
        Request::Renew(Arc::new(renew)),
    ] {
        assert_eq!(redis.apply(&request), never, "{request:?}");
    }
    let append = Request::Append(Arc::new(append(&first.header, Vec::new())));
    let refused = redis.apply(&append);
    assert!(!matches!(refused, Ok(Answer::Written(Written::Confirmed))));
    let kept = redis.ask(&[b"HGETALL", b"test:{r:room}"]);
    let kept: Vec<_> = kept.as_array().into_iter().flatten().collect();
    assert!(kept.iter().any(|it| it.as_bytes() == Some(newer)));
    assert!(kept.iter().any(|it| it.as_bytes() == Some(&[1])));
}
