//! The environment as a list of paths and values: `ROOMCAST_SECTION_KEY`, and `…_FILE` for a file to read the value
//! from.

use std::collections::BTreeMap;

use super::file::Entry;
use super::keys::{KIND_KEYS, SECTIONS, named_tables};
use super::raw::Raw;
use super::source::{Problem, Source};
use super::suggest;
use crate::files;

/// What all variables begin with.
pub(crate) const PREFIX: &str = "ROOMCAST_";
/// The variable that names the configuration file.
pub(crate) const CONFIG: &str = "ROOMCAST_CONFIG";

/// What `roomcast admin`, `pub` and `sub` read: nothing for the server.
const TOOLS: [&str; 9] = [
    "ROOMCAST_ADMIN_URL",
    "ROOMCAST_ADMIN_KEY",
    "ROOMCAST_ADMIN_KEY_FILE",
    "ROOMCAST_API_URL",
    "ROOMCAST_API_KEY",
    "ROOMCAST_API_KEY_FILE",
    "ROOMCAST_URL",
    "ROOMCAST_TOKEN",
    "ROOMCAST_TOKEN_FILE",
];

/// The variable of a key: `limits.max_message` is `ROOMCAST_LIMITS_MAX_MESSAGE`.
pub(crate) fn variable(path: &str) -> String {
    let upper = path.to_ascii_uppercase();
    format!("{PREFIX}{}", upper.replace(['.', '-'], "_"))
}

/// Reads all variables. An empty one counts as not set.
pub(super) fn read(variables: &[(String, String)], problems: &mut Vec<Problem>) -> Vec<Entry> {
    let ours = variables
        .iter()
        .filter(|(name, value)| name.starts_with(PREFIX) && name != CONFIG && !value.is_empty())
        .filter(|(name, _)| !TOOLS.contains(&&**name));
    let ours: BTreeMap<&str, &str> = ours.map(|(name, value)| (&**name, &**value)).collect();
    let mut entries = Vec::new();
    for (&name, &value) in &ours {
        let source = Source::Variable(name.to_owned());
        if let Some(path) = path_of(name) {
            entries.push(Entry {
                path,
                value: Some(Raw::Plain(value.to_owned())),
                source,
            });
            continue;
        }
        let plain = name.strip_suffix("_FILE");
        let Some((plain, path)) = plain.and_then(|plain| Some((plain, path_of(plain)?))) else {
            if !is_service_link(name) {
                let message = unknown(name);
                problems.push(Problem { source, message });
            }
            continue;
        };
        if ours.contains_key(plain) {
            let message = format!("{plain} is set as well; set one of them");
            problems.push(Problem { source, message });
            continue;
        }
        let text = files::read(value).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| "is not text (UTF-8)".to_owned())
        });
        match text {
            Ok(text) => {
                let text = text.trim_end_matches(['\n', '\r']).to_owned();
                let source = Source::VariableFile {
                    variable: name.to_owned(),
                    path: value.to_owned(),
                };
                entries.push(Entry {
                    path,
                    value: Some(Raw::Plain(text)),
                    source,
                });
            }
            Err(wrong) => {
                problems.push(Problem {
                    source,
                    message: format!("{value} {wrong}"),
                });
            }
        }
    }
    entries
}

/// The key that a variable sets. In `ROOMCAST_KINDS_NAME_KEY`, `ROOMCAST_API_KEYS_NAME_KEY` and the like the name is in lower
/// case.
fn path_of(variable_name: &str) -> Option<Vec<String>> {
    for section in SECTIONS {
        for key in section.keys {
            let path = format!("{}.{}", section.name, key.name);
            if variable(&path) == variable_name {
                return Some(vec![section.name.to_owned(), key.name.to_owned()]);
            }
        }
    }
    let rest = variable_name.strip_prefix(PREFIX)?;
    for (table, keys) in named_tables() {
        let prefix = format!("{}_", table.to_ascii_uppercase());
        let Some(rest) = rest.strip_prefix(&prefix) else {
            continue;
        };
        let matching = keys.iter().filter_map(|key| {
            let name = rest.strip_suffix(&key.to_ascii_uppercase())?;
            let name = name.strip_suffix('_')?;
            (!name.is_empty()).then(|| (name.to_ascii_lowercase(), *key))
        });
        let (name, key) = matching.max_by_key(|(_, key)| key.len())?;
        return Some(vec![table.to_owned(), name, key.to_owned()]);
    }
    let rest = rest.strip_prefix("KINDS_")?;
    let matching = KIND_KEYS.iter().filter_map(|key| {
        let suffix = key.name.to_ascii_uppercase().replace('.', "_");
        let kind = rest.strip_suffix(&suffix)?.strip_suffix('_')?;
        (!kind.is_empty()).then(|| (kind.to_ascii_lowercase(), key.name))
    });
    // The longest key wins: the shorter one would leave a part of the key in the kind's name.
    let (kind, key) = matching.max_by_key(|(_, key)| key.len())?;
    let mut path = vec!["kinds".to_owned(), kind];
    path.extend(key.split('.').map(str::to_owned));
    Some(path)
}

/// Says that there is no such variable, and which one may be meant. All names with our prefix are ours: one that is
/// misspelt at its beginning is as wrong as one that is at its end.
fn unknown(name: &str) -> String {
    let names: Vec<String> = suggest::paths().map(|path| variable(&path)).collect();
    let joined = |name: &str| name.replace('_', "");
    let same = names.iter().find(|known| joined(known) == joined(name));
    let close = same
        .map(|same| &**same)
        .or_else(|| suggest::closest(name, names.iter().map(|name| &**name)));
    match close {
        Some(close) => format!("sets nothing: there is no such key; did you mean {close}?"),
        None => format!(
            "sets nothing: there is no such key, and variables that begin with {PREFIX} are the server's"
        ),
    }
}

/// Kubernetes sets such variables in every pod next to a service named `roomcast`: `ROOMCAST_SERVICE_HOST`,
/// `ROOMCAST_PORT_8080_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let protocol = |part: &str| part == "TCP" || part == "UDP" || part == "SCTP";
    let parts: Vec<&str> = name.split('_').collect();
    let numbered = parts.windows(3).any(|three| {
        matches!(three, ["PORT", port, kind] if port.parse::<u16>().is_ok() && protocol(kind))
    });
    numbered
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || parts.last() == Some(&"PORT")
}
