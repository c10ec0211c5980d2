//! What TLS and event streams cost: memory of idle connections with each and without, and the server's processor time for
//! each connect.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomcast_websocket::handshake::ClientRequest;
use roomcast_websocket::{Event, Opcode, Receiver, ReceiverConfig, Role, Scratch, frame};
use serde_json::json;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
};

use crate::bench::error::{Error, Result};
use crate::bench::proc;
use crate::bench::report::{Bound, Goal, Section, maybe};
use crate::bench::runner::{Bench, progress};
use crate::bench::target::{Setup, Subject, Target};

/// Options of `tls`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections.
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    connections: u32,
}

impl Default for Args {
    fn default() -> Args {
        Args { connections: 4_000 }
    }
}

/// Bytes of user memory that an idle connection with TLS may cost.
const MEMORY: f64 = 12.0 * 1024.0;
/// Members of each room.
const MEMBERS: u32 = 8;
/// What the first connections bring into memory is not what one more costs.
const FIRST: u32 = 64;
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Full,
    Resumed,
    Events,
    EventsOverTls,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Plain => "without TLS",
            Way::Full => "TLS 1.3, full handshake",
            Way::Resumed => "TLS 1.3, resumed",
            Way::Events => "event stream, without TLS",
            Way::EventsOverTls => "event stream, TLS 1.3",
        }
    }

    fn has_tls(self) -> bool {
        matches!(self, Way::Full | Way::Resumed | Way::EventsOverTls)
    }

    fn is_event_stream(self) -> bool {
        matches!(self, Way::Events | Way::EventsOverTls)
    }
}

pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let connections = bench.options.size(args.connections, 200);
    bench.check_file_limit(connections + FIRST)?;
    let mut section = Section {
        name: "tls",
        title: format!("TLS: {connections} connections in rooms of {MEMBERS}, one after the other"),
        columns: vec!["", "bytes/connection", "CPU µs/connect"],
        ..Section::default()
    };
    let ways = [
        Way::Plain,
        Way::Full,
        Way::Resumed,
        Way::Events,
        Way::EventsOverTls,
    ];
    for way in ways {
        progress(&format!("tls: {}", way.name()), "connecting");
        let (memory, cpu) = measure(bench, way, connections)?;
        section
            .rows
            .push(vec![way.name().to_owned(), maybe(memory), maybe(cpu)]);
        section.data.push(json!({
            "way": way.name(),
            "connections": connections,
            "bytes_per_connection": memory,
            "cpu_us_per_connect": cpu,
        }));
        if way == Way::Full
            && !bench.options.quick
            && let Some(value) = memory
        {
            section.goals.push(Goal {
                what: "user memory of an idle connection with TLS".to_owned(),
                value,
                bound: Bound::AtMost(MEMORY),
                unit: "bytes",
            });
        }
    }
    section.notes.push(format!(
        "memory is the growth of the server's PSS; a connect is all of it, up to `joined`, with a certificate of P-256. That of \
         an event stream has the connection of the request to `/send` in it. {} connections come before",
        FIRST
    ));
    bench.add(section);
    Ok(())
}

/// Bytes and µs of processor time for each connection.
fn measure(bench: &Bench, way: Way, connections: u32) -> Result<(Option<f64>, Option<f64>)> {
    let directory = std::env::temp_dir().join(format!("roomcast-bench-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let certificate = certificate(&directory);
    let result = certificate.and_then(|certificate| {
        let setup = Setup {
            config: match way.has_tls() {
                false => String::new(),
                true => settings(&directory),
            },
            ..Setup::default()
        };
        let target = Target::start(Subject::Server, &setup, &bench.options)?;
        let mut made = Clients::new(way, &certificate)?;
        made.open(&target, FIRST)?;
        let start = target
            .pid
            .and_then(proc::pss)
            .zip(target.pid.and_then(proc::cpu));
        made.open(&target, connections)?;
        let end = target
            .pid
            .and_then(proc::pss)
            .zip(target.pid.and_then(proc::cpu));
        Ok(start.zip(end).map(|((before, begun), (after, ended))| {
            let count = f64::from(connections);
            let cpu = ended.saturating_sub(begun).as_secs_f64() * 1e6;
            (after.saturating_sub(before) as f64 / count, cpu / count)
        }))
    });
    // What can't be removed is left to the system.
    let _ = std::fs::remove_dir_all(&directory);
    Ok(result?.unzip())
}

/// Makes a certificate in a directory.
fn certificate(directory: &Path) -> Result<CertificateDer<'static>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
        .map_err(|error| Error::new(format!("no certificate could be made: {error}")))?;
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem())?;
    std::fs::write(directory.join("certificate.pem"), made.cert.pem())?;
    Ok(made.cert.der().clone())
}

fn settings(directory: &Path) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    format!(
        "[tls]\ncertificate_path = {:?}\nkey_path = {:?}\n",
        path("certificate.pem"),
        path("key.pem")
    )
}

/// Connections that do nothing once they are in their rooms.
struct Clients {
    way: Way,
    config: Arc<ClientConfig>,
    open: Vec<Box<dyn Stream>>,
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

impl Clients {
    fn new(way: Way, certificate: &CertificateDer<'static>) -> Result<Clients> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).map_err(wrong)?;
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(wrong)?
                .with_root_certificates(roots)
                .with_no_client_auth();
        if way != Way::Resumed {
            config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
        }
        Ok(Clients {
            way,
            config: Arc::new(config),
            open: Vec::new(),
        })
    }

    fn open(&mut self, target: &Target, count: u32) -> Result<()> {
        for _ in 0..count {
            let number = self.open.len();
            let room = number as u32 / MEMBERS;
            let mut stream = self.connect(target, number > 0)?;
            match self.way.is_event_stream() {
                false => join(&mut stream, room)?,
                true => {
                    let id = begin_events(&mut *stream)?;
                    let mut post = self.connect(target, true)?;
                    join_events(&mut *stream, &mut *post, &id, room)?;
                }
            }
            self.open.push(stream);
        }
        Ok(())
    }

    /// A connection. `again`: one was made before, whose TLS session may be resumed.
    fn connect(&self, target: &Target, again: bool) -> Result<Box<dyn Stream>> {
        let mut socket = TcpStream::connect_timeout(&target.to, DEADLINE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        if !self.way.has_tls() {
            return Ok(Box::new(socket));
        }
        let name = ServerName::try_from("localhost").map_err(|it| Error::new(it.to_string()))?;
        let mut session = ClientConnection::new(Arc::clone(&self.config), name).map_err(wrong)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        if resumed != (self.way == Way::Resumed && again) {
            return Err(Error::new(
                "a handshake was not of the kind that is measured".to_owned(),
            ));
        }
        Ok(Box::new(StreamOwned::new(session, socket)))
    }
}

/// Begins an event stream, and returns its id.
fn begin_events(stream: &mut dyn Stream) -> Result<String> {
    stream.write_all(b"GET /sse HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let begin = read_until(stream, "max_body")?;
    let id = begin
        .split("\"id\":\"")
        .nth(1)
        .and_then(|it| it.split('"').next());
    let id = id.map(str::to_owned);
    id.ok_or_else(|| Error::new("the server begins no event stream".to_owned()))
}

/// Says `hello` over another connection, and waits until the stream is in its room.
fn join_events(stream: &mut dyn Stream, post: &mut dyn Stream, id: &str, room: u32) -> Result<()> {
    let body = format!(
        "{{\"type\":\"hello\",\"payload\":{{\"version\":1}}}}\n{{\"type\":\"join_room\",\"room_id\":\"relay:{room}\"}}"
    );
    let length = body.len();
    let request = format!(
        "POST /send HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nroomcast-stream: {id}\r\nroomcast-batch: 1\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    post.write_all(request.as_bytes())?;
    read_until(post, "HTTP/1.1 204")?;
    read_until(stream, "\"type\":\"joined\"").map(drop)
}

/// Reads until this has come, and returns all of it.
fn read_until(stream: &mut dyn Stream, what: &str) -> Result<String> {
    let (mut text, mut input) = (Vec::new(), [0; 4 * 1024]);
    loop {
        let read = stream.read(&mut input)?;
        if read == 0 {
            return Err(Error::new(format!("the server says no {what}")));
        }
        text.extend_from_slice(input.get(..read).unwrap_or_default());
        let told = String::from_utf8_lossy(&text);
        if told.contains(what) {
            return Ok(told.into_owned());
        }
    }
}

/// Upgrades, says `hello`, and waits until it is in its room.
fn join(stream: &mut (impl Read + Write), room: u32) -> Result<()> {
    let request = ClientRequest {
        host: "localhost",
        target: "/ws",
        nonce: [7; 16],
        protocols: &[],
        deflate: None,
        headers: &[],
    };
    stream.write_all(&request.encode())?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        return Err(Error::new("the server does not upgrade".to_owned()));
    }
    let mut bytes = Vec::new();
    for text in [
        r#"{"type":"hello","payload":{"version":1}}"#.to_owned(),
        format!(r#"{{"type":"join_room","room_id":"relay:{room}"}}"#),
    ] {
        frame::write_frame(
            &mut bytes,
            Opcode::Text,
            true,
            false,
            text.as_bytes(),
            Some([1; 4]),
        );
    }
    stream.write_all(&bytes)?;
    let config = ReceiverConfig {
        max_message: 1 << 20,
        max_skip: 1 << 20,
        deflate: None,
    };
    let (mut receiver, mut scratch) = (Receiver::new(Role::Client, &config), Scratch::new());
    let begin = Instant::now();
    let mut input = vec![0; 16 * 1024];
    while begin.elapsed() < DEADLINE {
        let read = stream.read(&mut input)?;
        if read == 0 {
            break;
        }
        let mut rest = input.get_mut(..read).unwrap_or_default();
        while let Some(event) = receiver
            .receive(&mut rest, &mut scratch)
            .map_err(|error| Error::new(error.to_string()))?
        {
            if let Event::Text(text) = event
                && text.contains(r#""type":"joined""#)
            {
                return Ok(());
            }
        }
    }
    Err(Error::new("the server let nobody into a room".to_owned()))
}

fn wrong(error: tokio_rustls::rustls::Error) -> Error {
    Error::new(format!("TLS: {error}"))
}
