//! Stores: what keeps the second copy of rooms and sessions, so that many nodes are one system
//! ([`roomcast_core::store`]). A node alone needs none, unless a file is to keep what it has ([`kept`]).

pub mod kept;
pub mod model;
#[cfg(feature = "redis")]
pub mod redis;
