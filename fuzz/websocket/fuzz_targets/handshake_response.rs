#![no_main]
#![allow(dead_code, reason = "each user takes its part of what is included")]

#[path = "../../../crates/websocket/fuzz_targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::handshake_response(data));
