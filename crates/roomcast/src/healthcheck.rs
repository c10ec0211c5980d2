//! `roomcast healthcheck`: one request to a running server, for containers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;

use roomcast_server::config::{Config, ProxyProtocol, exit};

use crate::check;
use crate::cli::HealthcheckArgs;

pub(crate) fn run(args: &HealthcheckArgs) -> ExitCode {
    let loaded = match check::load(&args.settings) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    // The server's own settings say where it is, and what a connection begins with.
    let Some(&address) = loaded.config.server.listen.first() else {
        return ExitCode::from(exit::CONFIG);
    };
    let address = from_here(address);
    let path = if args.ready { "/readyz" } else { "/healthz" };
    match ask(address, path, &loaded.config, args) {
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
    config: &Config,
    args: &HealthcheckArgs,
) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, args.timeout())?;
    stream.set_read_timeout(Some(args.timeout()))?;
    stream.set_write_timeout(Some(args.timeout()))?;
    let server = &config.server;
    let proxied = server.proxy_protocol == ProxyProtocol::V2;
    if proxied && server.trusts(stream.local_addr()?.ip()) {
        stream.write_all(LOCAL)?;
    }
    if config.tls.is_on() {
        ask_over(tls::over(stream)?, address, path)
    } else {
        ask_over(stream, address, path)
    }
}

fn ask_over(mut stream: impl Read + Write, address: SocketAddr, path: &str) -> io::Result<u16> {
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

/// TLS to this machine's own server.
mod tls {
    use std::io;
    use std::net::TcpStream;
    use std::sync::Arc;

    use tokio_rustls::rustls::client::danger::{
        HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
    };
    use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use tokio_rustls::rustls::{
        ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    };

    pub(super) fn over(stream: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        let name = ServerName::IpAddress(stream.peer_addr()?.ip().into());
        let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(session, stream))
    }

    /// Takes any certificate. It is for names by which others reach the server, and here is asked by an address of this
    /// machine. The question has no secret in it, and the answer is a status.
    #[derive(Debug)]
    struct Anybody(Arc<CryptoProvider>);

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
