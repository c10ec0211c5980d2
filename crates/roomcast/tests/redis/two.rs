//! Two servers at one Redis are one system.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomcast_client::session::{Config, JoinOptions};
use roomcast_client::{Client, Content, Events, RoomEvent};
use rustix::process::Signal;

use crate::process::{Process, free_address};
use crate::redis_server::Server as Redis;
use crate::{DEADLINE, in_time, ready, settings, start};

/// Servers that know each other, each ready.
pub async fn servers(redis: &Redis, count: usize) -> Vec<Process> {
    servers_with(&settings(redis), count).await
}

pub(crate) async fn servers_with(settings: &[String], count: usize) -> Vec<Process> {
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(start(free_address(), settings));
    }
    for server in &servers {
        ready(server, true).await;
        let begin = Instant::now();
        while server.metric("roomcast_nodes") < count as u64 {
            assert!(begin.elapsed() < DEADLINE);
            // So has `/metrics`.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    servers
}

pub(crate) fn client(address: SocketAddr) -> Client {
    let config = Config {
        backoff_min_ms: 20,
        backoff_max_ms: 200,
        ..Config::default()
    };
    let url = format!("ws://{address}");
    Client::builder(&url).config(config).connect().unwrap()
}

pub(crate) async fn chat(events: &mut Events) -> (u64, String) {
    loop {
        match in_time(events.next()).await.expect("the client was closed") {
            RoomEvent::Message(message) => {
                if let Content::Chat(payload) = &message.content {
                    let offset = message.position.as_ref().unwrap().offset;
                    return (offset, payload.as_text().unwrap().to_owned());
                }
            }
            event @ (RoomEvent::Gap { .. } | RoomEvent::Left(_)) => panic!("{event:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_three_servers_are_in_one_room() {
    let redis = Redis::start([""; 0]);
    let servers = servers(&redis, 3).await;
    let clients: Vec<_> = servers.iter().map(|it| client(it.address)).collect();
    let rooms: Vec<_> = clients.iter().map(|it| it.room("chat:1")).collect();
    let mut events: Vec<_> = rooms.iter().map(|it| it.events()).collect();
    for room in &rooms {
        in_time(room.join(JoinOptions::default())).await.unwrap();
    }
    for round in 0..20 {
        for (at, room) in rooms.iter().enumerate() {
            let text = format!("{round} of {at}");
            let sent = in_time(room.chat(text.clone())).await.unwrap();
            for events in &mut events {
                assert_eq!(chat(events).await, (sent.offset, text.clone()));
            }
        }
    }
    for room in &rooms {
        assert_eq!(room.members().unwrap().listed.len(), 3);
    }
}

/// A room's home, somebody else, and somebody who has only been told by others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_killed_and_its_rooms_and_clients_go_on_at_another() {
    let redis = Redis::start([""; 0]);
    let mut servers = servers(&redis, 2).await;
    let (a, b) = (servers.remove(0), servers.remove(0));
    let gone = a.address;
    let (ada, bob) = (client(gone), client(b.address));
    let (adas, bobs) = (ada.room("chat:1"), bob.room("chat:1"));
    let (mut ada_hears, mut bob_hears) = (adas.events(), bobs.events());
    // The home is where the first one asks.
    in_time(adas.join(JoinOptions::default())).await.unwrap();
    in_time(bobs.join(JoinOptions::default())).await.unwrap();
    let one = in_time(adas.chat("one")).await.unwrap();
    assert_eq!(chat(&mut bob_hears).await, (one.offset, "one".to_owned()));
    assert_eq!(chat(&mut ada_hears).await, (one.offset, "one".to_owned()));
    a.kill();
    let two = in_time(bobs.chat("two")).await.unwrap();
    assert!(two.offset > one.offset);
    assert_eq!(chat(&mut bob_hears).await, (two.offset, "two".to_owned()));
    // Another server takes the address that was killed: the client can't tell.
    let a = start(gone, &settings(&redis));
    assert_eq!(chat(&mut ada_hears).await, (two.offset, "two".to_owned()));
    let three = in_time(adas.chat("three")).await.unwrap();
    assert_eq!(
        chat(&mut bob_hears).await,
        (three.offset, "three".to_owned())
    );
    drop(a);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_politely_hands_its_rooms_over() {
    let redis = Redis::start([""; 0]);
    let mut settings = settings(&redis);
    // A takeover that waits for the end of the lease is not to be mistaken for this.
    settings.push("redis.lease=6s".to_owned());
    settings.push("shutdown.delay=50ms".to_owned());
    let mut servers = servers_with(&settings, 2).await;
    let (a, b) = (servers.remove(0), servers.remove(0));
    let (ada, bob) = (client(a.address), client(b.address));
    let (adas, bobs) = (ada.room("chat:1"), bob.room("chat:1"));
    let mut bob_hears = bobs.events();
    in_time(adas.join(JoinOptions::default())).await.unwrap();
    in_time(bobs.join(JoinOptions::default())).await.unwrap();
    let one = in_time(adas.chat("one")).await.unwrap();
    assert_eq!(chat(&mut bob_hears).await, (one.offset, "one".to_owned()));
    let begin = Instant::now();
    a.signal(Signal::TERM);
    assert!(a.ended_well());
    let two = in_time(bobs.chat("two")).await.unwrap();
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(two.offset > one.offset);
    assert_eq!(chat(&mut bob_hears).await, (two.offset, "two".to_owned()));
    // Nobody has left, and nobody who is elsewhere was sent away.
    assert_eq!(bobs.members().unwrap().listed.len(), 2);
    assert_eq!(b.metric("roomcast_sessions_resumed_total"), 0);
    // Of what was given up nothing was lost to somebody else.
    assert_eq!(b.metric("roomcast_rooms_lost_total"), 0);
}
