//! The client against a server, over sockets that are cut.

#![cfg(feature = "net")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod wire;

use roomcast_client::session::{JoinOptions, Status};
use roomcast_client::{
    Client, Content, Format, HistoryRequest, Publish, Recipient, RoomEvent, TokenError, code,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use wire::{chat, client, proxy, quick, soon, start, url};

#[tokio::test]
async fn both_formats_talk_in_a_room() {
    let server = start();
    let address = server.local_addrs()[0];
    let (ada, bob) = (
        client(address, Format::Json),
        client(address, Format::Protobuf),
    );
    let (at_ada, at_bob) = (ada.room("chat:1"), bob.room("chat:1"));
    let (mut to_ada, mut to_bob) = (at_ada.events(), at_bob.events());
    soon(at_ada.join(JoinOptions::default())).await.unwrap();
    soon(at_bob.join(JoinOptions::default())).await.unwrap();
    let receipt = soon(at_ada.chat("one")).await.unwrap();
    assert_eq!(receipt.seq, 1);
    assert!(receipt.offset > 0);
    soon(at_bob.chat("two")).await.unwrap();
    for events in [&mut to_ada, &mut to_bob] {
        assert_eq!(chat(events).await, "one");
        assert_eq!(chat(events).await, "two");
    }
    assert_eq!(at_ada.members().unwrap().total, 2);

    let mut history = at_bob.history(HistoryRequest {
        after: Some(0),
        limit: 1,
        ..HistoryRequest::default()
    });
    let mut said = Vec::new();
    while let Some(message) = soon(history.next()).await.unwrap() {
        if let Content::Chat(payload) = message.content {
            said.push(payload.parse::<String>().unwrap());
        }
    }
    assert_eq!(said, ["one", "two"]);
}

#[tokio::test]
async fn direct_messages_arrive() {
    let server = start();
    let address = server.local_addrs()[0];
    let (ada, bob) = (client(address, Format::Json), client(address, Format::Json));
    soon(bob.connected()).await.unwrap();
    let mut inbox = bob.direct_messages();
    let to = Recipient::Client(bob.client_id());
    let sending = ada.direct(to, Publish::Chat("psst".into()), Default::default());
    soon(sending).await.unwrap();
    assert_eq!(chat(&mut inbox).await, "psst");
}

/// Cuts at whatever byte the moment brings: everything once, in order, and nothing of it lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_lose_nothing_and_repeat_nothing() {
    let server = start();
    let address = server.local_addrs()[0];
    for format in [Format::Json, Format::Protobuf] {
        let (cut, cuts) = watch::channel(0);
        let through = proxy(address, cuts).await;
        let (sender, reader) = (client(through, format), client(through, format));
        let name = format!("cut:{format:?}");
        let (from, to) = (sender.room(&name), reader.room(&name));
        let mut events = to.events();
        soon(to.join(JoinOptions::default())).await.unwrap();
        soon(from.join(JoinOptions::default())).await.unwrap();
        let mut sent = Vec::new();
        for number in 0..200 {
            sent.push(from.chat(number.to_string()));
            if number % 20 == 10 {
                cut.send_modify(|count| *count += 1);
                // The next one goes out when this one has its answer: the cuts fall between and into messages.
                soon(&mut sent[number - 5]).await.unwrap();
            }
        }
        for (number, sending) in sent.into_iter().enumerate() {
            if number % 20 != 5 || number > 190 {
                let receipt = soon(sending).await.unwrap();
                assert_eq!(receipt.seq, number as u64 + 1);
            }
        }
        for number in 0..200 {
            assert_eq!(chat(&mut events).await, number.to_string());
        }
        assert!(matches!(
            &*sender.status().borrow(),
            Status::Connected { resumed: true }
        ));
    }
}

#[tokio::test]
async fn joins_are_counted_and_a_dropped_one_is_taken_back() {
    let server = start();
    let client = client(server.local_addrs()[0], Format::Json);
    let room = client.room("r");
    let mut events = room.events();
    drop(room.join(JoinOptions::default()));
    assert!(room.members().is_none());
    soon(room.join(JoinOptions::default())).await.unwrap();
    soon(room.join(JoinOptions::default())).await.unwrap();
    room.leave();
    soon(room.chat("still here")).await.unwrap();
    assert_eq!(chat(&mut events).await, "still here");
    room.leave();
    let error = soon(room.chat("gone")).await.unwrap_err();
    assert_eq!(error.code(), code::NOT_JOINED);
}

#[tokio::test]
async fn a_leave_is_done_when_the_server_has_answered() {
    let server = start();
    let address = server.local_addrs()[0];
    let (ada, bob) = (
        client(address, Format::Json),
        client(address, Format::Protobuf),
    );
    let (at_ada, at_bob) = (ada.room("r"), bob.room("r"));
    soon(at_ada.join(JoinOptions::default())).await.unwrap();
    soon(at_bob.join(JoinOptions::default())).await.unwrap();
    soon(at_bob.join(JoinOptions::default())).await.unwrap();
    soon(at_bob.leave()).await;
    let here = soon(at_ada.members_page(0, 0)).await.unwrap();
    assert_eq!(here.total, 2, "one join is left");
    soon(at_bob.leave()).await;
    let here = soon(at_ada.members_page(0, 0)).await.unwrap();
    assert_eq!(here.total, 1);
    // There is nothing to wait for: not joined, wanted again, closed.
    soon(at_bob.leave()).await;
    let leaving = at_ada.leave();
    soon(at_ada.join(JoinOptions::default())).await.unwrap();
    soon(leaving).await;
    let leaving = at_ada.leave();
    soon(ada.close()).await;
    soon(leaving).await;
}

#[tokio::test]
async fn closing_settles_all_and_ends_streams() {
    // Nobody accepts here for long: the listener's queue takes the connection, and nothing answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(silent.local_addr().unwrap(), Format::Json);
    let room = client.room("r");
    let mut events = room.events();
    let joining = room.join(JoinOptions::default());
    let sending = room.chat("never");
    soon(client.close()).await;
    assert_eq!(soon(joining).await.unwrap_err().code(), code::CLOSED);
    assert_eq!(soon(sending).await.unwrap_err().code(), code::CLOSED);
    while let Some(event) = soon(events.next()).await {
        assert!(matches!(event, RoomEvent::Left(Some(_))), "{event:?}");
    }
}

#[tokio::test]
async fn a_source_without_a_token_is_asked_again_or_ends() {
    let server = start();
    let address = server.local_addrs()[0];
    let (asked, mut count) = watch::channel(0);
    let waiting = Client::builder(&url(address))
        .config(quick(Format::Json))
        .token_source(move || {
            asked.send_modify(|count| *count += 1);
            async { Err(TokenError::Unavailable("not now".to_owned())) }
        });
    let waiting = waiting.connect().unwrap();
    soon(count.wait_for(|count| *count >= 3)).await.unwrap();
    assert!(!matches!(*waiting.status().borrow(), Status::Closed(_)));

    let ended = Client::builder(&url(address))
        .token_source(|| async { Err(TokenError::Unauthorized("nobody".to_owned())) });
    let ended = ended.connect().unwrap();
    let error = soon(ended.connected()).await.unwrap_err();
    assert_eq!(error.code(), code::UNAUTHORIZED);
}

#[tokio::test]
async fn another_process_goes_on_with_a_saved_session() {
    let server = start();
    let address = server.local_addrs()[0];
    let first = client(address, Format::Json);
    let room = first.room("r");
    soon(room.join(JoinOptions::default())).await.unwrap();
    soon(room.chat("one")).await.unwrap();
    let second = Client::builder(&url(address))
        .config(quick(Format::Json))
        .saved(first.save());
    let second = second.connect().unwrap();
    soon(second.connected()).await.unwrap();
    assert_eq!(second.client_id(), first.client_id());
    let mut status = first.status();
    let closed = soon(status.wait_for(|status| matches!(status, Status::Closed(_)))).await;
    match &*closed.unwrap() {
        Status::Closed(error) => assert_eq!(error.code(), code::TAKEN_OVER),
        status => panic!("{status:?}"),
    }
}
