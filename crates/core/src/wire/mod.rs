//! What leaves a node as bytes: letters to other nodes, and what a store keeps.

mod bytes;

pub use bytes::WireError;
