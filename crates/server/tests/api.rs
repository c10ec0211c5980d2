//! The API for backends: each row of its table, used rightly and wrongly.

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

use api::{CHAT, KEY, SLOW, WEAK, all_but, ask, key, with_keys};
use common::{address, metric, start};
use http::request;
use roomcast_server::config::Right;

/// What each row takes: a good request and its status, and bad ones with their codes.
struct Row {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    right: Right,
    good: &'static str,
    done: u16,
    /// Bodies; of what takes none: queries, or paths, which begin with a `/`.
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
        path: "/clients/nobodynobodynobody12/messages",
        right: Right::Send,
        good: CHAT,
        done: 404,
        bad: BAD_MESSAGES,
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
        bad: &[
            ("/rooms/relay:1/bans/a%20b", 400, "invalid_name"),
            ("/rooms/a%20b/bans/u7", 400, "invalid_name"),
            ("seconds=1", 400, "invalid_value"),
        ],
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
        bad: &[
            ("/rooms/a%20b/lock", 400, "invalid_name"),
            ("seconds=1", 400, "invalid_value"),
        ],
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
        bad: &[
            ("/rooms/a%20b/history", 400, "invalid_name"),
            ("before=1", 400, "invalid_value"),
        ],
    },
    Row {
        name: "list_nodes",
        method: "GET",
        path: "/nodes",
        right: Right::Read,
        good: "",
        done: 200,
        bad: &[("limit=1", 400, "invalid_value")],
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
                "GET" | "DELETE" => {
                    let path = match body.starts_with('/') {
                        true => (*body).to_owned(),
                        false => format!("{}?{body}", row.path),
                    };
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
