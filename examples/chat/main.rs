//! A chat with history: `cargo run --release --example chat`, then open the address that it prints, twice.

use roomcast_server::{CountingAllocator, Kind, Mode, Server};

/// Counts what is in use, for `limits.memory`.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> std::process::ExitCode {
    let mut chat = Kind {
        name: "chat".to_owned(),
        mode: Mode::Relay,
        ..Kind::default()
    };
    // What `room.history` has: a day, in at most 4 MiB a room.
    (chat.retention.age, chat.retention.bytes) = (24 * 60 * 60 * 1000, 4 << 20);
    Server::builder()
        .kind(chat)
        .page(
            "/",
            "text/html; charset=utf-8",
            include_bytes!("index.html"),
        )
        .page(
            "/chat.js",
            "text/javascript; charset=utf-8",
            include_bytes!("chat.js"),
        )
        .page(
            "/chat.css",
            "text/css; charset=utf-8",
            include_bytes!("chat.css"),
        )
        .main()
}
