//! The server ends, politely or not, and is started again: sessions, rooms and logs are there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomcast_client::session::{Config, JoinOptions, Saved, SendOptions};
use roomcast_client::{Action, Client, Content, Events, Publish, Recipient, Room, RoomEvent};

use rustix::process::Signal;

use crate::api::{ask, key};
use crate::process::{Process, free_address};
use crate::redis_server::Server as Redis;
use crate::{DEADLINE, in_time, ready, settings, start};

pub(crate) fn client(address: SocketAddr) -> Client {
    let config = Config {
        backoff_min_ms: 20,
        backoff_max_ms: 200,
        ..Config::default()
    };
    let url = format!("ws://{address}");
    Client::builder(&url).config(config).connect().unwrap()
}

/// The texts of the next `count` chats. No gap may be told.
pub(crate) async fn chats(events: &mut Events, count: usize) -> Vec<(u64, String)> {
    let mut heard = Vec::new();
    while heard.len() < count {
        match in_time(events.next()).await.expect("the client was closed") {
            RoomEvent::Message(message) => {
                if let Content::Chat(payload) = &message.content {
                    let offset = message.position.as_ref().unwrap().offset;
                    heard.push((offset, payload.as_text().unwrap().to_owned()));
                }
            }
            event @ (RoomEvent::Gap { .. } | RoomEvent::Left(_)) => panic!("{event:?}"),
            _ => {}
        }
    }
    heard
}

/// Clients that were there before go on after a restart, and whoever comes then reads what was said before. What a backend
/// has set holds, what waits for a client comes, and players stand where they stood.
///
/// `kills`: the server has no time to write when it ends, so what may wait has to be in this Redis before.
pub(crate) async fn is_as_before(
    settings: &[String],
    kills: Option<&Redis>,
    end: impl FnOnce(Process),
) {
    let settings = [settings, &key(), &["kinds.arena.mode=state".to_owned()]].concat();
    let address = free_address();
    let server = start(address, &settings);
    ready(&server, true).await;
    let (ada, bob) = (client(address), client(address));
    let (adas, bobs) = (ada.room("chat:1"), bob.room("chat:1"));
    let (mut ada_hears, mut bob_hears) = (adas.events(), bobs.events());
    in_time(adas.join(JoinOptions::default())).await.unwrap();
    in_time(bobs.join(JoinOptions::default())).await.unwrap();
    let first = in_time(adas.chat("one")).await.unwrap();
    in_time(bobs.chat("two")).await.unwrap();
    let before = chats(&mut bob_hears, 2).await;
    assert_eq!(chats(&mut ada_hears, 2).await, before);
    assert_eq!(before[0], (first.offset, "one".to_owned()));
    let ids = (ada.client_id(), bob.client_id());
    let set = [
        ("PATCH", "/rooms/chat:1/properties", r#"{"title":"Tea"}"#),
        (
            "POST",
            "/rooms/chat:1/bans",
            r#"{"user":"eve","seconds":600}"#,
        ),
    ];
    for (method, path, body) in set {
        let (status, told) = ask(&server, method, path, "", body);
        assert_eq!(status, 200, "{path}: {told}");
    }
    let bans = ask(&server, "GET", "/rooms/chat:1/bans", "", "");
    let (away, waiting) = leave_one_waiting_for(address, &ada).await;
    let arena = ada.room("arena:1");
    in_time(arena.join(JoinOptions::default())).await.unwrap();
    let mut ticks = arena.events();
    let record = || kills.map(|redis| redis.ask("HGETALL roomcast:{r:arena:1}"));
    let joined = record();
    arena
        .action(&Action::new("move").at(3.0, 4.0, 0.0))
        .unwrap();
    stands_at(&arena, &mut ticks, &ids.0, (3.0, 4.0)).await;
    let begin = Instant::now();
    while kills.is_some() && record() == joined {
        assert!(begin.elapsed() < DEADLINE, "the move is not written");
        // Redis has to be asked.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    end(server);
    // Said while there is no server: sent when there is one again.
    let three = adas.chat("three");
    let server = start(address, &settings);
    ready(&server, true).await;
    let third = in_time(three).await.unwrap();
    assert!(third.offset > before[1].0, "offsets go on");
    let heard = chats(&mut bob_hears, 1).await;
    assert_eq!(heard, [(third.offset, "three".to_owned())]);
    assert_eq!((ada.client_id(), bob.client_id()), ids, "they are the same");
    let members = bobs.members().unwrap();
    assert_eq!(members.listed.len(), 2, "{members:?}");
    assert_eq!(adas.properties()["title"], "Tea");
    assert_eq!(ask(&server, "GET", "/rooms/chat:1/bans", "", ""), bans);
    stands_at(&arena, &mut ticks, &ids.0, (3.0, 4.0)).await;
    let back = Client::builder(&format!("ws://{address}")).saved(away);
    let back = back.connect().unwrap();
    assert_eq!(chats(&mut back.direct_messages(), 1).await, [waiting]);

    // Whoever comes now reads what was said before.
    assert_eq!(all_chats(address).await, ["one", "three", "two"]);
}

/// A session whose client is gone without a word, and what was sent to it since.
async fn leave_one_waiting_for(address: SocketAddr, from: &Client) -> (Saved, (u64, String)) {
    let session = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let gone = runtime.block_on(async {
            let gone = client(address);
            let join = gone.room("chat:2").join(JoinOptions::default());
            in_time(join).await.unwrap();
            gone
        });
        let session = (gone.save(), gone.client_id());
        // With its runtime its connection is gone: a client that is dropped first says goodbye.
        drop(runtime);
        session
    };
    let (saved, id) = tokio::task::spawn_blocking(session).await.unwrap();
    let to = Recipient::Client(id);
    let publish = Publish::Chat("for you".into());
    let sent = in_time(from.direct(to, publish, SendOptions::default())).await;
    (saved, (sent.unwrap().offset, "for you".to_owned()))
}

/// Waits until a player is there.
async fn stands_at(room: &Room, events: &mut Events, id: &str, at: (f64, f64)) {
    loop {
        let place = room
            .state()
            .get(id)
            .map(|it| (it.position.x, it.position.y));
        if place == Some(at) {
            return;
        }
        in_time(events.next()).await.expect("the client was closed");
    }
}

/// What a newcomer reads in the room's history, sorted.
pub(crate) async fn all_chats(address: SocketAddr) -> Vec<String> {
    let eve = client(address);
    let room = eve.room("chat:1");
    in_time(room.join(JoinOptions::default())).await.unwrap();
    let mut history = room.history(Default::default());
    let mut texts = Vec::new();
    while let Some(message) = in_time(history.next()).await.unwrap() {
        if let Content::Chat(payload) = &message.content {
            texts.push(payload.as_text().unwrap().to_owned());
        }
    }
    texts.sort();
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_comes_back_as_it_was() {
    let redis = Redis::start([""; 0]);
    is_as_before(&settings(&redis), Some(&redis), Process::kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_politely_comes_back_as_it_was() {
    let redis = Redis::start([""; 0]);
    is_as_before(&settings(&redis), None, |server| {
        server.signal(Signal::TERM);
        assert!(server.ended_well());
    })
    .await;
}
