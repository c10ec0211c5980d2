//! The OpenAPI 3.1 document, made of the table of routes. Schemas are in `schemas.json`.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::routes::{BASE, Route, all};

const SCHEMAS: &str = include_str!("schemas.json");

/// Errors that every route may answer with.
const ALWAYS: [(u16, &str); 6] = [
    (
        400,
        "The request is not right. `code` says what is wrong with it.",
    ),
    (401, "There is no key, or nobody has this one."),
    (403, "The key lacks the right for this."),
    (408, "The body did not arrive in time."),
    (
        429,
        "The key is used more often than its rate allows. `Retry-After` says when to ask again.",
    ),
    (
        503,
        "It can't be done at the moment. With an idempotency key it is safe to ask again.",
    ),
];

/// The document as a text, made once.
pub(super) fn openapi_text() -> Bytes {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| openapi().to_string().into());
    TEXT.clone()
}

/// The document, as it is served at `/api/v1/openapi.json`.
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for route in all() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Roomcast",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What an application's backend asks of a Roomcast server, of any node of a cluster.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": BASE }],
        "security": [{ "key": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of `[api_keys.NAME]`.",
                },
            },
            "schemas": schemas,
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "description": format!("{} It needs the right `{}`.", route.about, route.right.name()),
        "responses": responses(route),
    });
    let parameters = parameters(route);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = route.body {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema(body) } },
        });
    }
    operation
}

fn parameters(route: &Route) -> Vec<Value> {
    let parts = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{'));
    let in_path = parts.map(|part| {
        json!({
            "name": part.trim_end_matches('}'),
            "in": "path",
            "required": true,
            "schema": { "type": "string", "minLength": 1 },
        })
    });
    let in_query = route.query.iter().map(|(name, schema, about)| {
        let schema: Value = serde_json::from_str(schema).unwrap_or_default();
        json!({ "name": name, "in": "query", "description": about, "schema": schema })
    });
    let once = route.once.then(|| {
        json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Whoever sends the same key again for the same room gets the first answer, and nothing is \
                            published twice: as long as the room's log keeps the message.",
            "schema": { "type": "string", "minLength": 1, "maxLength": super::call::LONGEST_KEY },
        })
    });
    in_path.chain(in_query).chain(once).collect()
}

fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    let done = json!({
        "description": "It is done.",
        "content": match route.answer {
            "text/event-stream" => json!({ "text/event-stream": { "schema": { "type": "string" } } }),
            name => json!({ "application/json": { "schema": schema(name) } }),
        },
    });
    responses.insert("200".to_owned(), done);
    // Each body has a limit.
    let too_large = route.body.map(|_| 413);
    let more = route.errors.iter().copied().chain(too_large);
    let more = more.map(|status| {
        let about = match status {
            404 => "There is no such room, kind, user or client.",
            409 => "It contradicts what is there.",
            501 => "A node of the cluster is of an older version.",
            413 => "The body, or a message, is too large.",
            _ => "An error.",
        };
        (status, about)
    });
    for (status, about) in ALWAYS.into_iter().chain(more) {
        let mut response = json!({
            "description": about,
            "content": { "application/problem+json": { "schema": schema("Problem") } },
        });
        if status == 429 || status == 503 {
            response["headers"] = json!({
                "Retry-After": {
                    "description": "Seconds after which to ask again.",
                    "schema": { "type": "integer", "minimum": 1 },
                },
            });
        }
        responses.insert(status.to_string(), response);
    }
    responses.into()
}

fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
