//! The system's allocator, counting what a thread holds of it. For a test of what something takes.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test uses its part of the harness"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Bytes that this thread holds, and the most that it ever held.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
    /// Bytes that this thread has ever asked for.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that this thread holds; below 0 where it gave back what another one had taken.
pub fn held() -> isize {
    HELD.with(Cell::get).0
}

/// What `run` gives, and how many bytes more than before it this thread held at the worst moment.
pub fn most_held<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = held();
    HELD.with(|held| held.set((before, before)));
    let result = run();
    let (_, most) = HELD.with(Cell::get);
    (result, (most - before) as usize)
}

/// What `run` gives, and how many bytes this thread asked for in it, given back or not.
pub fn asked_for<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = ASKED.with(Cell::get);
    let result = run();
    (result, ASKED.with(Cell::get) - before)
}

fn count(bytes: isize) {
    if bytes > 0 {
        let _ = ASKED.try_with(|asked| asked.set(asked.get() + bytes as usize));
    }
    let _ = HELD.try_with(|counts| {
        let (held, most) = counts.get();
        let held = held + bytes;
        counts.set((held, most.max(held)));
    });
}

// SAFETY: all calls go to the system's allocator as they are; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(place, layout, size) }
    }
}
