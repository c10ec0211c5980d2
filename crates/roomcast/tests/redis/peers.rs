//! Servers that reach each other without Redis (`cluster.listen`).

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use roomcast_client::session::JoinOptions;

use crate::ports::free_port;
use crate::process::Process;
use crate::redis_server::Server as Redis;
use crate::two::{chat, client, servers_with};
use crate::{DEADLINE, in_time, ready, settings};

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
    /// What is connected is cut at once.
    is_closed: Arc<AtomicBool>,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    fn start(to: SocketAddr) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ends = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&ends);
        let is_closed = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&is_closed);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(to) else {
                    continue;
                };
                let mut ends = shared.lock().unwrap();
                if closed.load(Ordering::SeqCst) {
                    continue;
                }
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
        Wire {
            address,
            is_closed,
            ends,
        }
    }

    /// Nothing goes over it until it is opened.
    fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.cut();
    }

    fn open(&self) {
        self.is_closed.store(false, Ordering::SeqCst);
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

/// Connections that a server has closed so that their clients come back.
fn sent_away(server: &Process) -> u64 {
    let text = server.get("/metrics");
    let mut lines = text.lines();
    let line = lines.find(|it| it.starts_with(r#"roomcast_closes_total{code="4000""#));
    line.map_or(0, |it| it.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_alone_has_no_redis_sends_its_clients_away() {
    let redis = Redis::start([""; 0]);
    let mut servers = Vec::new();
    let mut wires = Vec::new();
    for _ in 0..2 {
        let wire = Wire::start(SocketAddr::from(([127, 0, 0, 1], redis.port)));
        let mut settings = settings(&redis);
        settings.retain(|it| !it.starts_with("redis."));
        // No server may be taken for dead before that is the test's doing.
        settings.push("redis.lease=3s".to_owned());
        settings.push(format!("redis.urls=redis://{}", wire.address));
        settings.push("cluster.listen=127.0.0.1:0".to_owned());
        settings.push("session.grace=9s".to_owned());
        settings.push("redis.not_ready_after=100ms".to_owned());
        servers.extend(servers_with(&settings, 1).await);
        wires.push(wire);
    }
    for server in &servers {
        until(server, "roomcast_nodes_connected", 1);
    }
    let clients: Vec<_> = servers.iter().map(|it| client(it.address)).collect();
    for client in &clients {
        in_time(client.room("chat:1").join(JoinOptions::default()))
            .await
            .unwrap();
    }
    // Where none has Redis all stay, also when a third of the grace is over.
    wires.iter().for_each(Wire::close);
    for server in &servers {
        ready(server, false).await;
    }
    let begin = Instant::now();
    while begin.elapsed() < std::time::Duration::from_secs(6) {
        // Nothing tells of what does not happen. A slow machine sees less of it, and does not fail.
        assert_eq!(servers.iter().map(sent_away).sum::<u64>(), 0);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    wires[0].open();
    ready(&servers[0], true).await;
    let begin = Instant::now();
    while sent_away(&servers[1]) == 0 || !servers[1].log().contains("answers other servers") {
        assert!(begin.elapsed() < DEADLINE, "{}", servers[1].log());
        // `/metrics` has to be asked.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
