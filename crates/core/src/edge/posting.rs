//! Direct messages through the store: into the inbox of their recipient, and to the node that has its session.

use roomcast_protocol::{ErrorCode, mutated};

use crate::address::ShardAddress;
use crate::context::Context;
use crate::edge::Edge;
use crate::edge::fan_out::Part;
use crate::edge::inbox::{BYTES, MESSAGES};
use crate::edge::keeper::About;
use crate::edge::mail::{Mailing, Search};
use crate::edge::saving::{NO_LEASE, patience_of};
use crate::host::Host;
use crate::id::{ClientId, NameHash};
use crate::letter::{DirectMessage, Letter, News, Receipt, Recipient};
use crate::store::{
    Answer, Cause, InboxAppend, InboxAppended, KeyOf, NodeId, Request, Store, StoreError, StoreId,
    Take, Taken, Ticket, UserChange,
};
use crate::time::Now;
use crate::wire;

/// Numbers of messages that have none begin here: no client counts so far.
const UNNUMBERED: u64 = 1 << 53;

impl<S: Store> Edge<S> {
    /// A message of a client that is here.
    pub(super) fn send_mail<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        message: DirectMessage,
    ) {
        // While the store is away, connections that come and go leave messages behind.
        if self.keeper.mail.bytes() >= ctx.settings.unconfirmed.1 {
            return self.refuse_mail(ctx, now, &message, ErrorCode::Unavailable);
        }
        match &message.to {
            Recipient::Clients(clients) if message.body.ephemeral => {
                let client = clients.first().map_or("", ClientId::as_str);
                let home = ctx.home_of(ctx.names.hash(client));
                self.send_direct(ctx, now, home, message);
            }
            Recipient::Clients(clients) => {
                if let Some(to) = clients.first().copied() {
                    self.put_mail(ctx, now, to, message);
                }
            }
            Recipient::User => {
                let user = UserChange {
                    user: message.body.to_user.clone(),
                    add: None,
                    remove: Vec::new(),
                    most: 0,
                    ends_after: 0,
                };
                self.search(ctx, now, message, Request::User(user));
            }
        }
    }

    fn put_mail<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        to: ClientId,
        message: DirectMessage,
    ) {
        let until = message.born.saturating_add(patience_of(ctx));
        let mailing = Mailing {
            message,
            unix_ms: now.unix_ms,
            until,
            is_withdrawn: false,
        };
        if self.keeper.mail.put(to, mailing) {
            self.ask_to_post(ctx, to);
        } else {
            self.look_at_end(About::Outbox(to), until);
        }
    }

    /// Asks the store to take the first message to an inbox.
    fn ask_to_post<H: Host>(&mut self, ctx: &mut Context<H>, to: ClientId) {
        let random = ctx.host.random();
        let outbox = self.keeper.mail.outbox(to);
        let Some(first) = outbox.and_then(|it| it.waiting.front()) else {
            return;
        };
        let body = &first.message.body;
        let append = InboxAppend {
            to,
            from: body.from,
            seq: match body.seq {
                0 => UNNUMBERED | random >> 1,
                seq => seq,
            },
            message: wire::inbox::write(ctx.version(), first.unix_ms, body),
            most: MESSAGES as u32,
            most_bytes: BYTES as u32,
        };
        let request = Request::InboxAppend(append);
        self.keeper.ask_about(About::Outbox(to), request);
    }

    /// The store has said what became of a message to an inbox.
    pub(super) fn posted<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        to: ClientId,
        ticket: Ticket,
        result: Result<Answer, StoreError>,
    ) {
        let random = ctx.host.random();
        // While sessions are written at another store than before, one may be yet to come.
        let cluster = ctx.cluster.of(KeyOf::Session(&to));
        let yet_to_come = |store| !cluster.settled || store != cluster.store;
        let Some(outbox) = self.keeper.mail.outbox(to) else {
            return;
        };
        let Some(asked) = outbox.asked.as_mut().filter(|it| it.is(ticket)) else {
            return;
        };
        let stored = match result {
            Ok(Answer::Inbox(InboxAppended::NoSession(store))) if yet_to_come(store) => None,
            Ok(Answer::Inbox(stored)) => Some(stored),
            _ => None,
        };
        let Some(stored) = stored else {
            if outbox.waiting.front().is_some_and(|it| it.is_withdrawn) {
                outbox.asked = None;
                self.keeper.mail.take_first(to);
                return self.ask_to_post(ctx, to);
            }
            let about = About::Outbox(to);
            return self.keeper.pause_about(about, now.micros, random);
        };
        let is_repeated = asked.is_repeated();
        outbox.asked = None;
        let Some(mailing) = self.keeper.mail.take_first(to) else {
            return;
        };
        self.ask_to_post(ctx, to);
        match stored {
            InboxAppended::Stored {
                offset,
                node,
                turn,
                store,
            } => {
                ctx.stats.inbox_messages += 1;
                let news = News {
                    client: to,
                    offset,
                    turn,
                    store,
                    unix_ms: mailing.unix_ms,
                    body: mailing.message.body.clone(),
                };
                self.end_mailing(ctx, now, &mailing, Receipt::Stored(offset));
                self.tell_node(ctx, now, node, news);
            }
            // It may have been in the inbox of a session that has ended since.
            InboxAppended::NoSession(_) if is_repeated => {
                self.end_mailing(ctx, now, &mailing, Receipt::Stored(0));
            }
            // A client that never said `hello` has no session in the store: its node knows it.
            InboxAppended::NoSession(_) => {
                let home = ctx.home_of(ctx.names.hash(to.as_str()));
                self.send_direct(ctx, now, home, mailing.message);
            }
        }
    }

    /// Who has gone on at another node sends there again what has no answer. It is not done from here any more: the inbox
    /// may have forgotten its number by then, or the sender may have been told that it was not done.
    pub(super) fn withdraw_mail<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        let moved = self.keeper.mail.take_moved();
        if moved.is_empty() {
            return;
        }
        let is_theirs = |message: &DirectMessage| {
            message.body.is_numbered() && moved.contains(&message.body.from)
        };
        self.fan_out.withdraw(is_theirs);
        for to in self.keeper.mail.withdraw(is_theirs) {
            self.ask_to_post(ctx, to);
        }
        let mut behind = Vec::new();
        for number in self.keeper.mail.searches_for(is_theirs) {
            let ended = self.keeper.mail.end_search(number);
            behind.extend(ended.and_then(|(_, behind)| behind));
        }
        for number in behind {
            self.go_on_with(ctx, now, Some(number));
        }
    }

    /// A message has left its outbox.
    fn end_mailing<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        mailing: &Mailing,
        receipt: Receipt,
    ) {
        self.tell_sender(ctx, now, &mailing.message, receipt);
        if mailing.message.window > 0 {
            ctx.accepted(mailing.message.from, mailing.message.window);
        }
    }

    /// Tells the node that has a session of what is in its inbox.
    pub(super) fn tell_node<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        node: NodeId,
        news: News,
    ) {
        let cluster = ctx.cluster.of(KeyOf::Session(&news.client));
        let acts = cluster.acts(now.micros).is_some();
        match self.shard_at(ctx, node, news.client) {
            Some(home) if home == ctx.own => self.hear_news(ctx, now, &news),
            Some(home) if home.is_own() => ctx.post(home, Letter::News(Box::new(news))),
            _ if !acts => self.keep_news(node, 0, news),
            Some(_) if mutated!("news_is_not_told") => {}
            Some(home) => {
                self.keeper.news.told.insert(home.node(), node);
                ctx.post(home, Letter::News(Box::new(news)));
            }
            // Whoever has the session next reads its inbox.
            None => self.keep_news(node, 0, news),
        }
    }

    /// The shard of a living node at which a client is at home.
    pub(super) fn shard_at<H>(
        &self,
        ctx: &Context<H>,
        node: NodeId,
        client: ClientId,
    ) -> Option<ShardAddress> {
        let hash = ctx.names.hash(client.as_str());
        if ctx
            .cluster
            .nodes()
            .own
            .is_some_and(|own| own.home.node == node)
        {
            return Some(ctx.home_of(hash));
        }
        let node = ctx.cluster.nodes().node(node)?;
        let shard = NameHash::home(hash, node.shards);
        Some(ShardAddress::new(node.number, shard))
    }

    /// An ephemeral message for a client that is not here: the node that has it is sought.
    pub(super) fn seek_node<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        message: DirectMessage,
    ) {
        let look = look_for(ctx, client);
        self.search(ctx, now, message, look);
    }

    /// Looks at something when its patience ends, if it does.
    fn look_at_end(&mut self, about: About, until: u64) {
        if until < u64::MAX {
            self.keeper.look_at(about, until);
        }
    }

    fn search<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        message: DirectMessage,
        request: Request,
    ) {
        let until = now.micros.saturating_add(patience_of(ctx));
        let search = Search {
            message,
            until,
            asked: None,
            found: None,
        };
        let number = self.keeper.mail.search(search);
        let about = About::Search(number);
        self.keeper.ask_about(about, request);
        self.look_at_end(about, until);
    }

    /// The store has said whom a message is for, or who has its recipient.
    pub(super) fn found<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        number: u64,
        ticket: Ticket,
        result: Result<Answer, StoreError>,
    ) {
        let random = ctx.host.random();
        let searching = self.keeper.mail.searching(number);
        let Some(searching) = searching else { return };
        if !searching.asked.as_ref().is_some_and(|it| it.is(ticket)) {
            return;
        }
        let about = About::Search(number);
        // Its session is looked for at the store that there is by then.
        if result == Err(StoreError::Again(Cause::OtherStore)) {
            searching.asked = None;
            return self.keeper.look_at(about, now.micros + NO_LEASE);
        }
        // While sessions are written at another store than before, some may be yet to come.
        let cluster = ctx.cluster.of(KeyOf::User(&searching.message.body.to_user));
        let all_there = |store: StoreId| cluster.settled && store == cluster.store;
        let sought = searching.message.to.first();
        let is_newest = |taken: &Taken| {
            sought.is_some_and(|it| ctx.cluster.of(KeyOf::Session(&it)).is_newest(taken))
        };
        let answer = match result {
            Ok(answer @ Answer::Clients(store, _)) if all_there(store) => answer,
            Ok(Answer::Session(taken)) if is_newest(&taken) => Answer::Session(taken),
            _ => {
                return self.keeper.pause_about(about, now.micros, random);
            }
        };
        if let Answer::Clients(_, clients) = answer {
            if let Some(search) = self.keeper.mail.searching(number) {
                (search.asked, search.found) = (None, Some(clients));
            }
            if self.keeper.mail.is_next(number) {
                self.go_on_with(ctx, now, Some(number));
            }
        } else if let Answer::Session(taken) = answer
            && let Some((search, _)) = self.keeper.mail.end_search(number)
        {
            self.send_on(ctx, now, search.message, taken);
        }
    }

    /// Sends a message to the sessions of its user, and those behind it of which they are known too.
    fn go_on_with<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, mut next: Option<u64>) {
        while let Some(number) = next
            && let Some((search, behind)) = self.keeper.mail.end_search(number)
        {
            let clients = search.found.unwrap_or_default();
            self.send_to_all(ctx, now, search.message, clients);
            next = behind;
        }
    }

    /// The sessions of a user are known.
    fn send_to_all<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        message: DirectMessage,
        mut clients: Vec<ClientId>,
    ) {
        let to_user = &message.body.to_user;
        if clients.is_empty() {
            // Without authentication the user is the client.
            clients.extend(ClientId::parse(to_user));
        }
        let copies = Receipt::Copies(clients.len() as u32);
        self.tell_sender(ctx, now, &message, copies);
        if clients.is_empty() {
            return ctx.accepted(message.from, message.window);
        }
        let hash = ctx.names.hash(to_user);
        let own = ctx.own;
        let sessions = clients.into_iter().map(|client| (own, client)).collect();
        self.fan_out.push(hash, message, sessions);
    }

    /// Puts copies of messages to users on their way, as many as may be.
    pub(super) fn post_copies<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        let mut fan_out = std::mem::take(&mut self.fan_out);
        loop {
            let mut budget = self.keeper.mail.room_for_copies();
            let mut send = |part: Part<'_>| self.send_part(ctx, now, &part);
            if budget == 0 || !fan_out.next(&mut budget, &mut send) {
                break;
            }
        }
        self.fan_out = fan_out;
    }

    fn send_part<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, part: &Part<'_>) {
        let count = part.sessions.len();
        for (nth, client) in part.sessions.iter().enumerate() {
            let is_last = part.is_last && nth + 1 == count;
            let mut copy = part.message.copy_to(*client);
            // With the last one its sender is read on.
            copy.window = if is_last { part.message.window } else { 0 };
            if copy.body.ephemeral {
                let home = ctx.home_of(ctx.names.hash(client.as_str()));
                self.send_direct(ctx, now, home, copy);
            } else {
                self.put_mail(ctx, now, *client, copy);
            }
        }
    }

    /// A message of which nobody was told is not done.
    fn refuse_mail<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        message: &DirectMessage,
        code: ErrorCode,
    ) {
        if message.to == Recipient::User && message.body.is_numbered() {
            // As of one recipient who has no room.
            self.tell_sender(ctx, now, message, Receipt::Copies(1));
        }
        self.tell_sender(ctx, now, message, Receipt::Failed(code));
        if message.window > 0 {
            ctx.accepted(message.from, message.window);
        }
    }

    /// The node is known that has the recipient of an ephemeral message.
    fn send_on<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        message: DirectMessage,
        taken: Taken,
    ) {
        if message.window > 0 {
            ctx.accepted(message.from, message.window);
        }
        let node = match taken {
            Taken::Nothing { .. } => None,
            Taken::Taken(record) | Taken::Other(record) => Some(record.node),
        };
        let home = match (node, message.to.first()) {
            (Some(node), Some(client)) => self.shard_at(ctx, node, client),
            _ => None,
        };
        // Here it is not, or has no connection.
        match home.filter(|home| !home.is_own()) {
            Some(home) => {
                let message = DirectMessage {
                    window: 0,
                    ..message
                };
                ctx.post(home, Letter::Direct(Box::new(message)));
            }
            None => {
                let failed = Receipt::Failed(ErrorCode::RecipientNotFound);
                self.tell_sender(ctx, now, &message, failed);
            }
        }
    }

    /// The time to ask again, or to give up what waits, has come.
    pub(super) fn look_at_outbox<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, to: ClientId) {
        let about = About::Outbox(to);
        self.keeper.repeat_about(about, now.micros);
        let (over, next) = self.keeper.mail.take_over(to, now.micros);
        if let Some(until) = next {
            self.look_at_end(about, until);
        }
        for mailing in over {
            ctx.stats.impatient += 1;
            let failed = Receipt::Failed(ErrorCode::Unavailable);
            self.end_mailing(ctx, now, &mailing, failed);
        }
    }

    /// The same for a search.
    pub(super) fn look_at_search<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, number: u64) {
        let Some(search) = self.keeper.mail.searching(number) else {
            return;
        };
        if search.until <= now.micros {
            let Some((search, behind)) = self.keeper.mail.end_search(number) else {
                return;
            };
            ctx.stats.impatient += 1;
            let code = match search.message.body.ephemeral {
                true => ErrorCode::RecipientNotFound,
                false => ErrorCode::Unavailable,
            };
            self.refuse_mail(ctx, now, &search.message, code);
            return self.go_on_with(ctx, now, behind);
        }
        let (until, about) = (search.until, About::Search(number));
        let not_asked = search.message.to.first().filter(|_| search.asked.is_none());
        self.look_at_end(about, until);
        if let Some(client) = not_asked {
            let look = look_for(ctx, client);
            return self.keeper.ask_about(about, look);
        }
        self.keeper.repeat_about(about, now.micros);
    }
}

/// Asks who has a session.
fn look_for<H: Host>(ctx: &mut Context<H>, client: ClientId) -> Request {
    // A store that this node has not met may lack it, or say that it is where it was.
    let store = ctx.cluster.of(KeyOf::Session(&client)).store;
    Request::Take(Take::look(client, store, ctx.host.random()))
}
