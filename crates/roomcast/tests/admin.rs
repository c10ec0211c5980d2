//! `roomcast admin` at a prompt, against a real server.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../engine/tests/common/ports.rs"]
#[allow(dead_code, reason = "each test uses its part")]
mod ports;
#[path = "common/process.rs"]
#[allow(unreachable_pub, reason = "other tests have it as their crate's own")]
mod process;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use process::{Process, free_address};
use roomcast_client::Client;
use roomcast_client::session::JoinOptions;
use serde_json::Value;

/// No test waits longer for anything.
const DEADLINE: Duration = Duration::from_secs(20);
const KEY: &str = "a-key-of-these-tests-which-is-long-enough";

fn server(rights: &str) -> Process {
    let (key, rights) = (
        format!("api_keys.ops.key={KEY}"),
        format!("api_keys.ops.rights={rights}"),
    );
    let settings = [&key, &rights, "shutdown.delay=0s"];
    Process::start(free_address(), &settings)
}

fn admin(server: &Process, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.arg("admin").args(args);
    command.env("ROOMCAST_ADMIN_URL", format!("http://{}", server.address));
    command.env("ROOMCAST_ADMIN_KEY", KEY);
    command
}

fn run(server: &Process, args: &[&str]) -> Output {
    admin(server, args).output().unwrap()
}

/// What it printed, where it is content.
fn told(server: &Process, args: &[&str]) -> String {
    let output = run(server, args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it says is wrong, and its exit code.
fn wrong(output: &Output) -> (Option<i32>, String) {
    let errors = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), errors.into_owned())
}

fn json(server: &Process, args: &[&str]) -> Value {
    let args: Vec<_> = ["--json"].iter().chain(args).copied().collect();
    serde_json::from_str(&told(server, &args)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_runs_a_server_sees_it_and_acts_on_it() {
    let server = server("read,moderate,tail,operate");
    let client = Client::connect(&format!("ws://{}", server.address)).unwrap();
    let room = client.room("chat:1");
    let joined = tokio::time::timeout(DEADLINE, room.join(JoinOptions::default()));
    joined.await.unwrap().unwrap();

    let nodes = json(&server, &["nodes"]);
    assert_eq!(nodes["nodes"][0]["state"], "serving");
    assert_eq!(nodes["nodes"][0]["counters"]["connections"], 1);
    let node = nodes["nodes"][0]["node"].as_str().unwrap();
    let table = told(&server, &["nodes"]);
    assert!(table.contains(node) && table.starts_with("NODE"), "{table}");
    for by in ["busiest", "biggest", "name"] {
        let table = told(&server, &["rooms", "--by", by]);
        assert!(table.contains("chat:1"), "{by}: {table}");
    }
    assert_eq!(
        told(&server, &["rooms", "--by", "slowest"]),
        "there is none\n"
    );
    assert_eq!(told(&server, &["rooms", "--kind", "x"]), "there is none\n");
    let members = json(&server, &["room", "chat:1"]);
    assert_eq!(
        (&members["total"], &members["connections"][0]["lagging"]),
        (&1.into(), &false.into())
    );
    let user = members["members"][0]["player_id"].as_str().unwrap();
    assert!(told(&server, &["room", "chat:1"]).contains("it keeps up"));
    assert_eq!(told(&server, &["room", "a/c"]).lines().count(), 1);
    assert_eq!(
        json(&server, &["user", user])["sessions"][0]["rooms"][0],
        "chat:1"
    );
    assert!(told(&server, &["user", user]).contains(node));

    let mut tail = admin(&server, &["room", "chat:1", "--tail"]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // Until it listens, nothing is heard.
    let saying = tokio::spawn(async move {
        loop {
            let _ = room.chat("hello from here").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let first = tokio::task::spawn_blocking(move || lines.next().unwrap().unwrap());
    let first = tokio::time::timeout(DEADLINE, first)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first, format!("chat {user} \"hello from here\""));
    tail.kill().unwrap();
    tail.wait().unwrap();
    saying.abort();

    let kicked = told(&server, &["kick", "chat:1", user, "--ban", "1h"]);
    assert_eq!(kicked, "1 session put out\n");
    assert_eq!(
        told(&server, &["room", "chat:1"]),
        "nobody is in this room\n"
    );
    let away = told(&server, &["user", user, "--disconnect", "--reason", "bye"]);
    assert_eq!(away, "1 session ended\n");
    let (code, other) = wrong(&run(&server, &["drain", "another"]));
    assert!(code == Some(1) && other.contains("another_node"), "{other}");
    let ended = told(&server, &["drain", node, "--wait"]);
    assert!(ended.ends_with("it has ended\n"), "{ended}");
    assert!(server.log().contains("roomcast::audit"), "{}", server.log());
    assert!(server.ended_well());
}

#[test]
fn what_is_wrong_is_said() {
    let server = server("read");
    let none = admin(&server, &["nodes"])
        .env_remove("ROOMCAST_ADMIN_KEY")
        .output();
    let (code, says) = wrong(&none.unwrap());
    assert!(code == Some(64) && says.contains("--key-file"), "{says}");
    let (code, says) = wrong(&run(&server, &["--key-file", "/does/not/exist", "nodes"]));
    assert!(
        code == Some(64) && says.contains("/does/not/exist"),
        "{says}"
    );
    let (code, says) = wrong(&run(&server, &["--url", "ftp://x", "nodes"]));
    assert!(
        code == Some(64) && says.contains("no URL of a server"),
        "{says}"
    );
    let (code, says) = wrong(&run(&server, &["kick", "chat:1", "u7"]));
    assert!(
        code == Some(1) && says.contains("lacks the right \"moderate\""),
        "{says}"
    );
    let bad = admin(&server, &["nodes"])
        .env("ROOMCAST_ADMIN_KEY", "x")
        .output();
    let (code, says) = wrong(&bad.unwrap());
    assert!(
        code == Some(1) && says.contains("nobody has this key"),
        "{says}"
    );
    let address = free_address();
    let (code, says) = wrong(&run(
        &server,
        &["--url", &format!("http://{address}"), "nodes"],
    ));
    assert!(code == Some(1) && says.contains("refused"), "{says}");
    // What it reads from the environment is no setting of the server.
    let mut check = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    check.arg("check").env("ROOMCAST_ADMIN_KEY", KEY);
    assert!(check.output().unwrap().status.success());
}
