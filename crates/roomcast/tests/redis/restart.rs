//! The server ends, politely or not, and is started again: sessions, rooms and logs are there.

use std::net::SocketAddr;

use roomcast_client::session::{Config, JoinOptions};
use roomcast_client::{Client, Content, Events, RoomEvent};

use rustix::process::Signal;

use crate::process::{Process, free_address};
use crate::redis_server::Server as Redis;
use crate::{in_time, ready, settings, start};

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

/// Clients that were there before go on after a restart, and whoever comes then reads what was said before.
pub(crate) async fn is_as_before(settings: &[String], end: impl FnOnce(Process)) {
    let address = free_address();
    let server = start(address, settings);
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

    end(server);
    // Said while there is no server: sent when there is one again.
    let three = adas.chat("three");
    let server = start(address, settings);
    ready(&server, true).await;
    let third = in_time(three).await.unwrap();
    assert!(third.offset > before[1].0, "offsets go on");
    let heard = chats(&mut bob_hears, 1).await;
    assert_eq!(heard, [(third.offset, "three".to_owned())]);
    assert_eq!((ada.client_id(), bob.client_id()), ids, "they are the same");
    let members = bobs.members().unwrap();
    assert_eq!(members.listed.len(), 2, "{members:?}");

    // Whoever comes now reads what was said before.
    assert_eq!(all_chats(address).await, ["one", "three", "two"]);
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
    is_as_before(&settings(&redis), Process::kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_politely_comes_back_as_it_was() {
    let redis = Redis::start([""; 0]);
    is_as_before(&settings(&redis), |server| {
        server.signal(Signal::TERM);
        assert!(server.ended_well());
    })
    .await;
}
