//! Shared cursors: `cargo run --release --example cursors`, then open the address that it prints, twice.

use roomcast_server::{CountingAllocator, Kind, Mode, Server};

/// Counts what is in use, for `limits.memory`.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> std::process::ExitCode {
    Server::builder()
        .kind(Kind {
            name: "cursors".to_owned(),
            mode: Mode::Relay,
            ..Kind::default()
        })
        .page(
            "/",
            "text/html; charset=utf-8",
            include_bytes!("index.html"),
        )
        .page(
            "/cursors.js",
            "text/javascript; charset=utf-8",
            include_bytes!("cursors.js"),
        )
        .page(
            "/cursors.css",
            "text/css; charset=utf-8",
            include_bytes!("cursors.css"),
        )
        .main()
}
