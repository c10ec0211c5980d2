//! "Did you mean …?"

use super::keys::{KIND_KEYS, SECTIONS, named_tables};

/// All paths that can be suggested; those of kinds for the kind `default`.
pub(crate) fn paths() -> impl Iterator<Item = String> {
    let global = SECTIONS.iter().flat_map(|section| {
        section
            .keys
            .iter()
            .map(move |key| format!("{}.{}", section.name, key.name))
    });
    global.chain(
        KIND_KEYS
            .iter()
            .map(|key| format!("kinds.default.{}", key.name)),
    )
}

/// The name that `wrong` was probably meant to be.
pub(crate) fn closest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = wrong.chars().count() / 4 + 1;
    let distances = names.map(|name| (strsim::osa_distance(wrong, name), name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= allowed).then_some(name)
}

/// The path that an unknown path was probably meant to be: the same key elsewhere, or one written almost so. A key of a
/// kind is looked for among those of kinds.
pub(crate) fn path(wrong: &[String]) -> Option<String> {
    let known: Vec<String> = match wrong {
        [kinds, kind, _, ..] if kinds == "kinds" => KIND_KEYS
            .iter()
            .map(|key| format!("kinds.{kind}.{}", key.name))
            .collect(),
        [table, name, _, ..] => match named_tables().find(|(named, _)| named == table) {
            Some((table, keys)) => keys
                .iter()
                .map(|key| format!("{table}.{name}.{key}"))
                .collect(),
            None => paths().collect(),
        },
        _ => paths().collect(),
    };
    let last_of = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let last = wrong.last()?;
    if let Some(same) = known.iter().find(|path| last_of(path) == *last) {
        return Some(same.clone());
    }
    let written = wrong.join(".");
    if let Some(close) = closest(&written, known.iter().map(|path| &**path)) {
        return Some(close.to_owned());
    }
    let lasts: Vec<String> = known.iter().map(|path| last_of(path)).collect();
    let close = closest(last, lasts.iter().map(|last| &**last))?;
    known.iter().find(|path| last_of(path) == close).cloned()
}
