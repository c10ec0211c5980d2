//! The HTTP side over real sockets, with shards that only collect what they are given.

mod descriptors;
mod fetched_keys;
mod handshake;
mod harness;
mod limits;
mod local;
mod pages;
mod proxies;
mod requests;
mod tokens;
