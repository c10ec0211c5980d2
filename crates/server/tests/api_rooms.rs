//! The API for backends: users, rooms, and what is said of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

#[path = "common/api.rs"]
mod api;
mod common;
#[path = "common/http.rs"]
mod http;

use api::{CHAT, KEY, SERVICE, ask, ask_with, user, with_users};
use common::{Client, address, eventually, start};
use roomcast_protocol::client::ServerBody;
use roomcast_protocol::{Incoming, JoinRoom, MessageType, Request};
use serde_json::{Value, json};

#[test]
fn a_users_sessions_get_what_is_sent_to_it_and_are_sent_away() {
    let server = start(with_users);
    let mut sessions = [user(&server, "u7"), user(&server, "u7")];
    sessions[0].join("relay:1");
    // The user's home is another shard, perhaps, which hears of a session when that is welcomed.
    eventually("both sessions are known", || {
        let listed = ask(&server, KEY, "GET", "/users/u7/sessions", "");
        listed.body["sessions"].as_array().unwrap().len() == 2
    });
    let body = r#"{"type":"event","name":"shipped","payload":{"order":7}}"#;
    let header = "Idempotency-Key: order-7";
    for _ in 0..2 {
        let told = ask_with(&server, KEY, "POST", "/users/u7/messages", &[header], body);
        assert_eq!(
            (told.status, &told.body["sent"]),
            (200, &json!(2)),
            "{told:?}"
        );
    }
    for session in &mut sessions {
        let message = session.expect(MessageType::Event);
        assert_eq!((&*message.to_user_id, &*message.from_client_id), ("u7", ""));
        assert_eq!(message.from_service, SERVICE);
    }
    let listed = ask(&server, KEY, "GET", "/users/u7/sessions", "");
    let listed = listed.body["sessions"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(
        listed.iter().any(|it| it["rooms"] == json!(["relay:1"])),
        "{listed:?}"
    );
    let one = listed[0]["client_id"].as_str().unwrap();
    let told = ask(
        &server,
        KEY,
        "POST",
        &format!("/clients/{one}/messages"),
        CHAT,
    );
    assert_eq!(
        (told.status, &told.body["sent"]),
        (200, &json!(1)),
        "{told:?}"
    );
    let away = r#"{"reason":"enough"}"#;
    let away = ask(&server, KEY, "POST", "/users/u7/disconnect", away);
    assert_eq!((away.status, &away.body["sessions"]), (200, &json!(2)));
    for session in &mut sessions {
        assert_eq!(
            session.expect_close(),
            (4503, "disconnected; enough".to_owned())
        );
    }
    let nobody = ask(&server, KEY, "POST", "/users/u7/messages", CHAT);
    assert_eq!((nobody.status, nobody.code()), (404, "recipient_not_found"));
}

#[test]
fn rooms_members_and_history_are_shown() {
    let server = start(with_users);
    let mut clients = [user(&server, "ann"), user(&server, "bob")];
    for client in &mut clients {
        client.join("relay:1");
    }
    clients[1].join("relay:2");
    clients[0].chat("relay:1", "hello");
    clients[0].expect_chat();
    let rooms = ask(&server, KEY, "GET", "/rooms?kind=relay&limit=1", "");
    let first = json!([{"room_id": "relay:1", "members": 2}]);
    assert_eq!(
        (&rooms.body["rooms"], &rooms.body["next"]),
        (&first, &json!("relay:1"))
    );
    let rest = ask(
        &server,
        KEY,
        "GET",
        "/rooms?prefix=relay:&after=relay:1",
        "",
    );
    assert_eq!(
        rest.body,
        json!({"rooms": [{"room_id": "relay:2", "members": 1}]})
    );
    let members = ask(&server, KEY, "GET", "/rooms/relay:1/members", "").body;
    assert_eq!(
        (&members["room_id"], &members["total"]),
        (&json!("relay:1"), &json!(2))
    );
    let names: Vec<_> = members["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["player_id"].clone())
        .collect();
    assert_eq!(names, ["ann", "bob"]);
    let history = ask(&server, KEY, "GET", "/rooms/relay:1/history?limit=1", "").body;
    assert_eq!(history["events"][0]["payload"], "hello", "{history}");
    assert!(
        history["next"].is_u64() && history["epoch"].is_string(),
        "{history}"
    );
    let nothing = ask(&server, KEY, "GET", "/rooms/relay:9/history", "").body;
    assert_eq!(nothing["events"], json!([]));
}

#[test]
fn a_user_is_put_out_and_kept_out_of_a_room() {
    let server = start(with_users);
    let mut eve = user(&server, "eve");
    let code = |client: &mut Client| match client.expect_any(MessageType::Error).body {
        ServerBody::Error(error) => error.code,
        other => panic!("{other:?}"),
    };
    eve.join("relay:1");
    let kicked = ask(
        &server,
        KEY,
        "POST",
        "/rooms/relay:1/kick",
        r#"{"user":"eve"}"#,
    );
    assert_eq!(kicked.body["sessions"], 1, "{kicked:?}");
    assert_eq!(code(&mut eve), "removed");
    eve.join("relay:1");
    let ban = r#"{"user":"eve","seconds":60}"#;
    let banned = ask(&server, KEY, "POST", "/rooms/relay:1/bans", ban);
    assert_eq!(banned.body["sessions"], 1, "{banned:?}");
    assert!(banned.body["until"].is_u64(), "{banned:?}");
    assert_eq!(code(&mut eve), "banned");
    let join = || Incoming::new(Request::JoinRoom(JoinRoom::default())).in_room("relay:1");
    eve.request(&join());
    assert_eq!(code(&mut eve), "banned");
    let listed = ask(&server, KEY, "GET", "/rooms/relay:1/bans", "").body;
    let until = &banned.body["until"];
    let bans = json!([{"user": "eve", "until": until}]);
    assert_eq!(listed, json!({"room_id": "relay:1", "bans": bans}));
    ask(&server, KEY, "DELETE", "/rooms/relay:1/bans/eve", "");
    ask(
        &server,
        KEY,
        "POST",
        "/rooms/relay:1/lock",
        r#"{"seconds":60}"#,
    );
    eve.request(&join());
    assert_eq!(code(&mut eve), "room_locked");
    let listed = ask(&server, KEY, "GET", "/rooms/relay:1/bans", "").body;
    assert_eq!(listed["bans"], json!([]));
    assert!(listed["locked_until"].is_u64(), "{listed}");
    ask(&server, KEY, "DELETE", "/rooms/relay:1/lock", "");
    eve.join("relay:1");
}

#[test]
fn members_get_a_rooms_properties_when_they_join_and_when_they_change() {
    let server = start(with_users);
    let path = "/rooms/relay:1/properties";
    let set = |changes: Value| ask(&server, KEY, "PATCH", path, &changes.to_string());
    let told = set(json!({"title": "tea", "big": 1, "old": 1}));
    let body = json!({"title": "tea", "big": 1, "old": 1});
    assert_eq!(told.body, json!({"room_id": "relay:1", "properties": body}));
    let mut ann = user(&server, "ann");
    ann.request(&Incoming::new(Request::JoinRoom(JoinRoom::default())).in_room("relay:1"));
    let joined = |client: &mut Client| match client.expect(MessageType::Joined).body {
        ServerBody::Joined(joined) => joined.properties,
        other => panic!("{other:?}"),
    };
    assert_eq!(joined(&mut ann), r#"{"big":1,"old":1,"title":"tea"}"#);
    // A number that no program of ours can hold passes as it is.
    let big = r#"{"big":123456789012345678901234567890,"old":null}"#;
    assert_eq!(ask(&server, KEY, "PATCH", path, big).status, 200);
    let event = ann.expect(MessageType::Event);
    let expected = r#"{"big":123456789012345678901234567890,"title":"tea"}"#;
    match &event.body {
        ServerBody::Event { name, payload } => {
            assert_eq!(&**name, "roomcast.properties");
            assert_eq!(payload.data, expected.as_bytes());
        }
        other => panic!("{other:?}"),
    }
    assert!(event.offset > 0 && event.from_service.is_empty());
    let mut bob = Client::protobuf(address(&server));
    bob.request(&Incoming::new(Request::JoinRoom(JoinRoom::default())).in_room("relay:1"));
    assert_eq!(joined(&mut bob), expected);
    let listed = ask(&server, KEY, "GET", "/rooms", "");
    assert_eq!(listed.body["rooms"][0]["properties"]["title"], "tea");
    let large = set(json!({"a": "x".repeat(3_000)}));
    assert_eq!((large.status, large.code()), (413, "too_large"));
    let read = ask(&server, KEY, "GET", path, "");
    assert_eq!(read.body["properties"]["title"], "tea");
    let none = ask(&server, KEY, "GET", "/rooms/relay:2/properties", "");
    assert_eq!(none.body, json!({"room_id": "relay:2", "properties": {}}));
}
