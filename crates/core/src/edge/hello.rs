//! `hello`: a new session, or the one of before.

use std::num::NonZeroU32;

use roomcast_protocol::{
    Body, CloseCode, ErrorCode, Hello, LogPosition, MessageType, Outgoing, VERSION, Welcome,
    WelcomeLimits, mutated,
};

use crate::context::{Context, Fault};
use crate::edge::Edge;
use crate::edge::admission::{Admission, TOKEN_ENDED};
use crate::edge::conn::{Conn, Phase};
use crate::edge::copied::FIRST_TURN;
use crate::edge::lifecycle::tell_session;
use crate::edge::losing::taken_code;
use crate::edge::receive::Envelope;
use crate::edge::sent::UNANSWERED;
use crate::edge::session::Session;
use crate::host::{Encoding, Host};
use crate::id::{ClientId, ConnId};
use crate::identity::{Access, Origin};
use crate::letter::{OpKind, Place, Resume};
use crate::log::{Epoch, Since};
use crate::store::Store;
use crate::time::Now;
use crate::token::{ResumeToken, SessionKey, UserMark};

/// A connection on its way to the shard on which its session lives. Opaque.
#[derive(Debug)]
pub struct MovingConnection(Box<Greeting>);

/// A `hello` that was found to be good.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) token: Option<ResumeToken>,
    pub(super) admission: Admission,
    positions: Vec<(Box<str>, Place)>,
    pub(super) inbox: Option<Since>,
    first_direct_seq: u64,
    request_id: u32,
    /// The turn of a session that begins with it: higher than that of any before under this name.
    pub(super) first_turn: u64,
    /// Where its connection comes from, and when that was opened, in microseconds.
    origin: Origin,
    pub(super) opened: u64,
}

/// What was found for a resume token.
pub(super) enum Found {
    /// Its session, taken from where it was, and the connection that it had.
    Session(Session, (ConnId, Encoding)),
    /// Its session, whose token has ended: somebody has to show another one.
    Over,
    /// A newer connection of the same client has it, and the token of before that one is shown: it has come late.
    Late,
    /// The session is gone; its name may be kept.
    Gone,
    /// It is not this client's, or there is no token.
    Nothing,
}

/// Whether a token opens a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Fits,
    /// It does, but the token of whose session it is has ended.
    Over,
    /// It is stale, or of another session, or shown by another user.
    Nothing,
}

/// Whether a good token opens the session of its client, whose key, first generation and admission these are. `shown`: as
/// whom its client was let in now.
pub(super) fn judge(
    now: Now,
    (key, first, admission): (Option<SessionKey>, u32, &Admission),
    token: &ResumeToken,
    shown: &Admission,
) -> Judged {
    let fits = key.is_some_and(|key| {
        let (newest, shown) = (key.generation.get(), token.key.generation.get());
        // A token of an earlier life does if it is not older than the one that this life began with, until somebody has
        // shown that the `welcome` of this life was heard.
        let is_of_it = key.incarnation == token.key.incarnation || newest == first;
        let is_new = newest.saturating_sub(shown) <= 1 || mutated!("token_stays_valid");
        is_of_it && is_new
    });
    // A token for somebody else's session, however it was come by, opens nothing.
    let user_id = admission.identity().map_or("", |it| &*it.user_id);
    let same_user = shown.identity().is_none_or(|new| *new.user_id == *user_id);
    if !fits || !same_user {
        Judged::Nothing
    } else if !admission.goes_on(shown, now.unix_ms) {
        Judged::Over
    } else {
        Judged::Fits
    }
}

/// Whether a token that fits is shown by a connection that was given up: a newer one was given the token after it.
fn is_late(key: Option<SessionKey>, token: &ResumeToken, is_older: bool) -> bool {
    let is_before = |key: SessionKey| {
        token.key.incarnation != key.incarnation || token.key.generation < key.generation
    };
    is_older && key.is_some_and(is_before)
}

pub(super) fn since(position: &LogPosition<'_>) -> Option<Since> {
    Some(Since {
        epoch: Epoch::parse(&position.epoch)?,
        offset: position.offset,
    })
}

impl<S: Store> Edge<S> {
    pub(super) fn hello<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        hello: &Hello<'_>,
    ) {
        let id = envelope.id;
        if self
            .conn(id)
            .is_none_or(|conn| conn.session.admission.is_inside())
        {
            let fault = envelope.fault(
                ErrorCode::Unexpected,
                "`hello` comes before anything else that the server takes",
            );
            return self.fault(ctx, now, id, fault);
        }
        if hello.version > VERSION {
            let fault = envelope.fault(
                ErrorCode::UnsupportedVersion,
                "this server speaks version 1 of the protocol",
            );
            return self.fault(ctx, now, id, fault);
        }
        let Some(admission) = self.admit(ctx, now, envelope, hello.token.as_deref()) else {
            return;
        };
        let Some(conn) = self.conn_mut(id) else {
            return;
        };
        conn.pooled.last_used = now.micros;
        let token = hello.resume_token.as_deref().and_then(|text| {
            let token = ResumeToken::open(&ctx.settings.session_key, text, now.unix_ms);
            ctx.stats.resumes_refused += u64::from(token.is_none());
            token
        });
        let place = |position: &roomcast_protocol::RoomPosition<'_>| {
            let place = Place {
                since: position.since.as_ref().and_then(since),
                first_seq: position.first_seq.unwrap_or(0),
            };
            (Box::from(&*position.room_id), place)
        };
        let greeting = Greeting {
            token,
            admission,
            positions: hello.positions.iter().map(place).collect(),
            inbox: hello.inbox.as_ref().and_then(since),
            first_direct_seq: hello.first_direct_seq.unwrap_or(0),
            request_id: envelope.request_id,
            first_turn: FIRST_TURN,
            origin: conn.origin,
            opened: conn.pooled.created,
        };
        let home = token.map_or(ctx.own, |token| {
            ctx.home_of(ctx.names.hash(token.client_id.as_str()))
        });
        if home == ctx.own {
            return self.greet(ctx, now, id, greeting);
        }
        // A session's rooms, inbox and connection are on one shard: so a takeover needs no agreement.
        conn.phase = Phase::Moving;
        self.moving
            .push((id, home.shard(), MovingConnection(Box::new(greeting))));
    }

    /// A connection whose session lives on another shard.
    pub(crate) fn next_moving<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
    ) -> Option<(ConnId, u16, MovingConnection)> {
        let moving = self.moving.pop()?;
        self.forget(ctx, moving.0);
        Some(moving)
    }

    /// A connection has come from another shard, for a session that lives here.
    pub(crate) fn arrive<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        encoding: Encoding,
        MovingConnection(greeting): MovingConnection,
    ) -> ConnId {
        let access = Access {
            origin: greeting.origin,
            ..Access::NONE
        };
        let id = self.open(ctx, now, encoding, access);
        if let Some(conn) = self.conn_mut(id) {
            conn.pooled.created = greeting.opened;
        }
        self.greet(ctx, now, id, *greeting);
        id
    }

    fn greet<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId, greeting: Greeting) {
        let found = match greeting.token {
            Some(token) if S::WAITS => {
                return self.ask_for_session(ctx, now, id, &token, greeting);
            }
            Some(token) => self.find_session(ctx, now, &token, &greeting),
            None => Found::Nothing,
        };
        self.begin_session(ctx, now, id, greeting, found);
    }

    /// A session begins on this connection, or goes on.
    pub(super) fn begin_session<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        greeting: Greeting,
        found: Found,
    ) {
        let Greeting {
            token,
            admission,
            positions,
            inbox,
            first_direct_seq,
            request_id,
            first_turn,
            ..
        } = greeting;
        if matches!(found, Found::Over) {
            let fault = Fault {
                request: Some(MessageType::Hello),
                request_id,
                ..Fault::new(ErrorCode::Unauthorized, TOKEN_ENDED)
            };
            self.fault(ctx, now, id, fault);
            return self.close_with(ctx, now, id, CloseCode::TokenExpired);
        }
        if matches!(found, Found::Late) {
            return self.close_with(ctx, now, id, CloseCode::Reconnect);
        }
        let incarnation = ctx.host.random();
        let fresh = SessionKey {
            incarnation,
            generation: NonZeroU32::MIN,
        };
        let keeps_name = !matches!(found, Found::Nothing);
        // A new client counts from 1, whatever the one before had sent.
        let first_direct_seq = if keeps_name { first_direct_seq } else { 0 };
        ctx.stats.resumes_refused +=
            u64::from(token.is_some() && !matches!(found, Found::Session(..)));
        // A session that is gone has begun again before this token was shown, which is of the life before.
        let mut of_before = false;
        let (mut session, resumed, before) = match found {
            // One that began with a `welcome` that was lost is still to be told of, before it has a room.
            Found::Session(session, before) => {
                let life = session.key.map(|key| key.incarnation);
                let shown = token.map(|token| token.key);
                of_before = shown.is_some_and(|it| life != Some(it.incarnation));
                let is_behind = shown.is_none_or(|it| it.generation.get() >= session.first);
                // Whoever shows a newer token than it began with is not who began it.
                let known = match is_behind {
                    true => !of_before,
                    false => !session.memberships.is_empty(),
                };
                (session, known, Some(before))
            }
            Found::Gone | Found::Nothing | Found::Over | Found::Late => {
                (Session::default(), false, None)
            }
        };
        if let Some(token) = token.filter(|_| keeps_name) {
            self.rename(ctx, id, token.client_id);
        }
        let known_user = !session.user_id().is_empty();
        let known_name = session.identity().map(|it| it.name.clone());
        // Who shows no token goes on with the session's own.
        if admission.identity().is_some() || !session.admission.is_inside() {
            session.admission = admission;
        }
        let out = match (before, token) {
            (Some((conn, encoding)), Some(token)) => {
                let before = (token.client_id, conn, encoding);
                self.leave_forbidden(ctx, now, &mut session, before)
            }
            _ => Vec::new(),
        };
        if let (Some(key), Some(token), Some(direct)) =
            (session.key, token, &mut session.direct_messages)
            && key == token.key
        {
            direct.sent.was_heard(token.key.generation.get());
        }
        let key = match (session.key, token.filter(|_| keeps_name)) {
            // Whoever shows the token before this one did not get the `welcome` with it: it is told again.
            (Some(key), Some(token)) if !of_before && token.key.generation < key.generation => key,
            // A session that is gone begins a new life behind its token, whose `welcome` may be lost too: then that token
            // is shown again. No token and no position of an earlier life is one of this.
            (key, Some(token)) => SessionKey {
                generation: token.key.generation.saturating_add(1),
                ..key.unwrap_or(fresh)
            },
            (_, None) => fresh,
        };
        if session.key.is_none() || of_before {
            session.first = key.generation.get();
        }
        // In a store its name is known by its record, which ends with its connection where there is no grace.
        session.key = (ctx.settings.session_grace > 0 || S::WAITS).then_some(key);
        let Some(conn) = self.conn_mut(id) else {
            return;
        };
        conn.session = session;
        let client_id = conn.pooled.client_id;
        if before.is_none() && ctx.settings.facts.sessions {
            tell_session(ctx, now, client_id, &conn.session, true);
        }
        if S::WAITS {
            self.keep(ctx, now, id, before.is_none().then_some(first_turn));
        }
        if !known_user && let Some(conn) = self.conn(id) {
            let user_id = Box::<str>::from(conn.session.user_id());
            let keyed = conn.session.key.is_some();
            self.user_session(ctx, now, &user_id, (client_id, keyed), true);
        }
        if !self.conn(id).is_some_and(Conn::is_served) {
            return;
        }
        ctx.stats.resumed += u64::from(resumed);
        self.welcome(ctx, now, id, (resumed, inbox, first_direct_seq, request_id));
        for room in out {
            self.tell_out(ctx, now, id, &room);
        }
        self.resume_rooms(ctx, now, id, &positions);
        // Behind that, so that the rooms know the connection that says so.
        let name = self.conn(id).and_then(|conn| conn.session.identity());
        if before.is_some() && name.map(|it| &it.name) != known_name.as_ref() {
            self.renew_nickname(ctx, now, id);
        }
        self.schedule(ctx, now, id);
    }

    /// Looks for the session of a good token, and takes it from its connection or from where it waits.
    pub(super) fn find_session<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        token: &ResumeToken,
        greeting: &Greeting,
    ) -> Found {
        let shown = &greeting.admission;
        let client = token.client_id;
        let hash = ctx.names.hash(client.as_str());
        let live = self.live(hash, client);
        let known = match live {
            Some(id) => self
                .conn(id)
                .map(|conn| (&conn.session, (conn.id, conn.encoding), conn.pooled.created)),
            None => self
                .parking
                .get(hash, client)
                .map(|it| (&it.session, (it.conn, it.encoding), it.opened)),
        };
        let Some((session, before, opened)) = known else {
            // Its name is still its user's alone: messages to it, and what it has said, are under that name.
            let user_id = shown.identity().map_or("", |it| &*it.user_id);
            let same_user = token.user == UserMark::of(&ctx.settings.session_key, user_id)
                || mutated!("name_goes_to_another_user");
            return if same_user {
                Found::Gone
            } else {
                Found::Nothing
            };
        };
        let key_of = (session.key, session.first, &session.admission);
        match judge(now, key_of, token, shown) {
            Judged::Fits if is_late(session.key, token, greeting.opened < opened) => {
                return Found::Late;
            }
            Judged::Fits => {}
            Judged::Over => return Found::Over,
            Judged::Nothing => return Found::Nothing,
        }
        let session = match live {
            Some(id) => self.take_over(ctx, now, id, token),
            None => self.parking.take(hash, client).map(|it| it.session),
        };
        session.map_or(Found::Gone, |session| Found::Session(session, before))
    }

    /// Takes the session from a connection that still looks alive, and closes that.
    fn take_over<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        token: &ResumeToken,
    ) -> Option<Session> {
        let conn = self.conn_mut(id)?;
        let mut session = std::mem::take(&mut conn.session);
        let is_newest = session.key.is_some_and(|key| key == token.key);
        for membership in &mut session.memberships {
            if membership.stop_events()
                && let Some(room) = self.rooms.get_mut(membership.room)
            {
                room.remove_receiver(id);
            }
        }
        self.end_leaves(&mut session);
        ctx.stats.taken_over += 1;
        self.close_with(ctx, now, id, taken_code(is_newest));
        Some(session)
    }

    /// Gives a connection the name of the session that it has come back to.
    fn rename<H: Host>(&mut self, ctx: &mut Context<H>, id: ConnId, client_id: ClientId) {
        let hash = ctx.names.hash(client_id.as_str());
        let Edge { conns, pool, .. } = self;
        let Some(conn) = conns.get_mut(id) else {
            return;
        };
        pool.remove(id.slot(), conn.pooled.hash);
        (conn.pooled.client_id, conn.pooled.hash) = (client_id, hash);
        pool.put(id.slot(), hash, |slot| {
            conns.at(slot).map_or(0, |conn| conn.pooled.hash)
        });
    }

    fn welcome<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        (resumed, since, first_direct_seq, request_id): (bool, Option<Since>, u64, u32),
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let (encoding, client_id) = (conn.encoding, conn.pooled.client_id);
        let mut repeats = first_direct_seq > 1;
        if repeats || conn.session.direct_messages.is_some() {
            repeats = conn.session.direct_messages().sent.enter(first_direct_seq);
        }
        let direct = conn.session.direct_messages.as_ref();
        let inbox = direct.and_then(|it| it.inbox.as_ref());
        let mut place = inbox.map(|inbox| (inbox.epoch, inbox.position(since)));
        if S::WAITS {
            place = self.inbox_at(id, since);
        }
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let position = place.as_ref().map(|(epoch, (offset, _))| LogPosition {
            epoch: epoch.as_str().into(),
            offset: *offset,
        });
        let settings = &ctx.settings;
        let key = conn.session.key.filter(|_| settings.session_grace > 0);
        let resume_token = key.map(|key| {
            let lifetime = i64::try_from(settings.token_lifetime).unwrap_or(i64::MAX);
            let token = ResumeToken {
                client_id,
                key,
                user: UserMark::of(&settings.session_key, conn.session.user_id()),
                expires_at: match lifetime {
                    0 => 0,
                    lifetime => now.unix_ms.saturating_add(lifetime),
                },
            };
            token.seal(&settings.session_key)
        });
        let welcome = Welcome {
            client_id: client_id.as_str(),
            resume_token: resume_token.as_deref().unwrap_or(""),
            resumed,
            ping_interval_ms: settings.ping_interval,
            limits: WelcomeLimits {
                max_message: settings.max_message as u64,
                max_rooms: settings.max_rooms,
                messages_per_second: settings.messages_per_second,
                burst: settings.burst,
                max_presence: settings.message.max_presence as u64,
                max_name: settings.message.max_name as u32,
                max_unanswered: UNANSWERED as u32,
            },
            server_time: now.unix_ms,
            version: VERSION,
            seq_acked: true,
            grace_ms: settings.session_grace,
            inbox: position.as_ref(),
            // Where there is no inbox, what came after a position that the client has is lost.
            inbox_recovered: place.map_or(since.is_none(), |(_, (_, recovered))| recovered),
            user_id: conn.session.user_id(),
            token_expires_at: conn.session.identity().map_or(0, |it| it.expires_at),
            direct_repeats_possible: repeats,
        };
        let message = Outgoing {
            timestamp: now.unix_ms,
            request_id,
            body: Body::Welcome(&welcome),
            ..Outgoing::default()
        };
        let answer = ctx.single(encoding, now.micros, &message);
        let missed = place.map(|(_, (offset, _))| offset);
        self.push_control(ctx, now, id, answer);
        if S::WAITS {
            self.give_inbox(ctx, now, id, missed.unwrap_or(0));
        } else if let Some(after) = missed {
            self.push_inbox(ctx, now, id, after);
        }
    }

    /// Asks the homes of the session's rooms for what was missed there.
    fn resume_rooms<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        positions: &[(Box<str>, Place)],
    ) {
        let Edge { conns, rooms, .. } = self;
        let Some(conn) = conns.get_mut(id) else {
            return;
        };
        let (encoding, client_id) = (conn.encoding, conn.pooled.client_id);
        let turn = match mutated!("resume_names_no_turn") {
            true => 0,
            false => self.keeper.turn(client_id),
        };
        let mut asked: smallvec::SmallVec<[_; 4]> = smallvec::SmallVec::new();
        for membership in &mut conn.session.memberships {
            let Some(room) = rooms.get(membership.room) else {
                continue;
            };
            if !membership.stay.is_staying() {
                let leave = membership.leave_again(client_id, turn);
                asked.push((room.reference(), membership.player, leave));
                continue;
            }
            let place = positions.iter().find(|(name, _)| **name == *room.name);
            let mut place = place.map_or_else(Place::default, |(_, place)| *place);
            place.since = membership.since(place.since);
            membership.come_back();
            let resume = Resume {
                client_id,
                edge_room: room.id,
                place,
                by_edge: false,
                turn,
            };
            let resume = OpKind::Resume(Box::new(resume));
            asked.push((room.reference(), membership.player, resume));
        }
        for (room, player, resume) in asked {
            self.send_op(ctx, now, (id, encoding), room, player, resume);
        }
    }
}
