//! What waits for a connection: three lists of pieces, taken from one arena a shard.
//!
//! A list costs a connection eight bytes and no memory of its own; a piece is a range of a shared
//! chunk. The *control* list (acks, errors, pongs) goes out first, then *events* in their order,
//! then *state*, which is only worth its newest value: what of it was not begun when the socket
//! stops taking bytes is dropped, and the room is asked for what is newest once it drains.

use crate::chunk::{ChunkPool, ChunkTable};
use crate::id::EdgeRoomId;

const NONE: u32 = u32::MAX;

/// The lane that a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Lane {
    Control = 0,
    Event = 1,
    State = 2,
}

/// A range of a chunk that waits for one connection. There is one for each receiver: it has 32 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// Holds one reference to this entry of the chunk table.
    pub(crate) chunk: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Bytes that the lane is charged while the piece waits.
    pub(crate) charge: u32,
    /// Of what can be asked for again: the shard's room. Else [`EdgeRoomId::NONE`].
    pub(crate) room: EdgeRoomId,
    /// What [`Piece::base`] gives in the upper 62 bits, the lane in the lower two.
    base_and_lane: u64,
}

impl Piece {
    /// The base of an ephemeral event, which is just dropped. No room gets as far.
    pub(crate) const EPHEMERAL: u64 = u64::MAX >> 2;

    /// The first `length` bytes of a chunk, whose whole memory the lane is charged.
    pub(crate) fn new(
        (chunk, length, held): (u32, u32, u32),
        lane: Lane,
        room: EdgeRoomId,
        base: u64,
    ) -> Piece {
        Piece {
            chunk,
            start: 0,
            end: length,
            charge: held,
            room,
            base_and_lane: base << 2 | lane as u64,
        }
    }

    /// A part of it, with a base of its own.
    pub(crate) fn part(self, (start, end): (u32, u32), charge: u32, base: u64) -> Piece {
        Piece {
            start,
            end,
            charge,
            base_and_lane: base << 2 | self.base_and_lane & 3,
            ..self
        }
    }

    pub(crate) fn lane(&self) -> Lane {
        match self.base_and_lane & 3 {
            0 => Lane::Control,
            1 => Lane::Event,
            _ => Lane::State,
        }
    }

    /// Of an event: the offset before it. Of state: the room's state version that the receiver had before it, or
    /// [`Piece::EPHEMERAL`] for an event that is just dropped.
    pub(crate) fn base(&self) -> u64 {
        self.base_and_lane >> 2
    }

    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }
}

/// First and last piece of a list in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl Default for List {
    fn default() -> List {
        List {
            head: NONE,
            tail: NONE,
        }
    }
}

impl List {
    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

/// The pieces of all connections of a shard. Grows to the most that wait at once, and shrinks when that was long ago.
#[derive(Debug, Default)]
pub(crate) struct LaneArena {
    nodes: Vec<(Piece, u32)>,
    free: Vec<u32>,
    /// The most that waited when [`LaneArena::note`] was called, since [`LaneArena::trim`].
    most: usize,
}

/// Pieces that an arena has places for, whatever waits.
const PLACES: usize = 4_096;

impl LaneArena {
    // Inlined, it makes the caller's loop worse: each delivery costs 22 instructions more.
    #[inline(never)]
    fn push(&mut self, list: &mut List, piece: Piece) {
        let node = match self.free.pop() {
            Some(node) => {
                self.nodes[node as usize] = (piece, NONE);
                node
            }
            None => {
                self.nodes.push((piece, NONE));
                (self.nodes.len() - 1) as u32
            }
        };
        if list.is_empty() {
            list.head = node;
        } else {
            self.nodes[list.tail as usize].1 = node;
        }
        list.tail = node;
    }

    fn pop(&mut self, list: &mut List) -> Option<Piece> {
        if list.is_empty() {
            return None;
        }
        let (piece, next) = self.nodes[list.head as usize];
        self.free.push(list.head);
        list.head = next;
        Some(piece)
    }

    /// Appends all of `from` to `list`; `from` is empty then.
    fn append(&mut self, list: &mut List, from: &mut List) {
        if from.is_empty() {
            return;
        }
        if list.is_empty() {
            list.head = from.head;
        } else {
            self.nodes[list.tail as usize].1 = from.head;
        }
        list.tail = from.tail;
        *from = List::default();
    }

    /// Pieces that wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Looks how many wait: once in each turn, when there are most.
    pub(crate) fn note(&mut self) {
        self.most = self.most.max(self.waiting());
    }

    /// Frees places at the end that were not needed since the last time, as far as nothing waits there.
    pub(crate) fn trim(&mut self) {
        let needed = 2 * std::mem::take(&mut self.most).max(self.waiting()) + PLACES;
        if self.nodes.len() <= 2 * needed {
            return;
        }
        // The first places are taken first from now on: what waits at the end goes, and nothing takes its place.
        self.free.sort_unstable_by(|one, other| other.cmp(one));
        let last = |nodes: &Vec<_>, at: usize, free: &[u32]| {
            free.get(at)
                .is_some_and(|it| *it as usize + 1 == nodes.len())
        };
        let mut freed = 0;
        while self.nodes.len() > needed && last(&self.nodes, freed, &self.free) {
            self.nodes.pop();
            freed += 1;
        }
        self.free.drain(..freed);
        self.nodes.shrink_to(2 * needed);
        self.free.shrink_to(2 * needed);
    }
}

/// What waits for one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lanes {
    /// Handed to the socket in this order; all of a batch before the next.
    sending: List,
    control: List,
    event: List,
    state: List,
    /// Bytes of the first piece of `sending` that the socket took.
    begun: u32,
    event_bytes: u32,
    control_bytes: u32,
    state_bytes: u32,
}

impl Lanes {
    pub(crate) fn is_empty(&self) -> bool {
        self.sending.is_empty()
            && self.control.is_empty()
            && self.event.is_empty()
            && self.state.is_empty()
    }

    /// Bytes of events that wait, by what they hold in memory.
    pub(crate) fn event_bytes(&self) -> usize {
        self.event_bytes as usize
    }

    /// Bytes of answers that wait.
    pub(crate) fn control_bytes(&self) -> usize {
        self.control_bytes as usize
    }

    /// Bytes of state that wait.
    pub(crate) fn state_bytes(&self) -> usize {
        self.state_bytes as usize
    }

    /// Bytes that wait in all lanes.
    pub(crate) fn bytes(&self) -> usize {
        self.event_bytes as usize + self.control_bytes as usize + self.state_bytes as usize
    }

    fn charge(&mut self, lane: Lane) -> &mut u32 {
        match lane {
            Lane::Control => &mut self.control_bytes,
            Lane::Event => &mut self.event_bytes,
            Lane::State => &mut self.state_bytes,
        }
    }

    /// Queues a piece, whose reference to its chunk the lane takes over.
    // As a call it costs each delivery 9 instructions more.
    #[inline(always)]
    pub(crate) fn push(&mut self, arena: &mut LaneArena, piece: Piece) {
        let charge = self.charge(piece.lane());
        *charge = charge.saturating_add(piece.charge);
        let list = match piece.lane() {
            Lane::Control => &mut self.control,
            Lane::Event => &mut self.event,
            Lane::State => &mut self.state,
        };
        arena.push(list, piece);
    }

    /// Puts what waits in the order in which it is sent, behind what is being sent.
    // As a call it costs each write 6 instructions more.
    #[inline(always)]
    pub(crate) fn batch(&mut self, arena: &mut LaneArena) {
        if self.sending.is_empty() {
            arena.append(&mut self.sending, &mut self.control);
            arena.append(&mut self.sending, &mut self.event);
            arena.append(&mut self.sending, &mut self.state);
        }
    }

    /// The pieces of the batch that are to be sent, the first one from where the socket stopped.
    pub(crate) fn pieces<'a>(&self, arena: &'a LaneArena) -> impl Iterator<Item = Piece> + use<'a> {
        let mut skip = self.begun;
        let sending = self.sending;
        let mut node = sending.head;
        std::iter::from_fn(move || {
            let (piece, next) = arena.nodes.get(node as usize)?;
            node = *next;
            let mut piece = *piece;
            piece.start += std::mem::take(&mut skip);
            Some(piece)
        })
    }

    /// The socket took `bytes` of the batch; calls `done` for each piece that is through, which
    /// then owns the piece's reference.
    // As a call it costs each delivery 39 instructions more.
    #[inline(always)]
    pub(crate) fn advance(
        &mut self,
        arena: &mut LaneArena,
        mut bytes: usize,
        mut done: impl FnMut(Piece),
    ) {
        while let Some(first) = arena
            .nodes
            .get(self.sending.head as usize)
            .map(|node| node.0)
        {
            let left = first.len() - self.begun as usize;
            if bytes < left {
                self.begun += bytes as u32;
                return;
            }
            bytes -= left;
            self.begun = 0;
            arena.pop(&mut self.sending);
            let charge = self.charge(first.lane());
            *charge = charge.saturating_sub(first.charge);
            done(first);
        }
    }

    /// Takes those pieces out that no byte was sent of. Answers stay.
    pub(crate) fn drop_where(
        &mut self,
        arena: &mut LaneArena,
        which: impl Fn(&Piece) -> bool,
        dropped: impl FnMut(Piece),
    ) {
        let no_answer = |piece: &Piece| piece.lane() != Lane::Control && which(piece);
        self.drop_any(arena, no_answer, dropped);
    }

    fn drop_any(
        &mut self,
        arena: &mut LaneArena,
        which: impl Fn(&Piece) -> bool,
        mut dropped: impl FnMut(Piece),
    ) {
        let mut begun = self.begun > 0;
        let lists = [
            &mut self.sending,
            &mut self.control,
            &mut self.event,
            &mut self.state,
        ];
        for list in lists {
            let mut all = std::mem::take(list);
            while let Some(piece) = arena.pop(&mut all) {
                if std::mem::take(&mut begun) || !which(&piece) {
                    arena.push(list, piece);
                    continue;
                }
                let charge = match piece.lane() {
                    Lane::Control => &mut self.control_bytes,
                    Lane::Event => &mut self.event_bytes,
                    Lane::State => &mut self.state_bytes,
                };
                *charge = charge.saturating_sub(piece.charge);
                dropped(piece);
            }
        }
    }

    /// Takes the state out that no byte was sent of.
    pub(crate) fn drop_state(&mut self, arena: &mut LaneArena, dropped: impl FnMut(Piece)) {
        self.drop_where(arena, |piece| piece.lane() == Lane::State, dropped);
    }

    /// Takes the events and the state out that no byte was sent of: the connection is about to be closed. Answers
    /// stay: they say why.
    pub(crate) fn drop_unsent(
        &mut self,
        arena: &mut LaneArena,
        table: &mut ChunkTable,
        pool: &mut ChunkPool,
    ) {
        self.drop_where(arena, |_| true, |piece| table.release(piece.chunk, pool));
    }

    /// Takes everything out that no byte was sent of.
    pub(crate) fn drop_all_unsent(
        &mut self,
        arena: &mut LaneArena,
        table: &mut ChunkTable,
        pool: &mut ChunkPool,
    ) {
        self.drop_any(arena, |_| true, |piece| table.release(piece.chunk, pool));
    }

    /// Gives all memory back: the connection is gone.
    pub(crate) fn clear(
        &mut self,
        arena: &mut LaneArena,
        table: &mut ChunkTable,
        pool: &mut ChunkPool,
    ) {
        for list in [
            &mut self.sending,
            &mut self.control,
            &mut self.event,
            &mut self.state,
        ] {
            while let Some(piece) = arena.pop(list) {
                table.release(piece.chunk, pool);
            }
        }
        *self = Lanes::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(lane: Lane, chunk: u32, len: u32) -> Piece {
        Piece::new((chunk, len, len), lane, EdgeRoomId::NONE, 9)
    }

    #[test]
    fn a_piece_has_32_bytes_and_keeps_its_lane_and_its_base() {
        assert_eq!(size_of::<Piece>(), 32);
        for lane in [Lane::Control, Lane::Event, Lane::State] {
            for base in [0, 1, roomcast_protocol::MAX_NUMBER, Piece::EPHEMERAL] {
                let whole = Piece::new((1, 10, 64), lane, EdgeRoomId::NONE, 5);
                let piece = whole.part((2, 10), 0, base);
                assert_eq!((piece.lane(), piece.base()), (lane, base));
            }
        }
    }

    fn chunks(lanes: &Lanes, arena: &LaneArena) -> Vec<(u32, u32)> {
        lanes
            .pieces(arena)
            .map(|piece| (piece.chunk, piece.start))
            .collect()
    }

    #[test]
    fn answers_go_before_events_and_events_before_state() {
        let (mut arena, mut lanes) = (LaneArena::default(), Lanes::default());
        for (lane, chunk) in [
            (Lane::State, 1),
            (Lane::Event, 2),
            (Lane::Control, 3),
            (Lane::Event, 4),
        ] {
            lanes.push(&mut arena, piece(lane, chunk, 10));
        }
        lanes.batch(&mut arena);
        assert_eq!(chunks(&lanes, &arena), [(3, 0), (2, 0), (4, 0), (1, 0)]);
    }

    #[test]
    fn a_begun_piece_goes_on_where_it_stopped() {
        let (mut arena, mut lanes) = (LaneArena::default(), Lanes::default());
        lanes.push(&mut arena, piece(Lane::Event, 1, 10));
        lanes.push(&mut arena, piece(Lane::Event, 2, 10));
        lanes.batch(&mut arena);
        let mut done = Vec::new();
        lanes.advance(&mut arena, 14, |piece| done.push(piece.chunk));
        assert_eq!((done.as_slice(), lanes.event_bytes()), (&[1][..], 10));
        assert_eq!(chunks(&lanes, &arena), [(2, 4)]);
        lanes.push(&mut arena, piece(Lane::Control, 3, 5));
        lanes.batch(&mut arena);
        assert_eq!(
            chunks(&lanes, &arena),
            [(2, 4)],
            "a frame begun is finished first"
        );
        lanes.advance(&mut arena, 6, |_| ());
        lanes.batch(&mut arena);
        assert_eq!(chunks(&lanes, &arena), [(3, 0)]);
        lanes.advance(&mut arena, 5, |_| ());
        assert!(lanes.is_empty());
        assert_eq!((lanes.bytes(), arena.waiting()), (0, 0));
    }

    #[test]
    fn only_state_that_was_not_begun_is_dropped() {
        let (mut arena, mut lanes) = (LaneArena::default(), Lanes::default());
        for (lane, chunk) in [(Lane::State, 1), (Lane::State, 2)] {
            lanes.push(&mut arena, piece(lane, chunk, 10));
        }
        lanes.batch(&mut arena);
        lanes.advance(&mut arena, 1, |_| ());
        lanes.push(&mut arena, piece(Lane::Event, 3, 10));
        lanes.push(&mut arena, piece(Lane::State, 4, 10));
        let mut dropped = Vec::new();
        lanes.drop_state(&mut arena, |piece| dropped.push(piece.chunk));
        assert_eq!(dropped, [2, 4]);
        assert_eq!(chunks(&lanes, &arena), [(1, 1)]);
        assert_eq!(lanes.bytes(), 20);
        assert_eq!(arena.waiting(), 2);
    }

    #[test]
    fn what_a_burst_took_is_given_back_and_what_waits_stays() {
        let (mut arena, mut burst) = (LaneArena::default(), Lanes::default());
        for _ in 0..100_000 {
            burst.push(&mut arena, piece(Lane::Event, 1, 10));
        }
        // It waits at the very end.
        let mut slow = Lanes::default();
        slow.push(&mut arena, piece(Lane::Event, 2, 10));
        arena.note();
        burst.batch(&mut arena);
        burst.advance(&mut arena, 1_000_000, |_| ());
        arena.trim();
        assert!(arena.nodes.len() > 100_000, "it was needed a while ago");
        arena.trim();
        slow.push(&mut arena, piece(Lane::Event, 3, 10));
        slow.batch(&mut arena);
        assert_eq!(chunks(&slow, &arena), [(2, 0), (3, 0)]);
        slow.advance(&mut arena, 10, |_| ());
        arena.note();
        arena.trim();
        assert!(arena.nodes.capacity() <= 3 * PLACES);
        assert!(arena.free.capacity() <= 3 * PLACES);
        assert_eq!(chunks(&slow, &arena), [(3, 0)]);
        for n in 0..10_000 {
            slow.push(&mut arena, piece(Lane::Control, 10 + n, 1));
        }
        assert_eq!(arena.waiting(), 10_001);
    }
}
