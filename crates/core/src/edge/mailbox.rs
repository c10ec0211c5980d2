//! What the inbox of a session has in the store, and what its client was given of it.
//!
//! Messages come with news from their senders' nodes. What is not the next one is read from the store. What does not fit
//! what the client has is for its next `welcome` to tell: until then it is asked to come back.

use roomcast_protocol::{CloseCode, Outgoing, mutated};

use crate::context::Context;
use crate::direct::DirectBody;
use crate::edge::Edge;
use crate::edge::direct::{DIRECT_LANES, outgoing};
use crate::edge::keeper::{About, Asked};
use crate::edge::session::Session;
use crate::host::Host;
use crate::id::{ClientId, ConnId, EdgeRoomId};
use crate::lane::Lane;
use crate::letter::News;
use crate::log::{Epoch, Since};
use crate::store::{Answer, InboxRead, InboxSlice, Request, Store, StoreError, StoreId, Ticket};
use crate::time::Now;
use crate::token::SessionKey;
use crate::wire;

/// Bytes of messages that are read at once: more than an inbox keeps.
pub(super) const READ: u32 = 1 << 20;

/// What was heard of an inbox since it was asked for last. A read has all that was heard of before it. So this is empty
/// when one is asked for, and what is in it at the answer has come meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Heard {
    #[default]
    Nothing,
    /// There is a message with this offset, and the store whose offset that is.
    UpTo(StoreId, u64),
    /// There may be something that only a read tells: it was lost on its way, or two stores have said something.
    Unclear,
}

impl Heard {
    pub(super) fn note(&mut self, store: StoreId, offset: u64) {
        *self = match *self {
            Heard::Nothing => Heard::UpTo(store, offset),
            Heard::UpTo(known, last) if known == store => Heard::UpTo(store, last.max(offset)),
            Heard::UpTo(..) | Heard::Unclear => Heard::Unclear,
        };
    }

    fn join(&mut self, other: Heard) {
        match other {
            Heard::Nothing => {}
            Heard::UpTo(store, offset) => self.note(store, offset),
            Heard::Unclear => *self = Heard::Unclear,
        }
    }
}

/// The inbox of a session that is here.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// The offset up to which its connection was given messages, and the store whose offset that is. Each connection
    /// begins anew.
    told: u64,
    store: StoreId,
    heard: Heard,
    asked: Option<Box<Asked>>,
    /// What the inbox has, for those who are about to be welcomed.
    pub(super) slice: Option<Box<InboxSlice>>,
}

impl Mailbox {
    /// The connection was given all up to here.
    fn give(&mut self, store: StoreId, last: u64) {
        (self.store, self.told) = (store, last);
    }

    fn lacks(&self) -> bool {
        match self.heard {
            Heard::Nothing => false,
            Heard::UpTo(store, offset) => store != self.store || offset > self.told,
            Heard::Unclear => true,
        }
    }
}

/// From where in an inbox a client that has come to `since` is to be given messages, and whether these are all that it
/// lacks.
pub(super) fn position(
    slice: &InboxSlice,
    since: Option<Since>,
    epoch: impl Fn(StoreId) -> Epoch,
) -> (u64, bool) {
    let oldest = slice.first.saturating_sub(1);
    let Some(since) = since else {
        return (oldest, oldest == 0);
    };
    let fits = |(store, last): (StoreId, u64)| {
        since.epoch == epoch(store) && (oldest..=last).contains(&since.offset)
    };
    if fits((slice.store, slice.last)) || slice.before.is_some_and(fits) {
        (since.offset, true)
    } else {
        (oldest, false)
    }
}

/// The epoch of an inbox: each session has its own, and each store whose offsets may differ.
pub(super) fn epoch_of(key: SessionKey, first: u32, store: StoreId) -> Epoch {
    let mut mixed = key.incarnation ^ u64::from(first).rotate_left(32);
    for part in [store.0 as u64, (store.0 >> 64) as u64] {
        // The end of SplitMix64: each bit changes about half of all.
        mixed = (mixed ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
    }
    Epoch::from_random(mixed)
}

impl Session {
    /// The epoch of its inbox at a store.
    pub(super) fn inbox_epoch(&self, store: StoreId) -> Option<Epoch> {
        Some(epoch_of(self.key?, self.first, store))
    }
}

impl<S: Store> Edge<S> {
    /// What a client that is welcomed is to be told of its inbox: its epoch, from which offset on messages follow, and
    /// whether these are all that it lacks. `None`: there is none.
    pub(super) fn inbox_at(
        &self,
        id: ConnId,
        since: Option<Since>,
    ) -> Option<(Epoch, (u64, bool))> {
        let conn = self.conn(id)?;
        let copied = self.keeper.copy(conn.pooled.client_id)?;
        let slice = copied.mailbox.slice.as_ref().filter(|it| it.last > 0)?;
        let (key, first) = (conn.session.key?, conn.session.first);
        let epoch = |store| epoch_of(key, first, store);
        Some((epoch(slice.store), position(slice, since, epoch)))
    }

    /// Gives a client that was welcomed what its inbox has after an offset. What the connection before it was given, and
    /// what was asked for that one, count no more.
    pub(super) fn give_inbox<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        after: u64,
    ) {
        let client = self.conn(id).map(|conn| conn.pooled.client_id);
        let Some(mailbox) = client.and_then(|client| self.mailbox(client)) else {
            return;
        };
        let slice = mailbox.slice.take();
        *mailbox = Mailbox::default();
        if let Some(slice) = &slice {
            mailbox.give(slice.store, slice.last);
            self.give(ctx, now, id, slice, after);
        }
        if let Some(mailbox) = client.and_then(|client| self.mailbox(client)) {
            // Another may be welcomed with it.
            mailbox.slice = slice;
        }
    }

    fn mailbox(&mut self, client: ClientId) -> Option<&mut Mailbox> {
        self.keeper.copy_mut(client).map(|it| &mut it.mailbox)
    }

    fn give<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        slice: &InboxSlice,
        after: u64,
    ) {
        for (offset, message) in slice.messages.iter().filter(|it| it.0 > after) {
            match wire::inbox::read(message) {
                Ok((unix_ms, body)) => {
                    self.give_one(ctx, now, id, (slice.store, *offset), (unix_ms, &body));
                }
                Err(_) => ctx.stats.records_unread += 1,
            }
        }
    }

    fn give_one<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        (store, offset): (StoreId, u64),
        (unix_ms, body): (i64, &DirectBody),
    ) {
        let Some(conn) = self.conn(id) else { return };
        let (encoding, client) = (conn.encoding, conn.pooled.client_id);
        let Some(epoch) = conn.session.inbox_epoch(store) else {
            return;
        };
        let message = Outgoing {
            timestamp: unix_ms,
            offset,
            epoch: epoch.as_str(),
            ..outgoing(body, &client)
        };
        let frame = ctx.single(encoding, now.micros, &message);
        self.push_whole(ctx, now, id, Lane::Event, frame, EdgeRoomId::NONE, 0);
    }

    /// A message is in the inbox of a client that is at home here.
    pub(crate) fn hear_news<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, news: &News) {
        let client = news.client;
        let hash = ctx.names.hash(client.as_str());
        if let Some(taking) = self.keeper.taking(client) {
            taking.heard.note(news.store, news.offset);
        }
        // Whoever comes back reads it from the store.
        let Some(id) = self.live(hash, client) else {
            return;
        };
        let has_room = self.has_room_for_mail(ctx, id);
        let of_another = news.turn > 0 && news.turn != self.keeper.turn(client);
        let Some(mailbox) = self.mailbox(client) else {
            return;
        };
        if of_another {
            // The inbox of an earlier session of this name, or of this one before it was taken: it is looked at.
            mailbox.heard = Heard::Unclear;
            return self.read_inbox(ctx, client, id);
        }
        // The offsets of another store are others: what that one says decides.
        let same = mailbox.told == 0 || mailbox.store == news.store;
        if same && news.offset <= mailbox.told {
            return;
        }
        let is_next =
            news.offset == mailbox.told + 1 || mutated!("hole_in_an_inbox_is_passed_over");
        if same && is_next && mailbox.asked.is_none() && has_room {
            mailbox.give(news.store, news.offset);
            let place = (news.store, news.offset);
            return self.give_one(ctx, now, id, place, (news.unix_ms, &news.body));
        }
        mailbox.heard.note(news.store, news.offset);
        self.read_inbox(ctx, client, id);
    }

    /// Whether a connection takes what comes: it may wait as long as it does not.
    fn has_room_for_mail<H: Host>(&self, ctx: &Context<H>, id: ConnId) -> bool {
        let most = ctx.settings.event_lane.saturating_mul(DIRECT_LANES);
        let waiting = self.conn(id).map_or(0, |conn| conn.lanes.event_bytes());
        most == 0 || waiting <= most
    }

    /// Reads what a client has not been given yet, once its connection has room for it.
    fn read_inbox<H: Host>(&mut self, ctx: &mut Context<H>, client: ClientId, id: ConnId) {
        if !self.has_room_for_mail(ctx, id) {
            return self.keeper.note_mail_waits(id);
        }
        let Some(mailbox) = self.mailbox(client).filter(|it| it.asked.is_none()) else {
            return;
        };
        mailbox.heard = Heard::Nothing;
        let read = InboxRead {
            client,
            after: mailbox.told,
            most_bytes: READ,
        };
        let asked = self
            .keeper
            .ask(About::Inbox(client), Request::InboxRead(read));
        if let Some(mailbox) = self.mailbox(client) {
            mailbox.asked = Some(Box::new(asked));
        }
    }

    /// This was heard of the inbox of a client that was just welcomed, while it was read for that.
    pub(super) fn catch_up<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        client: ClientId,
        heard: Heard,
    ) {
        if let Some(mailbox) = self.mailbox(client) {
            mailbox.heard.join(heard);
        }
        self.read_what_it_lacks(ctx, client);
    }

    /// News of the inbox of a client that is here may have been lost.
    pub(super) fn look_into_inbox<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        client: ClientId,
        id: ConnId,
    ) {
        if let Some(mailbox) = self.mailbox(client) {
            mailbox.heard = Heard::Unclear;
            self.read_inbox(ctx, client, id);
        }
    }

    /// The same where the store has not confirmed the session yet: what it has is looked at then.
    pub(super) fn doubt_inbox(&mut self, client: ClientId) {
        if let Some(mailbox) = self.mailbox(client) {
            mailbox.heard = Heard::Unclear;
        }
    }

    /// Reads what a client lacks that is here.
    pub(super) fn read_what_it_lacks<H: Host>(&mut self, ctx: &mut Context<H>, client: ClientId) {
        let hash = ctx.names.hash(client.as_str());
        if self.mailbox(client).is_some_and(|it| it.lacks())
            && let Some(id) = self.live(hash, client)
        {
            self.read_inbox(ctx, client, id);
        }
    }

    /// A connection has nothing to write: it may be given more.
    pub(super) fn ask_mail<H: Host>(&mut self, ctx: &mut Context<H>, id: ConnId) {
        if self.keeper.mail_waits(id)
            && let Some(client) = self.conn(id).map(|conn| conn.pooled.client_id)
            && self.mailbox(client).is_some_and(|it| it.lacks())
        {
            self.read_inbox(ctx, client, id);
        }
    }

    /// The store has said what an inbox has.
    pub(super) fn inbox_read<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        ticket: Ticket,
        result: Result<Answer, StoreError>,
    ) {
        let random = ctx.host.random();
        let asked = self.mailbox(client).and_then(|it| it.asked.take());
        let Some(mut asked) = asked else { return };
        let Ok(Answer::InboxSlice(slice)) = result else {
            if asked.is(ticket) && !mutated!("inbox_is_read_once") {
                let about = About::Inbox(client);
                self.keeper.pause(about, &mut asked, now.micros, random);
            }
            if let Some(mailbox) = self.mailbox(client) {
                mailbox.asked = Some(asked);
            }
            return;
        };
        if !asked.is(ticket) {
            if let Some(mailbox) = self.mailbox(client) {
                mailbox.asked = Some(asked);
            }
            return;
        }
        let hash = ctx.names.hash(client.as_str());
        let (Some(id), Some(mailbox)) = (
            self.live(hash, client),
            self.keeper.copy_mut(client).map(|it| &mut it.mailbox),
        ) else {
            return;
        };
        let same = mailbox.store == slice.store || mailbox.told == 0;
        if !same || slice.first > mailbox.told + 1 {
            // Its `welcome` says whether something is lost.
            return self.close_with(ctx, now, id, CloseCode::Reconnect);
        }
        let after = mailbox.told;
        // A store that came back with older data has less, until something is appended there.
        if slice.last > after {
            mailbox.give(slice.store, slice.last);
        }
        let lacks = mailbox.lacks();
        self.give(ctx, now, id, &slice, after);
        if lacks {
            self.read_inbox(ctx, client, id);
        }
    }

    /// The time to ask for an inbox again has come.
    pub(super) fn look_at_inbox(&mut self, now: Now, client: ClientId) {
        let asked = self.mailbox(client).and_then(|it| it.asked.take());
        if let Some(mut asked) = asked {
            let about = About::Inbox(client);
            self.keeper.repeat(about, &mut asked, now.micros);
            if let Some(mailbox) = self.mailbox(client) {
                mailbox.asked = Some(asked);
            }
        }
    }
}
