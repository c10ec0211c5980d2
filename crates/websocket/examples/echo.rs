//! Sends every text and binary message back, up to 16 MiB, compressed if the client wants it.
//!
//! `cargo run --release --example echo -- 127.0.0.1:9001`
//!
//! It shows the whole of the crate in the simplest server there is: a thread a connection, blocking
//! sockets. Port 0 lets the system choose; the address is printed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use roomcast_websocket::close::{self, CloseFrame};
use roomcast_websocket::frame::{write_close, write_frame};
use roomcast_websocket::handshake::{self, HandshakeError};
use roomcast_websocket::{
    Deflate, DeflateConfig, Deflater, Event, Opcode, Receiver, ReceiverConfig, Role, Scratch,
};

/// The largest message.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The largest request, and the time in which it has to arrive.
const MAX_REQUEST: usize = 16 * 1024;
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// How long the client has to close its side once the close frames are exchanged.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// What is written at once, and what is read at once.
const CHUNK: usize = 256 * 1024;

fn main() -> ExitCode {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    match serve(&address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("echo: listening on ws://{}", listener.local_addr()?);
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                // A connection that fails concerns nobody else.
                let thread = thread::Builder::new().spawn(move || drop(connection(stream)));
                if let Err(error) = thread {
                    eprintln!("echo: no thread for a connection: {error}");
                }
            }
            Err(error) => {
                eprintln!("echo: accept: {error}");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn connection(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some((deflate, mut early)) = upgrade(&mut stream)? else {
        return linger(&mut stream);
    };
    let mut echo = Echo::new(deflate);
    let mut open = echo.receive(&mut stream, &mut early)?;
    let mut buffer = vec![0; CHUNK];
    while open {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        open = echo.receive(&mut stream, &mut buffer[..read])?;
    }
    linger(&mut stream)
}

/// Reads the request and answers it. Gives what was negotiated and what came right behind the
/// request, or nothing when it was refused.
fn upgrade(stream: &mut TcpStream) -> io::Result<Option<(Option<Deflate>, Vec<u8>)>> {
    let deadline = Instant::now() + REQUEST_TIME;
    let mut request = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        stream.set_read_timeout(Some(left))?;
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(None);
        }
        request.extend_from_slice(&buffer[..read]);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(&request) {
            Ok(httparse::Status::Complete(len)) => {
                let answer = answer(&parsed);
                let (response, deflate) = match &answer {
                    Ok((response, deflate)) => (&response[..], Some(*deflate)),
                    Err(refusal) => (&refusal[..], None),
                };
                stream.write_all(response)?;
                stream.set_read_timeout(None)?;
                return Ok(deflate.map(|deflate| (deflate, request.split_off(len))));
            }
            Ok(httparse::Status::Partial) if request.len() < MAX_REQUEST => {}
            Ok(httparse::Status::Partial) => {
                stream.write_all(&refusal(431, &[], "The request's headers are too large."))?;
                return Ok(None);
            }
            Err(error) => {
                stream.write_all(&refusal(
                    400,
                    &[],
                    &format!("The request is malformed: {error}."),
                ))?;
                return Ok(None);
            }
        }
    }
}

/// The response, and the compression that it accepts; or a refusal.
fn answer(request: &httparse::Request<'_, '_>) -> Result<(Vec<u8>, Option<Deflate>), Vec<u8>> {
    let refuse =
        |error: HandshakeError| refusal(error.status(), error.headers(), &error.to_string());
    let accept = handshake::accept(
        request.method.unwrap_or_default(),
        (1, request.version.unwrap_or_default()),
        request
            .headers
            .iter()
            .map(|header| (header.name, header.value)),
    )
    .map_err(refuse)?;
    let accepted = DeflateConfig::default()
        .negotiate(accept.extensions.iter().copied())
        .map_err(|error| refusal(400, &[], &error.to_string()))?;
    let extensions = accepted.as_ref().map(|accepted| &accepted.response[..]);
    Ok((
        accept.response(None, extensions),
        accepted.as_ref().map(|accepted| accepted.deflate),
    ))
}

fn refusal(status: u16, headers: &[(&str, &str)], sentence: &str) -> Vec<u8> {
    let phrase = match status {
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        _ => "Bad Request",
    };
    let mut response = format!("HTTP/1.1 {status} {phrase}\r\n");
    for (name, value) in headers {
        response.push_str(&format!("{name}: {value}\r\n"));
    }
    response.push_str(&format!(
        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n\
         {sentence}\n",
        sentence.len() + 1
    ));
    response.into_bytes()
}

/// A connection after its handshake.
struct Echo {
    receiver: Receiver,
    scratch: Scratch,
    deflater: Option<Deflater>,
    compressed: Vec<u8>,
    output: Vec<u8>,
}

impl Echo {
    fn new(deflate: Option<Deflate>) -> Self {
        let config = ReceiverConfig {
            max_message: MAX_MESSAGE,
            max_skip: MAX_MESSAGE,
            deflate,
        };
        let deflater = deflate.map(|deflate| {
            let outgoing = deflate.outgoing(Role::Server);
            Deflater::new(3, outgoing.window_bits, outgoing.context_takeover)
        });
        Self {
            receiver: Receiver::new(Role::Server, &config),
            scratch: Scratch::with_limits(1, MAX_MESSAGE),
            deflater,
            compressed: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Answers what has arrived. False when the last frame was sent.
    fn receive(&mut self, stream: &mut TcpStream, mut input: &mut [u8]) -> io::Result<bool> {
        let output = &mut self.output;
        let mut open = true;
        while open {
            let (opcode, message) = match self.receiver.receive(&mut input, &mut self.scratch) {
                Ok(None) => break,
                Ok(Some(Event::Text(text))) => (Opcode::Text, text.as_bytes()),
                Ok(Some(Event::Binary(bytes))) => (Opcode::Binary, bytes),
                Ok(Some(Event::Ping(payload))) => (Opcode::Pong, payload),
                Ok(Some(Event::Pong(_) | Event::EmptyFragment)) => continue,
                Ok(Some(Event::Close(close))) => {
                    let code = close.map(|close| CloseFrame {
                        code: close.code,
                        reason: "",
                    });
                    write_close(output, code, None);
                    open = false;
                    continue;
                }
                Ok(Some(Event::TooLarge { .. })) => {
                    let reason = "messages end at 16 MiB";
                    let close = CloseFrame {
                        code: close::code::TOO_LARGE,
                        reason,
                    };
                    write_close(output, Some(close), None);
                    open = false;
                    continue;
                }
                Err(error) => {
                    let close = CloseFrame {
                        code: error.close_code(),
                        reason: error.reason(),
                    };
                    write_close(output, Some(close), None);
                    open = false;
                    continue;
                }
            };
            match &mut self.deflater {
                Some(deflater) if !opcode.is_control() => {
                    self.compressed.clear();
                    deflater.compress(message, &mut self.compressed);
                    write_frame(output, opcode, true, true, &self.compressed, None);
                }
                _ => write_frame(output, opcode, true, false, message, None),
            }
            if output.len() >= CHUNK {
                stream.write_all(output)?;
                output.clear();
            }
        }
        stream.write_all(output)?;
        output.clear();
        Ok(open)
    }
}

/// Closes the server's side and waits a little for the client's. Were the socket closed with
/// something unread in it, the system would throw away what was written last.
fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + CLOSE_TIME;
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if stream.read(&mut buffer)? == 0 {
            return Ok(());
        }
    }
}
