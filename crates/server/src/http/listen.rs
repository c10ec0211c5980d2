//! Listening sockets, and the loop that accepts connections.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::stats::RefusedBy;
use super::{Site, connection, response};
use crate::config;
use crate::limits::Refusal;

/// Connections that may wait to be accepted. The system's own limit (4,096 on Linux by default) holds as well.
const BACKLOG: i32 = 16 * 1024;
/// Refused clients that are answered in full at the same time: their request is read first. Beyond it a 503 is sent
/// and the connection closed at once, which some clients see as a reset.
const POLITE_REFUSALS: usize = 64;
/// When accepting fails for want of something that only others can give back.
const PAUSE: Duration = Duration::from_millis(50);

/// Binds one address, with the socket options that the accepted connections inherit.
///
/// # Errors
/// What the system says.
pub(super) fn bind(
    address: SocketAddr,
    v6_only: bool,
    options: &config::Socket,
) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // A restart must not wait for the old connections' TIME_WAIT. On Windows the option means something else.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    set_options(&socket, options)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// On Linux an accepted connection has its listener's options; set once, they cost no system call per connection.
fn set_options(socket: &Socket, options: &config::Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if options.send_buffer != 0 {
        socket.set_send_buffer_size(options.send_buffer)?;
    }
    if options.receive_buffer != 0 {
        socket.set_recv_buffer_size(options.receive_buffer)?;
    }
    Ok(())
}

/// Accepts connections until it is aborted.
pub(super) async fn accept(
    site: Arc<Site>,
    listener: config::Listener,
    socket: tokio::net::TcpListener,
) {
    let polite = Arc::new(Semaphore::new(POLITE_REFUSALS));
    let mut spare = Spare::new();
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => accepted(&site, listener, &polite, stream, peer),
            Err(error) if is_connections_own(&error) => {}
            Err(error) if is_shortage(&error) && spare.give() => {
                // The place of the spare descriptor is free for one connection, for as long as it takes to answer it.
                if let Ok((stream, _)) = socket.accept().await {
                    refuse_at_once(&site, listener, stream, Refusal::FileDescriptors);
                }
                spare = Spare::new();
            }
            Err(error) => {
                site.notices.accept_failed(&error);
                sleep(PAUSE).await;
            }
        }
    }
}

fn accepted(
    site: &Arc<Site>,
    listener: config::Listener,
    polite: &Arc<Semaphore>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    site.stats.count_accepted();
    #[cfg(not(target_os = "linux"))]
    let _ = set_options(&socket2::SockRef::from(&stream), &site.socket);
    match site.admit(listener) {
        Ok(permit) => {
            tokio::spawn(connection::serve(
                Arc::clone(site),
                listener,
                stream,
                peer,
                Ok(permit),
            ));
        }
        Err(refusal) => match Arc::clone(polite).try_acquire_owned() {
            // Health and metrics are still to be had, and everything else gets its 503 when it has asked.
            Ok(place) => {
                let site = Arc::clone(site);
                tokio::spawn(async move {
                    connection::serve(site, listener, stream, peer, Err(refusal)).await;
                    drop(place);
                });
            }
            Err(_) => refuse_at_once(site, listener, stream, refusal),
        },
    }
}

/// A 503 without having read the request. With TLS it could not be read, so the connection is closed.
fn refuse_at_once(site: &Site, listener: config::Listener, stream: TcpStream, refusal: Refusal) {
    let cause = RefusedBy::from(refusal);
    site.refused(cause);
    if listener.tls {
        return;
    }
    let answer = response::raw(
        StatusCode::SERVICE_UNAVAILABLE,
        &site.full_sentence(refusal),
        Some(site.retry_after()),
    );
    if let Ok(mut stream) = stream.into_std() {
        // A fresh socket takes the few bytes; if not, there is nobody to tell.
        let _ = stream.write(&answer);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
}

/// The connection that was to be accepted is gone already.
fn is_connections_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// The process or the system has no file descriptor left.
#[cfg(unix)]
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE];
    error
        .raw_os_error()
        .is_some_and(|code| shortages.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(not(unix))]
fn is_shortage(_: &io::Error) -> bool {
    false
}

/// A file descriptor that is held to be given up: without one, not even a refusal can be sent, and what can't be
/// accepted stays in the queue and wakes the loop again and again.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Spare {
        Spare(File::open(if cfg!(windows) { "NUL" } else { "/dev/null" }).ok())
    }

    /// Frees the descriptor; false when there was none.
    fn give(&mut self) -> bool {
        self.0.take().is_some()
    }
}
