//! Tic-tac-toe: room logic of one's own (`rules.rs`), with a page of its own.
//!
//! `cargo run --release --example tic_tac_toe`, then open the address that it prints, twice. It takes the flags of
//! `roomcast serve`.

mod rules;

use roomcast_server::{CountingAllocator, Kind, Mode, Server};
use rules::TicTacToe;

/// Counts what is in use, for `limits.memory`.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> std::process::ExitCode {
    Server::builder()
        .kind(Kind {
            name: "tictactoe".to_owned(),
            mode: Mode::Relay,
            ..Kind::default()
        })
        .logic("tictactoe", |_room| Box::new(TicTacToe::default()))
        .page(
            "/",
            "text/html; charset=utf-8",
            include_bytes!("index.html"),
        )
        .page(
            "/tic_tac_toe.js",
            "text/javascript; charset=utf-8",
            include_bytes!("tic_tac_toe.js"),
        )
        .page(
            "/tic_tac_toe.css",
            "text/css; charset=utf-8",
            include_bytes!("tic_tac_toe.css"),
        )
        .main()
}
