//! Runs many schedules on all processors, and goes on where one fails.
//!
//! `cargo run --release -p roomcast-simulation --example schedules -- several 1 1000000` runs those of several nodes from
//! the seed 1 on; `alone` instead of `several` those of one node, `restarts` those of several whose store comes back with
//! what it had or less, and `cuts` those of several of which one is cut off from the store for long. `aloud`,
//! `restarts-aloud` and `cuts-aloud` print what happens. It prints how many
//! there were every 10,000, and each seed that fails, with what was wrong. At the end it prints a number that is the same
//! if every byte that clients were sent is: a change that is to make schedules faster, and nothing else, keeps it.
#![allow(clippy::unwrap_used, reason = "a panic is how a schedule fails")]

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::panic::{catch_unwind, set_hook};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use roomcast_simulation::{Counts, run, run_cuts, run_fleet, run_restarts};

/// The count is printed after so many.
const STEP: u64 = 10_000;

thread_local! {
    /// What the last panic of this thread said.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let run: fn(u64) -> (Counts, u64) = match arguments.first().map(String::as_str) {
        Some("several") => |seed| run_fleet(seed, false),
        Some("restarts") => |seed| run_restarts(seed, false),
        Some("cuts") => |seed| run_cuts(seed, false),
        Some("cuts-aloud") => |seed| run_cuts(seed, true),
        Some("aloud") => |seed| run_fleet(seed, true),
        Some("restarts-aloud") => |seed| run_restarts(seed, true),
        Some("alone") => run,
        _ => {
            eprintln!(
                "schedules several|alone|restarts|cuts|aloud|restarts-aloud|cuts-aloud FIRST COUNT"
            );
            return ExitCode::from(2);
        }
    };
    let number = |at: usize, default| arguments.get(at).map_or(default, |it| it.parse().unwrap());
    let (first, count) = (number(1, 1), number(2, 1_000_000));
    set_hook(Box::new(|panic| {
        let said = panic.to_string().replace('\n', " ");
        SAID.with(|it| *it.borrow_mut() = said);
    }));
    let (begun, next) = (Instant::now(), AtomicU64::new(0));
    let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let all = AtomicU64::new(0);
    let worker = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let seed = first + number;
            match catch_unwind(|| run(seed)) {
                Ok((_, trace)) => _ = all.fetch_add(of_seed(seed, trace), Ordering::Relaxed),
                Err(_) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    let said = SAID.with(RefCell::take);
                    println!("ROOMCAST_SEED={seed} fails: {said}");
                }
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(STEP) || done == count {
                let (failed, seconds) = (failed.load(Ordering::Relaxed), begun.elapsed().as_secs());
                println!("{done} schedules, {failed} failed, {seconds} s");
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(worker)));
    });
    println!("sent: {:016x}", all.into_inner());
    ExitCode::from(u8::from(failed.into_inner() > 0))
}

/// The sum of these is the same in any order, and another one where two seeds change places.
fn of_seed(seed: u64, trace: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, trace).hash(&mut hasher);
    hasher.finish()
}
