//! A link to one node: who is at its two ends, and what goes over it.
//!
//! Each node makes its own end and announces it until the other has answered with that name. Letters go once both names
//! are known, and count only with both. An end is used once: a node that gives a link up makes another end, whose
//! higher count tells the other node so.

use roomcast_protocol::mutated;

use super::datagram::{AROUND, End, Header, Piece, VERSIONS};
use super::inbox::{Inbox, TooLarge};
use super::mac::{MAC, PostKey};
use super::outbox::Outbox;
use super::settings::PostSettings;
use super::{Letter, PostStats};
use crate::address::NodeNumber;
use crate::store::{HomeName, NodeId};
use crate::traffic::Traffic;

/// The first delay between two announcements.
const ANNOUNCE_AGAIN: u64 = 50_000;

#[derive(Debug)]
pub(super) struct Link {
    /// `None`: the link is lost, and the node has no new number yet. Nothing goes.
    pub(super) number: Option<NodeNumber>,
    /// The highest number that the node had.
    last_number: NodeNumber,
    own: End,
    /// The other end: that with the highest count that was heard.
    peer: End,
    /// Of what is sent.
    version: u8,
    /// The other node knows our end: letters go.
    open: bool,
    announce_at: Option<u64>,
    announce_delay: u64,
    pub(super) outbox: Outbox,
    inbox: Inbox,
    /// The channel has not taken the last datagram yet.
    under_way: bool,
    /// When the next datagram may go.
    gathered_at: u64,
}

/// What a datagram is to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is for this link.
    Ours,
    /// It is for an earlier one, or the sender doesn't know our end yet.
    NotOurs,
    /// The other node has another end now: this link is lost.
    Lost,
}

impl Link {
    /// A link that waits for a number.
    pub(super) fn new(own: End, node: NodeId, settings: &PostSettings) -> Link {
        Link {
            number: None,
            last_number: NodeNumber::OWN,
            own,
            peer: End {
                home: HomeName { node, lease: 0 },
                count: 0,
            },
            version: *VERSIONS.start(),
            open: false,
            announce_at: None,
            announce_delay: ANNOUNCE_AGAIN,
            outbox: Outbox::new(settings),
            inbox: Inbox::default(),
            under_way: false,
            gathered_at: 0,
        }
    }

    /// Gives everything up. `own` is the node's end from now on.
    pub(super) fn lose(&mut self, own: End, settings: &PostSettings) {
        self.number = None;
        self.own = own;
        self.open = false;
        self.inbox = Inbox::default();
        if !mutated!("lost_link_keeps_its_letters") {
            self.outbox = Outbox::new(settings);
        }
    }

    /// Whether the node has another number now: the link is lost.
    pub(super) fn is_before(&self, number: NodeNumber) -> bool {
        self.number.is_some_and(|it| it < number)
    }

    /// The node lives. A number that it did not have before begins the next link.
    pub(super) fn meet(&mut self, number: NodeNumber, version: u32, now: u64) {
        self.version = spoken(version);
        if self.number.is_none() && self.last_number < number {
            self.number = Some(number);
            self.last_number = number;
            self.announce_at = Some(now);
            self.announce_delay = ANNOUNCE_AGAIN;
        }
    }

    /// Takes in who sent a datagram, and to whom.
    pub(super) fn hear(&mut self, header: &Header, now: u64) -> Heard {
        let order = header.from.count.cmp(&self.peer.count);
        if order.is_lt() && !mutated!("old_end_is_believed") {
            return Heard::NotOurs;
        }
        self.peer = header.from;
        if self.open && order.is_gt() {
            return Heard::Lost;
        }
        if self.number.is_none() {
            return Heard::NotOurs;
        }
        if header.to != self.own && !mutated!("other_link_is_believed") {
            if !self.open {
                self.announce_at = Some(now);
            }
            return Heard::NotOurs;
        }
        if !self.open {
            self.open = true;
            self.announce_at = None;
        }
        if header.opening {
            self.inbox.answer(now);
        }
        Heard::Ours
    }

    /// Takes in what a datagram of this link says. `false`: the link can't go on.
    pub(super) fn receive(
        &mut self,
        header: &Header,
        pieces: &[Piece<&[u8]>],
        now: u64,
        settings: &PostSettings,
        stats: &mut PostStats,
        deliver: impl FnMut(Letter),
    ) -> bool {
        let outbox = &mut self.outbox;
        if !outbox.acked(now, header.ack, header.gap, settings, stats) {
            return false;
        }
        let taken = (self.inbox).take(now, header.first, pieces, settings, stats, deliver);
        !matches!(taken, Err(TooLarge))
    }

    /// When a datagram is to go. `None`: not before something else happens.
    pub(super) fn due_at(&self) -> Option<u64> {
        if self.number.is_none() || self.under_way {
            return None;
        }
        let at = if self.open {
            let times = [
                self.outbox.due_at(),
                self.outbox.again_at(),
                self.inbox.ack_at(),
            ];
            times.into_iter().flatten().min()
        } else {
            self.announce_at
        };
        at.map(|at| at.max(self.gathered_at))
    }

    /// The datagram that is due.
    pub(super) fn datagram(
        &mut self,
        now: u64,
        key: &PostKey,
        settings: &PostSettings,
        (traffic, stats): (&mut Traffic, &mut PostStats),
    ) -> Vec<u8> {
        let (ack, gap) = self.inbox.ack();
        if self.open {
            self.outbox.time(now, settings);
        } else {
            self.announce_at = Some(now + self.announce_delay);
            self.announce_delay = (2 * self.announce_delay).min(settings.again_most);
        }
        let header = Header {
            from: self.own,
            to: self.peer,
            opening: !self.open,
            gap,
            ack,
            first: self.outbox.next(),
        };
        let mut bytes = Vec::with_capacity(AROUND);
        header.write(self.version, &mut bytes);
        let most = settings.datagram() - MAC;
        let all = !self.open || self.outbox.fill(now, most, &mut bytes, stats);
        traffic.add(now, self.outbox.next() - header.first);
        key.seal(&mut bytes);
        self.under_way = true;
        // What did not fit follows at once: it has been gathered already.
        self.gathered_at = if all {
            now + traffic.gather(settings.gather, settings.busy)
        } else {
            now
        };
        bytes
    }

    /// The channel has taken the datagram.
    pub(super) fn taken(&mut self, now: u64) {
        self.under_way = false;
        self.outbox.taken(now);
    }
}

/// The version in which a node is written to.
fn spoken(newest: u32) -> u8 {
    let newest = u8::try_from(newest).unwrap_or(u8::MAX);
    newest.clamp(*VERSIONS.start(), *VERSIONS.end())
}

impl End {
    /// The next one of a node.
    pub(super) fn next(home: HomeName, count: &mut u64) -> End {
        *count += 1;
        End {
            home,
            count: *count,
        }
    }
}
