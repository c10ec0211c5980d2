//! The store of the nodes: the model of one, behind a way that delays, loses and repeats.
//!
//! Each request arrives after a while, those about a room or a session in their order. It may be lost on the way, its answer may be lost or come
//! twice, and all may pause. What a node that is killed has sent may arrive all the same, and late.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use roomcast_core::log::Epoch;
use roomcast_core::node::{ClusterView, Own};
use roomcast_core::store::{
    Answer, Beat, Beaten, Cause, Claim, Claimed, FieldKey, Header, HomeName, NodeId, Release,
    Request, Store, StoreError, StoreId, Taken, Ticket, Written,
};
use roomcast_core::{ClientId, Now};
use roomcast_engine::model::Model;

use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::random::Random;

/// The first one.
const STORE: StoreId = StoreId(1);
/// Milliseconds for which what another node releases is kept.
const KEPT: u64 = 24 * 3_600_000;

/// How the way to the store is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Temper {
    /// Milliseconds that a request, and an answer, takes at most.
    pub(crate) delay: u64,
    /// Of a thousand requests, how many don't arrive, how many answers don't, and how many come twice.
    pub(crate) loses: u64,
    pub(crate) loses_answer: u64,
    pub(crate) doubles: u64,
}

/// With which data a store comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Same,
    /// What it had once.
    Older,
    Nothing,
}

/// The newest offset of each log that is in a record, by room and epoch.
type Confirmed = BTreeMap<String, BTreeMap<String, u64>>;

/// The store, and what was confirmed by it.
pub(crate) struct Cloud {
    model: Model,
    /// What it comes back with that has older data.
    dump: Model,
    /// How often it has come back.
    lives: u64,
    pub(crate) temper: Temper,
    random: Random,
    /// Microseconds before which nothing arrives and nothing is answered.
    paused_until: u64,
    /// Requests of nodes that are gone, by the time at which they arrive.
    strays: Vec<(u64, Request)>,
    confirmed: Confirmed,
    /// Players of a room of whom an append or a renewal has ever said something.
    players: BTreeMap<String, BTreeSet<u32>>,
    /// Sessions that were saved by whoever took them last.
    held: BTreeSet<ClientId>,
    nodes: u64,
    /// What is true, where it is what was confirmed here.
    pub(crate) ledger: Option<Rc<RefCell<Ledger>>>,
    /// Nodes from which there is no way here before this time, in microseconds.
    cut_off: BTreeMap<NodeId, u64>,
    /// How often the ways here have changed.
    ways: u64,
    /// Rooms whose homes were told that they are not.
    pub(crate) refused: u64,
    /// It prints what it is asked, and what it says.
    pub(crate) aloud: bool,
}

impl Cloud {
    pub(crate) fn new(temper: Temper, random: Random) -> Cloud {
        Cloud {
            model: Model::new(STORE),
            dump: Model::new(STORE),
            lives: 0,
            temper,
            random,
            paused_until: 0,
            strays: Vec::new(),
            confirmed: BTreeMap::new(),
            players: BTreeMap::new(),
            held: BTreeSet::new(),
            nodes: 0,
            ledger: None,
            cut_off: BTreeMap::new(),
            ways: 0,
            refused: 0,
            aloud: false,
        }
    }

    /// The cluster as the next node knows it: all before it are gone.
    pub(crate) fn next_node(&mut self) -> Arc<ClusterView> {
        let home = |node| HomeName {
            node: NodeId(node),
            lease: 1,
        };
        let dead = (1..=self.nodes).map(home).collect();
        self.nodes += 1;
        Arc::new(ClusterView {
            own: Some(Own {
                home: home(self.nodes),
                links: 0,
                until: u64::MAX,
            }),
            store: STORE,
            settled: true,
            dead,
            ..ClusterView::default()
        })
    }

    /// Nothing arrives for so many milliseconds.
    pub(crate) fn pause(&mut self, now: u64, ms: u64) {
        self.paused_until = Clock::TRUE.at(now + ms).micros;
        self.ways += 1;
    }

    /// What it has now is what it comes back with some time.
    pub(crate) fn dump(&mut self) {
        self.dump = self.model.clone();
    }

    /// It comes back, as another store. What was on its way to it is lost.
    pub(crate) fn come_back(&mut self, now: u64, data: Data) {
        let store = StoreId(self.model.store().0 + 1);
        let next = match data {
            Data::Same => self.model.clone().restarted(store),
            Data::Older => self.dump.clone().restarted(store),
            Data::Nothing => Model::new(store),
        };
        let before = std::mem::replace(&mut self.model, next);
        self.put_at_risk(now, &before);
        self.strays.clear();
        self.lives += 1;
        self.ways += 1;
    }

    /// Rooms and sessions of which it has less now are what their nodes have of them.
    fn put_at_risk(&self, now: u64, before: &Model) {
        let Some(ledger) = &self.ledger else { return };
        let mut ledger = ledger.borrow_mut();
        let at = Clock::TRUE.at(now).unix_ms as u64;
        let mut homes = Vec::new();
        for room in self.confirmed.keys() {
            let had = before.room(at, room).map(|it| it.header);
            let has = self.model.room(at, room).map(|it| it.header);
            let as_new = |had: &Header| {
                has.as_ref()
                    .is_some_and(|it| (it.fence, it.n) == (had.fence, had.n))
            };
            if let Some(had) = had.filter(|it| !as_new(it)) {
                let home = had.home.map(|it| it.node);
                let home = home.filter(|it| ledger.has_loaded(*it, room, &had.epochs.current));
                homes.push((room.clone(), home));
            }
        }
        for (client, had) in before.sessions(at) {
            let has = self.model.session(at, &client);
            if has.is_none_or(|it| (it.turn, it.node) != (had.turn, had.node)) {
                let home = self.held.contains(&client).then_some(had.node);
                homes.push((client.as_str().to_owned(), home));
            }
        }
        ledger.lost.put_at_risk(now, homes.into_iter());
    }

    /// From a node nothing arrives before this time.
    pub(crate) fn cut_off(&mut self, node: NodeId, until: u64) {
        let until = Clock::TRUE.at(until).micros;
        self.cut_off.insert(node, until);
        self.ways += 1;
    }

    /// All goes well from now on.
    pub(crate) fn heal(&mut self) {
        self.temper = Temper::default();
        self.paused_until = 0;
        self.cut_off.clear();
        self.ways += 1;
    }

    pub(crate) fn ways(&self) -> u64 {
        self.ways
    }

    /// Another node takes a room from its home, and gives it up.
    pub(crate) fn take_away(&mut self, now: u64, room: &str) {
        let now = Clock::TRUE.at(now);
        // What is late may be a claim, which changes whose the room is.
        self.let_strays_arrive(now);
        let Some(record) = self.model.room(now.unix_ms as u64, room) else {
            return;
        };
        let thief = HomeName {
            node: NodeId(1_000_000),
            lease: 1,
        };
        let room: Arc<str> = room.into();
        let claim = Claim {
            room: room.clone(),
            home: thief,
            store: STORE,
            dead: record.header.home,
            settled: true,
            epoch: Epoch::from_random(self.random.next()),
            timestamp: now.unix_ms,
            has: None,
            ends_after: 0,
            only_existing: false,
        };
        let claimed = self.apply(now, &Request::Claim(claim));
        let Ok(Answer::Claim(Claimed::Loaded(record))) = claimed else {
            panic!("a room that is given up is not given: {claimed:?}");
        };
        let release = Release {
            room,
            home: thief,
            fence: record.header.fence,
            store: STORE,
            ends_after: KEPT,
        };
        let _ = self.apply(now, &Request::Release(release));
    }

    /// A beat of a node arrives.
    pub(crate) fn beat(&mut self, now: u64, beat: Box<Beat>) -> Result<Beaten, StoreError> {
        match self.apply(Clock::TRUE.at(now), &Request::Beat(beat)) {
            Ok(Answer::Beat(beaten)) => Ok(beaten),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        }
    }

    /// Which store it is.
    pub(crate) fn store(&self) -> StoreId {
        self.model.store()
    }

    /// Whether nothing of this node comes here now.
    pub(crate) fn is_cut_off(&self, node: NodeId, now: Now) -> bool {
        let until = self.cut_off.get(&node).copied().unwrap_or(0);
        until.max(self.paused_until) > now.micros
    }

    /// The newest offset of a log that is in the store.
    pub(crate) fn confirmed(&self, room: &str, epoch: &str) -> u64 {
        let logs = self.confirmed.get(room);
        let newest = logs.and_then(|logs| logs.get(epoch));
        newest.copied().unwrap_or(0)
    }

    /// The same of any of a room's logs.
    pub(crate) fn confirmed_in(&self, room: &str) -> u64 {
        let logs = self.confirmed.get(room).into_iter();
        logs.flat_map(BTreeMap::values).copied().max().unwrap_or(0)
    }

    /// Whether an append has ever said something of a player.
    pub(crate) fn had_player(&self, room: &str, player: u32) -> bool {
        let players = self.players.get(room);
        players.is_some_and(|players| players.contains(&player))
    }

    fn apply(&mut self, now: Now, request: &Request) -> Result<Answer, StoreError> {
        self.let_strays_arrive(now);
        self.do_it(now.unix_ms as u64, request)
    }

    fn let_strays_arrive(&mut self, now: Now) {
        if self.strays.is_empty() {
            return;
        }
        let strays = std::mem::take(&mut self.strays);
        let (due, later): (Vec<_>, _) = strays.into_iter().partition(|it| it.0 <= now.micros);
        self.strays = later;
        for (_, stray) in due {
            self.do_it(now.unix_ms as u64, &stray).ok();
        }
    }

    fn do_it(&mut self, at: u64, request: &Request) -> Result<Answer, StoreError> {
        let before = match (&self.ledger, request) {
            (Some(_), Request::Claim(claim)) => self.model.room(at, &claim.room),
            _ => None,
        };
        let answer = self.model.apply(at, request);
        if self.aloud && !matches!(request, Request::Beat(_)) {
            println!("{at:7} the store is asked: {request:?}, and says {answer:?}");
        }
        let claimed = match &answer {
            Ok(Answer::Claim(Claimed::Loaded(record))) => Some(&record.header),
            Ok(Answer::Claim(Claimed::Kept(header))) => Some(&**header),
            _ => None,
        };
        if let (Some(ledger), Request::Claim(claim), Some(header)) =
            (&self.ledger, request, claimed)
        {
            let mut ledger = ledger.borrow_mut();
            // What was renewed, and not appended to, counts from here on.
            if let Some(before) = before.map(|it| it.header)
                && let Some(home) = before.home
            {
                let epoch = &before.epochs.current;
                ledger.confirm(&claim.room, epoch, before.offset, home.node);
            }
            ledger.load(&claim.room, &header.epochs);
            note_confirmed(&mut self.confirmed, &claim.room, header);
            if matches!(answer, Ok(Answer::Claim(Claimed::Loaded(_)))) {
                ledger.lost.is_loaded(&claim.room);
            }
        }
        if let (Request::Renew(renew), Ok(Answer::Written(Written::Confirmed))) = (request, &answer)
        {
            // It writes all that there was. One that came and went before it is in none of its fields.
            let known = self.players.entry(renew.room.to_string());
            known.or_default().extend(1..renew.header.next_player);
            if let (Some(ledger), Some(home)) = (&self.ledger, renew.header.home) {
                ledger.borrow_mut().lost.is_written(&renew.room, home.node);
            }
        }
        if let (Request::Append(append), Ok(Answer::Written(Written::Confirmed))) =
            (request, &answer)
        {
            let header = &append.header;
            if let (Some(ledger), Some(home)) = (&self.ledger, header.home) {
                let mut ledger = ledger.borrow_mut();
                ledger.confirm(
                    &append.room,
                    &header.epochs.current,
                    header.offset,
                    home.node,
                );
                ledger.lost.is_written(&append.room, home.node);
            }
            note_confirmed(&mut self.confirmed, &append.room, header);
            for (key, _) in &append.fields {
                // One that came and went between two appends was in the room all the same.
                if let FieldKey::Member(player) = key {
                    let players = self.players.entry(append.room.to_string());
                    players.or_default().insert(*player);
                }
            }
        }
        if let (Request::Release(release), Ok(Answer::Done)) = (request, &answer)
            && let Some(ledger) = &self.ledger
        {
            ledger
                .borrow_mut()
                .give_up(release.home.node, &release.room);
        }
        self.note_session(request, &answer);
        if let Ok(Answer::Written(Written::Refused(_))) = &answer {
            self.refused += 1;
        }
        answer
    }
}

impl Cloud {
    /// Who has taken a session has it once it has saved it.
    fn note_session(&mut self, request: &Request, answer: &Result<Answer, StoreError>) {
        match (request, answer) {
            (Request::Take(take), Ok(Answer::Session(Taken::Taken(_)))) => {
                self.held.remove(&take.client);
                if let Some(ledger) = &self.ledger {
                    ledger.borrow_mut().lost.is_loaded(take.client.as_str());
                }
            }
            (Request::Save(save), Ok(Answer::Turn(true))) => {
                self.held.insert(save.client);
                if let Some(ledger) = &self.ledger {
                    let mut ledger = ledger.borrow_mut();
                    let client = save.client.as_str();
                    // Without a record that it follows it is a new one: the one before is not written by that.
                    match save.known {
                        Some(_) => _ = ledger.ended.remove(&save.client),
                        None => ledger.lost.is_loaded(client),
                    }
                    ledger.lost.is_written(client, save.record.node);
                }
            }
            (Request::End(end), Ok(Answer::Turn(true))) => {
                if let Some(ledger) = &self.ledger {
                    ledger.borrow_mut().ended.insert(end.client);
                }
            }
            _ => {}
        }
    }
}

fn note_confirmed(confirmed: &mut Confirmed, room: &str, header: &Header) {
    let logs = confirmed.entry(room.to_owned()).or_default();
    let newest = logs.entry(header.epochs.current.as_str().to_owned());
    let newest = newest.or_default();
    *newest = header.offset.max(*newest);
}

/// What is on its way to the store.
struct Asked {
    due: u64,
    /// How often the store had come back.
    life: u64,
    ticket: Ticket,
    request: Request,
}

/// The way of one shard to the store.
pub(crate) struct SimStore {
    cloud: Rc<RefCell<Cloud>>,
    node: NodeId,
    clock: Clock,
    asked: Vec<Asked>,
    /// When the last request about a room or a session arrives: none does before.
    last: BTreeMap<Arc<str>, u64>,
    answers: Vec<(u64, Ticket, Result<Answer, StoreError>)>,
}

impl SimStore {
    pub(crate) fn new(cloud: &Rc<RefCell<Cloud>>, node: NodeId, clock: Clock) -> SimStore {
        SimStore {
            cloud: cloud.clone(),
            node,
            clock,
            asked: Vec::new(),
            last: BTreeMap::new(),
            answers: Vec::new(),
        }
    }

    /// Its node stops: what is on its way may arrive before that ends, or after it.
    pub(crate) fn send_all(&mut self, now: u64) {
        let now = Clock::TRUE.at(now);
        let mut cloud = self.cloud.borrow_mut();
        if cloud.random.chance(500) || cloud.is_cut_off(self.node, now) {
            return;
        }
        self.asked.sort_by_key(|it| it.due);
        for asked in self.asked.drain(..) {
            let answer = match asked.life == cloud.lives {
                true => cloud.apply(now, &asked.request),
                false => Err(StoreError::Again(Cause::Connection)),
            };
            self.answers.push((now.micros, asked.ticket, answer));
        }
    }

    /// Its node is killed: what is on its way may arrive all the same.
    pub(crate) fn kill(&mut self) {
        let mut cloud = self.cloud.borrow_mut();
        for Asked {
            due, request, life, ..
        } in self.asked.drain(..)
        {
            if cloud.random.chance(500) && life == cloud.lives {
                let late = 1_000 * cloud.random.below(3_000);
                let due = due + cloud.random.pick(&[0, 0, late]);
                cloud.strays.push((due, request));
            }
        }
    }
}

/// The room, the session or the user that a request is about.
fn about(request: &Request) -> Arc<str> {
    match request {
        Request::Claim(it) => it.room.clone(),
        Request::Append(it) => it.room.clone(),
        Request::Release(it) => it.room.clone(),
        Request::Take(it) => it.client.as_str().into(),
        Request::Save(it) => it.client.as_str().into(),
        Request::End(it) => it.client.as_str().into(),
        Request::InboxAppend(it) => it.to.as_str().into(),
        Request::InboxRead(it) => it.client.as_str().into(),
        Request::User(it) => format!("user {}", it.user).into(),
        Request::Renew(it) => it.room.clone(),
        other => panic!("{other:?} is not asked by a shard"),
    }
}

impl Store for SimStore {
    const WAITS: bool = true;

    fn submit(&mut self, now: Now, ticket: Ticket, request: Request) {
        let now = self.clock.truth(now);
        let mut cloud = self.cloud.borrow_mut();
        let delay = cloud.temper.delay;
        let due = now.micros + 1_000 * cloud.random.below(delay + 1);
        let last = self.last.entry(about(&request)).or_default();
        *last = due.max(*last);
        self.asked.push(Asked {
            due: *last,
            life: cloud.lives,
            ticket,
            request,
        });
    }

    fn poll(&mut self, now: Now) -> Option<(Ticket, Result<Answer, StoreError>)> {
        // Each turn asks more than once.
        if self.asked.is_empty() && self.answers.is_empty() {
            return None;
        }
        let now = self.clock.truth(now);
        let mut cloud = self.cloud.borrow_mut();
        if cloud.is_cut_off(self.node, now) {
            return None;
        }
        // Those about the same stay in their order.
        self.asked.sort_by_key(|it| it.due);
        while self.asked.first().is_some_and(|it| it.due <= now.micros) {
            let Asked {
                ticket,
                request,
                life,
                ..
            } = self.asked.remove(0);
            let Temper {
                delay,
                loses,
                loses_answer,
                doubles,
            } = cloud.temper;
            let mut answer = Err(StoreError::Again(Cause::Connection));
            if !cloud.random.chance(loses) && life == cloud.lives {
                answer = cloud.apply(now, &request);
                if cloud.random.chance(loses_answer) {
                    answer = Err(StoreError::Again(Cause::Timeout));
                }
            }
            let times = 1 + u64::from(cloud.random.chance(doubles));
            for _ in 0..times {
                let due = now.micros + 1_000 * cloud.random.below(delay + 1);
                self.answers.push((due, ticket, answer.clone()));
            }
        }
        let due = self.answers.iter().position(|it| it.0 <= now.micros)?;
        let (_, ticket, answer) = self.answers.remove(due);
        Some((ticket, answer))
    }

    fn next_wake(&self) -> Option<u64> {
        let asked = self.asked.iter().map(|it| it.due);
        let due = asked.chain(self.answers.iter().map(|it| it.0)).min()?;
        let cloud = self.cloud.borrow();
        let cut_off = cloud.cut_off.get(&self.node).copied().unwrap_or(0);
        let due = due.max(cloud.paused_until).max(cut_off);
        Some(self.clock.at(Clock::TRUE.moment(due)).micros)
    }
}
