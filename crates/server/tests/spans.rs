//! Traces: what a collector gets of a message from a backend.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "common/http.rs"]
mod http;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};

use common::{Client, DEADLINE, address, eventually, metric, start};
use http::{Answer, request};
use roomcast_server::RunningServer;
use roomcast_server::config::{ApiKey, Config, Right};
use serde_json::Value;

const KEY: &str = "a-key-that-may-do-everything-1234567890";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A collector: takes OTLP over HTTP, and hands out what came.
struct Collector {
    url: String,
    /// The heads of requests, in lower case, and their bodies.
    requests: Receiver<(String, Value)>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (to, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, to) = (stream.unwrap(), to.clone());
                // A connection may bring several requests.
                std::thread::spawn(move || {
                    while let Some(request) = read_request(&mut stream) {
                        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
                        if stream.write_all(answer.as_bytes()).is_err() || to.send(request).is_err()
                        {
                            return;
                        }
                    }
                });
            }
        });
        Collector { url, requests }
    }

    /// So many spans of a trace, by their names, with all that came.
    fn spans(&self, trace: &str, count: usize) -> Vec<Value> {
        let mut spans: Vec<Value> = Vec::new();
        while spans.len() < count {
            let request = self.requests.recv_timeout(DEADLINE);
            let (_, body) = request.unwrap_or_else(|_| panic!("only {spans:#?}"));
            let resource = &body["resourceSpans"][0];
            let name = &resource["resource"]["attributes"][0];
            assert_eq!(name["key"], "service.name");
            assert_eq!(name["value"]["stringValue"], "roomcast");
            let all = resource["scopeSpans"][0]["spans"].as_array().unwrap();
            spans.extend(all.iter().filter(|it| it["traceId"] == trace).cloned());
        }
        spans
    }
}

fn read_request(stream: &mut std::net::TcpStream) -> Option<(String, Value)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let length = head.split("content-length: ").nth(1).unwrap();
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some((head, serde_json::from_slice(&body).unwrap()))
}

fn with_tracing(config: &mut Config, url: &str, sample: f64) {
    config.server.shards = Some(3);
    config.tracing.endpoint = url.to_owned();
    config.tracing.sample = sample;
    config.api_keys = vec![ApiKey {
        name: "shop".to_owned(),
        key: KEY.to_owned().into(),
        rights: Right::ALL.to_vec(),
        rate: 0,
        ..ApiKey::default()
    }];
}

fn publish(server: &RunningServer, headers: &[&str]) -> Answer {
    let bearer = format!("authorization: Bearer {KEY}");
    let headers: Vec<&str> = [&*bearer]
        .into_iter()
        .chain(headers.iter().copied())
        .collect();
    let path = "/api/v1/rooms/relay:1/messages";
    let body = r#"{"type":"chat","payload":"hello"}"#;
    request(address(server), "POST", path, &headers, body)
}

fn named<'a>(spans: &'a [Value], name: &str) -> Vec<&'a Value> {
    spans.iter().filter(|it| it["name"] == name).collect()
}

fn nanos(span: &Value, field: &str) -> u128 {
    span[field].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_message_is_followed_from_the_request_to_the_last_write() {
    let collector = Collector::start();
    let server = start(|config| with_tracing(config, &collector.url, 0.0));
    // On three shards, in both formats.
    let mut clients: Vec<Client> = (0..6)
        .map(|nth| match nth % 2 {
            0 => Client::json(address(&server)),
            _ => Client::protobuf(address(&server)),
        })
        .collect();
    clients
        .iter_mut()
        .for_each(|client| drop(client.join("relay:1")));
    let parent = format!("traceparent: 00-{TRACE}-{CALLER}-01");
    let answer = publish(&server, &[&parent]);
    assert_eq!(answer.status, 200, "{answer:?}");
    clients
        .iter_mut()
        .for_each(|client| drop(client.expect_chat()));
    // The request, the append, and two steps on each shard.
    let spans = collector.spans(TRACE, 8);
    assert_eq!(spans.len(), 8, "{spans:#?}");
    let asked = named(&spans, "POST /api/v1/rooms/{room}/messages");
    assert_eq!(asked.len(), 1, "{spans:#?}");
    let asked = asked[0];
    assert_eq!(
        (&asked["parentSpanId"], &asked["kind"]),
        (&CALLER.into(), &2.into())
    );
    let told = answer.header("traceparent").unwrap();
    assert_eq!(
        told,
        format!("00-{TRACE}-{}-01", asked["spanId"].as_str().unwrap())
    );
    let append = named(&spans, "append");
    assert_eq!(append.len(), 1);
    assert_eq!(append[0]["parentSpanId"], asked["spanId"]);
    assert!(nanos(append[0], "startTimeUnixNano") >= nanos(asked, "startTimeUnixNano"));
    assert!(nanos(append[0], "endTimeUnixNano") <= nanos(asked, "endTimeUnixNano"));
    let (delivered, written) = (named(&spans, "deliver"), named(&spans, "last write"));
    assert_eq!((delivered.len(), written.len()), (3, 3));
    let mut shards = Vec::new();
    for deliver in &delivered {
        assert_eq!(deliver["parentSpanId"], append[0]["spanId"]);
        assert_eq!(deliver["attributes"][1]["value"]["intValue"], "2");
        let of_it: Vec<_> = written
            .iter()
            .filter(|it| it["parentSpanId"] == deliver["spanId"])
            .collect();
        assert_eq!(of_it.len(), 1, "{spans:#?}");
        assert_eq!(of_it[0]["attributes"][0], deliver["attributes"][0]);
        shards.push(deliver["attributes"][0]["value"]["intValue"].to_string());
    }
    shards.sort();
    assert_eq!(shards, ["\"0\"", "\"1\"", "\"2\""]);
    // A unix time of this century, in nanoseconds.
    assert!(nanos(asked, "startTimeUnixNano") > 1_600_000_000_000_000_000);
    eventually("it is counted", || {
        metric(&server, "roomcast_spans_total{outcome=\"sent\"}") == 8
    });
    // Who says that it does not trace, and who says nothing with `sample = 0`, is not traced.
    let not = format!("traceparent: 00-{TRACE}-{CALLER}-00");
    assert_eq!(publish(&server, &[&not]).header("traceparent"), None);
    assert_eq!(publish(&server, &[]).header("traceparent"), None);
}

#[test]
fn a_trace_begins_here_where_nobody_has_begun_it() {
    let collector = Collector::start();
    let server = start(|config| with_tracing(config, &collector.url, 1.0));
    let answer = publish(&server, &["traceparent: nonsense"]);
    let told = answer.header("traceparent").unwrap().to_owned();
    let trace = told.split('-').nth(1).unwrap();
    // Nobody is in the room: it is not delivered.
    let spans = collector.spans(trace, 2);
    let asked = named(&spans, "POST /api/v1/rooms/{room}/messages")[0];
    assert_eq!(asked.get("parentSpanId"), None);
    assert_eq!(named(&spans, "append")[0]["parentSpanId"], asked["spanId"]);
    // A stranger fills no collector.
    let path = "/api/v1/rooms/relay:1/messages";
    let none = request(address(&server), "POST", path, &[], "{}");
    assert_eq!((none.status, none.header("traceparent")), (401, None));
}

#[test]
fn a_collector_is_shown_what_is_in_the_file_and_no_log_is() {
    let collector = Collector::start();
    let headers = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(headers.path(), "Authorization: Bearer first\n").unwrap();
    let server = start(|config| {
        with_tracing(config, &collector.url, 1.0);
        config.tracing.headers_path = headers.path().to_str().unwrap().to_owned();
        config.auth.reload_interval = std::time::Duration::from_millis(10);
    });
    let shown = || {
        assert_eq!(publish(&server, &[]).status, 200);
        let (head, _) = collector.requests.recv_timeout(DEADLINE).unwrap();
        let line = head
            .lines()
            .find_map(|it| it.strip_prefix("authorization: "));
        line.unwrap_or_default().to_owned()
    };
    assert_eq!(shown(), "bearer first");
    std::fs::write(headers.path(), "Authorization: Bearer the second\n").unwrap();
    eventually("the file is read anew", || shown() == "bearer the second");
}

#[test]
fn a_collector_that_is_away_costs_nobody_anything() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let server = start(|config| with_tracing(config, &url, 1.0));
    assert_eq!(publish(&server, &[]).status, 200);
    eventually("it is counted", || {
        metric(&server, "roomcast_spans_total{outcome=\"dropped\"}") >= 2
    });
}
