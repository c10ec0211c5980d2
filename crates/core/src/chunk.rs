//! Encoded bytes that many connections share, and the free lists they come from and return to.
//!
//! A room's events of one turn are encoded once per encoding into one chunk; every receiver's lane
//! holds a range of it. Within a shard references are counted without atomics, by [`ChunkTable`].

use std::collections::VecDeque;
use std::sync::Arc;

use crate::log::ALLOCATION;
use crate::trace::Traced;

/// Bytes on their way to sockets: whole WebSocket frames, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    /// Microseconds at which what caused the oldest of these bytes was read.
    born: u64,
    /// Messages that a room's receivers get with it.
    messages: u32,
}

impl Chunk {
    /// The frames.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Microseconds ([`crate::Now::micros`]) at which what caused these bytes was read.
    pub(crate) fn born(&self) -> u64 {
        self.born
    }

    /// Messages that a room's receivers get with it.
    pub(crate) fn messages(&self) -> u32 {
        self.messages
    }

    /// Memory that the chunk holds, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// All that it takes in a pool, in bytes: itself, its counters, and its place in a list too.
    fn cost(&self) -> usize {
        self.held() + size_of::<Chunk>() + 4 * size_of::<usize>() + 2 * ALLOCATION
    }
}

const SMALLEST: usize = 128;
const LARGEST: usize = 64 * 1024;
const STEPS: usize = 4;
/// Four sizes a doubling: a chunk wastes at most a quarter of what it holds.
const CLASSES: usize = STEPS * 9 + 1;
/// Bytes of free chunks that a shard keeps for reuse, and bytes of chunks of its own that other shards read.
const KEPT: usize = 1024 * 1024;
/// Chunks that are looked at for each one lent. More than one, so that those who are slow don't fill the list.
const TRIES: usize = 3;

fn class_size(class: usize) -> usize {
    let doubling = SMALLEST << (class / STEPS);
    doubling + doubling / STEPS * (class % STEPS)
}

/// The smallest class that holds `size`, if there is one.
fn class_for(size: usize) -> Option<usize> {
    if size <= SMALLEST {
        return Some(0);
    }
    if size > LARGEST {
        return None;
    }
    let doubling = (size - 1).ilog2() as usize - SMALLEST.ilog2() as usize;
    let base = SMALLEST << doubling;
    let step = base / STEPS;
    Some(doubling * STEPS + (size - base).div_ceil(step))
}

/// Free chunks of one size.
#[derive(Debug, Default)]
struct FreeList {
    chunks: Vec<Arc<Chunk>>,
    /// The fewest that there were since [`ChunkPool::trim`].
    unused: usize,
}

/// Free chunks by size: the object pool of the data path.
#[derive(Debug)]
pub(crate) struct ChunkPool {
    free: Vec<FreeList>,
    kept: usize,
    /// Chunks that other shards read. This shard holds on to them, so that it is the last one to do so.
    lent: VecDeque<Arc<Chunk>>,
    lent_bytes: usize,
}

impl ChunkPool {
    pub(crate) fn new() -> ChunkPool {
        ChunkPool {
            free: (0..CLASSES).map(|_| FreeList::default()).collect(),
            kept: 0,
            lent: VecDeque::new(),
            lent_bytes: 0,
        }
    }

    /// Notes a chunk that is on its way to another shard, and takes back what others are done with.
    ///
    /// Two shards that let go of a chunk at the same moment would both find the other still holding it.
    pub(crate) fn lend(&mut self, chunk: &Arc<Chunk>) {
        self.lent_bytes += chunk.cost();
        self.lent.push_back(Arc::clone(chunk));
        for _ in 0..TRIES {
            let Some(oldest) = self.lent.pop_front() else {
                return;
            };
            if Arc::strong_count(&oldest) > 1 && self.lent_bytes <= KEPT {
                self.lent.push_back(oldest);
                continue;
            }
            self.lent_bytes -= oldest.cost();
            self.give_back(oldest);
        }
    }

    /// Bytes that it keeps.
    pub(crate) fn held(&self) -> usize {
        self.kept + self.lent_bytes
    }

    /// Frees the chunks that were not needed since the last time, and takes back what others are done with.
    pub(crate) fn trim(&mut self) {
        for list in &mut self.free {
            for chunk in list.chunks.drain(..list.unused) {
                self.kept -= chunk.cost();
            }
            list.chunks.shrink_to(2 * list.chunks.len());
            list.unused = list.chunks.len();
        }
        for _ in 0..self.lent.len() {
            match self.lent.pop_front() {
                Some(chunk) if Arc::strong_count(&chunk) == 1 => {
                    self.lent_bytes -= chunk.cost();
                    self.give_back(chunk);
                }
                Some(chunk) => self.lent.push_back(chunk),
                None => {}
            }
        }
        self.lent.shrink_to(2 * self.lent.len());
    }

    /// An empty chunk that holds at least `size` bytes, owned by nobody else.
    fn take(&mut self, size: usize) -> Arc<Chunk> {
        let Some(class) = class_for(size) else {
            return Arc::new(Chunk {
                bytes: Vec::with_capacity(size),
                ..Chunk::default()
            });
        };
        if let Some(list) = self.free.get_mut(class)
            && let Some(chunk) = list.chunks.pop()
        {
            list.unused = list.unused.min(list.chunks.len());
            self.kept -= chunk.cost();
            return chunk;
        }
        Arc::new(Chunk {
            bytes: Vec::with_capacity(class_size(class)),
            ..Chunk::default()
        })
    }

    /// A chunk of these bytes, which another node has sent.
    pub(crate) fn copy(&mut self, bytes: &[u8], born: u64, messages: u32) -> Arc<Chunk> {
        let mut chunk = self.take(bytes.len());
        if let Some(own) = Arc::get_mut(&mut chunk) {
            (own.born, own.messages) = (born, messages);
            own.bytes.extend_from_slice(bytes);
        }
        chunk
    }

    /// Takes a chunk back if nobody else holds it.
    pub(crate) fn give_back(&mut self, mut chunk: Arc<Chunk>) {
        let Some(own) = Arc::get_mut(&mut chunk) else {
            return;
        };
        own.bytes.clear();
        let (held, cost) = (own.held(), own.cost());
        if !(SMALLEST..=LARGEST).contains(&held) || self.kept + cost > KEPT {
            return;
        }
        // A buffer that grew past its class goes to the one that it fills whole.
        let class = match class_for(held) {
            Some(class) if class_size(class) == held => class,
            Some(class) => class.saturating_sub(1),
            None => return,
        };
        if let Some(list) = self.free.get_mut(class) {
            self.kept += cost;
            list.chunks.push(chunk);
        }
    }
}

/// A chunk that is being written.
#[derive(Debug)]
pub(crate) struct ChunkBuilder {
    chunk: Arc<Chunk>,
}

impl ChunkBuilder {
    pub(crate) fn new(pool: &mut ChunkPool, size: usize, born: u64) -> ChunkBuilder {
        let mut chunk = pool.take(size);
        if let Some(own) = Arc::get_mut(&mut chunk) {
            (own.born, own.messages) = (born, 0);
        }
        ChunkBuilder { chunk }
    }

    pub(crate) fn len(&self) -> usize {
        self.chunk.bytes.len()
    }

    /// The bytes to append to, with room for `more`.
    pub(crate) fn reserve(&mut self, pool: &mut ChunkPool, more: usize) -> &mut Vec<u8> {
        let needed = self.len() + more;
        if needed > self.chunk.bytes.capacity() {
            let mut bigger = pool.take(needed.max(2 * self.chunk.held()));
            let own = Arc::get_mut(&mut bigger).expect("a chunk from the pool has one owner");
            own.bytes.extend_from_slice(&self.chunk.bytes);
            (own.born, own.messages) = (self.chunk.born, self.chunk.messages);
            pool.give_back(std::mem::replace(&mut self.chunk, bigger));
        }
        &mut Arc::get_mut(&mut self.chunk)
            .expect("a chunk being written has one owner")
            .bytes
    }

    /// What was appended last is a message to a room's receivers.
    pub(crate) fn count_message(&mut self) {
        if let Some(own) = Arc::get_mut(&mut self.chunk) {
            own.messages += 1;
        }
    }

    /// The finished chunk, in the smallest buffer that holds it: it may wait on a slow connection.
    pub(crate) fn finish(self, pool: &mut ChunkPool) -> Arc<Chunk> {
        let len = self.len();
        let fits = class_for(len).map(class_size);
        if fits.is_none_or(|fits| fits >= self.chunk.held()) {
            return self.chunk;
        }
        let mut exact = ChunkBuilder::new(pool, len, self.chunk.born);
        let own = Arc::get_mut(&mut exact.chunk).expect("a chunk being written has one owner");
        own.bytes.extend_from_slice(&self.chunk.bytes);
        own.messages = self.chunk.messages;
        pool.give_back(self.chunk);
        exact.chunk
    }
}

/// A chunk, with what refers to it.
#[derive(Debug)]
struct Slot {
    chunk: Arc<Chunk>,
    references: u32,
    /// Its delivery's place among those that are traced, counted from 1; 0: it is not. So a chunk that is released finds it
    /// at once, however many there are.
    traced: u32,
}

/// The chunks that lanes of this shard refer to, with counts that need no atomics.
#[derive(Debug, Default)]
pub(crate) struct ChunkTable {
    slots: slab::Slab<Slot>,
    /// Deliveries with messages that are traced, and how many of their chunks are not released.
    traced: slab::Slab<(u32, Vec<Traced>)>,
    /// Of these, messages that nobody waits for any more.
    written: Vec<Traced>,
    /// The most that there were when [`ChunkTable::note`] was called, since [`ChunkTable::trim`].
    most: usize,
}

/// Chunks that a table has places for, whatever there are.
const PLACES: usize = 4_096;

impl ChunkTable {
    /// Enters a chunk with one reference, the caller's.
    pub(crate) fn insert(&mut self, chunk: Arc<Chunk>) -> u32 {
        let slot = Slot {
            chunk,
            references: 1,
            traced: 0,
        };
        self.slots.insert(slot) as u32
    }

    pub(crate) fn get(&self, id: u32) -> &Chunk {
        &self.slots[id as usize].chunk
    }

    pub(crate) fn retain(&mut self, id: u32) {
        self.slots[id as usize].references += 1;
    }

    pub(crate) fn release(&mut self, id: u32, pool: &mut ChunkPool) {
        let slot = &mut self.slots[id as usize];
        slot.references -= 1;
        if slot.references == 0 {
            let slot = self.slots.remove(id as usize);
            pool.give_back(slot.chunk);
            if slot.traced != 0 {
                self.note_written(slot.traced);
            }
        }
    }

    /// The messages of a delivery are traced until the last of its chunks is released. A chunk is of one delivery.
    pub(crate) fn trace(&mut self, chunks: impl Iterator<Item = u32>, mut traced: Vec<Traced>) {
        let place = self.traced.vacant_key();
        let mut count = 0;
        for chunk in chunks {
            self.slots[chunk as usize].traced = place as u32 + 1;
            count += 1;
        }
        match count {
            0 => self.written.append(&mut traced),
            _ => drop(self.traced.insert((count, traced))),
        }
    }

    /// `place` is counted from 1.
    #[cold]
    fn note_written(&mut self, place: u32) {
        let place = place as usize - 1;
        let (left, _) = &mut self.traced[place];
        *left -= 1;
        if *left == 0 {
            let (_, mut messages) = self.traced.remove(place);
            self.written.append(&mut messages);
        }
    }

    /// Whether there is something that [`ChunkTable::take_written`] gives.
    pub(crate) fn has_written(&self) -> bool {
        !self.written.is_empty()
    }

    /// Traced messages whose last chunk was released.
    pub(crate) fn take_written(&mut self) -> Vec<Traced> {
        std::mem::take(&mut self.written)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Looks how many there are: once in each turn, when there are most.
    pub(crate) fn note(&mut self) {
        self.most = self.most.max(self.slots.len());
    }

    /// Frees places at the end that were not needed since the last time, as far as no chunk has one of them.
    pub(crate) fn trim(&mut self) {
        let needed = 2 * std::mem::take(&mut self.most).max(self.slots.len()) + PLACES;
        if self.slots.capacity() > 2 * needed {
            self.slots.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for size in 1..=LARGEST {
            let class = class_for(size).unwrap();
            assert!(class_size(class) >= size, "{size}");
            assert!(class == 0 || class_size(class - 1) < size, "{size}");
        }
        assert_eq!(class_for(LARGEST), Some(CLASSES - 1));
        assert_eq!(class_for(LARGEST + 1), None);
    }

    #[test]
    fn a_finished_chunk_wastes_at_most_a_quarter() {
        let mut pool = ChunkPool::new();
        for len in [1, 129, 500, 700, 5_000, 40_000, 70_000, 300_000] {
            let mut builder = ChunkBuilder::new(&mut pool, 1, 7);
            for _ in 0..len {
                builder.reserve(&mut pool, 1).push(b'x');
            }
            let chunk = builder.finish(&mut pool);
            assert_eq!(chunk.bytes().len(), len);
            assert_eq!(chunk.born(), 7);
            assert!(
                chunk.held() <= (len + len / 4).max(SMALLEST) || len > LARGEST,
                "{len}: {}",
                chunk.held()
            );
            pool.give_back(chunk);
        }
    }

    #[test]
    fn a_chunk_returns_when_its_last_reader_is_done() {
        let mut pool = ChunkPool::new();
        let mut table = ChunkTable::default();
        let id = table.insert(ChunkBuilder::new(&mut pool, 100, 0).finish(&mut pool));
        table.retain(id);
        table.release(id, &mut pool);
        assert_eq!((table.len(), pool.kept), (1, 0));
        table.release(id, &mut pool);
        assert_eq!(table.len(), 0);
        assert_eq!(pool.take(100).held(), SMALLEST);
        assert_eq!(pool.kept, 0);
    }

    #[test]
    fn a_traced_message_is_written_when_the_last_chunk_of_its_delivery_is_released() {
        use crate::trace::TraceContext;

        let (mut pool, mut table) = (ChunkPool::new(), ChunkTable::default());
        let mut chunk = |table: &mut ChunkTable| {
            table.insert(ChunkBuilder::new(&mut pool, 100, 0).finish(&mut pool))
        };
        let message = |trace: u128| Traced {
            parent: TraceContext { trace, span: 1 },
            at: 0,
        };
        let deliveries: Vec<[u32; 2]> = (0..1_000_u128)
            .map(|trace| {
                let chunks = [chunk(&mut table), chunk(&mut table)];
                table.trace(chunks.into_iter(), vec![message(trace)]);
                chunks
            })
            .collect();
        let other = chunk(&mut table);
        table.release(other, &mut pool);
        for [first, _] in &deliveries {
            table.release(*first, &mut pool);
        }
        assert!(!table.has_written());
        for (trace, [_, last]) in deliveries.into_iter().enumerate().rev() {
            table.release(last, &mut pool);
            assert_eq!(table.take_written(), [message(trace as u128)]);
        }
        assert!(table.traced.is_empty());
        // One that nobody was there to get.
        table.trace(std::iter::empty(), vec![message(7)]);
        assert_eq!(table.take_written(), [message(7)]);
        assert_eq!(size_of::<Slot>(), 16);
    }

    #[test]
    fn what_other_shards_read_comes_back() {
        let mut pool = ChunkPool::new();
        let mut others = VecDeque::new();
        for turn in 0..1_000 {
            let chunk = ChunkBuilder::new(&mut pool, 1_000, turn).finish(&mut pool);
            pool.lend(&chunk);
            others.push_back(Arc::clone(&chunk));
            pool.give_back(chunk);
            if others.len() > 10 {
                others.pop_front();
            }
            let free: usize = pool.free.iter().map(|list| list.chunks.len()).sum();
            let known = free + pool.lent.len();
            assert!(known < 40, "{known} in turn {turn}");
        }
        assert!(pool.lent.len() < 40 && pool.lent_bytes < 40 * 1_280);
    }

    #[test]
    fn what_others_hold_for_ever_is_given_up() {
        let mut pool = ChunkPool::new();
        let mut held = Vec::new();
        for _ in 0..2 * KEPT / LARGEST {
            let chunk = pool.take(LARGEST);
            pool.lend(&chunk);
            held.push(chunk);
        }
        assert!(pool.lent_bytes <= KEPT + 2 * LARGEST);
        drop(held);
        pool.trim();
        pool.trim();
        pool.trim();
        assert_eq!(pool.held(), 0, "and it is taken back when they are done");
    }

    #[test]
    fn the_pool_keeps_a_bounded_amount_of_any_size() {
        let mut pool = ChunkPool::new();
        for size in [1, 200, 5_000, LARGEST] {
            let chunks: Vec<_> = (0..2 * KEPT / size.max(SMALLEST))
                .map(|_| pool.take(size))
                .collect();
            chunks.into_iter().for_each(|chunk| pool.give_back(chunk));
            assert!(pool.kept <= KEPT && pool.kept > KEPT - 2 * LARGEST);
        }
    }

    #[test]
    fn chunks_that_are_needed_stay_and_the_others_go() {
        let mut pool = ChunkPool::new();
        let use_some = |pool: &mut ChunkPool, count: usize| {
            let taken: Vec<_> = (0..count).map(|_| pool.take(1_000)).collect();
            taken.into_iter().for_each(|chunk| pool.give_back(chunk));
        };
        use_some(&mut pool, 100);
        let most = pool.kept;
        for _ in 0..3 {
            use_some(&mut pool, 7);
            pool.trim();
        }
        assert_eq!(pool.kept, most / 100 * 7);
        pool.trim();
        assert_eq!(pool.kept, 0);
    }
}
