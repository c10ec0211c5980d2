//! Sessions: resume, takeover, acks, logs and inboxes, as clients see them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Client, Got, Node, node, relay, text};
use roomcast_core::Encoding;
use roomcast_core::settings::{Kind, Settings};
use serde_json::{Value, json};

/// One who said `hello`.
struct Session {
    client: Client,
    id: String,
    token: String,
}

fn hello(node: &mut Node, payload: Value) -> (Client, Value) {
    let shard = node.sockets.len() % node.shards.len();
    let client = node.connect_to(shard, Encoding::ALL[0]);
    let hello = json!({"type": "hello", "payload": payload});
    node.say(client, &hello.to_string());
    let welcome = node.sockets[client].open.then(|| first(node, client));
    (client, welcome.unwrap_or_default())
}

fn first(node: &mut Node, client: Client) -> Value {
    let got = node.read_one(client);
    assert_eq!(got["type"], "welcome", "{got}");
    got["payload"].clone()
}

fn begin(node: &mut Node) -> Session {
    let (client, welcome) = hello(node, json!({"version": 1}));
    assert_eq!(welcome["resumed"], false);
    Session {
        client,
        id: text(&welcome["client_id"]),
        token: text(&welcome["resume_token"]),
    }
}

fn join(node: &mut Node, client: Client, room: &str) -> Value {
    node.say(
        client,
        &json!({"type": "join_room", "room_id": room}).to_string(),
    );
    let messages = node.messages(client);
    messages
        .iter()
        .find(|it| it["type"] == "joined")
        .unwrap_or_else(|| panic!("{messages:#?}"))["payload"]
        .clone()
}

fn say(node: &mut Node, client: Client, room: &str, seq: u64, text: &str) {
    let chat = json!({"type": "chat", "room_id": room, "payload": text, "seq": seq});
    node.say(client, &chat.to_string());
}

/// Texts of the chats among messages, with their offsets.
fn chats(messages: &[Value]) -> Vec<(u64, String)> {
    messages
        .iter()
        .filter(|it| it["type"] == "chat")
        .map(|it| (it["offset"].as_u64().unwrap_or(0), text(&it["payload"])))
        .collect()
}

fn acks(messages: &[Value]) -> Vec<(u64, u64)> {
    messages
        .iter()
        .filter(|it| it["type"] == "ack")
        .flat_map(|it| {
            it["payload"]["acks"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        })
        .map(|it| (it["seq"].as_u64().unwrap(), it["offset"].as_u64().unwrap()))
        .collect()
}

fn of_type<'a>(messages: &'a [Value], kind: &str) -> Vec<&'a Value> {
    messages.iter().filter(|it| it["type"] == kind).collect()
}

fn resume(node: &mut Node, session: &Session, room: &str, since: &Value) -> (Client, Value) {
    hello(
        node,
        json!({"version": 1, "resume_token": session.token,
            "positions": [{"room_id": room, "since": since, "first_seq": 1}]}),
    )
}

fn setup(shards: u16) -> Node {
    node(shards, Settings::default(), vec![relay("chat")])
}

#[test]
fn who_comes_back_gets_exactly_what_was_missed_and_nobody_saw_a_leave() {
    for shards in [1, 3] {
        let mut node = setup(shards);
        let ann = begin(&mut node);
        join(&mut node, ann.client, "chat:1");
        let bob = begin(&mut node);
        let joined = join(&mut node, bob.client, "chat:1");
        say(&mut node, ann.client, "chat:1", 1, "before");
        let (before, _) = chats(&node.messages(bob.client))[0];
        node.messages(ann.client);
        node.cut(bob.client);
        node.pass(200);
        let seen = node.messages(ann.client);
        assert!(of_type(&seen, "player_left").is_empty(), "{seen:#?}");
        let presence = of_type(&seen, "presence");
        assert_eq!(presence[0]["payload"]["connected"], false, "{seen:#?}");
        for (seq, text) in [(2, "one"), (3, "two")] {
            say(&mut node, ann.client, "chat:1", seq, text);
        }
        let since = json!({"epoch": joined["epoch"], "offset": before});
        let (again, welcome) = resume(&mut node, &bob, "chat:1", &since);
        assert_eq!(welcome["resumed"], true);
        assert_eq!(text(&welcome["client_id"]), bob.id);
        assert_ne!(text(&welcome["resume_token"]), bob.token, "it rotates");
        say(&mut node, ann.client, "chat:1", 4, "three");
        let got = node.messages(again);
        assert_eq!(got[0]["type"], "joined");
        assert_eq!(got[0]["payload"]["recovered"], true);
        assert_eq!(got[0]["payload"]["offset"], before);
        let expected = ["one", "two", "three"];
        let offsets: Vec<_> = (1..)
            .map(|n| before + n)
            .zip(expected.map(str::to_owned))
            .collect();
        assert_eq!(chats(&got), offsets);
        let seen = node.messages(ann.client);
        assert_eq!(of_type(&seen, "presence")[0]["payload"]["connected"], true);
        node.assert_gone();
    }
}

#[test]
fn a_takeover_ends_the_old_connection_and_its_voice() {
    let mut node = setup(2);
    let ann = begin(&mut node);
    let joined = join(&mut node, ann.client, "chat:1");
    let bob = begin(&mut node);
    join(&mut node, bob.client, "chat:1");
    node.messages(ann.client);
    let since = json!({"epoch": joined["epoch"], "offset": joined["offset"]});
    // What it sent before is done; what it sends after is not.
    say(&mut node, ann.client, "chat:1", 1, "before");
    let (again, welcome) = resume(&mut node, &ann, "chat:1", &since);
    assert_eq!(welcome["resumed"], true);
    let old = node.drain(ann.client);
    assert!(matches!(old.last(), Some(Got::Close(4501, _))), "{old:?}");
    node.send(
        ann.client,
        r#"{"type":"chat","room_id":"chat:1","payload":"after"}"#,
    );
    node.settle();
    assert_eq!(chats(&node.messages(bob.client)).len(), 1);
    assert_eq!(chats(&node.messages(again)).len(), 1);
    say(&mut node, again, "chat:1", 1, "before");
    let got = node.messages(again);
    assert_eq!(acks(&got)[0].0, 1, "its first answer again");
    assert!(chats(&node.messages(bob.client)).is_empty());
}

#[test]
fn a_hello_that_comes_late_takes_nothing() {
    for is_gone in [false, true] {
        let mut node = setup(2);
        let ann = begin(&mut node);
        join(&mut node, ann.client, "chat:1");
        // Its connection is given up before its `hello` arrives, as is that of the next one, perhaps.
        let late = node.connect();
        node.pass(10);
        let (newer, welcome) = resume(&mut node, &ann, "chat:1", &Value::Null);
        assert_eq!(welcome["resumed"], true);
        if is_gone {
            node.cut(newer);
        }
        node.settle();
        let payload = json!({"version": 1, "resume_token": ann.token});
        let hello = json!({"type": "hello", "payload": payload});
        node.say(late, &hello.to_string());
        let got = node.drain(late);
        assert!(matches!(&got[..], [Got::Close(4000, _)]), "{got:?}");
        if !is_gone {
            assert!(acks(&node.messages(newer)).is_empty());
            say(&mut node, newer, "chat:1", 1, "here");
            assert_eq!(acks(&node.messages(newer)).len(), 1);
        }
        // Where the `welcome` of the newer one was lost, the same token is shown again, on a newer connection still.
        let (again, welcome) = resume(&mut node, &ann, "chat:1", &Value::Null);
        assert_eq!(welcome["resumed"], true);
        let code = |it: &Got| matches!(it, Got::Close(4000, _));
        assert_eq!(node.drain(newer).iter().any(code), !is_gone);
        say(&mut node, again, "chat:1", 2 - u64::from(is_gone), "again");
        assert!(!acks(&node.messages(again)).is_empty());
    }
}

#[test]
fn a_token_is_good_once_more_and_then_stale() {
    let mut node = setup(3);
    let ann = begin(&mut node);
    join(&mut node, ann.client, "chat:1");
    let again = |node: &mut Node, token: &str| hello(node, json!({"resume_token": token})).1;
    let second = again(&mut node, &ann.token);
    assert_eq!(second["resumed"], true);
    // The `welcome` may have been lost: the same token brings the same new one.
    let repeated = again(&mut node, &ann.token);
    assert_eq!(repeated["resumed"], true);
    assert_eq!(repeated["resume_token"], second["resume_token"]);
    let third = again(&mut node, &text(&second["resume_token"]));
    assert_eq!(third["resumed"], true);
    // Two steps back it opens nothing, and touches nobody.
    let stale = again(&mut node, &ann.token);
    assert_eq!(stale["resumed"], false);
    assert_ne!(text(&stale["client_id"]), ann.id);
    assert_eq!(
        again(&mut node, &text(&third["resume_token"]))["resumed"],
        true
    );
    for wrong in ["", "x", &ann.token[..40], &"A".repeat(76)] {
        let welcome = again(&mut node, wrong);
        assert_eq!(welcome["resumed"], false);
        assert_ne!(text(&welcome["client_id"]), ann.id);
    }
}

#[test]
fn a_session_ends_after_its_grace_and_keeps_its_name() {
    let mut node = setup(2);
    let (ann, bob) = (begin(&mut node), begin(&mut node));
    join(&mut node, ann.client, "chat:1");
    join(&mut node, bob.client, "chat:1");
    node.cut(bob.client);
    node.jump(29_999);
    node.messages(ann.client);
    node.jump(2);
    let seen = node.messages(ann.client);
    assert_eq!(of_type(&seen, "player_left").len(), 1, "{seen:#?}");
    let (_, welcome) = resume(&mut node, &bob, "chat:1", &Value::Null);
    assert_eq!(welcome["resumed"], false);
    assert_eq!(text(&welcome["client_id"]), bob.id);
    node.assert_gone();
}

#[test]
fn a_goodbye_shortens_the_grace_and_a_normal_close_ends_it() {
    let mut node = setup(1);
    let watcher = begin(&mut node);
    join(&mut node, watcher.client, "chat:1");
    for (code, left_after) in [(1000, 100), (1001, 5_010), (4123, 30_010)] {
        let ann = begin(&mut node);
        join(&mut node, ann.client, "chat:1");
        let conn = node.sockets[ann.client].conn;
        let now = node.now;
        node.shards[0].closed_by_peer(now, conn, code);
        node.settle();
        let at_once = node.messages(watcher.client);
        assert_eq!(
            of_type(&at_once, "player_left").is_empty(),
            code != 1000,
            "{code}"
        );
        node.jump(left_after - 20);
        let early = node.messages(watcher.client);
        assert!(of_type(&early, "player_left").is_empty(), "{code}");
        node.jump(40);
        let late = node.messages(watcher.client);
        assert_eq!(
            of_type(&late, "player_left").len(),
            usize::from(code != 1000),
            "{code}"
        );
    }
}

#[test]
fn a_numbered_message_is_acked_once_in_order_and_never_done_twice() {
    let mut node = setup(2);
    let (ann, bob) = (begin(&mut node), begin(&mut node));
    join(&mut node, bob.client, "chat:1");
    join(&mut node, ann.client, "chat:1");
    node.messages(bob.client);
    for seq in [1, 2] {
        let chat = json!({"type": "chat", "room_id": "chat:1", "payload": "x", "seq": seq});
        node.send(ann.client, &chat.to_string());
    }
    node.settle();
    let got = node.messages(ann.client);
    assert_eq!(of_type(&got, "ack").len(), 1, "one a turn: {got:#?}");
    let first = acks(&got);
    assert_eq!((first.len(), first[1].1), (2, first[0].1 + 1));
    say(&mut node, ann.client, "chat:1", 2, "again");
    assert_eq!(acks(&node.messages(ann.client)), [first[1]]);
    say(&mut node, ann.client, "chat:1", 4, "too early");
    say(&mut node, ann.client, "chat:1", 5, "too early");
    let errors = node.messages(ann.client);
    assert_eq!(errors.len(), 1, "told once: {errors:#?}");
    assert_eq!(errors[0]["payload"]["code"], "seq_gap");
    assert_eq!(errors[0]["payload"]["seq"], 3);
    node.say(
        ann.client,
        r#"{"type":"skip","room_id":"chat:1","payload":{"seq":3}}"#,
    );
    assert_eq!(acks(&node.messages(ann.client)), [(3, 0)]);
    say(&mut node, ann.client, "chat:1", 4, "now");
    assert_eq!(acks(&node.messages(ann.client)).len(), 1);
    assert_eq!(chats(&node.messages(bob.client)).len(), 3);
    // A final refusal uses its number up.
    node.say(ann.client, r#"{"type":"chat","room_id":"chat:1","seq":5}"#);
    node.error(ann.client, "missing_field");
    say(&mut node, ann.client, "chat:1", 5, "again");
    node.error(ann.client, "missing_field");
    say(&mut node, ann.client, "chat:1", 6, "on");
    assert_eq!(acks(&node.messages(ann.client))[0].0, 6);
}

#[test]
fn numbers_at_the_end_of_their_range_are_refused_or_gaps() {
    let mut node = setup(1);
    let ann = begin(&mut node);
    join(&mut node, ann.client, "chat:1");
    say(&mut node, ann.client, "chat:1", (1 << 53) - 1, "far");
    assert_eq!(node.error(ann.client, "seq_gap")["payload"]["seq"], 1);
    for seq in ["9007199254740992", "18446744073709551616", "-1", "1.5"] {
        let chat = format!(r#"{{"type":"chat","room_id":"chat:1","payload":"x","seq":{seq}}}"#);
        node.say(ann.client, &chat);
        let got = node.messages(ann.client);
        assert_eq!(got[0]["type"], "error", "{seq}");
    }
}

#[test]
fn where_the_log_has_moved_on_the_client_is_told() {
    let mut kind = relay("chat");
    kind.retention.events = 5;
    let mut node = node(1, Settings::default(), vec![kind]);
    let (ann, bob) = (begin(&mut node), begin(&mut node));
    join(&mut node, ann.client, "chat:1");
    let joined = join(&mut node, bob.client, "chat:1");
    node.cut(bob.client);
    for seq in 1..=8 {
        say(&mut node, ann.client, "chat:1", seq, "x");
    }
    let since = json!({"epoch": joined["epoch"], "offset": joined["offset"]});
    let (again, _) = resume(&mut node, &bob, "chat:1", &since);
    let got = node.messages(again);
    assert_eq!(got[0]["payload"]["recovered"], false);
    assert!(chats(&got).is_empty(), "{got:#?}");
    let newest = got[0]["payload"]["offset"].as_u64().unwrap();
    say(&mut node, ann.client, "chat:1", 9, "next");
    assert_eq!(
        chats(&node.messages(again)),
        [(newest + 1, "next".to_owned())]
    );
    let notices = &node.shards[0].host().notices;
    assert!(
        notices.iter().any(|it| it.contains("ShortLog")),
        "{notices:?}"
    );
}

#[test]
fn a_new_member_may_ask_for_what_came_since_a_position() {
    let mut node = setup(2);
    let ann = begin(&mut node);
    let joined = join(&mut node, ann.client, "chat:1");
    for seq in 1..=3 {
        say(&mut node, ann.client, "chat:1", seq, "x");
    }
    let bob = begin(&mut node);
    let since = json!({"epoch": joined["epoch"], "offset": joined["offset"].as_u64().unwrap() + 2});
    let ask = json!({"type": "join_room", "room_id": "chat:1", "payload": {"since": since}});
    node.say(bob.client, &ask.to_string());
    let got = node.messages(bob.client);
    assert_eq!(got[0]["payload"]["recovered"], true);
    assert_eq!(chats(&got).len(), 2, "{got:#?}");
    assert_eq!(of_type(&got, "player_joined").len(), 1, "its own");
    let wrong = json!({"epoch": "another", "offset": 1});
    let carl = begin(&mut node);
    let ask = json!({"type": "join_room", "room_id": "chat:1", "payload": {"since": wrong}});
    node.say(carl.client, &ask.to_string());
    assert_eq!(node.messages(carl.client)[0]["payload"]["recovered"], false);
}

#[test]
fn history_comes_in_pages_in_both_directions() {
    let mut node = node(
        1,
        Settings {
            messages_per_second: 0,
            ..Settings::default()
        },
        vec![relay("chat")],
    );
    let ann = begin(&mut node);
    join(&mut node, ann.client, "chat:1");
    for seq in 1..=250 {
        say(&mut node, ann.client, "chat:1", seq, &seq.to_string());
    }
    node.messages(ann.client);
    for forward in [true, false] {
        let (mut all, mut next, mut pages) = (Vec::new(), 0, 0);
        loop {
            let place = if forward { "after" } else { "before" };
            let ask = json!({"type": "history", "room_id": "chat:1", "payload": {place: next}});
            node.say(ann.client, &ask.to_string());
            let page = node.messages(ann.client).remove(0);
            assert_eq!(page["type"], "history");
            for event in page["payload"]["events"].as_array().unwrap() {
                all.push(event["offset"].as_u64().unwrap());
            }
            pages += 1;
            next = page["payload"]["next"].as_u64().unwrap();
            if next == 0 {
                break;
            }
        }
        if !forward {
            all.reverse();
        }
        assert_eq!(all, (1..=251).collect::<Vec<_>>(), "forward: {forward}");
        assert!(pages >= 3, "{pages}");
    }
}

#[test]
fn a_slow_reader_is_fed_from_the_log_and_misses_nothing() {
    let settings = Settings {
        event_lane: 20_000,
        write_timeout: 0,
        messages_per_second: 0,
        ..Settings::default()
    };
    let mut node = node(2, settings, vec![relay("chat")]);
    let (ann, bob) = (begin(&mut node), begin(&mut node));
    let joined = join(&mut node, bob.client, "chat:1");
    join(&mut node, ann.client, "chat:1");
    node.drain(bob.client);
    node.sockets[bob.client].window = 3_000;
    let text = "x".repeat(500);
    for seq in 1..=200 {
        say(&mut node, ann.client, "chat:1", seq, &text);
        node.drain(ann.client);
    }
    let behind: u64 = node
        .shards
        .iter_mut()
        .map(|it| it.stats().readers_behind)
        .sum();
    assert!(behind > 0, "its lane was full");
    assert!(node.sockets[bob.client].open);
    let got = chats(&node.messages(bob.client));
    let offsets: Vec<u64> = got.iter().map(|(offset, _)| *offset).collect();
    let first = joined["offset"].as_u64().unwrap() + 3;
    assert_eq!(offsets, (first..first + 200).collect::<Vec<_>>());
    say(&mut node, ann.client, "chat:1", 201, "live");
    assert_eq!(chats(&node.messages(bob.client)).len(), 1);
}

#[test]
fn a_slow_reader_behind_the_log_is_told_and_goes_on() {
    let settings = Settings {
        event_lane: 20_000,
        write_timeout: 0,
        messages_per_second: 0,
        ..Settings::default()
    };
    let mut kind = relay("chat");
    kind.retention.events = 10;
    let mut node = node(1, settings, vec![kind]);
    let (ann, bob) = (begin(&mut node), begin(&mut node));
    join(&mut node, bob.client, "chat:1");
    join(&mut node, ann.client, "chat:1");
    node.drain(bob.client);
    node.sockets[bob.client].window = 3_000;
    for seq in 1..=200 {
        say(&mut node, ann.client, "chat:1", seq, &"x".repeat(500));
        node.drain(ann.client);
    }
    let got = node.messages(bob.client);
    let told = of_type(&got, "joined");
    assert_eq!(told.len(), 1, "unasked");
    assert_eq!(told[0]["payload"]["recovered"], false);
    let newest = told[0]["payload"]["offset"].as_u64().unwrap();
    say(&mut node, ann.client, "chat:1", 201, "next");
    let next = chats(&node.messages(bob.client));
    assert_eq!(next, [(newest + 1, "next".to_owned())]);
}

#[test]
fn direct_messages_wait_in_the_inbox_and_are_acked() {
    for shards in [1, 3] {
        let mut node = setup(shards);
        let (ann, bob) = (begin(&mut node), begin(&mut node));
        let chat = |seq: u64| {
            json!({"type": "chat", "to_client_id": bob.id, "payload": format!("{seq}"), "seq": seq})
                .to_string()
        };
        node.say(ann.client, &chat(1));
        let got = node.messages(bob.client);
        assert_eq!((got[0]["offset"].as_u64(), got.len()), (Some(1), 1));
        let epoch = got[0]["epoch"].clone();
        node.cut(bob.client);
        node.settle();
        for seq in [2, 3, 3] {
            node.say(ann.client, &chat(seq));
        }
        assert_eq!(
            acks(&node.messages(ann.client)),
            [(1, 1), (2, 2), (3, 3), (3, 3)]
        );
        let payload = json!({"resume_token": bob.token, "inbox": {"epoch": epoch, "offset": 1}});
        let (again, welcome) = hello(&mut node, payload);
        assert_eq!(welcome["inbox_recovered"], true);
        let got = chats(&node.messages(again));
        assert_eq!(got, [(2, "2".to_owned()), (3, "3".to_owned())]);
        node.say(ann.client, &chat(5));
        node.error(ann.client, "seq_gap");
    }
}

#[test]
fn a_client_that_is_a_new_one_counts_its_direct_messages_from_1() {
    let mut node = setup(1);
    let bob = begin(&mut node);
    let payload = json!({"resume_token": "no token at all", "first_direct_seq": 11});
    let (ann, welcome) = hello(&mut node, payload);
    assert_eq!(welcome["resumed"], false);
    assert_eq!(welcome["direct_repeats_possible"], false);
    let chat = json!({"type": "chat", "to_client_id": bob.id, "payload": "psst", "seq": 1});
    node.say(ann, &chat.to_string());
    assert_eq!(acks(&node.messages(ann)), [(1, 1)]);
    assert_eq!(chats(&node.messages(bob.client)), [(1, "psst".to_owned())]);
}

#[test]
fn a_message_to_a_user_reaches_all_sessions() {
    for shards in [1, 3] {
        let mut node = setup(shards);
        let (one, _) = hello(&mut node, json!({"token": "ann all:chat:1"}));
        let (two, _) = hello(&mut node, json!({"token": "ann all:chat:1"}));
        let bob = begin(&mut node);
        node.say(
            bob.client,
            r#"{"type":"chat","to_user_id":"ann","payload":"hi","seq":1}"#,
        );
        for client in [one, two] {
            let got = node.messages(client);
            assert_eq!(got[0]["to_user_id"], "ann", "{got:#?}");
            assert_eq!(chats(&got), [(1, "hi".to_owned())]);
        }
        assert_eq!(acks(&node.messages(bob.client)), [(1, 1)]);
        node.say(
            bob.client,
            r#"{"type":"chat","to_user_id":"carl","payload":"hi","seq":2}"#,
        );
        node.error(bob.client, "recipient_not_found");
    }
}

#[test]
fn a_session_without_grace_ends_with_its_connection() {
    let settings = Settings {
        session_grace: 0,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![Kind::default()]);
    let (ann, welcome) = hello(&mut node, json!({"version": 1}));
    assert!(welcome["resume_token"].is_null());
    assert_eq!(welcome["grace_ms"], 0);
    join(&mut node, ann, "room");
    node.assert_empty();
}
