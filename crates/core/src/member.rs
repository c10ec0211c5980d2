//! Somebody in a room: a player, with a seat for each of its sessions there.

use roomcast_protocol::Sender;
use smallvec::SmallVec;

use crate::host::Encoding;
use crate::id::{ClientId, ConnRef};
use crate::player::{Player, PlayerBody, PlayerNum};

/// A session's place in a room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// Its connection, or the last that it had: another one is not believed.
    pub(crate) conn: ConnRef,
    pub(crate) encoding: Encoding,
    pub(crate) client_id: ClientId,
    pub(crate) connected: bool,
}

#[derive(Debug)]
pub(crate) struct Member {
    /// One, or as many as its user has sessions in the room.
    pub(crate) seats: SmallVec<[Seat; 1]>,
    /// Empty without auth: the user is the client then.
    pub(crate) user_id: Box<str>,
    pub(crate) nickname: Box<str>,
    /// A JSON object; empty where the member has set no key.
    pub(crate) presence: Box<str>,
    /// The room's state version that first showed this presence.
    pub(crate) presence_version: u64,
    pub(crate) body: PlayerBody,
    /// The room's state version that first showed this body.
    pub(crate) body_version: u64,
    /// The body changed since.
    pub(crate) changed: bool,
}

impl Member {
    pub(crate) fn player_id(&self) -> &str {
        if self.user_id.is_empty() {
            self.seats
                .first()
                .map_or("", |seat| seat.client_id.as_str())
        } else {
            &self.user_id
        }
    }

    /// The seat of a connection.
    pub(crate) fn seat(&self, conn: ConnRef) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.conn == conn)
    }

    /// The seat of a session.
    pub(crate) fn seat_of(&mut self, client: ClientId) -> Option<&mut Seat> {
        self.seats.iter_mut().find(|seat| seat.client_id == client)
    }

    /// Whether any of its sessions has a connection.
    pub(crate) fn connected(&self) -> bool {
        self.seats.iter().any(|seat| seat.connected)
    }

    pub(crate) fn player(&self, num: PlayerNum) -> Player<'_> {
        Player {
            num,
            id: self.player_id(),
            nickname: &self.nickname,
            connected: self.connected(),
        }
    }

    pub(crate) fn mark_changed(&mut self, num: PlayerNum, changed: &mut Vec<PlayerNum>) {
        if !self.changed {
            self.changed = true;
            changed.push(num);
        }
    }

    /// Who speaks when a session of it does.
    pub(crate) fn sender<'a>(&'a self, num: PlayerNum, seat: Option<&'a Seat>) -> Sender<'a> {
        Sender {
            client_id: seat.map_or("", |seat| seat.client_id.as_str()),
            user_id: &self.user_id,
            player_num: num,
            service: "",
        }
    }

    /// The same, where it is told of without any of its sessions having spoken.
    pub(crate) fn itself(&self, num: PlayerNum) -> Sender<'_> {
        self.sender(num, self.seats.first())
    }

    /// As messages show it.
    pub(crate) fn listed(&self, num: PlayerNum) -> roomcast_protocol::Member<'_> {
        roomcast_protocol::Member {
            player_id: self.player_id(),
            player_num: num,
            nickname: &self.nickname,
            presence: &self.presence,
            connected: self.connected(),
        }
    }
}
