//! `GET /ws`: from a request to an accepted handshake, or to an answer that says what is wrong.

use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Response, StatusCode, Version, request};
use roomcast_protocol::Format;
use roomcast_websocket::DeflateConfig;
use roomcast_websocket::handshake::{Accept, HandshakeError, accept};

use super::response::{Answer, text, with_header};
use super::stats::RefusedBy;

const JSON: &str = "gameproto.v1.json";
const PROTOBUF: &str = "gameproto.v1.protobuf";

/// A handshake without fault, not yet accepted.
#[derive(Debug)]
pub(super) struct Handshake<'a> {
    accept: Accept<'a>,
    /// The subprotocol to name in the answer.
    protocol: Option<&'static str>,
    /// The agreed extension to name in the answer.
    extension: Option<String>,
    /// What its frames will hold.
    pub(super) format: Format,
}

/// An answer that is not the 101, and what it is counted as.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) cause: RefusedBy,
    /// Boxed: an answer is large, and a handshake seldom refused.
    pub(super) answer: Box<Answer>,
}

impl Refused {
    pub(super) fn new(cause: RefusedBy, answer: Answer) -> Refused {
        Refused {
            cause,
            answer: Box::new(answer),
        }
    }
}

impl<'a> Handshake<'a> {
    /// Checks the request (RFC 6455 section 4.2.1), its subprotocols and its extensions. The origin is looked at later.
    ///
    /// # Errors
    /// 400, 405 or 426.
    pub(super) fn check(
        request: &'a request::Parts,
        compression: bool,
    ) -> Result<Handshake<'a>, Refused> {
        let headers = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let version = match request.version {
            Version::HTTP_11 => (1, 1),
            _ => (1, 0),
        };
        let accept = accept(request.method.as_str(), version, headers).map_err(fault)?;
        let (protocol, format) = choose(&accept.protocols)?;
        let extension = if compression {
            let agreed = DeflateConfig::shared().negotiate(accept.extensions.iter().copied());
            agreed
                .map_err(|_| bad("The header `Sec-WebSocket-Extensions` is not well formed."))?
                .map(|agreed| agreed.response)
        } else {
            None
        };
        Ok(Handshake {
            accept,
            protocol,
            extension,
            format,
        })
    }

    /// Whether permessage-deflate is agreed.
    pub(super) fn deflate(&self) -> bool {
        self.extension.is_some()
    }

    /// The 101.
    pub(super) fn answer(self) -> Answer {
        let mut answer = Response::new(Default::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        // Base64 and our own parameters are always header values.
        if let Ok(key) = HeaderValue::try_from(self.accept.accept_key) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, key);
        }
        if let Some(protocol) = self.protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        if let Some(Ok(extension)) = self.extension.map(HeaderValue::try_from) {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, extension);
        }
        answer
    }
}

/// The first subprotocol of the client's that we speak. A client that offers none gets JSON. One that offers others
/// only would be left with frames that it doesn't know, so it is refused.
fn choose(offered: &[&str]) -> Result<(Option<&'static str>, Format), Refused> {
    if offered.is_empty() {
        return Ok((None, Format::Json));
    }
    offered
        .iter()
        .find_map(|protocol| match *protocol {
            JSON => Some((Some(JSON), Format::Json)),
            PROTOBUF => Some((Some(PROTOBUF), Format::Protobuf)),
            _ => None,
        })
        .ok_or_else(|| {
            bad(&format!("None of the offered subprotocols is spoken here: offer {JSON} or {PROTOBUF}, or none."))
        })
}

fn bad(sentence: &str) -> Refused {
    Refused::new(
        RefusedBy::Handshake,
        text(StatusCode::BAD_REQUEST, sentence),
    )
}

fn fault(error: HandshakeError) -> Refused {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = text(status, error.to_string());
    for (name, value) in error.headers() {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let Ok(name) = name {
            answer = with_header(answer, name, HeaderValue::from_static(value));
        }
    }
    Refused::new(RefusedBy::Handshake, answer)
}
