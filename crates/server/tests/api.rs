//! The API for backends: each row of its table, used rightly and wrongly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;
#[path = "common/http.rs"]
mod http;

use std::net::SocketAddr;

use common::{Client, address, eventually, metric, start};
use http::{Answer, request};
use roomcast_protocol::client::ServerBody;
use roomcast_protocol::{Hello, Incoming, JoinRoom, MessageType, Request};
use roomcast_server::RunningServer;
use roomcast_server::auth::{NewToken, Signer};
use roomcast_server::config::{ApiKey, Config, Right};
use serde_json::{Value, json};

const KEY: &str = "a-key-that-may-do-everything-1234567890";
/// The name of its table: who sends what is published with it.
const SERVICE: &str = "all";
const WEAK: &str = "a-key-that-may-do-nothing-much-1234567890";
const SLOW: &str = "a-key-that-may-be-used-once-1234567890123";

fn key(name: &str, key: &str, rights: &[Right], rate: u32) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        key: key.to_owned().into(),
        rights: rights.to_vec(),
        rate,
        ..ApiKey::default()
    }
}

fn with_keys(config: &mut Config) {
    config.server.shards = Some(2);
    config.api_keys = vec![
        key(SERVICE, KEY, Right::ALL, 0),
        key("slow", SLOW, Right::ALL, 1),
    ];
}

/// Every right but this one.
fn all_but(right: Right) -> Vec<Right> {
    let all = Right::ALL.iter().copied();
    all.filter(|it| *it != right).collect()
}

fn ask(server: &RunningServer, key: &str, method: &str, path: &str, body: &str) -> Answer {
    ask_with(server, key, method, path, &[], body)
}

fn ask_with(
    server: &RunningServer,
    key: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let bearer = format!("authorization: Bearer {key}");
    let headers: Vec<&str> = [&*bearer]
        .into_iter()
        .chain(headers.iter().copied())
        .collect();
    request(
        address(server),
        method,
        &format!("/api/v1{path}"),
        &headers,
        body,
    )
}

/// What each row takes: a good request and its status, and bad ones with their codes.
struct Row {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    right: Right,
    good: &'static str,
    done: u16,
    /// Bodies, or queries of what takes none.
    bad: &'static [(&'static str, u16, &'static str)],
}

const BAD_MESSAGES: &[(&str, u16, &str)] = &[
    ("", 400, "invalid_json"),
    ("[]", 400, "invalid_json"),
    (r#"{"type":"chat"}"#, 400, "missing_field"),
    (r#"{"type":"event","payload":1}"#, 400, "missing_field"),
    (
        r#"{"type":"join_room","payload":{"room_id":"a"}}"#,
        400,
        "unknown_type",
    ),
    (
        r#"{"type":"chat","payload":1,"seq":1}"#,
        400,
        "invalid_value",
    ),
    (
        r#"{"type":"chat","payload":1,"room_id":"relay:2"}"#,
        400,
        "invalid_value",
    ),
    (
        r#"{"type":"chat","payload":1,"to_user_id":"u"}"#,
        400,
        "invalid_value",
    ),
    (
        r#"{"type":"event","name":"roomcast.x","payload":1}"#,
        400,
        "invalid_name",
    ),
];

const CHAT: &str = r#"{"type":"chat","payload":"hello"}"#;

const ROWS: &[Row] = &[
    Row {
        name: "publish",
        method: "POST",
        path: "/rooms/relay:1/messages",
        right: Right::Publish,
        good: CHAT,
        done: 200,
        bad: BAD_MESSAGES,
    },
    Row {
        name: "publish_many",
        method: "POST",
        path: "/messages",
        right: Right::Publish,
        good: r#"{"messages":[{"room_id":"relay:1","type":"chat","payload":"hello"}]}"#,
        done: 200,
        bad: &[
            ("", 400, "invalid_json"),
            ("{}", 400, "invalid_json"),
            (r#"{"messages":{}}"#, 400, "invalid_json"),
        ],
    },
    Row {
        name: "send_to_user",
        method: "POST",
        path: "/users/nobody/messages",
        right: Right::Send,
        good: CHAT,
        done: 404,
        bad: BAD_MESSAGES,
    },
    Row {
        name: "send_to_client",
        method: "POST",
        path: "/clients/nobody/messages",
        right: Right::Send,
        good: CHAT,
        done: 404,
        bad: &[],
    },
    Row {
        name: "list_rooms",
        method: "GET",
        path: "/rooms",
        right: Right::Read,
        good: "",
        done: 200,
        bad: &[
            ("limit=0", 400, "invalid_value"),
            ("limit=1001", 400, "invalid_value"),
            ("limit=x", 400, "invalid_value"),
            ("kind=%ff", 400, "invalid_value"),
        ],
    },
    Row {
        name: "list_members",
        method: "GET",
        path: "/rooms/relay:1/members",
        right: Right::Read,
        good: "",
        done: 200,
        bad: &[("after=-1", 400, "invalid_value")],
    },
    Row {
        name: "read_history",
        method: "GET",
        path: "/rooms/relay:1/history",
        right: Right::Read,
        good: "",
        done: 200,
        bad: &[
            ("before=1&after=1", 400, "invalid_value"),
            ("after=9007199254740992", 400, "invalid_value"),
        ],
    },
    Row {
        name: "list_sessions",
        method: "GET",
        path: "/users/nobody/sessions",
        right: Right::Read,
        good: "",
        done: 200,
        bad: &[("limit=1", 400, "invalid_value")],
    },
    Row {
        name: "disconnect",
        method: "POST",
        path: "/users/nobody/disconnect",
        right: Right::Moderate,
        good: "",
        done: 200,
        bad: &[
            ("[", 400, "invalid_json"),
            (r#"{"reason":1}"#, 400, "invalid_json"),
            (r#"{"why":"x"}"#, 400, "invalid_json"),
            (r#"{"reason":"a\nb"}"#, 400, "invalid_value"),
        ],
    },
    Row {
        name: "kick",
        method: "POST",
        path: "/rooms/relay:1/kick",
        right: Right::Moderate,
        good: r#"{"user":"u7"}"#,
        done: 200,
        bad: &[
            ("", 400, "invalid_json"),
            ("{}", 400, "invalid_json"),
            (r#"{"user":"a b"}"#, 400, "invalid_name"),
        ],
    },
    Row {
        name: "ban",
        method: "POST",
        path: "/rooms/relay:1/bans",
        right: Right::Moderate,
        good: r#"{"user":"u7","seconds":60}"#,
        done: 200,
        bad: &[
            ("{}", 400, "invalid_json"),
            (r#"{"user":"u7","seconds":0}"#, 400, "invalid_value"),
            (r#"{"user":"u7","seconds":2592001}"#, 400, "invalid_value"),
        ],
    },
    Row {
        name: "list_bans",
        method: "GET",
        path: "/rooms/relay:1/bans",
        right: Right::Moderate,
        good: "",
        done: 200,
        bad: &[("limit=1", 400, "invalid_value")],
    },
    Row {
        name: "lift_ban",
        method: "DELETE",
        path: "/rooms/relay:1/bans/u7",
        right: Right::Moderate,
        good: "",
        done: 200,
        bad: &[],
    },
    Row {
        name: "lock",
        method: "POST",
        path: "/rooms/relay:1/lock",
        right: Right::Moderate,
        good: r#"{"seconds":60}"#,
        done: 200,
        bad: &[
            ("{}", 400, "invalid_json"),
            (r#"{"seconds":0}"#, 400, "invalid_value"),
        ],
    },
    Row {
        name: "unlock",
        method: "DELETE",
        path: "/rooms/relay:1/lock",
        right: Right::Moderate,
        good: "",
        done: 200,
        bad: &[],
    },
    Row {
        name: "read_properties",
        method: "GET",
        path: "/rooms/relay:1/properties",
        right: Right::Read,
        good: "",
        done: 200,
        bad: &[("limit=1", 400, "invalid_value")],
    },
    Row {
        name: "set_properties",
        method: "PATCH",
        path: "/rooms/relay:1/properties",
        right: Right::Manage,
        good: r#"{"title":"tea"}"#,
        done: 200,
        bad: &[
            ("", 400, "invalid_json"),
            ("[]", 400, "invalid_json"),
            ("{},\"nickname\":\"x\"", 400, "invalid_json"),
            (r#"{"":1}"#, 400, "invalid_name"),
        ],
    },
    Row {
        name: "clear_history",
        method: "DELETE",
        path: "/rooms/relay:1/history",
        right: Right::Manage,
        good: "",
        done: 200,
        bad: &[],
    },
    Row {
        name: "list_nodes",
        method: "GET",
        path: "/nodes",
        right: Right::Read,
        good: "",
        done: 200,
        bad: &[],
    },
    Row {
        name: "top_rooms",
        method: "GET",
        path: "/top/rooms",
        right: Right::Read,
        good: "",
        done: 200,
        bad: &[
            ("by=odd", 400, "invalid_value"),
            ("limit=0", 400, "invalid_value"),
            ("limit=101", 400, "invalid_value"),
        ],
    },
    Row {
        name: "top_connections",
        method: "GET",
        path: "/top/connections",
        right: Right::Read,
        good: "",
        done: 200,
        bad: &[("limit=x", 400, "invalid_value")],
    },
    Row {
        name: "room_connections",
        method: "GET",
        path: "/rooms/relay:1/connections",
        right: Right::Read,
        good: "",
        done: 200,
        bad: &[("limit=0", 400, "invalid_value")],
    },
    Row {
        name: "user_connections",
        method: "GET",
        path: "/users/nobody/connections",
        right: Right::Read,
        good: "",
        done: 200,
        bad: &[("limit=0", 400, "invalid_value")],
    },
    Row {
        name: "drain",
        method: "POST",
        path: "/drain",
        right: Right::Operate,
        good: r#"{"node":"another"}"#,
        done: 409,
        bad: &[
            ("{}", 400, "invalid_json"),
            (r#"{"node":"a","b":1}"#, 400, "invalid_json"),
        ],
    },
];

/// Rows that are tried elsewhere: a stream has no end that the requests here would wait for.
const STREAMS: [&str; 1] = ["tail"];

#[test]
fn each_row_is_done_with_the_right_key_and_no_other() {
    for row in ROWS {
        let server = start(|config| {
            with_keys(config);
            config
                .api_keys
                .push(key("weak", WEAK, &all_but(row.right), 0));
            // A key has to have some right.
            if all_but(row.right).is_empty() {
                config.api_keys.pop();
            }
        });
        let name = row.name;
        let done = ask(&server, KEY, row.method, row.path, row.good);
        assert_eq!(done.status, row.done, "{name}: {done:?}");
        let wrong = ask(&server, &KEY[1..], row.method, row.path, row.good);
        assert_eq!(
            (wrong.status, wrong.code()),
            (401, "unauthorized"),
            "{name}"
        );
        assert!(
            wrong
                .header("www-authenticate")
                .unwrap()
                .starts_with("Bearer")
        );
        let path = format!("/api/v1{}", row.path);
        let none = request(address(&server), row.method, &path, &[], row.good);
        assert_eq!((none.status, none.code()), (401, "unauthorized"), "{name}");
        if !all_but(row.right).is_empty() {
            let weak = ask(&server, WEAK, row.method, row.path, row.good);
            assert_eq!((weak.status, weak.code()), (403, "forbidden"), "{name}");
        }
        for (body, status, code) in row.bad {
            let bad = match row.method {
                "GET" => {
                    let path = format!("{}?{body}", row.path);
                    ask(&server, KEY, row.method, &path, "")
                }
                _ => ask(&server, KEY, row.method, row.path, body),
            };
            assert_eq!(bad.status, *status, "{name}: {body} {bad:?}");
            assert_eq!(
                (bad.status, bad.code()),
                (*status, *code),
                "{name}: {body} {bad:?}"
            );
        }
        let first = ask(&server, SLOW, row.method, row.path, row.good);
        assert_eq!(first.status, row.done, "{name}");
        let over = ask(&server, SLOW, row.method, row.path, row.good);
        assert_eq!((over.status, over.code()), (429, "rate_limited"), "{name}");
        // A request that looks at everything counts as 50.
        let waits = over.header("retry-after");
        assert!(["1", "50"].map(Some).contains(&waits), "{name}: {waits:?}");
        let odd = ask(
            &server,
            KEY,
            row.method,
            &format!("{}?odd=1", row.path),
            row.good,
        );
        assert_eq!((odd.status, odd.code()), (400, "invalid_value"), "{name}");
        let method = ask(&server, KEY, "PUT", row.path, "");
        assert_eq!(
            (method.status, method.code()),
            (405, "method_not_allowed"),
            "{name}"
        );
        assert!(method.header("allow").unwrap().contains(row.method));
        let counted = |outcome: &str| {
            let labels = format!("{{route=\"{name}\",outcome=\"{outcome}\"}}");
            metric(&server, &format!("roomcast_api_requests_total{labels}"))
        };
        let refused = row.bad.len() as u64 + 1;
        let counts = (counted("done"), counted("limited"), counted("refused"));
        match row.done {
            200 => assert_eq!(counts, (2, 1, refused), "{name}"),
            _ => assert_eq!(counts, (0, 1, refused + 2), "{name}"),
        }
    }
}

#[test]
fn every_row_of_the_document_is_tried() {
    let document = roomcast_server::openapi();
    let mut rows = Vec::new();
    for (_, methods) in document["paths"].as_object().unwrap() {
        for (_, operation) in methods.as_object().unwrap() {
            rows.push(operation["operationId"].as_str().unwrap().to_owned());
        }
    }
    rows.sort();
    let rows_here = ROWS.iter().map(|row| row.name);
    let mut tried: Vec<_> = rows_here.chain(STREAMS).collect();
    tried.sort();
    assert_eq!(rows, tried);
}

#[test]
fn members_get_what_is_published_from_the_service() {
    let server = start(with_keys);
    let mut client = Client::json(address(&server));
    client.join("relay:1");
    let body = r#"{"type":"event","name":"shipped","payload":{"order":7}}"#;
    let told = ask(&server, KEY, "POST", "/rooms/relay%3A1/messages", body);
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(told.body["room_id"], "relay:1");
    assert_eq!(told.body["repeated"], false);
    let message = client.expect(MessageType::Event);
    assert_eq!(message.from_client_id, "");
    assert_eq!(message.from_service, SERVICE);
    assert_eq!(told.body["offset"], message.offset);
    assert_eq!(told.body["epoch"], &*message.epoch);
    assert_eq!(told.body["timestamp"], message.timestamp);
}

#[test]
fn a_key_for_once_is_answered_as_the_first_time() {
    let server = start(with_keys);
    let body = r#"{"type":"chat","payload":"hello"}"#;
    let path = "/rooms/relay:1/messages";
    let once = |key: &str| {
        let header = format!("Idempotency-Key: {key}");
        ask_with(&server, KEY, "POST", path, &[&header], body)
    };
    let (first, again, other) = (once("order-1"), once("order-1"), once("order-2"));
    assert_eq!(first.body["offset"], again.body["offset"]);
    assert_eq!(first.body["epoch"], again.body["epoch"]);
    assert_eq!(
        (&first.body["repeated"], &again.body["repeated"]),
        (&json!(false), &json!(true))
    );
    assert_ne!(first.body["offset"], other.body["offset"]);
    // Another key's holder has keys of its own.
    let header = "Idempotency-Key: order-1";
    let theirs = ask_with(&server, SLOW, "POST", path, &[header], body);
    assert_eq!(theirs.body["repeated"], false);
    let long = format!("Idempotency-Key: {}", "x".repeat(256));
    let long = ask_with(&server, KEY, "POST", path, &[&long], body);
    assert_eq!((long.status, long.code()), (400, "invalid_value"));
    let ephemeral = r#"{"type":"chat","payload":1,"ephemeral":true}"#;
    let kept = ask_with(&server, KEY, "POST", path, &[header], ephemeral);
    assert_eq!((kept.status, kept.code()), (400, "invalid_value"));
    let told = ask(&server, KEY, "POST", path, ephemeral);
    assert_eq!((told.status, &told.body["offset"]), (200, &Value::Null));
}

#[test]
fn a_batch_has_a_result_for_each_message() {
    let server = start(with_keys);
    let mut client = Client::json(address(&server));
    client.join("relay:1");
    let chat = |room: &str, n: u32| json!({"room_id": room, "type": "chat", "payload": n});
    let mut messages: Vec<Value> = (0..50).map(|n| chat("relay:1", n)).collect();
    messages.push(chat("relay:2", 0));
    messages.push(json!({"type": "chat", "payload": 1}));
    messages.push(chat("bad name", 0));
    messages.push(json!(7));
    let mut once = chat("relay:3", 1);
    once["idempotency_key"] = "a".into();
    messages.extend([once.clone(), once]);
    let body = json!({ "messages": messages }).to_string();
    let answer = ask(&server, KEY, "POST", "/messages", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = answer.body["results"].as_array().unwrap();
    assert_eq!(results.len(), messages.len());
    let offsets: Vec<_> = (0..50)
        .map(|n| results[n]["offset"].as_u64().unwrap())
        .collect();
    assert!(
        offsets.windows(2).all(|two| two[1] == two[0] + 1),
        "{offsets:?}"
    );
    let codes = [51, 52, 53].map(|n: usize| results[n]["error"]["code"].as_str().unwrap());
    assert_eq!(codes, ["missing_field", "invalid_name", "invalid_json"]);
    assert_eq!(results[54]["offset"], results[55]["offset"]);
    assert_eq!(results[55]["repeated"], true);
    for _ in 0..50 {
        client.expect_chat();
    }
    let many = json!({ "messages": vec![chat("relay:1", 1); 1_001] }).to_string();
    let many = ask(&server, KEY, "POST", "/messages", &many);
    assert_eq!((many.status, many.code()), (400, "too_many"));
    // A batch may be larger than the key's rate. Then the next request waits for all of it.
    let body = json!({ "messages": [chat("relay:1", 1), chat("relay:1", 2)] }).to_string();
    let taken = ask(&server, SLOW, "POST", "/messages", &body);
    assert_eq!(taken.status, 200, "{taken:?}");
    let over = ask(&server, SLOW, "POST", "/messages", &body);
    assert_eq!((over.status, over.code()), (429, "rate_limited"));
    assert!(
        over.body["retry_after_ms"].as_u64() > Some(1_000),
        "{over:?}"
    );
    let header = "Idempotency-Key: a";
    let for_all = ask_with(&server, KEY, "POST", "/messages", &[header], &body);
    assert_eq!((for_all.status, for_all.code()), (400, "invalid_value"));
}

#[test]
fn what_is_too_large_is_refused() {
    let server = start(|config| {
        with_keys(config);
        config.api.max_body = 2_000;
        config.core.max_message = 1_000;
        config.core.link_window = 2_000;
    });
    let chat = |length: usize| json!({"type": "chat", "payload": "x".repeat(length)}).to_string();
    for length in [1_000, 3_000, 100_000] {
        let large = ask(
            &server,
            KEY,
            "POST",
            "/rooms/relay:1/messages",
            &chat(length),
        );
        assert_eq!((large.status, large.code()), (413, "too_large"));
    }
    let fits = ask(&server, KEY, "POST", "/rooms/relay:1/messages", &chat(900));
    assert_eq!(fits.status, 200);
}

#[test]
fn a_kind_that_is_not_configured_is_not_found() {
    let server = start(|config| {
        with_keys(config);
        config.core.refuse_unknown_kinds = true;
    });
    let body = r#"{"type":"chat","payload":"hello"}"#;
    let answer = ask(&server, KEY, "POST", "/rooms/other:1/messages", body);
    assert_eq!((answer.status, answer.code()), (404, "unknown_kind"));
}

#[test]
fn it_is_off_without_a_key() {
    let server = start(|_| {});
    let body = r#"{"type":"chat","payload":"hello"}"#;
    let answer = ask(&server, KEY, "POST", "/rooms/relay:1/messages", body);
    assert!(answer.status == 404 || answer.status == 413, "{answer:?}");
    let document = request(address(&server), "GET", "/api/v1/openapi.json", &[], "");
    assert_eq!(document.status, 404);
    assert_eq!(
        request(address(&server), "GET", "/admin", &[], "").status,
        404
    );
}

#[test]
fn addresses_of_its_own_serve_it_and_nothing_else() {
    let server = start(|config| {
        with_keys(config);
        config.api.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    });
    let (main, own) = (server.local_addrs()[0], server.local_addrs()[1]);
    let bearer = format!("authorization: Bearer {KEY}");
    let body = r#"{"type":"chat","payload":"hello"}"#;
    let path = "/api/v1/rooms/relay:1/messages";
    assert_eq!(request(own, "POST", path, &[&bearer], body).status, 200);
    assert_ne!(request(main, "POST", path, &[&bearer], body).status, 200);
    assert_eq!(request(own, "GET", "/readyz", &[], "").status, 200);
    for page in ["/admin", "/admin/admin.js", "/admin/style.css"] {
        assert_eq!(request(own, "GET", page, &[], "").status, 200, "{page}");
        assert_eq!(request(main, "GET", page, &[], "").status, 404, "{page}");
    }
    for nothing in ["/", "/ws", "/metrics", "/sdk/roomcast.js", "/style.css"] {
        assert_eq!(
            request(own, "GET", nothing, &[], "").status,
            404,
            "{nothing}"
        );
    }
    assert_eq!(
        request(own, "GET", "/api/v1/openapi.json", &[], "").status,
        200
    );
    let odd = request(own, "GET", "/api/v1/nothing", &[&bearer], "");
    assert_eq!((odd.status, odd.code()), (404, "not_found"));
}

#[test]
fn backends_get_in_when_clients_have_filled_the_server() {
    let chat = |address: SocketAddr, key: &str| {
        let bearer = format!("authorization: Bearer {key}");
        let path = "/api/v1/rooms/relay:1/messages";
        request(address, "POST", path, &[&bearer], CHAT)
    };
    let fill = |server: &RunningServer| {
        let mut client = Client::json(address(server));
        client.join("relay:1");
        // Until the connection before is gone, one more is refused by it alone.
        eventually("it is full", || {
            request(address(server), "GET", "/", &[], "").status == 503
        });
        client
    };
    let shared = start(|config| {
        with_keys(config);
        config.limits.connections = 1;
    });
    let mut client = fill(&shared);
    for _ in 0..3 {
        let told = chat(address(&shared), KEY);
        assert_eq!(told.status, 200, "{told:?}");
        assert_eq!(told.header("connection"), Some("close"));
        client.expect_chat();
    }
    assert_eq!(chat(address(&shared), WEAK).status, 503);
    let own = start(|config| {
        with_keys(config);
        config.limits.connections = 1;
        config.api.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    });
    let _client = fill(&own);
    let told = chat(own.local_addrs()[1], KEY);
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(chat(own.local_addrs()[1], WEAK).status, 401);
}

#[test]
fn no_part_of_a_path_is_one_that_programs_take_out() {
    let server = start(with_keys);
    for path in ["/rooms/./bans", "/rooms/%2E%2e/bans"] {
        let odd = ask(&server, KEY, "GET", path, "");
        assert_eq!((odd.status, odd.code()), (400, "invalid_name"), "{path}");
    }
    // In a body they are names like others.
    let body = r#"{"messages":[{"room_id":"..","type":"chat","payload":1}]}"#;
    let told = ask(&server, KEY, "POST", "/messages", body);
    assert_eq!(told.body["results"][0]["offset"], 1, "{told:?}");
}

#[test]
fn each_body_may_be_too_large_and_the_document_says_so() {
    let document = roomcast_server::openapi();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let told = operation["responses"]["413"].is_object();
            assert_eq!(
                told,
                operation["requestBody"].is_object(),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn a_key_in_a_file_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    let server = start(|config| {
        config.auth.reload_interval = std::time::Duration::from_millis(10);
        config.api_keys = vec![ApiKey {
            key_path: path.to_str().unwrap().to_owned(),
            ..key("shop", "", &[Right::Publish], 0)
        }];
    });
    let body = r#"{"type":"chat","payload":"hello"}"#;
    let status = |key| ask(&server, key, "POST", "/rooms/relay:1/messages", body).status;
    assert_eq!((status(KEY), status(WEAK)), (200, 401));
    // A file that is not good changes nothing.
    std::fs::write(&path, "short").unwrap();
    let next = directory.path().join("next");
    std::fs::write(&next, WEAK).unwrap();
    assert_eq!(status(KEY), 200);
    std::fs::rename(&next, &path).unwrap();
    eventually("the new key is taken", || status(WEAK) == 200);
    assert_eq!(status(KEY), 401);
    std::fs::remove_file(&path).unwrap();
    eventually("the key has ended with its file", || status(WEAK) == 401);
}

/// A client with this user's token.
fn user(server: &RunningServer, user: &str) -> Client {
    let token = NewToken {
        user: user.to_owned(),
        ttl: std::time::Duration::from_secs(3_600),
        ..NewToken::default()
    };
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    let token = signer.sign(&token).unwrap();
    let mut client = Client::json(address(server));
    client.request(&Incoming::new(Request::Hello(Box::new(Hello {
        token: Some(token.into()),
        ..Hello::default()
    }))));
    client.expect(MessageType::Welcome);
    client
}

const SECRET: &str = "a secret for tests, with enough bytes in it";

fn with_users(config: &mut Config) {
    with_keys(config);
    config.auth.hs256_secret = SECRET.to_owned().into();
}

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
