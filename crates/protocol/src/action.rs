//! `game_action`: one type for both formats.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::decode::check;
use crate::error::{BadMessage, ErrorCode, Fault};
use crate::json::{self, Scanner};
use crate::limits::{Limits, over};
use crate::read::{Source, Value, utf8};
use crate::write::Writer;
use crate::{Format, Position, names};

/// Something done in a game. Keeps the bytes it came as, so that it passes from JSON to JSON as sent; answers the same
/// whatever its format.
///
/// ```
/// use roomcast_protocol::{Format, GameAction, Limits};
///
/// let payload = br#"{"action":"cast","target_id":2,"spell":"frost","power":[1,2]}"#;
/// let action = GameAction::parse(Format::Json, payload, &Limits::default()).unwrap();
/// assert_eq!(action.action(), "cast");
/// assert_eq!(action.target_id(), Some(2));
/// assert_eq!(action.param("spell").unwrap(), "frost");
/// assert_eq!(action.param("power").unwrap(), "[1,2]");
/// ```
#[derive(Clone, Debug)]
pub struct GameAction<'a> {
    format: Format,
    raw: &'a [u8],
    action: Cow<'a, str>,
    position: Option<Position>,
    target_id: i32,
}

/// Keys and values, sorted by key, each key once.
type Params<'a> = SmallVec<[(Cow<'a, str>, Cow<'a, str>); 8]>;

impl<'a> GameAction<'a> {
    /// Reads the payload of a `game_action`: a JSON object, or a `gameproto.GameAction`.
    ///
    /// # Errors
    /// What is wrong with it. When this succeeds, the action can be written in both formats.
    pub fn parse(
        format: Format,
        raw: &'a [u8],
        limits: &Limits,
    ) -> Result<GameAction<'a>, BadMessage> {
        GameAction::read(format, raw, limits).map_err(BadMessage::from)
    }

    /// The format of [`GameAction::raw`].
    pub fn format(&self) -> Format {
        self.format
    }

    /// The payload as it came, for [`GameAction::parse`] at another place or time.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// What is done: `move`, `attack` …
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Where, if it says.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The `player_num` that it is aimed at.
    pub fn target_id(&self) -> Option<i32> {
        (self.target_id != 0).then_some(self.target_id)
    }

    /// The value of any other key: a string as it is, other JSON as its text.
    pub fn param(&self, key: &str) -> Option<Cow<'a, str>> {
        let mut found = None;
        self.each_param(|name, value| {
            if name == key {
                found = Some(value.text()?);
            }
            Ok(())
        });
        found
    }

    /// All other keys with their values, as [`GameAction::param`] gives them, sorted.
    pub fn params(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        self.sorted_params().into_iter()
    }

    pub(crate) fn read(
        format: Format,
        raw: &'a [u8],
        limits: &Limits,
    ) -> Result<GameAction<'a>, Fault> {
        let mut action = GameAction {
            format,
            raw,
            action: Cow::Borrowed(""),
            position: None,
            target_id: 0,
        };
        let mut count = 0;
        let mut own: SmallVec<[Cow<'a, str>; 16]> = SmallVec::new();
        let mut in_params = None;
        match format {
            Format::Json => {
                let text = utf8(raw).map_err(|fault| fault.name("payload"))?;
                if !text.trim_start().starts_with('{') && !text.is_empty() {
                    return Err(Fault::new(
                        ErrorCode::WrongType,
                        "`payload` must be an object",
                    ));
                }
                // The envelope is around it.
                let mut scanner = Scanner::new(text, limits.nesting().saturating_sub(1));
                scanner.object(|key, value| {
                    let key = json::read_str(key)?;
                    let value = Value::Json(value);
                    if let Some(number) = known(&key) {
                        if number == 4 {
                            in_params = Some(value);
                            return Ok(());
                        }
                        return action
                            .field(number, value)
                            .map_err(|fault| fault.name(&key));
                    }
                    count += 1;
                    too_many(count, limits)?;
                    value.text().map_err(|fault| fault.name(&key))?;
                    own.push(key);
                    Ok(())
                })?;
                scanner.end()?;
            }
            Format::Protobuf => Source::Protobuf(raw).fields(&NAMES, |number, value| {
                if number == 4 {
                    count += 1;
                    too_many(count, limits)?;
                    return value.entries(|_, value| value.text().map(drop));
                }
                action.field(number, value)
            })?,
        }
        if let Some(params) = in_params {
            own.sort_unstable();
            params
                .entries(|key, value| {
                    count += 1;
                    too_many(count, limits)?;
                    value.text().map_err(|fault| fault.name(&key))?;
                    if own.binary_search(&key).is_ok() {
                        return Err(Fault::new(
                            ErrorCode::InvalidValue,
                            format!("`{key}` is there twice: in `params` and next to it"),
                        ));
                    }
                    Ok(())
                })
                .map_err(|fault| fault.name("params"))?;
        }
        if action.action.is_empty() {
            return Err(Fault::missing("action"));
        }
        check(
            names::validate_event(&action.action, limits),
            "action",
            "message.max_event_name",
        )?;
        Ok(action)
    }

    fn field(&mut self, number: usize, value: Value<'a>) -> Result<(), Fault> {
        match number {
            1 => self.action = value.str()?,
            2 if value.is_null() => self.position = None,
            2 => {
                // Protobuf merges a message that comes twice.
                let before = match value {
                    Value::Bytes(_) => self.position.unwrap_or_default(),
                    _ => Position::default(),
                };
                self.position = Some(read_position(value, before)?);
            }
            3 => self.target_id = value.i32()?,
            _ => {}
        }
        Ok(())
    }

    /// Goes through what [`GameAction::read`] has checked.
    fn each_param(&self, mut each: impl FnMut(Cow<'a, str>, Value<'a>) -> Result<(), Fault>) {
        // Faults end the walk early; `read` has seen to it that there are none.
        let _ = match self.format {
            Format::Json => {
                let text = utf8(self.raw).unwrap_or_default();
                Scanner::again(text).object(|key, value| {
                    let key = json::read_str(key)?;
                    match known(&key) {
                        None => each(key, Value::Json(value)),
                        Some(4) => {
                            Value::Json(last_params(text).unwrap_or(value)).entries(&mut each)
                        }
                        Some(_) => Ok(()),
                    }
                })
            }
            Format::Protobuf => {
                Source::Protobuf(self.raw).fields(&["", "", "", "params"], |number, value| {
                    match number {
                        4 => value.entries(&mut each),
                        _ => Ok(()),
                    }
                })
            }
        };
    }

    fn sorted_params(&self) -> Params<'a> {
        let mut params = Params::new();
        self.each_param(|key, value| {
            params.push((key, value.text()?));
            Ok(())
        });
        // Of two with the same key the later counts: reversed, it comes first, and a stable sort keeps it there.
        if !params.is_sorted_by(|one, two| one.0 < two.0) {
            params.reverse();
            params.sort_by(|one, two| one.0.cmp(&two.0));
            params.dedup_by(|later, first| later.0 == first.0);
        }
        params
    }

    /// Writes it in the format that it is not in. (In its own, the raw bytes are used.)
    pub(crate) fn write<W: Writer>(&self, writer: &mut W) {
        writer.str(1, "action", &self.action);
        if let Some(position) = self.position {
            writer.message(2, "position", |writer| write_position(writer, position));
        }
        if self.target_id != 0 {
            writer.i64(3, "target_id", i64::from(self.target_id));
        }
        let params = self.sorted_params();
        if !params.is_empty() {
            writer.map(
                4,
                "params",
                params.iter().map(|(key, value)| (&**key, &**value)),
            );
        }
    }
}

impl PartialEq for GameAction<'_> {
    /// Whether both say the same, whatever their formats.
    fn eq(&self, other: &Self) -> bool {
        self.action == other.action
            && self.position == other.position
            && self.target_id == other.target_id
            && self.sorted_params() == other.sorted_params()
    }
}

const NAMES: [&str; 4] = ["action", "position", "target_id", "params"];

fn known(key: &str) -> Option<usize> {
    NAMES
        .iter()
        .position(|name| *name == key)
        .map(|index| index + 1)
}

/// The value of the last `params` of an object: the one that counts.
fn last_params(text: &str) -> Option<&str> {
    let mut last = None;
    let _ = Scanner::again(text).object(|key, value| {
        if json::read_str(key)? == "params" {
            last = Some(value);
        }
        Ok(())
    });
    last
}

fn too_many(count: usize, limits: &Limits) -> Result<(), Fault> {
    if over(count, limits.max_params) {
        return Err(Fault::new(
            ErrorCode::TooMany,
            "the action has more keys outside the schema than `message.max_params` allows",
        ));
    }
    Ok(())
}

impl<'a> Value<'a> {
    /// A parameter as text: a string as it is, other JSON as its text.
    fn text(self) -> Result<Cow<'a, str>, Fault> {
        match self {
            Value::Json(text) if !text.starts_with('"') => Ok(Cow::Borrowed(text)),
            value => value.str(),
        }
    }
}

pub(crate) fn read_position(value: Value<'_>, mut position: Position) -> Result<Position, Fault> {
    value.message()?.fields(&["x", "y", "z"], |number, value| {
        let axis = match number {
            1 => &mut position.x,
            2 => &mut position.y,
            _ => &mut position.z,
        };
        *axis = value.f64()?;
        Ok(())
    })?;
    Ok(position)
}

fn write_position<W: Writer>(writer: &mut W, position: Position) {
    writer.f64(1, "x", position.x);
    writer.f64(2, "y", position.y);
    writer.f64(3, "z", position.z);
}
