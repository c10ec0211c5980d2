//! The scripts at a Redis that dies, changes its name, and has large rooms.

mod common;

use std::sync::Arc;

use common::history::{client, home};
use common::redis_client::RedisClient;
use common::redis_server::Server;
use roomcast_core::log::Epoch;
use roomcast_core::store::{
    Answer, Append, Beat, Cause, Claim, Claimed, FieldKey, Header, InboxAppend, InboxAppended,
    InboxRead, Log, Renew, Request, RoomRecord, Save, SessionRecord, StoreError, StoreId, Written,
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

/// Redis lacks a right for a time: a script fails where it needs it first, and what it did before stays.
#[test]
fn what_a_script_has_done_in_part_is_done_again_whole() {
    let server = Server::start([""; 0]);
    let mut redis = RedisClient::connect(server.port, "test:");
    let rights = "hset hdel xadd xtrim xlen xdel xrange unlink rename persist pexpire pexpireat \
                  pexpiretime exists hget hmget hgetall";
    for right in rights.split_whitespace() {
        let begun = loaded(&mut redis, claim(0));
        let fields = vec![
            (FieldKey::Member(1), Some([1].into())),
            (FieldKey::Member(2), None),
        ];
        let mut first = append(&begun.header, fields);
        first.ends_after = 1_000_000;
        in_two_tries(&mut redis, right, &Request::Append(Arc::new(first.clone())));
        let second = Append {
            first: first.header.offset + 1,
            ..append(&first.header, Vec::new())
        };
        in_two_tries(
            &mut redis,
            right,
            &Request::Append(Arc::new(second.clone())),
        );
        // What is added in part, and never again: another home writes in its place.
        let fields = vec![
            (FieldKey::Member(1), None),
            (FieldKey::Member(3), Some([3].into())),
        ];
        let third = append(&second.header, fields);
        without(&mut redis, right, &Request::Append(Arc::new(third.clone())));
        let record = loaded(&mut redis, claim(3));
        let done = record.header.n == third.header.n;
        let last = if done { &third } else { &second };
        assert_eq!(record.header.offset, last.header.offset, "{right}");
        let ends: Vec<_> = record.log.iter().map(|it| it.last).collect();
        let expected = match done {
            true => vec![second.header.offset, third.header.offset],
            false => vec![second.header.offset],
        };
        assert_eq!(ends, expected, "{right}");
        let member = if done { 3 } else { 1 };
        let fields = [(FieldKey::Member(member), [member as u8].into())];
        assert_eq!(record.fields, fields, "{right}");
        let mut shorter = append(&record.header, Vec::new());
        let log = Log {
            last: record.header.offset + 1,
            events: b"another event"[..].into(),
        };
        (shorter.header.offset, shorter.log) = (log.last, Some(log));
        confirmed(&mut redis, &shorter);
        let record = loaded(&mut redis, claim(3));
        assert_eq!(record.log.last(), shorter.log.as_ref(), "{right}");

        // At an empty Redis it is renewed, in parts and whole.
        for parts in [1, 3] {
            redis.ask(&[b"FLUSHALL"]);
            let header = Header {
                pending: true,
                fence: record.header.fence + 1,
                offset: u64::from(parts) * 3,
                ..record.header.clone()
            };
            for part in 0..parts {
                let log = |it: u64| Log {
                    last: u64::from(part) * 3 + it,
                    events: b"an event"[..].into(),
                };
                let renew = Renew {
                    room: "room".into(),
                    header: header.clone(),
                    base: None,
                    part: (part, part + 1 == parts),
                    fields: vec![(FieldKey::Member(part), Some([3].into()))],
                    log: (1..=3).map(log).collect(),
                    ends_after: 1_000_000,
                };
                in_two_tries(&mut redis, right, &Request::Renew(Arc::new(renew)));
            }
            let renewed = loaded(&mut redis, claim(0));
            let ends: Vec<_> = renewed.log.iter().map(|it| it.last).collect();
            assert_eq!(
                ends,
                (1..=u64::from(parts) * 3).collect::<Vec<_>>(),
                "{right}"
            );
            assert_eq!(renewed.fields.len(), parts as usize, "{right}");
        }
        redis.ask(&[b"FLUSHALL"]);
    }
}

/// Asks without a right: whether it was refused.
fn without(redis: &mut RedisClient, right: &str, request: &Request) -> bool {
    let take = format!("-{right}");
    redis.ask(&[b"ACL", b"SETUSER", b"default", take.as_bytes()]);
    let refused = redis.apply(request);
    redis.ask(&[b"ACL", b"SETUSER", b"default", b"+@all"]);
    refused == Err(StoreError::Never(Cause::Rights))
}

/// Asks without a right, and again with it.
fn in_two_tries(redis: &mut RedisClient, right: &str, request: &Request) {
    without(redis, right, request);
    let answer = redis.apply(request);
    assert_eq!(answer, Ok(Answer::Written(Written::Confirmed)), "{right}");
}

/// The same of an inbox: nobody reads what is there in part, and another message takes its place.
#[test]
fn a_direct_message_that_is_there_in_part_is_none() {
    let server = Server::start([""; 0]);
    let mut redis = RedisClient::connect(server.port, "test:");
    let save = Save {
        client: client(1),
        record: SessionRecord {
            turn: 1,
            node: home(0).node,
            value: [1].into(),
        },
        known: None,
        ends_after: 1_000_000,
    };
    assert_eq!(redis.apply(&Request::Save(save)), Ok(Answer::Turn(true)));
    let message = |seq: u64, text: &[u8]| {
        Request::InboxAppend(InboxAppend {
            to: client(1),
            from: client(2),
            seq,
            message: text.into(),
            most: 2,
            most_bytes: 1_000,
        })
    };
    let read = |redis: &mut RedisClient| {
        let read = InboxRead {
            client: client(1),
            after: 0,
            most_bytes: 1_000,
        };
        match redis.apply(&Request::InboxRead(read)) {
            Ok(Answer::InboxSlice(slice)) => slice,
            other => panic!("{other:?}"),
        }
    };
    for seq in 2..5 {
        assert!(without(&mut redis, "hset", &message(seq, b"never acked")));
        let before = read(&mut redis);
        assert_eq!(before.last, seq - 2);
        assert!(before.messages.iter().all(|(_, it)| **it == *b"acked"));
        let acked = redis.apply(&message(seq + 10, b"acked"));
        assert!(
            matches!(acked, Ok(Answer::Inbox(InboxAppended::Stored { offset, .. })) if offset == seq - 1)
        );
        let after = read(&mut redis);
        assert_eq!(after.messages.last(), Some(&(seq - 1, b"acked"[..].into())));
    }
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
        offset: 3_000,
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
