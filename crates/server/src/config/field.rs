//! What a key takes and where it is kept: each kind of field reads, checks, shows and describes itself.

use std::time::Duration;

use super::raw::{Raw, quoted};
use super::units::Unit;

/// The place of a setting, to read it from as well as to write it to.
pub(crate) type Place<T, V> = fn(&mut T) -> &mut V;

/// What a key takes and where in a `T` it is kept.
pub(crate) trait Field<T>: Sync {
    /// Sets it.
    ///
    /// # Errors
    /// What is wrong with the value, to be put behind it: "is too large".
    fn set(&self, target: &mut T, raw: &Raw) -> Result<(), String>;

    /// Its value as it would stand in a TOML file. (Mutable as a [`Place`] is; nothing changes.)
    fn show(&self, target: &mut T) -> String;

    /// What it takes, to be put behind "it takes".
    fn takes(&self) -> String;

    /// What `"auto"` comes to, where it is set to that.
    fn auto(&self, _target: &mut T) -> Option<String> {
        None
    }
}

/// What 0 means for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zero {
    /// Nothing but a number outside the range.
    Refused,
    /// The limit is off.
    Off,
    /// Something else, in a few words.
    Is(&'static str),
}

impl Zero {
    fn describe(self) -> String {
        match self {
            Zero::Refused => String::new(),
            Zero::Off => ", or 0 (off)".to_owned(),
            Zero::Is(meaning) => format!(", or 0 ({meaning})"),
        }
    }
}

/// A number type that settings are kept in.
pub(crate) trait Scalar: Copy {
    /// As a number in the field's unit.
    fn to_number(self) -> u64;
    /// From a number in the field's unit, if it fits.
    fn from_number(number: u64) -> Option<Self>;
}

macro_rules! scalar {
    ($($type:ty),*) => {$(
        impl Scalar for $type {
            fn to_number(self) -> u64 {
                u64::try_from(self).unwrap_or(0)
            }
            fn from_number(number: u64) -> Option<$type> {
                <$type>::try_from(number).ok()
            }
        }
    )*};
}
scalar!(u8, u16, u32, u64, usize, i32);

/// In microseconds: for fields of [`Unit::Micros`] only.
impl Scalar for Duration {
    fn to_number(self) -> u64 {
        u64::try_from(self.as_micros()).unwrap_or(u64::MAX)
    }
    fn from_number(number: u64) -> Option<Duration> {
        Some(Duration::from_micros(number))
    }
}

/// A whole number, with a unit or not, in a range.
pub(crate) struct Number<T, V> {
    pub(crate) place: Place<T, V>,
    pub(crate) unit: Unit,
    /// First and last value, as they would be written.
    pub(crate) range: (&'static str, &'static str),
    pub(crate) zero: Zero,
}

impl<T, V: Scalar> Field<T> for Number<T, V> {
    fn set(&self, target: &mut T, raw: &Raw) -> Result<(), String> {
        let number = number_from(raw, self.unit, self.range, self.zero)?;
        *(self.place)(target) = V::from_number(number).ok_or_else(|| "is too large".to_owned())?;
        Ok(())
    }

    fn show(&self, target: &mut T) -> String {
        show_number(self.unit, (self.place)(target).to_number())
    }

    fn takes(&self) -> String {
        let (first, last) = self.range;
        format!(
            "a {} from {first} to {last}{}",
            self.unit.noun(),
            self.zero.describe()
        )
    }
}

/// [`Number`], or `"auto"`.
pub(crate) struct AutoNumber<T, V> {
    pub(crate) place: Place<T, Option<V>>,
    pub(crate) unit: Unit,
    pub(crate) range: (&'static str, &'static str),
    pub(crate) zero: Zero,
    /// What `"auto"` comes to.
    pub(crate) auto: fn(&T) -> u64,
    /// What `"auto"` means, in a few words.
    pub(crate) meaning: &'static str,
}

impl<T, V: Scalar> Field<T> for AutoNumber<T, V> {
    fn set(&self, target: &mut T, raw: &Raw) -> Result<(), String> {
        if raw.as_text() == Some("auto") {
            *(self.place)(target) = None;
            return Ok(());
        }
        let number = number_from(raw, self.unit, self.range, self.zero)?;
        let value = V::from_number(number).ok_or_else(|| "is too large".to_owned())?;
        *(self.place)(target) = Some(value);
        Ok(())
    }

    fn show(&self, target: &mut T) -> String {
        match (self.place)(target) {
            Some(value) => show_number(self.unit, value.to_number()),
            None => quoted("auto"),
        }
    }

    fn takes(&self) -> String {
        let (first, last) = self.range;
        let zero = self.zero.describe();
        let (noun, meaning) = (self.unit.noun(), self.meaning);
        format!("a {noun} from {first} to {last}{zero}, or \"auto\" ({meaning})")
    }

    fn auto(&self, target: &mut T) -> Option<String> {
        let auto = (self.place)(target).is_none();
        auto.then(|| show_number(self.unit, (self.auto)(target)))
    }
}

fn number_from(
    raw: &Raw,
    unit: Unit,
    (first, last): (&str, &str),
    zero: Zero,
) -> Result<u64, String> {
    let number = match raw {
        Raw::Text(text) if unit == Unit::Count && unit.parse(text).is_ok() => {
            return Err("is a text".to_owned());
        }
        Raw::Plain(text) | Raw::Text(text) | Raw::Integer(text) | Raw::Float(text) => {
            unit.parse(text)?
        }
        _ => return Err(format!("is not a {}", unit.noun())),
    };
    if number == 0 && zero != Zero::Refused {
        return Ok(0);
    }
    if unit.parse(first).is_ok_and(|first| number < first) {
        return Err("is too small".to_owned());
    }
    if unit.parse(last).is_ok_and(|last| number > last) {
        return Err("is too large".to_owned());
    }
    Ok(number)
}

/// Numbers with a unit are TOML strings.
fn show_number(unit: Unit, number: u64) -> String {
    let text = unit.show(number);
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    if plain { text } else { quoted(&text) }
}

/// A number with a fraction, in a range.
pub(crate) struct Real<T> {
    pub(crate) place: Place<T, f64>,
    pub(crate) range: (f64, f64),
    pub(crate) zero: Zero,
}

impl<T> Field<T> for Real<T> {
    fn set(&self, target: &mut T, raw: &Raw) -> Result<(), String> {
        let number = match raw {
            Raw::Plain(text) | Raw::Integer(text) | Raw::Float(text) => text
                .trim()
                .replace('_', "")
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite()),
            _ => None,
        };
        let number = number.ok_or_else(|| "is not a number".to_owned())?;
        let zero = number == 0.0 && self.zero != Zero::Refused;
        if !zero && number < self.range.0 {
            return Err("is too small".to_owned());
        }
        if !zero && number > self.range.1 {
            return Err("is too large".to_owned());
        }
        *(self.place)(target) = number;
        Ok(())
    }

    fn show(&self, target: &mut T) -> String {
        format!("{:?}", (self.place)(target))
    }

    fn takes(&self) -> String {
        let (first, last) = self.range;
        format!("a number from {first} to {last}{}", self.zero.describe())
    }
}

/// `true` or `false`.
pub(crate) struct Switch<T> {
    pub(crate) place: Place<T, bool>,
}

impl<T> Field<T> for Switch<T> {
    fn set(&self, target: &mut T, raw: &Raw) -> Result<(), String> {
        *(self.place)(target) = switch_from(raw)?;
        Ok(())
    }

    fn show(&self, target: &mut T) -> String {
        (self.place)(target).to_string()
    }

    fn takes(&self) -> String {
        "true or false".to_owned()
    }
}

/// `true`, `false` or `"auto"`.
pub(crate) struct AutoSwitch<T> {
    pub(crate) place: Place<T, Option<bool>>,
    /// What `"auto"` means, in a few words.
    pub(crate) meaning: &'static str,
}

impl<T> Field<T> for AutoSwitch<T> {
    fn set(&self, target: &mut T, raw: &Raw) -> Result<(), String> {
        let auto = raw.as_text() == Some("auto");
        *(self.place)(target) = if auto { None } else { Some(switch_from(raw)?) };
        Ok(())
    }

    fn show(&self, target: &mut T) -> String {
        (self.place)(target).map_or_else(|| quoted("auto"), |on| on.to_string())
    }

    fn takes(&self) -> String {
        format!("true, false or \"auto\" ({})", self.meaning)
    }
}

fn switch_from(raw: &Raw) -> Result<bool, String> {
    match raw {
        Raw::Boolean(on) => Ok(*on),
        Raw::Plain(text) => text.trim().parse().map_err(|_| "is neither".to_owned()),
        Raw::Text(text) if text.parse::<bool>().is_ok() => Err("is a text".to_owned()),
        _ => Err("is neither".to_owned()),
    }
}

/// One of a few names.
pub(crate) struct Choice<T, V: 'static> {
    pub(crate) place: Place<T, V>,
    pub(crate) names: &'static [(&'static str, V)],
}

impl<T, V: Copy + PartialEq + Sync> Field<T> for Choice<T, V> {
    fn set(&self, target: &mut T, raw: &Raw) -> Result<(), String> {
        let text = raw.as_text();
        let known = self.names.iter().find(|(name, _)| text == Some(*name));
        *(self.place)(target) = known.ok_or_else(|| "is none of them".to_owned())?.1;
        Ok(())
    }

    fn show(&self, target: &mut T) -> String {
        let value = *(self.place)(target);
        let known = self.names.iter().find(|(_, named)| *named == value);
        quoted(known.map_or("", |(name, _)| name))
    }

    fn takes(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|(name, _)| quoted(name)).collect();
        match names.split_last() {
            Some((last, others)) if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            _ => names.join(""),
        }
    }
}

/// A text in a form of its own.
pub(crate) struct Text<T> {
    pub(crate) place: Place<T, String>,
    /// What is wrong with a text, if anything is.
    pub(crate) check: fn(&str) -> Result<(), String>,
    pub(crate) takes: &'static str,
}

impl<T> Field<T> for Text<T> {
    fn set(&self, target: &mut T, raw: &Raw) -> Result<(), String> {
        let text = raw.as_text().ok_or_else(|| "is not a text".to_owned())?;
        (self.check)(text)?;
        text.clone_into((self.place)(target));
        Ok(())
    }

    fn show(&self, target: &mut T) -> String {
        quoted((self.place)(target))
    }

    fn takes(&self) -> String {
        self.takes.to_owned()
    }
}

/// Several texts in a form of their own; one may stand alone, without brackets.
pub(crate) struct List<T, V> {
    pub(crate) place: Place<T, Vec<V>>,
    /// Reads one item, or says what is wrong with it.
    pub(crate) read: fn(&str) -> Result<V, String>,
    pub(crate) show: fn(&V) -> String,
    pub(crate) takes: &'static str,
}

impl<T, V> Field<T> for List<T, V> {
    fn set(&self, target: &mut T, raw: &Raw) -> Result<(), String> {
        let (mut items, mut wrong) = (Vec::new(), Vec::new());
        for text in list_of_texts(raw)? {
            match (self.read)(&text) {
                Ok(item) => items.push(item),
                Err(what) => wrong.push(what),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("; it "));
        }
        *(self.place)(target) = items;
        Ok(())
    }

    fn show(&self, target: &mut T) -> String {
        let items: Vec<String> = (self.place)(target)
            .iter()
            .map(|item| quoted(&(self.show)(item)))
            .collect();
        format!("[{}]", items.join(", "))
    }

    fn takes(&self) -> String {
        self.takes.to_owned()
    }
}

/// In the environment and in flags, commas separate.
fn list_of_texts(raw: &Raw) -> Result<Vec<String>, String> {
    let not_a_list = || "is not a list of texts".to_owned();
    match raw {
        Raw::Plain(text) => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Ok(items.map(str::to_owned).collect())
        }
        Raw::Text(text) => Ok(vec![text.clone()]),
        Raw::List(items) => {
            let texts = items.iter().map(|item| match item {
                Raw::Plain(text) | Raw::Text(text) => Ok(text.trim().to_owned()),
                _ => Err(not_a_list()),
            });
            texts.collect()
        }
        _ => Err(not_a_list()),
    }
}
