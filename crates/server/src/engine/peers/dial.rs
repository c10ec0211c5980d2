//! The connection to one node: made, kept, and made again.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Buf;
use roomcast_core::store::NodeId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Identity, PeerNews, hello, random};

/// For the connection and its first words.
const CONNECT: Duration = Duration::from_secs(3);
/// For a datagram. A node that takes none for so long is better reached over Redis.
const WRITE: Duration = Duration::from_secs(3);
/// From one try to the next. They double.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type Open = Arc<Mutex<Option<mpsc::Sender<Vec<u8>>>>>;

/// Connects whenever there is no connection. It ends when it is dropped.
pub(super) async fn run(
    node: NodeId,
    address: Box<str>,
    identity: Identity,
    open: Open,
    tell: mpsc::Sender<PeerNews>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let connecting = timeout(CONNECT, connect(node, &address, &identity));
        match connecting.await.unwrap_or_else(|late| Err(late.into())) {
            Ok(stream) => {
                tracing::info!(%address, "connected to another server");
                pause = FIRST_PAUSE;
                let ended = carry(node, stream, &open, &tell).await;
                tracing::warn!(%address, %ended, "the connection to another server has ended");
            }
            Err(error) => tracing::debug!(%address, %error, "another server is not reached"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn connect(node: NodeId, address: &str, identity: &Identity) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    // A datagram is all that there is to say: nothing is gained by waiting for more.
    stream.set_nodelay(true)?;
    hello::dial(&mut stream, &identity.key, identity.node, node, random()?).await?;
    Ok(stream)
}

/// Writes datagrams until the connection ends, and says why it did. Each that was taken in is told of.
async fn carry(
    node: NodeId,
    mut stream: TcpStream,
    open: &Open,
    tell: &mpsc::Sender<PeerNews>,
) -> io::Error {
    let (put, mut datagrams) = mpsc::channel::<Vec<u8>>(1);
    *open.lock().unwrap_or_else(PoisonError::into_inner) = Some(put);
    let (mut from, mut to) = stream.split();
    let mut nothing = [0];
    let ended = loop {
        let datagram = tokio::select! {
            datagram = datagrams.recv() => datagram,
            // The other side says nothing: what comes is its end.
            read = from.read(&mut nothing) => break match read {
                Ok(_) => io::ErrorKind::ConnectionAborted.into(),
                Err(error) => error,
            },
        };
        let Some(datagram) = datagram else {
            break io::ErrorKind::BrokenPipe.into();
        };
        // In one packet: the other node is woken once for it.
        let length = (datagram.len() as u32).to_be_bytes();
        let mut framed = Buf::chain(&length[..], &datagram[..]);
        let writing = timeout(WRITE, to.write_all_buf(&mut framed));
        let written = writing.await.unwrap_or_else(|late| Err(late.into()));
        // The node's task ends with the runtime.
        let _ = tell.send(PeerNews::Taken(node)).await;
        if let Err(error) = written {
            break error;
        }
    };
    *open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    // From here on none is put in. One that was is lost, and told of.
    datagrams.close();
    while datagrams.recv().await.is_some() {
        let _ = tell.send(PeerNews::Taken(node)).await;
    }
    ended
}
