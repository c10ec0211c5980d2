//! Two proxies of bytes: a balancer without stickiness, and a slow wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::random::Random;

/// From one look at a node's `/readyz` to the next, and how long one may take.
const LOOKS: Duration = Duration::from_millis(200);

/// Gives each connection to a node by chance, whoever it is of: to one of those that say that they are ready, if any
/// does.
pub struct Balancer {
    pub address: SocketAddr,
}

impl Balancer {
    pub async fn start(nodes: Vec<SocketAddr>, seed: u64) -> Balancer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let nodes: Vec<Arc<Node>> = (nodes.into_iter())
            .map(|address| {
                let ready = AtomicBool::new(true);
                Arc::new(Node { address, ready })
            })
            .collect();
        for node in &nodes {
            tokio::spawn(watch(node.clone()));
        }
        tokio::spawn(async move {
            let mut random = Random(seed);
            while let Ok((near, _)) = listener.accept().await {
                let mut order = nodes.clone();
                random.shuffle(&mut order);
                order.sort_by_key(|node| !node.ready.load(Ordering::Relaxed));
                tokio::spawn(carry(near, order));
            }
        });
        Balancer { address }
    }
}

struct Node {
    address: SocketAddr,
    ready: AtomicBool,
}

async fn watch(node: Arc<Node>) {
    loop {
        let ready = timeout(LOOKS, is_ready(node.address)).await;
        node.ready
            .store(matches!(ready, Ok(Ok(true))), Ordering::Relaxed);
        // As a balancer does: a node that changes tells nobody.
        tokio::time::sleep(LOOKS).await;
    }
}

async fn is_ready(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

/// To the first of these that takes it.
async fn carry(mut near: TcpStream, order: Vec<Arc<Node>>) {
    for node in order {
        if let Ok(mut far) = TcpStream::connect(node.address).await {
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
