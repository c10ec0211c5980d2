//! What clients send: checked, counted, and sent on its way.

use std::borrow::Cow;
use std::sync::Arc;

use roomcast_protocol::{
    BadMessage, Body, CloseCode, ErrorCode, Format, Incoming, IncomingPayload, MessageType,
    Outgoing, Request, decode, mutated,
};

use crate::chunk::{Chunk, ChunkBuilder};
use crate::context::{Context, Fault};
use crate::edge::admission::Admission;
use crate::edge::conn::Phase;
use crate::edge::requests::{Message, into_owned};
use crate::edge::rights::Needs;
use crate::edge::{Edge, LARGEST_ANSWER};
use crate::host::{Control, Encoding, Host, Notice};
use crate::id::ConnId;
use crate::letter::{MembersPage, OpKind};
use crate::store::Store;
use crate::time::Now;

/// Largest payload of a `ping`, in bytes: its answer must fit into the control lane.
const LARGEST_PING: usize = 1_024;

/// What a connection's socket has brought.
#[derive(Clone, Copy, Debug)]
pub enum Received<'a> {
    /// A whole message in the connection's format.
    Message(&'a [u8]),
    /// A text frame on a Protobuf connection or a binary frame on a JSON one.
    WrongFormat,
    /// A message over the limit, which was read past.
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// A ping frame.
    Ping(&'a [u8]),
    /// A pong frame, or a fragment without payload: nothing to do but to count it.
    NoMessage,
}

/// The parts of a message's envelope that outlive its dispatch.
pub(super) struct Envelope<'a> {
    pub(super) id: ConnId,
    pub(super) seq: u64,
    pub(super) request_id: u32,
    pub(super) ephemeral: bool,
    pub(super) request: MessageType,
    pub(super) room_id: Option<Cow<'a, str>>,
}

impl Envelope<'_> {
    pub(super) fn fault<'f>(&'f self, code: ErrorCode, message: &'f str) -> Fault<'f> {
        let room = self.room_id.as_deref().unwrap_or("");
        Fault {
            seq: self.seq,
            request_id: self.request_id,
            request: Some(self.request),
            room,
            ..Fault::new(code, message)
        }
    }
}

impl<S: Store> Edge<S> {
    /// Bytes have arrived: a sign of life.
    pub(crate) fn note_received(&mut self, now: Now, id: ConnId) {
        if let Some(conn) = self.conn_mut(id) {
            conn.last_seen = now.micros;
            conn.pinged = false;
        }
    }

    pub(crate) fn receive<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        received: Received<'_>,
    ) {
        let Some(conn) = self.conn(id).filter(|conn| conn.phase == Phase::Open) else {
            return;
        };
        let encoding = conn.encoding;
        match received {
            Received::Message(bytes) => self.message(ctx, now, id, encoding, bytes),
            Received::NoMessage => {
                self.counted_frame(ctx, now, id);
            }
            Received::Ping(data) => {
                if !self.counted_frame(ctx, now, id) {
                    return;
                }
                let mut builder = ChunkBuilder::new(&mut ctx.pool, 0, now.micros);
                let out = builder.reserve(&mut ctx.pool, data.len() + 16);
                ctx.host.control(Control::Pong(data), out);
                let frame = builder.finish(&mut ctx.pool);
                self.push_control(ctx, now, id, frame);
            }
            Received::WrongFormat => {
                let message = match encoding.format {
                    Format::Json => {
                        "this connection speaks JSON in text frames; ask for the subprotocol gameproto.v1.protobuf for binary ones"
                    }
                    Format::Protobuf => {
                        "this connection speaks Protobuf in binary frames; ask for the subprotocol gameproto.v1.json for text ones"
                    }
                };
                self.counted_fault(ctx, now, id, Fault::new(ErrorCode::WrongFormat, message));
            }
            Received::TooLarge { size } => {
                let limit = ctx.settings.max_message;
                let message = format!("the message has {size} bytes; the limit is {limit}");
                self.counted_fault(ctx, now, id, Fault::new(ErrorCode::TooLarge, &message));
            }
        }
    }

    /// A frame that is no message counts as one: it costs about as much to read. False when it was too much.
    fn counted_frame<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) -> bool {
        match self.take_message(now, id) {
            Ok(()) => true,
            Err(wait) => {
                self.rate_limited(ctx, now, id, wait, None);
                false
            }
        }
    }

    /// A message that could not be read counts as a message.
    fn counted_fault<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        fault: Fault<'_>,
    ) {
        match self.take_message(now, id) {
            Ok(()) => self.fault(ctx, now, id, fault),
            Err(wait) => self.rate_limited(ctx, now, id, wait, None),
        }
    }

    fn message<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        encoding: Encoding,
        bytes: &[u8],
    ) {
        let decoded = decode(encoding.format, bytes, &ctx.settings.message);
        let request = match &decoded {
            Ok(incoming) => Some(incoming.request.message_type()),
            Err(bad) => bad.request,
        };
        ctx.stats.read(encoding.format, request, bytes.len());
        if let Err(wait) = self.take_message(now, id) {
            return self.rate_limited(ctx, now, id, wait, Some(&decoded));
        }
        match decoded {
            Ok(incoming) => self.dispatch(ctx, now, id, incoming),
            Err(bad) => {
                if mutated!("refused_message_lets_in")
                    && let Some(conn) = self.conn_mut(id)
                {
                    conn.session.admission = Admission::Anonymous;
                }
                let fault = Fault {
                    seq: bad.seq.unwrap_or(0),
                    request_id: bad.request_id,
                    request: bad.request,
                    room: bad.room_id.as_deref().unwrap_or(""),
                    ..Fault::new(bad.code, &bad.message)
                };
                self.fault(ctx, now, id, fault);
                self.use_seq_up(ctx, now, id, &bad);
            }
        }
    }

    /// A numbered message that could not be read is refused for good: its number must not hold up those after it.
    fn use_seq_up<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        bad: &BadMessage,
    ) {
        let numbered = matches!(
            bad.request,
            Some(MessageType::Chat | MessageType::Event | MessageType::GameAction)
        );
        let Some((seq, request)) = bad.seq.zip(bad.request).filter(|_| numbered) else {
            return;
        };
        let Some(conn) = self.conn_mut(id).filter(|conn| conn.is_served()) else {
            return;
        };
        if bad.direct {
            return conn.session.direct_messages().sent.refuse(seq, bad.code);
        }
        // Where the room could not be read, it is not known whose number this is.
        let Some(name) = bad.room_id.as_deref() else {
            return;
        };
        let room = self.membership_of(id, Some(name)).map(|it| it.room);
        let Some(room) = room else {
            return;
        };
        let envelope = Envelope {
            id,
            seq,
            request_id: bad.request_id,
            ephemeral: false,
            request,
            room_id: bad.room_id.as_deref().map(Cow::Borrowed),
        };
        let code = bad.code;
        self.refuse_seq(ctx, now, &envelope, room, code);
    }

    /// Takes one message of the connection's rate. Refused, the milliseconds to wait.
    fn take_message(&mut self, now: Now, id: ConnId) -> Result<(), u64> {
        let quota = self.quotas.messages;
        let Some(conn) = self.conn_mut(id) else {
            return Ok(());
        };
        let taken = conn.messages.take(now.micros, quota);
        // Those that were refused before come again first: only one of them passes at the time when one would.
        let mistakes = conn.mistakes.as_ref();
        let debt = mistakes.map_or(0, |it| it.refusals.debt(now.micros));
        taken.map_err(|wait| (wait + debt).div_ceil(1_000))
    }

    fn rate_limited<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        wait: u64,
        message: Option<&Result<Incoming<'_>, roomcast_protocol::BadMessage>>,
    ) {
        ctx.stats.rate_limited += 1;
        ctx.host.notice(Notice::RateLimited);
        let (seq, request_id, request, room) = match message {
            Some(Ok(incoming)) => (
                match &incoming.request {
                    Request::Skip(skip) => Some(skip.seq),
                    _ => incoming.seq,
                },
                incoming.request_id,
                Some(incoming.request.message_type()),
                incoming.room_id.as_deref(),
            ),
            Some(Err(bad)) => (bad.seq, bad.request_id, bad.request, bad.room_id.as_deref()),
            None => (None, 0, None, None),
        };
        let fault = Fault {
            seq: seq.unwrap_or(0),
            retry_after_ms: wait,
            request,
            request_id,
            room: room.unwrap_or(""),
            ..Fault::new(
                ErrorCode::RateLimited,
                "too many messages; send this one again after `retry_after_ms`",
            )
        };
        self.fault(ctx, now, id, fault);
    }

    fn dispatch<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        incoming: Incoming<'_>,
    ) {
        let Incoming {
            room_id,
            to_client_id,
            to_user_id,
            seq,
            request_id,
            ephemeral,
            no_echo,
            request,
        } = incoming;
        let envelope = Envelope {
            id,
            seq: match &request {
                Request::Skip(skip) => skip.seq,
                _ => seq.unwrap_or(0),
            },
            request_id,
            ephemeral,
            request: request.message_type(),
            room_id,
        };
        if let Request::Hello(hello) = request {
            return self.hello(ctx, now, &envelope, &hello);
        }
        let to = (to_client_id.as_deref(), to_user_id.as_deref());
        let (to_somebody, has_room) = (to.0.or(to.1).is_some(), envelope.room_id.is_some());
        let needs = Needs::of(&request, to_somebody, has_room);
        // Nothing is done for who was not let in, or may not ask for it.
        let Some(allowed) = self.allow(ctx, now, &envelope, needs) else {
            return;
        };
        let allowed = &allowed;
        let flags = (ephemeral, no_echo);
        match request {
            // Answered above.
            Request::Hello(_) => {}
            Request::JoinRoom(join) => self.join(ctx, now, envelope, join, allowed),
            Request::LeaveRoom => self.leave(ctx, now, envelope, allowed),
            Request::Chat(payload) => {
                let message = Message::new(MessageType::Chat, "", &payload, flags);
                self.publish(ctx, now, envelope, to, message, allowed);
            }
            Request::Event { name, payload } => {
                let message = Message::new(MessageType::Event, &name, &payload, flags);
                self.publish(ctx, now, envelope, to, message, allowed);
            }
            Request::GameAction(action) => {
                let message = Message::action(&action, flags);
                self.publish(ctx, now, envelope, (None, None), message, allowed);
            }
            Request::Presence(update)
                if update.nickname.is_some() && self.binds_nickname(ctx, allowed) =>
            {
                let sentence =
                    "nicknames in rooms of this kind are those of tokens (`nickname = \"token\"`)";
                let fault = envelope.fault(ErrorCode::Forbidden, sentence);
                self.fault(ctx, now, id, fault);
            }
            Request::Presence(update) => {
                let request = OpKind::Presence(into_owned(update));
                self.forward(ctx, now, &envelope, allowed, |_, _| request);
            }
            Request::Members(members) => {
                let request = OpKind::Members(MembersPage {
                    after: members.after,
                    limit: members.limit,
                });
                self.forward(ctx, now, &envelope, allowed, |_, _| request);
            }
            Request::Ping(payload) => self.ping(ctx, now, &envelope, &payload),
            Request::Auth { token } => self.renew(ctx, now, &envelope, &token),
            Request::History(history) => {
                let request = OpKind::History(history);
                self.forward(ctx, now, &envelope, allowed, |_, _| request);
            }
            Request::Skip(skip) => {
                if envelope.room_id.is_some() {
                    return self.forward(ctx, now, &envelope, allowed, |_, _| OpKind::Skip);
                }
                let Some(conn) = self.conn_mut(id) else {
                    return;
                };
                let check = conn.session.direct_messages().sent.skip(skip.seq);
                self.answer_direct(ctx, now, &envelope, check);
            }
        }
    }

    fn ping<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        payload: &IncomingPayload<'_>,
    ) {
        if payload.data.len() > LARGEST_PING {
            let fault = envelope.fault(
                ErrorCode::TooLarge,
                "a `ping` takes a payload of at most 1024 bytes",
            );
            return self.fault(ctx, now, envelope.id, fault);
        }
        let Some(conn) = self.conn(envelope.id) else {
            return;
        };
        let body = Body::Pong {
            payload: payload.as_payload(),
            server_time: now.unix_ms,
        };
        let message = Outgoing {
            timestamp: now.unix_ms,
            request_id: envelope.request_id,
            body,
            ..Outgoing::default()
        };
        let answer = ctx.single(conn.encoding, now.micros, &message);
        // As text, a control character takes six bytes.
        if answer.bytes().len() > LARGEST_ANSWER {
            ctx.pool.give_back(answer);
            let fault = envelope.fault(
                ErrorCode::TooLarge,
                "the answer to this `ping` would be too large",
            );
            return self.fault(ctx, now, envelope.id, fault);
        }
        self.push_control(ctx, now, envelope.id, answer);
    }
}

impl<H: Host> Context<H> {
    /// Asks a client to come back in so many milliseconds.
    pub(super) fn reconnect(&mut self, encoding: Encoding, now: Now, delay_ms: u64) -> Arc<Chunk> {
        let body = Body::Reconnect {
            delay_ms,
            url: "",
            reason: CloseCode::Reconnect.as_str(),
        };
        let message = Outgoing {
            timestamp: now.unix_ms,
            body,
            ..Outgoing::default()
        };
        self.single(encoding, now.micros, &message)
    }
}

impl<S: Store> Edge<S> {
    /// Asks everybody to come back, each after a delay of its own within `spread_ms`.
    pub(crate) fn announce_reconnect<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        spread_ms: u64,
    ) {
        for id in self.ids() {
            let Some(encoding) = self
                .conn(id)
                .filter(|conn| conn.is_served())
                .map(|c| c.encoding)
            else {
                continue;
            };
            let delay_ms = ctx.host.random() % spread_ms.max(1);
            let frame = ctx.reconnect(encoding, now, delay_ms);
            self.push_control(ctx, now, id, frame);
        }
    }
}
