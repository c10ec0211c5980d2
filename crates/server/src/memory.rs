//! How much memory the program has in use: what it asked for and has not given back.
//!
//! What the process holds is another thing. An allocator keeps what it was given back, so after a burst the process
//! holds what it once needed, and a limit on that would never be met again.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counters that threads share. A thread has one of them for its life, so that few meet at one.
const COUNTERS: usize = 32;

/// A counter with a cache line of its own, and the next one, which processors fetch with it.
#[repr(align(128))]
struct Counter(AtomicUsize);

/// What was taken by the threads of a counter, less what they gave back. Bytes that one thread takes and another gives
/// back make single counters wrap around; their sum doesn't.
static TAKEN: [Counter; COUNTERS] = [const { Counter(AtomicUsize::new(0)) }; COUNTERS];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Needs neither memory nor a destructor, so it is there for each allocation of a thread.
    static COUNTER: Cell<Option<&'static AtomicUsize>> = const { Cell::new(None) };
}

fn counter() -> &'static AtomicUsize {
    COUNTER.with(|mine| {
        mine.get().unwrap_or_else(|| {
            let thread = THREADS.fetch_add(1, Ordering::Relaxed);
            let Counter(counter) = &TAKEN[thread % COUNTERS];
            mine.set(Some(counter));
            counter
        })
    })
}

/// What an allocator takes for so many bytes: a word more, in steps of two words.
const fn taken_for(size: usize) -> usize {
    let whole = size.saturating_add(8).saturating_add(15) & !15;
    if whole < 32 { 32 } else { whole }
}

/// The system's allocator, and a count of what is in use. `limits.memory` is kept by it:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: roomcast_server::CountingAllocator = roomcast_server::CountingAllocator;
/// # assert!(roomcast_server::CountingAllocator::in_use() > 0);
/// ```
///
/// In a program without it that limit does not hold, and the server says so in its log.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// Bytes in use in this process, by its Rust code; 0 where this is not the process's allocator.
    pub fn in_use() -> usize {
        let sum = TAKEN.iter().fold(0_usize, |sum, Counter(counter)| {
            sum.wrapping_add(counter.load(Ordering::Relaxed))
        });
        // Read one after the other, they may miss what was taken and see it given back.
        usize::try_from(sum as isize).unwrap_or(0)
    }

    /// Whether this is the process's allocator: no program runs without allocating.
    pub(crate) fn is_used() -> bool {
        THREADS.load(Ordering::Relaxed) > 0
    }
}

// SAFETY: every call goes to the system's allocator as it came, and its answer goes back unchanged. Counting neither
// allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let memory = unsafe { System.alloc(layout) };
        count(memory, layout.size());
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        let memory = unsafe { System.alloc_zeroed(layout) };
        count(memory, layout.size());
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        counter().fetch_sub(taken_for(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        let moved = unsafe { System.realloc(memory, layout, size) };
        // Where there is none, the memory before stays as it was.
        if !moved.is_null() {
            let more = taken_for(size).wrapping_sub(taken_for(layout.size()));
            counter().fetch_add(more, Ordering::Relaxed);
        }
        moved
    }
}

fn count(memory: *mut u8, size: usize) {
    if !memory.is_null() {
        counter().fetch_add(taken_for(size), Ordering::Relaxed);
    }
}

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Other tests run meanwhile; what is looked for is larger than what they hold.
    #[test]
    fn what_is_given_back_is_not_in_use_whatever_thread_does_it() {
        let before = CountingAllocator::in_use();
        let mut large: Vec<u8> = Vec::with_capacity(200 * MIB);
        assert!(CountingAllocator::in_use() > before + 150 * MIB);
        large.reserve_exact(400 * MIB);
        assert!(CountingAllocator::in_use() > before + 350 * MIB);
        large.shrink_to(300 * MIB);
        assert!(CountingAllocator::in_use() < before + 350 * MIB);
        std::thread::spawn(move || drop(large)).join().unwrap();
        assert!(CountingAllocator::in_use() < before + 100 * MIB);
        let small: Vec<Box<u8>> = (0..4_000_000).map(|_| Box::new(0)).collect();
        assert!(CountingAllocator::in_use() > before + 100 * MIB);
        drop(small);
        assert!(CountingAllocator::in_use() < before + 100 * MIB);
    }

    #[test]
    fn an_allocation_takes_a_little_more_than_it_asks_for() {
        for (size, taken) in [
            (0, 32),
            (1, 32),
            (24, 32),
            (25, 48),
            (40, 48),
            (1_000, 1_008),
        ] {
            assert_eq!(taken_for(size), taken, "{size}");
        }
    }
}
