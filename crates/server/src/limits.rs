//! How many connections are let in: in all, per client address, and by memory.
//!
//! A [`ConnectionPermit`] is a connection's share of these limits. It goes with the connection from the accept loop to
//! its shard and gives the share back when it is dropped, on whatever thread that is.

mod address;
mod memory;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use address::{AddressKey, Addresses};
pub(crate) use memory::MemoryGauge;

/// The limits; 0 switches one off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// Connections in all.
    pub(crate) connections: usize,
    /// Connections from one IPv4 address or one IPv6 network of 64 bits.
    pub(crate) per_address: u32,
    /// Bytes of resident memory that the process should stay under.
    pub(crate) memory: u64,
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
        let permit = ConnectionPermit { admission: Arc::clone(self), address: AddressKey::NONE };
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
