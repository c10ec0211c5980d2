//! roomcast-engine
