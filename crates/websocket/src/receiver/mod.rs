//! From bytes to messages.

mod event;
mod limits;
mod order;
mod partial;
mod scratch;

use std::mem;

pub use self::event::Event;
pub use self::scratch::Scratch;

use self::event::Found;
use self::limits::{Limits, absorb, end};
use self::order::check_header;
use self::partial::{Frame, Message, Partial};
use crate::deflate::Inflater;
use crate::error::ProtocolError;
use crate::frame::{Header, Opcode};
use crate::mask::apply_mask;
use crate::negotiation::Deflate;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Receives masked frames, sends unmasked ones.
    Server,
    /// Receives unmasked frames, sends masked ones.
    Client,
}

/// What a [`Receiver`] accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverConfig {
    /// The largest message in bytes, decompressed; 0: no limit. The compressed form may have an
    /// eighth and 64 bytes more, which covers data that doesn't compress.
    pub max_message: usize,
    /// The largest message, in bytes on the wire, that is read past; 0: no limit. A larger one than
    /// `max_message` and this ends the connection.
    pub max_skip: usize,
    /// What was negotiated, if compression was.
    pub deflate: Option<Deflate>,
}

impl Default for ReceiverConfig {
    /// Messages of 64 KiB, those of up to 1 MiB are read past, no compression.
    fn default() -> Self {
        Self {
            max_message: 64 * 1024,
            max_skip: 1024 * 1024,
            deflate: None,
        }
    }
}

/// The receiving half of a connection: takes what the transport brought, in pieces of any size, and
/// gives the messages in it.
///
/// A message that isn't fragmented, compressed or cut by the end of the input is unmasked in place
/// and borrowed from the input. Between messages a receiver holds no memory of its own, except the
/// decompressor of a peer that keeps its context from message to message.
///
/// Faults of the peer are errors as soon as the octet that makes them certain has arrived.
///
/// ```
/// use roomcast_websocket::{Event, Receiver, ReceiverConfig, Role, Scratch};
///
/// let mut scratch = Scratch::new(); // one a thread
/// let mut receiver = Receiver::new(Role::Server, &ReceiverConfig::default()); // one a connection
///
/// // "Hello" and half a ping, as a client sends them (RFC 6455 section 5.7).
/// let mut bytes = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x80\x37";
/// let mut input = &mut bytes[..];
/// assert_eq!(receiver.receive(&mut input, &mut scratch), Ok(Some(Event::Text("Hello"))));
/// assert_eq!(receiver.receive(&mut input, &mut scratch), Ok(None));
/// assert!(input.is_empty());
///
/// let mut bytes = *b"\xfa\x21\x3d";
/// let mut input = &mut bytes[..];
/// assert_eq!(receiver.receive(&mut input, &mut scratch), Ok(Some(Event::Ping(b""))));
/// ```
pub struct Receiver {
    partial: Option<Box<Partial>>,
    inflater: Option<Box<Inflater>>,
    limits: Limits,
    role: Role,
    deflate: bool,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Open,
    /// A close frame was received.
    Closed,
    Failed(ProtocolError),
}

impl Receiver {
    /// A receiver for a connection whose handshake is done.
    pub fn new(role: Role, config: &ReceiverConfig) -> Self {
        let incoming = config
            .deflate
            .as_ref()
            .map(|deflate| deflate.incoming(role));
        let inflater = incoming
            .filter(|incoming| incoming.context_takeover)
            .map(|incoming| Box::new(Inflater::new(incoming.window_bits, true)));
        Self {
            partial: None,
            inflater,
            limits: Limits {
                max_message: config.max_message,
                max_skip: config.max_skip,
            },
            role,
            deflate: incoming.is_some(),
            state: State::Open,
        }
    }

    /// Gives the next event, having taken its bytes from the front of `input`; `None` when the
    /// input is used up. The event borrows from the input or from `scratch`.
    ///
    /// # Errors
    ///
    /// A breach of the protocol. It is final: every later call gives the same error. After a
    /// [close frame](Event::Close) all input is ignored.
    pub fn receive<'e, 'i: 'e>(
        &mut self,
        input: &mut &'i mut [u8],
        scratch: &'e mut Scratch,
    ) -> Result<Option<Event<'e>>, ProtocolError> {
        scratch.reclaim();
        match self.state {
            State::Open => {}
            State::Closed => {
                *input = &mut [];
                return Ok(None);
            }
            State::Failed(error) => return Err(error),
        }
        let event = match self.advance(input, scratch) {
            Ok(None) => return Ok(None),
            Ok(Some(found)) => found.event(scratch),
            Err(error) => Err(error),
        };
        match event {
            Ok(Event::Close(_)) => self.end(State::Closed),
            Err(error) => self.end(State::Failed(error)),
            _ => {}
        }
        event.map(Some)
    }

    /// Whether a message or frame has begun to arrive and isn't complete.
    pub fn is_mid_message(&self) -> bool {
        self.partial.is_some()
    }

    /// When the message or frame that has begun to arrive and isn't complete began: the `now` of the
    /// first call since then, in whatever unit. `None` if nothing is incomplete.
    ///
    /// Call it when the input is used up, as time is not this crate's to tell.
    pub fn incomplete_since(&mut self, now: u64) -> Option<u64> {
        let partial = self.partial.as_mut()?;
        Some(*partial.since.get_or_insert(now))
    }

    /// Takes what is incomplete for begun at `now`: its rest may have waited unread.
    pub fn restart_incomplete(&mut self, now: u64) {
        if let Some(partial) = &mut self.partial {
            partial.since = Some(now);
        }
    }

    /// Gives the buffer of an incomplete message back, when the connection is gone.
    pub fn release(mut self, scratch: &mut Scratch) {
        if let Some(partial) = self.partial.take() {
            scratch.put(partial);
        }
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.partial = None;
        self.inflater = None;
    }

    fn advance<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        scratch: &mut Scratch,
    ) -> Result<Option<Found<'i>>, ProtocolError> {
        loop {
            if let Some(partial) = &mut self.partial
                && let Some(frame) = partial.frame
            {
                if input.is_empty() && frame.read < frame.header.len {
                    return Ok(None);
                }
                if let Some(found) = self.continue_frame(frame, input, scratch)? {
                    return Ok(Some(found));
                }
                continue;
            }
            let Some(header) = self.next_header(input, scratch)? else {
                return Ok(None);
            };
            let message = self.begin_frame(&header)?;
            let in_message = self
                .partial
                .as_ref()
                .is_some_and(|partial| partial.message.is_some());
            let whole = usize::try_from(header.len).is_ok_and(|len| len <= input.len());
            if whole && (header.opcode.is_control() || header.fin && !in_message) {
                let (payload, rest) = mem::take(input).split_at_mut(header.len as usize);
                *input = rest;
                if let Some(mask) = header.mask {
                    apply_mask(payload, mask, 0);
                }
                if !in_message && let Some(partial) = self.partial.take() {
                    // It held the header's first octets.
                    scratch.put(partial);
                }
                return match message {
                    Some(message) => self.whole_message(message, payload, scratch).map(Some),
                    None => Ok(Some(Found::Control(header.opcode, payload))),
                };
            }
            let partial = self.partial.get_or_insert_with(|| scratch.take());
            partial.frame = Some(Frame { header, read: 0 });
            if message.is_some() {
                partial.message = message;
                if message.is_some_and(|message| message.too_large) {
                    partial.buffer = Vec::new();
                }
            }
        }
    }

    /// Takes the next frame header from the input; `None` when it isn't complete.
    fn next_header(
        &mut self,
        input: &mut &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<Option<Header>, ProtocolError> {
        let in_message = self
            .partial
            .as_ref()
            .is_some_and(|partial| partial.message.is_some());
        let (role, deflate) = (self.role, self.deflate);
        let check = |first, masked| check_header(role, deflate, in_message, first, masked);
        let begun = self
            .partial
            .as_ref()
            .map_or(0, |partial| partial.header_len);
        if begun == 0 {
            if let Some((header, len)) = Header::parse(input, check)? {
                *input = &mut mem::take(input)[len..];
                return Ok(Some(header));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
        let partial = self.partial.get_or_insert_with(|| scratch.take());
        while let Some((octet, rest)) = mem::take(input).split_first_mut() {
            *input = rest;
            if let Some(place) = partial.header.get_mut(partial.header_len) {
                *place = *octet;
                partial.header_len += 1;
            }
            if let Some((header, _)) = Header::parse(&partial.header[..partial.header_len], check)?
            {
                partial.header_len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// The message that a data frame belongs to, with the frame counted, or `None` for a control
    /// frame.
    fn begin_frame(&self, header: &Header) -> Result<Option<Message>, ProtocolError> {
        if header.opcode.is_control() {
            return Ok(None);
        }
        let begun = self.partial.as_ref().and_then(|partial| partial.message);
        let mut message = begun.unwrap_or(Message {
            text: header.opcode == Opcode::Text,
            compressed: header.rsv1,
            too_large: false,
            wire: 0,
            discarded: 0,
            utf8: Default::default(),
        });
        message.wire = message.wire.saturating_add(header.len);
        if self.limits.wire_exceeded(&message) {
            // The decompressor of this connection has to see what is discarded, the shared one need
            // not.
            message.too_large |= !message.compressed || self.inflater.is_none();
        }
        let Limits {
            max_message,
            max_skip,
        } = self.limits;
        if (message.too_large || self.limits.wire_exceeded(&message))
            && max_skip != 0
            && message.wire > max_skip.max(max_message) as u64
        {
            return Err(ProtocolError::TooLarge);
        }
        Ok(Some(message))
    }

    /// A message in one frame that is there to its end.
    fn whole_message<'i>(
        &mut self,
        mut message: Message,
        payload: &'i [u8],
        scratch: &mut Scratch,
    ) -> Result<Found<'i>, ProtocolError> {
        if !message.compressed {
            if message.too_large {
                if message.text {
                    message.utf8.push(payload)?;
                    message.utf8.finish()?;
                }
                return Ok(Found::TooLarge(message.wire));
            }
            return Ok(Found::Input {
                text: message.text,
                payload,
            });
        }
        let mut inflated = mem::take(&mut scratch.inflated);
        let result = match &mut self.inflater {
            Some(inflater) => absorb(
                inflater,
                &mut message,
                payload,
                &mut inflated,
                scratch,
                self.limits,
            )
            .and_then(|()| end(inflater, &mut message, &mut inflated, scratch, self.limits)),
            None if message.too_large => Ok(()),
            None => scratch
                .shared_inflater()
                .decompress(payload, &mut inflated, self.limits.max_message)
                .map(|whole| message.too_large = !whole),
        };
        scratch.inflated = inflated;
        result?;
        Ok(if message.too_large {
            Found::TooLarge(message.wire)
        } else {
            Found::Inflated { text: message.text }
        })
    }

    /// Takes what the input has of the frame's payload; something when that completes it and there
    /// is an event.
    fn continue_frame<'i>(
        &mut self,
        mut frame: Frame,
        input: &mut &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<Option<Found<'i>>, ProtocolError> {
        let Some(partial) = &mut self.partial else {
            return Ok(None);
        };
        let Header {
            opcode,
            fin,
            mask,
            len,
            ..
        } = frame.header;
        let offset = frame.read as usize;
        let size = usize::try_from(len - frame.read)
            .unwrap_or(usize::MAX)
            .min(input.len());
        let (piece, rest) = mem::take(input).split_at_mut(size);
        *input = rest;
        if let Some(mask) = mask {
            apply_mask(piece, mask, offset);
        }
        frame.read += size as u64;
        let complete = frame.read == len;
        partial.frame = (!complete).then_some(frame);
        if opcode.is_control() {
            if let Some(place) = partial.control.payload.get_mut(offset..offset + size) {
                place.copy_from_slice(piece);
            }
            if !complete {
                return Ok(None);
            }
            scratch.control = partial.control.payload;
            if partial.is_empty() {
                self.put_partial(scratch);
            }
            return Ok(Some(Found::BufferedControl(opcode, len as usize)));
        }
        let Some(message) = &mut partial.message else {
            return Ok(None);
        };
        if let (true, Some(inflater)) = (message.compressed, &mut self.inflater) {
            absorb(
                inflater,
                message,
                piece,
                &mut partial.buffer,
                scratch,
                self.limits,
            )?;
        } else {
            if message.text && !message.compressed {
                message.utf8.push(piece)?;
            }
            if !message.too_large {
                partial.buffer.extend_from_slice(piece);
            }
        }
        if !complete || !fin {
            return Ok((len == 0).then_some(Found::EmptyFragment));
        }
        self.end_message(scratch).map(Some)
    }

    fn end_message<'i>(&mut self, scratch: &mut Scratch) -> Result<Found<'i>, ProtocolError> {
        let Some(mut partial) = self.partial.take() else {
            return Ok(Found::TooLarge(0));
        };
        let Some(mut message) = partial.message.take() else {
            return Ok(Found::TooLarge(0));
        };
        let shared = message.compressed && self.inflater.is_none();
        if let (true, Some(inflater)) = (message.compressed, &mut self.inflater) {
            end(
                inflater,
                &mut message,
                &mut partial.buffer,
                scratch,
                self.limits,
            )?;
        } else if shared && !message.too_large {
            let mut inflated = mem::take(&mut scratch.inflated);
            let whole = scratch.shared_inflater().decompress(
                &partial.buffer,
                &mut inflated,
                self.limits.max_message,
            );
            scratch.inflated = inflated;
            message.too_large = !whole?;
        } else if message.text && !message.compressed {
            message.utf8.finish()?;
        }
        if message.too_large || shared {
            scratch.put(partial);
        } else {
            scratch.lent = Some(partial);
        }
        Ok(match message {
            Message {
                too_large: true,
                wire,
                ..
            } => Found::TooLarge(wire),
            Message { text, .. } if shared => Found::Inflated { text },
            Message { text, .. } => Found::Lent { text },
        })
    }

    fn put_partial(&mut self, scratch: &mut Scratch) {
        if let Some(partial) = self.partial.take() {
            scratch.put(partial);
        }
    }
}

#[cfg(test)]
mod tests;
