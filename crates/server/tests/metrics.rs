//! `/metrics` is what a Prometheus reads, and counts what happened.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Client, address, start};

#[test]
fn the_text_is_well_formed_and_documented() {
    let server = start(|config| config.server.shards = Some(2));
    let mut clients = [
        Client::json(address(&server)),
        Client::protobuf(address(&server)),
    ];
    for client in &mut clients {
        client.join("relay:1");
    }
    clients[0].chat("relay:1", "hello");
    for client in &mut clients {
        client.expect_chat();
    }
    let text = server.metrics();
    let mut types = BTreeMap::new();
    let mut samples = BTreeSet::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("# TYPE ") {
            let (name, kind) = header.split_once(' ').unwrap();
            assert!(types.insert(name, kind).is_none(), "{name} twice");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
            assert!(samples.insert(sample), "{sample} twice");
            let name = sample.split('{').next().unwrap();
            let family = ["", "_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| types.get(name.strip_suffix(suffix)?));
            let kind = family.unwrap_or_else(|| panic!("no type for {line}"));
            assert!(name.starts_with("roomcast_"), "{line}");
            assert_eq!(name.ends_with("_total"), *kind == "counter", "{line}");
            assert!(
                !sample.contains("relay:1"),
                "no room may be a label: {line}"
            );
        }
    }
    for family in types.keys() {
        assert!(
            roomcast_server::metrics::reference().contains(&format!("| `{family}` |")),
            "{family}"
        );
    }
}

#[test]
fn what_happened_is_counted() {
    let server = start(|_| {});
    let mut json = Client::json(address(&server));
    let mut protobuf = Client::protobuf(address(&server));
    json.join("relay:1");
    protobuf.join("relay:1");
    for _ in 0..3 {
        json.chat("relay:1", "hello");
        protobuf.expect_chat();
        json.expect_chat();
    }
    for (name, value) in [
        ("roomcast_connections{shard=\"0\"}", 2),
        ("roomcast_rooms{shard=\"0\"}", 1),
        ("roomcast_connections_opened_total", 2),
        ("roomcast_http_upgraded_total", 2),
        (
            "roomcast_messages_in_total{format=\"json\",type=\"chat\"}",
            3,
        ),
        (
            "roomcast_messages_in_total{format=\"protobuf\",type=\"join_room\"}",
            1,
        ),
        (
            "roomcast_messages_out_total{format=\"protobuf\",type=\"chat\"}",
            3,
        ),
        // Two joins and three chats.
        ("roomcast_events_total", 5),
        ("roomcast_kind_rooms{kind=\"relay\"}", 1),
        ("roomcast_kind_members{kind=\"relay\"}", 2),
        ("roomcast_kind_messages_total{kind=\"relay\"}", 3),
        ("roomcast_kind_messages_total{kind=\"default\"}", 0),
        ("roomcast_lane_pieces{shard=\"0\"}", 0),
        ("roomcast_link_bytes{shard=\"0\"}", 0),
        ("roomcast_late_shards", 0),
    ] {
        assert_eq!(common::metric(&server, name), value, "{name}");
    }
    assert!(common::metric(&server, "roomcast_latency_seconds_count") >= 6);
    assert!(common::metric(&server, "roomcast_socket_written_bytes_total") > 0);
}
