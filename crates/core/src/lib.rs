//! The heart of Roomcast: connections, rooms, lanes and room logic as state machines.
//!
//! No sockets, no clock, no randomness: bytes, time and random numbers come in as arguments, bytes
//! go out. So whole nodes run under a virtual clock in a test. [`Shard`] is the way in.

mod address;
pub mod authorize;
pub mod backend;
mod batcher;
mod chunk;
pub mod cluster;
mod context;
mod desk;
mod direct;
pub mod driver;
mod edge;
pub mod fact;
mod held;
mod home;
mod host;
mod id;
mod identity;
mod kinds;
mod lane;
mod letter;
pub mod log;
mod logic;
pub mod logs;
mod member;
pub mod node;
mod numbered;
mod player;
mod pool;
pub mod post;
mod rate;
pub mod settings;
mod shard;
mod spare;
mod state_position;
mod stats;
pub mod store;
mod table;
mod time;
mod token;
mod trace;
mod traffic;
mod wheel;
pub mod wire;

pub use address::{NodeNumber, ShardAddress};
pub use batcher::BatcherLimits;
pub use context::ForNode;
pub use desk::QuestionId;
pub use edge::{MovingConnection, Received, Written};
pub use host::{Control, Encoding, Host, LogNews, Notice};
pub use id::{ClientId, ConnId, ConnRef, hash_key};
pub use identity::{Access, Grant, Identity, Origin, Rights, Rooms, TokenFault};
pub use kinds::{Kinds, LogicFactory, kind_name};
pub use letter::ShardMessage;
pub use logic::{
    Changed, Outcome, Profile, ReadAction, Refusal, RoomContext, RoomEvent, RoomLogic, SAVED_LOGIC,
    Said, StateLogic, TestRoom,
};
pub use player::{Player, PlayerBody, PlayerNum};
pub use shard::{QuestionFrom, Shard, ShardConfig};
pub use stats::{Histogram, KindStats, Stats};
pub use time::Now;
pub use token::session_key;
pub use trace::{Span, Step, TraceContext};
