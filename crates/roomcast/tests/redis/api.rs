//! A backend asks any server; the room is at home on another one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use roomcast_client::session::{JoinOptions, Status};
use roomcast_client::{Events, RoomEvent};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::Process;
use crate::redis_server::Server as Redis;
use crate::two::{chat, client, servers_with};
use crate::{DEADLINE, SECRET, in_time, ready, settings, start};

const KEY: &str = "a-key-of-these-tests-which-is-long-enough";

pub(crate) fn with_key(redis: &Redis) -> Vec<String> {
    let mut settings = settings(redis);
    settings.extend(key());
    settings
}

/// The settings of a key that may do everything.
pub(crate) fn key() -> [String; 2] {
    [
        format!("api_keys.shop.key={KEY}"),
        "api_keys.shop.rights=publish,send,read,moderate,manage,operate".to_owned(),
    ]
}

/// The status and the body of an answer.
pub(crate) fn ask(
    server: &Process,
    method: &str,
    path: &str,
    once: &str,
    body: &str,
) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let once = match once {
        "" => String::new(),
        once => format!("idempotency-key: {once}\r\n"),
    };
    let length = body.len();
    let request = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {KEY}\r\n{once}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn publish(server: &Process, once: &str, text: &str) -> (u16, Value) {
    let body = format!(r#"{{"type":"chat","payload":"{text}","payload_kind":"text"}}"#);
    ask(server, "POST", "/rooms/chat:1/messages", once, &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_publishes_at_any_server_and_once_also_after_a_takeover() {
    let redis = Redis::start([""; 0]);
    let mut servers = servers_with(&with_key(&redis), 3).await;
    let (a, b, c) = (servers.remove(0), servers.remove(0), servers.remove(0));
    let (ada, bob) = (client(a.address), client(b.address));
    let (adas, bobs) = (ada.room("chat:1"), bob.room("chat:1"));
    let (mut ada_hears, mut bob_hears) = (adas.events(), bobs.events());
    in_time(adas.join(JoinOptions::default())).await.unwrap();
    in_time(bobs.join(JoinOptions::default())).await.unwrap();
    let mut first = Value::Null;
    for (server, text) in [(&a, "one"), (&b, "two"), (&c, "three")] {
        let (status, told) = publish(server, text, text);
        assert_eq!(status, 200, "{told}");
        let expected = (told["offset"].as_u64().unwrap(), text.to_owned());
        assert_eq!(chat(&mut ada_hears).await, expected);
        assert_eq!(chat(&mut bob_hears).await, expected);
        first = told;
    }
    // All but one server are asked the same again: among them is the room's home or not.
    a.kill();
    let begin = Instant::now();
    let (status, again) = publish(&b, "three", "three");
    assert_eq!(status, 200, "{again}");
    assert_eq!(
        (&again["epoch"], &again["offset"]),
        (&first["epoch"], &first["offset"])
    );
    assert_eq!(again["repeated"], true);
    assert!(begin.elapsed() < DEADLINE);
    let (status, next) = publish(&c, "four", "four");
    assert_eq!(status, 200, "{next}");
    let expected = (next["offset"].as_u64().unwrap(), "four".to_owned());
    assert_eq!(chat(&mut bob_hears).await, expected);
}

/// Whoever looks at many names that are no rooms writes nothing: Redis is asked once for each, by whichever server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_not_there_is_looked_at_without_a_trace() {
    let redis = Redis::start([""; 0]);
    let servers = servers_with(&with_key(&redis), 3).await;
    let asked = || -> u64 {
        let each = servers.iter();
        each.map(|it| it.metric("roomcast_store_requests_total"))
            .sum()
    };
    let before = asked();
    let mut looks = 0;
    for server in &servers {
        for what in ["members", "history", "properties", "bans"] {
            let path = format!("/rooms/nowhere-{looks}/{what}");
            let (status, told) = ask(server, "GET", &path, "", "");
            assert_eq!(status, 200, "{told}");
            let records = redis.ask("KEYS *nowhere*");
            assert_eq!(records.as_array().map(<[_]>::len), Some(0), "{path}");
            looks += 1;
        }
    }
    assert_eq!(asked() - before, looks);
}

/// Each row of the table, once for each server: method, path, body, and what of the answer is the same at all. `ME` is a
/// client in the room.
const ROWS: [(&str, &str, &str, &str); 19] = [
    (
        "publish",
        "POST /rooms/chat:1/messages",
        r#"{"type":"chat","payload":1}"#,
        "room_id",
    ),
    (
        "publish_many",
        "POST /messages",
        r#"{"messages":[{"room_id":"chat:1","type":"chat","payload":1}]}"#,
        "",
    ),
    (
        "send_to_user",
        "POST /users/ME/messages",
        r#"{"type":"chat","payload":1}"#,
        "sent",
    ),
    (
        "send_to_client",
        "POST /clients/ME/messages",
        r#"{"type":"chat","payload":1}"#,
        "sent",
    ),
    (
        "set_properties",
        "PATCH /rooms/chat:1/properties",
        r#"{"title":"tea"}"#,
        "properties",
    ),
    (
        "read_properties",
        "GET /rooms/chat:1/properties",
        "",
        "properties",
    ),
    ("list_rooms", "GET /rooms?kind=chat", "", "rooms"),
    ("list_members", "GET /rooms/chat:1/members", "", "members"),
    (
        "read_history",
        "GET /rooms/chat:1/history?after=0&limit=3",
        "",
        "events",
    ),
    ("list_sessions", "GET /users/ME/sessions", "", "sessions"),
    (
        "kick",
        "POST /rooms/chat:1/kick",
        r#"{"user":"u7"}"#,
        "sessions",
    ),
    (
        "ban",
        "POST /rooms/chat:1/bans",
        r#"{"user":"u7","seconds":60}"#,
        "sessions",
    ),
    ("list_bans", "GET /rooms/chat:1/bans", "", "bans"),
    ("lift_ban", "DELETE /rooms/chat:1/bans/u7", "", "sessions"),
    (
        "lock",
        "POST /rooms/chat:1/lock",
        r#"{"seconds":60}"#,
        "sessions",
    ),
    ("unlock", "DELETE /rooms/chat:1/lock", "", "sessions"),
    (
        "clear_history",
        "DELETE /rooms/chat:1/history",
        "",
        "room_id",
    ),
    ("read_history", "GET /rooms/chat:1/history", "", "events"),
    ("disconnect", "POST /users/u7/disconnect", "", "sessions"),
];

/// Those about nodes and their connections, which have tests of their own.
const OF_NODES: [&str; 7] = [
    "list_nodes",
    "top_rooms",
    "top_connections",
    "room_connections",
    "user_connections",
    "tail",
    "drain",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_is_answered_alike_by_every_server_of_the_cluster() {
    let redis = Redis::start([""; 0]);
    let servers = servers_with(&with_key(&redis), 3).await;
    let ada = client(servers[0].address);
    let adas = ada.room("chat:1");
    in_time(adas.join(JoinOptions::default())).await.unwrap();
    let me = ada.client_id();
    for (name, what, body, same) in ROWS {
        let (method, path) = what.split_once(' ').unwrap();
        let path = path.replace("ME", &me);
        let mut first = None;
        for server in &servers {
            let (status, told) = ask(server, method, &path, "", body);
            assert_eq!(status, 200, "{name}: {told}");
            let told = told.get(same).cloned().unwrap_or_default();
            assert_eq!(*first.get_or_insert_with(|| told.clone()), told, "{name}");
        }
        match name {
            "list_rooms" => {
                let properties = json!({"title": "tea"});
                let line = json!({"room_id": "chat:1", "members": 1, "properties": properties});
                assert_eq!(first, Some(json!([line])));
            }
            "list_members" | "list_sessions" | "list_bans" => {
                assert_eq!(first.unwrap().as_array().unwrap().len(), 1, "{name}");
            }
            _ => {}
        }
    }
    let (_, document) = ask(&servers[0], "GET", "/openapi.json", "", "");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            let name = operation["operationId"].as_str().unwrap();
            let tried = ROWS.iter().any(|row| row.0 == name) || OF_NODES.contains(&name);
            assert!(tried, "{path}: {name} is in no row");
        }
    }
    let (status, away) = ask(
        &servers[2],
        "POST",
        &format!("/users/{me}/disconnect"),
        "",
        "",
    );
    assert_eq!((status, &away["sessions"]), (200, &json!(1)));
}

/// The code with which somebody is put out of a room.
async fn put_out(events: &mut Events) -> String {
    loop {
        match in_time(events.next()).await.expect("the client was closed") {
            RoomEvent::Left(why) => {
                return why.expect("it did not leave by itself").code().to_owned();
            }
            RoomEvent::Gap { .. } => panic!("nothing is missed"),
            _ => {}
        }
    }
}

/// The room's home, the server that is asked and that of whoever is put out are one, two or three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_on_another_server_is_put_out_and_sent_away() {
    let redis = Redis::start([""; 0]);
    let servers = servers_with(&with_key(&redis), 3).await;
    let ada = client(servers[0].address);
    let adas = ada.room("chat:1");
    in_time(adas.join(JoinOptions::default())).await.unwrap();
    let pairs = (0..3).flat_map(|asked| (0..3).map(move |at| (asked, at)));
    for (asked, at) in pairs.filter(|(asked, at)| asked != at) {
        let asked = &servers[asked];
        let does = |method: &str, path: &str, body: Value| {
            let (status, told) = ask(asked, method, path, "", &body.to_string());
            assert_eq!(status, 200, "{path}: {told}");
            told["sessions"].as_u64()
        };
        let bob = client(servers[at].address);
        let bobs = bob.room("chat:1");
        let mut bob_hears = bobs.events();
        in_time(bobs.join(JoinOptions::default())).await.unwrap();
        let id = bob.client_id();
        let user = json!({ "user": id });
        assert_eq!(does("POST", "/rooms/chat:1/kick", user), Some(1));
        assert_eq!(put_out(&mut bob_hears).await, "removed");
        in_time(bobs.join(JoinOptions::default())).await.unwrap();

        let ban = json!({ "user": id, "seconds": 600 });
        assert_eq!(does("POST", "/rooms/chat:1/bans", ban), Some(1));
        assert_eq!(put_out(&mut bob_hears).await, "banned");
        let refused = in_time(bobs.join(JoinOptions::default())).await;
        assert_eq!(refused.unwrap_err().code(), "banned");
        does("DELETE", &format!("/rooms/chat:1/bans/{id}"), Value::Null);
        in_time(bobs.join(JoinOptions::default())).await.unwrap();

        let mut status = bob.status();
        let path = format!("/users/{id}/disconnect");
        assert_eq!(does("POST", &path, json!({})), Some(1));
        let closed = status.wait_for(|it| matches!(it, Status::Closed(_)));
        in_time(closed).await.unwrap();
        let (_, members) = ask(asked, "GET", "/rooms/chat:1/members", "", "");
        assert_eq!(members["total"], 1, "{members}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_runs_the_servers_looks_at_all_and_drains_one() {
    const LEASE: Duration = Duration::from_secs(10);
    let redis = Redis::start([""; 0]);
    let mut settings = with_key(&redis);
    // A takeover that waits for the end of the lease is not to be mistaken for a room that is handed over.
    settings.push(format!("redis.lease={}s", LEASE.as_secs()));
    settings.push("shutdown.delay=50ms".to_owned());
    let mut servers = servers_with(&settings, 2).await;
    let (a, b) = (servers.remove(0), servers.remove(0));
    let (ada, bob) = (client(a.address), client(b.address));
    let (adas, bobs) = (ada.room("chat:1"), bob.room("chat:1"));
    let mut bob_hears = bobs.events();
    in_time(adas.join(JoinOptions::default())).await.unwrap();
    in_time(bobs.join(JoinOptions::default())).await.unwrap();
    let (_, told) = ask(&a, "GET", "/nodes", "", "");
    let nodes = told["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2, "{told}");
    let own = nodes.iter().find(|it| it["answers"] == true).unwrap();
    let node = own["node"].as_str().unwrap().to_owned();
    let adas_connections = format!("/users/{}/connections", ada.client_id());
    for server in [&a, &b] {
        let (status, told) = ask(server, "GET", &adas_connections, "", "");
        let lines = told["connections"].as_array().unwrap();
        assert_eq!((status, lines.len()), (200, 1), "{told}");
        assert_eq!(lines[0]["node"], *node, "{told}");
        let (status, told) = ask(server, "GET", "/top/rooms?by=biggest", "", "");
        let rooms = told["rooms"].as_array().unwrap();
        assert_eq!((status, rooms.len()), (200, 1), "{told}");
        assert_eq!(
            (&rooms[0]["room_id"], &rooms[0]["members"]),
            (&json!("chat:1"), &json!(2))
        );
    }
    let (_, one) = publish(&b, "", "one");
    let offset = one["offset"].as_u64().unwrap();
    assert_eq!(chat(&mut bob_hears).await, (offset, "one".to_owned()));

    let body = json!({ "node": node }).to_string();
    let (status, told) = ask(&b, "POST", "/drain", "", &body);
    assert_eq!(
        (status, &told["code"]),
        (409, &json!("another_node")),
        "{told}"
    );
    let begin = Instant::now();
    let (status, told) = ask(&a, "POST", "/drain", "", &body);
    assert_eq!(status, 200, "{told}");
    assert!(a.ended_well());
    let (status, two) = publish(&b, "", "two");
    let took = begin.elapsed();
    assert!(took < LEASE, "{took:?}");
    assert_eq!(status, 200, "{two}");
    assert_eq!(two["epoch"], one["epoch"]);
    let offset = two["offset"].as_u64().unwrap();
    assert_eq!(chat(&mut bob_hears).await, (offset, "two".to_owned()));
    assert_eq!(b.metric("roomcast_rooms_lost_total"), 0);
}

/// Redis keeps what has nothing to do with the secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_stay_when_the_session_secret_is_changed_and_sessions_begin_anew() {
    let redis = Redis::start([""; 0]);
    let mut settings = with_key(&redis);
    settings.push("shutdown.delay=50ms".to_owned());
    let old = servers_with(&settings, 1).await.remove(0);
    let address = old.address;
    let ada = client(address);
    let adas = ada.room("chat:1");
    in_time(adas.join(JoinOptions::default())).await.unwrap();
    let before = ada.client_id();
    let (status, one) = publish(&old, "", "one");
    assert_eq!(status, 200, "{one}");
    old.signal(Signal::TERM);
    assert!(old.ended_well());

    settings.retain(|it| it != SECRET);
    settings.push("session.secret=a new one of these tests, and as long".to_owned());
    let new = start(address, &settings);
    ready(&new, true).await;
    let (status, told) = ask(&new, "GET", "/rooms/chat:1/history", "", "");
    assert_eq!((status, &told["epoch"]), (200, &one["epoch"]), "{told}");
    let events = told["events"].as_array().unwrap();
    assert!(events.iter().any(|it| it["payload"] == "one"), "{told}");
    let two = in_time(adas.chat("two")).await.unwrap();
    assert!(two.offset > one["offset"].as_u64().unwrap());
    assert_ne!(ada.client_id(), before);
}
