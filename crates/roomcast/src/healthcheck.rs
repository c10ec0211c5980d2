//! `roomcast healthcheck`: one request to a running server, for containers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;

use roomcast_server::config::{ProxyProtocol, ServerSettings, exit};

use crate::check;
use crate::cli::HealthcheckArgs;

pub(crate) fn run(args: &HealthcheckArgs) -> ExitCode {
    let loaded = match check::load(&args.settings) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    // The server's own settings say where it is, and what a connection begins with.
    let server = &loaded.config.server;
    let Some(&address) = server.listen.first() else {
        return ExitCode::from(exit::CONFIG);
    };
    let address = from_here(address);
    let path = if args.ready { "/readyz" } else { "/healthz" };
    match ask(address, path, server, args) {
        Ok(200) => ExitCode::from(exit::OK),
        Ok(status) => {
            eprintln!("roomcast: {address} answers {path} with {status}");
            ExitCode::from(exit::FAILURE)
        }
        Err(error) => {
            eprintln!("roomcast: no answer from {address}: {error}");
            ExitCode::from(exit::FAILURE)
        }
    }
}

/// A PROXY protocol v2 header of a connection that is the proxy's own: LOCAL, no addresses.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// The status of the answer.
fn ask(
    address: SocketAddr,
    path: &str,
    server: &ServerSettings,
    args: &HealthcheckArgs,
) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, args.timeout())?;
    stream.set_read_timeout(Some(args.timeout()))?;
    stream.set_write_timeout(Some(args.timeout()))?;
    let proxied = server.proxy_protocol == ProxyProtocol::V2;
    if proxied && server.trusts(stream.local_addr()?.ip()) {
        stream.write_all(LOCAL)?;
    }
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut start = Vec::new();
    stream.take(1024).read_to_end(&mut start)?;
    let start = String::from_utf8_lossy(&start);
    let status = start
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok());
    status.ok_or_else(|| io::Error::other("that is not HTTP"))
}

fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
