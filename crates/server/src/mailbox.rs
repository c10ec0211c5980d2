//! How other threads reach a shard: a mailbox, and a bell that wakes the shard only when it sleeps.
//!
//! Each pair of shards has a queue of its own, so that two senders never wait for each other. What is in a queue is
//! bounded by its senders: deliveries by the core's link window, operations by the connections' publish windows,
//! newcomers by [`Mailbox::NEWCOMERS`], what backends ask by [`Mailbox::QUESTIONS`].

mod bell;

use std::hash::{Hash, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roomcast_core::ShardMessage;
use roomcast_core::backend::{self, Asker, Reply};
use tokio::sync::oneshot;

use crate::handover::{Shards, Upgraded};
use crate::shard::order::Order;
use crate::shard::socket::Moved;
use crate::streams::Post;
use bell::Bell;

/// What a backend asks, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) asker: Asker,
    pub(crate) asked: backend::Question,
    pub(crate) to: oneshot::Sender<Reply>,
}

/// Where other threads put what a shard is to do.
#[derive(Debug)]
pub(crate) struct Mailbox {
    bell: Bell,
    letters: Box<[Mutex<Vec<ShardMessage>>]>,
    newcomers: Mutex<Vec<Upgraded>>,
    orders: Mutex<Vec<Order>>,
    /// What backends ask.
    questions: Mutex<Vec<Question>>,
    /// What clients have posted for event streams here: a few batches of each.
    posts: Mutex<Vec<Post>>,
    /// Connections of other shards whose sessions live here: as many as have said `hello` in a turn.
    moved: Mutex<Vec<Moved>>,
    /// Newcomers in the queue and connections of the shard.
    load: AtomicUsize,
    /// The shard takes newcomers. Only changed under the lock of `newcomers`.
    open: AtomicBool,
}

impl Mailbox {
    /// Newcomers that may wait for the shard's next turn.
    const NEWCOMERS: usize = 1_024;

    /// Questions that may wait for the shard's next turn.
    const QUESTIONS: usize = 4_096;

    /// A mailbox for the shard that sleeps on the waker's poll, one of `count` shards.
    pub(crate) fn new(waker: mio::Waker, count: u16) -> Mailbox {
        Mailbox {
            bell: Bell::new(waker),
            letters: (0..count).map(|_| Mutex::default()).collect(),
            newcomers: Mutex::default(),
            orders: Mutex::default(),
            questions: Mutex::default(),
            posts: Mutex::default(),
            moved: Mutex::default(),
            load: AtomicUsize::new(0),
            open: AtomicBool::new(true),
        }
    }

    /// Sends everything in `letters`, in order, from shard `from`; `letters` is empty then.
    pub(crate) fn send(&self, from: u16, letters: &mut Vec<ShardMessage>) {
        let Some(queue) = self.letters.get(usize::from(from)) else {
            return;
        };
        let mut queue = lock(queue);
        if queue.is_empty() {
            std::mem::swap(&mut *queue, letters);
        } else {
            queue.append(letters);
        }
        drop(queue);
        self.bell.ring();
    }

    /// Lets the shard take a turn: something has come for it that is not in here.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// Tells the shard to do something in its next turn.
    pub(crate) fn order(&self, order: Order) {
        self.leave(order);
        self.bell.ring();
    }

    /// The same, but the shard is not woken: that is for [`Mailbox::ring`], when all is there.
    pub(crate) fn leave(&self, order: Order) {
        lock(&self.orders).push(order);
    }

    /// Asks the shard a backend's question. False: too many wait, or it is closed.
    fn ask(&self, question: Question) -> bool {
        let mut questions = lock(&self.questions);
        if questions.len() >= Mailbox::QUESTIONS || !self.open.load(Ordering::Relaxed) {
            return false;
        }
        questions.push(question);
        drop(questions);
        self.bell.ring();
        true
    }

    /// Brings a batch for an event stream of the shard.
    pub(crate) fn post(&self, post: Post) {
        lock(&self.posts).push(post);
        self.bell.ring();
    }

    /// For the shard: takes them into `posts`, which has to be empty.
    pub(crate) fn take_posts(&self, posts: &mut Vec<Post>) {
        std::mem::swap(&mut *lock(&self.posts), posts);
    }

    /// For the shard: takes what backends ask.
    pub(crate) fn take_questions(&self) -> Vec<Question> {
        std::mem::take(&mut *lock(&self.questions))
    }

    /// Puts a newcomer into the queue, or gives it back when the queue is full or closed.
    fn hand_over(&self, upgraded: Upgraded) -> Result<(), Upgraded> {
        let mut newcomers = lock(&self.newcomers);
        if newcomers.len() >= Mailbox::NEWCOMERS || !self.open.load(Ordering::Relaxed) {
            return Err(upgraded);
        }
        newcomers.push(upgraded);
        self.load.fetch_add(1, Ordering::Relaxed);
        drop(newcomers);
        self.bell.ring();
        Ok(())
    }

    /// Gives the shard another one's connection. Once it is closed, the connection is closed too.
    pub(crate) fn arrive(&self, moved: Moved) {
        let newcomers = lock(&self.newcomers);
        if !self.open.load(Ordering::Relaxed) {
            return;
        }
        lock(&self.moved).push(moved);
        self.load.fetch_add(1, Ordering::Relaxed);
        drop(newcomers);
        self.bell.ring();
    }

    /// For the shard: takes connections that came from others.
    pub(crate) fn take_moved(&self) -> Vec<Moved> {
        std::mem::take(&mut *lock(&self.moved))
    }

    /// For the shard, when one of its connections is gone.
    pub(crate) fn connection_gone(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// For the shard, before it stops for good: newcomers are refused from now on, those in the queue are dropped.
    pub(crate) fn close(&self) {
        let mut newcomers = lock(&self.newcomers);
        self.open.store(false, Ordering::Relaxed);
        // Whoever has asked hears that there is no answer.
        lock(&self.questions).clear();
        let mut moved = lock(&self.moved);
        let dropped = newcomers.len() + moved.len();
        self.load.fetch_sub(dropped, Ordering::Relaxed);
        newcomers.clear();
        moved.clear();
    }

    /// For the shard: whether anything may have come since it last asked. It has to look then.
    pub(crate) fn has_mail(&self) -> bool {
        self.bell.answer()
    }

    /// For the shard: whether it may sleep. If it may, a sender will wake it.
    pub(crate) fn may_sleep(&self) -> bool {
        self.bell.fall_asleep()
    }

    /// For the shard: takes what `from` has sent into `letters`, which has to be empty.
    pub(crate) fn take_letters(&self, from: u16, letters: &mut Vec<ShardMessage>) {
        if let Some(queue) = self.letters.get(usize::from(from)) {
            std::mem::swap(&mut *lock(queue), letters);
        }
    }

    /// For the shard: takes the newcomers into `newcomers`, which has to be empty.
    pub(crate) fn take_newcomers(&self, newcomers: &mut Vec<Upgraded>) {
        std::mem::swap(&mut *lock(&self.newcomers), newcomers);
    }

    /// For the shard: takes the orders.
    pub(crate) fn take_orders(&self) -> Vec<Order> {
        std::mem::take(&mut *lock(&self.orders))
    }
}

/// A panic elsewhere leaves these queues as good as they were: each change is one push or swap.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All shards' mailboxes.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    all: Box<[Arc<Mailbox>]>,
    /// Where the search for the shard with the fewest connections begins.
    turn: AtomicUsize,
}

impl Mailboxes {
    pub(crate) fn new(all: Vec<Arc<Mailbox>>) -> Mailboxes {
        Mailboxes {
            all: all.into(),
            turn: AtomicUsize::new(0),
        }
    }

    pub(crate) fn get(&self, shard: u16) -> Option<&Arc<Mailbox>> {
        self.all.get(usize::from(shard))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        self.all.iter()
    }

    /// Asks something; nothing where there is no room for the question. The same shard is asked about the same room or
    /// user, so that questions keep their order.
    pub(crate) fn ask(
        &self,
        about: &(impl Hash + ?Sized),
        asker: Asker,
        asked: backend::Question,
    ) -> Option<oneshot::Receiver<Reply>> {
        let mut hasher = std::hash::DefaultHasher::new();
        about.hash(&mut hasher);
        let at = hasher.finish() % self.all.len().max(1) as u64;
        let (to, reply) = oneshot::channel();
        let question = Question { asker, asked, to };
        let mailbox = self.all.get(at as usize)?;
        mailbox.ask(question).then_some(reply)
    }

    pub(crate) fn count(&self) -> u16 {
        self.all.len() as u16
    }

    /// Connections on all shards and on their way there.
    pub(crate) fn connections(&self) -> usize {
        self.all
            .iter()
            .map(|mailbox| mailbox.load.load(Ordering::Relaxed))
            .sum()
    }
}

impl Shards for Mailboxes {
    fn has_room(&self) -> bool {
        self.all.iter().any(|mailbox| {
            let newcomers = lock(&mailbox.newcomers).len();
            newcomers < Mailbox::NEWCOMERS && mailbox.open.load(Ordering::Relaxed)
        })
    }

    fn hand_over(&self, mut upgraded: Upgraded) -> Result<(), Upgraded> {
        // The least loaded first, then the others in turn.
        let count = self.all.len();
        let start = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = |step: usize| self.all.get((start.wrapping_add(step)) % count.max(1));
        let least = (0..count)
            .filter_map(in_turn)
            .min_by_key(|mailbox| mailbox.load.load(Ordering::Relaxed));
        for mailbox in least.into_iter().chain((0..count).filter_map(in_turn)) {
            match mailbox.hand_over(upgraded) {
                Ok(()) => return Ok(()),
                Err(refused) => upgraded = refused,
            }
        }
        Err(upgraded)
    }
}
