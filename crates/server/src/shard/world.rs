//! The world around a shard: its sockets, its mailbox, its clock.

use std::collections::HashMap;
use std::io::IoSlice;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::mpsc;

use mio::{Interest, Poll, Token};
use roomcast_core::backend::{Batch, Busy, Failure, Reply, Taken};
use roomcast_core::driver::{Frame, Mail, Newcomer, Outside, Read};
use roomcast_core::store::Store;
use roomcast_core::{
    ConnId, Encoding, ForNode, Now, QuestionFrom, QuestionId, Shard, ShardMessage,
};
use roomcast_protocol::ErrorCode;
use roomcast_websocket::{Deflate, Receiver, ReceiverConfig, Role, Scratch};

use tokio::sync::oneshot;

use super::Node;
use super::event_stream::EventStream;
use super::host::ShardHost;
use super::order::{IoStats, Order, Report};
use super::socket::{Moved, Over, Socket};
use super::tls::Tls;
use crate::engine::FromShard;
use crate::handover::Upgraded;
use crate::mailbox::{Mailbox, Question};
use crate::streams::{Post, Posted};

/// A larger message than `max_message` is read past up to this size.
const MAX_SKIP: usize = 1024 * 1024;

/// Whether the shard is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Not,
    /// When the last connection is gone.
    WhenEmpty,
    /// When the store has all that was here.
    WhenQuiet,
    Now,
}

/// What a shard's driver asks for.
pub(super) struct World {
    pub(super) index: u16,
    pub(super) node: Arc<Node>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) poll: Poll,
    pub(super) io: IoStats,
    pub(super) ending: Ending,
    /// Who wants to know when nothing waits for any connection.
    pub(super) flushed: Vec<mpsc::Sender<()>>,
    /// Who wants to know when the last connection is gone.
    pub(super) emptied: Option<mpsc::Sender<()>>,
    receivers: [ReceiverConfig; 2],
    scratch: Scratch,
    newcomers: Vec<Upgraded>,
    /// Batches for event streams here, and a buffer for events.
    pub(super) posts: Vec<Post>,
    events: Vec<u8>,
    /// The last write gave its socket something.
    took_some: bool,
    /// What backends have asked, and where the answers go.
    asked: HashMap<QuestionId, oneshot::Sender<Reply>>,
}

impl World {
    pub(super) fn new(index: u16, poll: Poll, mailbox: Arc<Mailbox>, node: Arc<Node>) -> World {
        let max_message = node.settings.max_message;
        let receiver = |deflate| ReceiverConfig {
            max_message,
            max_skip: MAX_SKIP,
            deflate,
        };
        let deflate = Deflate {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        };
        World {
            index,
            node,
            mailbox,
            poll,
            io: IoStats::default(),
            ending: Ending::Not,
            flushed: Vec::new(),
            emptied: None,
            receivers: [receiver(None), receiver(Some(deflate))],
            scratch: Scratch::new(),
            newcomers: Vec::new(),
            posts: Vec::new(),
            events: Vec::new(),
            took_some: false,
            asked: HashMap::new(),
        }
    }

    fn follow<S: Store>(&mut self, now: Now, shard: &mut Shard<ShardHost, S>, order: Order) {
        match order {
            Order::Report(to) => {
                let report = Report {
                    shard: self.index,
                    core: shard.stats().clone(),
                    io: self.io.clone(),
                    compression: shard.host().compression,
                    connections: shard.connections(),
                    link_bytes: shard.link_bytes(),
                    rooms: shard.rooms(),
                };
                // Whoever asked may have stopped waiting.
                let _ = to.send(report);
            }
            Order::AskToReconnect { spread_ms, flushed } => {
                shard.claim_nothing();
                shard.announce_reconnect(now, spread_ms);
                self.flushed.push(flushed);
            }
            Order::SendAway => shard.send_away(now),
            Order::BatchTaken { from, taken } => shard.batch_taken(from, taken),
            Order::Turn => self.tell_node(FromShard::Turned {
                shard: self.index,
                settled_at: shard.settled_at(),
            }),
            Order::View(view) => shard.set_cluster(view),
            Order::Forget(other) => shard.forget_node(other),
            Order::Lost(other) => shard.node_lost(now, other),
            Order::FromNode { from, letters } => match shard.from_node(now, from, &letters) {
                Ok(_) => {}
                Err(_) => self.tell_node(FromShard::Unreadable(from.node())),
            },
            Order::Close(code) => {
                self.mailbox.close();
                shard.close_all(now, code);
                self.ending = Ending::WhenEmpty;
            }
            Order::Empty { code, emptied } => {
                self.mailbox.close();
                shard.close_all(now, code);
                self.emptied = Some(emptied);
            }
            Order::GiveUp => {
                shard.give_up_rooms();
                self.ending = Ending::WhenQuiet;
            }
            Order::Decided { number, decision } => shard.decide(now, number, decision),
            Order::Stop => self.ending = Ending::Now,
        }
    }

    fn ask<S: Store>(
        &mut self,
        now: Now,
        shard: &mut Shard<ShardHost, S>,
        Question { asker, asked, to }: Question,
    ) {
        // Whoever asked may have stopped waiting.
        if to.is_closed() {
            return;
        }
        match shard.ask(now, asker, asked) {
            Ok(question) => drop(self.asked.insert(question, to)),
            Err(busy) => drop(to.send(Reply::Failed(Failure {
                code: ErrorCode::Unavailable,
                sentence: match busy {
                    Busy::Shard => "too many requests wait for their answers; ask again later",
                    Busy::Asker => {
                        "too many requests with this key wait for their answers; ask again later"
                    }
                }
                .into(),
                retry_after_ms: 1_000,
            }))),
        }
    }

    fn tell_node(&self, said: FromShard) {
        if let Some(desk) = &self.node.desk {
            desk.tell(said);
        }
    }

    /// What was posted for a connection that takes nothing here.
    pub(super) fn send_back(&self, post: Post) {
        let Post { conn, batch, to } = post;
        // It is being closed, or it has gone to another shard.
        let is_here = self.node.streams.is_at(&batch.stream, self.index, conn);
        let posted = match is_here {
            true => Posted::Taken(Taken::Gone),
            false => Posted::Moved(batch),
        };
        // Whoever posted it may be gone.
        let _ = to.send(posted);
    }

    fn newcomer(&self, upgraded: Upgraded) -> Newcomer<Socket> {
        let Upgraded {
            stream,
            tls,
            stream_of,
            format,
            deflate,
            access,
            leftover,
            permit,
        } = upgraded;
        let tls = tls.map(|session| Tls::new(*session));
        let over = match (stream_of, tls) {
            (Some(ticket), tls) => Some(Over::Events(EventStream::new(tls, ticket))),
            (None, tls) => tls.map(Over::Tls),
        };
        let [plain, deflating] = &self.receivers;
        let config = if deflate { deflating } else { plain };
        Newcomer {
            socket: Socket {
                stream: mio::net::TcpStream::from_std(stream),
                over: over.map(Box::new),
                receiver: Receiver::new(Role::Server, config),
                _permit: permit,
            },
            encoding: Encoding { format, deflate },
            access,
            leftover,
        }
    }
}

impl<S: Store> Outside<ShardHost, S> for World {
    type Socket = Socket;

    fn now(&mut self) -> Now {
        self.node.clock.now()
    }

    fn take_mail(&mut self, now: Now, shard: &mut Shard<ShardHost, S>, mail: &mut Mail<Socket>) {
        if !self.mailbox.has_mail() {
            return;
        }
        // Letters first, though orders are followed first: whoever sent a letter because of an order of the node's task has
        // got it after this shard has got its own. So no operation goes by what this shard was told to forget.
        for (from, letters) in (0..).zip(&mut mail.letters) {
            self.mailbox.take_letters(from, letters);
        }
        for order in self.mailbox.take_orders() {
            self.follow(now, shard, order);
        }
        for question in self.mailbox.take_questions() {
            self.ask(now, shard, question);
        }
        let mut newcomers = std::mem::take(&mut self.newcomers);
        self.mailbox.take_newcomers(&mut newcomers);
        self.io.opened += newcomers.len() as u64;
        let made = newcomers.drain(..).map(|upgraded| self.newcomer(upgraded));
        mail.newcomers.extend(made);
        self.newcomers = newcomers;
        self.mailbox.take_posts(&mut self.posts);
        mail.moved.extend(self.mailbox.take_moved());
    }

    fn send_letters(&mut self, to: u16, letters: &mut Vec<ShardMessage>) {
        if let Some(mailbox) = self.node.mailboxes.get(to) {
            mailbox.send(self.index, letters);
        }
    }

    fn send_to_node(&mut self, letters: ForNode) {
        let from = self.index;
        self.tell_node(FromShard::Letters { from, letters });
    }

    fn answer(&mut self, question: QuestionId, reply: Reply) {
        if let Some(to) = self.asked.remove(&question) {
            // Whoever asked may have stopped waiting.
            let _ = to.send(reply);
        }
    }

    fn batch(&mut self, from: QuestionFrom, batch: Batch) {
        self.node.streams.take_from_node(self.index, from, batch);
    }

    fn send_connection(&mut self, to: u16, mut moved: Moved) {
        self.mailbox.connection_gone();
        // One that can't be taken out of this poll is closed, here.
        let socket = moved.socket();
        if let Some(events) = socket.events() {
            events.ticket.leaves();
        }
        let stream = &mut socket.stream;
        if self.poll.registry().deregister(stream).is_ok()
            && let Some(mailbox) = self.node.mailboxes.get(to)
        {
            mailbox.arrive(moved);
        }
    }

    fn attach(&mut self, conn: ConnId, socket: &mut Socket) -> bool {
        let token = Token(conn.to_u64() as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Some(events) = socket.events() {
            events.ticket.arrives(self.index, conn);
        }
        let registry = self.poll.registry();
        match registry.register(&mut socket.stream, token, interest) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a connection's socket cannot be polled");
                false
            }
        }
    }

    fn read(&mut self, socket: &mut Socket, input: &mut [u8]) -> Read {
        socket.read(input, &mut self.io)
    }

    fn holds_input(&mut self, socket: &mut Socket) -> bool {
        socket.over.as_mut().is_some_and(|over| over.holds_input())
    }

    fn next_frame<'e, 'i: 'e>(
        &'e mut self,
        socket: &'e mut Socket,
        input: &mut &'i mut [u8],
    ) -> Option<Frame<'e>> {
        let max_message = self.node.settings.max_message;
        socket.next_frame(input, &mut self.scratch, max_message)
    }

    fn incomplete_since(&mut self, socket: &mut Socket, now: u64) -> Option<u64> {
        socket.incomplete_since(now)
    }

    fn restart_incomplete(&mut self, socket: &mut Socket, now: u64) {
        socket.restart_incomplete(now);
    }

    fn write(&mut self, socket: &mut Socket, slices: &[IoSlice<'_>]) -> Option<usize> {
        let before = self.io.bytes_written;
        let written = socket.write(slices, &mut self.events, &mut self.io);
        self.took_some = self.io.bytes_written > before;
        written
    }

    fn took_some(&mut self, _: &mut Socket) -> bool {
        self.took_some
    }

    fn shut_down(&mut self, socket: &mut Socket) -> bool {
        socket.end(&mut self.io);
        socket.stream.shutdown(Shutdown::Write).is_ok()
    }

    fn release(&mut self, socket: Socket) {
        // Closing the socket, here, takes it out of the poll.
        socket.receiver.release(&mut self.scratch);
        self.mailbox.connection_gone();
    }
}
