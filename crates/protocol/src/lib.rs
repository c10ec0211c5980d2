//! roomcast-protocol
