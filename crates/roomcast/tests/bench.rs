//! `roomcast bench` as it is typed, against the bare loops that it brings.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

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
