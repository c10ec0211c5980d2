//! roomcast-server
