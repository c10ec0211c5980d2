//! The negotiation of permessage-deflate (RFC 7692 sections 5 and 7.1).

use std::fmt;

use crate::extension::{Extension, ExtensionSyntaxError, parse_extensions};
use crate::receiver::Role;

const NAME: &str = "permessage-deflate";

/// What both ends agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deflate {
    /// The server compresses each message by itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message by itself.
    pub client_no_context_takeover: bool,
    /// The window of the server's compressor, 8 to 15 (a server of this crate accepts 9 to 15).
    pub server_max_window_bits: u8,
    /// The window of the client's compressor, 8 to 15.
    pub client_max_window_bits: u8,
}

/// How the messages of one direction are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Direction {
    /// A message may refer back to those before it.
    pub context_takeover: bool,
    /// The window of the compressor, 8 to 15.
    pub window_bits: u8,
}

impl Deflate {
    /// The direction in which the end with this role receives.
    pub const fn incoming(&self, role: Role) -> Direction {
        match role {
            Role::Server => self.client_to_server(),
            Role::Client => self.server_to_client(),
        }
    }

    /// The direction in which the end with this role sends.
    pub const fn outgoing(&self, role: Role) -> Direction {
        match role {
            Role::Server => self.server_to_client(),
            Role::Client => self.client_to_server(),
        }
    }

    const fn client_to_server(&self) -> Direction {
        Direction {
            context_takeover: !self.client_no_context_takeover,
            window_bits: self.client_max_window_bits,
        }
    }

    const fn server_to_client(&self) -> Direction {
        Direction {
            context_takeover: !self.server_no_context_takeover,
            window_bits: self.server_max_window_bits,
        }
    }
}

/// What a server wishes of permessage-deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateConfig {
    /// Compress each message by itself even when the client doesn't ask for it.
    pub server_no_context_takeover: bool,
    /// Ask the client to compress each message by itself.
    pub client_no_context_takeover: bool,
    /// The largest window of the server's compressor, 9 to 15.
    pub server_max_window_bits: u8,
    /// The largest window of the client's compressor, 9 to 15, for clients that let it be limited.
    pub client_max_window_bits: u8,
    /// The smallest window of the server's compressor that a client may ask for, 9 to 15; offers
    /// with a smaller one are declined.
    pub min_server_window_bits: u8,
}

impl Default for DeflateConfig {
    /// Whatever the client asks for: context takeover in both directions and full windows unless it
    /// says otherwise.
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
            min_server_window_bits: 9,
        }
    }
}

impl DeflateConfig {
    /// For a server that compresses a message once and sends it to many, and that keeps no
    /// compression state per connection: no context takeover in either direction, and only clients
    /// that take a full window.
    pub fn shared() -> Self {
        Self {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            min_server_window_bits: 15,
            ..Self::default()
        }
    }

    /// Chooses among a request's offers: `values` are those of its `Sec-WebSocket-Extensions`
    /// lines, in order. The first acceptable offer is taken; the response to it is
    /// [`Accepted::response`]. `None` when there is none: then the response has no such line.
    /// Offers with unknown, repeated or ill-formed parameters, and other extensions, are passed
    /// over (RFC 7692 section 7.1).
    ///
    /// # Errors
    ///
    /// A line doesn't follow the header's grammar: the handshake fails with 400.
    pub fn negotiate<'a>(
        &self,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Accepted>, ExtensionSyntaxError> {
        let mut accepted = None;
        for value in values {
            for extension in parse_extensions(value)? {
                if accepted.is_none() {
                    accepted =
                        Params::of(&extension, Role::Client).and_then(|offer| self.accept(&offer));
                }
            }
        }
        Ok(accepted)
    }

    fn accept(&self, offer: &Params) -> Option<Accepted> {
        let config = (
            self.server_max_window_bits.clamp(9, 15),
            self.client_max_window_bits.clamp(9, 15),
            // zlib has no raw window of 8 bits, so what it makes can't be read by one who asks for
            // that.
            self.min_server_window_bits.clamp(9, 15),
        );
        let server_bits = offer.server_max_window_bits.unwrap_or(15);
        if server_bits < config.2 {
            return None;
        }
        let server_bits = server_bits.min(config.0);
        // Without the parameter in the offer the client can't be limited (RFC 7692, 7.1.2.2).
        let client_bits = offer
            .client_max_window_bits
            .map_or(15, |hint| hint.unwrap_or(15).min(config.1));
        let deflate = Deflate {
            server_no_context_takeover: offer.server_no_context_takeover
                || self.server_no_context_takeover,
            client_no_context_takeover: offer.client_no_context_takeover
                || self.client_no_context_takeover,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        };
        let response = Params {
            server_no_context_takeover: deflate.server_no_context_takeover,
            client_no_context_takeover: deflate.client_no_context_takeover,
            server_max_window_bits: (offer.server_max_window_bits.is_some() || server_bits < 15)
                .then_some(server_bits),
            client_max_window_bits: (client_bits < 15).then_some(Some(client_bits)),
        };
        Some(Accepted {
            deflate,
            response: response.to_string(),
        })
    }
}

/// An offer that a server has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What holds from now on.
    pub deflate: Deflate,
    /// The value of the response's `Sec-WebSocket-Extensions`.
    pub response: String,
}

/// What a client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateOffer {
    /// Ask the server to compress each message by itself.
    pub server_no_context_takeover: bool,
    /// Tell the server that each message will be compressed by itself.
    pub client_no_context_takeover: bool,
    /// The largest window that the server may use, 9 to 15; `None`: say nothing, which means 15.
    pub server_max_window_bits: Option<u8>,
    /// The largest window of the client's compressor, 9 to 15. The server may ask for a smaller
    /// one.
    pub client_max_window_bits: u8,
}

impl Default for DeflateOffer {
    /// Context takeover and full windows; the server may limit both.
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: None,
            client_max_window_bits: 15,
        }
    }
}

impl DeflateOffer {
    /// The value of the request's `Sec-WebSocket-Extensions`.
    pub fn header_value(&self) -> String {
        let client_bits = self.client_max_window_bits.clamp(9, 15);
        Params {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: self.server_max_window_bits.map(|bits| bits.clamp(9, 15)),
            client_max_window_bits: Some((client_bits < 15).then_some(client_bits)),
        }
        .to_string()
    }

    /// Reads the response: `values` are those of its `Sec-WebSocket-Extensions` lines. `None` when
    /// the server took no extension.
    ///
    /// # Errors
    ///
    /// The response accepts what wasn't offered: the connection has to be failed (RFC 6455 section
    /// 4.1, RFC 7692 section 7.1).
    pub fn verify<'a>(
        &self,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Deflate>, UnacceptableExtension> {
        let mut deflate = None;
        for value in values {
            for extension in parse_extensions(value).map_err(|_| UnacceptableExtension)? {
                let params = Params::of(&extension, Role::Server).ok_or(UnacceptableExtension)?;
                if deflate.is_some() {
                    return Err(UnacceptableExtension);
                }
                deflate = Some(self.verify_params(&params)?);
            }
        }
        Ok(deflate)
    }

    fn verify_params(&self, params: &Params) -> Result<Deflate, UnacceptableExtension> {
        let asked = self
            .server_max_window_bits
            .map_or(15, |bits| bits.clamp(9, 15));
        let server_bits = params.server_max_window_bits.unwrap_or(15);
        let client_bits = params.client_max_window_bits.flatten().unwrap_or(15);
        let kept = (params.server_no_context_takeover || !self.server_no_context_takeover)
            && server_bits <= asked
            // Raw zlib can't limit itself to 8 bits.
            && client_bits >= 9;
        kept.then_some(Deflate {
            server_no_context_takeover: params.server_no_context_takeover,
            client_no_context_takeover: params.client_no_context_takeover
                || self.client_no_context_takeover,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits.min(self.client_max_window_bits.clamp(9, 15)),
        })
        .ok_or(UnacceptableExtension)
    }
}

/// The server's response accepts an extension, or parameters, that weren't offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnacceptableExtension;

impl fmt::Display for UnacceptableExtension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server accepted an extension that was not offered (RFC 6455, 4.1)")
    }
}

impl std::error::Error for UnacceptableExtension {}

/// The parameters of permessage-deflate in an offer or a response.
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// In an offer it may stand without a value.
    client_max_window_bits: Option<Option<u8>>,
}

impl Params {
    /// `None` when it is another extension or the parameters aren't as RFC 7692 section 7.1 has
    /// them. `sender` is who sent the header.
    fn of(extension: &Extension<'_>, sender: Role) -> Option<Self> {
        if !extension.name.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut params = Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: None,
            client_max_window_bits: None,
        };
        for param in &extension.params {
            let value = param.value.as_deref();
            let known = |name| param.name.eq_ignore_ascii_case(name);
            let fresh = if known("server_no_context_takeover") {
                value.is_none() && !std::mem::replace(&mut params.server_no_context_takeover, true)
            } else if known("client_no_context_takeover") {
                value.is_none() && !std::mem::replace(&mut params.client_no_context_takeover, true)
            } else if known("server_max_window_bits") {
                params
                    .server_max_window_bits
                    .replace(window_bits(value?)?)
                    .is_none()
            } else if known("client_max_window_bits") {
                let bits = match value {
                    Some(value) => Some(window_bits(value)?),
                    None if sender == Role::Client => None,
                    None => return None,
                };
                params.client_max_window_bits.replace(bits).is_none()
            } else {
                false
            };
            if !fresh {
                return None;
            }
        }
        Some(params)
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_max_window_bits {
            Some(Some(bits)) => write!(f, "; client_max_window_bits={bits}"),
            Some(None) => f.write_str("; client_max_window_bits"),
            None => Ok(()),
        }
    }
}

/// A decimal number of 8 to 15 without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        "10" => Some(10),
        "11" => Some(11),
        "12" => Some(12),
        "13" => Some(13),
        "14" => Some(14),
        "15" => Some(15),
        _ => None,
    }
}
