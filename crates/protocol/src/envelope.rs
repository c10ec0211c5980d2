//! The envelope that every message comes in.

use std::borrow::Cow;

use crate::error::{BadMessage, ErrorCode, Fault};
use crate::json::{self, Scanner};
use crate::limits::{Limits, MAX_EPOCH};
use crate::read::{Source, Value, utf8};
use crate::{Format, IncomingPayload, MessageType, PayloadKind};

/// The keys of a message, in the order of their field numbers.
const NAMES: [&str; 18] = [
    "type",
    "from_client_id",
    "to_client_id",
    "room_id",
    "payload",
    "timestamp",
    "seq",
    "offset",
    "epoch",
    "payload_kind",
    "name",
    "ephemeral",
    "no_echo",
    "to_user_id",
    "request_id",
    "from_user_id",
    "from_player_num",
    "from_service",
];

/// Which side wrote it, and so which of the fields count.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// What was read of an envelope so far: after a fault, all that came before it.
#[derive(Default)]
pub(crate) struct Envelope<'a> {
    pub(crate) message_type: Option<MessageType>,
    pub(crate) from_client_id: Cow<'a, str>,
    pub(crate) to_client_id: Option<Cow<'a, str>>,
    pub(crate) to_user_id: Option<Cow<'a, str>>,
    /// Which recipients are set, whether or not they could be read: to a client, to a user.
    addressed: [bool; 2],
    pub(crate) room_id: Option<Cow<'a, str>>,
    pub(crate) payload: Option<Value<'a>>,
    pub(crate) timestamp: i64,
    pub(crate) seq: Option<u64>,
    pub(crate) offset: u64,
    pub(crate) epoch: Cow<'a, str>,
    pub(crate) kind: Option<PayloadKind>,
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) ephemeral: bool,
    pub(crate) no_echo: Option<bool>,
    pub(crate) request_id: u32,
    pub(crate) from_user_id: Cow<'a, str>,
    pub(crate) from_player_num: u32,
    pub(crate) from_service: Cow<'a, str>,
}

impl<'a> Envelope<'a> {
    /// Reads all fields. A field whose value is wrong does not keep the others from being read: the `error` that answers
    /// the message should name its `seq` and its `request_id` wherever they stand.
    pub(crate) fn read(
        &mut self,
        format: Format,
        message: &'a [u8],
        limits: &Limits,
        side: Side,
    ) -> Result<MessageType, Fault> {
        let source = match format {
            Format::Protobuf => Source::Protobuf(message),
            Format::Json => Source::Json(
                utf8(message).map_err(|fault| fault.name("message"))?,
                limits.nesting(),
            ),
        };
        let mut bad_type = None;
        let mut first = None;
        source.fields(&NAMES, |number, value| {
            let fault = match self.field(number, value, side) {
                Ok(()) => return Ok(()),
                Err(fault) => fault.name(NAMES.get(number - 1).unwrap_or(&"")),
            };
            let place = if number == 1 {
                &mut bad_type
            } else {
                &mut first
            };
            place.get_or_insert(fault);
            Ok(())
        })?;
        let message_type = match (self.message_type, bad_type) {
            (Some(message_type), None) => message_type,
            (_, Some(fault)) => return Err(fault),
            (None, None) => return Err(Fault::missing("type")),
        };
        first.map_or(Ok(message_type), Err)
    }

    fn field(&mut self, number: usize, value: Value<'a>, side: Side) -> Result<(), Fault> {
        // What a client calls by an empty name is not what it calls by none.
        let name = |value: Value<'a>| match side {
            Side::Client => value.name(),
            Side::Server => value.opt_str(),
        };
        match number {
            1 => self.message_type = read_type(value)?,
            3 => {
                self.addressed[0] = value.is_set();
                self.to_client_id = name(value)?;
            }
            4 => self.room_id = name(value)?,
            5 => self.payload = Some(value),
            7 => self.seq = value.opt_place()?,
            10 => self.kind = read_kind(value)?,
            11 => self.name = value.opt_str()?,
            12 => self.ephemeral = value.bool()?,
            13 => {
                self.no_echo = if value.is_null() {
                    None
                } else {
                    Some(value.bool()?)
                }
            }
            14 => {
                self.addressed[1] = value.is_set();
                self.to_user_id = name(value)?;
            }
            15 => self.request_id = value.u32()?,
            // What follows is not the client's to say, so it may say anything.
            _ if side == Side::Client => {}
            2 => self.from_client_id = value.str()?,
            6 => self.timestamp = value.i64()?,
            8 => self.offset = value.place()?,
            9 => self.epoch = read_epoch(value)?,
            16 => self.from_user_id = value.str()?,
            17 => self.from_player_num = value.u32()?,
            18 => self.from_service = value.str()?,
            _ => {}
        }
        Ok(())
    }

    /// The payload, where it is a message of ours. None at all is an empty one.
    pub(crate) fn message(&self) -> Result<Source<'a>, Fault> {
        match self.payload {
            Some(value) => value.message().map_err(|fault| fault.name("payload")),
            None => Ok(Source::Protobuf(&[])),
        }
    }

    /// The payload, where it is the sender's. `unset` is what an undeclared one is in Protobuf.
    pub(crate) fn payload(
        &self,
        unset: PayloadKind,
        limits: &Limits,
    ) -> Result<IncomingPayload<'a>, Fault> {
        match self.payload {
            Some(Value::Json(text)) => json_payload(text, self.kind),
            Some(Value::Bytes(bytes)) => self.protobuf_payload(bytes, unset, limits),
            None if self.kind == Some(PayloadKind::Json) || self.kind.is_none() => {
                Ok(IncomingPayload::NONE)
            }
            // Protobuf leaves out a text or bytes that are empty.
            None => Ok(IncomingPayload {
                kind: self.kind.unwrap_or(unset),
                data: Cow::Borrowed(&[]),
            }),
            Some(_) => Err(Fault::new(
                ErrorCode::WrongType,
                "`payload` has the wrong wire type",
            )),
        }
    }

    fn protobuf_payload(
        &self,
        bytes: &'a [u8],
        unset: PayloadKind,
        limits: &Limits,
    ) -> Result<IncomingPayload<'a>, Fault> {
        if bytes.is_empty() && matches!(self.kind, None | Some(PayloadKind::Json)) {
            return Ok(IncomingPayload::NONE);
        }
        let kind = self.kind.unwrap_or(unset);
        if kind != PayloadKind::Bytes {
            let text = utf8(bytes).map_err(|fault| fault.name("payload"))?;
            if kind == PayloadKind::Json {
                // The envelope that it gets in JSON is around it.
                let mut scanner = Scanner::new(text, limits.nesting().saturating_sub(1));
                scanner.value()?;
                scanner.end()?;
            }
        }
        Ok(IncomingPayload {
            kind,
            data: Cow::Borrowed(bytes),
        })
    }

    /// Whether it is for one client or user, and so has nothing to do with a room: neither its name nor its numbers.
    pub(crate) fn is_direct(&self) -> bool {
        let may_be = matches!(
            self.message_type,
            Some(MessageType::Chat | MessageType::Event)
        );
        may_be && self.addressed != [false; 2]
    }

    /// The answer to a message with a fault.
    #[cold]
    pub(crate) fn bad(self, fault: Fault) -> BadMessage {
        let direct = self.is_direct();
        BadMessage {
            seq: self.seq,
            request_id: self.request_id,
            request: self.message_type,
            direct,
            room_id: self
                .room_id
                .filter(|room| !direct && !room.is_empty())
                .map(Cow::into_owned),
            ..BadMessage::from(fault)
        }
    }
}

fn read_type(value: Value<'_>) -> Result<Option<MessageType>, Fault> {
    let unknown = || Fault::field(ErrorCode::UnknownType, "is not a known type");
    match value {
        Value::Json(text) => {
            let name = json::read_str(text)?;
            if name.is_empty() {
                Ok(None)
            } else {
                MessageType::from_name(&name).map(Some).ok_or_else(unknown)
            }
        }
        value => match value.u64()? {
            0 => Ok(None),
            number => MessageType::from_number(number)
                .map(Some)
                .ok_or_else(unknown),
        },
    }
}

fn read_kind(value: Value<'_>) -> Result<Option<PayloadKind>, Fault> {
    let unknown = || Fault::field(ErrorCode::InvalidValue, "is not `json`, `text` or `bytes`");
    match value {
        Value::Json(text) => {
            let name = json::read_str(text)?;
            if name.is_empty() {
                Ok(None)
            } else {
                PayloadKind::from_name(&name).map(Some).ok_or_else(unknown)
            }
        }
        value => match value.u64()? {
            0 => Ok(None),
            number => PayloadKind::from_number(number)
                .map(Some)
                .ok_or_else(unknown),
        },
    }
}

pub(crate) fn read_epoch(value: Value<'_>) -> Result<Cow<'_, str>, Fault> {
    let epoch = value.str()?;
    if epoch.chars().count() > MAX_EPOCH {
        return Err(Fault::field(
            ErrorCode::InvalidValue,
            "has more than 16 characters",
        ));
    }
    Ok(epoch)
}

fn json_payload(text: &str, kind: Option<PayloadKind>) -> Result<IncomingPayload<'_>, Fault> {
    let kind = kind.unwrap_or(PayloadKind::Json);
    if kind == PayloadKind::Json {
        return Ok(IncomingPayload {
            kind,
            data: Cow::Borrowed(text.as_bytes()),
        });
    }
    if !text.starts_with('"') {
        return Err(Fault::new(
            ErrorCode::WrongType,
            "`payload` must be a string, as `payload_kind` says",
        ));
    }
    let string = json::read_str(text).map_err(|fault| fault.name("payload"))?;
    let data = match (kind, string) {
        (PayloadKind::Bytes, base64) => Cow::Owned(read_base64(&base64)?),
        (_, Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
        (_, Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
    };
    Ok(IncomingPayload { kind, data })
}

fn read_base64(text: &str) -> Result<Vec<u8>, Fault> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|_| {
            Fault::new(
                ErrorCode::InvalidValue,
                "`payload` is not standard base64 with padding",
            )
        })
}
