//! The opening handshake (RFC 6455 section 4). It takes what an HTTP parser found and has none of
//! its own.

mod client;
mod server;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

pub use self::client::{ClientRequest, ResponseError, Upgraded};
pub use self::server::{Accept, HandshakeError, accept};
use crate::extension::is_token;

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
pub fn accept_key(key: &[u8]) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha1.finalize())
}

/// The first protocol of the client's, in its order of preference, that the server speaks.
pub fn choose_protocol<'a>(
    offered: impl IntoIterator<Item = &'a str>,
    spoken: &[&str],
) -> Option<&'a str> {
    offered
        .into_iter()
        .find(|protocol| spoken.contains(protocol))
}

/// Whether a header that is a list of tokens contains one, in any case.
fn has_token(value: &[u8], token: &str) -> bool {
    value
        .split(|octet| *octet == b',')
        .any(|element| element.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// The elements of a header that is a list of tokens; `None` when one of them isn't a token.
fn tokens(value: &[u8]) -> Option<Vec<&str>> {
    value
        .split(|octet| *octet == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .map(|element| {
            let token = element.iter().all(|octet| is_token(*octet));
            std::str::from_utf8(element).ok().filter(|_| token)
        })
        .collect()
}
