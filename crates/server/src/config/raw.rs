//! Values as they were written, before they are checked against what a key takes.

use std::borrow::Cow;
use std::fmt;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Raw {
    /// From the environment or the command line, which know no types.
    Plain(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer, in decimal.
    Integer(String),
    /// A TOML float.
    Float(String),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array, or a flag given several times.
    List(Vec<Raw>),
    /// What no key takes: a date or a table.
    Other(String),
}

impl Raw {
    /// The text, where one was written.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Raw::Plain(text) | Raw::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// As it would stand in a TOML file, but for what may be a password.
impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Plain(text) | Raw::Text(text) => f.write_str(&quoted(&without_login(text))),
            Raw::Integer(text) | Raw::Float(text) | Raw::Other(text) => f.write_str(text),
            Raw::Boolean(value) => write!(f, "{value}"),
            Raw::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A URL without its user and its password: a value that is refused is shown.
fn without_login(text: &str) -> Cow<'_, str> {
    let Some((login, rest)) = text.rsplit_once('@') else {
        return text.into();
    };
    match login.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://…@{rest}").into(),
        None => format!("…@{rest}").into(),
    }
}

/// `text` as a TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
