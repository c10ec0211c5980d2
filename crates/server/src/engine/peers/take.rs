//! Connections that other nodes make.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use roomcast_core::post::MOST_DATAGRAM;
use roomcast_core::store::NodeId;
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::{Heard, Identity, PeerNews, hello, random};

/// For the first words.
const HELLO: Duration = Duration::from_secs(3);
/// Connections that have not proven themselves yet. Further ones wait to be accepted.
const UNPROVEN: usize = 64;
/// Bytes that are read at once. Most datagrams are smaller.
const BUFFER: usize = 16 * 1024;
/// After the system has refused a connection: it lacks file descriptors, for instance.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes connections. It ends when it is dropped, and all of them with it.
pub(super) async fn run(
    listener: TcpListener,
    identity: Identity,
    heard: Heard,
    tell: mpsc::Sender<PeerNews>,
) {
    let unproven = Arc::new(Semaphore::new(UNPROVEN));
    let (proven, mut have_proven) = mpsc::channel(UNPROVEN);
    let mut tasks = JoinSet::new();
    // By node: what reads its newest connection.
    let mut readers: HashMap<NodeId, AbortHandle> = HashMap::new();
    loop {
        let newcomer = async {
            let permit = Arc::clone(&unproven).acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            (permit, accepted) = newcomer => match accepted {
                Ok((stream, from)) => {
                    let (identity, proven) = (identity.clone(), proven.clone());
                    tasks.spawn(async move {
                        let _permit = permit;
                        prove(stream, from, identity, proven).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "another server's connection is not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some((node, stream)) = have_proven.recv() => {
                replace(&mut readers, &mut tasks, node, stream, &tell);
            }
            Some(_) = tasks.join_next() => {}
        }
        while tasks.try_join_next().is_some() {}
        readers.retain(|_, reader| !reader.is_finished());
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.values_mut().for_each(|is_open| *is_open = false);
        heard.extend(readers.keys().map(|node| (*node, true)));
    }
}

/// A node has one connection: the newest.
fn replace(
    readers: &mut HashMap<NodeId, AbortHandle>,
    tasks: &mut JoinSet<()>,
    node: NodeId,
    stream: TcpStream,
    tell: &mpsc::Sender<PeerNews>,
) {
    let tell = tell.clone();
    let reader = tasks.spawn(async move {
        // How it ended is the other side's to say: it connects again.
        let _ = read(stream, tell).await;
    });
    if let Some(before) = readers.insert(node, reader) {
        before.abort();
    }
}

async fn prove(
    mut stream: TcpStream,
    from: SocketAddr,
    identity: Identity,
    proven: mpsc::Sender<(NodeId, TcpStream)>,
) {
    let greeting = async {
        let once = random()?;
        hello::take(&mut stream, &identity.key, identity.node, once).await
    };
    match timeout(HELLO, greeting)
        .await
        .unwrap_or_else(|late| Err(late.into()))
    {
        // Without a receiver the server ends.
        Ok(node) => drop(proven.send((node, stream)).await),
        Err(error) => tracing::debug!(%from, %error, "a connection for other servers is refused"),
    }
}

async fn read(stream: TcpStream, tell: mpsc::Sender<PeerNews>) -> io::Result<()> {
    // A datagram and its length come with one system call.
    let mut stream = BufReader::with_capacity(BUFFER, stream);
    loop {
        let bytes = stream.read_u32().await? as usize;
        if bytes > MOST_DATAGRAM {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut datagram = vec![0; bytes];
        stream.read_exact(&mut datagram).await?;
        if tell.send(PeerNews::Datagram(datagram)).await.is_err() {
            return Ok(());
        }
    }
}
