//! Reading fields, whatever the format: a JSON object's keys and a Protobuf message's fields both come as a number and
//! a [`Value`], so that each of our messages is read by one function.

use std::borrow::Cow;

use buffa::DecodeError;
use buffa::encoding::{Tag, WireType, decode_varint, skip_field_depth};
use buffa::types::borrow_bytes;

use crate::error::{ErrorCode, Fault};
use crate::json::{self, Scanner};
use crate::limits::{Limits, MAX_NUMBER};

/// A message whose fields are still to be read.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// The text of a JSON value, and how deeply nested it may be.
    Json(&'a str, u16),
    /// A Protobuf message.
    Protobuf(&'a [u8]),
}

/// A field's value.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    /// The text of a JSON value; a scanner has been through it.
    Json(&'a str),
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// A wire type that no field of ours has.
    Other,
}

/// The groups (a wire type that nobody uses) inside each other that are skipped in a Protobuf message.
const MAX_GROUPS: u32 = 16;

impl<'a> Source<'a> {
    /// Calls `each` for every known field. `names[i]` is the name of field number `i + 1`; others are skipped.
    ///
    /// A JSON object may have a key twice: the last one wins, as in JavaScript, because `each` is called for both.
    pub(crate) fn fields(
        self,
        names: &[&'static str],
        mut each: impl FnMut(usize, Value<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match self {
            Source::Json(text, nesting) => {
                let mut scanner = Scanner::new(text, nesting);
                scanner.object(|key, value| {
                    let Some((number, name)) = find(names, key) else {
                        return Ok(());
                    };
                    each(number, Value::Json(value)).map_err(|fault| fault.name(name))
                })?;
                scanner.end()
            }
            Source::Protobuf(mut bytes) => {
                while !bytes.is_empty() {
                    let tag = Tag::decode(&mut bytes).map_err(protobuf)?;
                    let value = match tag.wire_type() {
                        WireType::Varint => {
                            Value::Varint(decode_varint(&mut bytes).map_err(protobuf)?)
                        }
                        WireType::LengthDelimited => {
                            Value::Bytes(borrow_bytes(&mut bytes).map_err(protobuf)?)
                        }
                        WireType::Fixed64 => {
                            let (eight, rest) = bytes
                                .split_first_chunk()
                                .ok_or(DecodeError::UnexpectedEof)
                                .map_err(protobuf)?;
                            bytes = rest;
                            Value::Fixed64(u64::from_le_bytes(*eight))
                        }
                        _ => {
                            skip_field_depth(tag, &mut bytes, MAX_GROUPS).map_err(protobuf)?;
                            Value::Other
                        }
                    };
                    let number = tag.field_number() as usize;
                    let Some(name) = number.checked_sub(1).and_then(|index| names.get(index))
                    else {
                        continue;
                    };
                    each(number, value).map_err(|fault| fault.name(name))?;
                }
                Ok(())
            }
        }
    }
}

/// The number and name of a key, which is in its quotes.
fn find(names: &[&'static str], key: &str) -> Option<(usize, &'static str)> {
    let key = json::read_str(key).ok()?;
    let index = names.iter().position(|name| *name == key)?;
    Some((index + 1, names.get(index)?))
}

#[cold]
fn protobuf(error: DecodeError) -> Fault {
    match error {
        DecodeError::UnexpectedEof => Fault::new(
            ErrorCode::InvalidProtobuf,
            "not a Protobuf message: it is cut short",
        ),
        DecodeError::RecursionLimitExceeded => {
            Fault::new(ErrorCode::TooDeep, "groups are nested too deeply")
        }
        error => Fault::new(
            ErrorCode::InvalidProtobuf,
            format!("not a Protobuf message: {error}"),
        ),
    }
}

impl<'a> Value<'a> {
    /// Whether it is JSON's `null`, which is the same as no value.
    pub(crate) fn is_null(self) -> bool {
        matches!(self, Value::Json(text) if json::is_null(text))
    }

    pub(crate) fn str(self) -> Result<Cow<'a, str>, Fault> {
        match self {
            Value::Json(text) => json::read_str(text),
            Value::Bytes(bytes) => utf8(bytes).map(Cow::Borrowed),
            _ => Err(wire_type()),
        }
    }

    /// A string that is missing when it is empty.
    pub(crate) fn opt_str(self) -> Result<Option<Cow<'a, str>>, Fault> {
        self.str()
            .map(|text| if text.is_empty() { None } else { Some(text) })
    }

    /// Whether a client has set the field. An empty string is a value in JSON; Protobuf can't tell it from none.
    pub(crate) fn is_set(self) -> bool {
        !self.is_null() && !matches!(self, Value::Bytes([]))
    }

    /// A name or an id, where the client has set one: in JSON, one that is empty is there and no good name.
    pub(crate) fn name(self) -> Result<Option<Cow<'a, str>>, Fault> {
        self.str().map(|text| self.is_set().then_some(text))
    }

    pub(crate) fn u64(self) -> Result<u64, Fault> {
        match self {
            Value::Json(_) if self.is_null() => Ok(0),
            Value::Json(text) => json::read_u64(text),
            Value::Varint(number) => Ok(number),
            _ => Err(wire_type()),
        }
    }

    /// A `seq` or an `offset`.
    pub(crate) fn place(self) -> Result<u64, Fault> {
        match self.u64()? {
            number if number <= MAX_NUMBER => Ok(number),
            _ => Err(Fault::field(
                ErrorCode::InvalidValue,
                "is greater than 2^53 - 1",
            )),
        }
    }

    /// A `seq` or an `offset` that is missing when it is 0.
    pub(crate) fn opt_place(self) -> Result<Option<u64>, Fault> {
        self.place().map(|number| (number != 0).then_some(number))
    }

    pub(crate) fn u32(self) -> Result<u32, Fault> {
        u32::try_from(self.u64()?)
            .map_err(|_| Fault::field(ErrorCode::InvalidValue, "is greater than 2^32 - 1"))
    }

    pub(crate) fn i64(self) -> Result<i64, Fault> {
        match self {
            Value::Json(_) if self.is_null() => Ok(0),
            Value::Json(text) => json::read_i64(text),
            Value::Varint(number) => Ok(number.cast_signed()),
            _ => Err(wire_type()),
        }
    }

    pub(crate) fn i32(self) -> Result<i32, Fault> {
        match self {
            Value::Json(_) if self.is_null() => Ok(0),
            Value::Json(text) => json::read_i32(text),
            // Protobuf cuts an int32 to its lower half.
            #[allow(clippy::cast_possible_truncation, reason = "so the format has it")]
            Value::Varint(number) => Ok((number as u32).cast_signed()),
            _ => Err(wire_type()),
        }
    }

    pub(crate) fn bool(self) -> Result<bool, Fault> {
        match self {
            Value::Json(text) => json::read_bool(text),
            Value::Varint(number) => Ok(number != 0),
            _ => Err(wire_type()),
        }
    }

    pub(crate) fn f64(self) -> Result<f64, Fault> {
        match self {
            Value::Json(text) => json::read_f64(text),
            Value::Fixed64(bits) => {
                let number = f64::from_bits(bits);
                if number.is_finite() {
                    Ok(number)
                } else {
                    Err(Fault::field(
                        ErrorCode::InvalidValue,
                        "is not a finite number",
                    ))
                }
            }
            _ => Err(wire_type()),
        }
    }

    /// A message inside this one.
    pub(crate) fn message(self) -> Result<Source<'a>, Fault> {
        match self {
            Value::Json(text) if text.starts_with('{') => Ok(Source::Json(text, u16::MAX)),
            Value::Json(text) if json::is_null(text) => Ok(Source::Protobuf(&[])),
            Value::Json(_) => Err(Fault::field(ErrorCode::WrongType, "must be an object")),
            Value::Bytes(bytes) => Ok(Source::Protobuf(bytes)),
            _ => Err(wire_type()),
        }
    }

    /// Whether what was read of this field before counts no more: in Protobuf, lists and maps come in parts.
    pub(crate) fn replaces(self) -> bool {
        matches!(self, Value::Json(_))
    }

    /// The elements of a list: in JSON an array, in Protobuf a field for each element.
    pub(crate) fn each(
        self,
        mut each: impl FnMut(Value<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match self {
            Value::Json(text) if text.starts_with('[') => {
                Scanner::again(text).array(|element| each(Value::Json(element)))
            }
            Value::Json(text) if json::is_null(text) => Ok(()),
            Value::Json(_) => Err(Fault::field(ErrorCode::WrongType, "must be an array")),
            value => each(value),
        }
    }

    /// The entries of a map with string keys: in JSON an object, in Protobuf a field for each entry.
    pub(crate) fn entries(
        self,
        mut each: impl FnMut(Cow<'a, str>, Value<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match self {
            Value::Json(text) if text.starts_with('{') => {
                Scanner::again(text).object(|key, value| {
                    let key = json::read_str(key)?;
                    each(key, Value::Json(value))
                })
            }
            Value::Json(text) if json::is_null(text) => Ok(()),
            Value::Json(_) => Err(Fault::field(ErrorCode::WrongType, "must be an object")),
            Value::Bytes(entry) => {
                let (mut key, mut value) = (Cow::Borrowed(""), Value::Bytes(&[]));
                Source::Protobuf(entry).fields(&["key", "value"], |number, field| {
                    match number {
                        1 => key = field.str()?,
                        _ => value = field,
                    }
                    Ok(())
                })?;
                each(key, value)
            }
            _ => Err(wire_type()),
        }
    }

    /// The JSON text of a map's value: in JSON the value, in Protobuf a string that holds it; `None` for `null` and for
    /// an empty string.
    pub(crate) fn json_text(self, limits: &Limits) -> Result<Option<Cow<'a, str>>, Fault> {
        if let Value::Json(text) = self {
            return Ok((!json::is_null(text)).then_some(Cow::Borrowed(text)));
        }
        let Value::Bytes(bytes) = self else {
            return Err(wire_type());
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        // Three are around it in the JSON that it becomes: the envelope, its payload and the map.
        let mut scanner = Scanner::new(utf8(bytes)?, limits.nesting().saturating_sub(3));
        let text = scanner.value()?;
        scanner.end()?;
        Ok((!json::is_null(text)).then_some(Cow::Borrowed(text)))
    }
}

/// UTF-8, or the fault that says that it isn't.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::field(ErrorCode::InvalidUtf8, "is not UTF-8"))
}

#[cold]
fn wire_type() -> Fault {
    Fault::field(ErrorCode::WrongType, "has the wrong wire type")
}
