//! What servers ask of Redis while nothing happens: their beats, and nothing for each session, room or webhook.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use roomcast_client::Client;
use roomcast_client::session::JoinOptions;

use crate::process::Process;
use crate::receiver::{Receiver, SECRETS};
use crate::redis_server::Server as Redis;
use crate::two::{client, servers_with};
use crate::{DEADLINE, in_time, settings};

/// Beats of each server that are counted. Three of them are a lease.
const BEATS: u64 = 12;

/// What the script of a beat asks for, once each.
const OF_A_BEAT: [&str; 5] = ["evalsha", "hget", "hgetall", "hset", "time"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_rest_a_server_beats_and_asks_for_nothing_else() {
    let redis = Redis::start([""; 0]);
    rest(&redis, settings(&redis)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_has_nothing_to_tell_asks_for_nothing() {
    let redis = Redis::start([""; 0]);
    let receiver = Receiver::start();
    let mut settings = settings(&redis);
    settings.push(format!("webhooks.shop.url={}", receiver.url()));
    settings.push(format!("webhooks.shop.secret={}", SECRETS[0]));
    settings.push("webhooks.shop.events=room.opened,member.joined,session.began".to_owned());
    rest(&redis, settings).await;
    let told = receiver.wait("what was told before", |got| !got.is_empty());
    assert!(told.iter().all(|it| it.taken));
}

/// With few sessions and rooms, and with many of both.
async fn rest(redis: &Redis, mut settings: Vec<String>) {
    settings.push("heartbeat.ping_interval=100ms".to_owned());
    settings.push("heartbeat.pong_timeout=1h".to_owned());
    let servers = servers_with(&settings, 3).await;
    let mut clients = Vec::new();
    for (each, rooms) in [(1, 2), (20, 40)] {
        for at in 0..each * servers.len() {
            let client = client(servers[at % servers.len()].address);
            for room in [at % rooms, (at + 1) % rooms] {
                let room = client.room(&format!("chat:{room}"));
                in_time(room.join(JoinOptions::default())).await.unwrap();
            }
            clients.push(client);
        }
        is_quiet(redis, &servers, &clients);
    }
}

/// Waits until, while all clients say that they live, Redis is asked for nothing but beats.
fn is_quiet(redis: &Redis, servers: &[Process], clients: &[Client]) {
    let begin = Instant::now();
    loop {
        let (beats, heard) = (
            sum(servers, BEATS_SEEN),
            sum(servers, "roomcast_messages_in_total"),
        );
        let before = calls(redis);
        let each: Vec<u64> = servers.iter().map(|it| it.metric(BEATS_SEEN)).collect();
        let is_over = || {
            let beaten = servers.iter().zip(&each);
            beaten
                .into_iter()
                .all(|(it, before)| it.metric(BEATS_SEEN) >= before + BEATS)
                && sum(servers, "roomcast_messages_in_total") >= heard + clients.len() as u64
        };
        while !is_over() {
            assert!(
                begin.elapsed() < DEADLINE,
                "servers do not beat, or clients are silent"
            );
            // `/metrics` has to be asked.
            std::thread::sleep(Duration::from_millis(20));
        }
        let after = calls(redis);
        // Of each server one may be under way.
        let beats = sum(servers, BEATS_SEEN) - beats + servers.len() as u64;
        let more = too_many(&before, &after, beats);
        if more.is_empty() {
            return;
        }
        assert!(
            begin.elapsed() < DEADLINE / 2,
            "in {beats} beats with {} sessions: {more:?}",
            clients.len()
        );
    }
}

const BEATS_SEEN: &str = "roomcast_beats_total";

fn sum(servers: &[Process], metric: &str) -> u64 {
    servers.iter().map(|it| it.metric(metric)).sum()
}

/// Commands that were asked for more often than these beats need.
fn too_many(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
    beats: u64,
) -> Vec<(String, u64)> {
    let most = |command: &str| match command {
        // Which Redis it is: the script asks. And this test, twice.
        "info" => beats + 2,
        // Whether the connection on which a server listens is there still: after 1.5 s of silence.
        "ping" => beats / 2,
        command if OF_A_BEAT.contains(&command) => beats,
        _ => 0,
    };
    let calls = after.iter().map(|(command, calls)| {
        let since = calls - before.get(command).unwrap_or(&0);
        (command.clone(), since)
    });
    calls
        .filter(|(command, calls)| *calls > most(command))
        .collect()
}

/// How often each command was asked for, by servers or by their scripts.
fn calls(redis: &Redis) -> BTreeMap<String, u64> {
    let text = redis.text("INFO commandstats");
    let lines = text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let (calls, _) = rest.split_once(',')?;
        Some((name.to_owned(), calls.parse().unwrap()))
    });
    lines.collect()
}
