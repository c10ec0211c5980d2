//! Shared cursors: `cargo run --release --example cursors`, then open the address that it prints, twice.

use roomcast_server::{Kind, Mode, Server};

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
