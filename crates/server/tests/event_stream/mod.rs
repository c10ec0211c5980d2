//! A client that hears by an event stream and speaks by requests.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a panic is how a test fails, and each test uses its part of the harness"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::common::DEADLINE;
use crate::http::{Answer, request};

/// An event, or what else came.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Message(Value),
    /// A comment.
    Comment,
    Close(u64, String),
    End,
}

pub struct Stream {
    pub address: SocketAddr,
    pub io: TcpStream,
    /// Read and not yet taken.
    bytes: Vec<u8>,
    pub head: String,
    pub id: String,
    pub max_body: usize,
    /// Batches that were posted.
    pub batch: u64,
}

/// The request that opens a stream, and the head of its answer.
pub fn get(io: &mut TcpStream, headers: &[&str]) -> String {
    io.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut text =
        "GET /sse HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n".to_owned();
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    text.push_str("\r\n");
    io.write_all(text.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(io.read(&mut byte).unwrap(), 1, "{head:?}");
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// The status that a stream is refused with.
pub fn refused(address: SocketAddr, headers: &[&str]) -> (u16, String) {
    let head = get(&mut TcpStream::connect(address).unwrap(), headers);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert_ne!(status, 200, "{head}");
    (status, head)
}

impl Stream {
    pub fn open(address: SocketAddr) -> Stream {
        Stream::with(address, TcpStream::connect(address).unwrap(), &[])
    }

    /// With a receive buffer of a few segments, so that a reader that stalls does so soon.
    pub fn narrow(address: SocketAddr) -> Stream {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        socket.connect(&address.into()).unwrap();
        Stream::with(address, socket.into(), &[])
    }

    pub fn with(address: SocketAddr, mut io: TcpStream, headers: &[&str]) -> Stream {
        let head = get(&mut io, headers);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut stream = Stream {
            address,
            io,
            bytes: Vec::new(),
            head,
            id: String::new(),
            max_body: 0,
            batch: 0,
        };
        assert_eq!(stream.next(), Heard::Comment, "padding");
        let (name, first) = stream.event();
        assert_eq!(name, "stream");
        let first: Value = serde_json::from_str(&first).unwrap();
        stream.id = first["id"].as_str().unwrap().to_owned();
        stream.max_body = first["max_body"].as_u64().unwrap() as usize;
        stream
    }

    /// What hears instead of this one, which only speaks from here on.
    pub fn reader(&self) -> Stream {
        Stream {
            address: self.address,
            io: self.io.try_clone().unwrap(),
            bytes: self.bytes.clone(),
            head: String::new(),
            id: self.id.clone(),
            max_body: self.max_body,
            batch: self.batch,
        }
    }

    // === speaking ===

    /// Posts messages, one on each line, as the next batch.
    pub fn post(&mut self, lines: &str) -> Answer {
        self.batch += 1;
        self.post_as(self.batch, lines, &[])
    }

    pub fn post_as(&self, batch: u64, lines: &str, more: &[&str]) -> Answer {
        self.post_to(self.address, batch, lines, more)
    }

    pub fn post_to(&self, to: SocketAddr, batch: u64, lines: &str, more: &[&str]) -> Answer {
        let (id, batch) = (
            format!("roomcast-stream: {}", self.id),
            format!("roomcast-batch: {batch}"),
        );
        let mut headers = vec![id.as_str(), batch.as_str()];
        headers.extend(more);
        request(to, "POST", "/send", &headers, lines)
    }

    /// Posts messages that are to be taken.
    pub fn send(&mut self, lines: &str) {
        let answer = self.post(lines);
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    pub fn hello(&mut self, payload: &str) -> Value {
        self.send(&format!(r#"{{"type":"hello","payload":{payload}}}"#));
        self.expect("welcome")["payload"].take()
    }

    pub fn join(&mut self, room: &str) -> Value {
        self.send(&format!(r#"{{"type":"join_room","room_id":"{room}"}}"#));
        self.expect("joined")
    }

    // === hearing ===

    /// The next event's name and data. Comments are events without data.
    fn event(&mut self) -> (String, String) {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") {
                let rest = self.bytes.split_off(end + 2);
                let event = std::mem::replace(&mut self.bytes, rest);
                let event = String::from_utf8(event).unwrap();
                let (mut name, mut data) = (String::new(), String::new());
                for line in event.trim_end().lines() {
                    match line.split_once(':').unwrap() {
                        ("event", value) => name.push_str(value.trim_start()),
                        ("data", value) => data.push_str(value.trim_start()),
                        ("", _) => {}
                        _ => panic!("{line}"),
                    }
                }
                return (name, data);
            }
            let mut piece = [0; 16 * 1024];
            match self.io.read(&mut piece) {
                Ok(0) => {
                    assert!(self.bytes.is_empty(), "an event in part");
                    return ("end".to_owned(), String::new());
                }
                Ok(read) => self.bytes.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return ("end".to_owned(), String::new());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn next(&mut self) -> Heard {
        let (name, data) = self.event();
        match name.as_str() {
            "end" => Heard::End,
            "close" => {
                let data: Value = serde_json::from_str(&data).unwrap();
                let reason = data["reason"].as_str().unwrap();
                Heard::Close(data["code"].as_u64().unwrap(), reason.to_owned())
            }
            "" if data.is_empty() => Heard::Comment,
            "" => Heard::Message(serde_json::from_str(&data).unwrap()),
            other => panic!("{other}"),
        }
    }

    /// The next message that matches; others are passed over.
    pub fn until(&mut self, mut matches: impl FnMut(&Value) -> bool) -> Value {
        loop {
            match self.next() {
                Heard::Message(message) if matches(&message) => return message,
                Heard::Message(_) | Heard::Comment => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next message of that type; others are passed over, but for errors.
    pub fn expect(&mut self, kind: &str) -> Value {
        self.until(|message| {
            let found = message["type"] == kind;
            assert!(
                found || message["type"] != "error",
                "instead of {kind}: {message}"
            );
            found
        })
    }

    /// The last event, past all that comes before; then the end of the connection.
    pub fn expect_close(&mut self) -> (u64, String) {
        loop {
            match self.next() {
                Heard::Close(code, reason) => {
                    let _ = self.io.shutdown(std::net::Shutdown::Write);
                    assert_eq!(self.next(), Heard::End);
                    return (code, reason);
                }
                Heard::End => panic!("no last event"),
                _ => {}
            }
        }
    }
}

/// An id that differs from this one in a bit of its node.
pub fn forged(id: &str) -> String {
    let other = if id.starts_with('A') { "B" } else { "A" };
    format!("{other}{}", &id[1..])
}

/// The status of a batch that is announced, and whose body is not sent.
pub fn refused_unread(to: SocketAddr, id: &str) -> u16 {
    let mut io = TcpStream::connect(to).unwrap();
    io.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!(
        "POST /send HTTP/1.1\r\nhost: localhost\r\nroomcast-stream: {id}\r\nroomcast-batch: 1\r\ncontent-length: 9\r\n\r\n"
    );
    io.write_all(head.as_bytes()).unwrap();
    let mut status = [0; 12];
    io.read_exact(&mut status).unwrap();
    let status = std::str::from_utf8(&status).unwrap();
    status.strip_prefix("HTTP/1.1 ").unwrap().parse().unwrap()
}

/// A chat as a line of a batch.
pub fn chat(room: &str, text: &str) -> String {
    format!(r#"{{"type":"chat","room_id":"{room}","payload":"{text}","payload_kind":"text"}}"#)
}
