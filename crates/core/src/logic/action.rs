//! A `game_action` as a value of logic's own.

use std::borrow::Cow;

use roomcast_protocol::{Format, GameAction};
use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use crate::logic::Refusal;
use crate::logic::event::not_understood;

type Error = serde_json::Error;

/// Reads actions as values.
pub trait ReadAction {
    /// The action as a value, with `action`, `position`, `target_id` and all other keys side by side, in whichever format
    /// it was sent.
    ///
    /// Protobuf has text alone for keys that its schema lacks. Where a number or another value is asked for, that text is
    /// read.
    ///
    /// ```
    /// use roomcast_core::ReadAction;
    /// use roomcast_protocol::{Format, GameAction, Limits};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Place {
    ///     cell: usize,
    /// }
    ///
    /// let sent = br#"{"action":"place","cell":4}"#;
    /// let action = GameAction::parse(Format::Json, sent, &Limits::default()).unwrap();
    /// let place: Place = action.read().unwrap();
    /// assert_eq!(place.cell, 4);
    /// ```
    ///
    /// # Errors
    /// A refusal with `invalid_value` that says what is wrong, for whoever acts.
    fn read<T: DeserializeOwned>(&self) -> Result<T, Refusal>;
}

impl ReadAction for GameAction<'_> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let keys = match self.format() {
            Format::Json => of_json(self.raw()).map_err(not_understood)?,
            Format::Protobuf => of_protobuf(self),
        };
        let keys = keys.into_iter();
        T::deserialize(MapDeserializer::<_, Error>::new(keys)).map_err(not_understood)
    }
}

type Keys<'a> = Vec<(Cow<'a, str>, Key<'a>)>;

fn of_json(raw: &[u8]) -> Result<Keys<'static>, Error> {
    let mut object: Map<String, Value> = serde_json::from_slice(raw)?;
    // Those that stand in `params` are like the others.
    if let Some(Value::Object(params)) = object.remove("params") {
        object.extend(params);
    }
    let keys = object.into_iter();
    Ok(keys
        .map(|(key, value)| (key.into(), Key::Json(value)))
        .collect())
}

fn of_protobuf<'a>(action: &GameAction<'a>) -> Keys<'a> {
    let mut keys: Keys<'a> = vec![("action".into(), Key::Json(action.action().into()))];
    if let Some(at) = action.position() {
        let at = serde_json::json!({ "x": at.x, "y": at.y, "z": at.z });
        keys.push(("position".into(), Key::Json(at)));
    }
    if let Some(target) = action.target_id() {
        keys.push(("target_id".into(), Key::Json(target.into())));
    }
    let params = action.params();
    keys.extend(params.map(|(key, text)| (key, Key::Text(text))));
    keys
}

/// The value of a key.
enum Key<'a> {
    Json(Value),
    /// A string as it is, or other JSON as its text: which of the two is known only when it is asked for.
    Text(Cow<'a, str>),
}

impl<'de> IntoDeserializer<'de, Error> for Key<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Calls a method of the JSON that a text is, or gives the text where it is none.
macro_rules! json_first {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self {
                Key::Json(value) => value.$method(visitor),
                Key::Text(text) => match serde_json::from_str::<Value>(&text) {
                    Ok(value) => value.$method(visitor),
                    Err(_) => visitor.visit_str(&text),
                },
            }
        }
    )*};
}

/// Takes a text as it is.
macro_rules! text_first {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self {
                Key::Json(value) => value.$method(visitor),
                Key::Text(text) => StrDeserializer::<Error>::new(&text).$method(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Error;

    json_first! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_seq deserialize_map
        deserialize_unit deserialize_ignored_any
    }

    text_first! { deserialize_str deserialize_string deserialize_char deserialize_identifier }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Key::Json(Value::Null) => visitor.visit_none(),
            key => visitor.visit_some(key),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Key::Json(value) => value.deserialize_enum(name, variants, visitor),
            Key::Text(text) if text.starts_with('{') => {
                let value: Value = serde_json::from_str(&text)?;
                value.deserialize_enum(name, variants, visitor)
            }
            Key::Text(text) => {
                StrDeserializer::<Error>::new(&text).deserialize_enum(name, variants, visitor)
            }
        }
    }

    forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit_struct tuple tuple_struct struct
    }
}

#[cfg(test)]
mod tests {
    use roomcast_protocol::Limits;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Cast {
        spell: String,
        level: u8,
        note: Option<String>,
        far: bool,
        power: Vec<i32>,
        target_id: i32,
        position: Point,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Point {
        x: f64,
    }

    /// `tag number`, then the length: what a Protobuf client sends.
    fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
        out.extend([number << 3 | 2, bytes.len() as u8]);
        out.extend_from_slice(bytes);
    }

    fn protobuf() -> Vec<u8> {
        let mut out = Vec::new();
        field(&mut out, 1, b"cast");
        let mut position = vec![1 << 3 | 1];
        position.extend(2.5f64.to_le_bytes());
        field(&mut out, 2, &position);
        out.extend([3 << 3, 7]);
        let params = [
            ("spell", "42"),
            ("level", "3"),
            ("far", "true"),
            ("power", "[1,2]"),
        ];
        for (key, value) in params {
            let mut entry = Vec::new();
            field(&mut entry, 1, key.as_bytes());
            field(&mut entry, 2, value.as_bytes());
            field(&mut out, 4, &entry);
        }
        out
    }

    #[test]
    fn an_action_reads_the_same_in_both_formats() {
        let json = br#"{"action":"cast","target_id":7,"position":{"x":2.5},"spell":"42",
            "params":{"level":3},"far":true,"power":[1,2]}"#;
        let expected = Cast {
            spell: "42".to_owned(),
            level: 3,
            note: None,
            far: true,
            power: vec![1, 2],
            target_id: 7,
            position: Point { x: 2.5 },
        };
        let sent = [
            (Format::Json, json.to_vec()),
            (Format::Protobuf, protobuf()),
        ];
        for (format, raw) in sent {
            let action = GameAction::parse(format, &raw, &Limits::default()).unwrap();
            assert_eq!(action.read::<Cast>().unwrap(), expected, "{format:?}");
        }
    }

    #[test]
    fn what_logic_does_not_take_is_refused_with_the_reason() {
        let raw = br#"{"action":"cast","level":300}"#;
        let action = GameAction::parse(Format::Json, raw, &Limits::default()).unwrap();
        let refusal = action.read::<Cast>().unwrap_err();
        assert_eq!(refusal.code.as_str(), "invalid_value");
        assert!(refusal.message.contains("300"), "{}", refusal.message);
    }
}
