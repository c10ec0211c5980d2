//! The connections of this shard: their messages in, their lanes out, their timers.

mod admission;
mod backend;
mod conn;
mod copied;
mod deliver;
mod direct;
mod ending;
mod fan_out;
mod heartbeat;
mod hello;
mod homes;
mod identity;
mod inbox;
mod keeper;
mod leaving;
mod lifecycle;
mod looking;
mod losing;
mod mail;
mod mailbox;
mod membership;
mod news;
mod orphans;
mod posting;
mod receive;
mod requests;
mod rights;
mod rooms;
mod saving;
mod sent;
mod session;
mod state;
mod taking;
mod traced;
mod user_set;
mod users;
mod write;

use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use roomcast_protocol::{CloseCode, ErrorCode, mutated};

use crate::batcher::Batcher;
use crate::chunk::{Chunk, ChunkBuilder, ChunkTable};
use crate::context::{Context, Fault};
use crate::direct::CountedBody;
use crate::host::{Control, Encoding, Host, Notice};
use crate::id::{ClientId, ConnId, EdgeRoomId};
use crate::identity::Access;
use crate::lane::{Lane, LaneArena, Lanes, Piece};
use crate::pool::{ConnectionPool, PoolLimits, Pooled};
use crate::rate::{Quota, Rate};
use crate::settings::Settings;
use crate::store::Store;
use crate::table::Table;
use crate::time::{Now, micros};
use crate::wheel::Wheel;
use admission::Admission;
use conn::{Conn, Phase};
use fan_out::FanOut;
use keeper::Keeper;
pub(crate) use lifecycle::AfterClose;
pub(crate) use looking::Lagging;
use rooms::EdgeRooms;
use session::{Parking, Session};
use users::Users;

pub use hello::MovingConnection;
pub use receive::Received;
pub use write::Written;

/// Granularity of the timer wheel in microseconds, at most.
const COARSEST_TICK: u64 = 100_000;
/// Room that the largest answer to one message takes in the control lane, in bytes.
const LARGEST_ANSWER: usize = 1_536;
/// Room that the error takes with which a room's home may answer an operation, in bytes.
const LATER_ANSWER: usize = 256;

pub(crate) struct Edge<S> {
    conns: Table<Conn>,
    rooms: EdgeRooms,
    /// Homes of rooms are gone, and those who are in them have yet to go on.
    lost_homes: bool,
    /// Microseconds before which no further client is asked to come back.
    come_back_at: u64,
    pool: ConnectionPool,
    pool_limits: PoolLimits,
    wheel: Wheel,
    table: ChunkTable,
    arena: LaneArena,
    pub(crate) batcher: Batcher,
    closing: Vec<ConnId>,
    readable: Vec<ConnId>,
    quotas: Quotas,
    /// Entries of the wheel that have fired.
    fired: Vec<u32>,
    /// Sessions without a connection.
    parking: Parking,
    /// Users at home here.
    users: Users,
    /// Connections whose session lives on another shard, with that.
    moving: Vec<(ConnId, u16, MovingConnection)>,
    /// Numbered direct messages to answer when the turn ends.
    direct_acks: Vec<(ConnId, u64, u64)>,
    /// Messages to users at home here, on their way to their sessions.
    fan_out: FanOut,
    /// The last message that an inbox here was given: the next copy of it is counted with it.
    last_direct: Weak<CountedBody>,
    /// What the store has of the sessions. Empty where none waits.
    keeper: Keeper,
    store: PhantomData<fn() -> S>,
}

#[derive(Clone, Copy, Debug)]
struct Quotas {
    messages: Quota,
    offences: Quota,
}

impl<S: Store> Edge<S> {
    pub(crate) fn new(settings: &Settings) -> Edge<S> {
        let shortest = [
            settings.ping_interval,
            settings.pong_timeout,
            settings.write_timeout,
            settings.max_idle,
            settings.token_timeout,
        ]
        .into_iter()
        .filter(|time| *time > 0)
        .min();
        let tick = micros(shortest.unwrap_or(1_000)) / 10;
        let second = 1_000_000;
        Edge {
            conns: Table::default(),
            rooms: EdgeRooms::default(),
            lost_homes: false,
            come_back_at: 0,
            pool: ConnectionPool::default(),
            pool_limits: PoolLimits::new(settings.max_idle, settings.max_lifetime),
            wheel: Wheel::new(tick.clamp(1_000, COARSEST_TICK)),
            table: ChunkTable::default(),
            arena: LaneArena::default(),
            batcher: Batcher::default(),
            closing: Vec::new(),
            readable: Vec::new(),
            quotas: Quotas {
                messages: Quota::new(settings.messages_per_second, second, settings.burst),
                offences: Quota::new(settings.max_offences, 10 * second, settings.max_offences),
            },
            fired: Vec::new(),
            parking: Parking::default(),
            users: Users::default(),
            moving: Vec::new(),
            direct_acks: Vec::new(),
            fan_out: FanOut::default(),
            last_direct: Weak::new(),
            keeper: Keeper::default(),
            store: PhantomData,
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.conns.len()
    }

    pub(crate) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Looks how much waits to be written: once in each turn, before it is.
    pub(crate) fn note_waiting(&mut self) {
        self.arena.note();
        self.table.note();
    }

    /// Frees what was not needed for pieces and chunks since the last time.
    pub(crate) fn trim_waiting(&mut self) {
        self.arena.trim();
        self.table.trim();
    }

    /// Pieces that wait in all lanes, and chunks that are held for them.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.arena.waiting(), self.table.len())
    }

    pub(crate) fn open<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        encoding: Encoding,
        access: Access,
    ) -> ConnId {
        let (client_id, hash) = new_client_id(ctx);
        let created = now.micros;
        let last_used = created;
        let ping_after = first_ping(ctx);
        let id = self.conns.insert(|id| Conn {
            id,
            encoding,
            phase: Phase::Open,
            queued: false,
            blocked: false,
            pinged: false,
            excluded: false,
            pooled: Pooled {
                client_id,
                hash,
                created,
                last_used,
            },
            last_seen: now.micros,
            ping_after,
            progress_at: now.micros,
            messages: Rate::default(),
            mistakes: None,
            window: 0,
            operations: 0,
            asks_of_left: false,
            origin: access.origin,
            session: Session {
                admission: Admission::outside(access),
                ..Session::default()
            },
            lanes: Lanes::default(),
        });
        let conns = &self.conns;
        self.pool.put(id.slot(), hash, |slot| {
            conns.at(slot).map_or(0, |conn| conn.pooled.hash)
        });
        self.schedule(ctx, now, id);
        id
    }

    /// The socket is gone.
    pub(crate) fn closed<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        self.release_session(ctx, now, id, AfterClose::park(ctx.settings.session_grace));
        if S::WAITS {
            self.end_hold(id);
            self.keeper.mail_waits(id);
        }
        self.forget(ctx, id);
    }

    /// Frees the connection's slot.
    fn forget<H: Host>(&mut self, ctx: &mut Context<H>, id: ConnId) {
        let Some(mut conn) = self.conns.remove(id) else {
            return;
        };
        conn.lanes
            .clear(&mut self.arena, &mut self.table, &mut ctx.pool);
        self.pool.remove(id.slot(), conn.pooled.hash);
        self.wheel.remove(id.slot());
    }

    /// The client has closed: its close frame is answered with the same code (RFC 6455 section 5.5.1). Code 1000 ends
    /// its session, and 1001, which a browser sends when a page closes, soon.
    pub(crate) fn closed_by_peer<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        code: u16,
    ) {
        let settings = &ctx.settings;
        let after = match CloseCode::from_code(code) {
            Some(CloseCode::Normal) => AfterClose::End,
            Some(CloseCode::GoingAway) if !mutated!("goodbye_is_forgotten") => {
                AfterClose::park(settings.goodbye_grace.min(settings.session_grace))
            }
            _ => AfterClose::park(settings.session_grace),
        };
        self.close(ctx, now, id, code, "", after);
    }

    /// Queues a close frame; what waits besides is dropped, but answers. Of what is not saved, nothing is told.
    pub(crate) fn close<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        code: u16,
        reason: &str,
        after: AfterClose,
    ) {
        self.close_after(ctx, now, id, (code, reason), after, None);
    }

    /// The same; before the close frame goes this one.
    fn close_after<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        (code, reason): (u16, &str),
        after: AfterClose,
        last: Option<Arc<Chunk>>,
    ) {
        if S::WAITS {
            self.untell(ctx, id);
        }
        let Edge {
            conns,
            arena,
            table,
            ..
        } = self;
        let conn = conns.get_mut(id);
        let Some(conn) = conn.filter(|conn| conn.phase != Phase::Closing) else {
            return;
        };
        ctx.stats.close(code);
        conn.lanes.drop_unsent(arena, table, &mut ctx.pool);
        if let Some(last) = last {
            self.push_control(ctx, now, id, last);
        }
        let frame = close_frame(ctx, now, code, reason);
        self.push_control(ctx, now, id, frame);
        self.closing(ctx, now, id, after);
    }

    /// The close frame is queued: nothing more is, so it is the last.
    fn closing<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId, after: AfterClose) {
        let Some(conn) = self
            .conn_mut(id)
            .filter(|conn| conn.phase != Phase::Closing)
        else {
            return;
        };
        conn.phase = Phase::Closing;
        self.release_session(ctx, now, id, after);
        self.closing.push(id);
        self.wheel.set(
            id.slot(),
            now.micros
                .saturating_add(micros(ctx.settings.write_timeout)),
        );
    }

    /// With one of our codes: its name is the reason, and says when to come back.
    pub(crate) fn close_with<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        code: CloseCode,
    ) {
        self.close_with_last(ctx, now, id, code, None);
    }

    /// The same; before the close frame goes this one.
    fn close_with_last<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        code: CloseCode,
        last: Option<Arc<Chunk>>,
    ) {
        let spread = 1_000;
        let retry = if code.comes_back() {
            1 + ctx.host.random() % spread
        } else {
            0
        };
        let after = AfterClose::of(code, &ctx.settings);
        let reason = code.reason(retry);
        self.close_after(ctx, now, id, (code.code(), &reason), after, last);
    }

    pub(crate) fn next_closing(&mut self) -> Option<ConnId> {
        self.closing.pop()
    }

    pub(crate) fn next_readable(&mut self) -> Option<ConnId> {
        self.readable.pop()
    }

    /// Whether the connection's next message has room: for its answer, and in its publish window.
    pub(crate) fn may_read<H>(&self, ctx: &Context<H>, id: ConnId) -> bool {
        self.conn(id)
            .is_some_and(|conn| may_read(conn, &ctx.settings))
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.conns.numbers().collect()
    }

    fn conn(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(id)
    }

    fn conn_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(id)
    }

    /// Queues an answer: it overtakes events and state.
    fn push_control<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        frame: Arc<Chunk>,
    ) {
        self.push_whole(ctx, now, id, Lane::Control, frame, EdgeRoomId::NONE, 0);
    }

    /// Queues a chunk that is one connection's alone.
    #[expect(clippy::too_many_arguments, reason = "a piece's parts")]
    fn push_whole<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        lane: Lane,
        chunk: Arc<Chunk>,
        room: EdgeRoomId,
        base: u64,
    ) {
        let Edge {
            conns,
            arena,
            table,
            batcher,
            ..
        } = self;
        let conn = conns.get_mut(id);
        let Some(conn) = conn.filter(|conn| conn.phase != Phase::Closing) else {
            return ctx.pool.give_back(chunk);
        };
        let (end, charge) = (chunk.bytes().len() as u32, chunk.held() as u32);
        let chunk = table.insert(chunk);
        let before = conn.lanes.bytes();
        let readable = lane == Lane::Control && may_read(conn, &ctx.settings);
        conn.lanes
            .push(arena, Piece::new((chunk, end, charge), lane, room, base));
        ctx.stats.reads_paused += u64::from(readable && !may_read(conn, &ctx.settings));
        mark_dirty(conn, batcher, now, before);
        if lane == Lane::Event && conn.blocked && over_lane(conn, &ctx.settings) {
            self.slow_reader(ctx, now, id);
        }
    }

    /// Answers with an `error`; too many of them end the connection.
    fn fault<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId, fault: Fault<'_>) {
        let Some(encoding) = self.conn(id).map(|conn| conn.encoding) else {
            return;
        };
        let error = ctx.error(encoding, now.micros, now.unix_ms, fault);
        self.push_control(ctx, now, id, error);
        self.offence(ctx, now, id, fault.code);
    }

    fn offence<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId, code: ErrorCode) {
        let (quota, patience) = (self.quotas.offences, self.quotas.messages);
        let Some(conn) = self.conn_mut(id) else {
            return;
        };
        // As many messages may be refused by the rate limit as may be sent: after that somebody
        // does not heed `retry_after_ms`.
        let harmless = match code {
            ErrorCode::RateLimited => {
                let mistakes = conn.mistakes.get_or_insert_default();
                mistakes.refusals.take(now.micros, patience).is_ok()
            }
            code => !code.is_offence(),
        };
        if harmless {
            return;
        }
        let mistakes = conn.mistakes.get_or_insert_default();
        if mistakes.offences.take(now.micros, quota).is_err() {
            ctx.host.notice(Notice::TooManyErrors { code });
            let close = match code {
                ErrorCode::WrongFormat => CloseCode::UnsupportedData,
                _ => CloseCode::TooManyErrors,
            };
            self.close_with(ctx, now, id, close);
        }
    }

    /// The event lane is full. What a log has is dropped from it, to be told again when the socket drains; where that
    /// does not help, or the client never said `hello`, the connection is closed.
    fn slow_reader<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        // Whose session is being saved has no chance to read. What no log has are answers to its own requests.
        if S::WAITS && self.keeper.is_held(id) {
            return self.drop_events(ctx, now, id);
        }
        let waiting = self.conn(id).map_or(0, |conn| conn.lanes.event_bytes());
        ctx.host.notice(Notice::SlowReader { waiting });
        if self.conn(id).is_some_and(|conn| conn.session.key.is_some()) {
            self.drop_events(ctx, now, id);
            let full = |conn: &Conn| over_lane(conn, &ctx.settings);
            if !self.conn(id).is_some_and(full) {
                return;
            }
        }
        ctx.stats.slow_readers += 1;
        self.close_with(ctx, now, id, CloseCode::SlowReader);
    }
}

fn close_frame<H: Host>(ctx: &mut Context<H>, now: Now, code: u16, reason: &str) -> Arc<Chunk> {
    let mut builder = ChunkBuilder::new(&mut ctx.pool, 0, now.micros);
    let out = builder.reserve(&mut ctx.pool, 128);
    ctx.host.control(Control::Close { code, reason }, out);
    builder.finish(&mut ctx.pool)
}

fn mark_dirty(conn: &mut Conn, batcher: &mut Batcher, now: Now, before: usize) {
    if conn.blocked {
        return;
    }
    if !conn.queued {
        conn.queued = true;
        batcher.add(conn.id, now.micros);
    }
    batcher.grew(conn.id, before, conn.lanes.bytes());
}

/// What one turn makes is written at its end: only what a socket didn't take then counts.
fn over_lane(conn: &Conn, settings: &Settings) -> bool {
    let bytes = conn.lanes.event_bytes();
    settings.event_lane > 0 && bytes > settings.event_lane && !mutated!("lane_has_no_bound")
}

/// State has no queue, but what rooms and senders make in one turn adds up: beyond this, a newer one takes its place.
fn over_state(bytes: usize, settings: &Settings) -> bool {
    settings.event_lane > 0 && bytes > settings.event_lane
}

fn may_read(conn: &Conn, settings: &Settings) -> bool {
    let answers = conn.lanes.control_bytes() + conn.operations as usize * LATER_ANSWER;
    conn.phase == Phase::Open
        && (conn.window as usize) < settings.publish_window.max(1)
        && answers + LARGEST_ANSWER <= settings.control_lane.max(LARGEST_ANSWER)
}

/// Drawn until this shard is its home, so that whoever has the id knows where to find the client.
fn new_client_id<H: Host>(ctx: &mut Context<H>) -> (ClientId, u64) {
    loop {
        let id = ClientId::from_random([ctx.host.random(), ctx.host.random()]);
        let hash = ctx.names.hash(id.as_str());
        if ctx.home_of(hash) == ctx.own {
            return (id, hash);
        }
    }
}

/// Connections made in one second must not beat in one second: the first ping comes after half an
/// interval to a whole one.
fn first_ping<H: Host>(ctx: &mut Context<H>) -> u32 {
    let interval = ctx.settings.ping_interval.max(2);
    milliseconds(interval - ctx.host.random() % (interval / 2))
}

/// At most 49 days.
fn milliseconds(of: u64) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
