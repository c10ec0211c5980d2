//! What the store has of this shard's sessions, what it is asked, and who waits for its answers. Only where a store waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

use crate::edge::copied::{Copied, Ending};
use crate::edge::hello::Greeting;
use crate::edge::mail::Mail;
use crate::edge::mailbox::Heard;
use crate::edge::news::LostNews;
use crate::edge::orphans::Endings;
use crate::edge::user_set::OfUser;
use crate::id::{ClientId, ConnId};
use crate::node::{ClusterView, ClusterViews};
use crate::store::{KeyOf, NodeId, Request, StoreId, Ticket};

/// Microseconds after which a request is repeated for the first time, and at most.
const FIRST_PAUSE: u64 = 50_000;
const LONGEST_PAUSE: u64 = 2_000_000;

/// What a request is about: who hears the answer, and is looked at again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// A session: its record, or its takeover.
    Session(ClientId),
    /// That a session is one of its user's.
    User(ClientId),
    /// What a session that is here has not been given of its inbox.
    Inbox(ClientId),
    /// Messages from here to an inbox.
    Outbox(ClientId),
    /// Whom a message from here is for.
    Search(u64),
    /// Sessions of a user that no node has, and that are to end.
    Orphans(u64),
}

impl From<ClientId> for About {
    fn from(client: ClientId) -> About {
        About::Session(client)
    }
}

/// Requests that may be under way while sessions are written at another store.
const MOST_AT_ONCE: usize = 512;

/// The sessions of a shard in its store.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// Sessions that are here, and those that are about to end.
    copies: BTreeMap<ClientId, Copied>,
    /// Sessions that somebody has asked for.
    takes: BTreeMap<ClientId, Taking>,
    /// Requests to which there is no answer yet.
    tickets: BTreeMap<Ticket, About>,
    last_ticket: u64,
    /// Requests that this turn has made.
    requests: Vec<(Ticket, Request)>,
    /// Sessions that have changed in this turn. May name one twice.
    changed: Vec<ClientId>,
    /// When to look at something again, and the same by what it is. Each is there once, with the earliest time: whoever
    /// looks finds out itself when to look next. Else each look that only asks for the next ones would double them.
    looks: BTreeSet<(u64, About)>,
    look_times: BTreeMap<About, u64>,
    /// Connections to which nothing is written until their session is saved.
    holds: BTreeMap<u64, Hold>,
    /// When clients that wait for the store are sent away: the same patience for all, so these are in order.
    patience: VecDeque<(u64, ConnId)>,
    /// How many of the copies are about to end.
    ending: usize,
    /// Connections that are given more of their inboxes when they have read what they have.
    with_mail: BTreeSet<u64>,
    pub(super) mail: Mail,
    pub(super) news: LostNews,
    /// The cluster as it was handed over last; at each store, how many sessions only another one has confirmed; and up to
    /// which these are being written.
    cluster: ClusterViews,
    to_write: Vec<usize>,
    is_writing: bool,
    written_to: Option<ClientId>,
    /// Sessions that are about to be told to their users' sets, or are out of them.
    pub(super) of_users: BTreeMap<ClientId, OfUser>,
    pub(super) endings: Endings,
}

/// A session that somebody has asked for.
#[derive(Debug)]
pub(super) struct Taking {
    /// Those who have shown its token, in their order.
    pub(super) greetings: Vec<(ConnId, Greeting)>,
    /// The turn that it was seen with; 0: it was not looked at yet.
    pub(super) turn: u64,
    /// The node that had it then.
    pub(super) from: Option<NodeId>,
    /// What was heard of its inbox meanwhile.
    pub(super) heard: Heard,
    pub(super) asked: Option<Asked>,
}

/// A request that has no answer yet.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    ticket: Ticket,
    request: Request,
    /// The store that there was.
    store: StoreId,
    tries: u32,
    /// Microseconds at which it is made again.
    again_at: Option<u64>,
}

/// A connection to which nothing is written.
#[derive(Debug)]
pub(super) struct Hold {
    /// The change that has to be saved before the client is told.
    pub(super) change: u64,
    /// The newest change when its patience began, and when that ends, in microseconds.
    pub(super) first: u64,
    pub(super) until: u64,
    /// Its socket takes nothing either.
    pub(super) was_blocked: bool,
}

impl Asked {
    pub(super) fn is(&self, ticket: Ticket) -> bool {
        self.ticket == ticket
    }

    /// The store that there was for it when it was asked: it, or one that came later, has answered.
    pub(super) fn store(&self) -> StoreId {
        self.store
    }

    /// Whether it was made before, and may have been done then.
    pub(super) fn is_repeated(&self) -> bool {
        self.tries > 0
    }

    /// Whether there is an answer to come. Else it is made again later.
    pub(super) fn is_under_way(&self) -> bool {
        self.again_at.is_none()
    }

    /// The offset after which it reads an inbox; 0 where it does not.
    pub(super) fn reads_after(&self) -> u64 {
        match &self.request {
            Request::InboxRead(read) => read.after,
            _ => 0,
        }
    }
}

impl Keeper {
    pub(super) fn copy(&self, client: ClientId) -> Option<&Copied> {
        self.copies.get(&client)
    }

    /// A session's turn; 0 where the store has nothing of it.
    pub(super) fn turn(&self, client: ClientId) -> u64 {
        self.copy(client).map_or(0, |copied| copied.turn)
    }

    pub(super) fn copy_mut(&mut self, client: ClientId) -> Option<&mut Copied> {
        self.copies.get_mut(&client)
    }

    /// A session is here from now on.
    pub(super) fn put(&mut self, client: ClientId, copied: Copied) {
        self.remove(client);
        self.copies.insert(client, copied);
        self.count(client, |to_write| to_write + 1);
    }

    pub(super) fn remove(&mut self, client: ClientId) -> Option<Copied> {
        self.count(client, |to_write| to_write - 1);
        let copied = self.copies.remove(&client)?;
        self.ending -= usize::from(copied.ending.is_some());
        Some(copied)
    }

    /// A session is about to end. What it asked for before is not asked again.
    pub(super) fn end(&mut self, client: ClientId, ending: Ending) {
        self.count(client, |to_write| to_write - 1);
        if let Some(copied) = self.copies.get_mut(&client) {
            copied.ending = Some(ending);
            copied.asked = None;
            self.ending += 1;
        }
    }

    /// How many sessions are about to end.
    pub(super) fn ending(&self) -> usize {
        self.ending
    }

    pub(super) fn taking(&mut self, client: ClientId) -> Option<&mut Taking> {
        self.takes.get_mut(&client)
    }

    /// Whether the store is asked for a session: its turn is about to rise.
    pub(super) fn is_being_taken(&self, client: ClientId) -> bool {
        let taking = self.takes.get(&client);
        taking.is_some_and(|it| it.asked.is_some())
    }

    pub(super) fn begin_taking(&mut self, client: ClientId, turn: u64) -> &mut Taking {
        self.takes.entry(client).or_insert_with(|| Taking {
            greetings: Vec::new(),
            turn,
            from: None,
            heard: Heard::Nothing,
            asked: None,
        })
    }

    /// News of inboxes may be lost. What is read of one for somebody who waits may be older.
    pub(super) fn doubt_takes(&mut self) {
        for taking in self.takes.values_mut() {
            taking.heard = Heard::Unclear;
        }
    }

    pub(super) fn end_taking(&mut self, client: ClientId) -> Option<Taking> {
        self.takes.remove(&client)
    }

    /// A session has changed: it is saved when the turn ends.
    pub(super) fn note_change(&mut self, client: ClientId) -> u64 {
        let Some(copied) = self.copies.get_mut(&client) else {
            return 0;
        };
        copied.changes += 1;
        self.changed.push(client);
        copied.changes
    }

    /// A session may have something to ask for.
    pub(super) fn look_now(&mut self, client: ClientId) {
        self.changed.push(client);
    }

    pub(super) fn look_at(&mut self, what: impl Into<About>, micros: u64) {
        let what = what.into();
        let time = self.look_times.entry(what).or_insert(u64::MAX);
        if micros < *time {
            self.looks.remove(&(*time, what));
            self.looks.insert((micros, what));
            *time = micros;
        }
    }

    pub(super) fn take_changed(&mut self) -> Vec<ClientId> {
        std::mem::take(&mut self.changed)
    }

    /// What is to be looked at now.
    pub(super) fn next_look(&mut self, micros: u64) -> Option<About> {
        let (at, what) = self.looks.first().copied()?;
        if at > micros {
            return None;
        }
        self.looks.pop_first();
        self.look_times.remove(&what);
        Some(what)
    }

    /// Asks for something. The caller keeps what is returned until there is an answer.
    pub(super) fn ask(&mut self, about: impl Into<About>, request: Request) -> Asked {
        let ticket = self.submit(about.into(), request.clone());
        let store = match &request {
            Request::User(change) => self.cluster.of(KeyOf::User(&change.user)).store,
            Request::Take(take) => self.store_of(&take.client),
            Request::Save(save) => self.store_of(&save.client),
            Request::End(end) => self.store_of(&end.client),
            Request::InboxRead(read) => self.store_of(&read.client),
            Request::InboxAppend(append) => self.store_of(&append.to),
            _ => StoreId::default(),
        };
        Asked {
            ticket,
            request,
            store,
            tries: 0,
            again_at: None,
        }
    }

    fn submit(&mut self, about: About, request: Request) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket::of_session(self.last_ticket);
        self.tickets.insert(ticket, about);
        self.requests.push((ticket, request));
        ticket
    }

    /// There was no answer: it is asked again after a while. `random` spreads those who ask.
    pub(super) fn pause(
        &mut self,
        about: impl Into<About>,
        asked: &mut Asked,
        micros: u64,
        random: u64,
    ) {
        let pause = FIRST_PAUSE << asked.tries.min(10);
        let pause = pause.min(LONGEST_PAUSE);
        let at = micros.saturating_add(pause / 2 + random % (pause / 2));
        (asked.tries, asked.again_at) = (asked.tries + 1, Some(at));
        self.look_at(about, at);
    }

    /// Asks again, if the time for it has come.
    pub(super) fn repeat(&mut self, about: impl Into<About>, asked: &mut Asked, micros: u64) {
        match asked.again_at {
            Some(at) if at <= micros => {
                asked.again_at = None;
                asked.ticket = self.submit(about.into(), asked.request.clone());
            }
            Some(at) => self.look_at(about, at),
            None => {}
        }
    }

    /// Where that is kept which was asked about messages on their way, and about sessions that end.
    fn asked_about(&mut self, about: About) -> Option<&mut Option<Asked>> {
        match about {
            About::Outbox(to) => self.mail.outbox(to).map(|it| &mut it.asked),
            About::Search(number) => self.mail.searching(number).map(|it| &mut it.asked),
            About::Orphans(number) => self.endings.asked(number),
            About::Session(_) | About::User(_) | About::Inbox(_) => None,
        }
    }

    /// [`Keeper::ask`], and keeps that it was asked.
    pub(super) fn ask_about(&mut self, about: About, request: Request) {
        let asked = self.ask(about, request);
        if let Some(place) = self.asked_about(about) {
            *place = Some(asked);
        }
    }

    /// [`Keeper::pause`] of what is kept.
    pub(super) fn pause_about(&mut self, about: About, micros: u64, random: u64) {
        self.change_asked(about, |keeper, asked| {
            keeper.pause(about, asked, micros, random);
        });
    }

    /// [`Keeper::repeat`] of what is kept.
    pub(super) fn repeat_about(&mut self, about: About, micros: u64) {
        self.change_asked(about, |keeper, asked| keeper.repeat(about, asked, micros));
    }

    fn change_asked(&mut self, about: About, change: impl FnOnce(&mut Keeper, &mut Asked)) {
        let Some(mut asked) = self.asked_about(about).and_then(Option::take) else {
            return;
        };
        change(self, &mut asked);
        if let Some(place) = self.asked_about(about) {
            *place = Some(asked);
        }
    }

    /// What an answer is about.
    pub(super) fn answered(&mut self, ticket: Ticket) -> Option<About> {
        self.tickets.remove(&ticket)
    }

    pub(super) fn take_requests(&mut self) -> Vec<(Ticket, Request)> {
        std::mem::take(&mut self.requests)
    }

    /// There are these stores from here on: what only another one has is written there.
    pub(super) fn meet(&mut self, cluster: &ClusterViews) {
        let before = std::mem::replace(&mut self.cluster, cluster.clone());
        let mut stores = cluster.stores().iter().zip(before.stores());
        let same = stores.all(|(one, other)| one.store == other.store);
        if same && cluster.has_slots_of(&before) && !self.to_write.is_empty() {
            return;
        }
        self.to_write = vec![0; cluster.stores().len()];
        let clients: Vec<_> = self.copies.keys().copied().collect();
        for client in clients {
            self.count(client, |to_write| to_write + 1);
        }
        (self.is_writing, self.written_to) = (true, None);
    }

    /// A store has confirmed a session.
    pub(super) fn confirm(&mut self, client: ClientId, store: StoreId) {
        self.count(client, |to_write| to_write - 1);
        if let Some(copied) = self.copies.get_mut(&client) {
            copied.known = Some(store);
        }
        self.count(client, |to_write| to_write + 1);
    }

    /// Counts a session with those of its store, if it is to be written there.
    fn count(&mut self, client: ClientId, change: impl Fn(usize) -> usize) {
        // One that is about to end is not written any more.
        let is_kept = |it: &&Copied| it.known.is_some() && it.ending.is_none();
        let Some(copied) = self.copies.get(&client).filter(is_kept) else {
            return;
        };
        let Some(at) = self.cluster.place_of(KeyOf::Session(&client)) else {
            return;
        };
        let view = self.cluster.stores().get(at);
        if let Some(to_write) = self.to_write.get_mut(at)
            && view.is_some_and(|view| copied.is_elsewhere(view.store))
        {
            *to_write = change(*to_write);
        }
    }

    fn store_of(&self, client: &ClientId) -> StoreId {
        self.cluster.of(KeyOf::Session(client)).store
    }

    /// Whether a session, or that it is in its user's set, is to be written at another store than before.
    fn is_elsewhere(&self, client: &ClientId, copied: &Copied) -> bool {
        let is_other =
            |view: &ClusterView, known| view.store != StoreId::default() && view.store != known;
        let session = self.cluster.of(KeyOf::Session(client));
        copied.known.is_some_and(|it| is_other(session, it))
            || (copied.in_set).is_some_and(|(slot, it)| is_other(self.cluster.at(slot), it))
    }

    /// The next session that is to be written at this store, if there may be one more request now.
    pub(super) fn next_elsewhere(&mut self) -> Option<ClientId> {
        if !self.may_write_more() {
            return None;
        }
        let from = self.written_to.map_or(Unbounded, Excluded);
        let mut behind = self.copies.range((from, Unbounded));
        let next = behind.find(|(client, it)| self.is_elsewhere(client, it));
        self.written_to = next.map(|(client, _)| *client);
        // What is not confirmed then was asked for once, and is asked for again by itself.
        self.is_writing = self.written_to.is_some();
        self.written_to
    }

    /// So many sessions that are here, behind one.
    pub(super) fn copies_behind(&self, behind: Option<ClientId>, most: usize) -> Vec<ClientId> {
        let from = behind.map_or(Unbounded, Excluded);
        let copies = self.copies.range((from, Unbounded));
        copies.map(|(client, _)| *client).take(most).collect()
    }

    fn may_write_more(&self) -> bool {
        self.is_writing && self.tickets.len() < MOST_AT_ONCE
    }

    /// Whether this store has confirmed all sessions that another one had, and that are to be there.
    pub(super) fn has_written_all(&self, store: StoreId) -> bool {
        let mut stores = self.cluster.stores().iter().zip(&self.to_write);
        !stores.any(|(view, to_write)| view.store == store && *to_write > 0)
    }

    /// Whether a turn has to follow.
    pub(super) fn has_work(&self) -> bool {
        !self.requests.is_empty() || !self.changed.is_empty() || self.may_write_more()
    }

    /// Whether all sessions are saved as they are, and nobody waits for one.
    pub(super) fn is_quiet(&self) -> bool {
        let saved = |it: &Copied| it.saved == it.changes && it.ending.is_none();
        !self.has_work()
            && self.tickets.is_empty()
            && self.takes.is_empty()
            && self.copies.values().all(saved)
    }

    pub(super) fn hold(&mut self, id: ConnId) -> Option<&mut Hold> {
        self.holds.get_mut(&id.to_u64())
    }

    pub(super) fn is_held(&self, id: ConnId) -> bool {
        self.holds.contains_key(&id.to_u64())
    }

    pub(super) fn begin_hold(&mut self, id: ConnId, hold: Hold) {
        self.wait(id, hold.until);
        self.holds.insert(id.to_u64(), hold);
    }

    pub(super) fn end_hold(&mut self, id: ConnId) -> Option<Hold> {
        self.holds.remove(&id.to_u64())
    }

    /// A connection is to be given more of its inbox later.
    pub(super) fn note_mail_waits(&mut self, id: ConnId) {
        self.with_mail.insert(id.to_u64());
    }

    /// Whether a connection was to be given more of its inbox: that is no longer noted.
    pub(super) fn mail_waits(&mut self, id: ConnId) -> bool {
        !self.with_mail.is_empty() && self.with_mail.remove(&id.to_u64())
    }

    /// A client waits, until then at most.
    pub(super) fn wait(&mut self, id: ConnId, until: u64) {
        if until < u64::MAX {
            self.patience.push_back((until, id));
        }
    }

    /// A connection that waits no longer, if it still does.
    pub(super) fn next_impatient(&mut self, micros: u64) -> Option<ConnId> {
        let (until, id) = self.patience.front().copied()?;
        if until > micros {
            return None;
        }
        self.patience.pop_front();
        Some(id)
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        let look = self.looks.first().map(|(at, _)| *at);
        let end = self.patience.front().map(|(until, _)| *until);
        let news = self.news.next_wake();
        [look, end, news].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_at_often_is_looked_at_once_and_first_when_it_has_to_be() {
        let mut keeper = Keeper::default();
        for micros in [50, 40, 60, 40] {
            keeper.look_at(About::Search(1), micros);
        }
        assert_eq!(keeper.next_wake(), Some(40));
        assert_eq!(keeper.next_look(100), Some(About::Search(1)));
        assert_eq!(keeper.next_look(100), None);
    }
}
