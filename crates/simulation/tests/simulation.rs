//! Schedules of server and clients: nothing acked is lost, nothing comes twice, gaps are told, nothing outlives its time.
//!
//! `ROOMCAST_SEED` repeats one schedule, and prints what each client is told; `ROOMCAST_SCHEDULES` says how many there are.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use roomcast_simulation::{Counts, run, run_aloud, run_cuts, run_fleet, run_restarts};

/// Counts of what can happen to a node that is alone.
const ALONE: usize = 18;

/// Schedules of several nodes, if `ROOMCAST_SEVERAL` does not say how many.
const SEVERAL: u64 = if cfg!(debug_assertions) { 135 } else { 10_000 };

/// Those whose store comes back too.
const RESTARTS: u64 = if cfg!(debug_assertions) { 40 } else { 1_000 };

/// Those whose nodes are cut off from the store for long.
const CUTS: u64 = if cfg!(debug_assertions) { 40 } else { 1_000 };

/// One that fails: its seed.
type Failed = u64;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs the schedules from `first` on, on all processors.
fn run_all(run: fn(u64) -> (Counts, u64), first: u64, schedules: u64) -> Result<Counts, Failed> {
    let next = AtomicU64::new(first);
    let worker = || {
        let mut counts = Counts::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + schedules {
                return Ok(counts);
            }
            match catch_unwind(|| run(seed)) {
                Ok((own, _)) => counts.add(&own),
                Err(_) => {
                    next.store(first + schedules, Ordering::Relaxed);
                    return Err(seed);
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut counts = Counts::default();
        let mut failed = None;
        for worker in workers {
            match worker.join().unwrap() {
                Ok(own) => counts.add(&own),
                Err(seed) => failed = Some(failed.map_or(seed, |other| seed.min(other))),
            }
        }
        failed.map_or(Ok(counts), Err)
    })
}

#[test]
fn nothing_acked_is_lost_nothing_comes_twice_and_gaps_are_told() {
    if let Some(seed) = variable("ROOMCAST_SEED") {
        run_aloud(seed);
        return;
    }
    let most = if cfg!(debug_assertions) { 200 } else { 10_000 };
    let (first, schedules) = (1, variable("ROOMCAST_SCHEDULES").unwrap_or(most));
    println!("ROOMCAST_SEED={first} and the {schedules} from there on");
    let counts = run_all(run, first, schedules).unwrap_or_else(|seed| {
        panic!("ROOMCAST_SEED={seed} fails: see above");
    });
    for (what, count) in &counts.list()[..ALONE] {
        println!("{what:14} {count}");
        assert!(*count > 0 || schedules < 200, "{what} never happened");
    }
}

#[test]
fn several_nodes_are_one_system() {
    if let Some(seed) = variable("ROOMCAST_SEED") {
        run_fleet(seed, true);
        return;
    }
    let (first, schedules) = (1, variable("ROOMCAST_SEVERAL").unwrap_or(SEVERAL));
    println!("ROOMCAST_SEED={first} and the {schedules} from there on");
    let run = |seed| run_fleet(seed, false);
    let counts = run_all(run, first, schedules).unwrap_or_else(|seed| {
        panic!("ROOMCAST_SEED={seed} fails: see above");
    });
    for (what, count) in counts.list() {
        println!("{what:14} {count}");
        let never = ["restarts", "store_restarts", "sent_away"].contains(&what);
        assert!(
            count > 0 || never || schedules < 200,
            "{what} never happened"
        );
    }
}

#[test]
fn several_nodes_whose_store_comes_back_with_all_or_less_lose_only_what_both_lose() {
    if let Some(seed) = variable("ROOMCAST_RESTARTS_SEED") {
        run_restarts(seed, true);
        return;
    }
    println!("ROOMCAST_RESTARTS_SEED=1 and the {RESTARTS} from there on");
    let run = |seed| run_restarts(seed, false);
    let counts = run_all(run, 1, RESTARTS).unwrap_or_else(|seed| {
        panic!("ROOMCAST_RESTARTS_SEED={seed} fails: see above");
    });
    for (what, count) in counts.list() {
        println!("{what:14} {count}");
    }
    assert!(counts.store_restarts > 0);
}

#[test]
fn clients_of_nodes_that_are_cut_off_come_back_elsewhere_and_lose_nothing() {
    if let Some(seed) = variable("ROOMCAST_CUTS_SEED") {
        run_cuts(seed, true);
        return;
    }
    println!("ROOMCAST_CUTS_SEED=1 and the {CUTS} from there on");
    let run = |seed| run_cuts(seed, false);
    let counts = run_all(run, 1, CUTS).unwrap_or_else(|seed| {
        panic!("ROOMCAST_CUTS_SEED={seed} fails: see above");
    });
    for (what, count) in counts.list() {
        println!("{what:14} {count}");
    }
    assert!(counts.sent_away > 0);
}

#[test]
fn a_seed_brings_the_same_bytes_again() {
    for seed in 1..20 {
        assert_eq!(run(seed), run(seed), "ROOMCAST_SEED={seed}");
    }
}
