//! The page and what its buttons ask for. It can kill processes, so it is on loopback, and no other page may ask.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::processes::Processes;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The SDK, the tally and the style are those of the server's own page.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("index.html")),
    ("/cluster.css", CSS, include_str!("cluster.css")),
    ("/cluster.js", JS, include_str!("cluster.js")),
    (
        "/style.css",
        CSS,
        include_str!("../../crates/server/web/style.css"),
    ),
    (
        "/tally.js",
        JS,
        include_str!("../../crates/server/web/tally.js"),
    ),
    (
        "/favicon.svg",
        "image/svg+xml",
        include_str!("../../crates/server/web/favicon.svg"),
    ),
    (
        "/sdk/roomcast.js",
        JS,
        include_str!("../../crates/server/web/sdk/roomcast.js"),
    ),
];

pub(crate) async fn run(listener: TcpListener, processes: &Arc<Processes>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let processes = processes.clone();
            tokio::spawn(async move {
                // Whoever went away needs no answer.
                let _ = answer(stream, &processes).await;
            });
        }
    }
}

/// One request, and its answer. Each has a connection of its own.
async fn answer(stream: TcpStream, processes: &Processes) -> std::io::Result<()> {
    let here = stream.local_addr()?;
    let mut stream = BufReader::new(stream);
    let (mut request, mut host, mut origin) = (String::new(), String::new(), String::new());
    stream.read_line(&mut request).await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? <= 2 {
            break;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("host") => host = value.to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("origin") => origin = value.to_owned(),
            _ => {}
        }
    }
    let mut words = request.split_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    match method {
        _ if !is_here(&host, here) => say(stream, "421 Misdirected Request", HTML, "").await,
        "GET" if target == "/events" => events(stream, processes).await,
        "GET" => match FILES.iter().find(|(path, ..)| *path == target) {
            Some((_, kind, content)) => say(stream, "200 OK", kind, content).await,
            None => say(stream, "404 Not Found", HTML, "").await,
        },
        // Another page may send such a request too. A browser says which one it was.
        "POST" if origin == format!("http://{host}") => {
            let done = command(target, processes).is_some();
            let status = if done {
                "204 No Content"
            } else {
                "404 Not Found"
            };
            say(stream, status, HTML, "").await
        }
        _ => say(stream, "403 Forbidden", HTML, "").await,
    }
}

/// Whether a request is for this address, under a name that nobody else can give it.
fn is_here(host: &str, here: SocketAddr) -> bool {
    let port = here.port();
    host == here.to_string() || host == format!("localhost:{port}")
}

/// `/kill/A`, `/move/PLAYER/A`
fn command(target: &str, processes: &Processes) -> Option<()> {
    let node = |name: &str| match name.as_bytes() {
        [name @ b'A'..=b'C'] => Some(usize::from(name - b'A')),
        _ => None,
    };
    match target.split('/').collect::<Vec<_>>()[..] {
        ["", "kill", name] => processes.kill(node(name)?),
        ["", "move", player, name] => processes.send_to(player, node(name)?),
        _ => return None,
    }
    Some(())
}

async fn say(
    mut stream: BufReader<TcpStream>,
    status: &str,
    kind: &str,
    content: &str,
) -> std::io::Result<()> {
    let length = content.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\ncache-control: no-store\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(content.as_bytes()).await?;
    stream.shutdown().await
}

/// Server-sent events: the state, and again after each change.
async fn events(mut stream: BufReader<TcpStream>, processes: &Processes) -> std::io::Result<()> {
    let mut changes = processes.changes();
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    loop {
        let event = format!("data: {}\n\n", processes.state());
        stream.write_all(event.as_bytes()).await?;
        stream.flush().await?;
        if changes.changed().await.is_err() {
            return Ok(());
        }
    }
}
