//! The golden vectors in `tests/vectors`: what this version writes, byte for byte.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write;

/// Compares a file with what is written now. `ROOMCAST_BLESS=1` writes the file.
pub(super) fn check(
    file: &str,
    what: &str,
    examples: impl Iterator<Item = (&'static str, Vec<u8>)>,
) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let path = format!("{directory}/{file}");
    let mut text = format!(
        "# {what} `ROOMCAST_BLESS=1 cargo test -p roomcast-core --lib wire` writes this file.\n\
         # A line that changes is a form that nodes of the version before do not read.\n"
    );
    for (name, bytes) in examples {
        let _ = write!(text, "{name} ");
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    if std::env::var_os("ROOMCAST_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}
