//! Compressed deliveries. A broadcast is compressed once for all its receivers, so the load generator inflates it once
//! as well: what is equal to the last message, to the byte, carries the same stamp.

use std::io;

use flate2::{Decompress, FlushDecompress};

use super::stamp::{Stamp, StampFinder};

/// The last compressed message and what was in it.
pub(crate) struct Memo {
    inflate: Decompress,
    compressed: Vec<u8>,
    message: Vec<u8>,
    stamp: Option<Stamp>,
}

impl Memo {
    pub(crate) fn new() -> Memo {
        Memo {
            inflate: Decompress::new(false),
            compressed: Vec::new(),
            message: Vec::with_capacity(1 << 20),
            stamp: None,
        }
    }

    /// The stamp in a compressed message (RFC 7692 section 7.2.2; no context is taken over).
    pub(crate) fn stamp(
        &mut self,
        compressed: &[u8],
        finder: &StampFinder,
    ) -> io::Result<Option<Stamp>> {
        if compressed == self.compressed {
            return Ok(self.stamp);
        }
        self.compressed.clear();
        self.message.clear();
        self.inflate.reset(false);
        for input in [compressed, &[0, 0, 0xff, 0xff]] {
            self.inflate
                .decompress_vec(input, &mut self.message, FlushDecompress::Sync)
                .map_err(io::Error::other)?;
        }
        self.compressed.extend_from_slice(compressed);
        self.stamp = finder.find(&self.message, &mut 0);
        Ok(self.stamp)
    }

    /// The last message, inflated.
    pub(crate) fn message(&self) -> &[u8] {
        &self.message
    }
}
