//! A program that embeds the server takes the flags of `roomcast serve`, and ignores no argument in silence.
//!
//! It runs itself, so it has a `main` of its own.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Output, Stdio};

use roomcast_server::Server;
use roomcast_server::config::exit;

const CHILD: &str = "EMBEDS_THE_SERVER";

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        return Server::builder().main();
    }
    // Under `cargo test -- --list` and the like.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    flags_are_taken();
    what_is_wrong_ends_it();
    println!("2 passed");
    ExitCode::SUCCESS
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOMCAST_") {
            command.env_remove(name);
        }
    }
    command.env(CHILD, "1").args(arguments);
    command.current_dir(std::env::temp_dir());
    command
}

fn flags_are_taken() {
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--log-format=json",
        "--set",
        "server.shards=3",
    ];
    let mut child = program(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines
        .map_while(Result::ok)
        .find(|line| line.contains("listening on"));
    child.kill().unwrap();
    child.wait().unwrap();
    let line = line.unwrap();
    assert!(
        line.starts_with('{') && line.contains("\"shards\":3"),
        "{line}"
    );
    assert!(!line.contains(":8080"), "{line}");
}

fn what_is_wrong_ends_it() {
    let run = |arguments: &[&str]| -> Output { program(arguments).output().unwrap() };
    let unknown = run(&["--prot", "1"]);
    assert_eq!(unknown.status.code(), Some(exit::USAGE.into()));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("\"--prot\""));
    let wrong = run(&["--listen", "8080"]);
    assert_eq!(wrong.status.code(), Some(exit::CONFIG.into()));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--listen: server.listen"));
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(exit::OK.into()));
    let help = String::from_utf8(help.stdout).unwrap();
    for flag in [
        "--config FILE",
        "--listen ADDR:PORT",
        "--public-demo",
        "--set KEY=VALUE",
    ] {
        assert!(help.contains(flag), "{help}");
    }
}
