//! roomcast-server

pub mod config;
