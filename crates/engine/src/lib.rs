//! The engines that give a room its order of events. `memory` is the default: one node, no other process. `redis` is for
//! several nodes.

mod memory;
pub mod redis;

pub use memory::MemoryEngine;
