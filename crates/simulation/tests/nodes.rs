//! Schedules of nodes at a store that goes away and comes back: no node acts for a lease that is given up, and none claims
//! what another has yet to write.
//!
//! `ROOMCAST_SEED` repeats one schedule, `ROOMCAST_SCHEDULES` says how many there are.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use roomcast_simulation::{NodesCounts, run_nodes};

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn no_node_acts_for_a_lease_that_is_given_up() {
    if let Some(seed) = variable("ROOMCAST_SEED") {
        println!("{:?}", run_nodes(seed));
        return;
    }
    let most = if cfg!(debug_assertions) { 40 } else { 5_000 };
    let schedules = variable("ROOMCAST_SCHEDULES").unwrap_or(most);
    let mut counts = NodesCounts::default();
    for seed in 1..=schedules {
        println!("ROOMCAST_SEED={seed}");
        counts.add(&run_nodes(seed));
    }
    for (what, count) in counts.list() {
        println!("{what:14} {count}");
        assert!(count > 0 || schedules < 40, "{what} never happened");
    }
}
