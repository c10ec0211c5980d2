//! How many connections are let in: in all, per client address, and by memory.
//!
//! A [`ConnectionPermit`] is a connection's share of these limits. It goes with the connection from the accept loop to
//! its shard and gives the share back when it is dropped, on whatever thread that is.

mod address;
pub(crate) mod descriptors;
pub(crate) mod memory;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use address::{AddressKey, Addresses};
pub(crate) use memory::MemoryGauge;
use roomcast_core::Origin;

/// The limits; 0 switches one off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// Connections in all.
    pub(crate) connections: usize,
    /// Connections from one IPv4 address or one IPv6 network of 64 bits.
    pub(crate) per_address: u32,
    /// Bytes in use that the process should stay under.
    pub(crate) memory: u64,
}

/// What sessions without a connection are counted under whose client has this address; `None` for one that is not counted.
pub(crate) fn origin(address: Option<IpAddr>) -> Origin {
    address::origin(address)
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `limits.connections` is reached.
    Connections,
    /// The limit per address is reached.
    Address,
    /// Memory is nearly used up.
    Memory,
    /// File descriptors are nearly used up.
    FileDescriptors,
    /// An address of the API's own has as many connections as it may have.
    Backends,
}

/// Counts the connections of the whole process.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: ConnectionLimits,
    /// Connections that the file descriptors allow for.
    descriptors: usize,
    connections: AtomicUsize,
    addresses: Addresses,
    memory: MemoryGauge,
}

impl Admission {
    /// `descriptors`: connections that the file descriptor limit allows for; 0 when it is not known.
    pub(crate) fn new(limits: ConnectionLimits, descriptors: usize) -> Arc<Admission> {
        Arc::new(Admission {
            limits,
            descriptors,
            connections: AtomicUsize::new(0),
            addresses: Addresses::new(limits.per_address),
            memory: MemoryGauge::new(limits.memory),
        })
    }

    /// Takes one connection into the count. Its address is counted apart, as soon as it is known:
    /// [`ConnectionPermit::count_address`].
    ///
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn admit(self: &Arc<Admission>) -> Result<ConnectionPermit, Refusal> {
        // Counted first, so that two threads cannot both take the last place.
        let others = self.connections.fetch_add(1, Ordering::Relaxed);
        let permit = ConnectionPermit {
            admission: Arc::clone(self),
            address: AddressKey::NONE,
        };
        if self.limits.connections != 0 && others >= self.limits.connections {
            return Err(Refusal::Connections);
        }
        if self.descriptors != 0 && others >= self.descriptors {
            return Err(Refusal::FileDescriptors);
        }
        if !self.memory.has_room() {
            return Err(Refusal::Memory);
        }
        Ok(permit)
    }

    /// Connections in all that there can be: by the setting and by the file descriptors. 0: any number.
    pub(crate) fn most(&self) -> usize {
        let limits = [self.limits.connections, self.descriptors];
        limits
            .into_iter()
            .filter(|limit| *limit != 0)
            .min()
            .unwrap_or(0)
    }

    pub(crate) fn limits(&self) -> ConnectionLimits {
        self.limits
    }

    /// Connections that hold a permit now.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A connection's share of the limits, given back on drop.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    admission: Arc<Admission>,
    address: AddressKey,
}

impl ConnectionPermit {
    /// Counts this connection under its client's address.
    ///
    /// # Errors
    /// [`Refusal::Address`] when that address has as many as it may have; the permit stays as it was.
    pub(crate) fn count_address(&mut self, address: IpAddr) -> Result<(), Refusal> {
        let key = AddressKey::of(address);
        if key == self.address {
            return Ok(());
        }
        if !self.admission.addresses.take(key) {
            return Err(Refusal::Address);
        }
        self.admission.addresses.give_back(self.address);
        self.address = key;
        Ok(())
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.admission.addresses.give_back(self.address);
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, per_address: u32, memory: u64) -> Arc<Admission> {
        Admission::new(
            ConnectionLimits {
                connections,
                per_address,
                memory,
            },
            0,
        )
    }

    #[test]
    fn connections_in_all() {
        let admission = admission(2, 0, 0);
        let first = admission.admit().unwrap();
        let _second = admission.admit().unwrap();
        assert_eq!(admission.admit().unwrap_err(), Refusal::Connections);
        assert_eq!(admission.connections(), 2);
        drop(first);
        assert!(admission.admit().is_ok());
    }

    #[test]
    fn descriptors() {
        let admission = Admission::new(ConnectionLimits::default(), 1);
        let _first = admission.admit().unwrap();
        assert_eq!(admission.admit().unwrap_err(), Refusal::FileDescriptors);
    }

    #[test]
    fn nothing_is_limited_by_zero() {
        let admission = admission(0, 0, 0);
        let permits: Vec<_> = (0..1000)
            .map(|_| {
                let mut permit = admission.admit().unwrap();
                permit.count_address("192.0.2.7".parse().unwrap()).unwrap();
                permit
            })
            .collect();
        assert_eq!(admission.connections(), 1000);
        drop(permits);
        assert_eq!(admission.connections(), 0);
    }

    #[test]
    fn per_address() {
        let admission = admission(0, 2, 0);
        let open = |address: &str| {
            let mut permit = admission.admit().unwrap();
            permit
                .count_address(address.parse().unwrap())
                .map(|()| permit)
        };
        let first = open("192.0.2.7").unwrap();
        let _second = open("::ffff:192.0.2.7").unwrap();
        assert_eq!(open("192.0.2.7").unwrap_err(), Refusal::Address);
        let _other = open("192.0.2.8").unwrap();
        // One customer's network of 64 bits is one address.
        let _third = open("2001:db8:0:7::1").unwrap();
        let _fourth = open("2001:db8:0:7:ffff::2").unwrap();
        assert_eq!(open("2001:db8:0:7::3").unwrap_err(), Refusal::Address);
        let _fifth = open("2001:db8:0:8::1").unwrap();
        drop(first);
        assert!(open("192.0.2.7").is_ok());
    }

    #[test]
    fn a_permit_moves_from_the_proxys_address_to_the_clients() {
        let admission = admission(0, 1, 0);
        let mut permit = admission.admit().unwrap();
        permit.count_address("10.0.0.1".parse().unwrap()).unwrap();
        permit.count_address("192.0.2.7".parse().unwrap()).unwrap();
        permit.count_address("192.0.2.7".parse().unwrap()).unwrap();
        let mut other = admission.admit().unwrap();
        other.count_address("10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(
            other.count_address("192.0.2.7".parse().unwrap()),
            Err(Refusal::Address)
        );
        drop((permit, other));
        assert_eq!(admission.addresses.known(), 0);
    }

    #[test]
    fn memory() {
        let admission = admission(0, 0, 1024);
        assert_eq!(admission.admit().unwrap_err(), Refusal::Memory);
        assert_eq!(admission.connections(), 0);
    }

    #[test]
    fn many_newcomers_between_two_looks_are_counted() {
        let gauge = MemoryGauge::new(1024 * 1024 * 1024);
        let admitted = (0..1_000_000).take_while(|_| gauge.has_room()).count();
        assert!(admitted < 1_000_000);
    }

    #[test]
    fn a_permit_is_small() {
        assert!(size_of::<ConnectionPermit>() <= 16);
    }
}
