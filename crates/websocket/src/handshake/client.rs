use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{accept_key, has_token};
use crate::negotiation::{Deflate, DeflateOffer};

/// The request of a client (RFC 6455 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRequest<'a> {
    /// The value of `Host`: the server's name, and its port unless that is the scheme's.
    pub host: &'a str,
    /// The path and the query, beginning with `/`.
    pub target: &'a str,
    /// 16 random octets, fresh for every connection.
    pub nonce: [u8; 16],
    /// The subprotocols to offer, the best first.
    pub protocols: &'a [&'a str],
    /// The compression to offer, if any.
    pub deflate: Option<DeflateOffer>,
    /// Further header lines, such as `Origin` or `Authorization`.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What a server agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgraded<'a> {
    /// The subprotocol that the server chose.
    pub protocol: Option<&'a str>,
    /// The compression that it accepted.
    pub deflate: Option<Deflate>,
}

impl ClientRequest<'_> {
    /// The request, empty line included.
    ///
    /// Header values are taken as they are: they may not contain line breaks.
    pub fn encode(&self) -> Vec<u8> {
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n",
            self.target,
            self.host,
            STANDARD.encode(self.nonce)
        );
        let protocols = self.protocols.join(", ");
        let deflate = self.deflate.map(|offer| offer.header_value());
        let protocols =
            (!protocols.is_empty()).then_some(("Sec-WebSocket-Protocol", &protocols[..]));
        let deflate = deflate
            .as_deref()
            .map(|offer| ("Sec-WebSocket-Extensions", offer));
        for (name, value) in protocols
            .into_iter()
            .chain(deflate)
            .chain(self.headers.iter().copied())
        {
            request.push_str(name);
            request.push_str(": ");
            request.push_str(value);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        request.into_bytes()
    }

    /// Checks the response (RFC 6455 section 4.1): its status and its headers, one item a line;
    /// names in any case, values without the white space around them.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn verify<'h>(
        &self,
        status: u16,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) -> Result<Upgraded<'h>, ResponseError> {
        if status != 101 {
            return Err(ResponseError::Status(status));
        }
        let (mut upgrade, mut connection) = (false, false);
        let (mut accept, mut protocol) = (None, None);
        let mut extensions = Vec::new();
        for (name, value) in headers {
            let is = |wanted| name.eq_ignore_ascii_case(wanted);
            if is("upgrade") {
                upgrade |= value.eq_ignore_ascii_case(b"websocket");
            } else if is("connection") {
                connection |= has_token(value, "upgrade");
            } else if is("sec-websocket-accept") {
                if accept.replace(value).is_some() {
                    return Err(ResponseError::Accept);
                }
            } else if is("sec-websocket-protocol") {
                if protocol.replace(value).is_some() {
                    return Err(ResponseError::Protocol);
                }
            } else if is("sec-websocket-extensions") {
                extensions.push(value);
            }
        }
        if !upgrade || !connection {
            return Err(ResponseError::NotAnUpgrade);
        }
        if accept != Some(accept_key(STANDARD.encode(self.nonce).as_bytes()).as_bytes()) {
            return Err(ResponseError::Accept);
        }
        let protocol = match protocol.map(std::str::from_utf8) {
            None => None,
            Some(Ok(protocol)) if self.protocols.contains(&protocol) => Some(protocol),
            Some(_) => return Err(ResponseError::Protocol),
        };
        let deflate = match &self.deflate {
            Some(offer) => offer
                .verify(extensions)
                .map_err(|_| ResponseError::Extensions)?,
            None if extensions.iter().all(|value| value.is_empty()) => None,
            None => return Err(ResponseError::Extensions),
        };
        Ok(Upgraded { protocol, deflate })
    }
}

/// Why a response doesn't open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseError {
    /// The status isn't 101.
    Status(u16),
    /// `Upgrade` or `Connection` isn't what it has to be.
    NotAnUpgrade,
    /// There isn't exactly one `Sec-WebSocket-Accept`, or it doesn't answer the request's key.
    Accept,
    /// The server chose a subprotocol that wasn't offered.
    Protocol,
    /// The server accepted an extension that wasn't offered.
    Extensions,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => {
                write!(
                    f,
                    "the server answered with the HTTP status {status}, not 101"
                )
            }
            Self::NotAnUpgrade => f.write_str("the response upgrades to something else"),
            Self::Accept => f.write_str("Sec-WebSocket-Accept doesn't answer the key"),
            Self::Protocol => f.write_str("the server chose a subprotocol that was not offered"),
            Self::Extensions => {
                f.write_str("the server accepted an extension that was not offered")
            }
        }
    }
}

impl std::error::Error for ResponseError {}
