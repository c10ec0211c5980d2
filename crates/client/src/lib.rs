// The README's examples want the tokio front.
#![cfg_attr(feature = "net", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "net"),
    doc = "The client's session as a state machine: see [`session`]."
)]

mod error;
mod message;
#[cfg(feature = "net")]
mod net;
pub mod session;

pub use error::{Error, code};
pub use message::{Action, Content, Message, Payload, Position, Publish, Recipient};
#[cfg(feature = "net")]
pub use net::{
    Client, ClientBuilder, Events, History, Joining, Leaving, MembersSnapshot, Room, RoomEvent,
    Sending, TokenError,
};
pub use roomcast_protocol::client::{Member, PlayerState, StateSync};
pub use roomcast_protocol::{Format, HistoryRequest, PayloadKind};
