//! Connections per client address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use roomcast_core::Origin;

/// What is counted as one client: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets.
///
/// 8 bytes, because each connection carries one. IPv4 addresses are put into `0:1::/32`, which no host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AddressKey(u64);

/// The number of an address for [`Access`](roomcast_core::Access).
pub(super) fn origin(address: Option<IpAddr>) -> Origin {
    address.map_or(Origin::NONE, |address| Origin(AddressKey::of(address).0))
}

impl AddressKey {
    /// No address: not counted.
    pub(super) const NONE: AddressKey = AddressKey(u64::MAX);

    pub(super) fn of(address: IpAddr) -> AddressKey {
        match address.to_canonical() {
            IpAddr::V4(address) => AddressKey(1 << 32 | u64::from(address.to_bits())),
            IpAddr::V6(address) => AddressKey((address.to_bits() >> 64) as u64),
        }
    }
}

/// How many connections each address has. An address without any has no entry.
#[derive(Debug)]
pub(super) struct Addresses {
    limit: u32,
    /// Clients choose the keys, hence std's keyed hash. Locked twice in a connection's life, for a look-up.
    counts: Mutex<HashMap<AddressKey, u32>>,
}

impl Addresses {
    /// 0 switches the limit off.
    pub(super) fn new(limit: u32) -> Addresses {
        Addresses {
            limit,
            counts: Mutex::default(),
        }
    }

    /// Counts one more; false when the address has no place left.
    pub(super) fn take(&self, key: AddressKey) -> bool {
        if self.limit == 0 || key == AddressKey::NONE {
            return true;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_insert(0);
        let free = *count < self.limit;
        if free {
            *count += 1;
        }
        free
    }

    /// Takes back what [`Addresses::take`] counted.
    pub(super) fn give_back(&self, key: AddressKey) {
        if self.limit == 0 || key == AddressKey::NONE {
            return;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = counts.entry(key) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        // After a storm the table would keep its size for the rest of the process's life.
        if counts.capacity() > 1024 && counts.len() < counts.capacity() / 8 {
            counts.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_is_counted_as_one_client() {
        let of = |text: &str| origin(text.parse().ok());
        assert_eq!(of("192.0.2.7"), of("::ffff:192.0.2.7"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
        assert_ne!(of("192.0.2.7"), Origin::NONE);
        assert_eq!(origin(None), Origin::NONE);
    }
}
