//! What names an event stream to `/send`, at every node of a cluster.
//!
//! A request says itself which stream it is for, and only that stream's node knows whether it is there. So an id has a MAC
//! (HMAC-SHA-256, RFC 2104, cut to 128 bits) under a key that all nodes have: what nobody was given is refused at the node
//! that it comes to, before its body is read.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use roomcast_core::store::NodeId;

/// Bytes of a stream's secret.
pub(super) const SECRET: usize = 16;
/// The node and the secret.
const SIGNED: usize = 8 + SECRET;
const MAC: usize = 16;

/// A stream that a node of this cluster has begun once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamId {
    /// Where the stream is, or was.
    pub(super) node: NodeId,
    /// Nobody can guess it.
    pub(super) secret: [u8; SECRET],
}

impl StreamId {
    fn signed(&self) -> [u8; SIGNED] {
        let mut bytes = [0; SIGNED];
        let (node, secret) = bytes.split_at_mut(8);
        node.copy_from_slice(&self.node.0.to_be_bytes());
        secret.copy_from_slice(&self.secret);
        bytes
    }
}

/// Never in a log.
impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamId").finish_non_exhaustive()
    }
}

/// What a request says is a stream's id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim([u8; SIGNED + MAC]);

impl Claim {
    /// Reads what has the form of an id.
    pub(crate) fn parse(text: &str) -> Option<Claim> {
        let mut bytes = [0; SIGNED + MAC];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == bytes.len()).then_some(Claim(bytes))
    }
}

/// Never in a log.
impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").finish_non_exhaustive()
    }
}

/// The key that ids are made genuine with.
pub(super) struct StreamKey(hmac::Key);

impl StreamKey {
    /// From the [session key](roomcast_core::session_key), and another one than those of tokens, of datagrams and of the
    /// connections between nodes.
    pub(super) fn new(session_key: &[u8; 32]) -> StreamKey {
        let derived = hmac::sign(&hmac::Key::new(HMAC_SHA256, session_key), b"stream:");
        StreamKey(hmac::Key::new(HMAC_SHA256, derived.as_ref()))
    }

    /// What the stream's client is told.
    pub(super) fn seal(&self, id: &StreamId) -> String {
        let signed = id.signed();
        let tag = hmac::sign(&self.0, &signed);
        let mut bytes = [0; SIGNED + MAC];
        let (begin, end) = bytes.split_at_mut(SIGNED);
        begin.copy_from_slice(&signed);
        end.copy_from_slice(&tag.as_ref()[..MAC]);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The stream, if a node with this key has made the id.
    pub(super) fn open(&self, claim: &Claim) -> Option<StreamId> {
        let (signed, tag) = claim.0.split_first_chunk::<SIGNED>()?;
        let wanted = hmac::sign(&self.0, signed);
        verify_slices_are_equal(wanted.as_ref().get(..MAC)?, tag).ok()?;
        let (node, secret) = signed.split_first_chunk()?;
        Some(StreamId {
            node: NodeId(u64::from_be_bytes(*node)),
            secret: secret.try_into().ok()?,
        })
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is_one() {
        let id = StreamId {
            node: NodeId(0xfeed),
            secret: [0xa7; SECRET],
        };
        let key = StreamKey::new(&[1; 32]);
        let text = key.seal(&id);
        assert_eq!(text.len(), 54);
        let claim = Claim::parse(&text).unwrap();
        assert_eq!(key.open(&claim), Some(id));
        let other = StreamKey::new(&[2; 32]);
        assert_eq!(other.open(&claim), None, "another key");
        for at in 0..claim.0.len() {
            let mut changed = claim;
            changed.0[at] ^= 1;
            assert_eq!(key.open(&changed), None, "changed at {at}");
        }
        for text in [
            "",
            "AAAA",
            &text[1..],
            &format!("{text}AAAA"),
            &text.replace("A", "!"),
        ] {
            assert_eq!(Claim::parse(text), None, "{text}");
        }
        let shown = format!("{id:?} {claim:?} {key:?}");
        assert!(!shown.contains(&text[12..40]), "{shown}");
    }
}
