//! The node agent, beat by beat. What it does when answers are late or lost and stores go is in the simulation.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use roomcast_core::node::{ClusterView, NodeAgent, NodeSettings, OTHERS_CLAIM_AFTER};
use roomcast_core::store::{
    Beat, Beaten, Cause, HomeName, NodeEntry, NodeId, StoreError, StoreId, Ticket,
};
use roomcast_core::{NodeNumber, Now};

const OWN: NodeId = NodeId(5);
const STORE: StoreId = StoreId(1);
const SECOND: u64 = 1_000_000;

fn now(micros: u64) -> Now {
    Now { micros, unix_ms: 0 }
}

fn entry(node: u64, lease: u64, beat: u64, settled: Option<StoreId>) -> NodeEntry {
    let node = NodeId(node);
    NodeEntry {
        home: HomeName { node, lease },
        beat,
        settled,
        shards: 4,
        version: 1,
        key: 0,
        settings: "".into(),
        address: "".into(),
    }
}

/// An agent with one shard that turns before each beat, and the entries of others.
struct Node {
    agent: NodeAgent,
    now: u64,
    others: Vec<NodeEntry>,
}

impl Node {
    fn new() -> Node {
        let mut agent = NodeAgent::new(NodeSettings::new(OWN, 1));
        agent.store_is(now(0), STORE);
        Node {
            agent,
            now: 0,
            others: Vec::new(),
        }
    }

    /// The next beat, when it is time for it.
    fn beat(&mut self) -> (Ticket, Beat) {
        self.agent.turned(0);
        self.now = self.now.max(self.agent.next_wake().unwrap());
        self.agent.poll_beat(now(self.now)).unwrap()
    }

    /// Beats, and is answered by a store whose clock is the node's.
    fn lives(&mut self) -> (Beat, ClusterView) {
        let (ticket, beat) = self.beat();
        let mut nodes = self.others.clone();
        let mut own = entry(OWN.0, beat.home.lease, self.now / 1_000, beat.settled);
        own.shards = beat.shards;
        nodes.push(own);
        let answer = Beaten {
            gone: false,
            now: self.now / 1_000,
            nodes,
        };
        self.agent.answered(now(self.now), ticket, Ok(answer));
        (beat, self.view())
    }

    /// The same, where the others have just lived too.
    fn beats(&mut self) -> ClusterView {
        let at = self.agent.next_wake().unwrap().max(self.now) / 1_000;
        for other in &mut self.others {
            other.beat = at;
        }
        self.lives().1
    }

    fn view(&mut self) -> ClusterView {
        ClusterView::clone(&self.agent.poll_view().unwrap())
    }
}

#[test]
fn a_beat_lets_a_node_act_for_two_thirds_of_a_lease_from_when_it_was_sent() {
    let mut node = Node::new();
    assert_eq!(node.view().acts(0), None);
    let (ticket, beat) = node.beat();
    assert!(beat.begins);
    assert_eq!(beat.settled, Some(STORE), "a new process has no rooms");
    node.agent.answered(
        now(SECOND),
        ticket,
        Ok(Beaten {
            gone: false,
            now: 9_000,
            nodes: vec![entry(OWN.0, 1, 8_500, Some(STORE))],
        }),
    );
    let view = node.view();
    let home = HomeName {
        node: OWN,
        lease: 1,
    };
    assert_eq!(view.acts(2 * SECOND - 1), Some(home));
    assert_eq!(view.acts(2 * SECOND), None);
    // Without an answer to the next ones it goes on until then.
    node.now = SECOND;
    let (ticket, beat) = node.beat();
    assert!(!beat.begins);
    let error = StoreError::Again(Cause::Timeout);
    node.agent.answered(now(node.now), ticket, Err(error));
    assert_eq!(node.agent.poll_view(), None);
    assert_eq!(node.agent.next_wake(), Some(2 * SECOND + SECOND / 4));
}

#[test]
fn a_node_whose_shard_hangs_does_not_beat() {
    let mut agent = NodeAgent::new(NodeSettings::new(OWN, 2));
    assert_eq!(agent.next_wake(), None, "no store is known");
    agent.store_is(now(0), STORE);
    agent.turned(1);
    assert!(agent.waits_for().eq([0]));
    assert_eq!(agent.poll_beat(now(SECOND)), None);
    agent.turned(0);
    assert!(agent.poll_beat(now(SECOND)).is_some());
    assert!(agent.waits_for().eq([0, 1]));
}

#[test]
fn a_lease_that_is_gone_ends_everything_and_the_next_one_has_a_higher_number() {
    let mut node = Node::new();
    node.others = vec![entry(7, 3, 0, Some(STORE))];
    let (_, view) = node.lives();
    assert_eq!(view.living.len(), 1);
    let (ticket, _) = node.beat();
    let answer = Beaten {
        gone: true,
        now: 9_000,
        nodes: Vec::new(),
    };
    node.agent.answered(now(node.now), ticket, Ok(answer));
    let view = node.view();
    assert_eq!((view.own, view.living), (None, Vec::new()));
    node.others[0].beat = 1_000;
    let (beat, view) = node.lives();
    assert!(beat.begins);
    let own = view.own.unwrap();
    assert_eq!((own.home.lease, own.links), (2, 2));
    // What was meant for the lost link reaches nobody.
    assert_eq!(view.living[0].number, NodeNumber::met(2));
}

#[test]
fn the_dead_are_those_whose_entries_are_older_than_a_lease() {
    let mut node = Node::new();
    node.others = vec![
        entry(7, 3, 1_000, Some(STORE)),
        entry(8, 1, 1_001, Some(STORE)),
    ];
    node.now = 4 * SECOND;
    let (_, view) = node.lives();
    let [seven, eight] = [(7, 3), (8, 1)].map(|(node, lease)| HomeName {
        node: NodeId(node),
        lease,
    });
    assert_eq!(view.dead, [seven]);
    assert_eq!(view.living[0].home, eight);
    assert!(view.is_dead(seven, u64::MAX), "for good");
    assert!(!view.is_dead(eight, 0));
    // One that has no entry may have begun after the store was asked.
    let unknown = HomeName {
        node: NodeId(9),
        lease: 1,
    };
    assert!(!view.is_dead(unknown, view.asked_at));
    assert!(view.is_dead(unknown, view.asked_at - 1));
    // Back with another lease: what it had is left to it.
    node.others[0] = entry(7, 4, 5_000, Some(STORE));
    let (_, view) = node.lives();
    assert!(!view.is_dead(seven, 0));
}

/// Else nobody took the rooms of a node that died before the clock was set back.
#[test]
fn an_entry_of_the_future_is_no_younger_than_one_of_the_past() {
    let mut node = Node::new();
    node.others = vec![
        entry(7, 3, 2_999, Some(STORE)),
        entry(8, 1, 3_600_000, Some(STORE)),
    ];
    let (_, view) = node.lives();
    let living: Vec<u64> = view.living.iter().map(|it| it.home.node.0).collect();
    assert_eq!(living, [7]);
    let dead: Vec<u64> = view.dead.iter().map(|it| it.node.0).collect();
    assert_eq!(dead, [8]);
}

#[test]
fn another_store_is_met_with_another_lease_and_keeps_the_links() {
    let mut node = Node::new();
    node.others = vec![entry(7, 3, 0, Some(STORE))];
    let (_, before) = node.lives();
    let other = StoreId(2);
    node.agent.store_is(now(node.now), other);
    // There the other one's entry is old, or it has none yet.
    node.others = vec![entry(7, 3, 0, Some(STORE))];
    node.now += 5 * SECOND;
    let met = node.now;
    let (beat, view) = node.lives();
    assert!(beat.begins);
    assert_eq!(
        (beat.store, beat.settled),
        (other, None),
        "rooms are to be written"
    );
    let own = view.own.unwrap();
    assert_eq!((own.home.lease, own.links, view.store), (2, 1, other));
    assert_eq!(view.living, before.living, "it may have to come yet");
    assert_eq!(view.dead, []);
    // It comes, with its next lease: it was not gone.
    node.others = vec![entry(7, 4, met / 1_000 + 500, None)];
    let (_, view) = node.lives();
    assert_eq!(view.living[0].number, before.living[0].number);
    // At the same store another lease is another life.
    node.others = vec![entry(7, 5, met / 1_000 + 1_500, None)];
    let (_, view) = node.lives();
    assert_ne!(view.living[0].number, before.living[0].number);
}

#[test]
fn a_store_that_comes_back_with_its_data_keeps_the_links() {
    let mut node = Node::new();
    node.others = vec![entry(7, 3, 0, Some(STORE))];
    let (_, before) = node.lives();
    node.agent.store_is(now(node.now), StoreId(2));
    // The other one's entry is what the store was started with. It is young, and the other one has not been here.
    node.others = vec![entry(7, 3, 500, Some(STORE))];
    let (_, view) = node.lives();
    assert_eq!(view.living, before.living);
    // It comes, with its next lease: it was not gone.
    node.others = vec![entry(7, 4, 1_500, None)];
    let (_, view) = node.lives();
    assert_eq!(view.living[0].number, before.living[0].number);
    assert_eq!(view.living[0].home.lease, 4);
}

#[test]
fn a_node_that_does_not_come_to_the_other_store_in_a_lease_is_gone() {
    let mut node = Node::new();
    node.others = vec![entry(7, 3, 0, Some(STORE))];
    node.lives();
    node.agent.store_is(now(node.now), StoreId(2));
    let met = node.now;
    loop {
        let (_, view) = node.lives();
        let waits = node.now < met + 3 * SECOND;
        assert_eq!(view.living.is_empty(), !waits);
        assert_eq!(view.dead.is_empty(), waits);
        if !waits {
            break;
        }
    }
}

#[test]
fn rooms_without_a_record_are_claimed_after_a_lease_and_when_all_have_settled() {
    let mut node = Node::new();
    node.lives();
    let other = StoreId(2);
    node.agent.store_is(now(node.now), other);
    let met = node.now;
    let mut seen = Vec::new();
    for step in 0..8 {
        let settled = (step >= 5).then_some(other);
        node.others = vec![entry(7, 1, node.now / 1_000, settled)];
        if step == 2 {
            node.agent.renewed(0, STORE);
        }
        if step == 3 {
            node.agent.renewed(0, other);
        }
        let (beat, view) = node.lives();
        seen.push((node.now - met, beat.settled.is_some(), view.settled));
    }
    let expected = [
        (0, false, false),
        (1, false, false),
        (2, false, false),
        (3, true, false),
        (4, true, false),
        (5, true, true),
        (6, true, true),
        (7, true, true),
    ];
    assert_eq!(seen, expected.map(|(at, own, all)| (at * SECOND, own, all)));
}

#[test]
fn a_lost_link_gives_the_node_another_number_and_one_node_claims_a_room_first() {
    let mut node = Node::new();
    node.others = vec![entry(7, 3, 0, None), entry(8, 3, 0, None)];
    let (_, view) = node.lives();
    let lost = view.living[0].number;
    node.agent.link_lost(lost);
    let view = node.view();
    assert_eq!(view.living[0].number, NodeNumber::met(3));
    assert_eq!(view.node(NodeId(7)), view.numbered(NodeNumber::met(3)));
    assert_eq!(view.numbered(lost), None);
    node.agent.link_lost(lost);
    assert_eq!(node.agent.poll_view(), None, "that link is lost already");
    let rooms = 0..300;
    assert_eq!(view.rank_key, None);
    assert_eq!(
        view.first_elsewhere("room:0", |_| true),
        None,
        "without an order"
    );
    let ranked = ClusterView {
        rank_key: Some(7),
        ..ClusterView::clone(&view)
    };
    let own = rooms.filter(|room| {
        ranked
            .first_elsewhere(&format!("room:{room}"), |_| true)
            .is_none()
    });
    assert!((70..130).contains(&own.count()), "a third");
    assert_eq!(OTHERS_CLAIM_AFTER, 300);
}

#[test]
fn a_node_that_ends_says_so_and_the_others_need_not_wait() {
    let mut node = Node::new();
    node.others = vec![entry(7, 3, 0, None)];
    let (_, view) = node.lives();
    assert_eq!(view.living.len(), 1);
    // As the store has it of one that has said so.
    node.others[0].shards = 0;
    let view = node.beats();
    assert!(view.living.is_empty());
    assert_eq!(view.dead, [node.others[0].home]);
    // This one does: it acts no more at once, and its last beat is sent though no shard turns any more.
    let now = now(node.now);
    node.agent.end(now);
    assert_eq!(node.view().own, None);
    assert!(!node.agent.has_ended());
    let (ticket, beat) = node.agent.poll_beat(now).unwrap();
    assert_eq!((beat.shards, beat.begins), (0, false));
    let unanswered = Err(StoreError::Again(Cause::Timeout));
    node.agent.answered(now, ticket, unanswered);
    let later = Now {
        micros: node.agent.next_wake().unwrap(),
        ..now
    };
    let (ticket, beat) = node.agent.poll_beat(later).unwrap();
    assert_eq!(beat.shards, 0);
    let beaten = Beaten {
        gone: false,
        now: 0,
        nodes: Vec::new(),
    };
    node.agent.answered(later, ticket, Ok(beaten));
    assert!(node.agent.has_ended());
    assert_eq!(node.agent.poll_beat(later), None);
    assert_eq!(node.agent.poll_view(), None);
}

#[test]
fn a_node_that_comes_with_another_key_is_home_of_nothing() {
    let stranger = NodeEntry {
        key: 5,
        ..entry(7, 3, 0, Some(STORE))
    };
    let mut late = Node::new();
    late.others = vec![stranger.clone()];
    late.beats();
    for _ in 0..10 {
        let view = late.beats();
        assert_eq!((view.own, view.settled), (None, false));
        assert_eq!(view.strangers, [NodeId(7)]);
        assert!(view.living.is_empty());
    }
    // It is gone: there is nobody to be mistaken for.
    late.others.clear();
    assert!(late.beats().own.is_some());
    let mut first = Node::new();
    for _ in 0..10 {
        first.beats();
    }
    first.others = vec![stranger];
    let view = first.beats();
    assert!(view.own.is_some() && view.settled);
    assert_eq!(view.strangers, [NodeId(7)]);
}
