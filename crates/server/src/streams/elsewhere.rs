//! Bodies that are read for streams of other nodes. Whether such a stream is still there is known when its node has the
//! body, so they have places of their own, and nobody gets many of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use roomcast_core::Origin;

use super::BODIES;
use super::id::SECRET;

/// Most of all clients: 4 MiB of them with the default `limits.max_message`.
const MOST: usize = 64;
/// Most of the clients of one address.
const MOST_OF_ADDRESS: u8 = 16;

#[derive(Debug, Default)]
pub(super) struct Elsewhere(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    streams: HashMap<[u8; SECRET], u8>,
    /// By [`Origin`].
    addresses: HashMap<u64, u8>,
}

impl Elsewhere {
    /// Takes a place, which [`Elsewhere::give_back`] gives back. False: there is none for this stream or address.
    pub(super) fn take(&self, secret: &[u8; SECRET], address: Origin) -> bool {
        let places = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_stream = places.streams.get(secret).copied().unwrap_or(0);
        let of_address = places.addresses.get(&address.0).copied().unwrap_or(0);
        // A client of this machine has no address that says who it is.
        let address_is_full = address != Origin::NONE && of_address >= MOST_OF_ADDRESS;
        if places.taken >= MOST || of_stream >= BODIES || address_is_full {
            return false;
        }
        places.taken += 1;
        places.streams.insert(*secret, of_stream + 1);
        places.addresses.insert(address.0, of_address + 1);
        true
    }

    pub(super) fn give_back(&self, secret: &[u8; SECRET], address: Origin) {
        let places = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.taken = places.taken.saturating_sub(1);
        count_down(&mut places.streams, secret);
        count_down(&mut places.addresses, &address.0);
    }
}

fn count_down<K: Hash + Eq>(counts: &mut HashMap<K, u8>, key: &K) {
    let left = counts.get_mut(key).map(|count| {
        *count = count.saturating_sub(1);
        *count
    });
    if left == Some(0) {
        counts.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_and_an_address_have_few_places_and_others_have_the_rest() {
        let elsewhere = Elsewhere::default();
        let stream = |number: u8| [number; SECRET];
        let busy = Origin(1);
        assert!(elsewhere.take(&stream(0), busy));
        assert!(elsewhere.take(&stream(0), busy));
        assert!(!elsewhere.take(&stream(0), Origin(2)), "its stream");
        for number in 1..15 {
            assert!(elsewhere.take(&stream(number), busy), "{number}");
        }
        assert!(!elsewhere.take(&stream(15), busy), "its address");
        for number in 100..148 {
            assert!(elsewhere.take(&stream(number), Origin::NONE), "{number}");
        }
        assert!(!elsewhere.take(&stream(99), Origin(3)), "all");
        for number in 100..148 {
            elsewhere.give_back(&stream(number), Origin::NONE);
        }
        assert!(elsewhere.take(&stream(99), Origin(3)));
        elsewhere.give_back(&stream(99), Origin(3));
        for number in (0..15).chain([0]) {
            elsewhere.give_back(&stream(number), busy);
        }
        let places = elsewhere.0.lock().unwrap();
        assert_eq!(places.taken, 0);
        assert!(places.streams.is_empty() && places.addresses.is_empty());
    }
}
