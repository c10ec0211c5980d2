//! What the client tells and does when servers end, readers are slow and wires break.

#![cfg(feature = "net")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod wire;

use std::collections::HashSet;
use std::net::SocketAddr;

use roomcast_client::session::{JoinOptions, Status};
use roomcast_client::{Action, Client, Content, Events, Format, RoomEvent};
use tokio::sync::watch;
use wire::{chaos, chat, client, quick, soon, start, start_with_rate, switch, url};

async fn until(events: &mut Events, wanted: impl Fn(&RoomEvent) -> bool) -> RoomEvent {
    loop {
        let event = soon(events.next()).await.expect("the stream has ended");
        if wanted(&event) {
            return event;
        }
    }
}

/// The server is gone with all that it knew, and another is in its place.
#[tokio::test]
async fn a_restart_is_told_and_nothing_acked_after_it_is_lost() {
    let (before, after) = (start(), start());
    let (server, servers) = watch::channel(before.local_addrs()[0]);
    let (cut, cuts) = watch::channel(0);
    let through = switch(servers, cuts).await;
    let client = client(through, Format::Json);
    let room = client.room("r");
    let mut events = room.events();
    soon(room.join(JoinOptions::default())).await.unwrap();
    soon(room.chat("one")).await.unwrap();
    assert_eq!(chat(&mut events).await, "one");
    let since = room.position();

    server.send_replace(after.local_addrs()[0]);
    cut.send_modify(|count| *count += 1);
    let mut status = client.status();
    let back = |status: &Status| matches!(status, Status::Connected { resumed: false });
    soon(status.wait_for(back)).await.unwrap();
    let gap = until(&mut events, |event| matches!(event, RoomEvent::Gap { .. })).await;
    let RoomEvent::Gap { since: told, now } = gap else {
        unreachable!()
    };
    assert_eq!(told, since);
    assert_ne!(Some(now.epoch), since.map(|it| it.epoch));
    soon(room.chat("two")).await.unwrap();
    assert_eq!(chat(&mut events).await, "two");
}

/// A client that is asked for more at once than the server takes is not closed for it.
#[tokio::test]
async fn more_than_the_rate_limit_takes_arrives_in_order() {
    let server = start_with_rate(120);
    let client = client(server.local_addrs()[0], Format::Json);
    let room = client.room("r");
    let mut events = room.events();
    soon(room.join(JoinOptions::default())).await.unwrap();
    let sent: Vec<_> = (0..500)
        .map(|number| room.chat(number.to_string()))
        .collect();
    for (number, sending) in sent.into_iter().enumerate() {
        let receipt = soon(sending).await.unwrap();
        assert_eq!(receipt.seq as usize, number + 1);
        assert_eq!(chat(&mut events).await, number.to_string());
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_says_what_it_lost() {
    let server = start();
    let builder = Client::builder(&url(server.local_addrs()[0]));
    let client = builder
        .config(quick(Format::Protobuf))
        .queue_bytes(20_000)
        .connect()
        .unwrap();
    let room = client.room("r");
    soon(room.join(JoinOptions::default())).await.unwrap();
    let (mut slow, mut quick) = (room.events(), room.events());
    let long = "x".repeat(1_000);
    for _ in 0..30 {
        soon(room.chat(long.as_str())).await.unwrap();
        assert_eq!(chat(&mut quick).await, long);
    }
    let mut last = 0;
    let gap = loop {
        match soon(slow.next()).await.unwrap() {
            RoomEvent::Message(message) => last = message.position.unwrap().offset,
            RoomEvent::Gap { since, now } => break (since.unwrap().offset, now.offset),
            _ => {}
        }
    };
    assert_eq!(gap, (last, room.position().unwrap().offset));
    soon(room.chat("on")).await.unwrap();
    assert_eq!(chat(&mut slow).await, "on");
}

#[tokio::test]
async fn the_last_handle_says_goodbye() {
    let server = start();
    let address = server.local_addrs()[0];
    let (ada, bob) = (client(address, Format::Json), client(address, Format::Json));
    let (at_ada, at_bob) = (ada.room("r"), bob.room("r"));
    let mut events = at_ada.events();
    soon(at_ada.join(JoinOptions::default())).await.unwrap();
    soon(at_bob.join(JoinOptions::default())).await.unwrap();
    drop(bob);
    soon(at_bob.chat("the room is a handle too")).await.unwrap();
    drop(at_bob);
    // Not after the grace of 30 seconds, which `soon` would not wait for.
    let left = |event: &RoomEvent| match event {
        RoomEvent::Message(message) => matches!(message.content, Content::PlayerLeft { .. }),
        _ => false,
    };
    until(&mut events, left).await;
}

#[tokio::test]
async fn the_servers_state_is_there_merged_and_compressed() {
    let server = start();
    let builder = Client::builder(&url(server.local_addrs()[0]));
    let client = builder
        .header("X-Way", "this one")
        .compression(true)
        .connect()
        .unwrap();
    let room = client.room("arena");
    let mut events = room.events();
    soon(room.join(JoinOptions::default())).await.unwrap();
    until(&mut events, |event| matches!(event, RoomEvent::Sync(_))).await;
    room.action(&Action::new("move").at(3.0, 4.0, 0.0)).unwrap();
    loop {
        until(&mut events, |event| matches!(event, RoomEvent::Sync(_))).await;
        let state = room.state();
        let own = state.get(&client.client_id()).expect("oneself");
        if own.position.x == 3.0 {
            assert_eq!(own.position.y, 4.0);
            break;
        }
    }
    // Long enough to be compressed.
    let long = "abc".repeat(1_000);
    soon(room.chat(long.as_str())).await.unwrap();
    assert_eq!(chat(&mut events).await, long);
    let refused = Client::builder("ws://127.0.0.1")
        .header("X: Y", "z")
        .connect();
    assert_eq!(refused.unwrap_err().code(), "invalid_value");
}

/// Everything that many send over wires that break at any byte, counted at both ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_over_bad_wires_lose_nothing_and_get_nothing_twice() {
    const PEERS: usize = 16;
    const MESSAGES: usize = 60;
    let seed = std::env::var("ROOMCAST_CLIENT_SEED").map_or(7, |seed| seed.parse().unwrap());
    eprintln!("the cuts are those of ROOMCAST_CLIENT_SEED={seed}");
    let server = start();
    let address = server.local_addrs()[0];
    let (through, connections) = chaos(address, seed, 150).await;
    let mut tasks = Vec::new();
    let (all_in, mut everybody) = watch::channel(0);
    everybody.mark_unchanged();
    for peer in 0..PEERS {
        let all_in = all_in.clone();
        tasks.push(tokio::spawn(one_of_many(
            through, peer, MESSAGES, PEERS, all_in,
        )));
    }
    let mut seen = Vec::new();
    for task in tasks {
        seen.push(task.await.unwrap());
    }
    for order in &seen {
        assert_eq!(order, &seen[0], "all see one order");
    }
    assert_eq!(seen[0].len(), PEERS * MESSAGES);
    let connections = *connections.borrow() as usize;
    assert!(
        connections > 2 * PEERS,
        "{connections} connections: nothing was cut"
    );
    eprintln!("{connections} connections");
}

/// Sends its messages, and receives everybody's.
async fn one_of_many(
    address: SocketAddr,
    peer: usize,
    messages: usize,
    peers: usize,
    all_in: watch::Sender<usize>,
) -> Vec<String> {
    let format = [Format::Json, Format::Protobuf][peer % 2];
    let client = client(address, format);
    let room = client.room("many");
    let mut events = room.events();
    soon(room.join(JoinOptions::default())).await.unwrap();
    all_in.send_modify(|count| *count += 1);
    let mut everybody = all_in.subscribe();
    soon(everybody.wait_for(|count| *count == peers))
        .await
        .unwrap();
    let sending = async {
        for number in 0..messages {
            let receipt = soon(room.chat(format!("{peer} {number}"))).await.unwrap();
            assert_eq!(receipt.seq as usize, number + 1);
        }
    };
    let receiving = async {
        let mut seen = Vec::new();
        let mut known = HashSet::new();
        while seen.len() < peers * messages {
            let text = chat(&mut events).await;
            assert!(known.insert(text.clone()), "{text} came twice");
            seen.push(text);
        }
        seen
    };
    let ((), seen) = tokio::join!(sending, receiving);
    // Those who still need this one's acks are not kept waiting by its end.
    client.close().await;
    seen
}
