//! Room logic and the state of players outlive the room's home, where logic can be saved.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use std::sync::Arc;

use cluster::{At, Cluster};
use common::{relay, text};
use roomcast_core::backend::{Ask, Asker, Publication, Question, Reply};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::{
    ClientId, LogicFactory, Outcome, PlayerNum, RoomContext, RoomEvent, RoomLogic, SAVED_LOGIC,
};
use roomcast_protocol::{GameAction, MessageType, PayloadKind};
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

/// Counts, says so, and wakes a while after it was told to.
#[derive(Debug, Default)]
struct Counter {
    joins: u8,
    count: u8,
    /// By the room's clock.
    began_at: u64,
    padding: usize,
    /// 0: it is not saved.
    form: u8,
}

impl RoomLogic for Counter {
    fn join(&mut self, room: &mut RoomContext<'_>, _: PlayerNum) {
        self.joins += 1;
        self.began_at = room.now_ms();
    }

    fn action(
        &mut self,
        room: &mut RoomContext<'_>,
        _: PlayerNum,
        action: &GameAction<'_>,
    ) -> Outcome {
        match action.action() {
            "count" => self.count += 1,
            "grow" => self.padding = SAVED_LOGIC,
            "wait" => room.wake_in(5_000),
            "say" => {
                let age = room.now_ms() - self.began_at;
                let (count, joins) = (self.count, self.joins);
                room.broadcast("said", &json!([count, joins, age]));
            }
            _ => return Outcome::refused("no"),
        }
        Outcome::Handled
    }

    fn service_event(&mut self, _: &mut RoomContext<'_>, _: &str, _: &RoomEvent<'_>) -> Outcome {
        self.count += 1;
        Outcome::Handled
    }

    fn wake(&mut self, room: &mut RoomContext<'_>) {
        room.broadcast("awake", &0);
    }

    fn save(&self) -> Option<Vec<u8>> {
        let mut saved = vec![self.form, self.joins, self.count];
        saved.extend(self.began_at.to_le_bytes());
        saved.extend(vec![0; self.padding]);
        (self.form > 0).then_some(saved)
    }

    fn load(&mut self, room: &mut RoomContext<'_>, saved: &[u8]) -> bool {
        assert!(room.player_count() > 0);
        // An odd form is one that it does not know.
        let &[form, joins, count, ref rest @ ..] = saved else {
            return false;
        };
        if form % 2 == 1 {
            return false;
        }
        (self.joins, self.count) = (joins, count);
        self.began_at = u64::from_le_bytes(rest[..8].try_into().unwrap());
        true
    }
}

fn counters(shards: &[u16], form: u8) -> Cluster {
    let logic: LogicFactory = Arc::new(move |_| {
        Box::new(Counter {
            form,
            ..Counter::default()
        })
    });
    Cluster::with_logic(shards, &settings(), &[(relay("counter"), Some(logic))])
}

fn act(cluster: &mut Cluster, at: At, room: &str, payload: Value, seq: u64) {
    let mut message = json!({ "type": "game_action", "room_id": room, "payload": payload });
    if seq > 0 {
        message["seq"] = seq.into();
    }
    cluster.say(at, &message.to_string());
}

/// What the logic of a room says of itself: how much it has counted, joins, and its age.
fn said(cluster: &mut Cluster, at: At, room: &str) -> [u64; 3] {
    cluster.drop_all();
    act(cluster, at, room, json!({ "action": "say" }), 0);
    let got = cluster.messages(at);
    let said = got
        .iter()
        .find(|it| it["type"] == "event")
        .unwrap_or_else(|| panic!("{got:#?}"));
    [0, 1, 2].map(|nth| said["payload"][nth].as_u64().unwrap())
}

/// The newest state of a player that was sent.
fn state(messages: &[Value], player: u64) -> Value {
    let syncs = messages.iter().filter(|it| it["type"] == "sync");
    let players = syncs
        .filter_map(|it| it["payload"]["players"].as_array())
        .flatten();
    let mut own = players.filter(|it| it["player_num"] == player);
    own.next_back().cloned().unwrap_or(Value::Null)
}

#[test]
fn a_game_goes_on_when_its_home_dies() {
    let mut cluster = counters(&[1, 2, 1], 2);
    let _ann = cluster.member(0, "counter:1");
    let bob = cluster.member(1, "counter:1");
    let cid = cluster.member(2, "counter:1");
    for seq in 1..=3 {
        act(
            &mut cluster,
            bob,
            "counter:1",
            json!({ "action": "count" }),
            seq,
        );
    }
    act(
        &mut cluster,
        bob,
        "counter:1",
        json!({ "action": "wait" }),
        4,
    );
    cluster.pass(1_000);
    let [count, joins, age] = said(&mut cluster, cid, "counter:1");
    assert_eq!((count, joins), (3, 3));
    cluster.kill(0);
    cluster.pass(2_000);
    let [count, joins, later] = said(&mut cluster, cid, "counter:1");
    assert_eq!((count, joins), (3, 3), "it goes on");
    // All nodes have one clock here, and 10 ms pass with a turn.
    assert!((2_000..2_100).contains(&(later - age)), "{age} {later}");
    cluster.drop_all();
    cluster.pass(1_500);
    assert!(
        cluster
            .messages(bob)
            .iter()
            .all(|it| it["event"] != "awake")
    );
    cluster.pass(700);
    let got = cluster.messages(bob);
    assert!(
        got.iter().any(|it| it.to_string().contains("awake")),
        "{got:#?}"
    );
}

#[test]
fn logic_that_is_not_saved_begins_anew_with_a_join_for_each_member() {
    // The second has a form that it does not understand itself.
    for form in [0, 1] {
        let mut cluster = counters(&[1, 1], form);
        let _ann = cluster.member(0, "counter:1");
        let bob = cluster.member(1, "counter:1");
        act(
            &mut cluster,
            bob,
            "counter:1",
            json!({ "action": "count" }),
            1,
        );
        cluster.kill(0);
        cluster.pass(2_000);
        let [count, joins, _] = said(&mut cluster, bob, "counter:1");
        assert_eq!((count, joins), (0, 2), "{form}");
    }
}

#[test]
fn what_is_too_large_is_not_kept_nor_is_what_was_kept_before() {
    let mut cluster = counters(&[1, 1], 2);
    let _ann = cluster.member(0, "counter:1");
    let bob = cluster.member(1, "counter:1");
    act(
        &mut cluster,
        bob,
        "counter:1",
        json!({ "action": "count" }),
        1,
    );
    act(
        &mut cluster,
        bob,
        "counter:1",
        json!({ "action": "grow" }),
        2,
    );
    let notices = &cluster.node(0).shards[0].host().notices;
    assert!(
        notices.iter().any(|it| it.contains("LogicTooLarge")),
        "{notices:?}"
    );
    cluster.kill(0);
    cluster.pass(2_000);
    assert_eq!(said(&mut cluster, bob, "counter:1")[..2], [0, 2]);
}

#[test]
fn a_room_that_was_empty_begins_anew() {
    let mut cluster = counters(&[1, 1], 2);
    let bob = cluster.member(0, "counter:1");
    act(
        &mut cluster,
        bob,
        "counter:1",
        json!({ "action": "count" }),
        1,
    );
    cluster.say(bob, r#"{"type":"leave_room","room_id":"counter:1"}"#);
    cluster.pass(100);
    assert_eq!(cluster.home_of("counter:1"), None);
    let ann = cluster.member(1, "counter:1");
    assert_eq!(said(&mut cluster, ann, "counter:1")[..2], [0, 1]);
}

fn walk(cluster: &mut Cluster, at: At, x: f64, seq: u64) {
    let position = json!({ "x": x, "y": 0, "z": 0 });
    act(
        cluster,
        at,
        "arena",
        json!({ "action": "move", "position": position }),
        seq,
    );
}

fn arena(shards: &[u16]) -> Cluster {
    let mut kind = Kind {
        name: "default".into(),
        ..Kind::default()
    };
    kind.rules.respawn_after = 10_000;
    kind.rules.attack_damage = 60;
    Cluster::new(shards, &settings(), &[kind])
}

#[test]
fn a_state_room_goes_on_when_its_home_dies() {
    let mut cluster = arena(&[1, 2, 1]);
    let _ann = cluster.member(0, "arena");
    let bob = cluster.member(1, "arena");
    let cid = cluster.member(2, "arena");
    cluster.pass(1_000);
    walk(&mut cluster, bob, 3.0, 1);
    // Player 3 is down from here on for 10 s.
    for seq in [2, 3] {
        let attack = json!({ "action": "attack", "target_id": 3 });
        act(&mut cluster, bob, "arena", attack, seq);
        cluster.pass(1_500);
    }
    let before = state(&cluster.messages(cid), 2);
    assert_eq!(
        (&before["position"]["x"], &before["score"]),
        (&json!(3), &json!(1)),
        "{before}"
    );
    cluster.drop_all();
    cluster.kill(0);
    cluster.pass(2_000);
    let got = cluster.messages(cid);
    assert_eq!(state(&got, 2)["position"], before["position"]);
    assert_eq!(state(&got, 2)["score"], before["score"]);
    assert_eq!(state(&got, 3)["health"], 0);
    let heard = text(&got.iter().find(|it| it["type"] == "sync").unwrap()["type"]);
    assert_eq!(heard, "sync");
    cluster.pass(8_000);
    assert_eq!(
        state(&cluster.messages(bob), 3)["health"],
        100,
        "its time is over there too"
    );
}

#[test]
fn moves_without_a_number_are_written_rarely_and_a_polite_end_loses_none() {
    let mut cluster = arena(&[1, 1]);
    let bob = cluster.member(1, "arena");
    let ann = cluster.member(0, "arena");
    assert_eq!(cluster.home_of("arena"), Some(1));
    cluster.pass(2_000);
    let appends = |cluster: &mut Cluster| cluster.node(1).shards[0].stats().store_requests[0];
    let before = appends(&mut cluster);
    for x in 1..=200 {
        walk(&mut cluster, ann, f64::from(x) / 100.0, 0);
        cluster.pass(50);
    }
    // In ten seconds.
    let appends = appends(&mut cluster) - before;
    assert!((2..=3).contains(&appends), "{appends}");
    cluster.drop_all();
    let _ = bob;
    for shard in cluster.node(1).shards.iter_mut() {
        shard.claim_nothing();
        shard.give_up_rooms();
    }
    cluster.pass(1_000);
    assert_eq!(cluster.home_of("arena"), Some(0));
    let got = cluster.messages(ann);
    assert_eq!(state(&got, 2)["position"]["x"], 2, "{got:#?}");
}

#[test]
fn moves_without_a_number_are_at_most_some_seconds_old() {
    let mut cluster = arena(&[1, 1]);
    let _bob = cluster.member(1, "arena");
    let ann = cluster.member(0, "arena");
    for x in 1..=300 {
        walk(&mut cluster, ann, f64::from(x), 0);
        cluster.pass(50);
    }
    cluster.drop_all();
    cluster.kill(1);
    cluster.pass(1_000);
    let got = cluster.messages(ann);
    // Twenty a second, and five seconds.
    let x = state(&got, 2)["position"]["x"].as_f64().unwrap();
    assert!((195.0..=300.0).contains(&x), "{x}");
}

#[test]
fn logic_that_has_nothing_to_save_asks_nothing_of_the_store() {
    let mut cluster = counters(&[1, 1], 0);
    let bob = cluster.member(0, "counter:1");
    act(
        &mut cluster,
        bob,
        "counter:1",
        json!({ "action": "count" }),
        1,
    );
    cluster.pass(2_000);
    let before = cluster.node(0).shards[0].stats().store_requests[0];
    for _ in 0..20 {
        act(
            &mut cluster,
            bob,
            "counter:1",
            json!({ "action": "count" }),
            0,
        );
        cluster.pass(1_000);
    }
    assert_eq!(cluster.node(0).shards[0].stats().store_requests[0], before);
}

/// Asks the room's logic, as a backend with an `Idempotency-Key`.
fn tell_logic(cluster: &mut Cluster, node: usize, key: &str) {
    let publication = Publication {
        message_type: MessageType::Chat,
        payload_kind: PayloadKind::Json,
        name: "".into(),
        payload: b"1".as_slice().into(),
        ephemeral: false,
        once: Some(ClientId::of_key("shop", key)),
        service: "shop".into(),
        trace: None,
    };
    let question = Question::Room("counter:1".into(), Ask::Publish(publication));
    let node = cluster.node(node);
    let now = node.now;
    node.shards[0].ask(now, Asker::default(), question).unwrap();
    cluster.pass(1_000);
}

/// Whether the only answer says that it was done before. What logic has handled is in no log.
fn was_repeated(cluster: &mut Cluster, node: usize) -> bool {
    let mut replies = std::mem::take(&mut cluster.node(node).replies);
    assert_eq!(replies.len(), 1, "{replies:?}");
    match replies.remove(0).2 {
        Reply::Published(published) => {
            assert_eq!(published.offset, 0);
            published.repeated
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn logic_hears_once_of_what_a_backend_repeats_and_the_next_home_too() {
    let mut cluster = counters(&[1, 2, 1], 2);
    let _ann = cluster.member(0, "counter:1");
    let bob = cluster.member(1, "counter:1");
    for repeated in [false, true] {
        tell_logic(&mut cluster, 2, "a");
        assert_eq!(was_repeated(&mut cluster, 2), repeated);
    }
    assert_eq!(said(&mut cluster, bob, "counter:1")[0], 1);
    // It is done, the answer is lost, and so is the home: it is asked again.
    assert_eq!(cluster.home_of("counter:1"), Some(0));
    cluster.hold(0, 2);
    tell_logic(&mut cluster, 2, "b");
    assert_eq!(cluster.node(2).replies.len(), 0);
    cluster.kill(0);
    cluster.let_all_go();
    cluster.pass(1_000);
    assert!(was_repeated(&mut cluster, 2));
    tell_logic(&mut cluster, 2, "a");
    assert!(was_repeated(&mut cluster, 2));
    assert_eq!(said(&mut cluster, bob, "counter:1")[0], 2);
}
