//! What an application's backend says of somebody who is away holds when that one comes back, on whichever node.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::{Node, node, relay, text};
use roomcast_core::backend::{Ask, Asker, Query, Question, Reply, RoomsQuery};
use roomcast_core::settings::{Kind, Settings};
use roomcast_protocol::{ErrorCode, PresenceUpdate};
use serde_json::{Value, json};

fn settings() -> Settings {
    Settings {
        messages_per_second: 0,
        max_offences: 0,
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    }
}

fn kinds() -> Vec<Kind> {
    vec![relay("default"), relay("chat")]
}

fn cluster() -> Cluster {
    Cluster::new(&[1, 2, 1], &settings(), &kinds())
}

/// Asks at a node, and waits for the only answer.
fn answer(cluster: &mut Cluster, node: usize, question: Question) -> Reply {
    let at = cluster.node(node);
    let now = at.now;
    at.shards[0].ask(now, Asker(0), question).unwrap();
    cluster.pass(200);
    let replies = &mut cluster.node(node).replies;
    assert_eq!(replies.len(), 1, "{replies:?}");
    replies.pop().unwrap().2
}

fn of_room(room: &str, ask: Ask) -> Question {
    Question::Room(room.into(), ask)
}

fn kick(user: &str) -> Ask {
    Ask::Kick { user: user.into() }
}

fn disconnect(user: &str) -> Question {
    Question::All(Query::Disconnect {
        user: user.into(),
        clients: Vec::new(),
        reason: "".into(),
    })
}

fn sessions(user: &str) -> Question {
    Question::All(Query::Sessions {
        user: user.into(),
        clients: Vec::new(),
    })
}

/// A user who is in a room, with its resume token.
fn join_as(cluster: &mut Cluster, node: usize, user: &str, room: &str) -> (At, String) {
    let (at, token) = cluster.connect(node);
    let auth = json!({"type": "auth", "payload": {"token": format!("{user} all:{room}")}});
    cluster.say(at, &auth.to_string());
    cluster.drop_all();
    cluster.say(at, &format!(r#"{{"type":"join_room","room_id":"{room}"}}"#));
    cluster.pass(100);
    cluster.drop_all();
    (at, token)
}

/// What a room says to who comes back: errors as their code and the request that they answer.
fn told(messages: &[Value]) -> Vec<String> {
    let of_rooms = messages
        .iter()
        .filter(|it| it["room_id"].as_str().is_some_and(|room| !room.is_empty()));
    let told = of_rooms.map(|it| match text(&it["type"]).as_str() {
        "error" => format!(
            "{} {}",
            text(&it["payload"]["code"]),
            it["payload"]["request"].as_str().unwrap_or_default()
        ),
        other => other.to_owned(),
    });
    told.collect()
}

#[test]
fn who_is_put_out_while_it_is_away_hears_so_and_is_not_in_the_room() {
    for (others, ask, says) in [
        (true, kick("eve"), "removed "),
        (false, kick("eve"), "removed "),
        (
            true,
            Ask::Ban {
                user: "eve".into(),
                until: i64::MAX,
            },
            "banned ",
        ),
    ] {
        let mut cluster = cluster();
        let ann = others.then(|| cluster.member(1, "r"));
        let (eve, token) = join_as(&mut cluster, 0, "eve", "r");
        cluster.node(0).cut(eve.1);
        cluster.pass(100);
        let put_out = answer(&mut cluster, 2, of_room("r", ask));
        assert_eq!(put_out, Reply::Done(1));
        // On another node than before, which takes the session over.
        let back = cluster.come_back(2, &token, "r");
        cluster.pass(1_000);
        let messages = cluster.messages(back);
        assert_eq!(told(&messages), [says], "{messages:#?}");
        cluster.say(back, r#"{"type":"chat","room_id":"r","payload":1}"#);
        assert_eq!(told(&cluster.messages(back)), ["not_in_room chat"]);
        if let Some(ann) = ann {
            assert_eq!(cluster.total(ann, "r"), 1);
        }
    }
}

#[test]
fn who_comes_back_with_a_position_after_a_kick_is_refused_and_who_joins_anew_is_not() {
    let mut node: Node = node(2, settings(), kinds());
    let eve = node.connect();
    node.say(eve, r#"{"type":"hello"}"#);
    let welcome = node.messages(eve).remove(0);
    let token = &welcome["payload"]["resume_token"];
    let user = text(&welcome["payload"]["client_id"]);
    node.say(eve, r#"{"type":"join_room","room_id":"r"}"#);
    let joined = node.messages(eve).remove(0);
    let (epoch, offset) = (&joined["payload"]["epoch"], &joined["payload"]["offset"]);
    let since = json!({"epoch": epoch, "offset": offset});
    let now = node.now;
    let asked = of_room("r", kick(&user));
    node.shards[0].ask(now, Asker(0), asked).unwrap();
    node.settle();
    assert_eq!(node.replies.pop().unwrap().2, Reply::Done(1));
    // It never hears of it: its connection was as good as lost.
    node.cut(eve);
    let back = node.connect();
    let hello = json!({"type": "hello", "payload": {"resume_token": token}});
    node.say(back, &hello.to_string());
    assert_eq!(node.types(back), ["welcome"]);
    // As SDKs do that miss a `joined`.
    let join = json!({"type": "join_room", "room_id": "r", "payload": {"since": since}});
    node.say(back, &join.to_string());
    node.error(back, "removed");
    node.say(back, r#"{"type":"join_room","room_id":"r"}"#);
    assert_eq!(node.types(back), ["joined", "player_joined"]);
    node.say(back, r#"{"type":"leave_room","room_id":"r"}"#);
    node.drain(back);
    // The room closes when nobody can come back any more.
    node.pass(120_000);
    node.assert_gone();
}

#[test]
fn a_user_is_sent_away_whose_session_no_node_has() {
    let mut cluster = cluster();
    let ann = cluster.member(1, "r");
    let (_, token) = join_as(&mut cluster, 0, "eve", "r");
    cluster.pass(100);
    cluster.kill(0);
    cluster.pass(100);
    assert_eq!(
        answer(&mut cluster, 2, disconnect("eve")),
        Reply::Disconnected(1)
    );
    let back = cluster.come_back(1, &token, "r");
    cluster.pass(1_000);
    let messages = cluster.messages(back);
    assert_eq!(
        messages[0]["payload"]["resumed"].as_bool(),
        Some(false),
        "{messages:#?}"
    );
    assert_eq!(told(&messages), [""; 0]);
    // Nobody waits for its seat.
    cluster.drop_all();
    assert_eq!(cluster.total(ann, "r"), 1);
    assert_eq!(
        answer(&mut cluster, 2, sessions("eve")),
        Reply::Sessions(Vec::new())
    );
}

#[test]
fn a_node_that_is_lost_while_a_user_is_sent_away_keeps_no_session() {
    let mut cluster = cluster();
    let (_, token) = join_as(&mut cluster, 0, "eve", "r");
    cluster.pass(100);
    // It is asked, and never answers.
    cluster.hold(2, 0);
    let now = cluster.node(2).now;
    let question = disconnect("eve");
    cluster.node(2).shards[0]
        .ask(now, Asker(0), question)
        .unwrap();
    cluster.pass(200);
    assert!(cluster.node(2).replies.is_empty());
    cluster.kill(0);
    cluster.let_all_go();
    cluster.pass(200);
    assert_eq!(
        cluster.node(2).replies.pop().unwrap().2,
        Reply::Disconnected(1)
    );
    let back = cluster.come_back(1, &token, "r");
    cluster.pass(1_000);
    let messages = cluster.messages(back);
    assert_eq!(
        messages[0]["payload"]["resumed"].as_bool(),
        Some(false),
        "{messages:#?}"
    );
}

#[test]
fn what_is_read_of_a_room_that_is_not_there_opens_none() {
    let mut node = node(2, settings(), kinds());
    for (nth, ask) in [
        Ask::Members { after: 0, limit: 0 },
        Ask::History(Default::default()),
        Ask::Rules,
        Ask::Clear,
        Ask::Lock { until: 0 },
        Ask::Ban {
            user: "eve".into(),
            until: 0,
        },
        kick("eve"),
    ]
    .into_iter()
    .enumerate()
    {
        let now = node.now;
        let room = format!("r{nth}");
        let asked = of_room(&room, ask.clone());
        node.shards[0].ask(now, Asker(0), asked).unwrap();
        node.settle();
        let reply = node.replies.pop().unwrap().2;
        assert!(!matches!(reply, Reply::Failed(_)), "{ask:?}: {reply:?}");
    }
    node.assert_empty();
}

#[test]
fn bans_of_all_rooms_of_a_shard_have_a_bound_and_end() {
    let mut node = node(1, settings(), kinds());
    let until = node.now.unix_ms + 60_000;
    let mut refused = 0;
    for nth in 0..40_000 {
        let now = node.now;
        let ban = Ask::Ban {
            user: "eve".into(),
            until,
        };
        let asked = of_room(&format!("r{nth}"), ban);
        node.shards[0].ask(now, Asker(0), asked).unwrap();
        node.settle();
        match node.replies.pop().unwrap().2 {
            Reply::Done(0) => assert_eq!(refused, 0),
            Reply::Failed(failure) => {
                assert_eq!(failure.code, ErrorCode::TooMany);
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
        if refused > 10 {
            break;
        }
    }
    assert!(refused > 10);
    // They hold no room longer than they last.
    node.pass(61_000);
    node.assert_gone();
}

#[test]
fn a_list_goes_on_where_it_stopped_to_look() {
    let mut node = node(1, settings(), kinds());
    // Many kinds that are not asked for come before the one that is.
    let client = node.connect();
    node.say(client, r#"{"type":"hello"}"#);
    let until = node.now.unix_ms + 60_000;
    for nth in 0..5_000 {
        let now = node.now;
        let lock = of_room(&format!("a{nth}:x"), Ask::Lock { until });
        node.shards[0].ask(now, Asker(0), lock).unwrap();
        node.settle();
    }
    node.say(client, r#"{"type":"join_room","room_id":"plain"}"#);
    node.replies.clear();
    let mut query = RoomsQuery {
        kind: "default".into(),
        limit: 100,
        ..RoomsQuery::default()
    };
    let mut pages = 0;
    let found = loop {
        let now = node.now;
        let question = Question::All(Query::Rooms(query.clone()));
        node.shards[0].ask(now, Asker(0), question).unwrap();
        node.settle();
        let Reply::Rooms { rooms, next } = node.replies.pop().unwrap().2 else {
            panic!("a list");
        };
        pages += 1;
        match next {
            Some(next) if rooms.is_empty() => query.after = next,
            _ => break rooms,
        }
    };
    assert_eq!(pages, 2);
    assert_eq!(found.len(), 1);
    assert_eq!(&*found[0].room, "plain");
}

/// The home of the room takes a node for living that has ended, and is of an older version.
#[test]
fn who_has_asked_is_answered_also_by_a_node_that_has_not_heard_of_the_upgrade() {
    let mut cluster = cluster();
    cluster.member(0, "r");
    cluster.tell_version(0, 1);
    let members = of_room("r", Ask::Members { after: 0, limit: 0 });
    let read = answer(&mut cluster, 2, members);
    assert!(matches!(read, Reply::Message(_)), "{read:?}");
    let found = answer(&mut cluster, 2, sessions("nobody"));
    assert_eq!(found, Reply::Sessions(Vec::new()));
}

fn set(keys: &[(&'static str, Option<&'static str>)]) -> Ask {
    let keys = keys.iter();
    let keys = keys.map(|(key, value)| ((*key).into(), value.map(Into::into)));
    Ask::SetProperties(PresenceUpdate {
        keys: keys.collect(),
        nickname: None,
    })
}

#[test]
fn a_rooms_properties_outlive_its_home_and_who_was_away_hears_of_changes() {
    let mut cluster = cluster();
    let (ann, token) = join_as(&mut cluster, 0, "ann", "r");
    let bob = cluster.member(2, "r");
    let title = set(&[("title", Some(r#""tea""#)), ("old", Some("1"))]);
    let all = r#"{"old":1,"title":"tea"}"#;
    assert_eq!(
        answer(&mut cluster, 1, of_room("r", title)),
        Reply::Properties(all.into())
    );
    let heard = |messages: &[Value]| -> Vec<Value> {
        let events = messages
            .iter()
            .filter(|it| it["name"] == "roomcast.properties");
        events.map(|it| it["payload"].clone()).collect()
    };
    for member in [ann, bob] {
        let messages = cluster.messages(member);
        assert_eq!(heard(&messages), [json!({"old": 1, "title": "tea"})]);
    }
    // It is away while they change, and its node is gone.
    cluster.node(0).cut(ann.1);
    let change = set(&[("old", None)]);
    let changed = answer(&mut cluster, 1, of_room("r", change));
    assert_eq!(changed, Reply::Properties(r#"{"title":"tea"}"#.into()));
    let home = cluster.home_of("r").unwrap();
    cluster.kill(home);
    cluster.pass(1_000);
    let other = cluster.living()[0];
    let back = cluster.come_back(other, &token, "r");
    cluster.pass(1_000);
    let messages = cluster.messages(back);
    let joined = messages.iter().find(|it| it["type"] == "joined").unwrap();
    assert_eq!(joined["payload"]["properties"], json!({"title": "tea"}));
    let read = answer(&mut cluster, other, of_room("r", Ask::Properties));
    assert_eq!(read, Reply::Properties(r#"{"title":"tea"}"#.into()));
}

#[test]
fn a_room_without_members_keeps_its_properties_as_long_as_its_log() {
    let mut node = node(1, settings(), kinds());
    let now = node.now;
    let asked = of_room("r", set(&[("a", Some("1"))]));
    node.shards[0].ask(now, Asker(0), asked).unwrap();
    node.settle();
    node.replies.clear();
    node.pass(200_000);
    let ann = node.member("r");
    node.cut(ann);
    node.pass(200_000);
    assert_eq!(node.shards[0].rooms().0, 1);
    node.pass(400_000);
    node.assert_gone();
}
