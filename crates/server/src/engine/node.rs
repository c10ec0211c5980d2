//! The node's task: beats, datagrams, and what all shards are told.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use roomcast_core::Now;
use roomcast_core::cluster::{Cluster, ClusterEvent, StoreAt};
use roomcast_core::store::{Answer, Beaten, Cause, Request, StoreError, StoreId, Ticket};
use roomcast_engine::redis::{Client, Commands as _, Master, ScriptCommands, Subscription};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::alarm::Alarm;
use super::alike::Alike;
use super::departures::Departures;
use super::desk::FromShard;
use super::peers::{PeerNews, Peers};
use super::status::{NodeReport, Status};
use super::told::Told;
use crate::clock::Clock;
use crate::mailbox::Mailboxes;
use crate::shard::Order;

/// How long the task sleeps at most.
const SLEEP: Duration = Duration::from_secs(1);
/// What shards have said is taken in so many pieces before anything else is looked at.
const AT_ONCE: usize = 1_024;

/// And so many datagrams.
const DATAGRAMS_AT_ONCE: usize = 32;

/// What is answered to a beat.
type Heard = (Ticket, StoreId, Result<Beaten, StoreError>);

/// The machine of the cluster, and what it is driven with.
pub(super) struct Node {
    pub(super) cluster: Cluster,
    pub(super) subscription: Subscription,
    pub(super) peers: Peers,
    pub(super) client: Client,
    pub(super) commands: ScriptCommands,
    pub(super) clock: Clock,
    pub(super) mailboxes: Arc<Mailboxes>,
    pub(super) from_shards: UnboundedReceiver<FromShard>,
    pub(super) status: Arc<Status>,
    /// The stores that the machine knows of.
    pub(super) stores: Vec<StoreAt>,
    /// By shard: it was asked to turn, and has not said so yet.
    pub(super) asked: Vec<bool>,
    /// By shard: something was left for it, and it was not woken yet.
    pub(super) told_something: Vec<bool>,
    pub(super) told: Told,
    pub(super) departures: Departures,
    /// Who wants to know when all that was sent has come.
    pub(super) flushed: Vec<mpsc::Sender<()>>,
    pub(super) alike: Alike,
    pub(super) alarm: Alarm,
    /// Milliseconds without a lease after which clients are better off elsewhere.
    pub(super) cut_off_after: u64,
    /// Who wants to know when Redis knows that this server has ended.
    pub(super) ends: Vec<mpsc::Sender<()>>,
}

impl Node {
    /// Until the runtime ends.
    pub(super) async fn run(mut self) {
        let mut changes = self.client.changes();
        let mut beats: JoinSet<Heard> = JoinSet::new();
        let mut masters = Vec::new();
        changes.mark_changed();
        loop {
            if changes.has_changed().is_ok_and(|it| it) {
                // First: what changes from here on is looked at in the next round.
                changes.mark_unchanged();
                masters = self.client.masters();
                self.meet_stores(&masters);
            }
            self.send(&mut beats, &masters);
            self.look_if_cut_off();
            self.tell_shards();
            if self.cluster.is_flushed() {
                for flushed in self.flushed.drain(..) {
                    // Whoever asked may have stopped waiting.
                    let _ = flushed.send(());
                }
            }
            if self.cluster.has_ended() {
                for ended in self.ends.drain(..) {
                    let _ = ended.send(());
                }
            }
            let sleep = self.sleep();
            tokio::select! {
                said = self.from_shards.recv() => {
                    // The engine keeps a sender.
                    let Some(said) = said else { return };
                    self.hear(said);
                    for _ in 1..AT_ONCE {
                        let Ok(said) = self.from_shards.try_recv() else { break };
                        self.hear(said);
                    }
                }
                datagram = self.subscription.next() => {
                    let now = self.clock.now();
                    self.cluster.handle(now, &datagram);
                    for _ in 1..DATAGRAMS_AT_ONCE {
                        let Some(datagram) = self.subscription.try_next() else { break };
                        self.cluster.handle(now, &datagram);
                    }
                }
                news = self.peers.next() => {
                    let now = self.clock.now();
                    self.heard(now, news);
                    for _ in 1..DATAGRAMS_AT_ONCE {
                        let Some(news) = self.peers.try_next() else { break };
                        self.heard(now, news);
                    }
                }
                Some(heard) = beats.join_next() => {
                    if let Ok((ticket, store, answer)) = heard {
                        self.beaten(ticket, store, answer);
                    }
                }
                _ = changes.changed() => changes.mark_changed(),
                () = self.alarm.sleep(sleep) => {}
            }
        }
    }

    /// Which stores there are now.
    fn meet_stores(&mut self, masters: &[Master]) {
        let stores: Vec<_> = masters.iter().map(store_at).collect();
        if stores != self.stores {
            self.cluster.stores_are(self.clock.now(), &stores);
            self.stores = stores;
        }
    }

    /// Sends what is due: a beat, once all shards have turned, and datagrams.
    fn send(&mut self, beats: &mut JoinSet<Heard>, masters: &[Master]) {
        let now = self.clock.now();
        if self.cluster.beat_at().is_some_and(|at| at <= now.micros) {
            self.ask_shards();
        }
        while let Some((ticket, beat)) = self.cluster.poll_beat(now) {
            let (client, commands) = (self.client.clone(), self.commands.clone());
            let store = beat.store;
            let master = masters.iter().find(|it| it.store == Some(store));
            let tag = master.map(|it| Arc::clone(&it.tag));
            beats.spawn(async move {
                let Some(tag) = tag else {
                    return (ticket, store, Err(StoreError::Again(Cause::OtherStore)));
                };
                let request = Request::Beat(Box::new(beat));
                let command = commands.command(&request, &tag);
                let answer = client.run(command).await;
                let answer = answer.and_then(|(_, value)| commands.answer(&request, value));
                let beaten = match answer {
                    Ok(Answer::Beat(beaten)) => Ok(beaten),
                    Ok(_) => Err(StoreError::Never(Cause::Protocol)),
                    Err(error) => Err(error),
                };
                (ticket, store, beaten)
            });
        }
        while let Some((to, datagram)) = self.cluster.poll_transmit(now) {
            if let Err(datagram) = self.peers.send(to, datagram) {
                // What is lost is sent again.
                let _ = self.client.publish(to, datagram);
                self.cluster.taken(now, to);
            }
        }
    }

    /// Clients are sent elsewhere only once `/readyz` is red: else the balancer may send them here again.
    fn look_if_cut_off(&mut self) {
        let (status, peers) = (&self.status, &self.peers);
        let another_lives = || status.not_ready().is_some() && peers.is_given_up();
        let now = self.clock.now();
        (self.cluster).look_if_cut_off(now, self.cut_off_after, another_lives);
    }

    /// A beat says that every shard lives: each is asked for a turn.
    fn ask_shards(&mut self) {
        for shard in self.cluster.waits_for() {
            let asked = self.asked.get_mut(usize::from(shard));
            if let Some(asked) = asked.filter(|asked| !**asked)
                && let Some(mailbox) = self.mailboxes.get(shard)
            {
                *asked = true;
                mailbox.order(Order::Turn);
            }
        }
    }

    fn hear(&mut self, said: FromShard) {
        let now = self.clock.now();
        match said {
            FromShard::Turned { shard, settled_at } => {
                if let Some(asked) = self.asked.get_mut(usize::from(shard)) {
                    *asked = false;
                }
                self.cluster.turned(shard, settled_at);
            }
            FromShard::Letters { from, letters } => self.cluster.send(now, from, letters),
            FromShard::Flush(flushed) => self.flushed.push(flushed),
            FromShard::End(ended) => {
                self.cluster.end(now);
                self.ends.push(ended);
            }
            FromShard::Unreadable(node) => {
                tracing::error!(?node, "what another server has sent can't be read");
                self.cluster.give_up(now, node);
            }
        }
    }

    fn heard(&mut self, now: Now, news: PeerNews) {
        match news {
            PeerNews::Datagram(datagram) => self.cluster.handle(now, &datagram),
            PeerNews::Taken(node) => self.cluster.taken(now, node),
        }
    }

    fn beaten(&mut self, ticket: Ticket, store: StoreId, answer: Result<Beaten, StoreError>) {
        let now = self.clock.now();
        match &answer {
            Ok(beaten) if !beaten.gone => self.status.heard(now.micros),
            Ok(_) => tracing::warn!(
                store = %format_args!("{:032x}", store.0),
                "this server was silent for longer than redis.lease: others may have taken its rooms"
            ),
            Err(error) => tracing::debug!(?error, "a beat was not answered"),
        }
        if let Ok(beaten) = &answer {
            self.told.clock(self.clock.hear(beaten.now));
        }
        self.cluster.answered(now, ticket, answer);
        let stores = self.cluster.views().stores();
        let acts = stores.iter().filter(|it| it.acts(now.micros).is_some());
        let (masters, leases) = (stores.len(), acts.count());
        let living = self.cluster.view().living.len() + usize::from(leases > 0);
        let (cluster, agent, post) = self.cluster.stats();
        self.status.report(NodeReport {
            cluster: cluster.clone(),
            agent: agent.clone(),
            post: post.clone(),
            living,
            masters,
            leases,
            connected: self.peers.connected(),
            differing: self.alike.differing(),
        });
    }

    /// To all shards, in the order of the events: each of these is in every mailbox before the next is in any. They are woken
    /// when all is there: one that wakes at the first letter would take a turn for it, and another one for the others.
    fn tell_shards(&mut self) {
        self.leave_events();
        for (mailbox, told) in self.mailboxes.iter().zip(&mut self.told_something) {
            if std::mem::take(told) {
                mailbox.ring();
            }
        }
    }

    fn leave_events(&mut self) {
        while let Some(event) = self.cluster.poll_event() {
            match event {
                ClusterEvent::View(views) => {
                    if views.stores().iter().all(|view| view.settled) {
                        self.status.settled();
                    }
                    self.told.views(&views);
                    self.departures.look(&views);
                    self.peers.meet(views.nodes());
                    self.status.refused(self.alike.look(views.nodes()));
                    self.all(|| Order::View(views.clone()));
                }
                ClusterEvent::SendAway => {
                    tracing::warn!(
                        "Redis does not answer here, and answers other servers: asking every client to come back there"
                    );
                    self.all(|| Order::SendAway);
                }
                ClusterEvent::Forget(node) => self.all(|| Order::Forget(node)),
                ClusterEvent::Lost(node) => self.all(|| Order::Lost(node)),
                ClusterEvent::Letter { from, to, bytes } => {
                    if let Some(mailbox) = self.mailboxes.get(to) {
                        mailbox.leave(Order::FromNode {
                            from,
                            letters: bytes,
                        });
                    }
                    if let Some(told) = self.told_something.get_mut(usize::from(to)) {
                        *told = true;
                    }
                }
            }
        }
    }

    fn all(&mut self, order: impl Fn() -> Order) {
        self.mailboxes
            .iter()
            .for_each(|mailbox| mailbox.leave(order()));
        self.told_something.fill(true);
    }

    fn sleep(&self) -> Duration {
        let now = self.clock.micros();
        // Once a beat is due the shards are asked, and wake this task.
        let beat = self.cluster.beat_at().filter(|at| *at > now);
        let wakes = [beat, self.cluster.transmit_at()];
        let wake = wakes.into_iter().flatten().min();
        wake.map_or(SLEEP, |at| {
            Duration::from_micros(at.saturating_sub(now)).min(SLEEP)
        })
    }
}

fn store_at(master: &Master) -> StoreAt {
    StoreAt {
        store: master.store,
        anchor: master.anchor,
        ranges: master.ranges.clone(),
    }
}
