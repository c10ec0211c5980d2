//! The table of routes: what can be asked, who may ask it, and what it is answered. Routing, rights and the OpenAPI
//! document come from it.

mod operating;

use std::future::Future;
use std::pin::Pin;

use http::Method;

use super::call::Call;
use super::problem::{Answer, Problem};
use super::rights::Right;
use super::{moderating, properties, publish, reading};

/// What all paths begin with.
pub(crate) const BASE: &str = "/api/v1";

pub(super) type Outcome = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// One thing that can be asked.
pub(super) struct Route {
    pub(super) method: Method,
    /// Behind [`BASE`]. A part in braces stands for one segment, which may be percent-encoded.
    pub(super) path: &'static str,
    /// The name, in metrics and the audit log: stable.
    pub(super) name: &'static str,
    pub(super) right: Right,
    pub(super) summary: &'static str,
    pub(super) about: &'static str,
    /// The schema of the body, if it takes one.
    pub(super) body: Option<&'static str>,
    /// Whether it takes an `Idempotency-Key`.
    pub(super) once: bool,
    /// What a query may have: its name, its schema as JSON, what it means.
    pub(super) query: &'static [(&'static str, &'static str, &'static str)],
    /// The schema of the answer.
    pub(super) answer: &'static str,
    /// Statuses of errors, beside those that each route has.
    pub(super) errors: &'static [u16],
    /// Whether it changes something that the audit log is to show.
    pub(super) audited: bool,
    pub(super) handle: fn(Call) -> Outcome,
}

static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/rooms/{room}/messages",
        name: "publish",
        right: Right::Publish,
        summary: "Publish to a room",
        about: "The body is a message as a client sends it in JSON: a `chat` or an `event`. Everybody in the room gets \
                it, with the name of the key in `from_service` and without a `from_client_id`. A room that is not there \
                is opened, and its log keeps the message. The answer comes when the message is kept, and says where it is in the room's log.",
        body: Some("Message"),
        once: true,
        query: &[],
        answer: "Published",
        errors: &[404],
        audited: false,
        handle: |call| Box::pin(publish::to_room(call)),
    },
    Route {
        method: Method::POST,
        path: "/messages",
        name: "publish_many",
        right: Right::Publish,
        summary: "Publish to many rooms",
        about: "Each message has its `room_id`, and may have an `idempotency_key`. Messages to one room keep their order \
                if nothing fails. The answer has a result for each message, in their order: where it is, or why it is \
                not published. It is 200 also where some are not.",
        body: Some("Batch"),
        once: false,
        query: &[],
        answer: "BatchResults",
        errors: &[],
        audited: false,
        handle: |call| Box::pin(publish::to_many(call)),
    },
    Route {
        method: Method::POST,
        path: "/users/{user}/messages",
        name: "send_to_user",
        right: Right::Send,
        summary: "Send to a user",
        about: "All sessions of the user get the message, also those whose client has lost its connection and comes back \
                within the grace. The body is as for a room, without `room_id` and `ephemeral`. Without tokens a user is \
                a client: its id is the `client_id`.",
        body: Some("Message"),
        once: true,
        query: &[],
        answer: "Sent",
        errors: &[404],
        audited: false,
        handle: |call| Box::pin(publish::to_user(call)),
    },
    Route {
        method: Method::POST,
        path: "/clients/{client}/messages",
        name: "send_to_client",
        right: Right::Send,
        summary: "Send to one session",
        about: "As for a user, to the session with this `client_id` alone.",
        body: Some("Message"),
        once: true,
        query: &[],
        answer: "Sent",
        errors: &[404],
        audited: false,
        handle: |call| Box::pin(publish::to_client(call)),
    },
    Route {
        method: Method::GET,
        path: "/rooms",
        name: "list_rooms",
        right: Right::Read,
        summary: "List rooms",
        about: "The rooms that have members, on all nodes, in the order of their names. If there may be more, the answer has `next`, even if the page is short.",
        body: None,
        once: false,
        query: &[
            ("kind", TEXT, "Rooms of this kind alone."),
            ("prefix", TEXT, "Rooms whose names begin so."),
            (
                "after",
                TEXT,
                "Rooms whose names come behind this one: `next` of the page before.",
            ),
            (
                "limit",
                r#"{"type":"integer","minimum":1,"maximum":1000,"default":100}"#,
                "So many at most.",
            ),
        ],
        answer: "Rooms",
        errors: &[501],
        audited: false,
        handle: |call| Box::pin(reading::rooms(call)),
    },
    Route {
        method: Method::GET,
        path: "/rooms/{room}/members",
        name: "list_members",
        right: Right::Read,
        summary: "List a room's members",
        about: "A page of them, in the order in which they came. All are listed, also where the room's kind hides them from \
                each other. A room that is not there has none.",
        body: None,
        once: false,
        query: &[
            (
                "after",
                NUMBER,
                "Members with a greater `player_num`: `next` of the page before.",
            ),
            ("limit", NUMBER, "So many at most; a page has 100 at most."),
        ],
        answer: "Members",
        errors: &[404, 501],
        audited: false,
        handle: |call| Box::pin(reading::members(call)),
    },
    Route {
        method: Method::GET,
        path: "/rooms/{room}/history",
        name: "read_history",
        right: Right::Read,
        summary: "Read a room's log",
        about: "A page of events: the newest first, or with `after` the oldest first.",
        body: None,
        once: false,
        query: &[
            (
                "before",
                NUMBER,
                "Events before this offset: `next` of the page before.",
            ),
            (
                "after",
                NUMBER,
                "Events after this offset, the oldest first.",
            ),
            ("limit", NUMBER, "So many at most; a page has 100 at most."),
        ],
        answer: "History",
        errors: &[404, 501],
        audited: false,
        handle: |call| Box::pin(reading::history(call)),
    },
    Route {
        method: Method::GET,
        path: "/users/{user}/sessions",
        name: "list_sessions",
        right: Right::Read,
        summary: "List a user's sessions",
        about: "On all nodes, those included that wait for their client to come back.",
        body: None,
        once: false,
        query: &[],
        answer: "Sessions",
        errors: &[501],
        audited: false,
        handle: |call| Box::pin(reading::sessions(call)),
    },
    Route {
        method: Method::POST,
        path: "/users/{user}/disconnect",
        name: "disconnect",
        right: Right::Moderate,
        summary: "Send a user away",
        about: "All sessions of the user end, on all nodes, and leave their rooms. Their connections are closed with 4503, \
                after which clients don't come back by themselves. Whoever has a good token may connect again: give \
                the user no new one first.",
        body: Some("Disconnect"),
        once: false,
        query: &[],
        answer: "Disconnected",
        errors: &[501],
        audited: true,
        handle: |call| Box::pin(moderating::disconnect(call)),
    },
    Route {
        method: Method::POST,
        path: "/rooms/{room}/kick",
        name: "kick",
        right: Right::Moderate,
        summary: "Put a user out of a room",
        about: "All sessions of the user leave the room, and get the error `removed`. They may join again.",
        body: Some("Kick"),
        once: false,
        query: &[],
        answer: "Done",
        errors: &[404, 501],
        audited: true,
        handle: |call| Box::pin(moderating::kick(call)),
    },
    Route {
        method: Method::POST,
        path: "/rooms/{room}/bans",
        name: "ban",
        right: Right::Moderate,
        summary: "Keep a user out of a room",
        about: "All sessions of the user leave the room with the error `banned`, and get it when they join, until the time is over. A ban outlives the server that has the room. A room has 1024 bans at most.",
        body: Some("Ban"),
        once: false,
        query: &[],
        answer: "Done",
        errors: &[404, 501],
        audited: true,
        handle: |call| Box::pin(moderating::ban(call)),
    },
    Route {
        method: Method::GET,
        path: "/rooms/{room}/bans",
        name: "list_bans",
        right: Right::Moderate,
        summary: "List a room's bans",
        about: "Users, in their order, and until when. If the room is locked, `locked_until` says until when.",
        body: None,
        once: false,
        query: &[],
        answer: "Bans",
        errors: &[404, 501],
        audited: false,
        handle: |call| Box::pin(reading::bans(call)),
    },
    Route {
        method: Method::DELETE,
        path: "/rooms/{room}/bans/{user}",
        name: "lift_ban",
        right: Right::Moderate,
        summary: "Let a user into a room again",
        about: "",
        body: None,
        once: false,
        query: &[],
        answer: "Done",
        errors: &[404, 501],
        audited: true,
        handle: |call| Box::pin(moderating::lift_ban(call)),
    },
    Route {
        method: Method::POST,
        path: "/rooms/{room}/lock",
        name: "lock",
        right: Right::Moderate,
        summary: "Let nobody more into a room",
        about: "Who is in the room stays and comes back, also with another session. All others get the error `room_locked` when they join, until the time is over.",
        body: Some("Lock"),
        once: false,
        query: &[],
        answer: "Done",
        errors: &[404, 501],
        audited: true,
        handle: |call| Box::pin(moderating::lock(call)),
    },
    Route {
        method: Method::DELETE,
        path: "/rooms/{room}/lock",
        name: "unlock",
        right: Right::Moderate,
        summary: "Let people into a room again",
        about: "",
        body: None,
        once: false,
        query: &[],
        answer: "Done",
        errors: &[404, 501],
        audited: true,
        handle: |call| Box::pin(moderating::unlock(call)),
    },
    Route {
        method: Method::GET,
        path: "/rooms/{room}/properties",
        name: "read_properties",
        right: Right::Read,
        summary: "Read a room's properties",
        about: "What was set. A room that is not there has none.",
        body: None,
        once: false,
        query: &[],
        answer: "Properties",
        errors: &[404, 501],
        audited: false,
        handle: |call| Box::pin(properties::get(call)),
    },
    Route {
        method: Method::PATCH,
        path: "/rooms/{room}/properties",
        name: "set_properties",
        right: Right::Manage,
        summary: "Set a room's properties",
        about: "The body has the properties that change; `null` removes one. Members get all of them with `joined`, and as the event `roomcast.properties` when they change. A room without members keeps them for as long as its log.",
        body: Some("Changes"),
        once: false,
        query: &[],
        answer: "Properties",
        errors: &[404, 501],
        audited: true,
        handle: |call| Box::pin(properties::change(call)),
    },
    Route {
        method: Method::DELETE,
        path: "/rooms/{room}/history",
        name: "clear_history",
        right: Right::Manage,
        summary: "Clear a room's log",
        about: "The room's log forgets its events, and goes on counting. So do the idempotency keys of what was published. Who has it already keeps it.",
        body: None,
        once: false,
        query: &[],
        answer: "Done",
        errors: &[404, 501],
        audited: true,
        handle: |call| Box::pin(moderating::clear(call)),
    },
];

const TEXT: &str = r#"{"type":"string"}"#;
const NUMBER: &str = r#"{"type":"integer","minimum":0}"#;

/// The route of a path behind [`BASE`], with what stands in the place of its braces.
///
/// # Errors
/// The methods that the path takes: none where there is no such path.
/// All rows.
pub(super) fn all() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().chain(operating::ROUTES)
}

pub(super) fn find(
    method: &Method,
    path: &str,
) -> Result<(&'static Route, Vec<String>), Vec<&'static Method>> {
    let mut others = Vec::new();
    for route in all() {
        let Some(arguments) = arguments(route.path, path) else {
            continue;
        };
        if route.method == *method {
            return Ok((route, arguments));
        }
        others.push(&route.method);
    }
    Err(others)
}

fn arguments(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut arguments = Vec::new();
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return Some(arguments),
            (Some(pattern), Some(part)) if pattern.starts_with('{') => {
                arguments.push(super::call::decoded(part)?);
            }
            (Some(pattern), Some(part)) if pattern == part => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_with_its_parts() {
        let (route, arguments) = find(&Method::POST, "/rooms/chat%3A1%2F2/messages").unwrap();
        assert_eq!((route.name, &*arguments[0]), ("publish", "chat:1/2"));
        assert_eq!(
            find(&Method::GET, "/messages").err().unwrap(),
            [&Method::POST]
        );
        for wrong in [
            "",
            "/",
            "/rooms//messages/",
            "/rooms/a/b/messages",
            "/rooms/%ff/messages",
        ] {
            assert!(
                find(&Method::POST, wrong).is_err_and(|it| it.is_empty()),
                "{wrong}"
            );
        }
    }

    #[test]
    fn names_are_the_routes_own() {
        for (nth, route) in all().enumerate() {
            assert!(
                all().take(nth).all(|it| it.name != route.name),
                "{}",
                route.name
            );
        }
    }
}
