//! What a shard of the server runs on: sockets with edges as a poll has them, mailboxes, a clock that stands still.

use std::cell::RefCell;
use std::io::IoSlice;
use std::rc::Rc;

use roomcast_core::driver::{Driver, Frame, Mail, Moved, Newcomer, Outside, Read};
use roomcast_core::node::ClusterViews;
use roomcast_core::store::Store;
use roomcast_core::{
    Access, ConnId, Encoding, ForNode, NodeNumber, Now, Shard, ShardAddress, ShardMessage,
};
use roomcast_protocol::{CloseCode, Format};
use roomcast_websocket::{Event, Receiver, ReceiverConfig, Role, Scratch, close};

use crate::host::SimHost;
use crate::leaving::Leaving;
use crate::ledger::Ledger;
use crate::network::Network;
use crate::random::Random;
use crate::store::Cloud;

pub(crate) struct Socket {
    wire: usize,
    receiver: Receiver,
    leaving: Leaving,
}

/// The sockets that a shard polls.
#[derive(Default)]
pub(crate) struct Poll(Vec<Polled>);

struct Polled {
    conn: ConnId,
    wire: usize,
    /// It took less than it was given.
    full: bool,
}

impl Poll {
    /// Tells the driver what is ready and was not. Whether anything was.
    pub(crate) fn tell<S: Store>(
        &mut self,
        driver: &mut Driver<SimHost, S, Socket>,
        now: u64,
        net: &mut Network,
    ) -> bool {
        let mut any = false;
        for polled in &mut self.0 {
            let wire = &mut net.wires[polled.wire];
            if polled.full && wire.down.has_room() {
                polled.full = false;
                any = true;
                driver.writable(polled.conn);
            }
            if wire.up.has_news(now) {
                any = true;
                driver.readable(polled.conn, wire.up.has_ended(now));
            }
        }
        any
    }

    /// Whether [`Poll::tell`] may have something to tell, or something waits that was told.
    pub(crate) fn stirs(&self, now: u64, net: &Network) -> bool {
        self.0.iter().any(|polled| {
            let wire = &net.wires[polled.wire];
            polled.full && wire.down.has_room() || wire.up.stirs(now)
        })
    }

    /// Connections, the wire of each, and whether its socket is full.
    pub(crate) fn polled(&self) -> impl Iterator<Item = (ConnId, usize, bool)> {
        self.0.iter().map(|it| (it.conn, it.wire, it.full))
    }

    fn remove(&mut self, wire: usize) {
        self.0.retain(|it| it.wire != wire);
    }
}

/// What a node tells its shards.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    View(ClusterViews),
    Forget(NodeNumber),
    Lost(NodeNumber),
    Letter(ShardAddress, Box<[u8]>),
    /// The node ends: no room is claimed from here on, all connections are closed, all rooms are given up.
    ClaimNothing,
    Empty,
    GiveUp,
    /// Clients are better off at another node.
    SendAway,
}

/// What waits for a shard's next turn.
#[derive(Default)]
pub(crate) struct Mailbox {
    /// Nothing is taken before this time.
    pub(crate) slow_until: u64,
    pub(crate) newcomers: Vec<(usize, Format, Access)>,
    /// Everybody is to be asked to come back, within so many milliseconds.
    pub(crate) announce: Option<u64>,
    /// What its node tells it, in its order.
    pub(crate) orders: Vec<Order>,
    moved: Vec<Moved<Socket>>,
    /// By the shard that they are from.
    letters: Vec<Vec<ShardMessage>>,
}

impl Mailbox {
    pub(crate) fn new(shards: u16) -> Mailbox {
        Mailbox {
            letters: (0..shards).map(|_| Vec::new()).collect(),
            ..Mailbox::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.newcomers.is_empty()
            && self.announce.is_none()
            && self.orders.is_empty()
            && self.moved.is_empty()
            && self.letters.iter().all(Vec::is_empty)
    }
}

/// A shard's machine in one turn.
pub(crate) struct Machine<'a> {
    pub(crate) index: usize,
    /// Milliseconds, and as the core sees them.
    pub(crate) ms: u64,
    pub(crate) now: Now,
    /// The mailbox is looked into in this turn.
    pub(crate) has_mail: bool,
    pub(crate) net: &'a mut Network,
    pub(crate) poll: &'a mut Poll,
    pub(crate) mailboxes: &'a mut [Mailbox],
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) random: &'a mut Random,
    pub(crate) max_message: usize,
    /// Where there is a store: what it has, and what is true.
    pub(crate) store: Option<Stored>,
    /// Letters for other nodes.
    pub(crate) post: &'a mut Vec<(u16, ForNode)>,
}

/// A store, and what is told of what it has.
pub(crate) type Stored = (Rc<RefCell<Cloud>>, Rc<RefCell<Ledger>>);

impl Machine<'_> {
    /// Somebody new, with what came behind its handshake.
    fn newcomer(&mut self, wire: usize, format: Format, access: Access) -> Newcomer<Socket> {
        let config = ReceiverConfig {
            max_message: self.max_message,
            ..ReceiverConfig::default()
        };
        let mut leftover = vec![0; self.random.pick(&[0, 10, 1_000])];
        let up = &mut self.net.wires[wire].up;
        let read = match leftover.len() {
            0 => Read::Nothing,
            _ => up.fill(self.ms, &mut leftover),
        };
        leftover.truncate(match read {
            Read::Bytes(count) | Read::Part(count) => count,
            Read::Nothing | Read::End => 0,
        });
        Newcomer {
            socket: Socket {
                wire,
                receiver: Receiver::new(Role::Server, &config),
                leaving: Leaving::default(),
            },
            encoding: Encoding {
                format,
                deflate: false,
            },
            access,
            leftover,
        }
    }
}

impl<S: Store> Outside<SimHost, S> for Machine<'_> {
    type Socket = Socket;

    fn now(&mut self) -> Now {
        self.now
    }

    fn take_mail(&mut self, now: Now, shard: &mut Shard<SimHost, S>, mail: &mut Mail<Socket>) {
        if !self.has_mail {
            return;
        }
        let mailbox = &mut self.mailboxes[self.index];
        if let Some(spread_ms) = mailbox.announce.take() {
            shard.announce_reconnect(now, spread_ms);
        }
        for order in mailbox.orders.drain(..) {
            match order {
                Order::View(view) => shard.set_cluster(view),
                Order::Forget(node) => shard.forget_node(node),
                Order::Lost(node) => shard.node_lost(now, node),
                Order::ClaimNothing => shard.claim_nothing(),
                Order::Empty => shard.close_all(now, CloseCode::Reconnect),
                Order::GiveUp => shard.give_up_rooms(),
                Order::SendAway => shard.send_away(now),
                Order::Letter(from, bytes) => {
                    let unknown = shard.from_node(now, from, &bytes);
                    assert_eq!(unknown, Ok(0), "a letter that can't be read");
                }
            }
        }
        mail.moved.extend(mailbox.moved.drain(..));
        for (mine, theirs) in mail.letters.iter_mut().zip(&mut mailbox.letters) {
            mine.append(theirs);
        }
        for (wire, format, access) in std::mem::take(&mut mailbox.newcomers) {
            let newcomer = self.newcomer(wire, format, access);
            mail.newcomers.push(newcomer);
        }
    }

    fn send_letters(&mut self, to: u16, letters: &mut Vec<ShardMessage>) {
        self.mailboxes[usize::from(to)].letters[self.index].append(letters);
    }

    fn send_to_node(&mut self, letters: ForNode) {
        self.post.push((self.index as u16, letters));
    }

    fn send_connection(&mut self, to: u16, mut moved: Moved<Socket>) {
        self.poll.remove(moved.socket().wire);
        self.mailboxes[usize::from(to)].moved.push(moved);
    }

    fn attach(&mut self, conn: ConnId, socket: &mut Socket) -> bool {
        let wire = socket.wire;
        self.net.wires[wire].up.forget_news();
        let full = false;
        self.poll.0.push(Polled { conn, wire, full });
        true
    }

    fn read(&mut self, socket: &mut Socket, input: &mut [u8]) -> Read {
        self.net.wires[socket.wire].up.fill(self.ms, input)
    }

    fn next_frame<'e, 'i: 'e>(
        &'e mut self,
        socket: &'e mut Socket,
        input: &mut &'i mut [u8],
    ) -> Option<Frame<'e>> {
        let event = match socket.receiver.receive(input, self.scratch) {
            Ok(event) => event?,
            Err(error) => panic!("the server can't read what came: {error}"),
        };
        Some(match event {
            Event::Text(text) => Frame::Message(Format::Json, text.as_bytes()),
            Event::Binary(bytes) => Frame::Message(Format::Protobuf, bytes),
            Event::Ping(data) => Frame::Ping(data),
            Event::Pong(_) | Event::EmptyFragment => Frame::NoMessage,
            Event::Close(frame) => {
                Frame::Close(frame.map_or(close::code::NO_STATUS, |frame| frame.code))
            }
            Event::TooLarge { size } => panic!("the server was sent {size} bytes at once"),
        })
    }

    fn incomplete_since(&mut self, socket: &mut Socket, now: u64) -> Option<u64> {
        socket.receiver.incomplete_since(now)
    }

    fn restart_incomplete(&mut self, socket: &mut Socket, now: u64) {
        socket.receiver.restart_incomplete(now);
    }

    fn write(&mut self, socket: &mut Socket, slices: &[IoSlice<'_>]) -> Option<usize> {
        let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        let bytes = slices.concat();
        let taken = self.net.server_writes(socket.wire, self.ms, &bytes);
        if let Some((cloud, ledger)) = &self.store {
            let (cloud, mut ledger) = (cloud.borrow(), ledger.borrow_mut());
            socket.leaving.look(&bytes[..taken], &cloud, &mut ledger);
        }
        if taken < bytes.len() {
            let mut polled = self.poll.0.iter_mut();
            let polled = polled.find(|it| it.wire == socket.wire).unwrap();
            polled.full = true;
        }
        Some(taken)
    }

    fn shut_down(&mut self, socket: &mut Socket) -> bool {
        self.net.wires[socket.wire].down.end(self.ms);
        true
    }

    fn release(&mut self, socket: Socket) {
        self.poll.remove(socket.wire);
        socket.receiver.release(self.scratch);
        self.net.server_ends(socket.wire, self.ms);
    }
}
