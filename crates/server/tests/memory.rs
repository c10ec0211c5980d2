//! `limits.memory` looks at what is in use: after a burst the server takes newcomers again, whatever the process keeps.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use common::{address, eventually, metric, start};
use roomcast_server::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MIB: u64 = 1024 * 1024;

/// A handshake, its status, and the connection.
fn open(address: SocketAddr) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    let status = std::str::from_utf8(&head[9..]).unwrap().parse().unwrap();
    (status, stream)
}

fn status(address: SocketAddr) -> u16 {
    open(address).0
}

/// Keeps the process's memory from going back to the system: small pieces, of which some stay.
#[expect(clippy::vec_box, reason = "small pieces are the point")]
fn fragment() -> Vec<Box<[u8; 1024]>> {
    let all: Vec<_> = (0..64 * MIB / 1024).map(|_| Box::new([1; 1024])).collect();
    all.into_iter().step_by(64).collect()
}

#[test]
fn after_a_burst_newcomers_are_taken_again() {
    let kept = fragment();
    let limit = CountingAllocator::in_use() as u64 + 24 * MIB;
    let server = start(|config| {
        config.limits.memory = Some(limit);
        config.limits.connections_per_address = 0;
    });
    let address = address(&server);
    assert_eq!(status(address), 101);
    // Each holds most of a message that doesn't end.
    let mut burst = Vec::new();
    let begun = [&b"\x81\xfe\xff\xf0\x01\x02\x03\x04"[..], &[b'x'; 60_000]].concat();
    loop {
        let (status, mut stream) = open(address);
        if status != 101 {
            assert_eq!(status, 503);
            break;
        }
        stream.write_all(&begun).unwrap();
        burst.push(stream);
        let bytes = burst.len() as u64 * 60_000;
        eventually("it is read", || {
            metric(&server, "roomcast_socket_read_bytes_total") >= bytes
        });
        assert!(burst.len() < 2_000, "nothing is bounded");
    }
    assert!(metric(&server, "roomcast_memory_in_use_bytes") > limit / 2);
    assert!(metric(&server, "roomcast_http_refused_total{cause=\"memory\"}") > 0);
    drop(burst);
    eventually("the burst is gone", || server.connections() == 0);
    // Without any waiting for others: nobody is there.
    eventually("a newcomer is taken", || status(address) == 101);
    assert!(
        metric(&server, "roomcast_memory_bytes") > metric(&server, "roomcast_memory_in_use_bytes")
    );
    drop(kept);
}
