//! One coarse timer wheel a shard, with one entry a connection and no memory beyond it.
//!
//! An entry that is due later than the wheel reaches is put in again each time its slot comes up.
//! The hashed wheel of Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 6.

const NONE: u32 = u32::MAX;
const SLOTS: u64 = 1024;

#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    previous: u32,
    /// Tick at which the entry is due; [`Node::IDLE`] when it is not in the wheel.
    due: u64,
}

impl Node {
    const IDLE: u64 = u64::MAX;
}

/// Timers by small numbers (a connection's slot).
#[derive(Debug)]
pub(crate) struct Wheel {
    /// Microseconds a tick.
    tick: u64,
    heads: Vec<u32>,
    nodes: Vec<Node>,
    /// The last tick that was run.
    at: u64,
    entries: usize,
}

impl Wheel {
    pub(crate) fn new(tick: u64) -> Wheel {
        Wheel {
            tick: tick.max(1),
            heads: vec![NONE; SLOTS as usize],
            nodes: Vec::new(),
            at: 0,
            entries: 0,
        }
    }

    /// Sets the entry's time, in microseconds; fires at that time or up to one tick later.
    pub(crate) fn set(&mut self, entry: u32, due: u64) {
        self.remove(entry);
        if self.nodes.len() <= entry as usize {
            let idle = Node {
                next: NONE,
                previous: NONE,
                due: Node::IDLE,
            };
            self.nodes.resize(entry as usize + 1, idle);
        }
        let due = due.div_ceil(self.tick).max(self.at + 1);
        self.link(entry, due);
        self.entries += 1;
    }

    pub(crate) fn remove(&mut self, entry: u32) {
        let Some(node) = self.nodes.get(entry as usize).copied() else {
            return;
        };
        if node.due == Node::IDLE {
            return;
        }
        self.unlink(entry, node);
        self.nodes[entry as usize].due = Node::IDLE;
        self.entries -= 1;
    }

    /// Moves on to `now` and calls `fire` for each entry that is due, which then is in the wheel no more.
    pub(crate) fn run(&mut self, now: u64, due: &mut Vec<u32>) {
        let target = now / self.tick;
        if self.entries == 0 {
            self.at = self.at.max(target);
            return;
        }
        // After a long stop each slot is looked at once.
        if target > self.at + SLOTS {
            self.at = target - SLOTS;
        }
        while self.at < target {
            self.at += 1;
            let mut entry = self.heads[(self.at % SLOTS) as usize];
            while entry != NONE {
                let node = self.nodes[entry as usize];
                if node.due <= self.at {
                    self.unlink(entry, node);
                    self.nodes[entry as usize].due = Node::IDLE;
                    self.entries -= 1;
                    due.push(entry);
                }
                entry = node.next;
            }
        }
    }

    /// Microseconds at which `run` should be called next.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        if self.entries == 0 {
            return None;
        }
        let ahead =
            (1..=SLOTS).find(|ahead| self.heads[((self.at + ahead) % SLOTS) as usize] != NONE);
        ahead.map(|ahead| (self.at + ahead).saturating_mul(self.tick))
    }

    fn link(&mut self, entry: u32, due: u64) {
        let slot = (due % SLOTS) as usize;
        let next = self.heads[slot];
        if next != NONE {
            self.nodes[next as usize].previous = entry;
        }
        self.heads[slot] = entry;
        self.nodes[entry as usize] = Node {
            next,
            previous: NONE,
            due,
        };
    }

    fn unlink(&mut self, entry: u32, node: Node) {
        debug_assert_ne!(entry, NONE);
        match node.previous {
            NONE => self.heads[(node.due % SLOTS) as usize] = node.next,
            previous => self.nodes[previous as usize].next = node.next,
        }
        if node.next != NONE {
            self.nodes[node.next as usize].previous = node.previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list of due times: nothing fires early, late by a tick, twice or never.
        #[test]
        fn fires_what_is_due(steps in proptest::collection::vec((0u32..20, 0u64..400_000, 0u64..30_000, any::<bool>()), 1..200)) {
            let mut wheel = Wheel::new(100);
            let mut model = std::collections::BTreeMap::new();
            let mut now = 0;
            for (entry, delay, pass, remove) in steps {
                if remove {
                    wheel.remove(entry);
                    model.remove(&entry);
                } else {
                    wheel.set(entry, now + delay);
                    model.insert(entry, now + delay);
                }
                if let Some(wake) = wheel.next_wake() {
                    let earliest = model.values().min().copied().unwrap_or(u64::MAX);
                    prop_assert!(wake <= earliest.max(now) + 200);
                }
                now += pass;
                let mut fired = Vec::new();
                wheel.run(now, &mut fired);
                for entry in fired {
                    let due = model.remove(&entry);
                    prop_assert!(due.is_some_and(|due| due <= now), "early or twice: {due:?} at {now}");
                }
                prop_assert!(model.values().all(|due| due + 200 > now), "late: {model:?} at {now}");
                prop_assert_eq!(wheel.entries, model.len());
                prop_assert_eq!(wheel.next_wake().is_none(), model.is_empty());
            }
        }
    }
}
