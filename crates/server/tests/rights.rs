//! The table of rights in docs/authentication.md: each request with all rights but one, over real sockets.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
mod wire;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{address, start};
use roomcast_protocol::Format;
use roomcast_server::RunningServer;
use roomcast_server::auth::{NewToken, Signer};
use serde_json::{Value, json};
use wire::Wire;

const DOCUMENT: &str = include_str!("../../../docs/authentication.md");
const SECRET: &str = "a secret for tests, with enough bytes in it";
const RIGHTS: [&str; 5] = ["join", "publish", "presence", "history", "direct"];
const FORMATS: [Format; 2] = [Format::Json, Format::Protobuf];
const ROOM: &str = "relay:1";

// === the table ===

/// A request, and what it gets without each of the rights; empty where it doesn't need that one.
#[derive(Debug)]
struct Row {
    request: String,
    without: Vec<String>,
}

fn table() -> Vec<Row> {
    let section = DOCUMENT.split("\n## What each request needs\n").nth(1);
    let section = section.unwrap().split("\n## ").next().unwrap();
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|');
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines = section
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(cells);
    let head = lines.next().unwrap();
    let rights: Vec<&str> = head[1..]
        .iter()
        .map(|right| right.trim_matches('`'))
        .collect();
    assert_eq!(rights, RIGHTS);
    lines
        .skip(1)
        .map(|cells| Row {
            request: cells[0].clone(),
            without: cells[1..].to_vec(),
        })
        .collect()
}

/// What the table says for who lacks these rights: the first of them that is needed decides.
fn expected<'a>(row: &'a Row, lacking: &[&str]) -> &'a str {
    let cells = RIGHTS.iter().zip(&row.without);
    let mut needed = cells.filter(|(right, cell)| lacking.contains(right) && !cell.is_empty());
    needed.next().map_or("", |(_, cell)| cell)
}

// === the requests ===

/// What a test knows of the room that it asks for, and of somebody who is there.
struct Scene {
    client: Value,
    epoch: Value,
    /// The room's token, which goes with each `join_room`.
    room_token: Option<String>,
    /// A token that `auth` takes.
    own_token: String,
}

/// A request of the table. Those that are not here are `hello`s.
fn requests(scene: &Scene) -> Vec<(&'static str, Value, &'static str)> {
    let join = |mut payload: Value| {
        if let Some(token) = &scene.room_token {
            payload["token"] = json!(token);
        }
        json!({"type": "join_room", "room_id": ROOM, "payload": payload})
    };
    let since = json!({"since": {"epoch": scene.epoch, "offset": 1}});
    let action = json!({"action": "wave"});
    // Other members' presence comes too.
    static VALUE: AtomicU64 = AtomicU64::new(0);
    let value = VALUE.fetch_add(1, Ordering::Relaxed);
    let (keys, seq) = (json!({"presence": {"a": value}}), json!({"seq": 1}));
    vec![
        ("`join_room`", join(json!({})), "joined"),
        ("`join_room` with `presence`", join(keys.clone()), "joined"),
        ("`join_room` with `since`", join(since), "joined"),
        (
            "`chat`",
            json!({"type": "chat", "room_id": ROOM, "payload": "x", "seq": 1}),
            "ack",
        ),
        (
            "`event`",
            json!({"type": "event", "room_id": ROOM, "name": "e", "seq": 1}),
            "ack",
        ),
        (
            "`game_action`",
            json!({"type": "game_action", "room_id": ROOM, "payload": action, "seq": 1}),
            "ack",
        ),
        (
            "`chat` with `to_client_id`",
            json!({"type": "chat", "to_client_id": scene.client, "payload": "x", "seq": 1}),
            "ack",
        ),
        (
            "`event` with `to_user_id`",
            json!({"type": "event", "to_user_id": "ada", "name": "e", "seq": 1}),
            "ack",
        ),
        (
            "`presence`",
            json!({"type": "presence", "room_id": ROOM, "payload": keys}),
            "presence",
        ),
        (
            "`members`",
            json!({"type": "members", "room_id": ROOM}),
            "members",
        ),
        (
            "`history`",
            json!({"type": "history", "room_id": ROOM}),
            "history",
        ),
        (
            "`skip` with `room_id`",
            json!({"type": "skip", "room_id": ROOM, "payload": seq.clone()}),
            "ack",
        ),
        ("`skip`", json!({"type": "skip", "payload": seq}), "ack"),
        ("`ping`", json!({"type": "ping"}), "pong"),
        (
            "`auth`",
            json!({"type": "auth", "payload": {"token": scene.own_token}}),
            "auth",
        ),
        // Last: who has left is no member for those after it.
        (
            "`leave_room`",
            json!({"type": "leave_room", "room_id": ROOM}),
            "player_left",
        ),
    ]
}

const HELLOS: [&str; 2] = [
    "`hello` that resumes, with a position of its own stay",
    "`hello` that resumes, with an older position",
];

/// Sends a request; what became of it, in the words of the table.
fn ask(wire: &mut Wire, request: &Value, answer: &str) -> String {
    wire.send(&request.to_string());
    let got = wire.until(|message| match message["type"].as_str() {
        Some("error") => message["payload"]["request"] == request["type"],
        // One's own, not that of who joined before.
        Some("player_left") => answer == "player_left",
        Some("presence") => {
            answer == "presence" && message["payload"]["presence"] == request["payload"]["presence"]
        }
        kind => kind == Some(answer),
    });
    outcome(&got, request["payload"].get("since").is_some())
}

fn outcome(got: &Value, with_position: bool) -> String {
    let payload = &got["payload"];
    match got["type"].as_str() {
        Some("error") => format!("`{}`", payload["code"].as_str().unwrap()),
        Some("joined") if with_position && payload["recovered"] == false => {
            "`recovered` is false".to_owned()
        }
        _ => String::new(),
    }
}

// === the cast ===

fn sign(user: &str, rooms: &[&str], allow: &[&str]) -> String {
    sign_for(user, rooms, allow, 3600)
}

fn sign_for(user: &str, rooms: &[&str], allow: &[&str], seconds: u64) -> String {
    let own = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
    let token = NewToken {
        user: user.to_owned(),
        rooms: own(rooms),
        allow: own(allow),
        ttl: Duration::from_secs(seconds),
        ..NewToken::default()
    };
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    signer.sign(&token).unwrap()
}

fn server(anonymous: bool) -> RunningServer {
    start(|config| {
        config.auth.hs256_secret = SECRET.to_owned().into();
        config.auth.anonymous = Some(anonymous);
        config.auth.leeway = Duration::from_millis(1);
        config.core.max_offences = 0;
        config.core.max_user_sessions = 0;
    })
}

fn all_but(lacking: &[&str]) -> Vec<&'static str> {
    RIGHTS
        .into_iter()
        .filter(|it| !lacking.contains(it))
        .collect()
}

/// Without any right there is still a permission, for another room.
fn with(user: &str, allow: &[&str]) -> String {
    match allow {
        [] => sign(user, &["relay:elsewhere"], &["join"]),
        allow => sign(user, &[ROOM], allow),
    }
}

fn hello(wire: &mut Wire, payload: Value) -> Value {
    let mut payload = payload;
    payload["version"] = json!(1);
    wire.send(&json!({"type": "hello", "payload": payload}).to_string());
    wire.receive()
}

/// Ada, who may do everything, is in the room and has spoken.
fn ada(address: SocketAddr, format: Format) -> (Wire, Scene) {
    let mut wire = Wire::open(address, format);
    let welcome = hello(&mut wire, json!({"token": sign("ada", &[], &[])}));
    let joined = wire.join(ROOM);
    for text in ["one", "two"] {
        wire.send(&json!({"type": "chat", "room_id": ROOM, "payload": text}).to_string());
        wire.expect("chat");
    }
    let scene = Scene {
        client: welcome["payload"]["client_id"].clone(),
        epoch: joined["payload"]["epoch"].clone(),
        room_token: None,
        own_token: String::new(),
    };
    (wire, scene)
}

fn is_join(request: &str) -> bool {
    request.starts_with("`join_room`")
}

/// Joins, where the rights allow it; past all that this brings.
fn join_if_allowed(wire: &mut Wire, scene: &Scene) {
    let (_, join, answer) = requests(scene).swap_remove(0);
    ask(wire, &join, answer);
}

/// Each request on a client of its own, which `begin` makes: what it gets is what the table says for who lacks these.
fn go_through(lacking: &[&str], scene: &Scene, what: &str, mut begin: impl FnMut(&str) -> Wire) {
    let table = table();
    for (name, request, answer) in requests(scene) {
        let row = table.iter().find(|row| row.request == name).unwrap();
        let mut wire = begin(name);
        let mut request = request;
        let numbers = if request.get("seq").is_some() {
            1..=2
        } else {
            1..=1
        };
        for seq in numbers {
            // The one after a refused one is no gap.
            if let Some(number) = request.get_mut("seq") {
                *number = json!(seq);
            }
            let got = ask(&mut wire, &request, answer);
            let want = expected(row, lacking);
            assert_eq!(got, want, "{what}, without {lacking:?}: {request}");
        }
    }
}

/// Every right on its own is missing, and all, and none.
fn lacks() -> Vec<Vec<&'static str>> {
    let one = RIGHTS.into_iter().map(|right| vec![right]);
    one.chain([RIGHTS.to_vec(), Vec::new()]).collect()
}

// === the tests ===

#[test]
fn the_table_has_every_request() {
    let scene = Scene {
        client: json!("c"),
        epoch: json!("e"),
        room_token: None,
        own_token: String::new(),
    };
    let names = requests(&scene)
        .into_iter()
        .map(|(name, ..)| name)
        .chain(HELLOS);
    let rows = table();
    let in_table: BTreeSet<&str> = rows.iter().map(|row| row.request.as_str()).collect();
    assert_eq!(names.collect::<BTreeSet<_>>(), in_table);
    assert_eq!(rows.len(), in_table.len());
}

#[test]
fn a_users_token_allows_what_it_says() {
    let server = server(false);
    for (format, lacking) in FORMATS
        .into_iter()
        .flat_map(|it| lacks().into_iter().map(move |l| (it, l)))
    {
        let (_ada, mut scene) = ada(address(&server), format);
        scene.own_token = with("bob", &all_but(&lacking));
        go_through(&lacking, &scene, "a user's token", |name| {
            let mut wire = Wire::open(address(&server), format);
            let welcome = hello(&mut wire, json!({"token": scene.own_token}));
            assert_eq!(welcome["type"], "welcome", "{welcome}");
            if !is_join(name) {
                join_if_allowed(&mut wire, &scene);
            }
            wire
        });
    }
}

#[test]
fn a_rooms_token_adds_what_it_says_and_no_direct_messages() {
    let server = server(false);
    for lacking in lacks() {
        let (_ada, mut scene) = ada(address(&server), Format::Json);
        scene.own_token = with("bob", &[]);
        scene.room_token = Some(with("bob", &all_but(&lacking)));
        let mut lacking = lacking;
        if !lacking.contains(&"direct") {
            lacking.push("direct");
        }
        go_through(&lacking, &scene, "a room's token", |name| {
            let mut wire = Wire::open(address(&server), Format::Json);
            hello(&mut wire, json!({"token": scene.own_token}));
            if !is_join(name) {
                join_if_allowed(&mut wire, &scene);
            }
            wire
        });
    }
}

#[test]
fn a_rooms_token_that_has_ended_allows_nothing() {
    let server = server(false);
    let (mut ada, mut scene) = ada(address(&server), Format::Json);
    scene.own_token = with("bob", &[]);
    // It ends while its client is in the room.
    scene.room_token = Some(sign_for("bob", &[ROOM], &[], 1));
    let mut wire = Wire::open(address(&server), Format::Json);
    hello(&mut wire, json!({"token": scene.own_token}));
    join_if_allowed(&mut wire, &scene);
    wire.expect("player_left");
    ada.expect("player_left");
    let table = table();
    for (name, mut request, answer) in requests(&scene) {
        if name == "`skip`" {
            // A direct message came before.
            request["payload"]["seq"] = json!(2);
        }
        let got = ask(&mut wire, &request, answer);
        let row = table.iter().find(|row| row.request == name).unwrap();
        if is_join(name) {
            assert_eq!(got, "`unauthorized`", "{request}");
        } else {
            assert_eq!(got, expected(row, &RIGHTS), "{request}");
        }
    }
    // What the client's own token allows stays.
    scene.own_token = with("bob", &["join"]);
    scene.room_token = Some(sign_for("bob", &[ROOM], &[], 1));
    let mut wire = Wire::open(address(&server), Format::Json);
    hello(&mut wire, json!({"token": scene.own_token}));
    join_if_allowed(&mut wire, &scene);
    let chat = json!({"type": "chat", "room_id": ROOM, "payload": "x"});
    let refused = loop {
        wire.send(&chat.to_string());
        let got = wire.until(|it| matches!(it["type"].as_str(), Some("chat" | "error")));
        if got["type"] == "error" {
            break got;
        }
    };
    assert_eq!(refused["payload"]["code"], "forbidden", "{refused}");
    assert_eq!(
        ask(
            &mut wire,
            &json!({"type": "members", "room_id": ROOM}),
            "members"
        ),
        ""
    );
}

#[test]
fn nothing_is_done_for_who_has_no_token_or_one_that_has_ended() {
    let server = server(false);
    let (_ada, mut scene) = ada(address(&server), Format::Json);
    scene.own_token = sign("bob", &[], &[]);
    let ended = [sign_for("bob", &[], &[], 0), String::new()];
    for ((_, request, _), token) in requests(&scene)
        .into_iter()
        .flat_map(|it| ended.iter().map(move |t| (it.clone(), t)))
    {
        let mut wire = Wire::open(address(&server), Format::Json);
        if token.is_empty() {
            wire.send(&request.to_string());
        } else {
            wire.send(
                &json!({"type": "hello", "payload": {"version": 1, "token": token}}).to_string(),
            );
            wire.send(&request.to_string());
        }
        let got = wire.receive();
        assert_eq!(got["payload"]["code"], "unauthorized", "{request}: {got}");
        assert_eq!(wire.expect_close().0, 4502, "{request}");
    }
}

#[test]
fn who_is_served_without_a_token_may_do_everything() {
    let server = server(true);
    for format in FORMATS {
        let (_ada, mut scene) = ada(address(&server), format);
        scene.own_token = sign("", &[], &[]);
        go_through(&[], &scene, "without a token", |name| {
            let mut wire = Wire::open(address(&server), format);
            hello(&mut wire, json!({}));
            if !is_join(name) {
                join_if_allowed(&mut wire, &scene);
            }
            wire
        });
    }
}

#[test]
fn a_session_that_comes_back_has_the_rights_of_its_new_token() {
    let server = server(false);
    for lacking in lacks() {
        let (_ada, mut scene) = ada(address(&server), Format::Json);
        scene.own_token = with("bob", &all_but(&lacking));
        go_through(&lacking, &scene, "a resumed session", |name| {
            let mut wire = Wire::open(address(&server), Format::Json);
            let welcome = hello(&mut wire, json!({"token": sign("bob", &[], &[])}));
            wire.join(ROOM);
            let resume = &welcome["payload"]["resume_token"];
            let mut again = Wire::open(address(&server), Format::Json);
            let payload = json!({"token": scene.own_token, "resume_token": resume});
            let welcome = hello(&mut again, payload);
            assert_eq!(welcome["payload"]["resumed"], true, "{welcome}");
            if is_join(name) {
                // A member's second `join_room` is given nothing of the log.
                let leave = json!({"type": "leave_room", "room_id": ROOM});
                ask(&mut again, &leave, "player_left");
            }
            again
        });
    }
}

#[test]
fn a_new_token_on_the_same_connection_counts_at_once() {
    let server = server(false);
    for lacking in lacks() {
        let (_ada, mut scene) = ada(address(&server), Format::Json);
        scene.own_token = with("bob", &all_but(&lacking));
        go_through(&lacking, &scene, "a renewed token", |name| {
            let mut wire = Wire::open(address(&server), Format::Json);
            hello(&mut wire, json!({"token": sign("bob", &[], &[])}));
            if !is_join(name) {
                wire.join(ROOM);
            }
            let auth = json!({"type": "auth", "payload": {"token": scene.own_token}});
            assert_eq!(ask(&mut wire, &auth, "auth"), "");
            if lacking.contains(&"join") && !is_join(name) {
                wire.expect("player_left");
            }
            wire
        });
    }
}

#[test]
fn who_comes_back_gets_what_it_missed_of_its_own_stay_and_nothing_older() {
    let server = server(false);
    let table = table();
    for (lacking, (at, name)) in lacks()
        .into_iter()
        .flat_map(|l| HELLOS.into_iter().enumerate().map(move |h| (l.clone(), h)))
    {
        let (mut ada, _) = ada(address(&server), Format::Json);
        // One of its own, for a user is in a room until the last session is out.
        let user = format!("bob-{at}-{}", lacking.join("-"));
        let mut bob = Wire::open(address(&server), Format::Json);
        let welcome = hello(&mut bob, json!({"token": sign(&user, &[], &[])}));
        let joined = bob.join(ROOM)["payload"].take();
        let offset = joined["offset"].as_u64().unwrap() - at as u64;
        let since = json!({"epoch": joined["epoch"], "offset": offset});
        ada.send(&json!({"type": "chat", "room_id": ROOM, "payload": "missed"}).to_string());
        ada.until(|it| it["payload"] == "missed");
        let mut again = Wire::open(address(&server), Format::Json);
        hello(
            &mut again,
            json!({
                "token": with(&user, &all_but(&lacking)),
                "resume_token": welcome["payload"]["resume_token"],
                "positions": [{"room_id": ROOM, "since": since}],
            }),
        );
        let row = table.iter().find(|row| row.request == name).unwrap();
        let want = expected(row, &lacking);
        let first = again.until(|it| it["room_id"] == ROOM);
        assert_eq!(outcome(&first, true), want, "without {lacking:?}: {first}");
        if want == "`not_in_room`" {
            ada.expect("player_left");
        }
        // All that is of the room, up to a direct message that is sent later.
        let mut of_room = Vec::new();
        ada.send(&json!({"type": "chat", "to_user_id": user, "payload": "end"}).to_string());
        again.until(|it| {
            of_room.extend(
                (it["room_id"] == ROOM && it["type"] == "chat").then(|| it["payload"].clone()),
            );
            it["payload"] == "end"
        });
        let missed = match (want, at) {
            ("", 0) => vec!["missed"],
            ("", _) => vec!["two", "missed"],
            _ => Vec::new(),
        };
        assert_eq!(of_room, missed, "without {lacking:?}: {name}");
    }
}

#[test]
fn a_session_whose_token_has_ended_is_nobodys_without_a_new_one() {
    let server = server(true);
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        let welcome = hello(&mut wire, json!({"token": sign_for("bob", &[], &[], 1)}));
        wire.join(ROOM);
        assert_eq!(wire.expect_close().0, 4007);
        let resume = &welcome["payload"]["resume_token"];
        let mut again = Wire::open(address(&server), format);
        let refused = hello(&mut again, json!({"resume_token": resume}));
        assert_eq!(refused["payload"]["code"], "unauthorized", "{refused}");
        assert_eq!(refused["payload"]["request"], "hello", "{refused}");
        assert_eq!(again.expect_close().0, 4007);
        // It is still there for who has a token.
        let mut again = Wire::open(address(&server), format);
        let token = sign("bob", &[], &[]);
        let welcome = hello(&mut again, json!({"resume_token": resume, "token": token}));
        assert_eq!(welcome["payload"]["resumed"], true, "{welcome}");
        again.expect("joined");
    }
}
