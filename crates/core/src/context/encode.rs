//! From messages to frames: encoded once for each encoding that has receivers.

use std::sync::Arc;

use roomcast_protocol::{Outgoing, encode};

use super::Context;
use crate::chunk::{Chunk, ChunkBuilder};
use crate::host::{Encoding, Host};
use crate::settings::Compression;

/// Longest WebSocket header that a server sends.
const FRAME_HEADER: usize = 10;

impl<H: Host> Context<H> {
    /// Encodes a message once for each encoding that has receivers, and appends the frames.
    ///
    /// Calls `appended` with the encoding's index and the range that it got there.
    pub(crate) fn broadcast(
        &mut self,
        receivers: &[u32; Encoding::COUNT],
        compression: &Compression,
        born: u64,
        message: &Outgoing<'_>,
        builders: &mut [Option<ChunkBuilder>; Encoding::COUNT],
        mut appended: impl FnMut(usize, u32, u32),
    ) {
        let mut encoded = None;
        for (encoding, builder) in Encoding::ALL.into_iter().zip(builders) {
            let index = encoding.index();
            if receivers[index] == 0 {
                continue;
            }
            if encoded != Some(encoding.format) {
                self.scratch.clear();
                encode(encoding.format, message, &mut self.scratch);
                encoded = Some(encoding.format);
            }
            let size = self.scratch.len() + FRAME_HEADER;
            let builder =
                builder.get_or_insert_with(|| ChunkBuilder::new(&mut self.pool, size, born));
            let start = builder.len() as u32;
            let out = builder.reserve(&mut self.pool, size);
            self.host.frame(encoding, compression, &self.scratch, out);
            builder.count_message();
            appended(index, start, builder.len() as u32);
            let message_type = message.body.message_type();
            self.stats
                .queued(encoding.format, message_type, u64::from(receivers[index]));
        }
    }

    /// Appends a message for one receiver to what it will get.
    pub(crate) fn append(
        &mut self,
        encoding: Encoding,
        compression: &Compression,
        message: &Outgoing<'_>,
        builder: &mut ChunkBuilder,
    ) {
        self.scratch.clear();
        encode(encoding.format, message, &mut self.scratch);
        let out = builder.reserve(&mut self.pool, self.scratch.len() + FRAME_HEADER);
        self.host.frame(encoding, compression, &self.scratch, out);
        self.stats
            .queued(encoding.format, message.body.message_type(), 1);
    }

    /// A message for one receiver, as a chunk of its own.
    pub(crate) fn single(
        &mut self,
        encoding: Encoding,
        born: u64,
        message: &Outgoing<'_>,
    ) -> Arc<Chunk> {
        let mut builder = ChunkBuilder::new(&mut self.pool, 0, born);
        self.append(encoding, &Compression::default(), message, &mut builder);
        builder.finish(&mut self.pool)
    }
}
