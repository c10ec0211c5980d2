//! What a driver asks of the world outside: sockets, mail, the time.

use std::collections::VecDeque;
use std::io::IoSlice;

use roomcast_protocol::Format;

use super::connections::Connection;
use crate::backend::{Batch, Reply};
use crate::context::ForNode;
use crate::desk::QuestionId;
use crate::edge::MovingConnection;
use crate::host::Encoding;
use crate::id::ConnId;
use crate::identity::Access;
use crate::letter::ShardMessage;
use crate::shard::{QuestionFrom, Shard};
use crate::time::Now;

/// The world around a shard with the host `H` and the store `S`.
pub trait Outside<H, S> {
    /// What one connection is read from and written to, with whatever turns its bytes into messages. A driver holds
    /// one for each connection and drops it only through [`Outside::release`].
    type Socket;

    /// The time, later than when the turn began.
    fn now(&mut self) -> Now;

    /// Puts what has come since the last turn into `mail`. What else the shard is told to do is done here.
    fn take_mail(&mut self, now: Now, shard: &mut Shard<H, S>, mail: &mut Mail<Self::Socket>);

    /// Hands letters to another shard, in order, and leaves none: that shard's [`Mail::letters`].
    fn send_letters(&mut self, to: u16, letters: &mut Vec<ShardMessage>);

    /// Sends letters to a shard of another node, in order: what its [`Shard::from_node`] takes. A node without a store is
    /// alone, and never asks for it.
    fn send_to_node(&mut self, letters: ForNode) {
        let _ = letters;
    }

    /// A backend's question, asked with [`Shard::ask`], is answered.
    fn answer(&mut self, question: QuestionId, reply: Reply) {
        let _ = (question, reply);
    }

    /// Another node has got a batch for an event stream of this node, and waits for [`Shard::batch_taken`].
    fn batch(&mut self, from: QuestionFrom, batch: Batch) {
        let _ = (from, batch);
    }

    /// Takes a connection to another shard: that shard's [`Mail::moved`]. It is told nothing of the socket from now on.
    fn send_connection(&mut self, to: u16, moved: Moved<Self::Socket>);

    /// A connection of this name begins here: [`Driver::readable`](super::Driver::readable) and
    /// [`Driver::writable`](super::Driver::writable) are to be called for it, for what is there already too.
    /// False if that can't be: the connection is given up.
    fn attach(&mut self, conn: ConnId, socket: &mut Self::Socket) -> bool;

    /// Reads once. [`Read::Bytes`] of fewer bytes than `input` has room for: nothing more is there, until the driver is told.
    fn read(&mut self, socket: &mut Self::Socket, input: &mut [u8]) -> Read;

    /// Whether a read would give bytes that have left the system's socket already, so that nobody is told of them.
    fn holds_input(&mut self, socket: &mut Self::Socket) -> bool {
        let _ = socket;
        false
    }

    /// Takes the next frame from the front of `input`. None if it holds no whole one: then all of it is taken, and
    /// kept with the socket.
    fn next_frame<'e, 'i: 'e>(
        &'e mut self,
        socket: &'e mut Self::Socket,
        input: &mut &'i mut [u8],
    ) -> Option<Frame<'e>>;

    /// When the message or frame began that has begun to arrive and isn't whole: the `now` of the first call since
    /// then, in microseconds. None if nothing is incomplete.
    fn incomplete_since(&mut self, socket: &mut Self::Socket, now: u64) -> Option<u64>;

    /// Takes what is incomplete for begun now: its rest may have waited unread.
    fn restart_incomplete(&mut self, socket: &mut Self::Socket, now: u64);

    /// Writes once. How many bytes were taken, and none if the connection is broken. Fewer than there are: no more
    /// are taken, until the driver is told.
    fn write(&mut self, socket: &mut Self::Socket, slices: &[IoSlice<'_>]) -> Option<usize>;

    /// Whether the last write, of which nothing was taken, gave the socket some bytes all the same: of something that is
    /// written whole or not at all, as a record of TLS is.
    fn took_some(&mut self, socket: &mut Self::Socket) -> bool {
        let _ = socket;
        false
    }

    /// Ends the writing side. False if the connection is broken.
    fn shut_down(&mut self, socket: &mut Self::Socket) -> bool;

    /// The connection is over: closes its socket.
    fn release(&mut self, socket: Self::Socket);
}

/// What came of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// So many bytes, or none, and the next read may give more: nobody will tell.
    Part(usize),
    /// Nothing is there now.
    Nothing,
    /// The peer has ended its side, or the connection is broken.
    End,
}

/// What a connection sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message, in the frames of this format.
    Message(Format, &'a [u8]),
    /// A message over the limit, read past.
    TooLarge {
        /// Its bytes, as far as they were counted.
        size: u64,
    },
    /// A ping with its data.
    Ping(&'a [u8]),
    /// A pong, or a fragment without data.
    NoMessage,
    /// A close frame with this code, 1005 for none.
    Close(u16),
    /// Bytes that are none of these: the connection is closed with this code and reason, and nothing more is asked
    /// for.
    Invalid(u16, String),
}

/// What has come for a shard. What it holds when it is filled is kept.
#[derive(Debug)]
pub struct Mail<S> {
    /// Connections that were just made.
    pub newcomers: Vec<Newcomer<S>>,
    /// Connections that came from other shards.
    pub moved: VecDeque<Moved<S>>,
    /// Letters by the shard that they are from, which are in its order.
    pub letters: Vec<Vec<ShardMessage>>,
}

/// A connection that was just made.
#[derive(Debug)]
pub struct Newcomer<S> {
    /// Its socket.
    pub socket: S,
    /// What it understands.
    pub encoding: Encoding,
    /// What it may do.
    pub access: Access,
    /// What it has sent already.
    pub leftover: Vec<u8>,
}

/// A connection on its way to the shard on which its session lives.
pub struct Moved<S> {
    pub(super) connection: Connection<S>,
    pub(super) moving: MovingConnection,
}

impl<S> Moved<S> {
    /// Its socket.
    pub fn socket(&mut self) -> &mut S {
        &mut self.connection.socket
    }
}

impl<S> std::fmt::Debug for Moved<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moved").finish_non_exhaustive()
    }
}
