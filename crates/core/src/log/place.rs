//! Places in logs, and the names of logs.

/// Names one life of a room's log: opaque text of at most 16 characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    text: [u8; Epoch::MAX],
    length: u8,
}

impl Epoch {
    /// Most characters of an epoch.
    pub const MAX: usize = 16;

    /// From 64 random bits.
    pub fn from_random(random: u64) -> Epoch {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let text = std::array::from_fn(|i| HEX[(random >> (4 * i)) as usize % HEX.len()]);
        Epoch {
            text,
            length: Epoch::MAX as u8,
        }
    }

    /// An epoch as it stands in a message; `None`: it is none.
    pub fn parse(text: &str) -> Option<Epoch> {
        let mut epoch = Epoch {
            text: [0; Epoch::MAX],
            length: u8::try_from(text.len()).ok()?,
        };
        epoch
            .text
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(epoch)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let bytes = self
            .text
            .get(..usize::from(self.length))
            .unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl std::fmt::Debug for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in a log: after the event with this offset, of this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// Which log.
    pub epoch: Epoch,
    /// 0 is the beginning.
    pub offset: u64,
}

/// An event's place in its room.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// 1 for a log's first event, then always one more.
    pub offset: u64,
    /// Milliseconds since the Unix epoch; never falls within a room.
    pub timestamp: i64,
}
