//! `roomcast pub` and `roomcast sub` as they are typed, with a real server.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a panic is how a test fails, and helpers are shared with other tests"
)]

#[path = "../../engine/tests/common/ports.rs"]
mod ports;
#[path = "common/process.rs"]
mod process;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use process::{Process, free_address};
use serde_json::{Value, json};

/// No test waits longer for anything.
pub const DEADLINE: Duration = Duration::from_secs(60);
const KEY: &str = "a-key-of-these-tests-which-is-long-enough";

fn server() -> Process {
    let key = format!("api_keys.shop.key={KEY}");
    Process::start(free_address(), &[&key, "api_keys.shop.rights=publish"])
}

fn roomcast(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(arguments).env("ROOMCAST_API_KEY", KEY);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn publish(server: &Process, arguments: &[&str], input: &str) -> Output {
    let url = format!("http://{}", server.address);
    let mut command = roomcast(&["pub", "--url", &url]);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that takes its message from the command line reads none.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A follower who is in the room.
fn follow(server: &Process, arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let url = format!("ws://{}", server.address);
    let mut command = roomcast(&["sub", "--url", &url]);
    let mut child = command.args(arguments).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "roomcast: in chat:1\n");
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

#[test]
fn what_one_shell_publishes_another_one_prints() {
    let server = server();
    let (mut child, mut stdout) = follow(&server, &["chat:1", "--count", "4"]);
    let (mut json_child, json_stdout) = follow(&server, &["chat:1", "--json", "--count", "4"]);
    let first = publish(&server, &["chat:1", "hello"], "");
    assert!(first.status.success(), "{}", text(&first.stderr));
    let place = text(&first.stdout);
    let (epoch, offset) = place.trim().rsplit_once(':').unwrap();
    let event = [
        "chat:1",
        "--event",
        "order",
        "--json",
        r#"{"big":1e400}"#,
        "--once",
        "a",
    ];
    let told = publish(&server, &event, "");
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        (&told["room_id"], &told["repeated"]),
        (&json!("chat:1"), &json!(false))
    );
    let again = publish(&server, &event, "");
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(
        (&again["offset"], &again["repeated"]),
        (&told["offset"], &json!(true))
    );
    let lines = publish(&server, &["chat:1"], "one\ntwo\n");
    assert_eq!(text(&lines.stdout).lines().count(), 2);
    let mut printed = String::new();
    for _ in 0..4 {
        stdout.read_line(&mut printed).unwrap();
    }
    let expected = "shop: hello\nshop: order {\"big\":1e400}\nshop: one\nshop: two\n";
    assert_eq!(printed, expected);
    assert!(child.wait().unwrap().success());
    let lines: Vec<String> = json_stdout.lines().map(Result::unwrap).collect();
    assert!(json_child.wait().unwrap().success());
    assert_eq!(lines.len(), 4);
    let first: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&first["type"], &first["payload"], &first["from_service"]),
        (&json!("chat"), &json!("hello"), &json!("shop"))
    );
    assert_eq!(
        (&first["epoch"], &first["offset"]),
        (&json!(epoch), &json!(offset.parse::<u64>().unwrap()))
    );
    assert!(
        lines[1].ends_with(r#""payload":{"big":1e400}}"#),
        "{}",
        lines[1]
    );
    // From a place on.
    let (mut child, mut stdout) = follow(
        &server,
        &["chat:1", "--since", place.trim(), "--count", "1"],
    );
    printed.clear();
    stdout.read_line(&mut printed).unwrap();
    assert_eq!(printed, "shop: order {\"big\":1e400}\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_token_comes_from_a_file_or_a_variable_and_from_no_flag() {
    let secret = "auth.hs256_secret=0123456789abcdef0123456789abcdef";
    let key = format!("api_keys.shop.key={KEY}");
    let settings = [
        &key,
        "api_keys.shop.rights=publish",
        secret,
        "auth.anonymous=false",
    ];
    let server = Process::start(free_address(), &settings);
    let made = roomcast(&["token", "--user", "u7", "--set", secret])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, &made.stdout).unwrap();
    let file = file.to_str().unwrap();
    let (mut child, mut stdout) =
        follow(&server, &["chat:1", "--token-file", file, "--count", "1"]);
    assert!(publish(&server, &["chat:1", "hello"], "").status.success());
    let mut printed = String::new();
    stdout.read_line(&mut printed).unwrap();
    assert_eq!(printed, "shop: hello\n");
    assert!(child.wait().unwrap().success());
    let url = format!("ws://{}", server.address);
    let sub = |more: &[&str]| roomcast(&[&["sub", "--url", &url, "chat:1"], more].concat());
    let nobody = sub(&[]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1), "{}", text(&nobody.stderr));
    let wrong = sub(&[])
        .env("ROOMCAST_TOKEN_FILE", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(64));
    assert!(text(&wrong.stderr).contains("cannot read the token in /nowhere"));
    let wrong = sub(&[])
        .env("ROOMCAST_TOKEN", "of two words")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(64));
    assert!(!sub(&["--token", "x"]).output().unwrap().status.success());
}

#[test]
fn who_may_not_is_told_why() {
    let server = server();
    let url = format!("http://{}", server.address);
    let wrong = [
        (&["chat:1", "--json", "{"][..], 64, "is not JSON"),
        (&["a b", "x"], 1, "invalid_name"),
    ];
    for (arguments, code, says) in wrong {
        let told = publish(&server, arguments, "");
        assert_eq!(told.status.code(), Some(code));
        assert!(text(&told.stderr).contains(says), "{}", text(&told.stderr));
    }
    let mut stranger = roomcast(&["pub", "--url", &url, "chat:1", "x"]);
    let told = stranger
        .env("ROOMCAST_API_KEY", "x".repeat(40))
        .output()
        .unwrap();
    assert_eq!(told.status.code(), Some(1));
    assert!(
        text(&told.stderr).contains("unauthorized"),
        "{}",
        text(&told.stderr)
    );
    let mut nobody = roomcast(&["pub", "--url", &url, "chat:1", "x"]);
    let told = nobody.env_remove("ROOMCAST_API_KEY").output().unwrap();
    assert_eq!(told.status.code(), Some(64));
    let odd = roomcast(&["sub", "--url", "gopher://x", "chat:1"])
        .output()
        .unwrap();
    assert_eq!(odd.status.code(), Some(64), "{}", text(&odd.stderr));
}
