//! A client for Roomcast: nothing acked lost, nothing twice, in order, over any number of reconnections.

mod error;
mod message;
pub mod session;

pub use error::{Error, code};
pub use message::{Action, Content, Message, Payload, Position, Publish, Recipient};
pub use roomcast_protocol::client::{Member, PlayerState, StateSync};
pub use roomcast_protocol::{Format, HistoryRequest, PayloadKind};
