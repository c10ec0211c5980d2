//! A connection that is an event stream (`text/event-stream`): frames go out as events, and messages come in from the
//! mailbox, as the client has posted them.
//!
//! The core makes the same frames for it as for a WebSocket in JSON, which it shares with all who get them. Here each is
//! turned into an event when it is written: so WebSockets pay nothing for it, and neither do lanes, links and other nodes.

use std::io::IoSlice;

use mio::net::TcpStream;
use roomcast_core::backend::{Batch, Taken};
use roomcast_core::driver::{Frame, Read};
use roomcast_protocol::Format;
use roomcast_websocket::close;
use tokio::sync::oneshot;

use super::order::IoStats;
use super::socket::{read_plain, write_plain};
use super::tls::Tls;
use crate::streams::{Posted, Ticket};

/// Bytes of events that are made before they are written.
const ROOM: usize = 64 * 1024;
/// Before and behind a message.
const DATA: (&[u8], &[u8]) = (b"data: ", b"\n\n");
/// A comment: to proxies, and to whoever counts bytes, a sign of life.
const COMMENT: &[u8] = b":\n\n";

/// Opcodes of the frames that a server sends.
mod opcode {
    pub(super) const TEXT: u8 = 1;
    pub(super) const CLOSE: u8 = 8;
}

/// What a connection has that is an event stream.
pub(crate) struct EventStream {
    pub(super) tls: Option<Tls>,
    pub(super) ticket: Ticket,
    inbox: Inbox,
    events: Events,
}

/// Makes events of frames.
#[derive(Debug, Default)]
struct Events {
    /// The frame whose event was written in part.
    begun: Option<Begun>,
}

/// A frame whose event was written in part.
#[derive(Clone, Copy, Debug)]
struct Begun {
    frame: Header,
    /// Bytes of the frame that were said to be done: not all of them, as it would be taken for written, and not none, as it
    /// might be dropped.
    told: usize,
    /// Bytes of its event that are written.
    written: usize,
}

/// A frame's header, as a server writes it: whole, not masked, not compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    opcode: u8,
    /// Bytes of the header and of the payload.
    size: usize,
    length: usize,
}

impl Header {
    fn read(frame: &[u8]) -> Option<Header> {
        let (first, second) = (*frame.first()?, *frame.get(1)?);
        let (size, length) = match second {
            126 => (
                4,
                u64::from(u16::from_be_bytes(*frame.get(2..)?.first_chunk()?)),
            ),
            127 => (10, u64::from_be_bytes(*frame.get(2..)?.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        Some(Header {
            opcode: first & 0x0f,
            size,
            length: usize::try_from(length).ok()?,
        })
    }
}

/// A frame of which something is to be written.
struct Pending<'a> {
    frame: Header,
    told: usize,
    written: usize,
    /// What is left of the frame, behind the bytes that were told.
    rest: &'a [u8],
}

impl<'a> Pending<'a> {
    /// The payload from this byte on.
    fn payload(&self, from: usize) -> &'a [u8] {
        let at = (self.frame.size + from).saturating_sub(self.told);
        self.rest.get(at..).unwrap_or_default()
    }

    /// Bytes of its event.
    fn event_length(&self) -> usize {
        match self.frame.opcode {
            opcode::TEXT => DATA.0.len() + self.frame.length + DATA.1.len(),
            opcode::CLOSE => self.closing().len(),
            _ => COMMENT.len(),
        }
    }

    /// The event of a close frame.
    fn closing(&self) -> Vec<u8> {
        let payload = self.payload(0);
        let code = payload.first_chunk();
        let code = code.map_or(close::code::NO_STATUS, |code| u16::from_be_bytes(*code));
        let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
        close_event(code, &reason).into_bytes()
    }

    /// Appends what is to be written of its event, but no more than `room` bytes.
    fn append(&self, out: &mut Vec<u8>, room: usize) {
        let end = self.event_length().min(self.written.saturating_add(room));
        let mut part = |from: usize, bytes: &[u8]| {
            let skipped = self.written.saturating_sub(from).min(bytes.len());
            let until = end.saturating_sub(from).clamp(skipped, bytes.len());
            out.extend_from_slice(bytes.get(skipped..until).unwrap_or_default());
        };
        match self.frame.opcode {
            opcode::TEXT => {
                let (data, text) = (DATA.0.len(), DATA.0.len() + self.frame.length);
                part(0, DATA.0);
                let begin = self.written.saturating_sub(data).min(self.frame.length);
                let payload = self.payload(begin);
                let until = (end.saturating_sub(data)).clamp(begin, self.frame.length) - begin;
                push_line(payload.get(..until).unwrap_or_default(), out);
                let skipped = self.written.saturating_sub(text);
                let until = end.saturating_sub(text).max(skipped);
                out.extend_from_slice(DATA.1.get(skipped..until).unwrap_or_default());
            }
            opcode::CLOSE => part(0, &self.closing()),
            _ => part(0, COMMENT),
        }
    }

    /// Bytes of the frame that are told when so many of its event are written, but not all.
    fn tells(&self, written: usize) -> usize {
        let most = self.frame.size + self.frame.length - 1;
        match self.frame.opcode {
            opcode::TEXT => {
                let payload = written.saturating_sub(DATA.0.len());
                (self.frame.size + payload).min(most)
            }
            // All of it is needed to make the event again.
            _ => 1,
        }
    }
}

/// A message as one line. Where it has several, a client wrote them between two values of its JSON.
fn push_line(message: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(message);
    for byte in out.get_mut(begin..).unwrap_or_default() {
        *byte = if matches!(*byte, b'\n' | b'\r') {
            b' '
        } else {
            *byte
        };
    }
}

/// The last event of a stream.
pub(crate) fn close_event(code: u16, reason: &str) -> String {
    let data = serde_json::json!({ "code": code, "reason": reason });
    format!("event: close\ndata: {data}\n\n")
}

/// The frames of `slices`, each of which holds whole ones but for the first.
struct Frames<'s, 'b> {
    slices: &'s [IoSlice<'b>],
    /// Where the next one begins.
    at: usize,
    begun: Option<Begun>,
}

impl<'s> Iterator for Frames<'s, '_> {
    type Item = Pending<'s>;

    fn next(&mut self) -> Option<Pending<'s>> {
        while self.slices.first().is_some_and(|it| it.len() <= self.at) {
            self.at -= self.slices.first().map_or(0, |it| it.len());
            self.slices = self.slices.get(1..).unwrap_or_default();
        }
        let rest = self.slices.first()?.get(self.at..)?;
        let begun = self.begun.take();
        let frame = match begun {
            Some(begun) => begun.frame,
            None => Header::read(rest)?,
        };
        let (told, written) = begun.map_or((0, 0), |begun| (begun.told, begun.written));
        let left = frame.size + frame.length - told;
        self.at += left;
        Some(Pending {
            frame,
            told,
            written,
            rest: rest.get(..left)?,
        })
    }
}

impl Events {
    /// Makes events of the frames behind the first `done` bytes, so many bytes at most.
    fn make(&self, slices: &[IoSlice<'_>], done: usize, made: &mut Vec<u8>, most: usize) {
        for pending in self.frames(slices, done) {
            let room = most.saturating_sub(made.len());
            if room == 0 {
                break;
            }
            pending.append(made, room);
        }
    }

    fn frames<'s, 'b>(&self, slices: &'s [IoSlice<'b>], at: usize) -> Frames<'s, 'b> {
        Frames {
            slices,
            at,
            begun: self.begun,
        }
    }

    /// So many bytes of the events behind the first `done` bytes are written. How many of the frames that is.
    fn advance(&mut self, slices: &[IoSlice<'_>], done: usize, mut written: usize) -> usize {
        let mut told = 0;
        for pending in self.frames(slices, done) {
            let left = pending.event_length() - pending.written;
            if written < left {
                if written > 0 {
                    let written = pending.written + written;
                    let begun = Begun {
                        frame: pending.frame,
                        told: pending.tells(written),
                        written,
                    };
                    told += begun.told - pending.told;
                    self.begun = Some(begun);
                }
                break;
            }
            written -= left;
            told += pending.rest.len();
            self.begun = None;
        }
        told
    }
}

impl EventStream {
    pub(super) fn new(tls: Option<Tls>, ticket: Ticket) -> EventStream {
        EventStream {
            tls,
            ticket,
            inbox: Inbox::default(),
            events: Events::default(),
        }
    }

    /// Writes events. How many bytes of the frames are done with; none if the connection is broken.
    pub(super) fn write(
        &mut self,
        stream: &mut TcpStream,
        slices: &[IoSlice<'_>],
        made: &mut Vec<u8>,
        stats: &mut IoStats,
    ) -> Option<usize> {
        let mut done = 0;
        loop {
            made.clear();
            self.events.make(slices, done, made, ROOM);
            if made.is_empty() {
                return Some(done);
            }
            let slice = [IoSlice::new(made)];
            let written = match &mut self.tls {
                Some(tls) => tls.write(stream, &slice, stats)?,
                None => write_plain(stream, &slice, stats)?,
            };
            done += self.events.advance(slices, done, written);
            if written < made.len() {
                return Some(done);
            }
        }
    }

    /// Looks whether the client is still there, or something was posted.
    pub(super) fn read(
        &mut self,
        stream: &TcpStream,
        input: &mut [u8],
        stats: &mut IoStats,
    ) -> Read {
        if self.inbox.has_some() {
            // One byte says so: the messages are where they are.
            return Read::Part(1);
        }
        let read = match &mut self.tls {
            Some(tls) => tls.read(stream, input, stats),
            None => read_plain(stream, input, stats),
        };
        match read {
            // It was told that its connection ends with the answer.
            Read::Bytes(1..) | Read::Part(1..) => Read::End,
            nothing => nothing,
        }
    }

    /// Whether something is to be read of which the socket tells nothing.
    pub(super) fn holds_input(&mut self) -> bool {
        self.inbox.has_some() || self.tls.as_mut().is_some_and(Tls::holds_input)
    }

    /// The next message that was posted.
    pub(super) fn next_frame(&mut self, max_message: usize) -> Option<Frame<'_>> {
        self.inbox.next_frame(max_message)
    }

    /// Takes a batch. False: it was answered, and there is nothing to read.
    pub(super) fn post(&mut self, batch: Batch, to: oneshot::Sender<Posted>) -> bool {
        self.inbox.post(batch, to)
    }

    /// Nothing is taken any more, and who waits is told so.
    pub(super) fn end(&mut self, stream: &TcpStream, stats: &mut IoStats) {
        self.inbox = Inbox::default();
        if let Some(tls) = &mut self.tls {
            tls.end(stream, stats);
        }
    }
}

/// What was posted and is not taken yet: a batch at most.
#[derive(Debug, Default)]
struct Inbox {
    /// Batches that have come.
    come: u64,
    batch: Option<Box<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    batch: Batch,
    /// Where the next message begins.
    at: usize,
    /// Told when the last message is taken.
    to: Option<oneshot::Sender<Posted>>,
}

impl Waiting {
    fn done(&mut self) {
        if let Some(to) = self.to.take() {
            // Whoever posted it may be gone.
            let _ = to.send(Posted::Taken(Taken::Done));
        }
    }
}

impl Inbox {
    fn has_some(&self) -> bool {
        self.batch.is_some()
    }

    fn post(&mut self, batch: Batch, to: oneshot::Sender<Posted>) -> bool {
        let next = self.come + 1;
        let number = batch.number;
        let (to, taken) = match &mut self.batch {
            _ if number > next => (to, Taken::OutOfOrder(next)),
            // The same again: who posts it last is told when it is taken, as the others may be gone.
            Some(waiting) if number == self.come => match &mut waiting.to {
                Some(before) => (std::mem::replace(before, to), Taken::Busy),
                None => (to, Taken::Done),
            },
            _ if number < next => (to, Taken::Done),
            Some(_) => (to, Taken::Busy),
            None => {
                self.come = next;
                let to = Some(to);
                self.batch = Some(Box::new(Waiting { batch, at: 0, to }));
                return true;
            }
        };
        // Whoever posted it may be gone.
        let _ = to.send(Posted::Taken(taken));
        false
    }

    fn next_frame(&mut self, max_message: usize) -> Option<Frame<'_>> {
        let waiting = self.batch.as_mut()?;
        let (begun, close) = (waiting.at > 0, waiting.batch.close);
        let body = &waiting.batch.body;
        let behind = |at: usize| body.get(at..).unwrap_or_default();
        let blank = |bytes: &[u8]| {
            bytes
                .iter()
                .take_while(|it| it.is_ascii_whitespace())
                .count()
        };
        let from = waiting.at + blank(behind(waiting.at));
        let line = behind(from);
        if line.is_empty() {
            waiting.done();
            // One without messages is a sign of life, and counts like a pong.
            if !begun && close == 0 {
                waiting.at = waiting.batch.body.len().max(1);
                return Some(Frame::NoMessage);
            }
            self.batch = None;
            return (close > 0).then_some(Frame::Close(close));
        }
        let length = line.iter().position(|byte| *byte == b'\n');
        let length = length.unwrap_or(line.len());
        let rest = behind(from + length);
        let is_last = blank(rest) == rest.len();
        waiting.at = from + length;
        // Said now: what it is may close the connection.
        if is_last && close == 0 {
            waiting.done();
        }
        if max_message > 0 && length > max_message {
            return Some(Frame::TooLarge {
                size: length as u64,
            });
        }
        let body = &self.batch.as_ref()?.batch.body;
        let message = body.get(from..from + length)?;
        Some(Frame::Message(Format::Json, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use roomcast_websocket::{CloseFrame, Opcode, frame};

    fn text(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::write_frame(&mut out, Opcode::Text, true, false, message, None);
        out
    }

    /// Writes frames as a socket takes them that takes so many bytes each time, and as a driver gives them: what was said
    /// to be done is not given again.
    fn written(pieces: &[Vec<u8>], takes: &[usize]) -> Vec<u8> {
        let mut events = Events::default();
        let (mut out, mut made) = (Vec::new(), Vec::new());
        let mut rest: Vec<Vec<u8>> = pieces.to_vec();
        let mut takes = takes.iter().cycle();
        while !rest.is_empty() {
            let slices: Vec<_> = rest.iter().map(|it| IoSlice::new(it)).collect();
            made.clear();
            events.make(&slices, 0, &mut made, 50);
            let taken = takes.next().map_or(1, |most| made.len().min(*most));
            out.extend_from_slice(&made[..taken]);
            let mut told = events.advance(&slices, 0, taken);
            let whole = slices.iter().map(|it| it.len()).sum::<usize>();
            // A frame that was begun is neither taken for untouched nor for done.
            assert!(taken == 0 || told > 0 || events.begun.is_some());
            assert!(events.begun.is_none() || told < whole);
            while let Some(first) = rest.first_mut() {
                let done = told.min(first.len());
                first.drain(..done);
                told -= done;
                if !first.is_empty() {
                    break;
                }
                rest.remove(0);
            }
        }
        assert!(events.begun.is_none());
        out
    }

    #[test]
    fn frames_become_events_of_one_line() {
        let mut control = Vec::new();
        frame::write_frame(&mut control, Opcode::Ping, true, false, &[], None);
        let close = CloseFrame {
            code: 4000,
            reason: "say \"no\"",
        };
        frame::write_close(&mut control, Some(close), None);
        let pieces = [text(b"{\n\"a\":\r\n1}"), control];
        let wanted = "data: { \"a\":  1}\n\n:\n\nevent: close\ndata: {\"code\":4000,\"reason\":\"say \\\"no\\\"\"}\n\n";
        for most in [1, 2, 3, 7, 1_000] {
            let events = written(&pieces, &[most]);
            assert_eq!(String::from_utf8(events).unwrap(), wanted, "{most}");
        }
    }

    proptest! {
        #[test]
        fn however_little_a_socket_takes_each_event_is_whole_and_comes_once(
            messages in prop::collection::vec(prop::collection::vec(b' '..b'~', 0..300), 1..12),
            split in prop::collection::vec(any::<bool>(), 12),
            takes in prop::collection::vec(0usize..70, 1..9),
        ) {
            prop_assume!(takes.iter().any(|most| *most > 0));
            let (mut pieces, mut wanted) = (Vec::<Vec<u8>>::new(), Vec::new());
            for (message, split) in messages.iter().zip(split) {
                match pieces.last_mut().filter(|_| !split) {
                    Some(piece) => piece.extend(text(message)),
                    None => pieces.push(text(message)),
                }
                wanted.extend([b"data: ", message.as_slice(), b"\n\n"].concat());
            }
            prop_assert_eq!(written(&pieces, &takes), wanted);
        }
    }

    fn batch(
        number: u64,
        body: &str,
        close: u16,
    ) -> (Batch, oneshot::Sender<Posted>, oneshot::Receiver<Posted>) {
        let (to, posted) = oneshot::channel();
        let body = body.as_bytes().into();
        (
            Batch {
                stream: [0; 16],
                number,
                close,
                body,
            },
            to,
            posted,
        )
    }

    fn taken(mut posted: oneshot::Receiver<Posted>) -> Option<Taken> {
        match posted.try_recv().ok()? {
            Posted::Taken(taken) => Some(taken),
            Posted::Moved(_) => None,
        }
    }

    #[test]
    fn batches_are_taken_once_and_in_order() {
        let mut inbox = Inbox::default();
        let (first, to, posted) = batch(1, "a\r\n\n bb", 0);
        assert!(inbox.post(first, to));
        // One before it is taken; one that leaves a gap.
        for (number, wanted) in [(2, Taken::Busy), (3, Taken::OutOfOrder(2))] {
            let (other, to, posted) = batch(number, "x", 0);
            assert!(!inbox.post(other, to));
            assert_eq!(taken(posted), Some(wanted));
        }
        // The same again, which a proxy has repeated: it is not taken yet.
        let (again, to, mut repeated) = batch(1, "x", 0);
        assert!(!inbox.post(again, to));
        assert_eq!(taken(posted), Some(Taken::Busy));
        assert!(repeated.try_recv().is_err());
        let json = |text: &'static str| Some(Frame::Message(Format::Json, text.as_bytes()));
        assert_eq!(inbox.next_frame(4), json("a\r"));
        assert_eq!(inbox.next_frame(1), Some(Frame::TooLarge { size: 2 }));
        assert_eq!(taken(repeated), Some(Taken::Done));
        let (again, to, posted) = batch(1, "x", 0);
        assert!(!inbox.post(again, to));
        assert_eq!(taken(posted), Some(Taken::Done));
        assert_eq!(inbox.next_frame(4), None);
        let (second, to, posted) = batch(2, "c\n", 1000);
        assert!(inbox.post(second, to));
        assert_eq!(inbox.next_frame(0), json("c"));
        assert_eq!(inbox.next_frame(0), Some(Frame::Close(1000)));
        assert_eq!(inbox.next_frame(0), None);
        assert_eq!(taken(posted), Some(Taken::Done));
    }

    #[test]
    fn a_batch_without_messages_is_a_sign_of_life() {
        let mut inbox = Inbox::default();
        for (number, body) in [(1, ""), (2, "\n \n")] {
            let (empty, to, posted) = batch(number, body, 0);
            assert!(inbox.post(empty, to));
            assert_eq!(inbox.next_frame(0), Some(Frame::NoMessage));
            assert_eq!(inbox.next_frame(0), None);
            assert_eq!(taken(posted), Some(Taken::Done));
        }
    }
}
