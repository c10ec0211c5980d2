//! What a connection's silence means: pings, timeouts, and the pool's limits, all on one wheel.

use roomcast_protocol::CloseCode;

use crate::chunk::ChunkBuilder;
use crate::context::Context;
use crate::edge::conn::{Conn, Phase};
use crate::edge::membership::Membership;
use crate::edge::session::Session;
use crate::edge::{AfterClose, Edge, close_frame, may_read, milliseconds};
use crate::host::{Control, Host};
use crate::id::{ConnId, EdgeRoomId};
use crate::lane::Lane;
use crate::pool::Expiry;
use crate::settings::Settings;
use crate::store::Store;
use crate::time::{Now, micros};

/// Microseconds between two looks whether a connection that waits for its session to be saved can be pinged.
const HELD_LOOK: u64 = 50_000;

impl<S: Store> Edge<S> {
    pub(crate) fn run_timers<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        let mut fired = std::mem::take(&mut self.fired);
        self.end_due(ctx, now);
        self.wheel.run(now.micros, &mut fired);
        for slot in fired.drain(..) {
            if let Some(id) = self.conns.at(slot).map(|conn| conn.id) {
                self.look(ctx, now, id);
            }
        }
        self.fired = fired;
        if S::WAITS {
            self.run_store_timers(ctx, now);
        }
    }

    pub(crate) fn next_wake(&self) -> Option<u64> {
        let wakes = [
            self.wheel.next_wake(),
            self.batcher.next_wake(),
            self.parking.next_end(),
        ];
        let wake = wakes.into_iter().flatten().min();
        if S::WAITS {
            return wake.into_iter().chain(self.keeper.next_wake()).min();
        }
        wake
    }

    /// Does what is due for a connection, and sets the time of the next look.
    fn look<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        if S::WAITS {
            self.renew_record(ctx, now, id);
        }
        let pool_limits = self.pool_limits;
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if conn.phase == Phase::Closing {
            // It had its time to take the close frame.
            return self.closing.push(id);
        }
        let is_over = |it: &Membership| it.rights.is_over(now.unix_ms);
        if conn.session.memberships.iter().any(is_over) {
            self.renew_rights(ctx, now, id);
        }
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let settings = &ctx.settings;
        let write_end = conn
            .progress_at
            .saturating_add(micros(settings.write_timeout));
        if conn.blocked && settings.write_timeout > 0 && now.micros >= write_end {
            ctx.stats.write_timeouts += 1;
            return self.close_with(ctx, now, id, CloseCode::WriteTimeout);
        }
        if conn.session.admission.is_over(now.unix_ms) {
            return self.close_with(ctx, now, id, CloseCode::TokenExpired);
        }
        if now.micros >= token_deadline(conn, settings) {
            ctx.stats.pool_idle += 1;
            return self.close_with(ctx, now, id, CloseCode::Idle);
        }
        let behind_end = behind_end(&conn.session, settings);
        if behind_end.is_some_and(|end| now.micros >= end) {
            ctx.stats.slow_readers += 1;
            return self.close_with(ctx, now, id, CloseCode::SlowReader);
        }
        // Time in which we don't read is not held against it.
        if !may_read(conn, settings) {
            conn.last_seen = now.micros;
        }
        let silence_end = conn.last_seen.saturating_add(micros(settings.pong_timeout));
        if settings.pong_timeout > 0 && now.micros >= silence_end {
            ctx.stats.heartbeat_timeouts += 1;
            return self.close_with(ctx, now, id, CloseCode::HeartbeatTimeout);
        }
        match pool_limits.check(&conn.pooled, conn.is_in_use(), now.micros) {
            Ok(_) => {}
            Err(Expiry::Idle) => {
                ctx.stats.pool_idle += 1;
                return self.close_with(ctx, now, id, CloseCode::Idle);
            }
            Err(Expiry::Lifetime) => {
                ctx.stats.pool_lifetime += 1;
                return self.close_with(ctx, now, id, CloseCode::MaxLifetime);
            }
        }
        let ping_at = conn.last_seen.saturating_add(conn.ping_after());
        // Again and again while it is silent: a client without a WebSocket can't answer, and its proxies want to see bytes.
        if settings.ping_interval > 0 && now.micros >= ping_at && !conn.blocked {
            self.send_ping(ctx, now, id);
        }
        self.schedule(ctx, now, id);
    }

    fn send_ping<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        // Up to a thirty-second less, so that those who answer together drift apart.
        let interval = ctx.settings.ping_interval.max(1);
        let ping_after = milliseconds(interval - ctx.host.random() % (interval / 32 + 1));
        let Some(conn) = self.conn_mut(id) else {
            return;
        };
        conn.pinged = true;
        conn.ping_after = ping_after;
        ctx.stats.pings += 1;
        let mut builder = ChunkBuilder::new(&mut ctx.pool, 0, now.micros);
        let out = builder.reserve(&mut ctx.pool, 16);
        ctx.host.control(Control::Ping, out);
        let frame = builder.finish(&mut ctx.pool);
        self.push_control(ctx, now, id, frame);
    }

    /// Sets the wheel for the connection's next look: whatever is due first.
    pub(super) fn schedule<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let settings = &ctx.settings;
        let mut due = self
            .pool_limits
            .check(&conn.pooled, conn.is_in_use(), now.micros)
            .unwrap_or(now.micros);
        if settings.pong_timeout > 0 {
            due = due.min(conn.last_seen.saturating_add(micros(settings.pong_timeout)));
        }
        // One that waits for its session to be saved is as good as blocked, and nobody says here when it is no more.
        let held = S::WAITS && self.keeper.is_held(id);
        if settings.ping_interval > 0 && !conn.pinged && (!conn.blocked || held) {
            let soonest = if held { HELD_LOOK } else { 1 };
            due = due.min(
                conn.last_seen
                    .saturating_add(conn.ping_after())
                    .max(now.micros + soonest),
            );
        }
        // The next ping, if there is no sign of life: that moves it.
        if settings.ping_interval > 0 && conn.pinged {
            due = due.min(now.micros.saturating_add(conn.ping_after()));
        }
        if conn.blocked && settings.write_timeout > 0 {
            due = due.min(
                conn.progress_at
                    .saturating_add(micros(settings.write_timeout)),
            );
        }
        due = due.min(token_deadline(conn, settings).max(now.micros + 1));
        let of_rooms = conn.session.memberships.iter();
        let ends = of_rooms
            .map(|it| it.rights.ends_at())
            .chain([conn.session.admission.ends_at()]);
        if let Some(ends_at) = ends.filter(|ends_at| *ends_at > 0).min() {
            let left = u64::try_from(ends_at.saturating_sub(now.unix_ms)).unwrap_or(0);
            // The wall clock may step: look again now and then.
            due = due.min(now.micros.saturating_add(micros(left.clamp(1, 60_000))));
        }
        if let Some(end) = behind_end(&conn.session, settings) {
            due = due.min(end.max(now.micros + 1));
        }
        // In a room, the pool has no say; when it leaves, the next look sees it.
        if due == u64::MAX && (settings.max_idle > 0 || settings.max_lifetime > 0) {
            due = now.micros.saturating_add(60_000_000);
        }
        if due != u64::MAX {
            self.wheel.set(id.slot(), due);
        }
    }

    /// Closes everybody, each once what waits for it is written.
    pub(crate) fn close_all<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, code: CloseCode) {
        for id in self.ids() {
            if S::WAITS && self.close_held(ctx, now, id, code) {
                continue;
            }
            let Edge {
                conns,
                arena,
                table,
                ..
            } = self;
            let conn = conns.get_mut(id);
            let Some(conn) = conn.filter(|conn| conn.phase != Phase::Closing) else {
                continue;
            };
            conn.lanes
                .drop_state(arena, |piece| table.release(piece.chunk, &mut ctx.pool));
            ctx.stats.close(code.code());
            let reason = code.reason(1 + ctx.host.random() % 1_000);
            let frame = close_frame(ctx, now, code.code(), &reason);
            self.push_whole(ctx, now, id, Lane::Event, frame, EdgeRoomId::NONE, 0);
            self.closing(ctx, now, id, AfterClose::of(code, &ctx.settings));
        }
    }
}

/// Microseconds at which a client that has not shown the token that it needs is no longer waited for.
fn token_deadline(conn: &Conn, settings: &Settings) -> u64 {
    if settings.token_timeout == 0 || !conn.session.admission.waits_for_token() {
        return u64::MAX;
    }
    let timeout = micros(settings.token_timeout);
    conn.pooled.created.saturating_add(timeout)
}

/// When a client that reads slowly has been behind for too long in one of its rooms.
fn behind_end(session: &Session, settings: &Settings) -> Option<u64> {
    if settings.behind_timeout == 0 {
        return None;
    }
    let since = session.slow_since()?;
    Some(since.saturating_add(micros(settings.behind_timeout)))
}
