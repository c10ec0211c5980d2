//! Which node claims a room first: rendezvous hashing. All nodes find the same order without asking each other, and a
//! node that goes or comes changes the place of its own rooms only.

use std::hash::Hasher;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use siphasher::sip::SipHasher13;

use crate::store::NodeId;

/// Milliseconds that a node waits with a claim where another one is the first.
pub const OTHERS_CLAIM_AFTER: u64 = 300;

/// The key for [`rank`], from the [session key](crate::session_key) that all nodes of a cluster have.
pub fn rank_key(session_key: &[u8; 32]) -> u64 {
    let mut derived =
        Hmac::<Sha256>::new_from_slice(session_key).expect("HMAC takes a key of any length");
    derived.update(b"rank:");
    let bytes = derived.finalize().into_bytes();
    bytes
        .iter()
        .take(8)
        .fold(0, |key, byte| key << 8 | u64::from(*byte))
}

/// The nodes in the order in which they claim a room. All nodes of a cluster have the same `key`, which clients don't
/// know: else they could aim their rooms at one node.
pub fn rank(key: u64, room: &str, nodes: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
    let mut ranked: Vec<_> = nodes
        .into_iter()
        .map(|node| (score(key, room, node), node))
        .collect();
    ranked.sort_unstable_by(|one, other| other.cmp(one));
    ranked.into_iter().map(|(_, node)| node).collect()
}

/// The first of them.
pub fn first(key: u64, room: &str, nodes: impl IntoIterator<Item = NodeId>) -> Option<NodeId> {
    let scored = nodes.into_iter().map(|node| (score(key, room, node), node));
    scored.max().map(|(_, node)| node)
}

fn score(key: u64, room: &str, node: NodeId) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key, node.0);
    hasher.write(room.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> [NodeId; 5] {
        [3, 14, 15, 92, 65].map(NodeId)
    }

    #[test]
    fn every_node_finds_the_same_order_and_each_is_first_for_its_share() {
        let mut firsts = [0; 5];
        for room in 0..5_000 {
            let room = format!("room:{room}");
            let order = rank(7, &room, nodes());
            let mut reversed = nodes();
            reversed.reverse();
            assert_eq!(rank(7, &room, reversed), order);
            assert_eq!(first(7, &room, nodes()), order.first().copied());
            let at = nodes().iter().position(|node| *node == order[0]).unwrap();
            firsts[at] += 1;
        }
        assert!(
            firsts.iter().all(|count| (850..1_150).contains(count)),
            "{firsts:?}"
        );
    }

    #[test]
    fn a_node_that_goes_leaves_the_order_of_the_others() {
        for room in 0..200 {
            let room = format!("room:{room}");
            let mut order = rank(7, &room, nodes());
            let gone = order.remove(room.len() % 5);
            let left = nodes().into_iter().filter(|node| *node != gone);
            assert_eq!(rank(7, &room, left), order);
        }
    }

    #[test]
    fn the_order_is_as_it_was() {
        // Nodes of several versions agree on it.
        assert_eq!(rank(7, "chat:42", nodes()), ORDER.map(NodeId));
        assert_eq!(first(7, "chat:42", []), None);
        assert_eq!(rank_key(&[7; 32]), KEY);
    }

    const KEY: u64 = 0x1540_b3af_e128_6428;
    const ORDER: [u64; 5] = [14, 3, 92, 65, 15];
}
