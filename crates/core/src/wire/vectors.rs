//! The golden vectors in `tests/vectors`: what this version writes, byte for byte; and in `tests/vectors/N` what version N
//! wrote, which never changes. What this version writes for version N is that, and this version reads it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write;

use super::version::{VERSION, Version};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

/// Compares the files of this name with what is written now. `examples`: as they are written for a version, without those
/// that it does not know. `ROOMCAST_BLESS=1` writes the file of this version.
pub(crate) fn check(
    file: &str,
    what: &str,
    examples: impl Fn(Version) -> Vec<(&'static str, Vec<u8>)>,
) {
    let path = format!("{DIRECTORY}/{file}");
    let mut text = format!(
        "# {what} `ROOMCAST_BLESS=1 cargo test -p roomcast-core --lib wire` writes this file.\n\
         # A line that changes is a form that nodes of the version before do not read.\n"
    );
    text.push_str(&lines(examples(Version::OWN)));
    if std::env::var_os("ROOMCAST_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{file}");
    for version in (1..VERSION).map(Version) {
        let before = std::fs::read_to_string(before(version, file)).unwrap();
        let before = before.lines().filter(|line| !line.starts_with('#'));
        let now = lines(examples(version));
        for (before, now) in before.clone().zip(now.lines()) {
            assert_eq!(now, before, "{file}, as {version:?} wrote it");
        }
        let more = "what is new needs its version; nothing that there was is taken away";
        assert_eq!(now.lines().count(), before.count(), "{file}: {more}");
    }
}

/// What versions before this one wrote: the version, the example's name, its bytes.
pub(crate) fn of_before(file: &str) -> Vec<(Version, String, Vec<u8>)> {
    let mut all = Vec::new();
    for version in (1..VERSION).map(Version) {
        let text = std::fs::read_to_string(before(version, file)).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, hex) = line.split_once(' ').unwrap_or((line, ""));
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let bytes = (0..hex.len()).step_by(2).map(byte).collect();
            all.push((version, name.to_owned(), bytes));
        }
    }
    assert!(!all.is_empty(), "{file}");
    all
}

fn before(version: Version, file: &str) -> String {
    format!("{DIRECTORY}/{}/{file}", version.0)
}

fn lines(examples: Vec<(&'static str, Vec<u8>)>) -> String {
    let mut text = String::new();
    for (name, bytes) in examples {
        let gap = if bytes.is_empty() { "" } else { " " };
        let _ = write!(text, "{name}{gap}");
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    text
}
