//! A shard's thread: it waits for its sockets and its mailbox, and takes a turn.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token};
use roomcast_core::driver::{Driver, Pace};
use roomcast_core::store::Store;
use roomcast_core::{BatcherLimits, ConnId, ShardConfig};

use super::Node;
use super::host::ShardHost;
use super::socket::Socket;
use super::world::{Ending, World};
use crate::mailbox::Mailbox;

/// Token of the waker; no connection has it, as slots are below it.
pub(crate) const WAKER: Token = Token(usize::MAX);
/// Connections that one turn hears of; others stay with the poll.
const EVENTS: usize = 4 * 1024;
/// Microseconds between two looks at what the log left out.
const SUM_UP: u64 = 1_000_000;

/// A shard's thread.
pub(super) struct Worker<S> {
    driver: Driver<ShardHost, S, Socket>,
    world: World,
    /// Microseconds at which the log is told next what was left out of it.
    sum_up_at: u64,
}

impl<S: Store> Worker<S> {
    pub(super) fn new(
        index: u16,
        poll: Poll,
        mailbox: Arc<Mailbox>,
        node: Arc<Node>,
        host: ShardHost,
        store: S,
    ) -> Self {
        let config = ShardConfig {
            index,
            count: node.mailboxes.count(),
            settings: Arc::clone(&node.settings),
            kinds: Arc::clone(&node.kinds),
            batcher: BatcherLimits {
                max_size: node.batcher.max_size,
                max_wait: u64::try_from(node.batcher.max_wait.as_micros()).unwrap_or(u64::MAX),
            },
            hash_key: node.hash_key,
        };
        let mut driver = Driver::new(config, Pace::default(), host, store);
        driver.shard_mut().call_node(&node.name);
        Worker {
            driver,
            world: World::new(index, poll, mailbox, node),
            sum_up_at: 0,
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut more = false;
        loop {
            let timeout = self.timeout(more);
            if let Err(error) = self.world.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "a shard cannot wait for its connections");
                break;
            }
            let now = self.world.node.clock.now();
            self.note(&events);
            more = self.driver.turn(now, &mut self.world);
            more |= self.take_posts();
            self.tell(now.micros);
            let ended = self.world.node.clock.micros();
            self.world.io.turns.record(ended.saturating_sub(now.micros));
            let ends = match self.world.ending {
                Ending::Not => false,
                Ending::WhenEmpty => self.driver.sockets() == 0,
                Ending::WhenQuiet => !more && self.driver.shard().is_quiet(),
                Ending::Now => true,
            };
            if ends {
                break;
            }
        }
        self.world.mailbox.close();
    }

    /// Gives event streams what was posted for them. Whether there is something to read.
    fn take_posts(&mut self) -> bool {
        if self.world.posts.is_empty() {
            return false;
        }
        let mut some = false;
        for post in std::mem::take(&mut self.world.posts) {
            let socket = self.driver.open_socket(post.conn);
            let events = socket.and_then(Socket::events);
            match events.filter(|it| *it.ticket.secret() == post.batch.stream) {
                Some(events) => {
                    if events.post(post.batch, post.to) {
                        self.driver.readable(post.conn, false);
                        some = true;
                    }
                }
                None => self.world.send_back(post),
            }
        }
        some
    }

    /// Tells the log, at times, what was left out of it; and those who wait for it that nothing waits any more.
    fn tell(&mut self, now: u64) {
        let shard = self.driver.shard_mut();
        if now >= self.sum_up_at {
            self.sum_up_at = now + SUM_UP;
            shard.host().sum_up();
        }
        if self.driver.sockets() == 0
            && let Some(emptied) = self.world.emptied.take()
        {
            let _ = emptied.send(());
        }
        let shard = self.driver.shard_mut();
        if !self.world.flushed.is_empty() && shard.stats().lane_pieces == 0 {
            for flushed in self.world.flushed.drain(..) {
                // Whoever asked may have stopped waiting.
                let _ = flushed.send(());
            }
        }
    }

    /// How long the poll may sleep: not at all while there is work, until the next timer else.
    fn timeout(&self, more: bool) -> Option<Duration> {
        if more || !self.world.mailbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        let wake = self.driver.next_wake()?;
        Some(Duration::from_micros(
            wake.saturating_sub(self.world.node.clock.micros()),
        ))
    }

    /// Notes what the poll says of each connection.
    fn note(&mut self, events: &Events) {
        for event in events {
            let Token(token) = event.token();
            if event.token() == WAKER {
                continue;
            }
            let conn = ConnId::from_u64(token as u64);
            if event.is_writable() {
                self.driver.writable(conn);
            }
            if event.is_readable() || event.is_error() {
                let closed = event.is_read_closed() || event.is_error();
                self.driver.readable(conn, closed);
            }
        }
    }
}
