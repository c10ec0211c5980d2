//! Servers that reach each other without Redis (`cluster.listen`).

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use roomcast_client::session::JoinOptions;

use crate::ports::free_port;
use crate::process::Process;
use crate::redis_server::Server as Redis;
use crate::two::{chat, client, servers_with};
use crate::{DEADLINE, in_time, settings};

/// Until the metric has this value.
fn until(server: &Process, metric: &str, is: u64) {
    let begin = Instant::now();
    while server.metric(metric) != is {
        assert!(begin.elapsed() < DEADLINE, "{}", server.log());
        // `/metrics` has to be asked.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// How often something was published at this Redis.
fn publishes(redis: &Redis) -> u64 {
    let stats = redis.text("INFO commandstats");
    let line = stats.lines().find(|it| it.starts_with("cmdstat_publish:"));
    let calls = line.and_then(|it| it.split_once("calls=")?.1.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

/// Each says so much, and all hear it.
async fn talk(servers: &[Process], rounds: usize) {
    let clients: Vec<_> = servers.iter().map(|it| client(it.address)).collect();
    let rooms: Vec<_> = clients.iter().map(|it| it.room("chat:1")).collect();
    let mut events: Vec<_> = rooms.iter().map(|it| it.events()).collect();
    for room in &rooms {
        in_time(room.join(JoinOptions::default())).await.unwrap();
    }
    for round in 0..rounds {
        for (at, room) in rooms.iter().enumerate() {
            let text = format!("{round} of {at}");
            in_time(room.chat(text.clone())).await.unwrap();
            for events in &mut events {
                assert_eq!(chat(events).await.1, text);
            }
        }
    }
    for client in clients {
        in_time(client.close()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_listen_for_each_other_publish_nothing_at_redis() {
    let redis = Redis::start([""; 0]);
    let mut settings = settings(&redis);
    settings.push("cluster.listen=127.0.0.1:0".to_owned());
    let servers = servers_with(&settings, 2).await;
    for server in &servers {
        until(server, "roomcast_nodes_connected", 1);
    }
    let before = publishes(&redis);
    talk(&servers, 20).await;
    assert_eq!(publishes(&redis), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_listen_is_reached_over_redis() {
    let redis = Redis::start([""; 0]);
    let mut settings = settings(&redis);
    let mut servers = servers_with(&settings, 1).await;
    settings.push("cluster.listen=127.0.0.1:0".to_owned());
    servers.extend(servers_with(&settings, 1).await);
    for server in &servers {
        until(server, "roomcast_nodes", 2);
    }
    talk(&servers, 5).await;
    assert!(publishes(&redis) > 0);
    assert_eq!(servers[1].metric("roomcast_nodes_connected"), 0);
}

/// A wire to where another server listens, which can be cut.
struct Wire {
    address: SocketAddr,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    fn start(to: SocketAddr) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ends = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&ends);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(to) else {
                    continue;
                };
                let mut ends = shared.lock().unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    ends.push(from.try_clone().unwrap());
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Wire { address, ends }
    }

    fn cut(&self) {
        for end in self.ends.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cut_connection_had_is_sent_again() {
    let redis = Redis::start([""; 0]);
    let mut settings = settings(&redis);
    settings.push("cluster.listen=127.0.0.1:0".to_owned());
    let mut servers = servers_with(&settings, 1).await;
    let listens = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let wire = Wire::start(listens);
    settings.pop();
    settings.push(format!("cluster.listen={listens}"));
    settings.push(format!("cluster.advertise={}", wire.address));
    servers.extend(servers_with(&settings, 1).await);
    until(&servers[0], "roomcast_nodes_connected", 1);
    let talking = talk(&servers, 60);
    let cutting = async {
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
            wire.cut();
        }
    };
    tokio::join!(talking, cutting);
    until(&servers[0], "roomcast_nodes_connected", 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_not_heard() {
    let redis = Redis::start([""; 0]);
    let listens = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut settings = settings(&redis);
    settings.push(format!("cluster.listen={listens}"));
    let servers = servers_with(&settings, 1).await;
    // The greeting of another protocol, nothing that proves anything, and silence.
    let mut silent = TcpStream::connect(listens).unwrap();
    for said in [&[b'G'; 200][..], &[b"RCP\x01", &[0; 200][..]].concat()] {
        let mut stranger = TcpStream::connect(listens).unwrap();
        stranger.set_read_timeout(Some(DEADLINE)).unwrap();
        stranger.write_all(said).unwrap();
        let mut heard = Vec::new();
        // It may be reset, as it has said more than anybody reads.
        let _ = stranger.read_to_end(&mut heard);
        assert!(heard.len() <= 44 + 32, "no more than a hello and a proof");
    }
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "it is closed in time");
    talk(&servers, 1).await;
}
