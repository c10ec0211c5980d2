//! Ports of 127.0.0.1 that are a test's own until its process ends, also while its servers are down.

use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Range;
use std::sync::Mutex;

/// The system gives no outgoing connection a port of this range. So none that comes back takes its server's port, or
/// connects to itself.
const PORTS: Range<u16> = 10_000..30_000;

struct Taken {
    next: u16,
    /// A lock for each port: tests of several processes choose at the same time.
    locks: Vec<File>,
}

static TAKEN: Mutex<Option<Taken>> = Mutex::new(None);

/// A port that no other test gets, and that nothing listens on.
pub(crate) fn free_port() -> u16 {
    let mut taken = TAKEN.lock().expect("no test fails in here");
    let taken = taken.get_or_insert_with(|| Taken {
        // Processes begin apart from each other, so they rarely meet a lock.
        next: PORTS.start + (u64::from(std::process::id()) * 7_919 % PORTS.len() as u64) as u16,
        locks: Vec::new(),
    });
    let locks = std::env::temp_dir().join("roomcast-test-ports");
    fs::create_dir_all(&locks).expect("a directory for locks");
    for _ in PORTS {
        let port = taken.next;
        taken.next = if port + 1 == PORTS.end {
            PORTS.start
        } else {
            port + 1
        };
        let lock = File::create(locks.join(port.to_string())).expect("a lock");
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.locks.push(lock);
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}
