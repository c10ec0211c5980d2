//! roomcast-server

pub mod config;
mod handover;
mod http;
mod limits;
pub mod log;
