//! Rooms, as their members see them.

mod common;

use common::{Got, node, relay, text};
use roomcast_core::settings::{Kind, PresenceMode, Settings};

const JOIN: &str = r#"{"type":"join_room","payload":{"room_id":"room-123"}}"#;

fn kind(name: &str, change: impl FnOnce(&mut Kind)) -> Vec<Kind> {
    let mut kind = Kind {
        name: name.to_owned(),
        ..Kind::default()
    };
    change(&mut kind);
    vec![kind]
}

#[test]
fn a_joiner_gets_joined_then_its_own_player_joined_then_all_of_the_state() {
    let mut node = node(1, Settings::default(), vec![]);
    let ann = node.connect();
    node.say(
        ann,
        r#"{"type":"join_room","payload":{"room_id":"room-123","nickname":"Ann"}}"#,
    );
    let got = node.messages(ann);
    let types: Vec<_> = got.iter().map(|message| text(&message["type"])).collect();
    assert_eq!(types[..3], ["joined", "player_joined", "sync"]);
    assert_eq!(got[0]["payload"]["player_num"], 1);
    assert_eq!(got[0]["payload"]["total"], 1);
    assert_eq!(got[0]["payload"]["offset"], 0);
    assert_eq!(got[0]["payload"]["members"][0]["nickname"], "Ann");
    assert_eq!(
        got[1]["payload"]["player_id"],
        got[0]["payload"]["player_id"]
    );
    assert_eq!(got[1]["offset"], 1);
    assert_eq!(got[2]["payload"]["full"], true);
    assert_eq!(got[2]["payload"]["players"][0]["health"], 100);
    node.assert_empty();
}

#[test]
fn everybody_hears_who_comes_speaks_and_goes_in_one_order() {
    for shards in [1, 3] {
        let mut node = node(shards, Settings::default(), vec![relay("default")]);
        let (ann, bob) = (node.member("room-123"), node.connect());
        node.say(bob, JOIN);
        node.say(bob, r#"{"type":"chat","payload":"hi"}"#);
        node.say(
            ann,
            r#"{"type":"event","name":"wave","payload":{"to":"bob"}}"#,
        );
        node.say(
            bob,
            r#"{"type":"game_action","payload":{"action":"jump","height":2}}"#,
        );
        node.say(ann, r#"{"type":"leave_room","room_id":"room-123"}"#);
        let (seen_by_ann, seen_by_bob) = (node.messages(ann), node.messages(bob));
        let types = |seen: &[serde_json::Value]| -> Vec<String> {
            seen.iter().map(|message| text(&message["type"])).collect()
        };
        let events = [
            "player_joined",
            "chat",
            "event",
            "game_action",
            "player_left",
        ];
        assert_eq!(types(&seen_by_ann), events);
        assert_eq!(types(&seen_by_bob)[0], "joined");
        assert_eq!(types(&seen_by_bob)[1..], events);
        let offsets: Vec<_> = seen_by_bob[1..]
            .iter()
            .map(|message| message["offset"].as_u64())
            .collect();
        assert_eq!(offsets, [Some(2), Some(3), Some(4), Some(5), Some(6)]);
        assert_eq!(seen_by_bob[2]["payload"], "hi");
        assert_eq!(seen_by_bob[4]["payload"]["height"], 2);
        assert_eq!(seen_by_ann[1], seen_by_bob[2]);
        node.assert_empty();
    }
}

#[test]
fn a_message_without_a_room_means_the_one_joined_last_and_not_left() {
    let mut node = node(2, Settings::default(), vec![relay("default")]);
    let ann = node.member("one");
    node.say(ann, r#"{"type":"join_room","room_id":"two"}"#);
    node.messages(ann);
    node.say(ann, r#"{"type":"chat","payload":1}"#);
    assert_eq!(node.messages(ann)[0]["room_id"], "two");
    node.say(ann, r#"{"type":"leave_room"}"#);
    node.messages(ann);
    node.say(ann, r#"{"type":"chat","payload":2}"#);
    assert_eq!(node.messages(ann)[0]["room_id"], "one");
    node.say(ann, r#"{"type":"leave_room"}"#);
    node.messages(ann);
    node.say(ann, r#"{"type":"chat","payload":3}"#);
    node.error(ann, "not_in_room");
}

#[test]
fn joining_again_only_repeats_joined() {
    let mut node = node(2, Settings::default(), vec![]);
    let (ann, bob) = (node.member("room-123"), node.member("room-123"));
    node.say(ann, JOIN);
    assert_eq!(node.types(ann), ["joined"]);
    assert!(node.messages(bob).is_empty());
}

#[test]
fn who_leaves_and_joins_in_one_breath_is_in() {
    for shards in [1, 3] {
        let mut node = node(shards, Settings::default(), vec![relay("default")]);
        let (ann, bob) = (node.member("room-123"), node.member("room-123"));
        for _ in 0..3 {
            node.send(ann, r#"{"type":"leave_room"}"#);
            node.send(ann, JOIN);
            node.send(ann, r#"{"type":"chat","payload":"back"}"#);
        }
        node.settle();
        let types = node.types(bob);
        assert_eq!(types.len(), 9, "{types:?}");
        assert_eq!(types[6..], ["player_left", "player_joined", "chat"]);
        node.messages(ann);
        node.say(bob, r#"{"type":"chat","payload":"hello"}"#);
        assert_eq!(node.types(ann), ["chat"]);
        node.assert_empty();
    }
}

#[test]
fn a_full_room_takes_nobody_more_until_somebody_leaves() {
    let mut node = node(
        2,
        Settings::default(),
        kind("duel", |kind| kind.max_players = 2),
    );
    let (ann, _bob) = (node.member("duel:1"), node.member("duel:1"));
    let cid = node.connect();
    let join = r#"{"type":"join_room","room_id":"duel:1"}"#;
    node.say(cid, join);
    let error = node.error(cid, "room_full");
    assert_eq!(error["room_id"], "duel:1");
    node.say(cid, r#"{"type":"chat","room_id":"duel:1","payload":1}"#);
    node.error(cid, "not_in_room");
    node.say(ann, r#"{"type":"leave_room"}"#);
    node.say(cid, join);
    assert_eq!(node.types(cid)[0], "joined");
    node.assert_empty();
}

#[test]
fn a_kind_that_is_not_configured_is_default_or_refused_as_set() {
    let mut open = node(1, Settings::default(), vec![]);
    let ann = open.connect();
    open.say(ann, r#"{"type":"join_room","room_id":"what:1"}"#);
    assert_eq!(open.types(ann)[0], "joined");
    let settings = Settings {
        refuse_unknown_kinds: true,
        ..Settings::default()
    };
    let mut strict = node(1, settings, vec![]);
    let ann = strict.connect();
    strict.say(ann, r#"{"type":"join_room","room_id":"what:1"}"#);
    strict.error(ann, "unknown_kind");
    strict.assert_empty();
}

#[test]
fn a_sender_that_wants_no_echo_gets_none_and_all_else_in_order() {
    for shards in [1, 2] {
        let mut node = node(shards, Settings::default(), vec![relay("default")]);
        let (ann, bob) = (node.member("room"), node.member("room"));
        for (from, n, quiet) in [
            (ann, 1, true),
            (bob, 2, true),
            (ann, 3, false),
            (ann, 4, true),
            (bob, 5, false),
        ] {
            let chat = format!(r#"{{"type":"chat","payload":{n},"no_echo":{quiet}}}"#);
            node.send(from, &chat);
        }
        node.settle();
        let mut said = |client| -> Vec<i64> {
            node.messages(client)
                .iter()
                .filter_map(|message| message["payload"].as_i64())
                .collect()
        };
        let (mut ann, mut bob) = (said(ann), said(bob));
        ann.sort_unstable();
        bob.sort_unstable();
        assert_eq!(ann, [2, 3, 5]);
        assert_eq!(bob, [1, 3, 4, 5]);
    }
}

#[test]
fn a_kind_may_be_without_echo_and_a_message_may_ask_for_it() {
    let mut node = node(
        1,
        Settings::default(),
        kind("quiet", |kind| kind.no_echo = true),
    );
    let (ann, bob) = (node.member("quiet:1"), node.member("quiet:1"));
    node.say(ann, r#"{"type":"chat","payload":1}"#);
    assert!(node.messages(ann).is_empty());
    node.say(ann, r#"{"type":"chat","payload":2,"no_echo":false}"#);
    assert_eq!(node.messages(ann)[0]["payload"], 2);
    assert_eq!(node.messages(bob).len(), 2);
}

#[test]
fn an_ephemeral_event_has_no_offset() {
    let mut node = node(1, Settings::default(), vec![relay("default")]);
    let (ann, bob) = (node.member("room"), node.member("room"));
    node.say(ann, r#"{"type":"event","name":"typing","ephemeral":true}"#);
    node.say(ann, r#"{"type":"chat","payload":1}"#);
    let got = node.messages(bob);
    assert_eq!(
        (&got[0]["ephemeral"], &got[0]["offset"]),
        (&true.into(), &serde_json::Value::Null)
    );
    assert_eq!(got[1]["offset"], 3);
}

#[test]
fn presence_keys_are_merged_and_shown_to_all() {
    let mut node = node(2, Settings::default(), vec![relay("default")]);
    let (ann, bob) = (node.member("room"), node.member("room"));
    node.say(
        ann,
        r#"{"type":"presence","payload":{"presence":{"mood":"good","at":{"x":1}}}}"#,
    );
    node.say(
        ann,
        r#"{"type":"presence","payload":{"presence":{"mood":null,"away":true}}}"#,
    );
    let got = node.messages(bob);
    let last = &got.last().expect("a presence")["payload"];
    assert_eq!(
        last["presence"],
        serde_json::json!({"at":{"x":1},"away":true})
    );
    let cid = node.connect();
    node.say(cid, r#"{"type":"join_room","room_id":"room"}"#);
    let joined = &node.messages(cid)[0];
    assert_eq!(joined["payload"]["members"][0]["presence"]["away"], true);
    let big = format!(
        r#"{{"type":"presence","payload":{{"presence":{{"x":"{}"}}}}}}"#,
        "y".repeat(3_000)
    );
    node.messages(ann);
    node.say(ann, &big);
    node.error(ann, "presence_too_large");
}

#[test]
fn members_come_in_pages() {
    let mut node = node(
        1,
        Settings {
            max_rooms: 0,
            ..Settings::default()
        },
        kind("big", |kind| {
            kind.presence = PresenceMode::Count;
        }),
    );
    let clients: Vec<_> = (0..230).map(|_| node.connect()).collect();
    for client in &clients {
        node.send(*client, r#"{"type":"join_room","room_id":"big:1"}"#);
    }
    node.settle();
    let joined = node.messages(clients[229]);
    assert_eq!(
        joined[0]["payload"]["members"].as_array().map(Vec::len),
        Some(100)
    );
    assert_eq!(joined[0]["payload"]["total"], 230);
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        node.say(
            clients[0],
            &format!(r#"{{"type":"members","payload":{{"after":{after},"limit":90}}}}"#),
        );
        let page = node
            .messages(clients[0])
            .into_iter()
            .find(|m| m["type"] == "members")
            .expect("a page");
        let members = page["payload"]["members"]
            .as_array()
            .expect("members")
            .clone();
        seen.extend(
            members
                .iter()
                .filter_map(|member| member["player_num"].as_u64()),
        );
        after = page["payload"]["next"].as_u64().unwrap_or(0);
        if after == 0 {
            break;
        }
    }
    assert_eq!(seen, (1..=230).collect::<Vec<_>>());
}

#[test]
fn a_room_that_grows_past_the_limit_counts_for_the_rest_of_its_life() {
    let mut node = node(
        2,
        Settings::default(),
        kind("hall", |kind| kind.full_presence_limit = 3),
    );
    let ann = node.member("hall:1");
    for _ in 0..2 {
        node.member("hall:1");
    }
    let fourth = node.connect();
    node.say(fourth, r#"{"type":"join_room","room_id":"hall:1"}"#);
    node.pass(200);
    let got = node.messages(fourth);
    let types: Vec<_> = got.iter().map(|message| text(&message["type"])).collect();
    assert_eq!(types[..3], ["joined", "player_joined", "event"], "{got:#?}");
    let told = node.messages(ann);
    let event = told
        .iter()
        .find(|message| message["type"] == "event")
        .expect("the event that tells it");
    assert_eq!(event["name"], "roomcast.presence");
    assert_eq!(event["offset"], 4);
    let fifth = node.connect();
    node.say(fifth, r#"{"type":"join_room","room_id":"hall:1"}"#);
    node.pass(200);
    assert_eq!(node.types(fifth)[..2], ["joined", "player_joined"]);
    let told = node.messages(ann);
    assert!(
        told.iter()
            .all(|message| message["type"] != "player_joined"),
        "{told:#?}"
    );
    let count = told
        .iter()
        .rfind(|message| message["type"] == "presence")
        .expect("a count");
    assert_eq!(count["payload"]["total"], 5);
    for client in [fourth, fifth] {
        node.cut(client);
    }
    node.pass(200);
    let told = node.messages(ann);
    assert!(told.iter().all(|message| message["type"] != "player_left"));
    assert_eq!(told.last().expect("a count")["payload"]["total"], 3);
    node.assert_empty();
}

#[test]
fn a_kind_without_presence_tells_nobody() {
    let mut node = node(
        1,
        Settings::default(),
        kind("dark", |kind| kind.presence = PresenceMode::None),
    );
    let ann = node.member("dark:1");
    let bob = node.connect();
    node.say(bob, r#"{"type":"join_room","room_id":"dark:1"}"#);
    node.say(bob, r#"{"type":"presence","payload":{"presence":{"x":1}}}"#);
    node.say(bob, r#"{"type":"leave_room"}"#);
    assert!(node.types(ann).iter().all(|kind| kind == "sync"));
    assert_eq!(node.types(bob)[..2], ["joined", "player_joined"]);
}

#[test]
fn a_direct_message_reaches_one_client_on_any_shard() {
    let mut node = node(3, Settings::default(), vec![]);
    let clients: Vec<_> = (0..4).map(|_| node.connect()).collect();
    let mut ids = Vec::new();
    for client in &clients {
        node.say(*client, r#"{"type":"hello","payload":{"version":1}}"#);
        let welcome = node.messages(*client).remove(0);
        assert_eq!(welcome["type"], "welcome");
        assert_eq!(welcome["payload"]["seq_acked"], true);
        ids.push(text(&welcome["payload"]["client_id"]));
    }
    for (to, id) in clients.iter().zip(&ids) {
        node.say(
            clients[0],
            &format!(r#"{{"type":"chat","to_client_id":"{id}","payload":"psst"}}"#),
        );
        let got = node.messages(*to);
        assert_eq!(got.len(), 1);
        assert_eq!(text(&got[0]["from_client_id"]), ids[0]);
    }
    node.say(
        clients[1],
        r#"{"type":"event","name":"x","to_client_id":"nobody-at-all","payload":1}"#,
    );
    node.error(clients[1], "recipient_not_found");
}

#[test]
fn hello_is_the_first_message_or_an_error() {
    let mut node = node(1, Settings::default(), vec![]);
    let ann = node.member("room");
    node.say(ann, r#"{"type":"hello","payload":{"version":1}}"#);
    node.error(ann, "unexpected");
    let bob = node.connect();
    node.say(bob, r#"{"type":"hello","payload":{"version":99}}"#);
    node.error(bob, "unsupported_version");
}

#[test]
fn a_ping_is_answered_with_the_clock_and_its_payload() {
    let mut node = node(1, Settings::default(), vec![]);
    let ann = node.connect();
    node.say(ann, r#"{"type":"ping","payload":{"n":7}}"#);
    let pong = &node.messages(ann)[0];
    assert_eq!(pong["type"], "pong");
    assert_eq!(pong["payload"]["n"], 7);
    assert_eq!(pong["timestamp"], node.now.unix_ms);
}

#[test]
fn nobody_in_the_room_hears_of_a_cut_connection_but_that_it_left() {
    let mut node = node(2, Settings::default(), vec![]);
    let (ann, bob) = (node.member("room"), node.member("room"));
    node.cut(bob);
    node.pass(100);
    let types = node.types(ann);
    assert_eq!(types, ["player_left", "sync"]);
    assert!(!node.drain(ann).contains(&Got::Ping));
    node.assert_empty();
}

#[test]
fn who_joins_an_empty_room_is_told_later_than_who_was_there_before() {
    let mut node = node(1, Settings::default(), vec![relay("default")]);
    let ann = node.connect();
    node.say(ann, JOIN);
    let joined = node.messages(ann).remove(0);
    let epoch = text(&joined["payload"]["epoch"]);
    let bob = node.connect();
    // In one turn, at one moment: nobody reads that Ann has left.
    node.send(ann, r#"{"type":"leave_room","room_id":"room-123"}"#);
    let since = format!(r#"{{"epoch":"{epoch}","offset":0}}"#);
    let join =
        format!(r#"{{"type":"join_room","room_id":"room-123","payload":{{"since":{since}}}}}"#);
    node.say(bob, &join);
    let got = node.messages(bob);
    let (joined, missed) = (&got[0], &got[1]);
    assert_eq!(joined["payload"]["total"], 1, "{got:#?}");
    assert_eq!(joined["payload"]["recovered"], true, "{got:#?}");
    assert_eq!(missed["type"], "player_joined", "{got:#?}");
    assert!(
        missed["timestamp"].as_i64() < joined["timestamp"].as_i64(),
        "{got:#?}"
    );
}

#[test]
fn what_follows_a_join_into_an_empty_room_is_dated_alike_live_and_in_the_log() {
    let mut kind = relay("default");
    // Nothing is logged of a join then.
    kind.presence = PresenceMode::Count;
    let mut node = node(1, Settings::default(), vec![kind]);
    let (ann, bob) = (node.connect(), node.connect());
    node.say(ann, JOIN);
    node.say(ann, r#"{"type":"chat","room_id":"room-123","payload":"1"}"#);
    // In one turn, at one moment.
    node.send(ann, r#"{"type":"leave_room","room_id":"room-123"}"#);
    node.send(bob, JOIN);
    node.send(bob, r#"{"type":"chat","room_id":"room-123","payload":"2"}"#);
    node.say(bob, r#"{"type":"history","room_id":"room-123"}"#);
    let got = node.messages(bob);
    let of_type = |name: &str| got.iter().find(|it| it["type"] == name).expect("it came");
    let (live, page) = (of_type("chat"), of_type("history"));
    let events = page["payload"]["events"].as_array().expect("events");
    let logged = events.iter().find(|it| it["payload"] == live["payload"]);
    let logged = logged.expect("the same event");
    assert_eq!(logged["timestamp"], live["timestamp"], "{got:#?}");
}
