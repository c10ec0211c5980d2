//! Schedules of nodes with links between them: each letter comes once and in order while its link holds, and never over
//! another one.
//!
//! `ROOMCAST_SEED` repeats one schedule, `ROOMCAST_SCHEDULES` says how many there are.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use roomcast_simulation::{PostCounts, run_post};

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn each_letter_comes_once_in_order_over_its_own_link() {
    if let Some(seed) = variable("ROOMCAST_SEED") {
        println!("{:?}", run_post(seed));
        return;
    }
    let most = if cfg!(debug_assertions) { 40 } else { 2_000 };
    let schedules = variable("ROOMCAST_SCHEDULES").unwrap_or(most);
    let mut counts = PostCounts::default();
    for seed in 1..=schedules {
        println!("ROOMCAST_SEED={seed}");
        counts.add(&run_post(seed));
    }
    for (what, count) in counts.list() {
        println!("{what:14} {count}");
        assert!(count > 0 || schedules < 40, "{what} never happened");
    }
}
