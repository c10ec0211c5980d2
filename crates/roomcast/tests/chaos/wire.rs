//! A network that cuts, stalls, tears frames apart and falls silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::random::Random;

/// What happens to a direction of a connection after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    /// Both directions end; what was on its way may arrive.
    Cut,
    /// Both directions end, and what was on its way is lost.
    Reset,
    /// Nothing passes for a while.
    Stall(Duration),
    /// A part of what came, and after a while the rest.
    Halves(Duration),
    /// Nothing passes any more, and nobody is told.
    Silence,
}

impl Harm {
    fn draw(random: &mut Random) -> Harm {
        let stall = Duration::from_millis(random.within(20..600));
        match random.next() % 100 {
            0..30 => Harm::Cut,
            30..50 => Harm::Reset,
            50..70 => Harm::Stall(stall),
            70..97 => Harm::Halves(stall / 8),
            _ => Harm::Silence,
        }
    }
}

/// A proxy that does harm, so often and no more. What it does to a connection is a matter of the seed and the
/// connection's number.
pub struct Chaos {
    pub address: SocketAddr,
    counts: Arc<Counts>,
}

struct Counts {
    connections: AtomicU64,
    harms_left: AtomicI64,
}

impl Chaos {
    pub async fn start(server: SocketAddr, seed: u64, harms: usize) -> Chaos {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts {
            connections: AtomicU64::new(0),
            harms_left: AtomicI64::new(i64::try_from(harms).unwrap()),
        });
        let shared = counts.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = shared.connections.fetch_add(1, Ordering::Relaxed);
                let random = Random(seed ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93));
                tokio::spawn(carry(near, server, random, shared.clone()));
            }
        });
        Chaos { address, counts }
    }

    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    pub fn harms_left(&self) -> i64 {
        self.counts.harms_left.load(Ordering::Relaxed)
    }
}

async fn carry(near: TcpStream, server: SocketAddr, mut random: Random, counts: Arc<Counts>) {
    let Ok(far) = TcpStream::connect(server).await else {
        return;
    };
    for stream in [&near, &far] {
        // Each part of a frame is to be a packet of its own.
        stream.set_nodelay(true).unwrap();
    }
    let (up, down) = (Random(random.next()), Random(random.next()));
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let reset = tokio::select! {
        reset = pass(&mut near_read, &mut far_write, 40..1_500, up, &counts) => reset,
        reset = pass(&mut far_read, &mut near_write, 150..12_000, down, &counts) => reset,
    };
    if reset {
        for stream in [near_read.as_ref(), far_read.as_ref()] {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        // Dropped, they would say goodbye first.
        near_write.forget();
        far_write.forget();
    }
}

/// Passes bytes on, so many between one harm and the next, until the end of the connection; whether that is a reset.
async fn pass(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    between: std::ops::Range<u64>,
    mut random: Random,
    counts: &Counts,
) -> bool {
    let mut buffer = [0; 4096];
    loop {
        let mut left = random.within(between.clone()) as usize;
        while left > 0 {
            let most = left.min(buffer.len());
            let Ok(count @ 1..) = from.read(&mut buffer[..most]).await else {
                return false;
            };
            if to.write_all(&buffer[..count]).await.is_err() {
                return false;
            }
            left -= count;
        }
        let harm = Harm::draw(&mut random);
        if counts.harms_left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            continue;
        }
        match harm {
            Harm::Cut => return false,
            Harm::Reset => return true,
            Harm::Stall(time) => sleep(time).await,
            Harm::Halves(time) => {
                let Ok(count @ 1..) = from.read(&mut buffer).await else {
                    return false;
                };
                let (first, rest) =
                    buffer[..count].split_at(random.within(0..count as u64) as usize);
                if to.write_all(first).await.is_err() {
                    return false;
                }
                sleep(time).await;
                if to.write_all(rest).await.is_err() {
                    return false;
                }
            }
            Harm::Silence => std::future::pending().await,
        }
    }
}
