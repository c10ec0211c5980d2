//! The committed documents are what the table of keys says.
//!
//! `UPDATE_DOCUMENTS=1 cargo test -p roomcast-server --test documents` writes them anew.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;

use roomcast_server::config::{self, Config, Sources};

fn same_as_committed(path: &str, fresh: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&path, fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == fresh,
        "{} is out of date: UPDATE_DOCUMENTS=1 cargo test -p roomcast-server --test documents",
        path.display()
    );
}

#[test]
fn the_reference_is_up_to_date() {
    same_as_committed("docs/configuration.md", &config::reference());
}

#[test]
fn the_example_is_up_to_date() {
    same_as_committed("roomcast.example.toml", &config::example());
}

#[test]
fn the_metrics_are_up_to_date() {
    let fresh = format!("{METRICS}{}", roomcast_server::metrics::reference());
    same_as_committed("docs/metrics.md", &fresh);
}

const METRICS: &str = "\
# Metrics

`GET /metrics` answers in the Prometheus text format. By default only the loopback addresses of `server.listen` serve it,
and only to programs on this machine. A request that came by a proxy, or says so with a header such as `X-Forwarded-For`,
gets a 404. `server.metrics` and `admin.listen` change that ([configuration.md](configuration.md)). No metric is labelled by
user or room.

A shard is one of the server's worker threads. Each shard counts by itself, and answers a scrape in the next turn of its
event loop. If a shard takes longer than 250 ms, its numbers of an earlier scrape are shown (`roomcast_late_shards`). Words
such as *session*, *lagging* or *log* are explained in [protocol.md](protocol.md#words).

";

fn load(text: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roomcast.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&Sources {
        file: Some(path),
        ..Sources::default()
    })
    .unwrap()
    .config
}

#[test]
fn the_example_is_right_as_it_is_and_with_every_key_taken_in() {
    let example = config::example();
    let default = format!("{:?}", Config::default());
    assert_eq!(format!("{:?}", load(&example)), default);
    let mut keys = 0;
    let mut taken_in = String::new();
    for line in example.lines() {
        let key = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        keys += usize::from(key.is_some());
        taken_in.push_str(key.unwrap_or(line));
        taken_in.push('\n');
    }
    assert!(keys > 50, "{keys}");
    assert_eq!(format!("{:?}", load(&taken_in)), default);
}

#[test]
fn the_files_in_the_reference_are_right() {
    let reference = config::reference();
    let blocks = reference
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let configs: Vec<Config> = blocks.map(load).collect();
    assert_eq!(configs.len(), 2);
    assert_eq!(configs[0].limits.connections, 0);
    assert_eq!(configs[1].kinds.len(), 3);
}
