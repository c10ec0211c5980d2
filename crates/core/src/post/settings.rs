//! How long the post gathers, waits and keeps.

use super::datagram::{AROUND, AROUND_PIECE, MOST_DATAGRAM};

/// Times in microseconds, sizes in bytes.
#[derive(Clone, Debug)]
pub struct PostSettings {
    /// From one datagram to a node until the next one, at most: what comes meanwhile goes with that. It is so long where
    /// the node sends `busy` letters, and grows with the square of what it sends. A link on which nothing went for so long
    /// sends at once.
    pub gather: u64,
    /// Letters a second, over all links of this node.
    pub busy: u64,
    /// After letters have come, until the ack goes alone.
    pub ack_delay: u64,
    /// So many bytes of letters are acked at once.
    pub ack_bytes: usize,
    /// Until what has no ack is sent again, at least: longer where acks take longer. It doubles each time up to
    /// `again_most`.
    pub again: u64,
    /// The longest such time, and the longest between two announcements to a node that doesn't answer.
    pub again_most: u64,
    /// Letters kept for each node.
    pub window: usize,
    /// A datagram at most; not more than [`MOST_DATAGRAM`].
    pub datagram: usize,
}

impl Default for PostSettings {
    fn default() -> PostSettings {
        PostSettings {
            gather: 2_000,
            busy: 8_000,
            ack_delay: 50_000,
            ack_bytes: 256 * 1024,
            again: 200_000,
            again_most: 2_000_000,
            window: 8 * 1024 * 1024,
            datagram: MOST_DATAGRAM,
        }
    }
}

impl PostSettings {
    /// A datagram at most.
    pub(super) fn datagram(&self) -> usize {
        // A piece of one byte fits in.
        self.datagram
            .clamp(AROUND + AROUND_PIECE + 1, MOST_DATAGRAM)
    }

    /// A piece of a letter at most.
    pub(super) fn most_piece(&self) -> usize {
        self.datagram() - AROUND - AROUND_PIECE
    }
}
