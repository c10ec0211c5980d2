//! Two proxies of bytes: a balancer without stickiness, and a slow wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::random::Random;

/// Gives each connection to a node by chance, whoever it is of.
pub struct Balancer {
    pub address: SocketAddr,
}

impl Balancer {
    pub async fn start(nodes: Vec<SocketAddr>, seed: u64) -> Balancer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut random = Random(seed);
            while let Ok((near, _)) = listener.accept().await {
                let mut order = nodes.clone();
                random.shuffle(&mut order);
                tokio::spawn(carry(near, order));
            }
        });
        Balancer { address }
    }
}

/// To the first of these that takes it.
async fn carry(mut near: TcpStream, order: Vec<SocketAddr>) {
    for node in order {
        if let Ok(mut far) = TcpStream::connect(node).await {
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let _ = copy_bidirectional(&mut near, &mut far).await;
            return;
        }
    }
}

/// A wire to Redis whose answers come late. It is no slower in bytes.
pub struct SlowWire {
    pub address: SocketAddr,
    late_ms: Arc<AtomicU64>,
}

impl SlowWire {
    pub async fn start(to: SocketAddr) -> SlowWire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let late_ms = Arc::new(AtomicU64::new(0));
        let shared = late_ms.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(delay(near, to, shared.clone()));
            }
        });
        SlowWire { address, late_ms }
    }

    /// From now on answers are late by so much.
    pub fn late(&self, by: Duration) {
        self.late_ms.store(by.as_millis() as u64, Ordering::Relaxed);
    }
}

async fn delay(near: TcpStream, to: SocketAddr, late_ms: Arc<AtomicU64>) {
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let (sender, mut due) = mpsc::unbounded_channel();
    let read = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = far_read.read(&mut buffer).await {
            let late = Duration::from_millis(late_ms.load(Ordering::Relaxed));
            let _ = sender.send((Instant::now() + late, buffer[..count].to_vec()));
        }
    };
    let write = async {
        while let Some((at, bytes)) = due.recv().await {
            sleep_until(at).await;
            if near_write.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
        _ = tokio::io::copy(&mut near_read, &mut far_write) => {}
    }
}
