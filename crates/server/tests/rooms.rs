//! Rooms over real sockets: both formats, several shards, compression.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;

use common::{Client, Got, address, chat, config, eventually, framed, metric, moves, start};
use roomcast_protocol::client::{ServerBody, ServerMessage};
use roomcast_protocol::{Format, Incoming, JoinRoom, MessageType, Request};
use roomcast_server::{GameAction, Outcome, PlayerNum, RoomContext, RoomLogic, Server};

#[test]
fn json_and_protobuf_clients_are_in_one_room() {
    let server = start(|config| config.core.session_grace = 100);
    let mut json = Client::json(address(&server));
    let mut protobuf = Client::protobuf(address(&server));
    let json_id = json.hello();
    assert_eq!(json.join("relay:1").total, 1);
    let joined = protobuf.join("relay:1");
    assert_eq!(
        (joined.total, joined.player_num, joined.members.len()),
        (2, 2, 2)
    );
    json.chat("relay:1", "from json");
    protobuf.chat("relay:1", "from protobuf");
    let mut seen: Vec<_> = (0..2).map(|_| json.expect_chat()).collect();
    assert_eq!(
        seen,
        (0..2).map(|_| protobuf.expect_chat()).collect::<Vec<_>>(),
        "one order"
    );
    seen.sort();
    assert_eq!(
        seen.iter().map(|(text, _)| &**text).collect::<Vec<_>>(),
        ["from json", "from protobuf"]
    );
    json.text(&moves(3.0));
    let message = protobuf.expect(MessageType::GameAction);
    assert_eq!(message.from_client_id, json_id);
    match message.body {
        ServerBody::GameAction(action) => assert_eq!(action.position().unwrap().x, 3.0),
        other => panic!("{other:?}"),
    }
    assert_eq!(metric(&server, "roomcast_rooms{shard=\"0\"}"), 1);
    assert_eq!(
        metric(
            &server,
            "roomcast_messages_in_total{format=\"protobuf\",type=\"chat\"}"
        ),
        1
    );
    drop((json, protobuf));
    eventually("the empty room vanishes", || {
        metric(&server, "roomcast_rooms{shard=\"0\"}") == 0
    });
    eventually("the connections are gone", || server.connections() == 0);
}

#[test]
fn what_comes_with_the_handshake_is_not_lost() {
    let server = start(|_| {});
    let join = Incoming::new(Request::JoinRoom(JoinRoom::default())).in_room("relay:early");
    for format in [Format::Json, Format::Protobuf] {
        let mut early = framed(format, &join);
        early.extend(framed(format, &chat("early").in_room("relay:early")));
        // The last frame is cut: its end comes later.
        let rest = early.split_off(early.len() - 5);
        let mut client = Client::open(address(&server), format, false, &early);
        client.expect(MessageType::Joined);
        std::io::Write::write_all(&mut client.stream, &rest).unwrap();
        assert_eq!(client.expect_chat().0, "early");
    }
}

/// Every member, wherever it lives, sees the same events with the same offsets.
#[test]
fn two_shards_are_one_server() {
    let server = start(|config| {
        config.server.shards = Some(2);
        config.core.session_grace = 100;
    });
    let formats = [Format::Json, Format::Protobuf];
    let mut clients: Vec<Client> = (0..8)
        .map(|i| Client::open(address(&server), formats[i / 2 % 2], false, &[]))
        .collect();
    for shard in ["0", "1"] {
        let name = format!("roomcast_connections{{shard=\"{shard}\"}}");
        eventually("newcomers go to where the fewest are", || {
            metric(&server, &name) == 4
        });
    }
    let ids: Vec<String> = clients.iter_mut().map(Client::hello).collect();
    // Several rooms, so that each shard is home to some.
    for room in 0..8 {
        let room = format!("relay:{room}");
        for client in &mut clients {
            client.join(&room);
        }
        for (i, client) in clients.iter_mut().enumerate() {
            for n in 0..25 {
                client.chat(&room, &format!("{i}.{n}"));
            }
        }
        let first: Vec<_> = (0..200).map(|_| clients[0].expect_chat()).collect();
        assert!(
            first.windows(2).all(|two| two[0].1 < two[1].1),
            "offsets rise"
        );
        for client in &mut clients[1..] {
            let seen: Vec<_> = (0..200).map(|_| client.expect_chat()).collect();
            assert_eq!(seen, first);
        }
    }
    // Direct messages find their client on either shard.
    for (i, id) in ids.iter().enumerate().skip(1) {
        let direct = Incoming {
            to_client_id: Some(id.into()),
            ..chat("psst")
        };
        clients[0].request(&direct);
        assert_eq!(clients[i].expect_chat().0, "psst");
    }
    let rooms: Vec<u64> = ["0", "1"]
        .map(|shard| metric(&server, &format!("roomcast_rooms{{shard=\"{shard}\"}}")))
        .into();
    assert_eq!(rooms.iter().sum::<u64>(), 8);
    drop(clients);
    eventually("all rooms vanish on both shards", || {
        ["0", "1"]
            .iter()
            .all(|shard| metric(&server, &format!("roomcast_rooms{{shard=\"{shard}\"}}")) == 0)
    });
}

#[test]
fn moves_become_the_next_sync() {
    let server = start(|_| {});
    let mut json = Client::json(address(&server));
    let mut protobuf = Client::protobuf(address(&server));
    let me = json.join("room").player_id;
    protobuf.join("room");
    json.text(&moves(12.5));
    for client in [&mut json, &mut protobuf] {
        loop {
            let ServerBody::Sync(sync) = client.expect(MessageType::Sync).body else {
                unreachable!()
            };
            let mine = sync.players.iter().find(|player| player.player_id == me);
            if mine.is_some_and(|player| player.position.x == 12.5) {
                break;
            }
        }
    }
}

#[test]
fn a_long_message_is_compressed_once_for_those_who_agreed() {
    let server = start(|_| {});
    let mut plain = Client::json(address(&server));
    let mut packed: Vec<Client> = (0..3)
        .map(|_| Client::open(address(&server), Format::Json, true, &[]))
        .collect();
    plain.join("relay:1");
    for client in &mut packed {
        client.join("relay:1");
    }
    let before = metric(&server, "roomcast_compressed_messages_total");
    let text = "so it is said ".repeat(100);
    plain.chat("relay:1", &text);
    assert_eq!(plain.expect_chat().0, text);
    assert!(!plain.compressed);
    for client in &mut packed {
        assert_eq!(client.expect_chat().0, text);
        assert!(client.compressed);
    }
    assert_eq!(
        metric(&server, "roomcast_compressed_messages_total") - before,
        1
    );
}

struct Dice;

impl RoomLogic for Dice {
    fn action(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        action: &GameAction<'_>,
    ) -> Outcome {
        match action.action() {
            "roll" => {
                let rolled = serde_json::json!({ "by": player, "in": room.name() });
                room.broadcast("rolled", &rolled);
            }
            _ => return Outcome::refused("roll"),
        }
        Outcome::Handled
    }
}

#[test]
fn a_program_gives_its_rooms_logic_and_pages() {
    let builder = Server::builder()
        .config(config())
        .logic("dice", |_room| Box::new(Dice))
        .page("/dice", "text/plain; charset=utf-8", "roll them");
    let server = builder.build().unwrap().start().unwrap();
    let mut client = Client::json(address(&server));
    client.join("dice:7");
    client.text(r#"{"type":"game_action","payload":{"action":"roll"}}"#);
    match client.expect(MessageType::Event) {
        ServerMessage {
            body: ServerBody::Event { name, payload },
            ..
        } => {
            assert_eq!(name, "rolled");
            assert_eq!(&*payload.data, br#"{"by":1,"in":"dice:7"}"#);
        }
        other => panic!("{other:?}"),
    }
    client.text(r#"{"type":"game_action","payload":{"action":"cheat"}}"#);
    match client.next() {
        Got::Message(ServerMessage {
            body: ServerBody::Error(error),
            ..
        }) => assert_eq!(error.message, "roll"),
        other => panic!("{other:?}"),
    }
    let mut http = std::net::TcpStream::connect(address(&server)).unwrap();
    std::io::Write::write_all(
        &mut http,
        b"GET /dice HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    )
    .unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut http, &mut answer).unwrap();
    assert!(answer.ends_with("roll them"), "{answer}");
    assert!(
        Server::builder()
            .page("/ws", "text/plain", "")
            .build()
            .is_err(),
        "that path is the server's"
    );
}
