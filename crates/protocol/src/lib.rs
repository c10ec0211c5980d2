//! The wire of Roomcast: its messages, their JSON and Protobuf codecs, error and close codes.
//!
//! Nothing in here does I/O, knows a clock or is random. [`decode`] reads what a client sends, [`encode`] writes what
//! the server sends, and [`client`] has the other side of both. `docs/protocol.md` describes the protocol for those who
//! write a client.

mod action;
pub mod client;
mod close;
mod decode;
mod encode;
mod envelope;
mod error;
mod incoming;
mod json;
mod limits;
mod message_type;
#[doc(hidden)]
pub mod mutation;
pub mod names;
mod outgoing;
mod payload;
pub mod presence;
mod read;
mod write;

pub use action::GameAction;
pub use close::{CloseCode, comes_back};
pub use decode::decode;
pub use encode::encode;
pub use error::{BadMessage, ErrorCode};
pub use incoming::{
    Hello, HistoryRequest, Incoming, JoinRoom, LogPosition, MembersRequest, Request, RoomPosition,
    Skip,
};
pub use limits::{Limits, MAX_EPOCH, MAX_NUMBER};
pub use message_type::MessageType;
pub use outgoing::{
    Body, ErrorBody, History, Ids, Joined, Member, Messages, Outgoing, PlayerState, Players,
    Position, Sender, StateSync, Velocity, Welcome, WelcomeLimits,
};
pub use payload::{Format, IncomingPayload, Payload, PayloadKind};
pub use presence::PresenceUpdate;

/// The version of the protocol, in `hello` and `welcome`.
pub const VERSION: u32 = 1;

/// Our messages as a Protobuf schema: the text of `gameproto.proto`.
pub const PROTO: &str = include_str!("../proto/gameproto.proto");
