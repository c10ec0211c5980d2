//! Room logic: what a room of a kind does with actions, time and those who come and go.
//!
//! Logic is deterministic: it sees the time, a random source and its inputs as arguments and does
//! no I/O. One call has a time budget; a longer one is counted and logged, as it holds up every
//! room of its shard. The modes are its first implementers, a game of one's own the next.

mod action;
mod context;
mod event;
mod outcome;
mod profile;
mod rules;
mod state;
mod test_room;

use roomcast_protocol::GameAction;

use crate::player::PlayerNum;

pub use action::ReadAction;
pub use context::RoomContext;
pub(crate) use context::{Effect, RoomParts};
pub use event::RoomEvent;
pub(crate) use outcome::cut;
pub use outcome::{Changed, Outcome, Refusal};
pub use profile::Profile;
pub(crate) use profile::update_of;
pub(crate) use rules::LogicRules;
pub use state::StateLogic;
pub use test_room::{Said, TestRoom};

/// Bytes that a store keeps of a room's logic and of its players' states. Where there are more, nothing is kept of them.
pub const SAVED_LOGIC: usize = 64 * 1024;

/// The logic of one room. Each room gets an instance of its own.
///
/// Only [`RoomLogic::action`] has to be written. What the others do by default is on the safe side: everybody may join,
/// chats are passed on, and events of members are refused, so that no member can say what only the logic should.
///
/// Tests of logic need no server: see [`TestRoom`].
pub trait RoomLogic: Send {
    /// Somebody wants to join, and is not in the room yet. With `Ok`, the default, it is let in, and [`RoomLogic::join`]
    /// is next. With a [`Refusal`] it is not, and its client gets the code and the sentence. The nickname and the
    /// presence may be changed before anybody sees them.
    ///
    /// Bans, locks and `max_players` were looked at before. Not asked for one more session of a player who is in the
    /// room, nor for one who comes back after a lost connection.
    ///
    /// ```
    /// use roomcast_core::{Profile, Refusal, RoomContext};
    ///
    /// # struct Private;
    /// # impl roomcast_core::RoomLogic for Private {
    /// fn admit(&mut self, room: &mut RoomContext<'_>, newcomer: &mut Profile<'_>) -> Result<(), Refusal> {
    ///     if !newcomer.id().starts_with("friend-") {
    ///         return Err(Refusal::new("this room is for friends"));
    ///     }
    ///     if newcomer.nickname().is_empty() {
    ///         newcomer.set_nickname(&format!("guest {}", room.player_count() + 1))?;
    ///     }
    ///     Ok(())
    /// }
    /// # fn action(&mut self, _: &mut RoomContext<'_>, _: u32, _: &roomcast_protocol::GameAction<'_>) -> roomcast_core::Outcome {
    /// #     roomcast_core::Outcome::Relay
    /// # }
    /// # }
    /// ```
    fn admit(
        &mut self,
        _room: &mut RoomContext<'_>,
        _newcomer: &mut Profile<'_>,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    /// Somebody has joined; the player is in the room already.
    fn join(&mut self, _room: &mut RoomContext<'_>, _player: PlayerNum) {}

    /// Somebody leaves, or was put out; the player is still in the room.
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

    /// A member sends an event or a chat to the room. By default a chat is passed on, and an event is refused: pages
    /// believe an event by its name, and a member must not pass for the logic. Logic that lets events pass with
    /// [`Outcome::Relay`] says in [`RoomLogic::own_events`] which it sends itself.
    ///
    /// Direct messages go past the room and its logic.
    fn event(
        &mut self,
        _room: &mut RoomContext<'_>,
        _player: PlayerNum,
        event: &RoomEvent<'_>,
    ) -> Outcome {
        match event.name {
            None => Outcome::Relay,
            Some(_) => Outcome::refused("this room takes no events from its members"),
        }
    }

    /// An application's backend publishes an event or a chat to the room, with the API key of this name. By default it is
    /// passed on. [`Outcome::Handled`]: it is answered as published, with the offset 0.
    ///
    /// What was published with an `Idempotency-Key` and is in the log already is not asked about again.
    fn service_event(
        &mut self,
        _room: &mut RoomContext<'_>,
        _service: &str,
        _event: &RoomEvent<'_>,
    ) -> Outcome {
        Outcome::Relay
    }

    /// A member changes its nickname or its presence: `profile` is how it would be. With `Ok`, the default, it will be so,
    /// or as it was changed here. Who checks nicknames in [`RoomLogic::admit`] checks them here too.
    fn presence(
        &mut self,
        _room: &mut RoomContext<'_>,
        _player: PlayerNum,
        _profile: &mut Profile<'_>,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    /// Names of events that only this logic sends. From anybody else, an application's backend too, an event of one of
    /// these names is refused with `reserved_event`, and [`RoomLogic::event`] is not called. Asked once, when the room is
    /// made.
    fn own_events(&self) -> &'static [&'static str] {
        &[]
    }

    /// Those of [`RoomLogic::own_events`] that an application's backend may publish too. Asked once, when the room is
    /// made.
    fn shared_events(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether [`RoomLogic::admit`], [`RoomLogic::event`], [`RoomLogic::service_event`] and [`RoomLogic::presence`] are
    /// called. If not, all is let in and passed on, but for [`RoomLogic::own_events`]. Asked once, when the room is made.
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
