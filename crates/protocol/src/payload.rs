//! Payloads that are not ours: what a sender puts in a `chat`, `event` or `ping`.

use std::borrow::Cow;

/// The format of a connection: what its frames hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text frames, one JSON object each.
    Json,
    /// Binary frames, one `gameproto.Message` each.
    Protobuf,
}

impl Format {
    /// Both formats.
    pub const ALL: [Format; 2] = [Format::Json, Format::Protobuf];

    /// The WebSocket subprotocol that asks for it.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Format::Json => "gameproto.v1.json",
            Format::Protobuf => "gameproto.v1.protobuf",
        }
    }

    /// `json` or `protobuf`, for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Protobuf => "protobuf",
        }
    }
}

/// What a payload is, as its sender declared it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PayloadKind {
    /// The text of a JSON value.
    Json = 1,
    /// UTF-8 text.
    Text = 2,
    /// Anything.
    Bytes = 3,
}

impl PayloadKind {
    /// The name in JSON: `json`, `text` or `bytes`.
    pub const fn as_str(self) -> &'static str {
        match self {
            PayloadKind::Json => "json",
            PayloadKind::Text => "text",
            PayloadKind::Bytes => "bytes",
        }
    }

    /// The kind with this name in JSON.
    pub fn from_name(name: &str) -> Option<PayloadKind> {
        match name {
            "json" => Some(PayloadKind::Json),
            "text" => Some(PayloadKind::Text),
            "bytes" => Some(PayloadKind::Bytes),
            _ => None,
        }
    }

    /// The number in the `.proto`.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number in the `.proto`; 0 is none.
    pub const fn from_number(number: u64) -> Option<PayloadKind> {
        match number {
            1 => Some(PayloadKind::Json),
            2 => Some(PayloadKind::Text),
            3 => Some(PayloadKind::Bytes),
            _ => None,
        }
    }
}

/// A payload on its way out.
///
/// Invariant: the data is what the kind says. [`decode`](crate::decode) checks it, and whoever builds one by hand has to:
/// an encoder puts `Json` data as it is into a JSON message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// What the data is.
    pub kind: PayloadKind,
    /// JSON text, UTF-8 text, or bytes as they are (not base64).
    pub data: &'a [u8],
}

impl<'a> Payload<'a> {
    /// No payload: the message has none. Empty data is no JSON value, so this means nothing else.
    pub const NONE: Payload<'static> = Payload {
        kind: PayloadKind::Json,
        data: &[],
    };

    /// A text.
    pub const fn text(text: &'a str) -> Payload<'a> {
        Payload {
            kind: PayloadKind::Text,
            data: text.as_bytes(),
        }
    }

    /// Bytes.
    pub const fn bytes(data: &'a [u8]) -> Payload<'a> {
        Payload {
            kind: PayloadKind::Bytes,
            data,
        }
    }

    /// The text of a JSON value. The caller has made sure that it is one.
    pub const fn json(text: &'a str) -> Payload<'a> {
        Payload {
            kind: PayloadKind::Json,
            data: text.as_bytes(),
        }
    }

    /// Whether there is none.
    pub const fn is_none(&self) -> bool {
        matches!(self.kind, PayloadKind::Json) && self.data.is_empty()
    }
}

impl Default for Payload<'_> {
    fn default() -> Self {
        Payload::NONE
    }
}

/// A payload that a client sent: borrowed, unless it had to be unescaped or was base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingPayload<'a> {
    /// What the data is.
    pub kind: PayloadKind,
    /// JSON text, UTF-8 text, or bytes as they are.
    pub data: Cow<'a, [u8]>,
}

impl IncomingPayload<'_> {
    /// No payload.
    pub const NONE: IncomingPayload<'static> = IncomingPayload {
        kind: PayloadKind::Json,
        data: Cow::Borrowed(&[]),
    };

    /// The same, to be sent.
    pub fn as_payload(&self) -> Payload<'_> {
        Payload {
            kind: self.kind,
            data: &self.data,
        }
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.as_payload().is_none()
    }
}

impl<'a> From<Payload<'a>> for IncomingPayload<'a> {
    fn from(payload: Payload<'a>) -> IncomingPayload<'a> {
        IncomingPayload {
            kind: payload.kind,
            data: Cow::Borrowed(payload.data),
        }
    }
}
