//! roomcast-core
