//! What a driver asks for, in memory: clients' ends of sockets, and the links between shards.

use std::io::IoSlice;
use std::ops::{Index, IndexMut};

use roomcast_core::backend::Reply;
use roomcast_core::driver::{Driver, Frame, Mail, Moved, Newcomer, Outside, Read};
use roomcast_core::store::Store;
use roomcast_core::{
    Access, ConnId, Encoding, ForNode, Now, Origin, QuestionId, Shard, ShardMessage,
};
use roomcast_protocol::Format;

use super::SimHost;

/// The client's end of a socket.
pub struct Socket {
    pub shard: usize,
    pub conn: ConnId,
    pub encoding: Encoding,
    pub origin: Origin,
    /// Bytes that the socket takes before it is full.
    pub window: usize,
    /// It takes bytes and says nothing of them, as where they are parts of a record of TLS.
    pub takes_parts: bool,
    pub wire: Vec<u8>,
    pub in_socket: usize,
    pub blocked: bool,
    pub open: bool,
    pub closing: bool,
    /// Messages that were sent and not taken from the socket's bytes.
    pub unread: usize,
    /// What waits to be read: lengths and messages.
    pub up: Vec<u8>,
    /// The part of a message that was read.
    pub partial: Vec<u8>,
    /// The client has ended its side, or the connection is cut.
    pub ended: bool,
    /// The shard was not told of what waits.
    pub news: bool,
}

pub type Client = usize;

/// The shard of a connection that is between two.
pub const ON_THE_WAY: usize = usize::MAX;

/// What waits for a shard.
pub struct Link {
    pub newcomers: Vec<Client>,
    pub moved: Vec<Moved<Client>>,
    pub letters: Vec<Vec<ShardMessage>>,
}

impl Link {
    pub fn is_empty(&self) -> bool {
        let letters = self.letters.iter().all(Vec::is_empty);
        letters && self.newcomers.is_empty() && self.moved.is_empty()
    }
}

/// The shards, each with its driver.
pub struct Shards<S>(pub Vec<Driver<SimHost, S, Client>>);

impl<S: Store> Shards<S> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Shard<SimHost, S>> {
        self.0.iter().map(|driver| driver.shard())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Shard<SimHost, S>> {
        self.0.iter_mut().map(|driver| driver.shard_mut())
    }
}

impl<S: Store> Index<usize> for Shards<S> {
    type Output = Shard<SimHost, S>;

    fn index(&self, index: usize) -> &Shard<SimHost, S> {
        self.0[index].shard()
    }
}

impl<S: Store> IndexMut<usize> for Shards<S> {
    fn index_mut(&mut self, index: usize) -> &mut Shard<SimHost, S> {
        self.0[index].shard_mut()
    }
}

/// What a shard's driver asks for in one turn.
pub struct Machine<'a> {
    pub index: usize,
    pub now: Now,
    /// The link is slow: letters and connections wait.
    pub slow: bool,
    pub sockets: &'a mut [Socket],
    pub links: &'a mut [Link],
    pub post: &'a mut Vec<Posted>,
    pub replies: &'a mut Vec<(usize, QuestionId, Reply)>,
}

/// Letters for a shard of another node, and the shard that they are from.
pub type Posted = (u16, ForNode);

impl<S: Store> Outside<SimHost, S> for Machine<'_> {
    type Socket = Client;

    fn now(&mut self) -> Now {
        self.now
    }

    fn take_mail(&mut self, _: Now, _: &mut Shard<SimHost, S>, mail: &mut Mail<Client>) {
        let link = &mut self.links[self.index];
        for client in link.newcomers.drain(..) {
            mail.newcomers.push(Newcomer {
                socket: client,
                encoding: self.sockets[client].encoding,
                access: Access {
                    origin: self.sockets[client].origin,
                    ..Access::ANONYMOUS
                },
                leftover: Vec::new(),
            });
        }
        if !self.slow {
            mail.moved.extend(link.moved.drain(..));
            for (mine, theirs) in mail.letters.iter_mut().zip(&mut link.letters) {
                mine.append(theirs);
            }
        }
    }

    fn send_letters(&mut self, to: u16, letters: &mut Vec<ShardMessage>) {
        self.links[usize::from(to)].letters[self.index].append(letters);
    }

    fn send_to_node(&mut self, letters: ForNode) {
        self.post.push((self.index as u16, letters));
    }

    fn answer(&mut self, question: QuestionId, reply: Reply) {
        self.replies.push((self.index, question, reply));
    }

    fn send_connection(&mut self, to: u16, mut moved: Moved<Client>) {
        self.sockets[*moved.socket()].shard = ON_THE_WAY;
        self.links[usize::from(to)].moved.push(moved);
    }

    fn attach(&mut self, conn: ConnId, client: &mut Client) -> bool {
        let socket = &mut self.sockets[*client];
        (socket.shard, socket.conn) = (self.index, conn);
        socket.news = !socket.up.is_empty() || socket.ended;
        true
    }

    fn read(&mut self, client: &mut Client, input: &mut [u8]) -> Read {
        let socket = &mut self.sockets[*client];
        let count = socket.up.len().min(input.len());
        if count == 0 {
            return if socket.ended {
                Read::End
            } else {
                Read::Nothing
            };
        }
        input[..count].copy_from_slice(&socket.up[..count]);
        socket.up.drain(..count);
        Read::Bytes(count)
    }

    fn next_frame<'e, 'i: 'e>(
        &'e mut self,
        client: &'e mut Client,
        input: &mut &'i mut [u8],
    ) -> Option<Frame<'e>> {
        let Socket {
            partial, unread, ..
        } = &mut self.sockets[*client];
        if missing(partial) == 0 {
            partial.clear();
        }
        while !input.is_empty() {
            let part = missing(partial).min(input.len());
            let (taken, rest) = std::mem::take(input).split_at_mut(part);
            *input = rest;
            partial.extend_from_slice(taken);
            if missing(partial) == 0 {
                *unread -= 1;
                return Some(Frame::Message(Format::Json, &partial[4..]));
            }
        }
        None
    }

    fn incomplete_since(&mut self, _: &mut Client, _: u64) -> Option<u64> {
        None
    }

    fn restart_incomplete(&mut self, _: &mut Client, _: u64) {}

    fn write(&mut self, client: &mut Client, slices: &[IoSlice<'_>]) -> Option<usize> {
        let socket = &mut self.sockets[*client];
        if socket.ended {
            return None;
        }
        let room = socket.window.saturating_sub(socket.in_socket);
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let taken = wanted.min(room);
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        socket.wire.extend(bytes.take(taken));
        socket.in_socket += taken;
        socket.blocked |= taken < wanted;
        Some(taken)
    }

    fn took_some(&mut self, client: &mut Client) -> bool {
        self.sockets[*client].takes_parts
    }

    /// The client ends its side at once.
    fn shut_down(&mut self, client: &mut Client) -> bool {
        let socket = &mut self.sockets[*client];
        (socket.ended, socket.news) = (true, true);
        true
    }

    fn release(&mut self, client: Client) {
        self.sockets[client].open = false;
    }
}

/// Bytes that a message lacks, or first its length.
fn missing(partial: &[u8]) -> usize {
    match partial.first_chunk() {
        Some(length) => 4 + u32::from_be_bytes(*length) as usize - partial.len(),
        None => 4 - partial.len(),
    }
}
