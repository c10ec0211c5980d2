//! What proves that a datagram is from a node of this cluster: a MAC over all of it (HMAC-SHA-256, RFC 2104, cut to 128
//! bits). Whoever may publish at the store could write letters otherwise.

use hmac::{Hmac, KeyInit, Mac};
use roomcast_protocol::mutated;
use sha2::Sha256;

/// Bytes of a MAC.
pub(super) const MAC: usize = 16;

/// The key that all nodes of a cluster have.
#[derive(Clone)]
pub struct PostKey(Hmac<Sha256>);

impl PostKey {
    /// From the [session key](crate::session_key), so that nodes with the same `session.secret` understand each other.
    /// It is another key than that of resume tokens.
    pub fn new(session_key: &[u8; 32]) -> PostKey {
        let derived = keyed(session_key).chain_update(b"post:").finalize();
        PostKey(keyed(&derived.into_bytes().into()))
    }

    /// Appends the MAC of what is there.
    pub fn seal(&self, bytes: &mut Vec<u8>) {
        let tag = self.0.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag[..MAC]);
    }

    /// What was sealed. `None`: it was not, or not with this key.
    pub(super) fn open<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (sealed, tag) = bytes.split_last_chunk::<MAC>()?;
        // Compares in constant time.
        let checked = self.0.clone().chain_update(sealed);
        let good = checked.verify_truncated_left(tag).is_ok() || mutated!("any_mac_is_good");
        good.then_some(sealed)
    }
}

impl std::fmt::Debug for PostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PostKey")
    }
}

/// What two nodes prove to each other that connect without the store: that they have the key of this cluster.
#[derive(Clone)]
pub struct PeerKey(Hmac<Sha256>);

/// Bytes of a proof.
pub const PROOF: usize = 32;

impl PeerKey {
    /// From the [session key](crate::session_key), and another one than those of tokens and datagrams.
    pub fn new(session_key: &[u8; 32]) -> PeerKey {
        let derived = keyed(session_key).chain_update(b"peer:").finalize();
        PeerKey(keyed(&derived.into_bytes().into()))
    }

    /// The proof over all that both have said, by the side of this name: so no side can give back what it was given.
    pub fn prove(&self, side: &[u8; 4], said: &[u8]) -> [u8; PROOF] {
        let proof = self.0.clone().chain_update(side).chain_update(said);
        proof.finalize().into_bytes().into()
    }

    /// Whether this is the proof. Compares in constant time.
    pub fn is_proof(&self, side: &[u8; 4], said: &[u8], proof: &[u8; PROOF]) -> bool {
        let expected = self.0.clone().chain_update(side).chain_update(said);
        expected.verify_slice(proof).is_ok()
    }
}

impl std::fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerKey")
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_with_the_key_is_opened() {
        let key = PostKey::new(&[1; 32]);
        let mut sealed = b"what".to_vec();
        key.seal(&mut sealed);
        assert_eq!(key.open(&sealed), Some(&b"what"[..]));
        assert_eq!(PostKey::new(&[2; 32]).open(&sealed), None, "another key");
        for at in 0..sealed.len() {
            assert_eq!(key.open(&sealed[..at]), None, "cut at {at}");
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&changed), None, "changed at {at}");
        }
    }
}
