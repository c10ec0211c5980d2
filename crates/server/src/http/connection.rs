//! One connection from its first byte to its end, or to its hand-over to a shard.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use roomcast_protocol::CloseCode;
use roomcast_websocket::CloseFrame;
use roomcast_websocket::frame::write_close;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::client_address::Way;
use super::service::{Accepted, Service};
use super::stats::RefusedBy;
use super::transport::Transport;
use super::wordless::Wordless;
use super::{Site, proxy_protocol, response};
use crate::config::{Listener, ProxyProtocol, Role};
use crate::handover::Upgraded;
use crate::limits::{ConnectionPermit, Refusal};
use crate::shard::event_stream::close_event;
use crate::tls::Followed;

/// A connection that is still HTTP after so long is cut: pages are read in less, and come back by a new one.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long a request waits for the shards to have room before it is answered all the same.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a client whose request was not read to its end has time for to read the answer, and to send the rest.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Speaks HTTP until the connection ends or is a shard's.
pub(super) async fn serve(
    site: Arc<Site>,
    listener: Listener,
    stream: TcpStream,
    peer: SocketAddr,
    admitted: Result<ConnectionPermit, Refusal>,
) {
    // While a connection waits for its first byte, as thousands do when all connect at once, it is a socket and a small
    // task: what reads a request takes about 14 KiB, and is made when there is something to read.
    let begin = Instant::now();
    // (A peek, as a stream that is new is taken for readable.)
    let _ = timeout(site.handshake_timeout, stream.peek(&mut [0])).await;
    if admitted.is_ok() {
        wait_for_room(&site).await;
    }
    let left = site.handshake_timeout.saturating_sub(begin.elapsed());
    let work = Box::pin(serve_http(
        &site,
        listener,
        stream,
        peer.ip().to_canonical(),
        admitted,
        left,
    ));
    let Ok(Some((mut transport, mut leftover, accepted))) = timeout(LIFETIME, work).await else {
        return;
    };
    let mut accepted = accepted;
    let opening = accepted.opening.take();
    if let Some(opening) = &opening {
        let begin = async {
            transport.write_all(&opening.head).await?;
            transport.flush().await
        };
        // A client that does not take as little as that isn't waited for.
        let Ok(Ok(())) = timeout(site.handshake_timeout, begin).await else {
            return;
        };
        leftover.clear();
    }
    let Ok((stream, tls)) = transport.into_parts(&mut leftover) else {
        return;
    };
    let Accepted {
        format,
        deflate,
        access,
        permit,
        ..
    } = accepted;
    hand_over(
        &site,
        Upgraded {
            stream,
            tls,
            stream_of: opening.map(|opening| opening.ticket),
            format,
            deflate,
            access,
            leftover,
            permit,
        },
    )
    .await;
}

type HandedOver = (Transport, Vec<u8>, Accepted);

async fn serve_http(
    site: &Arc<Site>,
    listener: Listener,
    mut stream: TcpStream,
    peer: IpAddr,
    mut admitted: Result<ConnectionPermit, Refusal>,
    header_timeout: Duration,
) -> Option<HandedOver> {
    let way = match way(site, listener, &mut stream, peer).await {
        Ok(way) => way,
        Err(sentence) => {
            site.refused(RefusedBy::ProxyHeader);
            return end_with(Transport::Plain(stream), StatusCode::BAD_REQUEST, &sentence).await;
        }
    };
    if let Ok(permit) = &mut admitted
        && let Some(address) = site.trusted.known_early(way)
        && let Err(refusal) = permit.count_address(address)
    {
        admitted = Err(refusal);
    }
    if let Err(refusal) = admitted
        && listener.tls
    {
        // A handshake costs more than all that a client without it can ask for.
        site.refused(RefusedBy::from(refusal));
        return None;
    }
    let begin = Instant::now();
    let stream = match secure(site, listener, stream, header_timeout).await {
        Ok(stream) => stream,
        Err(ended) => return ended,
    };
    let header_timeout = header_timeout.saturating_sub(begin.elapsed());

    let service = Service::new(Arc::clone(site), listener, way, admitted);
    let io = TokioIo::new(Wordless::new(stream));
    let mut http = site.http.clone();
    http.header_read_timeout(header_timeout);
    let mut connection = http.serve_connection(io, service);
    let result = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;

    let parts = connection.into_parts();
    let wordless = parts.io.into_inner();
    let (withheld, behind) = (wordless.withheld(), wordless.is_behind());
    let stream = wordless.into_inner();
    let state = parts.service.into_state();
    match result {
        Ok(()) => match state.accepted {
            Some(_) if behind => None,
            Some(accepted) => Some((stream, parts.read_buf.to_vec(), accepted)),
            None => linger(stream).await,
        },
        Err(error) if error.is_timeout() => {
            if parts.read_buf.is_empty() && state.requests > 0 {
                return None; // kept alive for nothing
            }
            site.refused(RefusedBy::Timeout);
            let sentence = format!(
                "The request did not arrive within {} ms (http.handshake_timeout).",
                site.handshake_timeout.as_millis()
            );
            end_with(stream, StatusCode::REQUEST_TIMEOUT, &sentence).await
        }
        Err(error) if error.is_parse() => {
            site.refused(RefusedBy::Request);
            let (status, sentence) = unreadable(site, withheld, &parts.read_buf, &error);
            end_with(stream, status, &sentence).await
        }
        Err(_) => None,
    }
}

/// Makes TLS of the connection, on a listener that has it.
///
/// # Errors
/// The connection has ended.
async fn secure(
    site: &Site,
    listener: Listener,
    stream: TcpStream,
    time: Duration,
) -> Result<Transport, Option<HandedOver>> {
    let Some(tls) = site.tls.as_ref().filter(|_| listener.tls) else {
        return Ok(Transport::Plain(stream));
    };
    let handshake = async {
        let mut first = [0];
        match stream.peek(&mut first).await? {
            // Somebody who looks whether the port is open.
            0 => Err(io::ErrorKind::NotConnected.into()),
            _ if first[0].is_ascii_alphabetic() => Ok(Err(stream)),
            _ => {
                let accepted = tls.acceptor().accept(Followed::new(stream));
                accepted.await.map(Ok)
            }
        }
    };
    match timeout(time, handshake).await {
        Ok(Ok(Ok(stream))) => Ok(Transport::Tls(Box::new(stream))),
        Ok(Ok(Err(plain))) => {
            site.refused(RefusedBy::Tls);
            let sentence = "This port speaks TLS: use https:// and wss://.";
            Err(end_with(Transport::Plain(plain), StatusCode::BAD_REQUEST, sentence).await)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotConnected => Err(None),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            site.refused(RefusedBy::Tls);
            Err(None)
        }
        Err(_) => {
            site.refused(RefusedBy::Timeout);
            Err(None)
        }
    }
}

/// Whether the peer speaks for itself, or is a trusted proxy that begins with a PROXY protocol header.
///
/// A trusted proxy has to send the header on every connection: were it optional, a proxy that sends none would let its
/// clients write one.
async fn way(
    site: &Site,
    listener: Listener,
    stream: &mut TcpStream,
    peer: IpAddr,
) -> Result<Way, String> {
    let expected = site.proxy_protocol == ProxyProtocol::V2
        && listener.role == Role::Main
        && site.trusted.contains(peer);
    if !expected {
        return Ok(Way::Direct(peer));
    }
    match timeout(site.handshake_timeout, proxy_protocol::read(stream)).await {
        Ok(Ok(client)) => Ok(Way::Proxy {
            proxy: peer,
            client: client.map(|client| client.ip()),
        }),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(format!(
            "A connection from this proxy has to begin with a PROXY protocol v2 header: {error}."
        )),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("The PROXY protocol header did not arrive in time.".to_owned()),
    }
}

/// Says why a request could not be read.
fn unreadable(
    site: &Site,
    withheld: Option<u16>,
    bytes: &[u8],
    error: &hyper::Error,
) -> (StatusCode, String) {
    let status = withheld.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.unwrap_or(StatusCode::BAD_REQUEST);
    let sentence = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => format!(
            "A request may have {} header lines (http.max_headers) of {} bytes together (http.max_header_size).",
            site.max_headers, site.max_header_size
        ),
        StatusCode::URI_TOO_LONG => "The request's address is too long.".to_owned(),
        // The first bytes of a TLS handshake record.
        _ if bytes.starts_with(&[0x16, 0x03]) => {
            "This port speaks plain HTTP: use http:// and ws://, set tls.certificate_path, or put a proxy before it that \
             ends TLS."
                .to_owned()
        }
        _ => format!("This is not a well-formed HTTP/1.1 request: {error}."),
    };
    (status, sentence)
}

/// A last answer, outside of hyper.
async fn end_with(mut stream: Transport, status: StatusCode, sentence: &str) -> Option<HandedOver> {
    // A client that does not read in that time isn't waited for.
    let answer = response::raw(status, sentence, None);
    let _ = timeout(LINGER, stream.write_all(&answer)).await;
    linger(stream).await
}

/// Ends our side and reads what the client still sends: bytes that are left unread at the end make the system reset
/// the connection, and the client might then lose the answer.
async fn linger(mut stream: Transport) -> Option<HandedOver> {
    let drain = async {
        let mut waste = [0; 1024];
        let mut rest = LINGER_BYTES;
        stream.shutdown().await?;
        while rest > 0 {
            match stream.read(&mut waste).await? {
                0 => break,
                count => rest = rest.saturating_sub(count),
            }
        }
        io::Result::Ok(())
    };
    let _ = timeout(LINGER, drain).await;
    None
}

/// Gives the shards a moment to take the newcomers who wait for them: most of a burst is better served late than refused.
async fn wait_for_room(site: &Site) {
    let deadline = Instant::now() + PATIENCE;
    while !site.shards.has_room() && Instant::now() < deadline {
        sleep(Duration::from_millis(2)).await;
    }
}

/// Brings a connection to a shard, trying again while all queues are full.
async fn hand_over(site: &Site, mut upgraded: Upgraded) {
    let deadline = Instant::now() + site.handshake_timeout;
    let mut pause = Duration::from_millis(1);
    loop {
        match site.shards.hand_over(upgraded) {
            Ok(()) => return site.stats.count_upgraded(),
            Err(back) => upgraded = back,
        }
        if Instant::now() >= deadline {
            site.refused(RefusedBy::ShardsBusy);
            let mut frame = Vec::new();
            let retry = site.retry_after() * 1_000;
            let close = CloseFrame {
                code: CloseCode::Overloaded.code(),
                reason: &CloseCode::Overloaded.reason(retry),
            };
            match upgraded.stream_of {
                None => write_close(&mut frame, Some(close), None),
                Some(_) => {
                    frame.extend_from_slice(close_event(close.code, close.reason).as_bytes());
                }
            }
            // A fresh socket takes the few bytes; if not, there is nobody to tell.
            let _ = match &mut upgraded.tls {
                None => io::Write::write(&mut upgraded.stream, &frame),
                Some(tls) => io::Write::write(&mut tls.session.writer(), &frame)
                    .and_then(|_| tls.session.write_tls(&mut upgraded.stream)),
            };
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// How hyper is to speak HTTP/1.1.
pub(super) fn builder(
    handshake_timeout: Duration,
    max_headers: usize,
    max_header_size: usize,
) -> http1::Builder {
    /// hyper's smallest.
    const MIN_BUFFER: usize = 8 * 1024;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(handshake_timeout)
        .max_headers(max_headers)
        .max_header_size(max_header_size)
        .max_buf_size(max_header_size.max(MIN_BUFFER))
        .half_close(true)
        .writev(false);
    builder
}
