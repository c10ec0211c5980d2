//! Reading from and writing to a socket.
//!
//! On Linux `rustix` makes the system call itself. libc's wrapper is a cancellation point, which costs two atomic
//! operations a call once a process has a second thread: 1.6 % of a shard's time where it sends 256,000 small frames a
//! second (`perf record` of `roomcast bench rooms`).

use std::io;

use mio::net::TcpStream;

/// As `Read::read`.
#[cfg(unix)]
pub(super) fn receive(stream: &TcpStream, input: &mut [u8]) -> io::Result<usize> {
    let (read, _) = rustix::net::recv(stream, input, rustix::net::RecvFlags::empty())?;
    Ok(read)
}

/// As `Write::write`.
#[cfg(unix)]
pub(super) fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    // A process that embeds the server may not ignore SIGPIPE.
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    let flags = rustix::net::SendFlags::NOSIGNAL;
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    let flags = rustix::net::SendFlags::empty();
    Ok(rustix::net::send(stream, bytes, flags)?)
}

/// As `Read::read`.
#[cfg(not(unix))]
pub(super) fn receive(mut stream: &TcpStream, input: &mut [u8]) -> io::Result<usize> {
    io::Read::read(&mut stream, input)
}

/// As `Write::write`.
#[cfg(not(unix))]
pub(super) fn send(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    io::Write::write(&mut stream, bytes)
}
