//! Writing fields, whatever the format: each of our messages is written by one function, for a [`Writer`] that is JSON
//! or Protobuf.

use buffa::encoding::{Tag, WireType, encode_varint};
use buffa::types::encode_double;

use crate::json::{self, Scanner};
use crate::{Payload, PayloadKind};

/// Appends the fields of one message. A field has a number, for Protobuf, and a name, for JSON.
///
/// What is empty, 0 or false is left out of Protobuf always, and of JSON where the method's name begins with `opt_`.
pub(crate) trait Writer: Sized {
    fn str(&mut self, number: u32, name: &str, value: &str);
    fn u64(&mut self, number: u32, name: &str, value: u64);
    fn i64(&mut self, number: u32, name: &str, value: i64);
    fn f64(&mut self, number: u32, name: &str, value: f64);
    fn bool(&mut self, number: u32, name: &str, value: bool);

    /// The message's type or a payload's kind: in JSON its name.
    fn tag(&mut self, number: u32, name: &str, value: u8, text: &str);
    /// A payload that is not ours.
    fn payload(&mut self, number: u32, name: &str, payload: Payload<'_>);
    /// Bytes that are a message already, in this format.
    fn ready(&mut self, number: u32, name: &str, bytes: &[u8]);
    /// A map from strings to JSON texts, given as the text of a JSON object.
    fn json_map(&mut self, number: u32, name: &str, object: &str);
    /// A map from strings to JSON texts; `None` is `null` in JSON and the empty text in Protobuf.
    fn json_entries<'k>(
        &mut self,
        number: u32,
        name: &str,
        entries: impl Iterator<Item = (&'k str, Option<&'k str>)>,
    );
    /// A map from strings to strings.
    fn map<'k>(
        &mut self,
        number: u32,
        name: &str,
        entries: impl Iterator<Item = (&'k str, &'k str)>,
    );

    /// A payload that is ours. It is a field of bytes, so that an empty one is left out of Protobuf.
    fn body(&mut self, number: u32, name: &str, fill: impl FnOnce(&mut Self));
    /// A message inside this one.
    fn message(&mut self, number: u32, name: &str, fill: impl FnOnce(&mut Self));
    /// A list; what fills it calls [`Writer::item`] or [`Writer::str_item`].
    fn list(&mut self, name: &str, fill: impl FnOnce(&mut Self));
    /// A message in a list.
    fn item(&mut self, number: u32, fill: impl FnOnce(&mut Self));
    /// A string in a list.
    fn str_item(&mut self, number: u32, value: &str);

    fn opt_str(&mut self, number: u32, name: &str, value: &str) {
        if !value.is_empty() {
            self.str(number, name, value);
        }
    }

    fn opt_u64(&mut self, number: u32, name: &str, value: u64) {
        if value != 0 {
            self.u64(number, name, value);
        }
    }

    /// A field that differs between false and unset.
    fn set_bool(&mut self, number: u32, name: &str, value: bool);
    /// A field that differs between 0 and unset.
    fn set_u64(&mut self, number: u32, name: &str, value: u64);

    fn opt_bool(&mut self, number: u32, name: &str, value: bool) {
        if value {
            self.bool(number, name, value);
        }
    }
}

/// Appends keys and values of an object whose brace is open.
pub(crate) struct Json<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Json<'o> {
    /// One whole object.
    pub(crate) fn object(out: &'o mut Vec<u8>, fill: impl FnOnce(&mut Json<'o>)) {
        out.push(b'{');
        let mut writer = Json { out };
        fill(&mut writer);
        writer.out.push(b'}');
    }

    /// A comma, unless an object or a list has just begun. No value ends in an opening bracket.
    fn comma(&mut self) {
        if !matches!(self.out.last(), Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }

    /// A key of ours, which needs no escape.
    fn key(&mut self, name: &str) {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

impl Writer for Json<'_> {
    fn str(&mut self, _: u32, name: &str, value: &str) {
        self.key(name);
        json::write_str(value, self.out);
    }

    fn u64(&mut self, _: u32, name: &str, value: u64) {
        self.key(name);
        json::write_u64(value, self.out);
    }

    fn i64(&mut self, _: u32, name: &str, value: i64) {
        self.key(name);
        json::write_i64(value, self.out);
    }

    fn f64(&mut self, _: u32, name: &str, value: f64) {
        self.key(name);
        json::write_f64(value, self.out);
    }

    fn bool(&mut self, _: u32, name: &str, value: bool) {
        self.key(name);
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn set_bool(&mut self, number: u32, name: &str, value: bool) {
        self.bool(number, name, value);
    }

    fn set_u64(&mut self, number: u32, name: &str, value: u64) {
        self.u64(number, name, value);
    }

    fn tag(&mut self, _: u32, name: &str, _: u8, text: &str) {
        self.key(name);
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    fn payload(&mut self, number: u32, name: &str, payload: Payload<'_>) {
        match payload.kind {
            PayloadKind::Json => self.ready(number, name, payload.data),
            PayloadKind::Text => {
                self.key(name);
                // The invariant of `Payload` makes this text; if it is broken, the message must still be JSON.
                match std::str::from_utf8(payload.data) {
                    Ok(text) => json::write_str(text, self.out),
                    Err(_) => json::write_str(&String::from_utf8_lossy(payload.data), self.out),
                }
            }
            PayloadKind::Bytes => {
                self.key(name);
                self.out.push(b'"');
                write_base64(payload.data, self.out);
                self.out.push(b'"');
            }
        }
    }

    fn ready(&mut self, _: u32, name: &str, bytes: &[u8]) {
        self.key(name);
        self.out.extend_from_slice(bytes);
    }

    fn json_map(&mut self, number: u32, name: &str, object: &str) {
        let object = if object.is_empty() { "{}" } else { object };
        self.ready(number, name, object.as_bytes());
    }

    fn json_entries<'k>(
        &mut self,
        number: u32,
        name: &str,
        entries: impl Iterator<Item = (&'k str, Option<&'k str>)>,
    ) {
        self.message(number, name, |writer| {
            for (key, value) in entries {
                writer.comma();
                json::write_str(key, writer.out);
                writer.out.push(b':');
                writer
                    .out
                    .extend_from_slice(value.unwrap_or("null").as_bytes());
            }
        });
    }

    fn map<'k>(
        &mut self,
        number: u32,
        name: &str,
        entries: impl Iterator<Item = (&'k str, &'k str)>,
    ) {
        self.message(number, name, |writer| {
            for (key, value) in entries {
                writer.comma();
                json::write_str(key, writer.out);
                writer.out.push(b':');
                json::write_str(value, writer.out);
            }
        });
    }

    fn body(&mut self, number: u32, name: &str, fill: impl FnOnce(&mut Self)) {
        self.message(number, name, fill);
    }

    fn message(&mut self, _: u32, name: &str, fill: impl FnOnce(&mut Self)) {
        self.key(name);
        self.out.push(b'{');
        fill(self);
        self.out.push(b'}');
    }

    fn list(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.key(name);
        self.out.push(b'[');
        fill(self);
        self.out.push(b']');
    }

    fn item(&mut self, _: u32, fill: impl FnOnce(&mut Self)) {
        self.comma();
        self.out.push(b'{');
        fill(self);
        self.out.push(b'}');
    }

    fn str_item(&mut self, _: u32, value: &str) {
        self.comma();
        json::write_str(value, self.out);
    }
}

/// Appends standard base64 with padding.
fn write_base64(data: &[u8], out: &mut Vec<u8>) {
    use base64::Engine as _;
    let start = out.len();
    out.resize(start + data.len().div_ceil(3) * 4, 0);
    if let Some(space) = out.get_mut(start..) {
        // The space is what the encoding needs, so this can't fail.
        let _ = base64::engine::general_purpose::STANDARD.encode_slice(data, space);
    }
}

/// Appends the fields of a message.
pub(crate) struct Protobuf<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Protobuf<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Protobuf<'o> {
        Protobuf { out }
    }

    fn key(&mut self, number: u32, wire_type: WireType) {
        Tag::new(number, wire_type).encode(self.out);
    }

    // As a call it costs an event 17 % more instructions.
    #[inline(always)]
    fn varint(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.key(number, WireType::Varint);
            encode_varint(value, self.out);
        }
    }

    fn bytes(&mut self, number: u32, value: &[u8]) {
        self.key(number, WireType::LengthDelimited);
        encode_varint(value.len() as u64, self.out);
        self.out.extend_from_slice(value);
    }

    fn entry(&mut self, number: u32, key: &str, value: &str) {
        self.item(number, |writer| {
            writer.bytes(1, key.as_bytes());
            writer.bytes(2, value.as_bytes());
        });
    }
}

impl Writer for Protobuf<'_> {
    fn str(&mut self, number: u32, _: &str, value: &str) {
        if !value.is_empty() {
            self.bytes(number, value.as_bytes());
        }
    }

    fn u64(&mut self, number: u32, _: &str, value: u64) {
        self.varint(number, value);
    }

    fn i64(&mut self, number: u32, _: &str, value: i64) {
        self.varint(number, value.cast_unsigned());
    }

    fn f64(&mut self, number: u32, _: &str, value: f64) {
        // Minus zero is not left out by other implementations either: they compare bits.
        if value.is_finite() && value.to_bits() != 0 {
            self.key(number, WireType::Fixed64);
            encode_double(value, self.out);
        }
    }

    fn bool(&mut self, number: u32, _: &str, value: bool) {
        self.varint(number, u64::from(value));
    }

    fn set_bool(&mut self, number: u32, name: &str, value: bool) {
        self.set_u64(number, name, u64::from(value));
    }

    fn set_u64(&mut self, number: u32, _: &str, value: u64) {
        self.key(number, WireType::Varint);
        encode_varint(value, self.out);
    }

    fn tag(&mut self, number: u32, _: &str, value: u8, _: &str) {
        self.varint(number, u64::from(value));
    }

    fn payload(&mut self, number: u32, _: &str, payload: Payload<'_>) {
        self.ready(number, "", payload.data);
    }

    fn ready(&mut self, number: u32, _: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes(number, bytes);
        }
    }

    fn json_map(&mut self, number: u32, _: &str, object: &str) {
        if object.is_empty() {
            return;
        }
        // The caller's text is a JSON object. If it is not, what could be read of it is written.
        let _ = Scanner::again(object).object(|key, value| {
            self.entry(number, &json::read_str(key)?, value);
            Ok(())
        });
    }

    fn json_entries<'k>(
        &mut self,
        number: u32,
        _: &str,
        entries: impl Iterator<Item = (&'k str, Option<&'k str>)>,
    ) {
        entries.for_each(|(key, value)| self.entry(number, key, value.unwrap_or_default()));
    }

    fn map<'k>(&mut self, number: u32, _: &str, entries: impl Iterator<Item = (&'k str, &'k str)>) {
        entries.for_each(|(key, value)| self.entry(number, key, value));
    }

    fn body(&mut self, number: u32, _: &str, fill: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        self.item(number, fill);
        // A tag and a length of zero.
        if self.out.len() == start + 2 {
            self.out.truncate(start);
        }
    }

    fn message(&mut self, number: u32, _: &str, fill: impl FnOnce(&mut Self)) {
        self.item(number, fill);
    }

    fn list(&mut self, _: &str, fill: impl FnOnce(&mut Self)) {
        fill(self);
    }

    fn item(&mut self, number: u32, fill: impl FnOnce(&mut Self)) {
        self.key(number, WireType::LengthDelimited);
        // Most messages inside others are shorter than 128 bytes: their length takes one byte. A longer one moves up.
        let place = self.out.len();
        self.out.push(0);
        fill(self);
        let start = place + 1;
        let length = self.out.len() - start;
        let mut prefix = [0; 10];
        let mut space = &mut prefix[..];
        encode_varint(length as u64, &mut space);
        let prefix_length = 10 - space.len();
        if prefix_length > 1 {
            let grown = self.out.len() + prefix_length - 1;
            self.out.resize(grown, 0);
            self.out
                .copy_within(start..start + length, place + prefix_length);
        }
        self.out[place..place + prefix_length].copy_from_slice(&prefix[..prefix_length]);
    }

    fn str_item(&mut self, number: u32, value: &str) {
        self.bytes(number, value.as_bytes());
    }
}
