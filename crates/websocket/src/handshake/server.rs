use std::fmt;

use super::{accept_key, has_token, tokens};

/// A request that asks for a WebSocket in the right way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept<'a> {
    /// The value of the response's `Sec-WebSocket-Accept`.
    pub accept_key: String,
    /// The subprotocols that the client speaks, the one it likes best first.
    pub protocols: Vec<&'a str>,
    /// The values of the `Sec-WebSocket-Extensions` lines, for
    /// [`DeflateConfig::negotiate`](crate::DeflateConfig::negotiate).
    pub extensions: Vec<&'a [u8]>,
    /// The value of `Origin`, if there is one: browsers send it.
    pub origin: Option<&'a [u8]>,
    /// The value of `Host`.
    pub host: &'a [u8],
}

impl Accept<'_> {
    /// The response, status line and empty line included, with the subprotocol that was chosen and
    /// the value of `Sec-WebSocket-Extensions`.
    pub fn response(&self, protocol: Option<&str>, extensions: Option<&str>) -> Vec<u8> {
        let mut response = format!(
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            self.accept_key
        );
        for (name, value) in [
            ("Sec-WebSocket-Protocol", protocol),
            ("Sec-WebSocket-Extensions", extensions),
        ] {
            if let Some(value) = value {
                response.push_str(name);
                response.push_str(": ");
                response.push_str(value);
                response.push_str("\r\n");
            }
        }
        response.push_str("\r\n");
        response.into_bytes()
    }
}

/// Checks a request (RFC 6455 section 4.2.1).
///
/// `version` is that of HTTP, major and minor. `headers` are the request's, one item a line; names
/// in any case, values without the white space around them.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn accept<'a>(
    method: &str,
    version: (u8, u8),
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Accept<'a>, HandshakeError> {
    let found = Headers::collect(headers)?;
    if !found.upgrade {
        return Err(HandshakeError::NotAnUpgrade);
    }
    if method != "GET" {
        return Err(HandshakeError::Method);
    }
    if version != (1, 1) {
        return Err(HandshakeError::HttpVersion);
    }
    if !found.connection {
        return Err(HandshakeError::Connection);
    }
    let host = found.host.ok_or(HandshakeError::Host)?;
    if found.version != Some(b"13") {
        return Err(HandshakeError::Version);
    }
    let key = found.key.ok_or(HandshakeError::Key)?;
    if !is_key(key) {
        return Err(HandshakeError::Key);
    }
    Ok(Accept {
        accept_key: accept_key(key),
        protocols: found.protocols,
        extensions: found.extensions,
        origin: found.origin,
        host,
    })
}

/// 16 octets in base64 are 22 characters and two of padding. What they decode to doesn't matter, so
/// the bits left over in the last character may be anything.
fn is_key(key: &[u8]) -> bool {
    let digit = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/');
    matches!(key.split_at_checked(22), Some((digits, b"==")) if digits.iter().all(digit))
}

#[derive(Default)]
struct Headers<'a> {
    upgrade: bool,
    connection: bool,
    host: Option<&'a [u8]>,
    origin: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    protocols: Vec<&'a str>,
    extensions: Vec<&'a [u8]>,
}

impl<'a> Headers<'a> {
    fn collect(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, HandshakeError> {
        let mut found = Self::default();
        for (name, value) in headers {
            let is = |wanted| name.eq_ignore_ascii_case(wanted);
            if is("upgrade") {
                found.upgrade |= has_token(value, "websocket");
            } else if is("connection") {
                found.connection |= has_token(value, "upgrade");
            } else if is("host") {
                once(&mut found.host, value, HandshakeError::Host)?;
            } else if is("origin") {
                once(&mut found.origin, value, HandshakeError::Origin)?;
            } else if is("sec-websocket-key") {
                once(&mut found.key, value, HandshakeError::Key)?;
            } else if is("sec-websocket-version") {
                once(&mut found.version, value, HandshakeError::Version)?;
            } else if is("sec-websocket-protocol") {
                for protocol in tokens(value).ok_or(HandshakeError::Protocol)? {
                    if found.protocols.contains(&protocol) {
                        return Err(HandshakeError::Protocol);
                    }
                    found.protocols.push(protocol);
                }
            } else if is("sec-websocket-extensions") {
                found.extensions.push(value);
            }
        }
        Ok(found)
    }
}

/// These lines may appear once only (RFC 6455 sections 11.3.1 and 11.3.5, RFC 9112 section 3.2, RFC
/// 6454 section 7.3).
fn once<'a>(
    place: &mut Option<&'a [u8]>,
    value: &'a [u8],
    error: HandshakeError,
) -> Result<(), HandshakeError> {
    if place.replace(value).is_some() {
        Err(error)
    } else {
        Ok(())
    }
}

/// Why a request isn't a WebSocket handshake. Its text is for the response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeError {
    /// It doesn't ask for a WebSocket.
    NotAnUpgrade,
    /// The method isn't GET.
    Method,
    /// The version isn't HTTP/1.1.
    HttpVersion,
    /// `Connection` doesn't contain `Upgrade`.
    Connection,
    /// There isn't exactly one `Host`.
    Host,
    /// There is more than one `Origin`.
    Origin,
    /// There isn't exactly one `Sec-WebSocket-Version`, or it isn't 13.
    Version,
    /// There isn't exactly one `Sec-WebSocket-Key`, or it isn't 16 octets in base64.
    Key,
    /// `Sec-WebSocket-Protocol` isn't a list of different tokens.
    Protocol,
}

impl HandshakeError {
    /// The HTTP status to answer with: 400, 405 or 426.
    pub const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::NotAnUpgrade | Self::Version => 426,
            _ => 400,
        }
    }

    /// The headers that this answer has to have besides those that any has.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Method => &[("Allow", "GET")],
            Self::NotAnUpgrade | Self::Version => &[
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", "13"),
            ],
            _ => &[],
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnUpgrade => {
                "This address speaks WebSocket: the request needs the header `Upgrade: websocket`."
            }
            Self::Method => "A WebSocket is opened with GET.",
            Self::HttpVersion => "A WebSocket is opened over HTTP/1.1.",
            Self::Connection => "The header `Connection` has to contain `Upgrade`.",
            Self::Host => "The request needs exactly one header `Host`.",
            Self::Origin => "The request has more than one header `Origin`.",
            Self::Version => "The request needs the header `Sec-WebSocket-Version: 13`.",
            Self::Key => {
                "The request needs exactly one header `Sec-WebSocket-Key`: 16 random bytes in base64."
            }
            Self::Protocol => {
                "The header `Sec-WebSocket-Protocol` has to be a list of different names."
            }
        })
    }
}

impl std::error::Error for HandshakeError {}
