//! Direct messages: to a client or a user, into inboxes, and what became of them.

use roomcast_protocol::{Body, ErrorCode, MessageType, Outgoing, Payload, mutated};

use crate::chunk::Chunk;
use crate::context::{Context, Fault};
use crate::edge::conn::Conn;
use crate::edge::inbox::{Check, Inbox};
use crate::edge::receive::Envelope;
use crate::edge::requests::{NO_RECIPIENT, take_window};
use crate::edge::{Edge, over_state};
use crate::host::Host;
use crate::id::{ClientId, ConnId, ConnRef, EdgeRoomId, NameHash};
use crate::lane::Lane;
use crate::letter::{DirectMessage, Letter, Publish, Receipt, Receipted, Recipient, ShardMessage};
use crate::log::Record;
use crate::time::Now;

/// A turn's direct messages to one connection may take so many times its lane before senders are asked to wait: what
/// a turn makes is held against a reader only when its socket doesn't take it.
const DIRECT_LANES: usize = 4;
const RECIPIENT_BUSY: &str = "the recipient gets too much at once; send it again";
const BUSY_RETRY_MS: u64 = 100;

impl Edge {
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
        let size = client.as_str().len() + to_user.len() + publish.bytes.len();
        let recipient = match to_client {
            _ if !publish.ephemeral && !Inbox::keeps(size) => {
                Err((ErrorCode::TooLarge, Inbox::TOO_LARGE))
            }
            Some(to) => ClientId::parse(to)
                .map(Recipient::Client)
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
            if let Recipient::Client(_) = to {
                sent.settle(envelope.seq, Receipt::Copies(1));
            }
        }
        let window = take_window(conn, ctx, publish.bytes.len());
        let message = DirectMessage {
            to,
            to_user: to_user.into(),
            from: ConnRef {
                shard: ctx.index,
                conn: id,
            },
            from_encoding: conn.encoding,
            from_client: client,
            born: now.micros,
            window,
            request_id: envelope.request_id,
            publish,
        };
        self.route_direct(ctx, now, message);
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
                "too many direct messages wait for their answers; send this one again after one",
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

    fn route_direct<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, message: DirectMessage) {
        let hash = match message.to {
            Recipient::Client(client) => ctx.names.hash(client.as_str()),
            Recipient::User => ctx.names.hash(&message.to_user),
        };
        let home = NameHash::home(hash, ctx.count);
        if home == ctx.index {
            self.take_direct(ctx, now, message);
        } else if let Some(outbox) = ctx.outboxes.get_mut(usize::from(home)) {
            outbox.push(ShardMessage(Letter::Direct(Box::new(message))));
        }
    }

    /// A direct message for a client or a user at home here.
    pub(crate) fn take_direct<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        mut message: DirectMessage,
    ) {
        // A copy took none.
        match std::mem::take(&mut message.window) {
            0 => {}
            window => ctx.accepted(message.from, window),
        }
        match message.to {
            Recipient::Client(client) => {
                let result = self.put_direct(ctx, now, client, &message);
                self.tell_sender(ctx, now, &message, result);
            }
            Recipient::User => {
                let hash = ctx.names.hash(&message.to_user);
                let sessions: smallvec::SmallVec<[ClientId; 8]> =
                    self.users.sessions(&message.to_user, hash).into();
                // Without authentication the user is the client.
                let own = ClientId::parse(&message.to_user).filter(|_| sessions.is_empty());
                let sessions: smallvec::SmallVec<[ClientId; 8]> =
                    sessions.into_iter().chain(own).collect();
                let copies = Receipt::Copies(sessions.len() as u32);
                self.tell_sender(ctx, now, &message, copies);
                for client in sessions {
                    let to = Recipient::Client(client);
                    let copy = DirectMessage {
                        to,
                        ..message.clone()
                    };
                    self.route_direct(ctx, now, copy);
                }
            }
        }
        ctx.recycle(message.publish.bytes);
    }

    /// Puts a message into a client's inbox, and on its way to its connection.
    fn put_direct<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        message: &DirectMessage,
    ) -> Receipt {
        let hash = ctx.names.hash(client.as_str());
        let publish = &message.publish;
        let live = self.live(hash, client);
        if publish.ephemeral {
            if let Some(id) = live {
                self.put_ephemeral(ctx, now, id, client, message);
            }
            return match live {
                Some(_) => Receipt::Stored(0),
                None => Receipt::Failed(ErrorCode::RecipientNotFound),
            };
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
        let inbox = inbox.get_or_insert_with(|| Edge::new_inbox(ctx));
        let record = Record {
            message_type: publish.message_type,
            payload_kind: publish.payload_kind,
            client_id: message.from_client.as_str(),
            player_id: &message.to_user,
            seq: publish.seq,
            name: publish.name(),
            payload: publish.payload(),
            ..Record::default()
        };
        let (offset, is_new) = inbox.put(now, &record);
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
        inbox.after(after, |logged| {
            let record = &logged.record;
            let to_user = record.player_id;
            let message = Outgoing {
                from_client_id: record.client_id,
                to_client_id: if to_user.is_empty() {
                    client.as_str()
                } else {
                    ""
                },
                to_user_id: to_user,
                timestamp: logged.timestamp,
                seq: record.seq,
                offset: logged.offset,
                epoch: inbox.epoch.as_str(),
                body: body_of(record),
                ..Outgoing::default()
            };
            frames.push(ctx.single(encoding, now.micros, &message));
            true
        });
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
        let publish = &message.publish;
        let record = Record {
            message_type: publish.message_type,
            payload_kind: publish.payload_kind,
            name: publish.name(),
            payload: publish.payload(),
            ..Record::default()
        };
        let to_user = &*message.to_user;
        let outgoing = Outgoing {
            from_client_id: message.from_client.as_str(),
            to_client_id: if to_user.is_empty() {
                client.as_str()
            } else {
                ""
            },
            to_user_id: to_user,
            timestamp: now.unix_ms,
            seq: publish.seq,
            ephemeral: true,
            body: body_of(&record),
            ..Outgoing::default()
        };
        let frame = ctx.single(encoding, message.born, &outgoing);
        self.push_whole(ctx, now, id, Lane::State, frame, EdgeRoomId::NONE, 0);
    }

    /// Tells the sender's session what became of a message; one without a number hears only that it failed.
    fn tell_sender<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        message: &DirectMessage,
        receipt: Receipt,
    ) {
        let publish = &message.publish;
        if publish.seq > 0 && !publish.ephemeral {
            let receipted = Receipted {
                sender: message.from_client,
                seq: publish.seq,
                request: publish.message_type,
                request_id: message.request_id,
                receipt,
            };
            if message.from.shard == ctx.index {
                self.take_receipt(ctx, now, &receipted);
            } else if let Some(outbox) = ctx.outboxes.get_mut(usize::from(message.from.shard)) {
                outbox.push(ShardMessage(Letter::Receipt(receipted)));
            }
            return;
        }
        let code = match receipt {
            Receipt::Failed(code) => code,
            Receipt::Copies(0) => ErrorCode::RecipientNotFound,
            Receipt::Stored(_) | Receipt::Copies(_) => return,
        };
        let fault = Fault {
            seq: publish.seq,
            request: Some(publish.message_type),
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
            let answer: std::sync::Arc<Chunk> = ctx.single(encoding, now.micros, &message);
            self.push_control(ctx, now, id, answer);
        }
        acks.clear();
        self.direct_acks = acks;
    }
}

fn body_of<'a>(record: &Record<'a>) -> Body<'a> {
    let payload = Payload {
        kind: record.payload_kind,
        data: record.payload,
    };
    match record.message_type {
        MessageType::Chat => Body::Chat(payload),
        _ => Body::Event {
            name: record.name,
            payload,
        },
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
