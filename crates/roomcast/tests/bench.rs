//! `roomcast bench` as it is typed, against the bare loops that it brings.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

const ROOMCAST: &str = env!("CARGO_BIN_EXE_roomcast");

/// A bare loop and its address.
struct Loop(Child, String);

impl Loop {
    fn start(arguments: &[&str]) -> Loop {
        let mut child = Command::new(ROOMCAST)
            .args(["bench", "baseline"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Loop(child, address)
    }

    fn bench(&self, arguments: &[&str]) -> Output {
        Command::new(ROOMCAST)
            .args(["bench", "--quick", "--url", &format!("ws://{}/ws", self.1)])
            .args(["--pid", &self.0.id().to_string()])
            .args(arguments)
            .output()
            .unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]]
        .map(String::from_utf8_lossy)
        .concat()
}

#[test]
fn both_loops_deliver_everything_and_the_figures_say_so() {
    for mode in ["send", "flush"] {
        let server = Loop::start(&["--mode", mode]);
        let json = tempfile::NamedTempFile::new().unwrap();
        let path = json.path().to_str().unwrap();
        for pace in [["--in-flight", "2"], ["--rate", "200"]] {
            let shape = ["fanout", "--rooms", "3", "--members", "5", "--json", path];
            let output = server.bench(&[&shape[..], &pace].concat());
            assert!(output.status.success(), "{}", text(&output));
            let report: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let run = &report["benchmarks"][0]["figures"][0]["runs"][0];
            assert!(run["deliveries"].as_u64().unwrap() > 100, "{report:#}");
            for fault in ["lost", "twice", "out_of_order"] {
                assert_eq!(run[fault], 0, "{report:#}");
            }
            assert!(
                run["cpu_us_per_delivery"].as_f64().unwrap() > 0.0,
                "{report:#}"
            );
        }
    }
}

#[test]
fn a_server_that_loses_messages_is_found_out() {
    let server = Loop::start(&["--mode", "flush", "--lose", "97"]);
    let output = server.bench(&["fanout", "--rooms", "1", "--members", "10", "--rate", "300"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains(" lost"), "{}", text(&output));
}

#[test]
fn connections_are_counted_and_cost_memory() {
    let server = Loop::start(&["--mode", "flush"]);
    let idle = server.bench(&["idle"]);
    assert!(idle.status.success(), "{}", text(&idle));
    assert!(
        text(&idle).contains("400 connections in rooms of 8"),
        "{}",
        text(&idle)
    );
    let storm = server.bench(&["storm"]);
    assert!(storm.status.success(), "{}", text(&storm));
}

/// What a process of clients answers to errands, in their order.
fn work(server: &Loop, errands: &[Value]) -> Vec<Value> {
    let job = json!({
        "nodes": [server.1], "host": "localhost", "path": "/ws", "first": 0, "source": 1,
        "rooms": 4, "members": 5, "senders": 1, "run": "test",
    });
    let mut child = Command::new(ROOMCAST)
        .args(["bench", "worker", &job.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let answers = errands.iter().map(|errand| {
        writeln!(stdin, "{errand}").unwrap();
        let answer = answers.next().expect("the process lives").unwrap();
        serde_json::from_str(&answer).unwrap()
    });
    let answers = answers.collect();
    child.kill().unwrap();
    child.wait().unwrap();
    answers
}

#[test]
fn clients_hold_what_they_have_where_not_all_get_in() {
    let server = Loop::start(&["--mode", "flush"]);
    let open = |within: u64, while_free: Option<u64>| json!({ "do": "open", "window": 1, "within": within, "while_free": while_free });
    let drive = json!({ "do": "drive", "rate": 100.0, "time": 300_000 });
    let count = json!({ "do": "count" });
    let minute = 60_000_000;

    let all = work(
        &server,
        &[open(minute, Some(0)), drive.clone(), count.clone()],
    );
    assert_eq!(
        (&all[0]["joined"], &all[0]["stopped"]),
        (&json!(20), &Value::Null)
    );
    assert!(all[1]["sent"].as_u64().unwrap() > 10, "{all:?}");
    assert_eq!(all[2], json!({ "present": 20, "closed": 0 }));

    let late = work(&server, &[open(1, None), drive.clone(), count.clone()]);
    assert_eq!(
        late[0]["joined"].as_u64().unwrap() + late[0]["failures"].as_u64().unwrap(),
        20
    );
    // Nobody speaks in a room that lacks members.
    assert_eq!(late[1]["faults"]["lost"], 0, "{late:?}");

    let full = work(&server, &[open(minute, Some(u64::MAX)), drive, count]);
    let stopped = full[0]["stopped"].as_str().unwrap();
    assert!(stopped.ends_with("MiB were free"), "{stopped}");
    assert_eq!(full[0]["failures"], 0);
    assert_eq!(full[1]["sent"], 0, "{full:?}");
}

#[test]
fn another_machine_is_left_alone_unless_it_is_meant() {
    let output = Command::new(ROOMCAST)
        .args(["bench", "storm", "--quick", "--url", "ws://192.0.2.1:9/ws"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("--allow-remote"),
        "{}",
        text(&output)
    );
}
