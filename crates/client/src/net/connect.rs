//! Opening a connection: TCP, TLS, the handshake.

use std::sync::Arc;

use roomcast_protocol::Format;
use roomcast_websocket::handshake::{ClientRequest, ResponseError};
use roomcast_websocket::{Deflate, DeflateOffer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::url::Url;
use crate::error::{Error, code};

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Bytes of a response's head.
const MAX_HEAD: usize = 16 * 1024;

/// Why there is no connection.
pub(super) enum Failure {
    /// It will not be another time.
    Final(Error),
    /// What to report as a close frame's reason.
    Again(String),
}

#[cfg(feature = "tls")]
pub(super) type Tls = Option<Arc<tokio_rustls::rustls::ClientConfig>>;
#[cfg(not(feature = "tls"))]
pub(super) type Tls = Option<Arc<()>>;

/// How to connect.
pub(super) struct Dial {
    pub(super) format: Format,
    pub(super) headers: Vec<(String, String)>,
    pub(super) compression: bool,
    pub(super) tls: Tls,
}

/// An open connection.
pub(super) struct Opened {
    pub(super) io: Box<dyn Io>,
    pub(super) deflate: Option<Deflate>,
    /// What came after the handshake already.
    pub(super) rest: Vec<u8>,
}

pub(super) async fn connect(dial: &Dial, url: &Url, nonce: [u8; 16]) -> Result<Opened, Failure> {
    let tcp = TcpStream::connect((url.host.as_str(), url.port))
        .await
        .map_err(|error| Failure::Again(error.to_string()))?;
    // Without it an answer waits for the acknowledgement of the frame before.
    let _ = tcp.set_nodelay(true);
    let io: Box<dyn Io> = match url.tls {
        false => Box::new(tcp),
        true => secure(url, tcp, &dial.tls).await?,
    };
    upgrade(dial, url, nonce, io).await
}

#[cfg(feature = "tls")]
async fn secure(url: &Url, tcp: TcpStream, tls: &Tls) -> Result<Box<dyn Io>, Failure> {
    use tokio_rustls::rustls::pki_types::ServerName;
    let config = match tls {
        Some(config) => config.clone(),
        None => system_tls().await.map_err(Failure::Final)?,
    };
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| Failure::Final(Error::new(code::BAD_URL, "this is no host's name")))?;
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, tcp);
    let stream = stream
        .await
        .map_err(|error| Failure::Again(format!("TLS: {error}")))?;
    Ok(Box::new(stream))
}

#[cfg(not(feature = "tls"))]
async fn secure(_: &Url, _: TcpStream, _: &Tls) -> Result<Box<dyn Io>, Failure> {
    let message = "the address wants TLS, and this client was built without the feature `tls`";
    Err(Failure::Final(Error::new(code::BAD_URL, message)))
}

/// The system's certificates, read once a process, on a thread where that may block.
#[cfg(feature = "tls")]
async fn system_tls() -> Result<Arc<tokio_rustls::rustls::ClientConfig>, Error> {
    use std::sync::OnceLock;
    static READ: OnceLock<Result<Arc<tokio_rustls::rustls::ClientConfig>, Error>> = OnceLock::new();
    tokio::task::spawn_blocking(|| READ.get_or_init(read_system_tls).clone())
        .await
        .map_err(|error| Error::new(code::SYSTEM, error.to_string()))?
}

#[cfg(feature = "tls")]
fn read_system_tls() -> Result<Arc<tokio_rustls::rustls::ClientConfig>, Error> {
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Error::new(code::SYSTEM, "the system has no certificates"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(code::SYSTEM, error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

async fn upgrade(
    dial: &Dial,
    url: &Url,
    nonce: [u8; 16],
    mut io: Box<dyn Io>,
) -> Result<Opened, Failure> {
    let again = |error: std::io::Error| Failure::Again(error.to_string());
    let headers: Vec<_> = dial
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let request = ClientRequest {
        host: &url.authority,
        target: &url.target,
        nonce,
        protocols: &[dial.format.subprotocol()],
        deflate: dial.compression.then(DeflateOffer::default),
        headers: &headers,
    };
    io.write_all(&request.encode()).await.map_err(again)?;
    io.flush().await.map_err(again)?;
    let mut head = Vec::new();
    loop {
        let mut chunk = [0; 2048];
        let count = io.read(&mut chunk).await.map_err(again)?;
        if count == 0 {
            return Err(Failure::Again("closed in the handshake".to_owned()));
        }
        head.extend_from_slice(&chunk[..count]);
        if let Some((len, deflate)) = check(&request, dial.format, &head)? {
            let rest = head.split_off(len);
            return Ok(Opened { io, deflate, rest });
        }
        if head.len() > MAX_HEAD {
            return Err(refused("the handshake's answer has too many bytes"));
        }
    }
}

/// The length of the response's head, once it is whole and good, and the compression that was agreed on.
fn check(
    request: &ClientRequest<'_>,
    format: Format,
    head: &[u8],
) -> Result<Option<(usize, Option<Deflate>)>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(head) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(refused(format!("the answer is no HTTP: {error}"))),
    };
    let fields = response.headers.iter().map(|it| (it.name, it.value));
    match request.verify(response.code.unwrap_or_default(), fields) {
        // Without a subprotocol it would be JSON.
        Ok(upgraded) if upgraded.protocol.is_none() && format == Format::Protobuf => {
            Err(refused("the server does not speak Protobuf"))
        }
        Ok(upgraded) => Ok(Some((len, upgraded.deflate))),
        Err(ResponseError::Status(status)) => Err(status_failure(status, &response)),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// 4xx won't change, but for those that say "later".
fn status_failure(status: u16, response: &httparse::Response<'_, '_>) -> Failure {
    match status {
        401 | 403 => Failure::Final(Error::new(
            code::UNAUTHORIZED,
            format!("the server answered the handshake with the status {status}"),
        )),
        408 | 425 | 429 | 500.. => {
            let after = response
                .headers
                .iter()
                .find(|it| it.name.eq_ignore_ascii_case("retry-after"))
                .and_then(|it| {
                    std::str::from_utf8(it.value)
                        .ok()?
                        .trim()
                        .parse::<u32>()
                        .ok()
                })
                .unwrap_or(0);
            Failure::Again(format!(
                "HTTP status {status}; retry_after_ms={}",
                u64::from(after) * 1000
            ))
        }
        _ => refused(format!(
            "the server answered the handshake with the status {status}"
        )),
    }
}

fn refused(why: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::Final(Error::new(code::HANDSHAKE_REFUSED, why))
}
