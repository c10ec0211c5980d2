//! The bytes of a fleet: connections opened, read, written and lost.

use std::io;

use roomcast_websocket::frame::{Opcode, write_frame};
use rustix::event::epoll;

use super::super::conn::{Conn, Phase};
use super::super::frames;
use super::super::message::{MASK, pong};
use super::super::plan::Wire;
use super::Fleet;
use crate::bench::error::{Error, Result};

impl Fleet {
    pub(super) fn connect(&mut self, number: u32) -> Result<()> {
        self.attempts += 1;
        // As behind a balancer that knows nobody: to any of them.
        let random = self.random();
        let to = self.route.nth((random >> 32) as u32);
        let conn = Conn::connect(self.route.source(number, to), to, false)
            .map_err(|error| Error::new(format!("client {number} to {to}: {error}")))?;
        if let Some(stream) = &conn.stream {
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT;
            let data = epoll::EventData::new_u64(number.into());
            epoll::add(&self.epoll, stream, data, flags)?;
        }
        self.clients[number as usize].conn = Some(conn);
        Ok(())
    }

    pub(super) fn transmit(&mut self, number: u32) {
        let client = &mut self.clients[number as usize];
        let opcode = match self.wire {
            Wire::Json => Opcode::Text,
            Wire::Protobuf => Opcode::Binary,
        };
        let mut out = Vec::new();
        while let Some(message) = client.session.poll_transmit() {
            write_frame(&mut out, opcode, true, false, &message, Some(MASK));
        }
        if !out.is_empty() {
            self.write(number, &out);
        }
    }

    pub(super) fn write(&mut self, number: u32, bytes: &[u8]) {
        let Some(conn) = &mut self.clients[number as usize].conn else {
            return;
        };
        let waits = !conn.out.is_empty();
        let result = match conn.write(bytes) {
            Ok(false) if !waits => self.interest(number),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        // The socket's next event says the same, and is waited for.
        if let Err(error) = result {
            self.reason = error.to_string();
        }
    }

    fn interest(&mut self, number: u32) -> io::Result<()> {
        let Some(conn) = &self.clients[number as usize].conn else {
            return Ok(());
        };
        let Some(stream) = &conn.stream else {
            return Ok(());
        };
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, !conn.out.is_empty());
        let data = epoll::EventData::new_u64(number.into());
        Ok(epoll::modify(&self.epoll, stream, data, flags)?)
    }

    pub(super) fn lost(&mut self, number: u32, code: u16, reason: &str) {
        let client = &mut self.clients[number as usize];
        if let Some(mut conn) = client.conn.take() {
            conn.reset();
        }
        if client.joined == client.rooms.len() {
            self.present -= 1;
            self.faults.closed += u64::from(!self.may_break);
            // What follows says how long to wait.
            let reason = reason.split(';').next().unwrap_or_default();
            *self.ends.entry(format!("{code} {reason}")).or_default() += 1;
        }
        client.joined = 0;
        self.failures += 1;
        reason.clone_into(&mut self.reason);
        self.disconnected(number, code, reason);
    }

    pub(super) fn disconnected(&mut self, number: u32, code: u16, reason: &str) {
        let (now, random) = (self.now(), self.random());
        let session = &mut self.clients[number as usize].session;
        session.disconnected(now, code, reason, random);
    }

    /// splitmix64: each run draws the same.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn serve(&mut self, number: u32, flags: epoll::EventFlags) -> io::Result<()> {
        let Some(conn) = &mut self.clients[number as usize].conn else {
            return Ok(());
        };
        if conn.phase == Phase::Connecting {
            let error = conn
                .stream
                .as_ref()
                .and_then(|it| it.take_error().transpose());
            if let Some(error) = error {
                return Err(error.unwrap_or_else(|error| error));
            }
            if !flags.contains(epoll::EventFlags::OUT) {
                return Ok(());
            }
            conn.phase = Phase::Upgrading;
            conn.write(&self.request)?;
            return self.interest(number);
        }
        if flags.contains(epoll::EventFlags::OUT) && conn.flush()? {
            self.interest(number)?;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.read(number, &mut buffer);
        self.buffer = buffer;
        result
    }

    fn read(&mut self, number: u32, buffer: &mut [u8]) -> io::Result<()> {
        let client = &mut self.clients[number as usize];
        let Some(conn) = &mut client.conn else {
            return Ok(());
        };
        let Some(mut input) = conn.read(buffer)? else {
            return Ok(());
        };
        if conn.phase == Phase::Upgrading {
            let Some(rest) = conn.upgraded(input, &self.accept)? else {
                return Ok(());
            };
            input = rest;
            conn.phase = Phase::Ready;
            client
                .session
                .connected(self.start.elapsed().as_millis() as u64);
        }
        let rest = self.take_frames(number, input)?;
        if let Some(conn) = &mut self.clients[number as usize].conn {
            conn.partial.extend_from_slice(rest);
        }
        Ok(())
    }

    fn take_frames<'a>(&mut self, number: u32, mut input: &'a [u8]) -> io::Result<&'a [u8]> {
        let now = self.now();
        loop {
            let next = frames::next(input);
            let next = next.map_err(|_| io::Error::other("the server broke RFC 6455"))?;
            let Some((frame, len)) = next else {
                return Ok(input);
            };
            input = &input[len..];
            let session = &mut self.clients[number as usize].session;
            match frame.opcode {
                8 => {
                    let code = frame.payload.first_chunk();
                    let code = code.map_or(1006, |code| u16::from_be_bytes(*code));
                    let reason = frame.payload.get(2..).unwrap_or_default();
                    let reason = String::from_utf8_lossy(reason).into_owned();
                    self.lost(number, code, &reason);
                    return Ok(&[]);
                }
                9 => {
                    session.heard(now);
                    let mut answer = Vec::new();
                    pong(&mut answer, frame.payload);
                    self.write(number, &answer);
                }
                10 => session.heard(now),
                _ => session.receive(now, frame.payload),
            }
        }
    }
}
