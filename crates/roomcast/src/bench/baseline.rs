//! Two bare epoll loops to compare a server with: the least that has to be done so that every member of a room gets
//! every message. They parse no message, check nothing, hold no limits and no state, and take the load generator's JSON
//! only.
//!
//! - `send`: each delivery is a `send` of its own, as most servers do it.
//! - `flush`: deliveries are appended to each connection's buffer, and each is written once at the end of a turn.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use memchr::memmem;
use roomcast_websocket::frame::{Opcode, write_frame};
use roomcast_websocket::{apply_mask, handshake};
use rustix::event::epoll::{self, EventData, EventFlags};

use super::error::Result;
use super::proc;

/// When a loop writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// A `send` per delivery.
    Send,
    /// One write per connection and turn.
    Flush,
}

const LISTENER: u64 = u64::MAX;
const BUFFER: usize = 64 * 1024;

/// Serves on a free loopback port, whose address it prints, until the process is ended.
///
/// Every `lose`th delivery is left out, 0 being none: the load generator has to notice.
pub(crate) fn serve(mode: Mode, lose: u64) -> Result<()> {
    proc::raise_file_limit();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, 16_384)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut bare = Loop {
        mode,
        lose,
        deliveries: 0,
        epoll,
        conns: Vec::new(),
        free: Vec::new(),
        names: HashMap::new(),
        rooms: Vec::new(),
        dirty: Vec::new(),
        frame: Vec::new(),
    };
    let mut events: Vec<epoll::Event> = Vec::with_capacity(1024);
    let mut buffer = vec![0; BUFFER];
    loop {
        events.clear();
        match epoll::wait(
            &bare.epoll,
            rustix::buffer::spare_capacity(&mut events),
            None,
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            if event.data.u64() == LISTENER {
                bare.accept(&listener);
            } else {
                bare.serve(event.data.u64() as usize, event.flags, &mut buffer);
            }
        }
        bare.flush();
    }
}

struct Conn {
    stream: TcpStream,
    upgraded: bool,
    /// Whether it is in the list of those to be written at the end of the turn.
    dirty: bool,
    /// Whether the socket took less than there was, and is waited for.
    blocked: bool,
    partial: Vec<u8>,
    out: Vec<u8>,
}

struct Loop {
    mode: Mode,
    lose: u64,
    deliveries: u64,
    epoll: OwnedFd,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    names: HashMap<Vec<u8>, usize>,
    /// The members of each room.
    rooms: Vec<Vec<usize>>,
    dirty: Vec<usize>,
    frame: Vec<u8>,
}

impl Loop {
    fn accept(&mut self, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            if stream.set_nonblocking(true).is_err() || stream.set_nodelay(true).is_err() {
                continue;
            }
            let number = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.conns.len() - 1
            });
            let data = EventData::new_u64(number as u64);
            if epoll::add(&self.epoll, &stream, data, EventFlags::IN).is_ok() {
                let (partial, out) = (Vec::new(), Vec::new());
                let conn = Conn {
                    stream,
                    upgraded: false,
                    dirty: false,
                    blocked: false,
                    partial,
                    out,
                };
                self.conns[number] = Some(conn);
            }
        }
    }

    fn serve(&mut self, number: usize, flags: EventFlags, buffer: &mut [u8]) {
        if flags.contains(EventFlags::OUT) {
            self.write(number);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR)
            && self.read(number, buffer).is_err()
        {
            self.conns[number] = None;
            self.free.push(number);
            self.rooms
                .iter_mut()
                .for_each(|members| members.retain(|&member| member != number));
        }
    }

    fn read(&mut self, number: usize, buffer: &mut [u8]) -> io::Result<()> {
        let Some(conn) = &mut self.conns[number] else {
            return Ok(());
        };
        let kept = conn.partial.len();
        buffer[..kept].copy_from_slice(&conn.partial);
        conn.partial = Vec::new();
        let read = match conn.stream.read(&mut buffer[kept..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let mut input = &mut buffer[..kept + read];
        if !conn.upgraded {
            let Some(end) = memmem::find(input, b"\r\n\r\n") else {
                conn.partial = input.to_vec();
                return Ok(());
            };
            conn.upgraded = true;
            conn.stream.write_all(&upgrade(&input[..end])?)?;
            input = &mut input[end + 4..];
        }
        while let Some((start, end)) = client_frame(input) {
            let (frame, rest) = input.split_at_mut(end);
            input = rest;
            let (head, message) = frame.split_at_mut(start);
            if let Some(&mask) = head.last_chunk() {
                apply_mask(message, mask, 0);
            }
            if head[0] & 15 == 1 {
                self.message(number, message);
            }
        }
        if let Some(conn) = &mut self.conns[number]
            && !input.is_empty()
        {
            conn.partial = input.to_vec();
        }
        Ok(())
    }

    fn message(&mut self, number: usize, message: &[u8]) {
        let Some(room) = between(message, br#""room_id":""#) else {
            return;
        };
        if message.starts_with(br#"{"type":"join_room""#) {
            let rooms = &mut self.rooms;
            let index = *self.names.entry(room.to_vec()).or_insert_with(|| {
                rooms.push(Vec::new());
                rooms.len() - 1
            });
            self.rooms[index].push(number);
            let mut answer = Vec::new();
            write_frame(
                &mut answer,
                Opcode::Text,
                true,
                false,
                br#"{"type":"joined"}"#,
                None,
            );
            self.deliver(number, &answer);
            return;
        }
        let Some(&index) = self.names.get(room) else {
            return;
        };
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        write_frame(&mut frame, Opcode::Text, true, false, message, None);
        let members = std::mem::take(&mut self.rooms[index]);
        for &member in &members {
            self.deliveries += 1;
            if self.lose == 0 || !self.deliveries.is_multiple_of(self.lose) {
                self.deliver(member, &frame);
            }
        }
        self.rooms[index] = members;
        self.frame = frame;
    }

    fn deliver(&mut self, member: usize, frame: &[u8]) {
        let Some(conn) = &mut self.conns[member] else {
            return;
        };
        match self.mode {
            Mode::Flush => {
                conn.out.extend_from_slice(frame);
                if !conn.dirty {
                    conn.dirty = true;
                    self.dirty.push(member);
                }
            }
            Mode::Send => {
                let written = if conn.out.is_empty() {
                    conn.stream.write(frame).unwrap_or(0)
                } else {
                    0
                };
                if written < frame.len() {
                    conn.out.extend_from_slice(&frame[written..]);
                    if !std::mem::replace(&mut conn.blocked, true) {
                        self.interest(member);
                    }
                }
            }
        }
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for number in dirty.drain(..) {
            let Some(conn) = &mut self.conns[number] else {
                continue;
            };
            conn.dirty = false;
            // One that is blocked is written when its socket says so.
            if !conn.blocked {
                self.write(number);
            }
        }
        self.dirty = dirty;
    }

    fn write(&mut self, number: usize) {
        let Some(conn) = &mut self.conns[number] else {
            return;
        };
        // A connection that is broken says so when it is read.
        let written = conn.stream.write(&conn.out).unwrap_or(0);
        let blocked = written < conn.out.len();
        let was_blocked = std::mem::replace(&mut conn.blocked, blocked);
        conn.out.drain(..written);
        if conn.out.is_empty() && conn.out.capacity() > BUFFER {
            conn.out = Vec::new();
        }
        if blocked != was_blocked {
            self.interest(number);
        }
    }

    fn interest(&mut self, number: usize) {
        let Some(conn) = &self.conns[number] else {
            return;
        };
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::OUT, !conn.out.is_empty());
        // It was added, so this can't fail.
        let _ = epoll::modify(
            &self.epoll,
            &conn.stream,
            EventData::new_u64(number as u64),
            flags,
        );
    }
}

/// The response to a WebSocket handshake.
fn upgrade(request: &[u8]) -> io::Result<Vec<u8>> {
    let key = between(request, b"Sec-WebSocket-Key: ").map(|key| &key[..key.len().min(24)]);
    let accept = handshake::accept_key(key.ok_or(io::ErrorKind::InvalidData)?);
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Ok(response.into_bytes())
}

/// Where the first frame's payload begins and ends, if it is all there.
fn client_frame(input: &[u8]) -> Option<(usize, usize)> {
    let (start, len): (usize, usize) = match *input.get(1)? & 127 {
        126 => (
            8,
            usize::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?)),
        ),
        127 => (
            14,
            u64::from_be_bytes(input.get(2..10)?.try_into().ok()?) as usize,
        ),
        len => (6, usize::from(len)),
    };
    (input.len() >= start.checked_add(len)?).then_some((start, start + len))
}

/// What follows `key`, up to a quotation mark or the end of the line.
fn between<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let rest = &text[memmem::find(text, key)? + key.len()..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\r'))
        .unwrap_or(rest.len());
    Some(&rest[..end])
}
