//! How an upgraded connection gets from the HTTP runtime to a shard.

use std::net::TcpStream;

use roomcast_core::Access;
use roomcast_protocol::Format;

use crate::limits::ConnectionPermit;
use crate::streams::Ticket;
use crate::tls::Secured;

/// An upgraded connection on its way from the HTTP runtime to its shard. Its 101 response has been sent.
#[derive(Debug)]
pub(crate) struct Upgraded {
    /// Non-blocking, without Nagle's delay, its buffers sized as configured; registered with no poller.
    pub(crate) stream: TcpStream,
    /// Its keys, where it has TLS. Nothing that was decrypted is left in its buffers.
    pub(crate) tls: Option<Box<Secured>>,
    /// It is an event stream and no WebSocket. Its first event has been sent.
    pub(crate) stream_of: Option<Ticket>,
    /// What the subprotocol says about the frames.
    pub(crate) format: Format,
    /// Whether permessage-deflate was agreed, with both `no_context_takeover` parameters.
    pub(crate) deflate: bool,
    /// What its request says about the client.
    pub(crate) access: Access,
    /// Bytes that the client sent behind its handshake: the first ones of its first frames.
    pub(crate) leftover: Vec<u8>,
    /// This connection's share of the limits: given back when it is dropped.
    pub(crate) permit: ConnectionPermit,
}

/// The shards as the HTTP side sees them.
pub(crate) trait Shards: Send + Sync + 'static {
    /// Whether some shard would take a connection now. Asked before a handshake is accepted: a 503 can only be sent
    /// instead of the 101.
    fn has_room(&self) -> bool;

    /// Gives the connection to a shard of the callee's choice.
    ///
    /// # Errors
    /// The connection itself when no shard's bounded queue has room. The caller tries again for a while.
    fn hand_over(&self, upgraded: Upgraded) -> Result<(), Upgraded>;
}
