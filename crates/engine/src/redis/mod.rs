//! Redis as the second copy of rooms and sessions: how a node reaches it, and what it says there.

mod command;
mod resp;

pub use command::{Command, Commands, Script, store_name};
pub use resp::{Malformed, Reader, Value, write_command, write_head, write_part};
