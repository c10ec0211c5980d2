//! The Roomcast server as a library: for the `roomcast` binary, and for games of one's own.
//!
//! ```no_run
//! use roomcast_server::{GameAction, Outcome, PlayerNum, RoomContext, RoomLogic, Server};
//!
//! struct Dice;
//!
//! impl RoomLogic for Dice {
//!     fn action(&mut self, room: &mut RoomContext<'_>, player: PlayerNum, action: &GameAction<'_>) -> Outcome {
//!         if action.action() != "roll" {
//!             return Outcome::refused("roll, or do nothing");
//!         }
//!         let eyes = room.random() % 6 + 1;
//!         room.broadcast("rolled", &serde_json::json!({ "player": player, "eyes": eyes }));
//!         Outcome::Handled
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     Server::builder().logic("dice", |_room| Box::new(Dice)).main()
//! }
//! ```

mod api;
pub mod auth;
mod authorize;
mod builder;
mod clock;
pub mod config;
mod engine;
mod error;
mod files;
mod handover;
mod http;
mod limits;
pub mod log;
mod mailbox;
mod memory;
pub mod metrics;
mod outgoing;
mod running;
mod server;
mod shard;
mod shutdown;
mod snapshot;
mod spans;
mod streams;
mod tls;
mod webhooks;

pub use api::openapi;
pub use builder::ServerBuilder;
pub use error::ServerError;
pub use memory::CountingAllocator;
pub use running::RunningServer;
pub use server::Server;

pub use roomcast_core::settings::{Compression, Kind, Mode, Nickname, PresenceMode, StateRules};
pub use roomcast_core::{
    Changed, Outcome, Player, PlayerBody, PlayerNum, Profile, ReadAction, Refusal, RoomContext,
    RoomEvent, RoomLogic, SAVED_LOGIC, Said, StateLogic, TestRoom,
};
pub use roomcast_protocol::{ErrorCode, GameAction, Position, Velocity};
