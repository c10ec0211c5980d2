//! Direct messages: to a client or a user, into inboxes, and what became of them.

use std::sync::Arc;

use roomcast_protocol::{Body, ErrorCode, Outgoing, mutated};

use crate::address::ShardAddress;
use crate::chunk::Chunk;
use crate::context::{Context, Fault};
use crate::direct::{CountedBody, DirectBody};
use crate::edge::conn::Conn;
use crate::edge::fan_out::Part;
use crate::edge::inbox::Inbox;
use crate::edge::receive::Envelope;
use crate::edge::requests::{NO_RECIPIENT, take_window};
use crate::edge::sent::Check;
use crate::edge::{Edge, over_state};
use crate::host::Host;
use crate::id::{ClientId, ConnId, ConnRef, EdgeRoomId};
use crate::lane::Lane;
use crate::letter::{DirectMessage, Letter, Publish, Receipt, Receipted, Recipient};
use crate::log::Epoch;
use crate::store::Store;
use crate::time::Now;

/// A turn's direct messages to one connection may take so many times its lane before senders are asked to wait: what
/// a turn makes is held against a reader only when its socket doesn't take it.
pub(super) const DIRECT_LANES: usize = 4;
/// Bytes of copies of messages to users that a shard makes in a turn.
const COPIES_OF_A_TURN: usize = 1024 * 1024;
const RECIPIENT_BUSY: &str =
    "too many messages to this recipient are pending; send this one again later";
const BUSY_RETRY_MS: u64 = 100;

impl<S: Store> Edge<S> {
    /// The live connection of a client whose id is at home here.
    pub(super) fn live(&self, hash: u64, client: ClientId) -> Option<ConnId> {
        let conns = &self.conns;
        let is_it = |slot: u32| {
            conns
                .at(slot)
                .is_some_and(|conn| conn.pooled.client_id == client && conn.is_served())
        };
        let slot = self.pool.get(hash, is_it)?;
        conns.at(slot).map(|conn| conn.id)
    }

    /// A message to one client, or to all sessions of a user, wherever they are.
    pub(super) fn direct<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        (to_client, to_user): (Option<&str>, Option<&str>),
        publish: Publish,
    ) {
        let id = envelope.id;
        let numbered = envelope.seq > 0 && !publish.ephemeral;
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let to_user = to_user.unwrap_or_default();
        let client = conn.pooled.client_id;
        let from_user = conn.session.user_id();
        let size = DirectBody::size_of(from_user, to_user, publish.bytes.len());
        let recipient = match to_client {
            _ if !publish.ephemeral && !Inbox::keeps(size) => {
                Err((ErrorCode::TooLarge, Inbox::TOO_LARGE))
            }
            Some(to) => ClientId::parse(to)
                .map(Recipient::client)
                .ok_or((ErrorCode::RecipientNotFound, NO_RECIPIENT)),
            None => Ok(Recipient::User),
        };
        let to = match recipient {
            Ok(to) => to,
            Err((code, sentence)) => {
                if numbered {
                    conn.session
                        .direct_messages()
                        .sent
                        .refuse(envelope.seq, code);
                }
                ctx.recycle(publish.bytes);
                return self.fault(ctx, now, id, envelope.fault(code, sentence));
            }
        };
        if numbered {
            let sent = &mut conn.session.direct_messages().sent;
            let check = sent.check(envelope.seq);
            if check != Check::Send {
                ctx.recycle(publish.bytes);
                return self.answer_direct(ctx, now, envelope, check);
            }
            if to != Recipient::User {
                sent.settle(envelope.seq, Receipt::Copies(1));
            }
        }
        let window = take_window(conn, ctx, publish.bytes.len());
        let body = DirectBody {
            message_type: publish.message_type,
            payload_kind: publish.payload_kind,
            from: client,
            from_user: conn.session.user_id().into(),
            service: "".into(),
            to_user: to_user.into(),
            seq: publish.seq,
            ephemeral: publish.ephemeral,
            bytes: publish.bytes.as_slice().into(),
            name_length: publish.name_length,
        };
        ctx.recycle(publish.bytes);
        let message = DirectMessage {
            to,
            from: ConnRef {
                shard: ctx.own,
                conn: id,
            },
            from_encoding: conn.encoding,
            born: now.micros,
            window,
            request_id: envelope.request_id,
            body: Arc::new(body),
        };
        if S::WAITS {
            return self.send_mail(ctx, now, message);
        }
        let hash = match &message.to {
            Recipient::Clients(clients) => {
                let client = clients.first().map_or("", ClientId::as_str);
                ctx.names.hash(client)
            }
            Recipient::User => ctx.names.hash(to_user),
        };
        self.send_direct(ctx, now, ctx.home_of(hash), message);
    }

    /// Answers a number that is not to be sent.
    pub(super) fn answer_direct<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        check: Check,
    ) {
        let (code, sentence, seq) = match check {
            Check::Send | Check::UnderWay | Check::Gap(_, false) => return,
            Check::Acked(offset) => {
                ctx.stats.repeats += 1;
                return self.direct_acks.push((envelope.id, envelope.seq, offset));
            }
            Check::Refused(code) => (code, "this message was refused before", envelope.seq),
            Check::Gap(missing, true) => (
                ErrorCode::SeqGap,
                "a direct message before this one is missing: send that one again, or give it up with `skip`",
                missing,
            ),
            Check::TooMany => (
                ErrorCode::TooManyUnanswered,
                "too many direct messages are unanswered; send this one again after the next answer",
                envelope.seq,
            ),
        };
        ctx.stats.seq_gaps += u64::from(code == ErrorCode::SeqGap);
        let fault = Fault {
            seq,
            ..envelope.fault(code, sentence)
        };
        self.fault(ctx, now, envelope.id, fault);
    }

    pub(super) fn send_direct<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        home: ShardAddress,
        message: DirectMessage,
    ) {
        if home == ctx.own {
            self.take_direct(ctx, now, message);
        } else {
            ctx.post(home, Letter::Direct(Box::new(message)));
        }
    }

    /// A direct message for clients or a user at home here.
    pub(crate) fn take_direct<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        message: DirectMessage,
    ) {
        let Recipient::Clients(clients) = &message.to else {
            return self.begin_copies(ctx, now, message);
        };
        let body = &message.body;
        let counted = match self.last_direct.upgrade() {
            Some(last) if Arc::ptr_eq(&last.body, body) => last,
            _ => CountedBody::new(body, &ctx.inbox_memory),
        };
        self.last_direct = Arc::downgrade(&counted);
        let mut window = message.window;
        for client in clients {
            if S::WAITS && body.ephemeral && message.from.shard.is_own() {
                let hash = ctx.names.hash(client.as_str());
                if self.live(hash, *client).is_none() {
                    let mut message = message.copy_to(*client);
                    message.window = std::mem::take(&mut window);
                    self.seek_node(ctx, now, *client, message);
                    continue;
                }
            }
            let receipt = self.put_direct(ctx, now, *client, &message, &counted);
            self.tell_sender(ctx, now, &message, receipt);
        }
        // A copy took none.
        if window > 0 {
            ctx.accepted(message.from, window);
        }
        self.shrink_inboxes(ctx);
    }

    /// A message to a user at home here: its copies go out in this turn and the next ones.
    fn begin_copies<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, message: DirectMessage) {
        let to_user = &message.body.to_user;
        let hash = ctx.names.hash(to_user);
        let sessions = self.users.sessions(to_user, hash);
        // Without authentication the user is the client.
        let own = ClientId::parse(to_user).filter(|_| sessions.is_empty());
        let home = |client: ClientId| {
            let hash = ctx.names.hash(client.as_str());
            (ctx.home_of(hash), client)
        };
        let sessions: Vec<_> = sessions.iter().copied().chain(own).map(home).collect();
        let copies = Receipt::Copies(sessions.len() as u32);
        self.tell_sender(ctx, now, &message, copies);
        if sessions.is_empty() {
            ctx.accepted(message.from, message.window);
        } else {
            self.fan_out.push(hash, message, sessions);
        }
    }

    /// Sends copies of messages to users, as many as a turn may make. Whether more wait.
    pub(crate) fn send_copies<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) -> bool {
        if self.fan_out.is_empty() {
            return false;
        }
        if S::WAITS {
            // What there is no room for waits for answers.
            self.post_copies(ctx, now);
            return false;
        }
        let mut budget = COPIES_OF_A_TURN;
        let mut fan_out = std::mem::take(&mut self.fan_out);
        let mut send = |part: Part<'_>| {
            let Part {
                message,
                home,
                sessions,
                is_last,
            } = part;
            // The sender is not read on meanwhile.
            if is_last {
                ctx.accepted(message.from, message.window);
            }
            let copies = DirectMessage {
                to: Recipient::Clients(sessions),
                window: 0,
                body: Arc::clone(&message.body),
                ..*message
            };
            self.send_direct(ctx, now, home, copies);
        };
        while budget > 0 && fan_out.next(&mut budget, &mut send) {}
        let more = !fan_out.is_empty();
        self.fan_out = fan_out;
        more
    }

    /// Where inboxes take more than they may: those that got no message for longest lose theirs, until an eighth is free.
    fn shrink_inboxes<H: Host>(&mut self, ctx: &mut Context<H>) {
        let most = ctx
            .settings
            .inbox_memory
            .div_ceil(usize::from(ctx.count.max(1)));
        if most == 0 || ctx.inbox_memory.held() <= most || mutated!("inboxes_have_no_ceiling") {
            return;
        }
        let live = self.conns.rows_mut().map(|conn| &mut conn.session);
        let parked = self.parking.iter_mut().map(|parked| &mut parked.session);
        let mut inboxes: Vec<_> = live
            .chain(parked)
            .filter_map(|session| session.direct_messages.as_mut()?.inbox.as_mut())
            .filter_map(|inbox| Some((inbox.newest()?, inbox)))
            .collect();
        inboxes.sort_by_key(|(newest, _)| *newest);
        for (_, inbox) in inboxes {
            if ctx.inbox_memory.held() <= most - most / 8 {
                return;
            }
            inbox.clear();
            ctx.stats.inboxes_evicted += 1;
        }
    }

    /// Puts a message into a client's inbox, and on its way to its connection.
    fn put_direct<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        message: &DirectMessage,
        counted: &Arc<CountedBody>,
    ) -> Receipt {
        let hash = ctx.names.hash(client.as_str());
        let live = self.live(hash, client);
        if message.body.ephemeral {
            if let Some(id) = live {
                self.put_ephemeral(ctx, now, id, client, message);
            }
            return match live {
                Some(_) => Receipt::Stored(0),
                None => Receipt::Failed(ErrorCode::RecipientNotFound),
            };
        }
        if S::WAITS && self.keeper.copy(client).is_some() {
            // The store did not know it when it was asked: it is being written there.
            return Receipt::Failed(ErrorCode::Unavailable);
        }
        let most = ctx.settings.event_lane.saturating_mul(DIRECT_LANES);
        let conns = &mut self.conns;
        let session = match live.and_then(|id| conns.get_mut(id)) {
            Some(conn) if most > 0 && conn.lanes.event_bytes() > most => {
                return Receipt::Failed(ErrorCode::Unavailable);
            }
            Some(conn) => &mut conn.session,
            None => match self.parking.get(hash, client) {
                Some(parked) => &mut parked.session,
                None => return Receipt::Failed(ErrorCode::RecipientNotFound),
            },
        };
        if live.is_none() && mutated!("mail_to_the_absent_is_dropped") {
            return Receipt::Stored(1);
        }
        let inbox = &mut session.direct_messages().inbox;
        let inbox = inbox.get_or_insert_with(|| {
            let epoch = Epoch::from_random(ctx.host.random());
            Inbox::new(epoch, ctx.inbox_memory.take(0))
        });
        let (offset, is_new) = inbox.put(now, counted);
        if is_new {
            ctx.stats.inbox_messages += 1;
            if let Some(id) = live {
                self.push_inbox(ctx, now, id, offset - 1);
            }
        }
        Receipt::Stored(offset)
    }

    /// Queues what a connection's inbox has after an offset.
    pub(super) fn push_inbox<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        after: u64,
    ) {
        let Some(conn) = self.conn(id) else { return };
        let (encoding, client) = (conn.encoding, conn.pooled.client_id);
        let Some(inbox) = conn
            .session
            .direct_messages
            .as_ref()
            .and_then(|it| it.inbox.as_ref())
        else {
            return;
        };
        let mut frames: smallvec::SmallVec<[_; 1]> = smallvec::SmallVec::new();
        for placed in inbox.after(after) {
            let message = Outgoing {
                timestamp: placed.unix_ms,
                offset: placed.offset,
                epoch: inbox.epoch.as_str(),
                ..outgoing(placed.body, &client)
            };
            frames.push(ctx.single(encoding, now.micros, &message));
        }
        for frame in frames {
            self.push_whole(ctx, now, id, Lane::Event, frame, EdgeRoomId::NONE, 0);
        }
    }

    fn put_ephemeral<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        client: ClientId,
        message: &DirectMessage,
    ) {
        // What is ephemeral is the first to be dropped.
        let full =
            |conn: &Conn| conn.blocked || over_state(conn.lanes.state_bytes(), &ctx.settings);
        let Some(encoding) = self
            .conn(id)
            .filter(|conn| !full(conn))
            .map(|it| it.encoding)
        else {
            ctx.stats.ephemeral_dropped += 1;
            return;
        };
        let outgoing = Outgoing {
            timestamp: now.unix_ms,
            ephemeral: true,
            ..outgoing(&message.body, &client)
        };
        let frame = ctx.single(encoding, message.born, &outgoing);
        self.push_whole(ctx, now, id, Lane::State, frame, EdgeRoomId::NONE, 0);
    }

    /// Tells the sender's session what became of a message; one without a number hears only that it failed.
    pub(super) fn tell_sender<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        message: &DirectMessage,
        receipt: Receipt,
    ) {
        let body = &message.body;
        if body.is_numbered() {
            let is_backends = body.from.is_nobodys();
            let receipted = Receipted {
                sender: body.from,
                seq: body.seq,
                request: body.message_type,
                request_id: message.request_id,
                receipt,
            };
            if message.from.shard == ctx.own && !is_backends {
                self.take_receipt(ctx, now, &receipted);
            } else {
                ctx.post(message.from.shard, Letter::Receipt(receipted));
            }
            return;
        }
        let code = match receipt {
            Receipt::Failed(code) => code,
            Receipt::Copies(0) => ErrorCode::RecipientNotFound,
            Receipt::Stored(_) | Receipt::Copies(_) => return,
        };
        let fault = Fault {
            seq: body.seq,
            request: Some(body.message_type),
            request_id: message.request_id,
            retry_after_ms: retry_after(code),
            ..Fault::new(code, sentence_of(code))
        };
        let (to, encoding) = (message.from, message.from_encoding);
        ctx.refuse(to, encoding, message.born, now.unix_ms, fault);
    }

    /// What became of a numbered message of a session that is at home here.
    pub(crate) fn take_receipt<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        receipted: &Receipted,
    ) {
        let hash = ctx.names.hash(receipted.sender.as_str());
        let live = self.live(hash, receipted.sender);
        let conns = &mut self.conns;
        let session = match live.and_then(|id| conns.get_mut(id)) {
            Some(conn) => &mut conn.session,
            None => match self.parking.get(hash, receipted.sender) {
                Some(parked) => &mut parked.session,
                None => return,
            },
        };
        let sent = &mut session.direct_messages().sent;
        let (Some(result), Some(id)) = (sent.settle(receipted.seq, receipted.receipt), live) else {
            return;
        };
        match result {
            Ok(offset) => self.direct_acks.push((id, receipted.seq, offset)),
            Err(code) => {
                let fault = Fault {
                    seq: receipted.seq,
                    request: Some(receipted.request),
                    request_id: receipted.request_id,
                    retry_after_ms: retry_after(code),
                    ..Fault::new(code, sentence_of(code))
                };
                self.fault(ctx, now, id, fault);
            }
        }
    }

    /// Sends the answers to numbered direct messages that this turn has brought: one `ack` a connection.
    pub(crate) fn flush_acks<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        if self.direct_acks.is_empty() {
            return;
        }
        let mut acks = std::mem::take(&mut self.direct_acks);
        acks.sort_unstable_by_key(|(id, seq, _)| (id.to_u64(), *seq));
        for own in acks.chunk_by(|a, b| a.0 == b.0) {
            let Some(id) = own.first().map(|(id, ..)| *id) else {
                continue;
            };
            let Some(encoding) = self.conn(id).map(|conn| conn.encoding) else {
                continue;
            };
            let pairs: smallvec::SmallVec<[(u64, u64); 8]> =
                own.iter().map(|(_, seq, offset)| (*seq, *offset)).collect();
            let message = Outgoing {
                timestamp: now.unix_ms,
                body: Body::Ack(&pairs),
                ..Outgoing::default()
            };
            ctx.stats.acks += pairs.len() as u64;
            let answer: Arc<Chunk> = ctx.single(encoding, now.micros, &message);
            self.push_control(ctx, now, id, answer);
        }
        acks.clear();
        self.direct_acks = acks;
    }
}

/// A message as one of its recipients gets it.
pub(super) fn outgoing<'a>(body: &'a DirectBody, client: &'a ClientId) -> Outgoing<'a> {
    let to_user = &*body.to_user;
    // A backend's are from nobody, whom no client counts.
    let seq = match body.from.is_nobodys() {
        true => 0,
        false => body.seq,
    };
    Outgoing {
        from: body.sender(),
        to_client_id: if to_user.is_empty() {
            client.as_str()
        } else {
            ""
        },
        to_user_id: to_user,
        seq,
        body: body.body(),
        ..Outgoing::default()
    }
}

fn sentence_of(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::RecipientNotFound => NO_RECIPIENT,
        _ => RECIPIENT_BUSY,
    }
}

fn retry_after(code: ErrorCode) -> u64 {
    if code == ErrorCode::Unavailable {
        BUSY_RETRY_MS
    } else {
        0
    }
}
