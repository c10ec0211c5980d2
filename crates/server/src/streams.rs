//! Event streams: connections that hear by `GET /sse` and speak by `POST /send`, for networks that let no WebSocket
//! through. A stream is a shard's connection like any other one. This is the way from what its client has posted to it,
//! which may come in on any connection, and at any node.

mod elsewhere;
mod id;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::TryRng as _;
use roomcast_core::backend::{Asker, Batch, MOST_BATCH, Question, Reply, Taken};
use roomcast_core::store::NodeId;
use roomcast_core::{ConnId, Origin, QuestionFrom};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::mailbox::Mailboxes;
use crate::shard::Order;
use elsewhere::Elsewhere;
use id::{SECRET, StreamId, StreamKey};

pub(crate) use id::Claim;

/// How long a batch waits until its messages are taken. Who has posted it then posts it again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long until a stream is looked for again that is on its way to a shard.
const LOOK: Duration = Duration::from_millis(2);
/// Bodies that are read at once for one stream: a proxy may repeat one while we still wait for the rest of the first.
const BODIES: u8 = 2;
/// All clients whose batches are for other nodes are one who asks, and leave room at the desk for backends.
const CLIENTS: Asker = Asker(u32::MAX);

/// Where a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Between the HTTP side and a shard, or between two shards.
    OnItsWay,
    At(u16, ConnId),
}

#[derive(Debug)]
struct Listed {
    place: Place,
    /// Bodies that are being read for it.
    bodies: u8,
}

/// A batch on its way to its stream.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) conn: ConnId,
    pub(crate) batch: Batch,
    pub(crate) to: oneshot::Sender<Posted>,
}

/// What a shard says to a batch. Nothing: its stream has ended.
#[derive(Debug)]
pub(crate) enum Posted {
    Taken(Taken),
    /// The stream has another shard now.
    Moved(Batch),
}

/// A batch that another node has got.
#[derive(Debug)]
pub(crate) struct FromNode {
    shard: u16,
    from: QuestionFrom,
    batch: Batch,
}

/// The streams of this node.
#[derive(Debug)]
pub(crate) struct Streams {
    node: NodeId,
    /// There are no other nodes.
    is_alone: bool,
    key: StreamKey,
    elsewhere: Elsewhere,
    mailboxes: Arc<Mailboxes>,
    listed: Mutex<HashMap<[u8; SECRET], Listed>>,
    from_nodes: UnboundedSender<FromNode>,
    outcomes: [AtomicU64; OUTCOMES.len()],
}

/// What becomes of batches, as metrics name it.
pub(crate) const OUTCOMES: [&str; 5] = ["taken", "gone", "out_of_order", "busy", "refused"];

impl Streams {
    /// None yet. What other nodes hand over is to be given to [`Streams::serve`]. All nodes have the same session key.
    pub(crate) fn new(
        node: NodeId,
        is_alone: bool,
        session_key: &[u8; 32],
        mailboxes: &Arc<Mailboxes>,
    ) -> (Arc<Streams>, UnboundedReceiver<FromNode>) {
        let (from_nodes, receiver) = mpsc::unbounded_channel();
        let streams = Streams {
            node,
            is_alone,
            key: StreamKey::new(session_key),
            elsewhere: Elsewhere::default(),
            mailboxes: Arc::clone(mailboxes),
            listed: Mutex::default(),
            from_nodes,
            outcomes: Default::default(),
        };
        (Arc::new(streams), receiver)
    }

    /// Lists a stream that is about to begin.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn begin(self: &Arc<Streams>) -> std::io::Result<Ticket> {
        let mut secret = [0; SECRET];
        rand::rngs::SysRng
            .try_fill_bytes(&mut secret)
            .map_err(std::io::Error::other)?;
        let listed = Listed {
            place: Place::OnItsWay,
            bodies: 0,
        };
        self.with(|all| all.insert(secret, listed));
        Ok(Ticket {
            streams: Arc::clone(self),
            secret,
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.with(|all| all.len())
    }

    /// Batches with each of the [`OUTCOMES`].
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.outcomes.iter().map(|it| it.load(Ordering::Relaxed));
        OUTCOMES.into_iter().zip(counts)
    }

    /// Counts a batch that could not be read.
    pub(crate) fn count_refused(&self) {
        self.count_outcome(4);
    }

    fn count_outcome(&self, at: usize) {
        if let Some(count) = self.outcomes.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Bytes that a batch may have, where those of this node could have `most`: it may come in at another node.
    pub(crate) fn max_body(&self, most: usize) -> usize {
        match self.is_alone {
            true => most,
            false => most.min(MOST_BATCH),
        }
    }

    /// Whether a body may be read for a stream: only for one that there may be, and for each only so many at once.
    pub(crate) fn read_for(
        self: &Arc<Streams>,
        claim: &Claim,
        address: Origin,
    ) -> Result<Reading, Taken> {
        let reading = self.find_place(claim, address);
        reading.inspect_err(|taken| self.count_taken(*taken))
    }

    fn find_place(self: &Arc<Streams>, claim: &Claim, address: Origin) -> Result<Reading, Taken> {
        // Without a look at it a stream of another node could not be told from one that there never was.
        let id = self.key.open(claim).ok_or(Taken::Gone)?;
        let is_elsewhere = id.node != self.node;
        match is_elsewhere {
            false => self.with(|all| {
                let listed = all.get_mut(&id.secret).ok_or(Taken::Gone)?;
                if listed.bodies >= BODIES {
                    return Err(Taken::Busy);
                }
                listed.bodies += 1;
                Ok(())
            })?,
            true if self.is_alone => return Err(Taken::Gone),
            true if !self.elsewhere.take(&id.secret, address) => return Err(Taken::Busy),
            true => {}
        }
        Ok(Reading {
            streams: Arc::clone(self),
            id,
            address,
        })
    }

    /// Brings a batch to its stream, on whichever node that is, and waits until its messages are taken.
    async fn post(&self, id: StreamId, batch: Batch) -> Taken {
        let taken = match id.node == self.node {
            true => self.deliver(batch).await,
            false => self.hand_over(id, batch).await,
        };
        self.count_taken(taken);
        taken
    }

    fn count_taken(&self, taken: Taken) {
        self.count_outcome(match taken {
            Taken::Done => 0,
            Taken::Gone => 1,
            Taken::OutOfOrder(_) => 2,
            Taken::Busy => 3,
        });
    }

    /// To a stream of another node.
    async fn hand_over(&self, id: StreamId, batch: Batch) -> Taken {
        let question = Question::Batch(id.node, batch);
        let Some(reply) = self.mailboxes.ask(&id.secret, CLIENTS, question) else {
            return Taken::Busy;
        };
        match reply.await {
            Ok(Reply::Taken(taken)) => taken,
            Ok(_) => Taken::Busy,
            Err(_) => Taken::Gone,
        }
    }

    /// To a stream of this node.
    async fn deliver(&self, batch: Batch) -> Taken {
        let waits = timeout(PATIENCE, self.find(batch));
        waits.await.unwrap_or(Taken::Busy)
    }

    async fn find(&self, mut batch: Batch) -> Taken {
        loop {
            match self.place(&batch.stream) {
                None => return Taken::Gone,
                Some(Place::OnItsWay) => {}
                Some(Place::At(shard, conn)) => {
                    let Some(mailbox) = self.mailboxes.get(shard) else {
                        return Taken::Gone;
                    };
                    let (to, posted) = oneshot::channel();
                    mailbox.post(Post { conn, batch, to });
                    match posted.await {
                        Ok(Posted::Taken(taken)) => return taken,
                        Ok(Posted::Moved(back)) => batch = back,
                        Err(_) => return Taken::Gone,
                    }
                }
            }
            sleep(LOOK).await;
        }
    }

    fn place(&self, secret: &[u8; SECRET]) -> Option<Place> {
        self.with(|all| all.get(secret).map(|listed| listed.place))
    }

    /// Whether a stream is this connection, as far as is known here.
    pub(crate) fn is_at(&self, secret: &[u8; SECRET], shard: u16, conn: ConnId) -> bool {
        self.place(secret) == Some(Place::At(shard, conn))
    }

    /// For a shard: another node has got a batch for a stream of this one.
    pub(crate) fn take_from_node(&self, shard: u16, from: QuestionFrom, batch: Batch) {
        let sent = self.from_nodes.send(FromNode { shard, from, batch });
        if let Err(back) = sent {
            self.tell_node(back.0.shard, back.0.from, Taken::Gone);
        }
    }

    fn tell_node(&self, shard: u16, from: QuestionFrom, taken: Taken) {
        if let Some(mailbox) = self.mailboxes.get(shard) {
            mailbox.order(Order::BatchTaken { from, taken });
        }
    }

    /// Brings what other nodes hand over to its streams, until the runtime ends. They bound it: each has as many questions
    /// without an answer as it may have.
    pub(crate) async fn serve(self: Arc<Streams>, mut from_nodes: UnboundedReceiver<FromNode>) {
        while let Some(FromNode { shard, from, batch }) = from_nodes.recv().await {
            let streams = Arc::clone(&self);
            tokio::spawn(async move {
                let taken = streams.deliver(batch).await;
                streams.tell_node(shard, from, taken);
            });
        }
    }

    /// A panic elsewhere leaves the list as good as it was: each change is one of one entry.
    fn with<T>(&self, what: impl FnOnce(&mut HashMap<[u8; SECRET], Listed>) -> T) -> T {
        what(&mut self.listed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A stream's entry in the list. It goes with the connection and ends with it.
#[derive(Debug)]
pub(crate) struct Ticket {
    streams: Arc<Streams>,
    secret: [u8; SECRET],
}

impl Ticket {
    /// What its client is told, as the name of the stream.
    pub(crate) fn id(&self) -> String {
        let node = self.streams.node;
        let secret = self.secret;
        self.streams.key.seal(&StreamId { node, secret })
    }

    /// The stream's secret, which names it on its node.
    pub(crate) fn secret(&self) -> &[u8; SECRET] {
        &self.secret
    }

    /// It is this connection of this shard's from now on.
    pub(crate) fn arrives(&self, shard: u16, conn: ConnId) {
        self.set(Place::At(shard, conn));
    }

    /// It goes to another shard.
    pub(crate) fn leaves(&self) {
        self.set(Place::OnItsWay);
    }

    fn set(&self, place: Place) {
        self.streams.with(|all| {
            if let Some(listed) = all.get_mut(&self.secret) {
                listed.place = place;
            }
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.streams.with(|all| all.remove(&self.secret));
    }
}

/// A body that is being read for a stream.
#[derive(Debug)]
pub(crate) struct Reading {
    streams: Arc<Streams>,
    id: StreamId,
    address: Origin,
}

impl Reading {
    /// Brings what was read to the stream.
    pub(crate) async fn post(self, number: u64, close: u16, body: &[u8]) -> Taken {
        let batch = Batch {
            stream: self.id.secret,
            number,
            close,
            body: body.into(),
        };
        let (streams, id) = (Arc::clone(&self.streams), self.id);
        drop(self);
        streams.post(id, batch).await
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.id.node != self.streams.node {
            let elsewhere = &self.streams.elsewhere;
            elsewhere.give_back(&self.id.secret, self.address);
            return;
        }
        self.streams.with(|all| {
            if let Some(listed) = all.get_mut(&self.id.secret) {
                listed.bodies = listed.bodies.saturating_sub(1);
            }
        });
    }
}
