//! A session that is here, as far as its store has it, and one that is about to end.

use crate::edge::keeper::Asked;
use crate::edge::mailbox::Mailbox;
use crate::edge::session::Session;
use crate::host::Encoding;
use crate::id::ConnId;
use crate::node::ClusterView;
use crate::store::{Slot, StoreId};

/// The turn of a session whose name nobody had before.
pub(super) const FIRST_TURN: u64 = 1;

/// A session, as far as the store has it.
#[derive(Debug)]
pub(super) struct Copied {
    /// Of several nodes that want the session, the one with the highest has it.
    pub(super) turn: u64,
    /// The store that has confirmed it last.
    pub(super) known: Option<StoreId>,
    /// The newest store at which it is certain that no other node has it as it is later. `None`: no store was asked to
    /// keep it yet.
    pub(super) since: Option<StoreId>,
    /// The slot of its user's set, and the store that has confirmed that it is in there.
    pub(super) in_set: Option<(Slot, StoreId)>,
    /// How often it has changed; up to which change it is saved; which one the request under way has.
    pub(super) changes: u64,
    pub(super) saved: u64,
    pub(super) saving: u64,
    pub(super) asked: Option<Asked>,
    /// Milliseconds since the Unix epoch at which it lost its connection, and how long it is kept then; 0: it has one.
    pub(super) away: (i64, u64),
    /// Microseconds at which it is saved again, though nothing has changed: records end.
    pub(super) renew_at: u64,
    /// It was taken from another node, and its rooms don't know this one yet.
    pub(super) is_new_to_rooms: bool,
    pub(super) ending: Option<Ending>,
    pub(super) mailbox: Mailbox,
}

/// A session that is about to end: its rooms are told once the store has said so.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) conn: ConnId,
    pub(super) encoding: Encoding,
    pub(super) session: Session,
}

impl Copied {
    /// Whether only another store has confirmed it.
    pub(super) fn is_elsewhere(&self, store: StoreId) -> bool {
        self.known.is_some_and(|it| it != store)
    }

    /// Whether another node may have it as it is later, and be about to write it: a store has come back that did not see who
    /// had it last.
    pub(super) fn is_contested(&self, cluster: &ClusterView) -> bool {
        let is_certain = self.since.is_none_or(|it| it == cluster.store) || cluster.settled;
        self.is_elsewhere(cluster.store) || !is_certain
    }

    pub(super) fn new(turn: u64) -> Copied {
        Copied {
            turn,
            known: None,
            since: None,
            in_set: None,
            changes: 0,
            saved: 0,
            saving: 0,
            asked: None,
            away: (0, 0),
            renew_at: u64::MAX,
            is_new_to_rooms: false,
            ending: None,
            mailbox: Mailbox::default(),
        }
    }
}
