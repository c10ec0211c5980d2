//! The engines that give a room its order of events. `memory` is the default: one node, no other process.

mod memory;

pub use memory::MemoryEngine;
