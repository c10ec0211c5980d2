//! Faults made by hand: whether the simulation finds them shows what it is worth (`crates/simulation/tests/mutations.rs`).
//!
//! They exist where `--cfg roomcast_mutations` is set. In every other build `mutated!` is `false`.

#[cfg(roomcast_mutations)]
use std::{cell::RefCell, collections::BTreeSet};

#[cfg(roomcast_mutations)]
thread_local! {
    static ACTIVE: RefCell<(&'static str, BTreeSet<&'static str>)> = RefCell::default();
}

/// Makes this fault, and no other, on this thread; none if it is empty.
#[cfg(roomcast_mutations)]
pub fn set(name: &'static str) {
    ACTIVE.with_borrow_mut(|active| active.0 = name);
}

/// Whether a fault is to be made here.
#[cfg(roomcast_mutations)]
pub fn is(name: &'static str) -> bool {
    ACTIVE.with_borrow_mut(|active| {
        active.1.insert(name);
        active.0 == name
    })
}

/// Whether this thread has come by a fault.
#[cfg(roomcast_mutations)]
pub fn was_asked(name: &str) -> bool {
    ACTIVE.with_borrow(|active| active.1.contains(name))
}

/// Whether a fault is to be made here: never, but in the build that tests the simulation.
#[cfg(roomcast_mutations)]
#[doc(hidden)]
#[macro_export]
macro_rules! mutated {
    ($name:literal) => {
        $crate::mutation::is($name)
    };
}

/// Whether a fault is to be made here: never, but in the build that tests the simulation.
#[cfg(not(roomcast_mutations))]
#[doc(hidden)]
#[macro_export]
macro_rules! mutated {
    ($name:literal) => {
        false
    };
}
