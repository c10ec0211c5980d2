//! Putting a user out of a room.

use roomcast_protocol::ErrorCode;

use crate::backend::Reply;
use crate::context::{Context, Fault};
use crate::home::room::Room;
use crate::home::rules::removed_fault;
use crate::host::Host;
use crate::letter::{Leave, OpHead, ToEdge};
use crate::logs::Logs;
use crate::member::Seat;
use crate::player::PlayerNum;
use crate::time::Now;

impl Room {
    pub(super) fn kick<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        user: &str,
    ) -> Reply {
        Reply::Done(self.put_out(ctx, logs, now, user, &removed_fault()))
    }

    /// All seats of a user end. Returns how many there were.
    pub(super) fn put_out<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        user: &str,
        fault: &Fault<'_>,
    ) -> u32 {
        let of_user = self.members.iter().filter(|(_, it)| it.player_id() == user);
        let seats = of_user.flat_map(|(player, it)| it.seats.iter().map(|seat| (*player, *seat)));
        let seats: Vec<_> = seats.collect();
        // Whose connection is about to be lost hears it when it comes back.
        for (_, seat) in &seats {
            self.note_put_out(ctx, now, seat.client_id, fault.code == ErrorCode::Banned);
        }
        self.end_seats(ctx, logs, now, seats, fault)
    }

    /// All seats of a player end: logic says so.
    pub(super) fn put_out_player<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        player: PlayerNum,
        fault: &Fault<'_>,
    ) {
        let seats = self.members.get(&player).map(|it| it.seats.clone());
        let seats = seats.into_iter().flatten().map(|seat| (player, seat));
        let seats: Vec<_> = seats.collect();
        for (_, seat) in seats.iter().filter(|(_, seat)| !seat.connected) {
            self.note_put_out(ctx, now, seat.client_id, false);
        }
        self.end_seats(ctx, logs, now, seats, fault);
    }

    fn end_seats<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        seats: Vec<(PlayerNum, Seat)>,
        fault: &Fault<'_>,
    ) -> u32 {
        if seats.is_empty() {
            return 0;
        }
        // Who is out is owed no answer any more, and what was said before goes before it.
        self.flush_acks(ctx, now);
        self.seal(ctx);
        for (player, seat) in &seats {
            let (edge_room, conn) = (self.edge_room(seat.conn.shard), seat.conn);
            let fault = Fault {
                room: &self.name,
                ..*fault
            };
            let farewell = Some(ctx.error(seat.encoding, now.micros, now.unix_ms, fault));
            let left = ToEdge::Left {
                conn: conn.conn,
                edge_room,
                asked: false,
                farewell,
            };
            ctx.send_edge(conn.shard, left);
            let op = OpHead {
                conn,
                encoding: seat.encoding,
                player: *player,
                ..self.own_head(now)
            };
            let leave = Leave {
                gone: true,
                edge_room,
                client_id: seat.client_id,
                turn: 0,
            };
            self.depart(ctx, logs, now, op, leave, (*player, seat.client_id));
        }
        u32::try_from(seats.len()).unwrap_or(u32::MAX)
    }
}
