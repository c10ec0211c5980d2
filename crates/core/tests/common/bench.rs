//! A node with a store that does what it is asked while the tap is open.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use roomcast_core::Now;
use roomcast_core::node::{ClusterView, Own};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::store::{
    Answer, Cause, HomeName, NodeId, Request, Store, StoreError, StoreId, Ticket,
};
use roomcast_engine::model::Model;
use serde_json::Value;

use super::{Client, Node, node_on, relay, text};

type Answered = (Ticket, Result<Answer, StoreError>);

/// A store that does what it is asked while the tap is open.
pub struct Bench {
    pub model: Model,
    pub open: bool,
    /// Only what is asked about rooms waits for the tap.
    pub rooms_only: bool,
    /// What everything is answered with, if anything.
    pub refuses: Option<StoreError>,
    /// So many requests from here on are done, and their answers are lost.
    pub loses: usize,
    pub asked: VecDeque<(Ticket, Request)>,
    answers: VecDeque<Answered>,
    pub appends: usize,
    pub renewals: usize,
    /// So many requests from here on are not done.
    pub swallows: usize,
}

impl Bench {
    fn next(&self) -> Option<usize> {
        let of_room = |request: &Request| {
            matches!(
                request,
                Request::Claim(_) | Request::Append(_) | Request::Renew(_) | Request::Release(_)
            )
        };
        let asked = self.asked.iter();
        let mut goes = asked.map(|(_, it)| self.open || self.rooms_only && !of_room(it));
        goes.position(|it| it)
    }
}

#[derive(Clone)]
pub struct BenchStore(pub Rc<RefCell<Bench>>);

impl Store for BenchStore {
    const WAITS: bool = true;

    fn submit(&mut self, _: Now, ticket: Ticket, request: Request) {
        self.0.borrow_mut().asked.push_back((ticket, request));
    }

    fn poll(&mut self, now: Now) -> Option<Answered> {
        let mut bench = self.0.borrow_mut();
        while let Some(at) = bench.next() {
            let (ticket, request) = bench.asked.remove(at).expect("it is there");
            bench.appends += usize::from(matches!(request, Request::Append(_)));
            bench.renewals += usize::from(matches!(request, Request::Renew(_)));
            if bench.swallows > 0 {
                bench.swallows -= 1;
                let error = StoreError::Again(Cause::Connection);
                bench.answers.push_back((ticket, Err(error)));
                continue;
            }
            let mut answer = bench.model.apply(now.unix_ms as u64, &request);
            if let Some(error) = &bench.refuses {
                answer = Err(error.clone());
            }
            if bench.loses > 0 {
                bench.loses -= 1;
                answer = Err(StoreError::Again(Cause::Timeout));
            }
            bench.answers.push_back((ticket, answer));
        }
        bench.answers.pop_front()
    }

    fn next_wake(&self) -> Option<u64> {
        let bench = self.0.borrow();
        let any = !bench.answers.is_empty() || bench.next().is_some();
        any.then_some(0)
    }
}

pub const STORE: StoreId = StoreId(7);

pub fn bench() -> BenchStore {
    BenchStore(Rc::new(RefCell::new(Bench {
        model: Model::new(STORE),
        open: true,
        rooms_only: false,
        refuses: None,
        loses: 0,
        asked: VecDeque::new(),
        answers: VecDeque::new(),
        appends: 0,
        renewals: 0,
        swallows: 0,
    })))
}

pub fn home(node: u64) -> HomeName {
    HomeName {
        node: NodeId(node),
        lease: 1,
    }
}

pub fn settings() -> Settings {
    Settings {
        messages_per_second: 0,
        max_offences: 0,
        ping_interval: 0,
        ..Settings::default()
    }
}

/// The node with this number, the only one that lives.
pub fn node(store: &BenchStore, number: u64, settings: Settings) -> Node<BenchStore> {
    let kinds = vec![
        (relay("default"), None),
        (
            Kind {
                name: "arena".into(),
                ..Kind::default()
            },
            None,
        ),
    ];
    let mut node = node_on(number, 1, settings, kinds, || store.clone());
    set_cluster(&mut node, view(number));
    node
}

/// The cluster as the node with this number knows it: all before it are gone.
pub fn view(number: u64) -> ClusterView {
    ClusterView {
        own: Some(Own {
            home: home(number),
            links: 0,
            until: u64::MAX,
        }),
        store: STORE,
        settled: true,
        dead: (1..number).map(home).collect(),
        ..ClusterView::default()
    }
}

pub fn set_cluster(node: &mut Node<BenchStore>, view: ClusterView) {
    let view = Arc::new(view);
    for shard in node.shards.iter_mut() {
        shard.set_cluster(view.clone());
    }
}

pub fn tap(store: &BenchStore, open: bool) {
    store.0.borrow_mut().open = open;
}

pub fn chat(node: &mut Node<BenchStore>, client: Client, text: &str, seq: u64) {
    let chat = format!(r#"{{"type":"chat","room_id":"r","payload":"{text}","seq":{seq}}}"#);
    node.say(client, &chat);
}

pub fn types(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|it| text(&it["type"])).collect()
}
