//! What the log gives again: to those who come back, to those who are behind, and to those who ask for history.

use std::sync::Arc;

use roomcast_protocol::{
    Body, GameAction, History, HistoryRequest, Member, Messages, Outgoing, Payload, mutated,
};

use crate::backend::Reply;
use crate::chunk::{Chunk, ChunkBuilder};
use crate::context::Context;
use crate::home::backend::message;
use crate::home::refusals::{refuse_non_member, unread_log};
use crate::home::room::Room;
use crate::host::{Host, LogNews};
use crate::letter::{Joined, OpHead, ReadLog, Slice, ToEdge};
use crate::log::{Epoch, EventLog, Logged, Record, Since};
use crate::logs::Logs;
use crate::member::Seat;
use crate::time::Now;
use roomcast_protocol::{Limits, MessageType};

/// A slice ends after so many encoded bytes, or after half a lane: it has to fit one.
const SLICE: usize = 32 * 1024;
/// Events in one page of a room's history.
const PAGE: usize = 100;
/// Bytes of records after which a page takes no further event.
const PAGE_BYTES: usize = 24 * 1024;

impl Room {
    /// Whether the log still has all that came after a place.
    pub(super) fn reaches(&self, logs: &mut Logs, now: Now, since: &Since) -> bool {
        self.knows(since)
            && logs
                .events(now, self.log)
                .is_some_and(|log| log.reaches(since.offset) || mutated!("gap_is_not_told"))
    }

    /// The log, to tell somebody of it.
    fn log<'l, H: Host>(
        &self,
        ctx: &mut Context<H>,
        logs: &'l mut Logs,
        now: Now,
    ) -> Option<&'l EventLog> {
        let log = logs.events(now, self.log)?;
        let news = LogNews::Read(log);
        ctx.host.log_news(now, &self.name, &self.epoch, news);
        Some(log)
    }

    /// The next part of the log for one member: what came after `after`, up to `to`.
    pub(super) fn slice<H: Host>(
        &self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        seat: &Seat,
        born: u64,
        (after, to): (u64, u64),
    ) -> Slice {
        let mut slice = Slice {
            events: None,
            after,
            to: after,
            caught_up: after >= to,
        };
        if after >= to {
            return slice;
        }
        let Some(log) = self.log(ctx, logs, now) else {
            return slice;
        };
        let most = match ctx.settings.event_lane / 2 {
            0 => SLICE,
            half => half.min(SLICE),
        };
        let mut builder = ChunkBuilder::new(&mut ctx.pool, 0, born);
        let first = after + u64::from(mutated!("since_off_by_one"));
        log.after(first, |logged| {
            // The sender goes without what it asked not to get.
            let own = logged.record.silent && logged.record.client_id == seat.client_id.as_str();
            if !own {
                with_message(&self.name, &self.epoch, &logged, |message| {
                    let compression = &self.entry.kind.compression;
                    ctx.append(seat.encoding, compression, message, &mut builder);
                });
            }
            slice.to = logged.offset;
            slice.to < to && builder.len() < most
        });
        slice.caught_up = slice.to >= to;
        ctx.stats.recovered_slices += 1;
        let events = builder.finish(&mut ctx.pool);
        if events.bytes().is_empty() {
            ctx.pool.give_back(events);
        } else {
            slice.events = Some(events);
        }
        slice
    }

    /// A member that is behind asks for what comes next. Whoever asks waits for the answer: there always is one.
    pub(super) fn read_log<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &OpHead,
        read: ReadLog,
    ) -> ToEdge {
        let ReadLog { after, edge_room } = read;
        // What is made but not handed out goes to those who are up to date; it is in the log.
        self.seal(ctx);
        let player = self.player_of(op);
        let seat = player.and_then(|player| Some((player, self.members.get(&player)?)));
        let seat = seat.and_then(|(player, member)| Some((player, *member.seat(op.conn)?)));
        let Some((player, seat)) = seat else {
            return unread_log(op, read);
        };
        let place = Since {
            epoch: self.epoch,
            offset: after,
        };
        if self.reaches(logs, now, &place) {
            let slice = self.slice(ctx, logs, now, &seat, op.born, (after, self.offset));
            return ToEdge::LogSlice {
                conn: op.conn.conn,
                edge_room,
                slice: Some(slice),
            };
        }
        ctx.stats.log_overruns += 1;
        self.timestamp = self.timestamp.max(now.unix_ms);
        let fields = super::joined::JoinedFields {
            offset: self.offset,
            ..super::joined::JoinedFields::default()
        };
        let answer = self.joined_answer(ctx, seat.encoding, op.born, player, fields);
        let joined = Joined {
            conn: op.conn.conn,
            edge_room,
            room: self.id,
            player,
            epoch: self.epoch,
            version: self.syncer.version(),
            answer,
            slice: Slice {
                after: self.offset,
                to: self.offset,
                caught_up: true,
                events: None,
            },
            unasked: true,
            state: self.owe_state((op.conn, edge_room, op.born), player),
        };
        ToEdge::Joined(Box::new(joined))
    }

    /// Answers with a page of the log.
    pub(super) fn history<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &OpHead,
        request: HistoryRequest,
    ) {
        if self.player_of(op).is_none() {
            return refuse_non_member(ctx, now, op, MessageType::History);
        }
        ctx.stats.history_pages += 1;
        let empty = EventLog::default();
        let log = self.log(ctx, logs, now).unwrap_or(&empty);
        let page = Page::of(&self.name, &self.epoch, log, request, self.offset);
        let message = Outgoing {
            room_id: &self.name,
            timestamp: self.timestamp.max(now.unix_ms),
            request_id: op.request_id,
            body: Body::History(History {
                events: &page,
                next: page.next,
                epoch: self.epoch.as_str(),
            }),
            ..Outgoing::default()
        };
        let answer: Arc<Chunk> = ctx.single(op.encoding, op.born, &message);
        ctx.send_edge(
            op.conn.shard,
            ToEdge::Answer {
                conn: op.conn.conn,
                answer,
                offence: None,
                ordered: true,
            },
        );
    }
}

impl Room {
    /// The same for a backend.
    pub(super) fn history_for<H: Host>(
        &self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        request: HistoryRequest,
    ) -> Reply {
        ctx.stats.history_pages += 1;
        let empty = EventLog::default();
        let log = self.log(ctx, logs, now).unwrap_or(&empty);
        let page = Page::of(&self.name, &self.epoch, log, request, self.offset);
        message(&Outgoing {
            room_id: &self.name,
            timestamp: self.timestamp.max(now.unix_ms),
            body: Body::History(History {
                events: &page,
                next: page.next,
                epoch: self.epoch.as_str(),
            }),
            ..Outgoing::default()
        })
    }
}

/// The events of a log from one offset to another, in the order that was asked for.
struct Page<'a> {
    room: &'a str,
    epoch: &'a Epoch,
    log: &'a EventLog,
    /// The first event to tell; 0 where there is none.
    first: u64,
    forward: bool,
    count: usize,
    next: u64,
}

impl<'a> Page<'a> {
    fn of(
        room: &'a str,
        epoch: &'a Epoch,
        log: &'a EventLog,
        request: HistoryRequest,
        newest: u64,
    ) -> Page<'a> {
        let most = match request.limit {
            0 => PAGE,
            limit => (limit as usize).min(PAGE),
        };
        let forward = request.after.is_some();
        let mut page = Page {
            room,
            epoch,
            log,
            first: 0,
            forward,
            count: 0,
            next: 0,
        };
        let (mut bytes, mut last) = (0, 0);
        let mut count = |logged: Logged<'_>| {
            if page.count == 0 {
                page.first = logged.offset;
            }
            bytes += weight(&logged.record);
            page.count += 1;
            last = logged.offset;
            page.count < most && bytes < PAGE_BYTES
        };
        match request.after {
            Some(after) => log.after(after, |logged| logged.offset <= newest && count(logged)),
            None => {
                let before = match request.before {
                    0 => newest + 1,
                    before => before.min(newest + 1),
                };
                log.before(before, &mut count);
            }
        }
        let more = if forward {
            last < newest
        } else {
            last > log.first()
        };
        page.next = if more && page.count > 0 { last } else { 0 };
        page
    }
}

impl Messages for Page<'_> {
    fn for_each(&self, each: &mut dyn FnMut(&Outgoing<'_>)) {
        let mut left = self.count;
        let tell = |logged: Logged<'_>| {
            with_message(self.room, self.epoch, &logged, |message| each(message));
            left = left.saturating_sub(1);
            left > 0
        };
        match (self.first, self.forward) {
            (0, _) => {}
            (first, true) => self.log.after(first - 1, tell),
            (first, false) => self.log.before(first + 1, tell),
        }
    }
}

/// Bytes that an event takes in a page, roughly.
fn weight(record: &Record<'_>) -> usize {
    192 + record.user_id.len() + record.name.len() + record.payload.len()
}

/// An event of the log, as it was delivered.
pub(super) fn with_message(
    room: &str,
    epoch: &Epoch,
    logged: &Logged<'_>,
    tell: impl FnOnce(&Outgoing<'_>),
) {
    let Record {
        message_type,
        payload_kind,
        format,
        seq,
        name,
        payload,
        ..
    } = logged.record;
    let from = logged.record.sender();
    let told_payload = Payload {
        kind: payload_kind,
        data: payload,
    };
    let player_num = from.player_num;
    let player_id = if from.user_id.is_empty() {
        from.client_id
    } else {
        from.user_id
    };
    let action;
    let body = match message_type {
        MessageType::PlayerJoined => Body::PlayerJoined(Member {
            player_id,
            player_num,
            nickname: name,
            presence: std::str::from_utf8(payload).unwrap_or_default(),
            connected: true,
        }),
        MessageType::PlayerLeft => Body::PlayerLeft {
            player_id,
            player_num,
        },
        MessageType::Chat => Body::Chat(told_payload),
        MessageType::GameAction => match GameAction::parse(format, payload, &Limits::OFF) {
            Ok(parsed) => {
                action = parsed;
                Body::GameAction(&action)
            }
            // It was read before it was logged.
            Err(_) => return,
        },
        _ => Body::Event {
            name,
            payload: told_payload,
        },
    };
    tell(&Outgoing {
        from,
        room_id: room,
        timestamp: logged.timestamp,
        seq,
        offset: logged.offset,
        epoch: epoch.as_str(),
        body,
        ..Outgoing::default()
    });
}
