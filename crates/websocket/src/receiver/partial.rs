use crate::frame::{Header, MAX_CONTROL, MAX_HEADER};
use crate::utf8::Utf8;

/// What has arrived of a frame header, a frame and a message that aren't complete.
#[derive(Default)]
pub(super) struct Partial {
    pub(super) header: [u8; MAX_HEADER],
    pub(super) header_len: usize,
    pub(super) frame: Option<Frame>,
    pub(super) message: Option<Message>,
    /// The message's payload so far: compressed as long as it waits for the shared decompressor.
    pub(super) buffer: Vec<u8>,
    pub(super) control: Control,
    /// When its reader first saw it.
    pub(super) since: Option<u64>,
}

impl Partial {
    /// Nothing is incomplete.
    pub(super) fn is_empty(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    pub(super) fn clear(&mut self, max_buffer: usize) {
        self.header_len = 0;
        self.frame = None;
        self.message = None;
        self.since = None;
        self.buffer.clear();
        if self.buffer.capacity() > max_buffer {
            self.buffer = Vec::new();
        }
    }
}

/// The frame whose payload is arriving.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) header: Header,
    /// How much of its payload was read.
    pub(super) read: u64,
}

/// The message whose frames are arriving.
#[derive(Clone, Copy)]
pub(super) struct Message {
    pub(super) text: bool,
    pub(super) compressed: bool,
    /// It passed the limit: the rest is read past.
    pub(super) too_large: bool,
    /// Payload bytes on the wire, those of the frame that is arriving included.
    pub(super) wire: u64,
    /// Bytes that were decompressed and thrown away.
    pub(super) discarded: u64,
    pub(super) utf8: Utf8,
}

/// The payload of a control frame that arrives in pieces, perhaps between the fragments of a
/// message.
pub(super) struct Control {
    pub(super) payload: [u8; MAX_CONTROL],
}

impl Default for Control {
    fn default() -> Self {
        Self {
            payload: [0; MAX_CONTROL],
        }
    }
}
