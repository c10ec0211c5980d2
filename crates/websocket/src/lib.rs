//! roomcast-websocket
