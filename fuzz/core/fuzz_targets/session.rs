#![no_main]
#![allow(dead_code, reason = "each user takes its part of what is included")]

#[path = "../targets.rs"]
mod targets;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| targets::session(data));
