//! What the client of an event stream can do.

use std::net::TcpStream;

use super::{HOST, status};
use crate::common::{address, eventually};
use crate::{Trial, Tried};

/// Begins an event stream, and returns the header that names it.
fn stream(tried: &Tried<'_>) -> (String, TcpStream) {
    let (status, mut stream) = tried.ask(&format!("GET /sse HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(status, "200");
    let mut told = String::new();
    while !told.contains("max_body") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
        told.push(char::from(byte[0]));
    }
    let id = told.split("\"id\":\"").nth(1).unwrap();
    let id = id.split('"').next().unwrap();
    (format!("Roomcast-Stream: {id}\r\n"), stream)
}

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        what: "bytes that are posted at once",
        set: &["limits.max_message=100KiB"],
        run: |tried| {
            let (id, _kept) = stream(tried);
            let body = " ".repeat(100 * 1024 + 1);
            let length = body.len();
            status(tried.ask(&format!(
                "POST /send HTTP/1.1\r\n{HOST}{id}Roomcast-Batch: 1\r\nContent-Length: {length}\r\n\r\n{body}"
            )))
        },
    },
    Trial {
        what: "requests whose body is read for one stream",
        set: &[],
        run: |tried| {
            let (id, _kept) = stream(tried);
            let begun = || {
                let mut io = TcpStream::connect(address(tried.server)).unwrap();
                let head = format!(
                    "POST /send HTTP/1.1\r\n{HOST}{id}Roomcast-Batch: 1\r\nContent-Length: 9\r\n\r\n"
                );
                std::io::Write::write_all(&mut io, head.as_bytes()).unwrap();
                io
            };
            let _begun = [begun(), begun()];
            let mut last = String::new();
            eventually("a third is one too many", || {
                let ask = format!("POST /send HTTP/1.1\r\n{HOST}{id}Roomcast-Batch: 1\r\n\r\n");
                last = status(tried.ask(&ask)).to_owned();
                last == "503"
            });
            "503"
        },
    },
];
