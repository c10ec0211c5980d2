//! Room logic: what a room of a kind does with actions, time and those who come and go.
//!
//! Logic is deterministic: it sees the time, a random source and its inputs as arguments and does
//! no I/O. One call has a time budget; a longer one is counted and logged, as it holds up every
//! room of its shard. The modes are its first implementers, a game of one's own the next.

mod context;
mod state;

use std::borrow::Cow;

use roomcast_protocol::{ErrorCode, GameAction, PayloadKind};

use crate::player::PlayerNum;

pub use context::RoomContext;
pub(crate) use context::{Effect, RoomParts};
pub use state::StateLogic;

/// Bytes that a store keeps of a room's logic and of its players' states. Where there are more, nothing is kept of them.
pub const SAVED_LOGIC: usize = 64 * 1024;

/// What logic made of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; whoever acted gets no answer beyond what changed.
    Handled,
    /// Not known here: the room relays it to its members as a `game_action`.
    Relay,
    /// Against the rules: whoever acted gets an `error`.
    Refused(Refusal),
}

/// Why an action was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: ErrorCode,
    /// A sentence for whoever acted.
    pub message: Cow<'static, str>,
    /// Milliseconds after which another try may pass; 0 where waiting doesn't help.
    pub retry_after_ms: u64,
}

/// An event or a chat of a member's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberEvent<'a> {
    /// The event's name; none for a chat.
    pub name: Option<&'a str>,
    /// What the payload is.
    pub payload_kind: PayloadKind,
    /// The payload as it was sent.
    pub payload: &'a [u8],
    /// It is not logged, and the first to be dropped.
    pub ephemeral: bool,
}

impl Outcome {
    /// A refusal with the code `action_refused`.
    pub fn refused(message: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::refused_with(ErrorCode::ActionRefused, message)
    }

    /// A refusal with a code of one's choice.
    pub fn refused_with(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::Refused(Refusal {
            code,
            message: message.into(),
            retry_after_ms: 0,
        })
    }
}

/// The logic of one room. Each room gets an instance of its own.
pub trait RoomLogic: Send {
    /// Somebody has joined; the player is in the room already.
    fn join(&mut self, _room: &mut RoomContext<'_>, _player: PlayerNum) {}

    /// Somebody leaves; the player is still in the room.
    fn leave(&mut self, _room: &mut RoomContext<'_>, _player: PlayerNum) {}

    /// Somebody's connection was lost, or is back; [`Player::connected`](crate::Player::connected) says which. The player
    /// is in the room all the while.
    fn connection(&mut self, _room: &mut RoomContext<'_>, _player: PlayerNum) {}

    /// Somebody acts.
    fn action(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        action: &GameAction<'_>,
    ) -> Outcome;

    /// A member sends an event or a chat to the room. [`Outcome::Relay`], the default: the room logs it and tells
    /// everybody. Not called where [`RoomLogic::hears_events`] is false, nor for direct messages.
    fn event(
        &mut self,
        _room: &mut RoomContext<'_>,
        _player: PlayerNum,
        _event: &MemberEvent<'_>,
    ) -> Outcome {
        Outcome::Relay
    }

    /// Names of events that only this logic sends: from a member one of these is refused with `action_refused`, so that
    /// nobody can pass for the logic. Asked once, when the room is made.
    fn own_events(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether [`RoomLogic::event`] is called and [`RoomLogic::own_events`] are kept. Asked once, when the room is made.
    fn hears_events(&self) -> bool {
        true
    }

    /// With a store: what another home of the room needs to go on from here, in at most
    /// [`SAVED_LOGIC`] bytes together with the players' states. `None`, the default: nothing is kept, and logic begins
    /// anew there.
    ///
    /// Players' states and the time of the next [`RoomLogic::wake`] are kept with it, and [`RoomContext::now_ms`] goes
    /// on. Begin with the number of the form: a newer version of the logic has to tell what an older one has written, and
    /// while servers are updated the other way round too. It is called rarely or often, and changes nothing.
    fn save(&self) -> Option<Vec<u8>> {
        None
    }

    /// Goes on from what [`RoomLogic::save`] gave. It is the first call, and those who were in the room then are in it.
    /// `false`: it is not understood, and nothing was taken over. Then logic begins anew: [`RoomLogic::join`] is called
    /// for each member, as it is where nothing was saved.
    fn load(&mut self, _room: &mut RoomContext<'_>, _saved: &[u8]) -> bool {
        false
    }

    /// The time that was asked for with [`RoomContext::wake_in`] has come.
    fn wake(&mut self, _room: &mut RoomContext<'_>) {}
}
