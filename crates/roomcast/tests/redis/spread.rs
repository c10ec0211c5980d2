//! Two servers at a Redis Cluster of three masters.

use std::net::SocketAddr;

use roomcast_client::Client;
use roomcast_client::session::{Config, JoinOptions};
use roomcast_core::store::{KeyOf, Slot};

use crate::process::{Process, free_address};
use crate::redis_cluster::RedisCluster;
use crate::{DEADLINE, SECRET, in_time, ready, start};

pub(crate) fn settings(redis: &RedisCluster) -> Vec<String> {
    vec![
        SECRET.to_owned(),
        "server.engine=redis".to_owned(),
        "redis.mode=cluster".to_owned(),
        format!("redis.urls={}", redis.url()),
        "redis.lease=2s".to_owned(),
        "redis.not_ready_after=500ms".to_owned(),
        "server.shards=2".to_owned(),
    ]
}

fn client(address: SocketAddr) -> Client {
    let config = Config {
        backoff_min_ms: 20,
        backoff_max_ms: 200,
        ..Config::default()
    };
    let url = format!("ws://{address}");
    Client::builder(&url).config(config).connect().unwrap()
}

/// A room whose record is at this master.
pub(crate) fn room_at(master: u16) -> String {
    let third = |room: &str| u32::from(Slot::of(KeyOf::Room(room)).0) * 3 / u32::from(Slot::COUNT);
    let mut rooms = (0..).map(|number| format!("chat:{number}"));
    rooms.find(|room| third(room) == u32::from(master)).unwrap()
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !done() {
        assert!(begin.elapsed() < DEADLINE, "waited in vain for {what}");
        // `/metrics` has to be asked.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_at_three_masters_and_where_one_is_away_the_others_go_on() {
    let redis = RedisCluster::start(0);
    let settings = settings(&redis);
    let servers: Vec<Process> = [(); 2].map(|()| start(free_address(), &settings)).into();
    for server in &servers {
        ready(server, true).await;
        assert_eq!(server.metric("roomcast_redis_masters"), 3);
        wait("a lease at each", || server.metric("roomcast_lease") == 3);
        wait("the other", || server.metric("roomcast_nodes") == 2);
    }
    let (ada, bob) = (client(servers[0].address), client(servers[1].address));
    let names = [0, 1, 2].map(room_at);
    let (adas, bobs) = (
        names.each_ref().map(|it| ada.room(it)),
        names.each_ref().map(|it| bob.room(it)),
    );
    for at in 0..3 {
        in_time(adas[at].join(JoinOptions::default()))
            .await
            .unwrap();
        in_time(bobs[at].join(JoinOptions::default()))
            .await
            .unwrap();
        let one = in_time(adas[at].chat("one")).await.unwrap();
        let two = in_time(bobs[at].chat("two")).await.unwrap();
        assert_eq!(two.offset, one.offset + 1);
        let room = &names[at];
        assert!(
            redis.keys_in(at, usize::from(Slot::of(KeyOf::Room(room)).0)) > 0,
            "{room}"
        );
    }

    redis.nodes[0].signal("STOP");
    for server in &servers {
        wait("the end of the lease", || {
            server.metric("roomcast_lease") == 2
        });
    }
    let waits = tokio::spawn({
        let room = ada.room(&names[0]);
        async move { room.chat("three").await }
    });
    for at in [1, 2] {
        in_time(adas[at].chat("three")).await.unwrap();
        in_time(bobs[at].chat("four")).await.unwrap();
    }
    for server in &servers {
        ready(server, true).await;
    }
    assert!(!waits.is_finished(), "nothing is confirmed");
    redis.nodes[0].signal("CONT");
    in_time(waits).await.unwrap().unwrap();
    for server in &servers {
        wait("a lease at each", || server.metric("roomcast_lease") == 3);
        assert_eq!(
            server.metric("roomcast_links_lost_total"),
            0,
            "{}",
            server.log()
        );
    }
}
