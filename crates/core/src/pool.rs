//! The connection pool: who is connected, and who has been for too long without use.
//!
//! A connection is *in use* while it is in a room. One that is not is reaped after `max_idle`
//! without use or at the age of `max_lifetime`; one in use never is. `ping` messages count as use.

use hashbrown::HashTable;

use crate::id::ClientId;
use crate::time::micros;

/// When a pooled connection was made and used. Packed, as each connection has one.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
pub(crate) struct Pooled {
    pub(crate) client_id: ClientId,
    pub(crate) hash: u64,
    pub(crate) created: u64,
    pub(crate) last_used: u64,
}

/// Why a connection is reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Idle,
    Lifetime,
}

/// The pool's two settings, in microseconds; 0 switches one off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    max_idle: u64,
    max_lifetime: u64,
}

impl PoolLimits {
    pub(crate) fn new(max_idle_ms: u64, max_lifetime_ms: u64) -> PoolLimits {
        PoolLimits {
            max_idle: micros(max_idle_ms),
            max_lifetime: micros(max_lifetime_ms),
        }
    }

    /// Whether a connection has to go, or else the time at which to look again.
    pub(crate) fn check(&self, pooled: &Pooled, in_use: bool, now: u64) -> Result<u64, Expiry> {
        if in_use {
            return Ok(u64::MAX);
        }
        let idle_end = end(pooled.last_used, self.max_idle);
        let lifetime_end = end(pooled.created, self.max_lifetime);
        match now {
            now if now > idle_end => Err(Expiry::Idle),
            now if now > lifetime_end => Err(Expiry::Lifetime),
            _ => Ok(idle_end.min(lifetime_end).saturating_add(1)),
        }
    }
}

fn end(start: u64, length: u64) -> u64 {
    if length == 0 {
        u64::MAX
    } else {
        start.saturating_add(length)
    }
}

/// Finds a shard's connections by client id. The entries themselves lie with the connections,
/// which `entry` reaches by slot, so that one costs five bytes here.
#[derive(Debug, Default)]
pub(crate) struct ConnectionPool {
    slots: HashTable<u32>,
}

impl ConnectionPool {
    /// Puts a connection in.
    pub(crate) fn put(&mut self, slot: u32, hash: u64, hash_of: impl Fn(u32) -> u64) {
        self.slots.insert_unique(hash, slot, |slot| hash_of(*slot));
    }

    /// The slot of the live connection of a client.
    pub(crate) fn get(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.slots.find(hash, |slot| is_it(*slot)).copied()
    }

    /// Takes a connection out.
    pub(crate) fn remove(&mut self, slot: u32, hash: u64) {
        if let Ok(entry) = self.slots.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled(created: u64, last_used: u64) -> Pooled {
        let client_id = ClientId::from_random([1, 2]);
        Pooled {
            client_id,
            hash: 0,
            created,
            last_used,
        }
    }

    #[test]
    fn a_pooled_connection_has_44_bytes() {
        assert_eq!(size_of::<Pooled>(), 44);
    }

    #[test]
    fn one_in_use_is_never_reaped() {
        let limits = PoolLimits::new(1, 1);
        assert_eq!(
            limits.check(&pooled(0, 0), true, u64::MAX - 1),
            Ok(u64::MAX)
        );
    }

    #[test]
    fn idle_and_old_ones_are_reaped_just_past_their_time() {
        let limits = PoolLimits::new(300_000, 1_800_000);
        let minute = 60_000_000;
        let idle = pooled(0, 10 * minute);
        assert_eq!(limits.check(&idle, false, 15 * minute), Ok(15 * minute + 1));
        assert_eq!(
            limits.check(&idle, false, 15 * minute + 1),
            Err(Expiry::Idle)
        );
        let old = pooled(0, 30 * minute);
        assert_eq!(limits.check(&old, false, 30 * minute), Ok(30 * minute + 1));
        assert_eq!(
            limits.check(&old, false, 30 * minute + 1),
            Err(Expiry::Lifetime)
        );
    }

    #[test]
    fn zero_switches_a_limit_off() {
        assert_eq!(
            PoolLimits::new(0, 0).check(&pooled(0, 0), false, u64::MAX - 1),
            Ok(u64::MAX)
        );
    }
}
