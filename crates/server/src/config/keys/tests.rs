//! What must hold for every row of the table.

use std::collections::HashSet;

use super::super::environment::variable;
use super::super::field::Field;
use super::super::raw::Raw;
use super::super::suggest;
use super::*;

#[test]
fn no_two_keys_share_a_variable_and_none_ends_like_a_file() {
    let mut seen = HashSet::new();
    for path in suggest::paths() {
        let variable = variable(&path);
        assert!(!variable.ends_with("_FILE"), "{variable}");
        assert!(seen.insert(variable.clone()), "{variable}");
    }
}

/// Its default is in its range, and 0 is taken if and only if the table says so.
fn holds<T: Default>(path: &str, key: &Key<T>) {
    let mut target = T::default();
    let shown = key.field.show(&mut target);
    let parsed = super::super::file::read("", &format!("{path} = {shown}"), &mut Vec::new());
    let value = parsed
        .first()
        .and_then(|entry| entry.value.clone())
        .unwrap();
    assert_eq!(
        key.field.set(&mut target, &value),
        Ok(()),
        "{path} = {shown}"
    );
    assert_eq!(key.field.show(&mut target), shown, "{path}");
    let takes = key.field.takes();
    if takes.contains(" from ") {
        let zero = key.field.set(&mut target, &Raw::Integer("0".to_owned()));
        assert_eq!(zero.is_ok(), takes.contains("or 0 ("), "{path}");
        let (_, range) = takes.split_once(" from ").unwrap();
        let mut words = range.split([' ', ',']);
        let (first, to, last) = (words.next(), words.next(), words.next());
        assert_eq!(to, Some("to"), "{path}");
        for end in [first, last] {
            let end = Raw::Plain(end.unwrap().to_owned());
            assert_eq!(key.field.set(&mut target, &end), Ok(()), "{path} = {end}");
        }
    }
    assert!(
        key.about.ends_with('.') && !key.about.contains('|'),
        "{path}: {}",
        key.about
    );
}

#[test]
fn every_row_is_consistent() {
    for section in SECTIONS {
        for key in section.keys {
            holds(&format!("{}.{}", section.name, key.name), key);
        }
    }
    for key in KIND_KEYS {
        holds(&format!("kinds.default.{}", key.name), key);
    }
}

#[test]
fn a_secret_is_not_shown_in_an_error() {
    let field = super::super::field::Text {
        place: |c: &mut Config| &mut c.log.level,
        check: |_| Err("is too short".to_owned()),
        takes: "at least 32 characters",
    };
    let field: &'static dyn Field<Config> = Box::leak(Box::new(field));
    let key = Key {
        secret: true,
        ..Key::new("key", "A key.", field)
    };
    let raw = Raw::Text("hunter2".to_owned());
    let path = ["session".to_owned(), "key".to_owned()];
    let error = super::super::load::set(&key, &mut Config::default(), &path, &raw).unwrap_err();
    assert!(
        error.starts_with("session.key = (not shown) is too short"),
        "{error}"
    );
    assert!(!error.contains("hunter2"));
    assert!(!super::super::document::shown(&key, &mut Config::default()).contains("info"));
}
