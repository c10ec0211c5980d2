//! What a home says to an edge. Chunks become new ones of the reader's shard, once for each letter.

use std::sync::Arc;

use roomcast_protocol::MAX_NUMBER;

use super::{Receiving, Sending, backend, kind};
use crate::chunk::Chunk;
use crate::host::Encoding;
use crate::id::ConnRef;
use crate::letter::{Delivery, Encoded, Exclusion, Joined, NewestState, Slice, ToEdge};
use crate::log::Epoch;
use crate::trace::{AllTraced, MOST_TRACED, TraceContext, Traced};
use crate::wire::bytes::{Reader, WireError, Writer};
use crate::wire::version::Version;

pub(super) fn kind_of(message: &ToEdge) -> Option<u8> {
    Some(match message {
        ToEdge::Deliver(_) => kind::DELIVER,
        ToEdge::Joined(_) => kind::JOINED,
        ToEdge::JoinedAgain { .. } => kind::JOINED_AGAIN,
        ToEdge::JoinRefused { .. } => kind::JOIN_REFUSED,
        ToEdge::Left { .. } => kind::LEFT,
        ToEdge::Answer { .. } => kind::ANSWER,
        ToEdge::Accepted { .. } => kind::ACCEPTED,
        ToEdge::LogSlice { .. } => kind::LOG_SLICE,
        ToEdge::NewestState { .. } => kind::NEWEST_STATE,
        ToEdge::ComeBack { .. } => kind::COME_BACK,
        ToEdge::HomeGone { .. } => kind::HOME_GONE,
        ToEdge::Renamed { .. } => kind::RENAMED,
        ToEdge::Backend { .. } => kind::BACKEND_REPLY,
        ToEdge::Fact(_) => return None,
    })
}

pub(super) fn write(out: &mut Writer<'_>, sending: Sending, message: &ToEdge) {
    match message {
        ToEdge::Deliver(delivery) => write_delivery(out, sending, delivery),
        ToEdge::Joined(joined) => write_joined(out, sending, joined),
        ToEdge::JoinedAgain {
            conn,
            edge_room,
            answer,
        } => {
            out.number(*conn);
            out.number(*edge_room);
            sending.chunk(out, answer);
        }
        ToEdge::JoinRefused {
            conn,
            edge_room,
            error,
            code,
        } => {
            out.number(*conn);
            out.number(*edge_room);
            out.error_code(sending.version, *code);
            sending.chunk(out, error);
        }
        ToEdge::Left {
            conn,
            edge_room,
            asked,
            farewell,
        } => {
            out.number(*conn);
            out.number(*edge_room);
            out.flags([*asked, farewell.is_some()]);
            sending.optional_chunk(out, farewell);
        }
        ToEdge::Answer {
            conn,
            answer,
            offence,
            ordered,
        } => {
            out.number(*conn);
            out.flags([*ordered, offence.is_some()]);
            if let Some(code) = offence {
                out.error_code(sending.version, *code);
            }
            sending.chunk(out, answer);
        }
        ToEdge::Accepted {
            conn,
            window,
            operations,
        } => {
            out.number(*conn);
            out.varint(*window);
            out.varint(*operations);
        }
        ToEdge::ComeBack { conn } => out.number(*conn),
        ToEdge::Backend { conn, reply } => {
            out.number(*conn);
            backend::write_reply(out, sending.version, reply.as_deref());
        }
        ToEdge::HomeGone { room } => out.text(room),
        ToEdge::Fact(_) => {}
        ToEdge::Renamed { edge_room, epoch } => {
            out.number(*edge_room);
            out.epoch(*epoch);
        }
        ToEdge::LogSlice {
            conn,
            edge_room,
            slice,
        } => {
            out.number(*conn);
            out.number(*edge_room);
            out.flags([slice.is_some()]);
            if let Some(slice) = slice {
                write_slice(out, sending, slice);
            }
        }
        ToEdge::NewestState {
            conn,
            edge_room,
            from,
            newest,
        } => {
            out.number(*conn);
            out.number(*edge_room);
            out.state_position(*from);
            let state = newest.as_ref().and_then(|newest| newest.state.as_ref());
            out.flags([newest.is_some(), state.is_some()]);
            if let Some(newest) = newest {
                out.state_position(newest.to);
                sending.optional_chunk(out, &newest.state);
            }
        }
    }
}

pub(super) fn read(
    kind: u8,
    bytes: &mut Reader<'_>,
    at: &mut Receiving<'_>,
) -> Result<ToEdge, WireError> {
    Ok(match kind {
        kind::DELIVER => ToEdge::Deliver(read_delivery(bytes, at)?),
        kind::JOINED => ToEdge::Joined(Box::new(read_joined(bytes, at)?)),
        kind::JOINED_AGAIN => ToEdge::JoinedAgain {
            conn: bytes.number()?,
            edge_room: bytes.number()?,
            answer: at.chunk(bytes)?,
        },
        kind::JOIN_REFUSED => ToEdge::JoinRefused {
            conn: bytes.number()?,
            edge_room: bytes.number()?,
            code: bytes.error_code()?,
            error: at.chunk(bytes)?,
        },
        kind::LEFT => {
            let (conn, edge_room) = (bytes.number()?, bytes.number()?);
            let [asked, says_more] = bytes.flags()?;
            ToEdge::Left {
                conn,
                edge_room,
                asked,
                farewell: at.optional_chunk(bytes, says_more)?,
            }
        }
        kind::ANSWER => {
            let conn = bytes.number()?;
            let [ordered, is_offence] = bytes.flags()?;
            ToEdge::Answer {
                conn,
                offence: is_offence.then(|| bytes.error_code()).transpose()?,
                ordered,
                answer: at.chunk(bytes)?,
            }
        }
        kind::ACCEPTED => ToEdge::Accepted {
            conn: bytes.number()?,
            window: bytes.varint()?,
            operations: bytes.varint()?,
        },
        kind::COME_BACK => ToEdge::ComeBack {
            conn: bytes.number()?,
        },
        kind::BACKEND_REPLY => ToEdge::Backend {
            conn: bytes.number()?,
            reply: backend::read_reply(bytes)?.map(Box::new),
        },
        kind::HOME_GONE => ToEdge::HomeGone {
            room: bytes.text()?.into(),
        },
        kind::RENAMED => ToEdge::Renamed {
            edge_room: bytes.number()?,
            epoch: bytes.epoch()?,
        },
        kind::LOG_SLICE => {
            let (conn, edge_room) = (bytes.number()?, bytes.number()?);
            let [is_in] = bytes.flags()?;
            ToEdge::LogSlice {
                conn,
                edge_room,
                slice: is_in.then(|| read_slice(bytes, at)).transpose()?,
            }
        }
        kind::NEWEST_STATE => read_newest_state(bytes, at)?,
        _ => return Err(WireError::Unknown),
    })
}

fn read_newest_state(bytes: &mut Reader<'_>, at: &mut Receiving<'_>) -> Result<ToEdge, WireError> {
    let (conn, edge_room) = (bytes.number()?, bytes.number()?);
    let from = bytes.state_position()?;
    let [is_in, says_state] = bytes.flags()?;
    let newest = is_in.then(|| -> Result<NewestState, WireError> {
        let to = bytes.state_position()?;
        let state = at.optional_chunk(bytes, says_state)?;
        Ok(NewestState { to, state })
    });
    Ok(ToEdge::NewestState {
        conn,
        edge_room,
        from,
        newest: newest.transpose()?,
    })
}

fn write_delivery(out: &mut Writer<'_>, sending: Sending, delivery: &Delivery) {
    let Delivery {
        edge_room,
        events,
        state,
        base,
        last,
        version,
        exclusions,
        bytes,
        traced,
    } = delivery;
    out.number(*edge_room);
    out.varint(*base);
    out.varint(last.saturating_sub(*base));
    out.optional(*version);
    out.size(*bytes);
    let chunks = || events.iter().chain(state);
    let present = chunks().enumerate();
    out.u8(present.fold(0, |all, (nth, it)| all | u8::from(it.is_some()) << nth));
    for chunk in chunks().flatten() {
        sending.chunk(out, chunk);
    }
    // A range is for the shard on which its connection lives.
    let theirs = |exclusion: &&Exclusion| exclusion.conn.shard == sending.to;
    out.size(exclusions.iter().filter(theirs).count());
    for exclusion in exclusions.iter().filter(theirs) {
        out.number(exclusion.conn.conn);
        out.flags([exclusion.state_lane]);
        out.varint(exclusion.offset);
        out.varint(exclusion.start);
        out.varint(exclusion.end.saturating_sub(exclusion.start));
    }
    if sending.version >= Version::V2 {
        // Few are traced.
        let traced = traced.as_ref().map_or(&[][..], |all| &all[..]);
        out.size(traced.len());
        for Traced { parent, .. } in traced {
            out.u64((parent.trace >> 64) as u64);
            out.u64(parent.trace as u64);
            out.u64(parent.span);
        }
    }
}

/// Fewest bytes of a message that is traced.
const TRACED: usize = 24;

fn read_traced(bytes: &mut Reader<'_>, now: u64) -> Result<AllTraced, WireError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut all = bytes.list(TRACED, |bytes| {
        let (high, low) = (bytes.u64()?, bytes.u64()?);
        let trace = u128::from(high) << 64 | u128::from(low);
        let parent = TraceContext {
            trace,
            span: bytes.u64()?,
        };
        // Clocks of two nodes can't be compared: here it begins when it comes.
        Ok(Traced { parent, at: now })
    })?;
    all.truncate(MOST_TRACED);
    Ok((!all.is_empty()).then(|| Box::new(all)))
}

/// Fewest bytes of an exclusion.
const EXCLUSION: usize = 5;

fn read_delivery(bytes: &mut Reader<'_>, at: &mut Receiving<'_>) -> Result<Delivery, WireError> {
    let edge_room = bytes.number()?;
    let (base, count) = (bytes.offset()?, bytes.offset()?);
    let last = base.checked_add(count).filter(|it| *it <= MAX_NUMBER);
    let last = last.ok_or(WireError::Range)?;
    let (version, counted) = (bytes.optional()?, bytes.varint()?);
    let present: [bool; 2 * Encoding::COUNT] = bytes.flags()?;
    let mut encoded: [Encoded; 2] = Default::default();
    for (chunk, is_present) in encoded.as_flattened_mut().iter_mut().zip(present) {
        *chunk = at.optional_chunk(bytes, is_present)?;
    }
    let [events, state] = encoded;
    let exclusions = bytes.list(EXCLUSION, |bytes| {
        let conn = ConnRef {
            shard: at.own,
            conn: bytes.number()?,
        };
        let [state_lane] = bytes.flags()?;
        let (offset, start): (u64, u32) = (bytes.offset()?, bytes.varint()?);
        let end = start.checked_add(bytes.varint()?).ok_or(WireError::Range)?;
        Ok(Exclusion {
            conn,
            state_lane,
            offset,
            start,
            end,
        })
    })?;
    Ok(Delivery {
        edge_room,
        events,
        state,
        base,
        last: if count > 0 { last } else { 0 },
        version,
        exclusions,
        bytes: counted,
        traced: read_traced(bytes, at.now)?,
    })
}

fn write_joined(out: &mut Writer<'_>, sending: Sending, joined: &Joined) {
    let Joined {
        conn,
        edge_room,
        room,
        player,
        epoch,
        version,
        answer,
        slice,
        unasked,
        state,
    } = joined;
    out.number(*conn);
    out.number(*edge_room);
    out.number(*room);
    out.varint(*player);
    out.text(epoch.as_str());
    out.varint(*version);
    out.flags([*unasked, state.is_some()]);
    if let Some(state) = state {
        out.state_position(*state);
    }
    sending.chunk(out, answer);
    write_slice(out, sending, slice);
}

fn read_joined(bytes: &mut Reader<'_>, at: &mut Receiving<'_>) -> Result<Joined, WireError> {
    let (conn, edge_room, room) = (bytes.number()?, bytes.number()?, bytes.number()?);
    let player = bytes.varint()?;
    let epoch = Epoch::parse(bytes.text()?).ok_or(WireError::Range)?;
    let version = bytes.offset()?;
    let [unasked, has_state] = bytes.flags()?;
    Ok(Joined {
        conn,
        edge_room,
        room,
        player,
        epoch,
        version,
        unasked,
        state: has_state.then(|| bytes.state_position()).transpose()?,
        answer: at.chunk(bytes)?,
        slice: read_slice(bytes, at)?,
    })
}

fn write_slice(out: &mut Writer<'_>, sending: Sending, slice: &Slice) {
    out.flags([slice.caught_up, slice.events.is_some()]);
    out.varint(slice.after);
    out.varint(slice.to);
    sending.optional_chunk(out, &slice.events);
}

fn read_slice(bytes: &mut Reader<'_>, at: &mut Receiving<'_>) -> Result<Slice, WireError> {
    let [caught_up, has_events] = bytes.flags()?;
    let (after, to) = (bytes.offset()?, bytes.offset()?);
    Ok(Slice {
        events: at.optional_chunk(bytes, has_events)?,
        after,
        to,
        caught_up,
    })
}

impl Sending {
    fn chunk(self, out: &mut Writer<'_>, chunk: &Chunk) {
        out.varint(self.age(chunk.born()));
        out.varint(chunk.messages());
        out.bytes(chunk.bytes());
    }

    /// Whether there is one is written before.
    fn optional_chunk(self, out: &mut Writer<'_>, chunk: &Option<Arc<Chunk>>) {
        if let Some(chunk) = chunk {
            self.chunk(out, chunk);
        }
    }
}

impl Receiving<'_> {
    fn chunk(&mut self, bytes: &mut Reader<'_>) -> Result<Arc<Chunk>, WireError> {
        let (age, messages) = (bytes.varint()?, bytes.varint()?);
        let born = self.born(age);
        Ok(self.pool.copy(bytes.bytes()?, born, messages))
    }

    fn optional_chunk(
        &mut self,
        bytes: &mut Reader<'_>,
        is_there: bool,
    ) -> Result<Option<Arc<Chunk>>, WireError> {
        is_there.then(|| self.chunk(bytes)).transpose()
    }
}
