//! Rooms and sessions of a node at two stores that share the keys: a slot moves from one to the other, and one is away.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use common::bench::{home, settings, types, view};
use common::{Client, Node, node_on, relay, text};
use roomcast_core::node::{ClusterView, ClusterViews, Own, Slots};
use roomcast_core::store::{
    Answer, Cause, KeyOf, Request, Slot, Store, StoreError, StoreId, Ticket,
};
use roomcast_core::{ClientId, Now};
use roomcast_engine::model::Model;

const A: StoreId = StoreId(7);
const B: StoreId = StoreId(8);

type Answered = (Ticket, Result<Answer, StoreError>);

/// Two stores, one of which may be away.
struct Two {
    models: [Model; 2],
    slots: Slots,
    away: Option<usize>,
    /// Renewals that each has seen.
    renewals: [usize; 2],
    answers: VecDeque<Answered>,
}

#[derive(Clone)]
struct TwoStores(Rc<RefCell<Two>>);

impl Store for TwoStores {
    const WAITS: bool = true;

    fn submit(&mut self, now: Now, ticket: Ticket, request: Request) {
        let mut two = self.0.borrow_mut();
        let at = two.slots.store_of(slot(&request)).unwrap();
        let answer = match two.away == Some(at) {
            true => Err(StoreError::Again(Cause::Connection)),
            false => two.models[at].apply(now.unix_ms as u64, &request),
        };
        two.renewals[at] += usize::from(matches!(request, Request::Renew(_)));
        two.answers.push_back((ticket, answer));
    }

    fn poll(&mut self, _: Now) -> Option<Answered> {
        self.0.borrow_mut().answers.pop_front()
    }

    fn next_wake(&self) -> Option<u64> {
        (!self.0.borrow().answers.is_empty()).then_some(0)
    }
}

fn slot(request: &Request) -> Slot {
    Slot::of(match request {
        Request::Claim(it) => KeyOf::Room(&it.room),
        Request::Append(it) => KeyOf::Room(&it.room),
        Request::Renew(it) => KeyOf::Room(&it.room),
        Request::Release(it) => KeyOf::Room(&it.room),
        Request::Take(it) => KeyOf::Session(&it.client),
        Request::Save(it) => KeyOf::Session(&it.client),
        Request::End(it) => KeyOf::Session(&it.client),
        Request::InboxAppend(it) => KeyOf::Session(&it.to),
        Request::InboxRead(it) => KeyOf::Session(&it.client),
        Request::User(it) => KeyOf::User(&it.user),
        Request::Beat(_) => unreachable!("no shard beats"),
    })
}

struct World {
    two: TwoStores,
    node: Node<TwoStores>,
    /// By store: until when the node may act there.
    until: [u64; 2],
}

impl World {
    /// Slots up to this one are at the first store.
    fn new(last_of_first: u16) -> World {
        let two = Two {
            models: [Model::new(A), Model::new(B)],
            slots: Slots::default(),
            away: None,
            renewals: [0; 2],
            answers: VecDeque::new(),
        };
        let two = TwoStores(Rc::new(RefCell::new(two)));
        let kinds = vec![(relay("default"), None)];
        let node = node_on(1, 1, settings(), kinds, || two.clone());
        let mut world = World {
            two,
            node,
            until: [u64::MAX; 2],
        };
        world.share(last_of_first);
        world
    }

    fn share(&mut self, last: u16) {
        let slots = [
            (Slot(0), Slot(last), 0),
            (Slot(last + 1), Slot(Slot::COUNT - 1), 1),
        ];
        self.two.0.borrow_mut().slots = Slots::new(slots);
        self.tell();
    }

    /// Tells the node of its cluster at each store.
    fn tell(&mut self) {
        let slots = Arc::new(self.two.0.borrow().slots.clone());
        let [one, other] = [(A, 0), (B, 1)].map(|(store, at)| {
            Arc::new(ClusterView {
                own: Some(Own {
                    home: home(1),
                    links: 0,
                    until: self.until[at],
                }),
                store,
                ..view(1)
            })
        });
        let views = ClusterViews::new(Arc::clone(&one), [one, other], slots);
        for shard in self.node.shards.iter_mut() {
            shard.set_cluster(views.clone());
        }
        self.node.settle();
    }

    fn chat(&mut self, client: Client, room: &str, seq: u64) {
        let chat = format!(r#"{{"type":"chat","room_id":"{room}","payload":"x","seq":{seq}}}"#);
        self.node.say(client, &chat);
    }

    fn types(&mut self, client: Client) -> Vec<String> {
        types(&self.node.messages(client))
    }
}

fn slot_of(room: &str) -> u16 {
    Slot::of(KeyOf::Room(room)).0
}

/// Two rooms, the first with the lower slot.
fn rooms() -> [&'static str; 2] {
    let mut rooms = ["r", "q"];
    rooms.sort_by_key(|room| slot_of(room));
    rooms
}

#[test]
fn a_slot_that_moves_with_its_keys_costs_its_room_the_name_of_its_epoch() {
    let [low, high] = rooms();
    let mut world = World::new(slot_of(low));
    let (ann, bob) = (world.node.member(low), world.node.member(high));
    let now = |world: &World| world.node.now.unix_ms as u64;
    let record = |world: &World, store: usize, room: &str| {
        let at = now(world);
        world.two.0.borrow().models[store].room(at, room)
    };
    world.chat(ann, low, 1);
    world.chat(bob, high, 1);
    assert_eq!(world.types(ann), ["ack", "chat"]);
    let before = record(&world, 0, low).unwrap().header;
    assert!(record(&world, 1, low).is_none() && record(&world, 1, high).is_some());

    // The keys go along, and what is under way meets a store that does not have them any more.
    world.two.0.borrow_mut().away = Some(0);
    world.chat(ann, low, 2);
    {
        let mut two = world.two.0.borrow_mut();
        // The other room says nothing from here on.
        let moved = two.models[0].clone().restarted(B);
        two.models = [Model::new(A), moved];
        two.away = None;
    }
    world.share(slot_of(low) - 1);
    world.node.pass(2_000);
    assert_eq!(world.types(ann), ["ack", "chat"], "it goes on");
    let after = record(&world, 1, low).unwrap().header;
    assert_eq!((after.store, after.offset), (B, before.offset + 1));
    assert_ne!(after.epochs.current, before.epochs.current);
    assert_eq!(after.epochs.ended[0].0, before.epochs.current);
    assert!(!after.pending);
    let stats = world.node.shards[0].stats();
    assert_eq!((stats.rooms_renewed, stats.rooms_lost), (1, 0));
    assert_eq!(world.two.0.borrow().renewals, [0, 1], "of that room alone");
    world.chat(ann, low, 3);
    assert_eq!(world.types(ann), ["ack", "chat"]);
}

#[test]
fn while_one_store_is_away_rooms_of_the_other_go_on() {
    let [low, high] = rooms();
    let mut world = World::new(slot_of(low));
    let (ann, bob) = (world.node.member(low), world.node.member(high));
    world.two.0.borrow_mut().away = Some(0);
    world.until[0] = world.node.now.micros;
    world.tell();
    world.chat(ann, low, 1);
    world.chat(bob, high, 1);
    assert_eq!(world.types(bob), ["ack", "chat"]);
    let mut told = Vec::new();
    for _ in 0..3 {
        // A view comes with each beat at the other store.
        world.node.pass(1_000);
        world.tell();
        told.extend(world.types(ann));
    }
    assert_eq!(told, ["error"], "its patience is over, and it was not done");
    world.two.0.borrow_mut().away = None;
    world.until[0] = u64::MAX;
    world.tell();
    world.node.pass(2_000);
    world.chat(ann, low, 1);
    assert_eq!(world.types(ann), ["ack", "chat"]);
    assert_eq!(world.node.shards[0].stats().rooms_lost, 0);
}

#[test]
fn a_session_whose_slot_moves_is_written_where_it_is_now() {
    // At first all is at one store.
    let mut world = World::new(Slot::COUNT - 2);
    let client = world.node.connect();
    world.node.say(client, r#"{"type":"hello"}"#);
    let hello = world.node.messages(client).remove(0);
    let id = ClientId::parse(&text(&hello["payload"]["client_id"])).unwrap();
    let at = |world: &World, store: usize| {
        let now = world.node.now.unix_ms as u64;
        world.two.0.borrow().models[store]
            .session(now, &id)
            .cloned()
    };
    assert!(at(&world, 0).is_some() && at(&world, 1).is_none());
    let slot = Slot::of(KeyOf::Session(&id)).0;
    world.share(slot - 1);
    world.node.pass(1_000);
    assert_eq!(at(&world, 1).unwrap().turn, at(&world, 0).unwrap().turn);
    let mut settled = world.node.shards[0].settled_at();
    settled.sort();
    assert_eq!(settled, [A, B]);
    assert!(world.node.sockets[client].open);
}
