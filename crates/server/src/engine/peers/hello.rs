//! How two nodes begin a connection: each proves to the other that it has `session.secret`.
//!
//! Both say who they are and a number that was never used before. Each then proves that it has the key, over all of that.
//! What is heard before is of a fixed size and is answered with nothing that helps to guess the key.

use std::io;

use roomcast_core::post::{PROOF, PeerKey};
use roomcast_core::store::NodeId;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Begins what a node says. The last byte is the version.
const MAGIC: [u8; 4] = *b"RCP\x01";
/// The magic number, the node, the number that is used once.
const HELLO: usize = MAGIC.len() + 8 + 32;

/// Who connects.
const DIALS: &[u8; 4] = b"dial";
/// Who is connected to.
const TAKES: &[u8; 4] = b"take";

type Hello = [u8; HELLO];

/// This side's first words. `once` must be random.
fn hello(node: NodeId, once: [u8; 32]) -> Hello {
    let mut hello = [0; HELLO];
    hello[..4].copy_from_slice(&MAGIC);
    hello[4..12].copy_from_slice(&node.0.to_be_bytes());
    hello[12..].copy_from_slice(&once);
    hello
}

/// Who says that it is there.
fn who(hello: &Hello) -> io::Result<NodeId> {
    let (magic, rest) = hello.split_first_chunk::<4>().ok_or_else(stranger)?;
    let node = rest.first_chunk::<8>().ok_or_else(stranger)?;
    match *magic == MAGIC {
        true => Ok(NodeId(u64::from_be_bytes(*node))),
        false => Err(stranger()),
    }
}

fn stranger() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "it is no node of this cluster",
    )
}

/// Begins a connection to `other`.
///
/// # Errors
/// The connection, or the one at its end is not that node.
pub(super) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    key: &PeerKey,
    own: NodeId,
    other: NodeId,
    once: [u8; 32],
) -> io::Result<()> {
    let ours = hello(own, once);
    stream.write_all(&ours).await?;
    let (mut theirs, mut proof) = ([0; HELLO], [0; PROOF]);
    stream.read_exact(&mut theirs).await?;
    stream.read_exact(&mut proof).await?;
    let said = [ours, theirs].concat();
    if who(&theirs)? != other || !key.is_proof(TAKES, &said, &proof) {
        return Err(stranger());
    }
    stream.write_all(&key.prove(DIALS, &said)).await
}

/// Takes a connection, and says which node made it.
///
/// # Errors
/// The connection, or the one at its end is no node of this cluster.
pub(super) async fn take<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    key: &PeerKey,
    own: NodeId,
    once: [u8; 32],
) -> io::Result<NodeId> {
    let mut theirs = [0; HELLO];
    stream.read_exact(&mut theirs).await?;
    let other = who(&theirs)?;
    let ours = hello(own, once);
    let said = [theirs, ours].concat();
    stream.write_all(&ours).await?;
    stream.write_all(&key.prove(TAKES, &said)).await?;
    let mut proof = [0; PROOF];
    stream.read_exact(&mut proof).await?;
    match key.is_proof(DIALS, &said, &proof) {
        true => Ok(other),
        false => Err(stranger()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    async fn meet(dials: [u8; 32], takes: [u8; 32], wanted: NodeId) -> (bool, bool) {
        let (mut near, mut far) = tokio::io::duplex(1_024);
        let (dials, takes) = (PeerKey::new(&dials), PeerKey::new(&takes));
        let dialing = async {
            let result = dial(&mut near, &dials, A, wanted, [3; 32]).await;
            drop(near);
            result.is_ok()
        };
        let taking = async {
            let result = take(&mut far, &takes, B, [4; 32]).await;
            result.is_ok_and(|node| node == A)
        };
        tokio::join!(dialing, taking)
    }

    #[tokio::test]
    async fn nodes_with_one_key_meet() {
        assert_eq!(meet([1; 32], [1; 32], B).await, (true, true));
    }

    #[tokio::test]
    async fn another_key_and_another_node_are_refused() {
        assert_eq!(meet([1; 32], [2; 32], B).await, (false, false));
        assert_eq!(meet([1; 32], [1; 32], NodeId(9)).await, (false, false));
    }

    #[tokio::test]
    async fn what_was_said_is_of_no_use_again() {
        // What a node has proven once is said again to one that draws another number.
        let (mut near, mut far) = tokio::io::duplex(1_024);
        let key = PeerKey::new(&[1; 32]);
        let ours = hello(A, [3; 32]);
        let old = key.prove(DIALS, &[ours, hello(B, [4; 32])].concat());
        let replay = async {
            near.write_all(&ours).await.unwrap();
            near.write_all(&old).await.unwrap();
            near
        };
        let taking = take(&mut far, &key, B, [5; 32]);
        let (_near, taken) = tokio::join!(replay, taking);
        assert!(taken.is_err());
    }

    #[tokio::test]
    async fn a_side_can_not_give_back_what_it_was_given() {
        let (mut near, mut far) = tokio::io::duplex(1_024);
        let key = PeerKey::new(&[1; 32]);
        let mirror = async {
            let mut said = hello(A, [3; 32]);
            near.write_all(&said).await.unwrap();
            near.read_exact(&mut said).await.unwrap();
            let mut proof = [0; PROOF];
            near.read_exact(&mut proof).await.unwrap();
            near.write_all(&proof).await.unwrap();
            near
        };
        let taking = take(&mut far, &key, B, [5; 32]);
        let (_near, taken) = tokio::join!(mirror, taking);
        assert!(taken.is_err());
    }
}
