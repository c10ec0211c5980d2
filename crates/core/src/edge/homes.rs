//! Rooms whose home is gone, with the node that it was on or by itself: who is in them goes on where they are next.
//!
//! Whom the home owes nothing asks the next one for what it missed, as if it had come back, and its client hears no more
//! than a `joined`. Whom the home owes an answer can't know what was done: its connection is closed, and its client comes
//! back and asks again.

use roomcast_protocol::{CloseCode, mutated};

use crate::address::NodeNumber;
use crate::context::Context;
use crate::edge::Edge;
use crate::edge::conn::{Conn, Phase};
use crate::edge::membership::{Events, Membership, Stay};
use crate::edge::rooms::EdgeRooms;
use crate::host::Host;
use crate::id::{ConnId, EdgeRoomId};
use crate::lane::{Lane, Piece};
use crate::letter::{Joined, OpKind, Place, Resume};
use crate::log::{Epoch, Since};
use crate::store::Store;
use crate::time::Now;

/// What a connection does whose rooms have lost their home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    ComeBack,
}

impl<S: Store> Edge<S> {
    /// The link to a node is lost: rooms that were at home there have no home now. Who waits for an answer may have been
    /// asking for it there.
    pub(crate) fn node_lost<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, node: NodeNumber) {
        for room in self.rooms.rows_mut().filter(|room| room.node == node) {
            room.lose_home();
        }
        self.miss_news(now);
        self.owe_look(node);
        let rooms = &self.rooms;
        let may_ask_there = |it: &Membership| {
            let room = rooms.get(it.room);
            it.stay != Stay::In && room.is_none_or(|room| room.given_up_by != node)
        };
        let waits = |conn: &Conn| {
            let mut memberships = conn.session.memberships.iter();
            conn.phase == Phase::Open && (conn.asks_of_left || memberships.any(may_ask_there))
        };
        let conns = self.conns.rows_mut();
        let waiting: Vec<_> = conns
            .filter(|it| waits(it))
            .filter(|_| !mutated!("owed_answers_are_forgotten"))
            .map(|conn| (conn.id, Next::ComeBack))
            .collect();
        self.go_on(ctx, now, waiting, None);
        self.leave_all_homes(ctx, now, None);
    }

    /// The home of a room says that it is not its home any more.
    pub(super) fn home_gone<H>(&mut self, ctx: &Context<H>, from: NodeNumber, name: &str) {
        let room = self.rooms.find(name, ctx.names.hash(name));
        let room = room.and_then(|room| self.rooms.get_mut(room));
        if let Some(room) = room.filter(|room| room.node == from) {
            room.lose_home();
            // Gateways are told first, and ask that node for nothing then.
            if ctx.ending.contains(&from) {
                room.given_up_by = from;
            }
            self.lost_homes = true;
        }
    }

    /// A room's home is on this node: the newest `joined` tells.
    pub(super) fn note_home<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        from: NodeNumber,
        joined: &Joined,
    ) {
        let Some(room) = self.rooms.get_mut(joined.edge_room) else {
            return;
        };
        // Others in the room have not heard that it has moved.
        let has_moved = room.node != from && room.node != NodeNumber::NONE || room.is_lost;
        if has_moved && room.uses > 1 {
            room.lose_home();
            self.leave_all_homes(ctx, now, Some((joined.conn, joined.edge_room)));
        }
        let Some(room) = self.rooms.get_mut(joined.edge_room) else {
            return;
        };
        let offset = match room.newest {
            Some(newest) if room.node == from && newest.epoch == joined.epoch => newest.offset,
            _ => 0,
        };
        (room.node, room.is_lost) = (from, false);
        room.newest = Some(Since {
            epoch: joined.epoch,
            offset,
        });
    }

    /// A room's log goes on under another name.
    pub(super) fn log_renamed(&mut self, room: EdgeRoomId, epoch: Epoch) {
        let room = self.rooms.get_mut(room);
        if let Some(newest) = room.and_then(|room| room.newest.as_mut()) {
            newest.epoch = epoch;
        }
    }

    pub(crate) fn has_lost_homes(&self) -> bool {
        self.lost_homes
    }

    /// Those who are in rooms whose home is gone go on.
    pub(crate) fn leave_homes<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        if self.lost_homes {
            self.leave_all_homes(ctx, now, None);
        }
    }

    /// `but`: a connection that was told where the room is.
    fn leave_all_homes<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        but: Option<(ConnId, EdgeRoomId)>,
    ) {
        self.lost_homes = false;
        let rooms = &self.rooms;
        let conns = self.conns.rows_mut();
        let next: Vec<_> = conns
            .filter(|conn| conn.phase == Phase::Open)
            .filter_map(|conn| Some((conn.id, next(rooms, conn, but)?)))
            .collect();
        self.go_on(ctx, now, next, but);
        for room in self.rooms.rows_mut() {
            room.is_lost = false;
        }
    }

    fn go_on<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        conns: Vec<(ConnId, Next)>,
        but: Option<(ConnId, EdgeRoomId)>,
    ) {
        for (id, next) in conns {
            match next {
                Next::GoOn => self.resume_by_itself(ctx, now, id, but),
                Next::ComeBack => self.ask_to_come_back(ctx, now, id),
            }
        }
    }

    /// A connection whose client has to ask again: it is closed, and the client comes back. At once where few have to, as
    /// when a node ends politely; where many have to, at a pace: the `reconnect` says to each when.
    pub(super) fn ask_to_come_back<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let is_open = |conn: &&Conn| conn.is_served() && conn.phase != Phase::Closing;
        let Some(encoding) = self.conn(id).filter(is_open).map(|conn| conn.encoding) else {
            return self.close_with(ctx, now, id, CloseCode::Reconnect);
        };
        let at = self.come_back_at.max(now.micros);
        let pace = u64::from(ctx.settings.come_back_pace);
        self.come_back_at = at + 1_000_000_u64.checked_div(pace).unwrap_or(0);
        // Its seat waits for the grace alone.
        let latest = ctx.settings.session_grace / 2;
        let delay = ((at - now.micros) / 1_000).min(latest);
        let frame = ctx.reconnect(encoding, now, delay);
        self.close_with_last(ctx, now, id, CloseCode::Reconnect, Some(frame));
    }

    /// Everybody is better off at another node.
    pub(crate) fn send_away<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        for id in self.ids() {
            // Whoever waits for its session is answered in its time.
            let conn = self.conn(id);
            if conn.is_some_and(|it| it.is_served() && it.phase != Phase::Closing) {
                self.ask_to_come_back(ctx, now, id);
            }
        }
    }

    /// Asks where its rooms are next for what the connection lacks. What waits in its lane is asked for again: should its
    /// socket not take it, nobody would know what was dropped.
    fn resume_by_itself<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        but: Option<(ConnId, EdgeRoomId)>,
    ) {
        let Edge {
            conns,
            rooms,
            arena,
            table,
            keeper,
            ..
        } = self;
        let Some(conn) = conns.get_mut(id) else {
            return;
        };
        let (encoding, client_id) = (conn.encoding, conn.pooled.client_id);
        let turn = keeper.turn(client_id);
        let mut asked: smallvec::SmallVec<[_; 4]> = smallvec::SmallVec::new();
        for membership in &mut conn.session.memberships {
            let Some(room) = rooms.get_mut(membership.room) else {
                continue;
            };
            if !room.is_lost || but == Some((id, room.id)) {
                continue;
            }
            let newest = room.newest;
            let mut after = match membership.events {
                Events::Behind(behind) => behind.after,
                Events::Live | Events::None => newest.map_or(0, |it| it.offset),
            };
            let of_room = |piece: &Piece| piece.room == room.id && piece.lane() != Lane::Control;
            conn.lanes.drop_where(arena, of_room, |piece| {
                if piece.lane() == Lane::Event {
                    after = after.min(piece.base().max(membership.floor));
                }
                table.release(piece.chunk, &mut ctx.pool);
            });
            if membership.stop_events() {
                room.remove_receiver(id);
            }
            membership.come_back();
            let since = newest.map(|newest| Since {
                offset: if mutated!("edge_resumes_one_too_far") {
                    after + 1
                } else {
                    after
                },
                ..newest
            });
            let resume = OpKind::Resume(Box::new(Resume {
                client_id,
                edge_room: room.id,
                place: Place {
                    since,
                    first_seq: 0,
                },
                by_edge: true,
                turn,
            }));
            asked.push((room.reference(), membership.player, resume));
        }
        for (room, player, resume) in asked {
            self.send_op(ctx, now, (id, encoding), room, player, resume);
        }
    }
}

/// What a connection does; `None`: none of its rooms is lost.
fn next(rooms: &EdgeRooms, conn: &Conn, but: Option<(ConnId, EdgeRoomId)>) -> Option<Next> {
    let is_lost = |it: &&Membership| {
        let room = rooms.get(it.room);
        room.is_some_and(|room| room.is_lost) && but != Some((conn.id, it.room))
    };
    let mut lost = conn.session.memberships.iter().filter(is_lost).peekable();
    lost.peek()?;
    let owes_nothing =
        |it: &Membership| it.stay == Stay::In && it.player != 0 && it.events != Events::None;
    match conn.operations == 0 && lost.all(owes_nothing) {
        true => Some(Next::GoOn),
        false => Some(Next::ComeBack),
    }
}
