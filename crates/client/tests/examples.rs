//! The examples, against a server.

#![cfg(feature = "net")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

#[path = "../examples/bot.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "its `main` is not called"
)]
mod bot;
mod wire;

use roomcast_client::Format;
use roomcast_client::session::JoinOptions;
use wire::{chat, client, soon, start};

#[tokio::test]
async fn the_bot_greets_and_answers() {
    let server = start();
    let address = server.local_addrs()[0];
    let (robot, ada) = (client(address, Format::Json), client(address, Format::Json));
    let room = ada.room("r");
    let mut events = room.events();
    soon(room.join(JoinOptions::default())).await.unwrap();
    let its_room = robot.room("r");
    let staying = bot::stay(&robot, &its_room);
    let talking = async {
        assert_eq!(chat(&mut events).await, "I am a bot. Say !help.");
        room.chat("!who").await.unwrap();
        assert_eq!(chat(&mut events).await, "!who");
        assert_eq!(chat(&mut events).await, "2: somebody, Robot");
        room.leave().await;
        room.join(JoinOptions {
            nickname: Some("Ada".to_owned()),
            ..JoinOptions::default()
        })
        .await
        .unwrap();
        assert_eq!(chat(&mut events).await, "Hello, Ada!");
    };
    tokio::select! {
        ended = staying => panic!("{ended:?}"),
        () = async { soon(talking).await } => {}
    }
}
