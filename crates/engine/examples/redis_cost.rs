//! What an append costs Redis: `cargo run --release -p roomcast-engine --example redis_cost`.
//!
//! Starts a `redis-server` of its own, appends to 200 rooms by turns, 50 under way, and prints Redis's processor time for
//! each append, as INFO commandstats has it, without the network.

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use common::history::{client, home};
use common::redis_client::RedisClient;
use common::redis_server::Server;
use roomcast_core::log::Epoch;
use roomcast_core::store::{Answer, Append, Claim, Claimed, FieldKey, Header, Log, Request};
use roomcast_engine::redis::{Commands, Value};

const ROOMS: usize = 200;
const APPENDS: usize = 40_000;
const UNDER_WAY: usize = 50;
/// Events that a room's log keeps.
const KEPT: u64 = 256;

fn main() {
    let server = Server::start([""; 0]);
    let mut redis = RedisClient::connect(server.port, "cost:");
    println!("{}", version(&mut redis));
    for events in [1, 8] {
        let micros = cost(&mut redis, events);
        println!(
            "an append of {events} events of 128 bytes and one sender: {micros:.2} µs, {:.2} µs an event",
            micros / events as f64
        );
    }
}

fn cost(redis: &mut RedisClient, events: u64) -> f64 {
    redis.ask(&[b"FLUSHALL"]);
    let mut headers: Vec<Header> = (0..ROOMS).map(|room| claimed(redis, room)).collect();
    redis.ask(&[b"CONFIG", b"RESETSTAT"]);
    let mut hash = None;
    for i in 0..APPENDS {
        let request = append(i % ROOMS, &mut headers[i % ROOMS], events);
        let command = redis.commands.command(&request, "");
        let hash = hash.get_or_insert_with(|| {
            let text = command.script.text(redis.store);
            let hash = redis.ask(&[b"SCRIPT", b"LOAD", text.as_bytes()]);
            hash.as_bytes().expect("a hash").to_vec()
        });
        let mut parts: Vec<&[u8]> = vec![b"EVALSHA", hash, b"2"];
        parts.extend(command.keys.iter().chain(&command.args).map(Vec::as_slice));
        redis.send(&parts);
        if i % UNDER_WAY == UNDER_WAY - 1 {
            for _ in 0..UNDER_WAY {
                assert_eq!(redis.receive(), Value::Int(0));
            }
        }
    }
    let info = redis.ask(&[b"INFO", b"commandstats"]);
    let lines = info.as_str().expect("a text").lines();
    let line = lines
        .into_iter()
        .find(|it| it.starts_with("cmdstat_evalsha:"));
    let micros = line
        .and_then(|it| {
            it.split(',')
                .find_map(|it| it.strip_prefix("usec_per_call="))
        })
        .and_then(|it| it.parse().ok());
    micros.expect("the time of a call")
}

fn claimed(redis: &mut RedisClient, room: usize) -> Header {
    let claim = Claim {
        room: name(room),
        home: home(0),
        store: redis.store,
        dead: None,
        settled: true,
        epoch: Epoch::from_random(room as u64),
        timestamp: 0,
        has: None,
        ends_after: 86_400_000,
        only_existing: false,
    };
    match redis.apply(&Request::Claim(claim)) {
        Ok(Answer::Claim(Claimed::Loaded(record))) => record.header,
        other => panic!("{other:?}"),
    }
}

fn append(room: usize, header: &mut Header, events: u64) -> Request {
    header.n += 1;
    header.offset += events;
    Request::Append(Arc::new(Append {
        room: name(room),
        header: header.clone(),
        settled: true,
        fields: vec![(FieldKey::Sender(client(1)), Some([0; 24].into()))],
        log: Some(Log {
            last: header.offset,
            events: vec![b'x'; 150 * events as usize].into(),
        }),
        first: (header.offset + 1).saturating_sub(KEPT),
        ends_after: 0,
    }))
}

fn name(room: usize) -> Arc<str> {
    format!("room-{room}").into()
}

fn version(redis: &mut RedisClient) -> String {
    let info = redis.ask(&[b"INFO", b"server"]);
    let mut lines = info.as_str().expect("a text").lines();
    let version = lines.find(|it| it.contains("_version:"));
    version.unwrap_or_default().into()
}
