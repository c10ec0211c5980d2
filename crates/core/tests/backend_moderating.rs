//! An application's backend sends users away, keeps them out, locks rooms and clears their logs.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/asking.rs"]
mod asking;
#[path = "common/cluster.rs"]
mod cluster;
mod common;

use asking::{answer, ask, cluster, codes, join_as, kinds, of_room, reply, sessions_of, settings};
use cluster::Cluster;
use common::{Got, node};
use roomcast_core::backend::{Ask, Query, Question, Reply};

#[test]
fn a_user_is_sent_away_from_all_nodes() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    let mut seats = Vec::new();
    for node in 0..3 {
        let (at, _) = cluster.connect(node);
        cluster.say(at, r#"{"type":"auth","payload":{"token":"eve all:r"}}"#);
        cluster.say(at, r#"{"type":"join_room","room_id":"r"}"#);
        seats.push(at);
    }
    // One of them is away.
    cluster.node(2).cut(seats[2].1);
    cluster.drop_all();
    cluster.pass(100);
    cluster.drop_all();
    let sessions = Question::All(sessions_of("eve"));
    match answer(&mut cluster, 0, sessions.clone()) {
        Reply::Sessions(sessions) => {
            assert_eq!(sessions.len(), 3);
            assert_eq!(sessions.iter().filter(|it| it.connected).count(), 2);
            assert!(
                sessions.iter().all(|it| it.rooms == ["r".into()]),
                "{sessions:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    let (user, reason) = ("eve".into(), "enough".into());
    let away = Question::All(Query::Disconnect {
        user,
        clients: Vec::new(),
        reason,
    });
    assert_eq!(answer(&mut cluster, 1, away), Reply::Disconnected(3));
    for (node, client) in &seats[..2] {
        let got = cluster.node(*node).drain(*client);
        let closed = Got::Close(4503, "disconnected; enough".to_owned());
        assert!(got.contains(&closed), "{got:?}");
    }
    assert!(cluster.types(ann).contains(&"player_left".to_owned()));
    assert_eq!(
        answer(&mut cluster, 0, sessions),
        Reply::Sessions(Vec::new())
    );
    assert_eq!(cluster.total(ann, "r"), 1);
}

#[test]
fn a_user_is_put_out_of_a_room_and_may_come_again() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    let eves = [1, 2].map(|node| join_as(&mut cluster, node, "eve", "r"));
    cluster.drop_all();
    let user = || "eve".into();
    let kicked = answer(&mut cluster, 2, of_room("r", Ask::Kick { user: user() }));
    assert_eq!(kicked, Reply::Done(2));
    for eve in eves {
        assert_eq!(codes(&mut cluster, eve), ["removed"]);
    }
    assert!(cluster.types(ann).contains(&"player_left".to_owned()));
    assert_eq!(cluster.total(ann, "r"), 1);
    cluster.say(eves[0], r#"{"type":"chat","room_id":"r","payload":1}"#);
    assert_eq!(codes(&mut cluster, eves[0]), ["not_in_room"]);
    cluster.say(eves[0], r#"{"type":"join_room","room_id":"r"}"#);
    cluster.pass(100);
    assert_eq!(cluster.total(ann, "r"), 2);
    let nobody = answer(
        &mut cluster,
        0,
        of_room("r", Ask::Kick { user: "x".into() }),
    );
    assert_eq!(nobody, Reply::Done(0));
}

#[test]
fn a_ban_lasts_for_its_time_and_outlives_its_home() {
    let mut cluster = cluster();
    let ann = cluster.member(1, "r");
    let eve = join_as(&mut cluster, 0, "eve", "r");
    cluster.drop_all();
    let until = cluster.node(0).now.unix_ms + 60_000;
    let ban = Ask::Ban {
        user: "eve".into(),
        until,
    };
    assert_eq!(answer(&mut cluster, 2, of_room("r", ban)), Reply::Done(1));
    assert_eq!(codes(&mut cluster, eve), ["banned"]);
    cluster.say(eve, r#"{"type":"join_room","room_id":"r"}"#);
    cluster.pass(100);
    assert_eq!(codes(&mut cluster, eve), ["banned"]);
    let home = cluster.home_of("r").unwrap();
    assert_eq!(home, 1);
    cluster.kill(1);
    let _ = ann;
    cluster.pass(1_000);
    let again = join_as(&mut cluster, 2, "eve", "r");
    assert_eq!(codes(&mut cluster, again), ["banned"]);
    cluster.pass(60_000);
    let after = join_as(&mut cluster, 2, "eve", "r");
    assert_eq!(codes(&mut cluster, after), [""; 0]);
    assert_eq!(cluster.total(after, "r"), 1);
}

#[test]
fn a_ban_of_a_room_that_is_empty_is_kept_and_can_be_lifted() {
    let mut node = node(2, settings(), kinds());
    let until = node.now.unix_ms + 60_000;
    let user = || "eve".into();
    ask(
        &mut node,
        0,
        "r",
        Ask::Ban {
            user: user(),
            until,
        },
    );
    assert_eq!(reply(&mut node), Reply::Done(0));
    // One whose time was over before it came lifts no other one.
    let late = Ask::Ban {
        user: user(),
        until: node.now.unix_ms - 1,
    };
    ask(&mut node, 0, "r", late);
    assert_eq!(reply(&mut node), Reply::Done(0));
    node.pass(1_000);
    let eve = node.connect();
    node.say(eve, r#"{"type":"hello"}"#);
    node.say(eve, r#"{"type":"auth","payload":{"token":"eve all:r"}}"#);
    node.drain(eve);
    node.say(eve, r#"{"type":"join_room","room_id":"r"}"#);
    node.error(eve, "banned");
    ask(
        &mut node,
        1,
        "r",
        Ask::Ban {
            user: user(),
            until: 0,
        },
    );
    assert_eq!(reply(&mut node), Reply::Done(0));
    node.say(eve, r#"{"type":"join_room","room_id":"r"}"#);
    assert_eq!(node.types(eve), ["joined", "player_joined"]);
    node.assert_gone();
}

#[test]
fn nobody_more_joins_a_room_that_is_locked() {
    let mut node = node(2, settings(), kinds());
    let ann = node.member("r");
    let until = node.now.unix_ms + 5_000;
    for until in [until, node.now.unix_ms - 1] {
        ask(&mut node, 1, "r", Ask::Lock { until });
        assert_eq!(reply(&mut node), Reply::Done(0));
    }
    let bob = node.connect();
    node.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    node.error(bob, "room_locked");
    node.say(ann, r#"{"type":"chat","room_id":"r","payload":1}"#);
    assert!(node.types(ann).contains(&"chat".to_owned()));
    node.pass(5_100);
    node.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    assert_eq!(node.types(bob), ["joined", "player_joined"]);
    node.assert_gone();
}

#[test]
fn a_log_that_is_cleared_goes_on_counting() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    cluster.say(ann, r#"{"type":"chat","room_id":"r","payload":"secret"}"#);
    cluster.drop_all();
    assert_eq!(
        answer(&mut cluster, 1, of_room("r", Ask::Clear)),
        Reply::Done(0)
    );
    let read = |cluster: &mut Cluster, node: usize| {
        let history = of_room("r", Ask::History(Default::default()));
        match answer(cluster, node, history) {
            Reply::Message(message) => String::from_utf8(message.into()).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert!(!read(&mut cluster, 2).contains("secret"));
    cluster.say(ann, r#"{"type":"chat","room_id":"r","payload":"next"}"#);
    cluster.kill(0);
    cluster.pass(1_000);
    let log = read(&mut cluster, 2);
    assert!(log.contains("next") && !log.contains("secret"), "{log}");
}
