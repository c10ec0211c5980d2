//! What must hold for any bytes. Called by the cargo-fuzz targets beside this file and, on stable Rust, by
//! `crates/core/tests/fuzz.rs`.

use roomcast_core::wire::rewrite_letters;

/// Letters from another node. What is taken is known whole when it is written again, and not longer.
pub(crate) fn letters(data: &[u8]) {
    let mut once = Vec::new();
    if rewrite_letters(data, &mut once).is_err() {
        return;
    }
    assert!(once.len() <= data.len(), "{} bytes", once.len());
    let mut twice = Vec::new();
    assert_eq!(rewrite_letters(&once, &mut twice), Ok(0));
    assert_eq!(once, twice);
}
