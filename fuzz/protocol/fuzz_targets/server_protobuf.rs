#![no_main]

#[allow(dead_code)]
#[path = "../targets.rs"]
mod targets;

use libfuzzer_sys::fuzz_target;
use roomcast_protocol::Format;

fuzz_target!(|data: &[u8]| targets::server(Format::Protobuf, data));
