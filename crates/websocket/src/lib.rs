//! The WebSocket protocol (RFC 6455) with compression (RFC 7692), without I/O: bytes in, events and
//! frames out.
//!
//! - [`handshake`]: checks a request that an HTTP parser has read, and makes a client's.
//! - [`DeflateConfig`], [`DeflateOffer`]: the negotiation of compression.
//! - [`Receiver`]: takes bytes, gives [`Event`]s; messages are borrowed from the input where they
//!   can be.
//! - [`frame`]: writes frames, which a server can send to any number of clients.
//! - [`Deflater`], [`Inflater`]: compress and decompress messages.
//!
//! What may come from the network never panics and takes no memory that it didn't fill.

pub mod close;
mod deflate;
mod error;
mod extension;
pub mod frame;
pub mod handshake;
mod mask;
mod negotiation;
mod receiver;
mod utf8;

pub use close::CloseFrame;
pub use deflate::{Deflater, Inflater};
pub use error::ProtocolError;
pub use extension::{Extension, ExtensionSyntaxError, Param, parse_extensions};
pub use frame::Opcode;
pub use mask::apply_mask;
pub use negotiation::{
    Accepted, Deflate, DeflateConfig, DeflateOffer, Direction, UnacceptableExtension,
};
pub use receiver::{Event, Receiver, ReceiverConfig, Role, Scratch};
