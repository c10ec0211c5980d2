//! JSON text: a scanner that checks and borrows, and what writes strings and numbers.
//!
//! The scanner is ours because it is on the path of every message: it allocates nothing, bounds the nesting before it
//! goes down, and gives each value as the slice of the message that it is, so that a payload passes as sent. (serde_json's
//! `RawValue` allocates from the second level of nesting on.) The tests compare it with serde_json.

mod scan;
mod text;

pub(crate) use scan::Scanner;
pub(crate) use text::{
    is_null, read_bool, read_f64, read_i32, read_i64, read_str, read_u64, write_f64, write_i64,
    write_str, write_u64,
};
