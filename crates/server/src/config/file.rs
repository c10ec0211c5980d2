//! The configuration file as a list of paths and values, with their lines.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::keys;
use super::raw::Raw;
use super::source::{Problem, Source};

/// A value as it was written somewhere.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// `["server", "listen"]`
    pub(super) path: Vec<String>,
    /// Nothing for a table without keys.
    pub(super) value: Option<Raw>,
    pub(super) source: Source,
}

/// Reads a file's text. `name` is the file's, for messages.
pub(super) fn read(name: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Entry> {
    // Without its byte order mark, which Windows' editors write.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines { name, text };
    // One error often makes others further down, so the first is told.
    if let Some(error) = errors.first() {
        let span = error.span().unwrap_or_default();
        let source = lines.source(&span);
        let message = match error.message() {
            "duplicate key" => format!("{} is there twice", lines.key(&span)),
            message => format!("not TOML: {message}"),
        };
        problems.push(Problem { source, message });
        return Vec::new();
    }
    let mut entries = Vec::new();
    flatten(&lines, &mut Vec::new(), table.get_ref(), &mut entries);
    // The table is sorted by name; people read from the top.
    entries.sort_by_key(|entry| match entry.source {
        Source::File { line, .. } => line,
        _ => 0,
    });
    entries
}

struct Lines<'a> {
    name: &'a str,
    text: &'a str,
}

impl Lines<'_> {
    /// The key that is written there, with the name of its table. For messages: it looks at lines, not at TOML.
    fn key(&self, span: &Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or_default();
        let key = self.text.get(span.clone()).unwrap_or_default();
        let mut lines = before.lines().map(str::trim).rev();
        let own = if before.ends_with('\n') {
            None
        } else {
            lines.next()
        };
        if own.is_some_and(|own| own.starts_with('[')) {
            return format!("[{}{key}]", own.unwrap_or_default().trim_start_matches('['));
        }
        let table = lines.find_map(|line| line.strip_prefix('[')?.split(']').next());
        let key = key.trim_matches(['"', '\'']);
        table.map_or_else(|| key.to_owned(), |table| format!("{}.{key}", table.trim()))
    }

    fn source(&self, span: &Range<usize>) -> Source {
        let before = self
            .text
            .as_bytes()
            .get(..span.start)
            .unwrap_or(self.text.as_bytes());
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        Source::File {
            path: self.name.to_owned(),
            line,
        }
    }
}

fn flatten(lines: &Lines<'_>, path: &mut Vec<String>, table: &DeTable<'_>, out: &mut Vec<Entry>) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        let source = lines.source(&key.span());
        match value.get_ref() {
            DeValue::Table(inner) if inner.is_empty() || !keys::is_table(path) => {
                // An unknown table is told as a whole, not key by key.
                let value = (!keys::is_table(path)).then(|| Raw::Other("a table".to_owned()));
                out.push(Entry {
                    path: path.clone(),
                    value,
                    source,
                });
            }
            DeValue::Table(inner) => flatten(lines, path, inner, out),
            _ => out.push(Entry {
                path: path.clone(),
                value: Some(raw(value)),
                source,
            }),
        }
        path.pop();
    }
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(integer) => Raw::Integer(decimal(integer)),
        DeValue::Float(float) => Raw::Float(float.as_str().to_owned()),
        DeValue::Boolean(on) => Raw::Boolean(*on),
        DeValue::Datetime(date) => Raw::Other(date.to_string()),
        DeValue::Array(items) => Raw::List(items.iter().map(raw).collect()),
        DeValue::Table(_) => Raw::Other("a table".to_owned()),
    }
}

fn decimal(integer: &DeInteger<'_>) -> String {
    let number = i128::from_str_radix(integer.as_str(), integer.radix());
    number.map_or_else(|_| integer.to_string(), |number| number.to_string())
}
