//! A room's operations that wait for verdicts of a backend, and what is behind them.
//!
//! Each connection has a line of its own. Its first operation is asked about, or is about a session of which an operation
//! is asked about that came over another connection. All here came before what the room has in its queue. So each step
//! costs the same, however much waits.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::authorize::Decision;
use crate::home::room::Room;
use crate::id::{ClientId, ConnRef};
use crate::letter::{Op, OpKind};

#[derive(Debug, Default)]
pub(super) struct Undecided {
    /// By their places, which say in which order they came.
    ops: BTreeMap<u64, Op>,
    next_place: u64,
    lines: HashMap<ConnRef, Line>,
    /// Lines whose first operation is to be looked at.
    ready: VecDeque<ConnRef>,
    /// Sessions of which an operation is asked about: over which connection it came, and who waits for the verdict beside that.
    sessions: HashMap<ClientId, (ConnRef, Vec<ConnRef>)>,
}

/// What waits of one connection.
#[derive(Debug, Default)]
struct Line {
    places: VecDeque<u64>,
    asked: Option<Asked>,
    is_ready: bool,
}

/// The first operation of a line is asked about.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) number: u32,
    pub(super) client: ClientId,
    pub(super) decision: Option<Decision>,
}

/// An operation that was taken out, and may be put back.
pub(super) struct Taken {
    pub(super) op: Op,
    place: u64,
    /// What was said about it.
    pub(super) decision: Option<Decision>,
}

impl Undecided {
    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Op> {
        self.ops.values()
    }

    /// All, in the order in which they came.
    pub(super) fn into_ops(self) -> impl Iterator<Item = Op> {
        self.ops.into_values()
    }

    pub(super) fn has_line(&self, conn: ConnRef) -> bool {
        self.lines.contains_key(&conn)
    }

    /// Whether an operation about this session waits behind one that came over another connection.
    pub(super) fn is_asked_about(&self, client: ClientId) -> bool {
        self.sessions.contains_key(&client)
    }

    /// An operation waits behind those of its connection.
    pub(super) fn push(&mut self, op: Op) {
        let place = self.next_place;
        self.next_place += 1;
        let line = self.lines.entry(op.head.conn).or_default();
        line.places.push_back(place);
        self.ops.insert(place, op);
    }

    /// An operation that was taken waits again, in its place.
    pub(super) fn put_back(&mut self, Taken { op, place, .. }: Taken) {
        let line = self.lines.entry(op.head.conn).or_default();
        line.places.push_front(place);
        self.ops.insert(place, op);
    }

    /// The first operation of a connection is asked about from now on.
    pub(super) fn asks(&mut self, conn: ConnRef, asked: Asked) {
        let waiting = self.sessions.entry(asked.client);
        waiting.or_insert_with(|| (conn, Vec::new()));
        self.lines.entry(conn).or_default().asked = Some(asked);
    }

    /// The first operation of a connection waits for what is said about this session.
    pub(super) fn waits_for(&mut self, conn: ConnRef, client: ClientId) {
        if let Some((_, behind)) = self.sessions.get_mut(&client) {
            behind.push(conn);
        }
    }

    /// The backend has decided. Whether anything waits for that.
    pub(super) fn decide(&mut self, conn: ConnRef, number: u32, decision: Decision) -> bool {
        let line = self.lines.get_mut(&conn);
        let asked = line.and_then(|line| line.asked.as_mut());
        let Some(asked) = asked.filter(|it| it.number == number) else {
            return false;
        };
        asked.decision = Some(decision);
        self.make_ready(conn);
        true
    }

    /// The first operation of a line that is to be looked at.
    pub(super) fn take_ready(&mut self) -> Option<Taken> {
        while let Some(conn) = self.ready.pop_front() {
            let Some(line) = self.lines.get_mut(&conn) else {
                continue;
            };
            line.is_ready = false;
            let asked = line.asked.take();
            let taken = line.places.pop_front().and_then(|place| {
                let op = self.ops.remove(&place)?;
                Some((place, op))
            });
            let decision = asked.and_then(|asked| {
                self.end(conn, asked.client);
                asked.decision
            });
            if let Some((place, op)) = taken {
                return Some(Taken {
                    op,
                    place,
                    decision,
                });
            }
            self.lines.remove(&conn);
        }
        None
    }

    /// What was taken is done with: the next one of its connection is looked at.
    pub(super) fn go_on(&mut self, conn: ConnRef) {
        match self.lines.get_mut(&conn) {
            Some(line) if line.places.is_empty() => drop(self.lines.remove(&conn)),
            Some(line) if !line.is_ready => {
                line.is_ready = true;
                self.ready.push_front(conn);
            }
            _ => {}
        }
    }

    /// Takes out those for which `keep` gives nothing back. What is said about them later is about nothing.
    pub(super) fn filter(&mut self, mut keep: impl FnMut(Op) -> Option<Op>) {
        let mut lost = Vec::new();
        for (place, op) in std::mem::take(&mut self.ops) {
            let conn = op.head.conn;
            match keep(op) {
                Some(op) => drop(self.ops.insert(place, op)),
                None => lost.push((conn, place)),
            }
        }
        for (conn, place) in lost {
            let Some(line) = self.lines.get_mut(&conn) else {
                continue;
            };
            if line.places.front() != Some(&place) {
                line.places.retain(|it| *it != place);
                continue;
            }
            line.places.pop_front();
            if let Some(asked) = line.asked.take() {
                self.end(conn, asked.client);
            }
            self.make_ready(conn);
        }
    }

    /// A session is not asked about any more. Who waited for that is looked at.
    fn end(&mut self, conn: ConnRef, client: ClientId) {
        if self.sessions.get(&client).is_some_and(|it| it.0 == conn)
            && let Some((_, behind)) = self.sessions.remove(&client)
        {
            behind.into_iter().for_each(|conn| self.make_ready(conn));
        }
    }

    fn make_ready(&mut self, conn: ConnRef) {
        if let Some(line) = self.lines.get_mut(&conn).filter(|line| !line.is_ready) {
            line.is_ready = true;
            self.ready.push_back(conn);
        }
    }
}

impl Room {
    /// Operations that wait, for whatever it is.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len() + self.undecided().map_or(0, Undecided::len)
    }

    /// Whether there are operations that may be done, or are to be looked at.
    pub(super) fn has_work(&self) -> bool {
        !self.pending.is_empty() || self.undecided().is_some_and(Undecided::has_ready)
    }

    /// Takes all operations that wait, in the order in which they came. What is said about them later is about nothing.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Op> {
        let pending = std::mem::take(&mut self.pending);
        match self.take_undecided() {
            Some(undecided) => undecided.into_ops().chain(pending).collect(),
            None => pending,
        }
    }

    /// Takes joins out whose connections are gone by now. Nobody waits for them, and whoever comes back asks again: it may
    /// have been in the room meanwhile, by way of another node, and out of it, where this one had no lease and did not hear so.
    pub(super) fn forget_joins_of_gone(&mut self) {
        let undecided = self.undecided().into_iter().flat_map(Undecided::iter);
        let waiting = undecided.chain(&self.pending);
        let gone = waiting.filter(|op| matches!(op.request, OpKind::Detach));
        let gone: HashSet<ConnRef> = gone.map(|op| op.head.conn).collect();
        if gone.is_empty() {
            return;
        }
        self.filter_waiting(|_, op| {
            let is_in_vain = matches!(op.request, OpKind::Join(_)) && gone.contains(&op.head.conn);
            (!is_in_vain).then_some(op)
        });
    }

    /// Takes those out for which `keep` gives nothing back.
    pub(super) fn filter_waiting(&mut self, mut keep: impl FnMut(&mut Room, Op) -> Option<Op>) {
        if let Some(mut undecided) = self.take_undecided() {
            undecided.filter(|op| keep(self, op));
            *self.make_undecided() = *undecided;
        }
        for op in std::mem::take(&mut self.pending) {
            if let Some(op) = keep(self, op) {
                self.pending.push_back(op);
            }
        }
    }
}
