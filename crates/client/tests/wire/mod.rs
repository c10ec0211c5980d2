//! A server on a free port, clients of it, and a wire between them that can be cut.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a panic is how a test fails, and each test uses its part"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use roomcast_client::session::Config;
use roomcast_client::{Client, Content, Events, Format, RoomEvent};
use roomcast_server::{RunningServer, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// No test waits longer for anything.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what)
        .await
        .expect("it took too long")
}

pub fn start() -> RunningServer {
    start_with(|_| {})
}

/// A server that takes so many messages a second from each connection, and twice as many at once.
pub fn start_with_rate(messages_per_second: u32) -> RunningServer {
    start_with(|config| {
        config.core.messages_per_second = messages_per_second;
        config.core.burst = messages_per_second * 2;
    })
}

pub fn start_with(change: impl FnOnce(&mut roomcast_server::config::Config)) -> RunningServer {
    let mut config = roomcast_server::config::Config::default();
    config.server.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.server.shards = Some(1);
    config.core.messages_per_second = 0;
    config.shutdown.delay = Duration::ZERO;
    change(&mut config);
    let server = Server::builder().config(config).build().unwrap();
    server.start().unwrap()
}

pub fn url(address: SocketAddr) -> String {
    format!("ws://{address}/ws")
}

pub fn quick(format: Format) -> Config {
    Config {
        format,
        backoff_min_ms: 10,
        backoff_max_ms: 50,
        ..Config::default()
    }
}

pub fn client(address: SocketAddr, format: Format) -> Client {
    let builder = Client::builder(&url(address)).config(quick(format));
    builder.connect().unwrap()
}

/// Passes bytes on; each new value of `cuts` breaks all connections without a close frame.
pub async fn proxy(server: SocketAddr, cuts: watch::Receiver<u32>) -> SocketAddr {
    switch(watch::channel(server).1, cuts).await
}

/// The same, to the server that `servers` names at the time.
pub async fn switch(
    servers: watch::Receiver<SocketAddr>,
    cuts: watch::Receiver<u32>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut cuts = cuts.clone();
            cuts.mark_unchanged();
            let server = *servers.borrow();
            tokio::spawn(async move {
                let Ok(mut far) = TcpStream::connect(server).await else {
                    return;
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cuts.changed() => {}
                }
            });
        }
    });
    address
}

/// Cuts each of its first connections after some bytes, wherever in a frame that is. Counts the connections.
pub async fn chaos(server: SocketAddr, seed: u64, cuts: u32) -> (SocketAddr, watch::Receiver<u32>) {
    let (made, count) = watch::channel(0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut random = seed;
        for number in 0.. {
            let Ok((near, _)) = listener.accept().await else {
                return;
            };
            made.send_replace(number);
            // splitmix64.
            random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (random ^ (random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let left = match number < cuts {
                true => (400 + (mixed >> 40) % 20_000) as usize,
                false => usize::MAX,
            };
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(server).await else {
                    return;
                };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::select! {
                    () = pass(near_read, far_write, left) => {}
                    () = pass(far_read, near_write, left) => {}
                }
            });
        }
    });
    (address, count)
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut left: usize) {
    let mut buffer = [0; 4096];
    while left > 0 {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let some = count.min(left);
        if to.write_all(&buffer[..some]).await.is_err() {
            return;
        }
        left -= some;
    }
}

/// The next chat's text, past whatever else happens.
pub async fn chat(events: &mut Events) -> String {
    loop {
        match soon(events.next()).await.expect("the stream has ended") {
            RoomEvent::Message(message) => {
                if let Content::Chat(payload) = message.content {
                    return payload.parse().unwrap();
                }
            }
            RoomEvent::Gap { .. } => panic!("a gap"),
            _ => {}
        }
    }
}
