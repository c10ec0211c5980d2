//! One connection to an API, which is opened again when the server has closed it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Failure;

/// The API answers within about twenty seconds.
const DEADLINE: Duration = Duration::from_secs(30);
/// The largest answer.
const LARGEST: u64 = 1024 * 1024;

trait Io: Read + Write {}

impl<T: Read + Write> Io for T {}

pub(super) struct Api {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    key: String,
    open: Option<BufReader<Box<dyn Io>>>,
}

impl Api {
    pub(super) fn new(url: &str, key: &str, ca: Option<&Path>) -> Result<Api, Failure> {
        let wrong = || {
            Failure::usage(format!(
                "{url:?} is no URL of a server, such as http://127.0.0.1:8080"
            ))
        };
        let url = url.trim_end_matches('/');
        let (rest, port, has_tls) = match url.split_once("://") {
            Some(("http", rest)) => (rest, 80, false),
            Some(("https", rest)) => (rest, 443, true),
            _ => return Err(wrong()),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, text)) if !text.ends_with(']') => {
                (host, text.parse().map_err(|_| wrong())?)
            }
            _ => (rest, port),
        };
        let odd = |it: char| it.is_whitespace() || it.is_control() || "/?#@".contains(it);
        if host.is_empty() || host.contains(odd) {
            return Err(wrong());
        }
        Ok(Api {
            host: host.to_owned(),
            port,
            tls: has_tls.then(|| tls(ca)).transpose()?,
            key: key.to_owned(),
            open: None,
        })
    }

    /// The status and the body of the answer.
    pub(super) fn post(
        &mut self,
        path: &str,
        once: Option<&str>,
        body: &str,
    ) -> Result<(u16, String), Failure> {
        let once = match once {
            None => String::new(),
            Some(key) if key.chars().any(char::is_control) => {
                return Err(Failure::usage("a key for --once has no control characters"));
            }
            Some(key) => format!("idempotency-key: {key}\r\n"),
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}:{}\r\nauthorization: Bearer {}\r\n{once}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            self.port,
            self.key,
            body.len()
        );
        // A connection that nobody uses is closed by the server: then nothing of the answer comes, and it is asked again.
        // With a key for once that does no harm.
        let was_open = self.open.is_some();
        match self.exchange(&request) {
            Err(Ended::Before(_)) if was_open => self.exchange(&request),
            result => result,
        }
        .map_err(|ended| {
            let (Ended::Before(error) | Ended::Within(error)) = ended;
            let (host, port) = (&self.host, self.port);
            Failure::new(format!("no answer from {host}:{port}: {error}"))
        })
    }

    fn exchange(&mut self, request: &str) -> Result<(u16, String), Ended> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => BufReader::new(self.connect().map_err(Ended::Within)?),
        };
        stream
            .get_mut()
            .write_all(request.as_bytes())
            .map_err(Ended::Before)?;
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) => return Err(Ended::Before(io::ErrorKind::UnexpectedEof.into())),
            Err(error) if line.is_empty() => return Err(Ended::Before(error)),
            result => result.map_err(Ended::Within)?,
        };
        let (status, closes, body) = rest(&mut stream, &line).map_err(Ended::Within)?;
        if !closes {
            self.open = Some(stream);
        }
        Ok((status, body))
    }

    fn connect(&self) -> io::Result<Box<dyn Io>> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut last = io::Error::other("this name has no address");
        for address in (host, self.port).to_socket_addrs()? {
            let stream = match TcpStream::connect_timeout(&address, DEADLINE) {
                Ok(stream) => stream,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.set_write_timeout(Some(DEADLINE))?;
            let Some(config) = &self.tls else {
                return Ok(Box::new(stream));
            };
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let session =
                ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
            return Ok(Box::new(StreamOwned::new(session, stream)));
        }
        Err(last)
    }
}

/// When a connection has ended.
enum Ended {
    /// Before anything of the answer had come.
    Before(io::Error),
    Within(io::Error),
}

/// The answer behind its first line: its status, whether the connection is closed, its body.
fn rest(stream: &mut BufReader<Box<dyn Io>>, first: &str) -> io::Result<(u16, bool, String)> {
    let wrong = || io::Error::other("that is not HTTP");
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|it| it.get(..3));
    let status = status.and_then(|it| it.parse().ok()).ok_or_else(wrong)?;
    let (mut length, mut closes, mut line) = (None, false, String::new());
    loop {
        line.clear();
        stream.by_ref().take(LARGEST).read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse::<u64>().ok(),
            "connection" => closes = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let length = length.filter(|it| *it <= LARGEST).ok_or_else(wrong)?;
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8(body).map_err(|_| wrong())?;
    Ok((status, closes, body))
}

/// With the certificates of a file, or those that this machine trusts.
pub(super) fn tls(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let wrong = |why: &str| Failure::usage(format!("--ca {}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let added = certificate.ok().and_then(|it| roots.add(it).ok());
                added.ok_or_else(|| wrong("it has a certificate that is none"))?;
            }
            if roots.is_empty() {
                return Err(wrong("it has no certificate in it"));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(error.to_string()))?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}
