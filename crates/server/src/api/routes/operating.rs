//! Rows of the table for whoever runs the servers: the admin page and `roomcast admin` use them.

use http::Method;

use super::{Route, TEXT};
use crate::api::rights::Right;
use crate::api::{operating, tail};

const LIMIT: (&str, &str, &str) = (
    "limit",
    r#"{"type":"integer","minimum":1,"maximum":100,"default":20}"#,
    "So many at most.",
);

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/nodes",
        name: "list_nodes",
        right: Right::Read,
        summary: "List the nodes",
        about: "All living servers of the cluster, with what they count. `answers` is true of the one that answers.",
        body: None,
        once: false,
        query: &[],
        answer: "Nodes",
        errors: &[501],
        audited: false,
        handle: |call| Box::pin(operating::nodes(call)),
    },
    Route {
        method: Method::GET,
        path: "/top/rooms",
        name: "top_rooms",
        right: Right::Read,
        summary: "The busiest, biggest or slowest rooms",
        about: "Busiest: with the most messages a second, as that was in the last seconds. Biggest: with the most members. \
                Slowest: with the most connections that lag.",
        body: None,
        once: false,
        query: &[
            (
                "by",
                r#"{"enum":["busiest","biggest","slowest"],"default":"busiest"}"#,
                "What comes first.",
            ),
            ("kind", TEXT, "Only rooms of this kind."),
            LIMIT,
        ],
        answer: "TopRooms",
        errors: &[501],
        audited: false,
        handle: |call| Box::pin(operating::top_rooms(call)),
    },
    Route {
        method: Method::GET,
        path: "/top/connections",
        name: "top_connections",
        right: Right::Read,
        summary: "The connections that lag most",
        about: "Those whose network takes nothing, or who read too slowly, and why.",
        body: None,
        once: false,
        query: &[LIMIT],
        answer: "Connections",
        errors: &[501],
        audited: false,
        handle: |call| Box::pin(operating::lagging(call)),
    },
    Route {
        method: Method::GET,
        path: "/rooms/{room}/connections",
        name: "room_connections",
        right: Right::Read,
        summary: "The connections of a room",
        about: "Those that lag most come first.",
        body: None,
        once: false,
        query: &[LIMIT],
        answer: "Connections",
        errors: &[501],
        audited: false,
        handle: |call| Box::pin(operating::of_room(call)),
    },
    Route {
        method: Method::GET,
        path: "/users/{user}/connections",
        name: "user_connections",
        right: Right::Read,
        summary: "The connections of a user",
        about: "With the sessions whose client has lost its connection and may come back.",
        body: None,
        once: false,
        query: &[LIMIT],
        answer: "Connections",
        errors: &[501],
        audited: false,
        handle: |call| Box::pin(operating::of_user(call)),
    },
    Route {
        method: Method::GET,
        path: "/rooms/{room}/tail",
        name: "tail",
        right: Right::Tail,
        summary: "Listen to a room",
        about: "Server-sent events: each message that the room tells its members from now on, as they get it in JSON. An \
                event `missed` says that some are left out, because they were not read in time. It ends after 30 seconds: \
                go on with the id of the last event in `Last-Event-ID`.",
        body: None,
        once: false,
        query: &[],
        answer: "text/event-stream",
        errors: &[404, 501],
        audited: true,
        handle: |call| Box::pin(tail::tail(call)),
    },
    Route {
        method: Method::POST,
        path: "/drain",
        name: "drain",
        right: Right::Operate,
        summary: "End this server politely",
        about: "As SIGTERM does: its clients come back to other servers, its rooms are handed over, and the process ends. \
                The body names the node, so that no other one ends where a balancer is between.",
        body: Some("Drain"),
        once: false,
        query: &[],
        answer: "Draining",
        errors: &[409, 501],
        audited: true,
        handle: |call| Box::pin(operating::drain(call)),
    },
];
