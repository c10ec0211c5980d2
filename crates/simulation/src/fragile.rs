//! Room logic that panics at times, wherever it is asked.

use roomcast_core::{Outcome, PlayerNum, RoomContext, RoomEvent, RoomLogic};
use roomcast_protocol::GameAction;

/// Of a thousand calls, how many panic.
const PANICS: u64 = 15;

pub(crate) struct Fragile;

impl Fragile {
    fn may_panic(&self, room: &mut RoomContext<'_>) {
        if room.random() % 1_000 < PANICS {
            // As a panic, but nothing is printed.
            std::panic::resume_unwind(Box::new("as logic does that has a fault"));
        }
    }
}

impl RoomLogic for Fragile {
    fn join(&mut self, room: &mut RoomContext<'_>, _: PlayerNum) {
        self.may_panic(room);
        room.wake_in(500);
    }

    fn leave(&mut self, room: &mut RoomContext<'_>, _: PlayerNum) {
        self.may_panic(room);
    }

    fn connection(&mut self, room: &mut RoomContext<'_>, _: PlayerNum) {
        self.may_panic(room);
    }

    fn action(&mut self, room: &mut RoomContext<'_>, _: PlayerNum, _: &GameAction<'_>) -> Outcome {
        self.may_panic(room);
        match room.random() % 3 {
            0 => Outcome::Relay,
            1 => Outcome::Handled,
            _ => Outcome::refused("not now"),
        }
    }

    fn event(&mut self, room: &mut RoomContext<'_>, _: PlayerNum, _: &RoomEvent<'_>) -> Outcome {
        self.may_panic(room);
        Outcome::Relay
    }

    fn hears_events(&self) -> bool {
        true
    }

    fn wake(&mut self, room: &mut RoomContext<'_>) {
        self.may_panic(room);
        if room.random().is_multiple_of(2) {
            room.broadcast("tick", &());
        }
    }
}
