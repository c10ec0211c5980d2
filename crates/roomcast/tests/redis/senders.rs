//! Who speaks is told on every server, and by one that has taken a room over from its record.

use std::time::Duration;

use roomcast_client::session::{JoinOptions, SendOptions};
use roomcast_client::{
    Client, Content, Events, Format, HistoryRequest, Message, Publish, Recipient, RoomEvent,
};
use roomcast_server::auth::{NewToken, Signer};

use crate::process::Process;
use crate::redis_server::Server as Redis;
use crate::two::servers_with;
use crate::{in_time, settings};

const SECRET: &str = "of the tokens of these tests, thirty-two bytes long";

fn client(server: &Process, format: Format, user: &str) -> Client {
    let token = NewToken {
        user: user.to_owned(),
        ttl: Duration::from_secs(3_600),
        ..NewToken::default()
    };
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    let url = format!("ws://{}", server.address);
    let client = Client::builder(&url).format(format);
    client
        .token(signer.sign(&token).unwrap())
        .connect()
        .unwrap()
}

async fn next(events: &mut Events) -> Message {
    loop {
        match in_time(events.next()).await.expect("the client was closed") {
            RoomEvent::Message(message)
                if matches!(message.content, Content::Chat(_) | Content::Event { .. }) =>
            {
                return message;
            }
            _ => {}
        }
    }
}

fn from(message: &Message) -> (&str, &str, u32) {
    (&message.from, &message.user, message.player)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_spoke_is_told_elsewhere_and_after_the_room_has_moved() {
    for formats in [
        [Format::Json, Format::Protobuf],
        [Format::Protobuf, Format::Json],
    ] {
        let redis = Redis::start([""; 0]);
        let mut settings = settings(&redis);
        settings.push(format!("auth.hs256_secret={SECRET}"));
        let mut servers = servers_with(&settings, 2).await;
        let (a, b) = (servers.remove(0), servers.remove(0));
        let (ada, bob) = (client(&a, formats[0], "ada"), client(&b, formats[1], "bob"));
        let (adas, bobs) = (ada.room("chat:1"), bob.room("chat:1"));
        let (mut bob_hears, mut bobs_inbox) = (bobs.events(), bob.direct_messages());
        in_time(bobs.join(JoinOptions::default())).await.unwrap();
        in_time(adas.join(JoinOptions::default())).await.unwrap();
        let id = ada.client_id();
        in_time(adas.chat("one")).await.unwrap();
        assert_eq!(from(&next(&mut bob_hears).await), (&*id, "ada", 2));
        adas.ephemeral("two", ()).unwrap();
        assert_eq!(from(&next(&mut bob_hears).await), (&*id, "ada", 2));
        let to = Recipient::User("bob".to_owned());
        let direct = Publish::Chat("psst".into());
        in_time(ada.direct(to, direct, SendOptions::default()))
            .await
            .unwrap();
        assert_eq!(from(&next(&mut bobs_inbox).await), (&*id, "ada", 0));
        // Whichever of the two servers had the room: what is left has it from Redis, or as its own.
        drop(ada);
        a.kill();
        let again = client(&b, formats[0], "eve");
        let eves = again.room("chat:1");
        in_time(eves.join(JoinOptions::default())).await.unwrap();
        let mut history = eves.history(HistoryRequest::default());
        let mut told = 0;
        while let Some(message) = in_time(history.next()).await.unwrap() {
            if matches!(message.content, Content::Chat(_)) {
                assert_eq!(from(&message), (&*id, "ada", 2), "{message:?}");
                told += 1;
            }
        }
        assert_eq!(told, 1);
    }
}
