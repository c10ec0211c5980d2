//! Shared cursors: `cargo run --release --example cursors`, then open the address that it prints, twice.

use roomcast_server::{Kind, Mode, Server};

fn main() -> std::process::ExitCode {
    Server::builder()
        .kind(Kind {
            name: "cursors".to_owned(),
            mode: Mode::Relay,
            ..Kind::default()
        })
        .page("/", "text/html", include_bytes!("index.html"))
        .main()
}
