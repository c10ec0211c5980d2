//! Room logic of a program that embeds the server, on two nodes: it has its say at the room's home, wherever members are.

use std::net::SocketAddr;

use roomcast_client::session::JoinOptions;
use roomcast_client::{Content, RoomEvent};
use roomcast_server::config::{Config, Engine};
use roomcast_server::{
    Changed, GameAction, Outcome, PlayerNum, Profile, Refusal, RoomContext, RoomEvent as Sent,
    RoomLogic, RunningServer, Server,
};

use crate::in_time;
use crate::redis_server::Server as Redis;
use crate::two::{chat, client};

struct Lower;

impl RoomLogic for Lower {
    fn admit(&mut self, room: &mut RoomContext<'_>, _: &mut Profile<'_>) -> Result<(), Refusal> {
        match room.player_count() {
            0 | 1 => Ok(()),
            _ => Err(Refusal::new("two are enough")),
        }
    }

    fn action(&mut self, _: &mut RoomContext<'_>, _: PlayerNum, _: &GameAction<'_>) -> Outcome {
        Outcome::Handled
    }

    fn event(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        event: &Sent<'_>,
    ) -> Outcome {
        let text = event.text().unwrap_or_default();
        if text == "BOO" {
            room.kick(player, "no booing");
        }
        Outcome::RelayAs(Changed::text(&text.to_lowercase()))
    }

    fn own_events(&self) -> &'static [&'static str] {
        &["score"]
    }
}

fn node(redis: &Redis) -> RunningServer {
    let mut config = Config::default();
    config.server.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.server.shards = Some(2);
    config.server.engine = Engine::Redis;
    config.session_secret = "of these tests, thirty-two bytes long".to_owned().into();
    config.redis.urls = vec![redis.url().into()];
    config.redis.lease = 900;
    let builder = Server::builder().config(config);
    let builder = builder.logic("talk", |_room| Box::new(Lower));
    builder.build().unwrap().start().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logic_at_the_home_speaks_for_members_of_both_nodes() {
    let redis = Redis::start([""; 0]);
    let nodes = [node(&redis), node(&redis)];
    let clients: Vec<_> = nodes.iter().map(|it| client(it.local_addrs()[0])).collect();
    let rooms: Vec<_> = clients.iter().map(|it| it.room("talk:1")).collect();
    let mut events: Vec<_> = rooms.iter().map(|it| it.events()).collect();
    for room in &rooms {
        in_time(room.join(JoinOptions::default())).await.unwrap();
    }
    let third = client(nodes[1].local_addrs()[0]);
    let refused = in_time(third.room("talk:1").join(JoinOptions::default())).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("two are enough"), "{refused}");
    // Each is put out by the other node's home, or by its own: what it said before is passed on, changed.
    for (at, room) in rooms.iter().enumerate() {
        let sent = in_time(room.chat("Hi")).await.unwrap();
        for events in &mut events {
            assert_eq!(chat(events).await, (sent.offset, "hi".to_owned()));
        }
        let forged = in_time(room.event("score", "1")).await;
        assert!(
            format!("{:?}", forged.unwrap_err()).contains("reserved_event"),
            "{at}"
        );
    }
    let _ = in_time(rooms[1].chat("BOO")).await;
    let mut why = None;
    while why.is_none() {
        match in_time(events[1].next())
            .await
            .expect("the client was closed")
        {
            RoomEvent::Left(left) => why = Some(format!("{left:?}")),
            RoomEvent::Message(it) => assert!(!matches!(it.content, Content::Event { .. })),
            _ => {}
        }
    }
    let why = why.unwrap_or_default();
    assert!(why.contains("no booing"), "{why}");
    assert_eq!(chat(&mut events[0]).await.1, "boo");
}
