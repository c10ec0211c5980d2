//! Where rooms are, and what of them outlives their server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomcast_client::session::JoinOptions;
use roomcast_client::{Action, Client, Room};
use rustix::process::Signal;

use crate::process::{Process, free_address};
use crate::redis_server::Server as Redis;
use crate::two::{client, servers, servers_with};
use crate::{DEADLINE, SECRET, in_time, ready, settings, start};

/// The same with one setting more, or another one instead of one that begins like it.
fn with(settings: &[String], setting: &str) -> Vec<String> {
    let (name, _) = setting.split_once('=').unwrap();
    let others = settings.iter().filter(|it| !it.starts_with(name));
    others.cloned().chain([setting.to_owned()]).collect()
}

/// Waits until it is so.
async fn until(what: &str, is: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < DEADLINE, "{what}");
        // Metrics and logs have to be asked.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_clients_of_one_server_need_are_at_home_on_all() {
    let redis = Redis::start([""; 0]);
    let servers = servers(&redis, 3).await;
    let ada = client(servers[0].address);
    let rooms: Vec<_> = (0..60)
        .map(|room| ada.room(&format!("chat:{room}")))
        .collect();
    for room in &rooms {
        in_time(room.join(JoinOptions::default())).await.unwrap();
    }
    // Rank alone is even within a few; what is late is at home where it was asked for.
    let homes = || -> Vec<_> {
        servers
            .iter()
            .map(|it| it.metric("roomcast_rooms"))
            .collect()
    };
    let all = || homes().iter().sum::<u64>() == 60;
    until("each room has one home", all).await;
    let homes = homes();
    assert!(
        homes.iter().all(|count| (8..=40).contains(count)),
        "{homes:?}"
    );
}

/// A room of the kind `default` that is at home on this server, joined by a client of it.
async fn room_at(server: &Process, client: &Client) -> Room {
    for number in 0.. {
        let before = server.metric("roomcast_rooms");
        let room = client.room(&format!("arena-{number}"));
        in_time(room.join(JoinOptions::default())).await.unwrap();
        if server.metric("roomcast_rooms") > before {
            return room;
        }
        in_time(room.leave()).await;
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_room_goes_on_where_it_was_when_its_server_is_killed() {
    let redis = Redis::start([""; 0]);
    let mut servers = servers(&redis, 2).await;
    let (a, b) = (servers.remove(0), servers.remove(0));
    let (ada, bob) = (client(a.address), client(b.address));
    let adas = room_at(&a, &ada).await;
    let bobs = bob.room(adas.name());
    in_time(bobs.join(JoinOptions::default())).await.unwrap();
    let begin = Instant::now();
    let mut x = 0.0;
    // Each chat is in Redis when it is answered, and with one a second all that moved.
    while begin.elapsed() < Duration::from_secs(3) {
        x += 1.0;
        bobs.action(&Action::new("move").at(x, 0.0, 0.0)).unwrap();
        in_time(bobs.chat("here")).await.unwrap();
    }
    a.kill();
    in_time(bobs.chat("there")).await.unwrap();
    let number = bobs.members().unwrap().player_num;
    let seen = || {
        let state = bobs.state();
        let mut own = state.values().filter(|it| it.player_num == number as i32);
        own.next().map_or(0.0, |it| it.position.x)
    };
    // The full state comes with the next tick.
    let server = || b.metric("roomcast_rooms") == 1;
    until("the room has a home", server).await;
    in_time(bobs.chat("still there")).await.unwrap();
    assert!(seen() > x / 3.0, "{} of {x}", seen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_ends_its_lease() {
    let redis = Redis::start([""; 0]);
    let settings = with(&settings(&redis), "redis.lease=29s");
    let settings = with(&settings, "shutdown.delay=50ms");
    let mut servers = servers_with(&settings, 2).await;
    let (a, b) = (servers.remove(0), servers.remove(0));
    a.signal(Signal::TERM);
    assert!(a.ended_well());
    let begin = Instant::now();
    until("it is gone", || b.metric("roomcast_nodes") == 1).await;
    // A beat is a third of a lease.
    assert!(begin.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_redis_does_not_wait_for_the_deadline_when_it_ends() {
    let redis = Redis::start([""; 0]);
    let settings = with(&settings(&redis), "shutdown.delay=50ms");
    let settings = with(&settings, "shutdown.deadline=50s");
    let server = servers_with(&settings, 1).await.remove(0);
    let ada = client(server.address);
    let room = ada.room("chat:1");
    in_time(room.join(JoinOptions::default())).await.unwrap();
    redis.signal("STOP");
    let begin = Instant::now();
    server.signal(Signal::TERM);
    assert!(server.ended_well());
    let took = begin.elapsed();
    redis.signal("CONT");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

fn start_with(settings: &[String]) -> Process {
    start(free_address(), settings)
}

/// Whether a client of this server can open a room.
async fn opens(address: SocketAddr, room: &str) -> bool {
    let client = client(address);
    let room = client.room(room);
    let join = room.join(JoinOptions::default());
    let joined = tokio::time::timeout(Duration::from_secs(5), join).await;
    matches!(joined, Ok(Ok(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_another_secret_is_refused_and_both_say_so() {
    let redis = Redis::start([""; 0]);
    let settings = settings(&redis);
    assert!(settings.iter().any(|it| it == SECRET));
    let a = servers_with(&settings, 1).await.remove(0);
    let other = "session.secret=not the same, and just as long as that one";
    let b = start_with(&with(&settings, other));
    until("the first one has seen it", || {
        a.metric("roomcast_nodes_differing") == 1
    })
    .await;
    until("the second one has seen it", || {
        b.metric("roomcast_nodes_differing") == 1
    })
    .await;
    assert!(a.log().contains("another session.secret"), "{}", a.log());
    assert!(b.log().contains("another session.secret"), "{}", b.log());
    let not_ready = ready(&b, false).await;
    assert!(not_ready.contains("another session.secret"), "{not_ready}");
    assert!(a.is_ready());
    for room in 0..4 {
        assert!(opens(a.address, &format!("chat:{room}")).await);
    }
    assert!(!opens(b.address, "chat:9").await);
    assert_eq!(b.metric("roomcast_rooms"), 0);
    // Alone it is refused by nobody.
    a.kill();
    ready(&b, true).await;
    assert!(opens(b.address, "chat:9").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_other_settings_is_named_once() {
    let redis = Redis::start([""; 0]);
    let settings = settings(&redis);
    let a = servers_with(&settings, 1).await.remove(0);
    let mut others = with(&settings, "session.grace=77s");
    let table = [
        "url=http://127.0.0.1:1/",
        "secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ];
    for set in [table[0], table[1], "events=message"] {
        others.push(format!("webhooks.shop.{set}"));
    }
    for set in [
        table[0],
        table[1],
        "kinds=default",
        "asks=join",
        "silence=allow",
    ] {
        others.push(format!("authorize.shop.{set}"));
    }
    let b = start_with(&others);
    until("the first one has seen it", || {
        a.metric("roomcast_nodes_differing") == 1
    })
    .await;
    until("the second one has seen it", || {
        b.metric("roomcast_nodes_differing") == 1
    })
    .await;
    let beats = a.metric("roomcast_beats_total");
    until("it beats on", || {
        a.metric("roomcast_beats_total") > beats + 3
    })
    .await;
    for server in [&a, &b] {
        let log = server.log();
        let line = log.lines().find(|line| line.contains("other settings"));
        for name in ["session.grace", "webhooks", "authorize"] {
            assert!(line.unwrap().contains(name), "{name}: {log}");
        }
        assert_eq!(log.matches("other settings").count(), 1, "{log}");
    }
    ready(&b, true).await;
    assert!(opens(b.address, "chat:1").await);
}
