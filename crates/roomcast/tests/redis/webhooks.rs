//! What a backend is to be told waits in Redis, and outlives the server that knew it first.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use roomcast_client::session::JoinOptions;
use roomcast_client::{Client, Room};
use tokio::task::block_in_place;

use crate::process::Process;
use crate::receiver::{Do, Got, Receiver, SECRETS};
use crate::redis_cluster::RedisCluster;
use crate::redis_server::Server as Redis;
use crate::two::{client, servers_with};
use crate::{DEADLINE, in_time, settings, spread};

const SAID: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_backend_outlives_the_server_that_is_killed() {
    let redis = Redis::start([""; 0]);
    outlives_its_server(settings(&redis)).await;
}

/// The lanes of a webhook are in one slot, and the rooms that it is about in all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_with_a_redis_cluster() {
    let redis = RedisCluster::start(0);
    outlives_its_server(spread::settings(&redis)).await;
}

async fn outlives_its_server(settings: Vec<String>) {
    let Waiting { receiver, a, b, .. } = Waiting::start(settings).await;
    a.kill();
    all_come(receiver, &b).await;
}

/// Redis has nothing any more, or what it had when half of the events were there; then the half that it has is not there
/// twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_backend_is_given_again_to_a_redis_that_lacks_it() {
    for is_empty in [true, false] {
        let mut redis = Redis::start(["--save", "", "--appendonly", "no"]);
        let waiting = Waiting::start(settings(&redis)).await;
        if is_empty {
            block_in_place(|| redis.restart_empty());
        } else {
            redis.ask("SAVE");
            waiting.say(SAID).await;
            block_in_place(|| redis.restart());
        }
        let said = if is_empty { SAID } else { 2 * SAID };
        waiting.are_kept(said).await;
        let Waiting { receiver, b, .. } = waiting;
        let got = all_come_of(receiver, said, &b).await;
        let dropped = got.iter().map(|it| it.json()["dropped"].as_u64());
        assert_eq!(dropped.flatten().sum::<u64>(), 0);
    }
}

/// Two servers, events of rooms of both, and a receiver that takes none.
struct Waiting {
    receiver: Receiver,
    a: Process,
    b: Process,
    rooms: [Room; 3],
    _ada: Client,
}

impl Waiting {
    async fn start(mut settings: Vec<String>) -> Waiting {
        let receiver = Receiver::start();
        receiver.then(Some(Do::Hang));
        settings.push(format!("webhooks.shop.url={}", receiver.url()));
        settings.push(format!("webhooks.shop.secret={}", SECRETS[0]));
        settings.push("webhooks.shop.events=message".to_owned());
        settings.push("webhooks.shop.batch_events=7".to_owned());
        settings.push("webhooks.shop.timeout=200ms".to_owned());
        let mut servers = servers_with(&settings, 2).await;
        let (a, b) = (servers.remove(0), servers.remove(0));
        let ada = client(a.address);
        // With a Cluster each is at another master.
        let rooms = [0, 1, 2].map(|master| ada.room(&spread::room_at(master)));
        for room in &rooms {
            in_time(room.join(JoinOptions::default())).await.unwrap();
        }
        let waiting = Waiting {
            receiver,
            a,
            b,
            rooms,
            _ada: ada,
        };
        waiting.say(0).await;
        waiting.are_kept(SAID).await;
        waiting
    }

    /// Says so many things, the first of them with this number.
    async fn say(&self, first: usize) {
        for at in first..first + SAID {
            let room = &self.rooms[at % self.rooms.len()];
            in_time(room.chat(at.to_string())).await.unwrap();
        }
    }

    /// Waits until Redis has so many events, and the servers none that it lacks.
    async fn are_kept(&self, count: usize) {
        let begin = Instant::now();
        // As Redis has told either of them: who has nothing to send does not ask.
        let waiting = |server: &Process, place: &str| {
            let name = format!("roomcast_webhook_waiting{{webhook=\"shop\",where=\"{place}\"}} ");
            let text = server.get("/metrics");
            let mut values = text.lines().filter_map(|line| line.strip_prefix(&*name));
            values.next().unwrap().parse::<usize>().unwrap()
        };
        let (a, b) = (&self.a, &self.b);
        while waiting(a, "redis").max(waiting(b, "redis")) != count
            || waiting(a, "process") + waiting(b, "process") > 0
        {
            assert!(begin.elapsed() < DEADLINE, "they are not kept");
            // `/metrics` has to be asked.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn all_come(receiver: Receiver, server: &Process) -> Vec<Got> {
    all_come_of(receiver, SAID, server).await
}

/// Takes all, and sees that each comes, in the order of its room, and that nothing is left.
async fn all_come_of(receiver: Receiver, count: usize, server: &Process) -> Vec<Got> {
    receiver.then(None);
    let taken = tokio::task::spawn_blocking(move || {
        let got = receiver.wait("all of them", |got| {
            let events = got.iter().filter(|it| it.taken).flat_map(|it| it.events());
            let ids: BTreeSet<_> = events.map(|it| it["id"].to_string()).collect();
            ids.len() == count
        });
        (receiver, got)
    });
    // It stays until its last answer has come.
    let (_receiver, taken) = in_time(taken).await.unwrap();
    let mut seen = BTreeSet::new();
    let mut said = [const { Vec::new() }; 3];
    for event in taken
        .iter()
        .filter(|it| it.taken)
        .flat_map(|it| it.events())
    {
        if seen.insert(event["id"].to_string()) {
            let payload = event["message"]["payload"].as_str().unwrap();
            said[payload.parse::<usize>().unwrap() % 3].push(payload.to_owned());
        }
    }
    for (nth, said) in said.iter().enumerate() {
        let expected: Vec<_> = (nth..count).step_by(3).map(|at| at.to_string()).collect();
        assert_eq!(*said, expected, "each, in the order of the room");
    }
    assert!(taken.iter().all(|it| it.is_signed_by(SECRETS[0])));
    // Nothing is left.
    let begin = Instant::now();
    while server.metric("roomcast_webhook_waiting") > 0 {
        assert!(begin.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    taken
}
