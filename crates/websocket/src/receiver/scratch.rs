use super::partial::Partial;
use crate::deflate::Inflater;
use crate::frame::MAX_CONTROL;

/// What the connections of a thread share while they receive: buffers for what is incomplete, room
/// for a message that was put together or decompressed, and one decompressor for the connections
/// without context takeover.
///
/// A connection takes a buffer when a frame or message is incomplete at the end of its input, and
/// gives it back with the message: in a warm system nothing is allocated. What is kept is bounded.
pub struct Scratch {
    // Boxed, as a connection holds one by a pointer and it goes back as it is.
    #[expect(
        clippy::vec_box,
        reason = "a box is handed out and taken back as it is"
    )]
    free: Vec<Box<Partial>>,
    max_free: usize,
    max_buffer: usize,
    /// Holds the message of the last event until the next call.
    pub(super) lent: Option<Box<Partial>>,
    /// The decompressed message of the last event.
    pub(super) inflated: Vec<u8>,
    /// The control frame of the last event, when it didn't arrive in one piece.
    pub(super) control: [u8; MAX_CONTROL],
    inflater: Option<Box<Inflater>>,
}

impl Scratch {
    /// Keeps up to 64 buffers of up to 64 KiB.
    pub fn new() -> Self {
        Self::with_limits(64, 64 * 1024)
    }

    /// Keeps up to `max_free` buffers for reuse; one that grew past `max_buffer` bytes is freed
    /// instead.
    pub fn with_limits(max_free: usize, max_buffer: usize) -> Self {
        Self {
            free: Vec::new(),
            max_free,
            max_buffer,
            lent: None,
            inflated: Vec::new(),
            control: [0; MAX_CONTROL],
            inflater: None,
        }
    }

    /// The number of buffers that wait for their next use.
    pub fn free_buffers(&self) -> usize {
        self.free.len()
    }

    /// Takes back what the last event was borrowed from.
    pub(super) fn reclaim(&mut self) {
        if let Some(partial) = self.lent.take() {
            self.put(partial);
        }
        if self.inflated.capacity() > 4 * self.max_buffer {
            self.inflated = Vec::new();
        }
        self.inflated.clear();
    }

    /// For the connections without context takeover. Made when the first of them sends something.
    pub(super) fn shared_inflater(&mut self) -> &mut Inflater {
        self.inflater
            .get_or_insert_with(|| Box::new(Inflater::new(15, false)))
    }

    pub(super) fn take(&mut self) -> Box<Partial> {
        self.free.pop().unwrap_or_default()
    }

    pub(super) fn put(&mut self, mut partial: Box<Partial>) {
        if self.free.len() < self.max_free {
            partial.clear(self.max_buffer);
            self.free.push(partial);
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
