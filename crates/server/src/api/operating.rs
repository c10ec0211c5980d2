//! What whoever runs the servers asks: how nodes are, which rooms have the most of something, who lags and why; and that
//! this node ends.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::Sender;

use http::StatusCode;
use roomcast_core::backend::{
    ConnectionLine, ConnectionsQuery, MOST_LINES, NodeLine, Query, Question, Reply, TopLine,
    TopOrder, TopQuery, Whose,
};
use roomcast_protocol::ErrorCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::problem::{Answer, Problem, ok};
use super::reading::unanswered;
use crate::running::Event;

/// Lines where none are asked for.
const LINES: u32 = 20;

/// What the API knows of the node itself.
#[derive(Debug)]
pub(crate) struct Operator {
    /// What the node is called.
    pub(crate) node: String,
    /// Where it is told to end, if it is the process's own.
    pub(crate) end: Option<Mutex<Sender<Event>>>,
}

/// Requests that one counts for which looks at all rooms, or at all connections, of all servers.
const SCAN: u32 = 50;

pub(super) async fn nodes(call: Call) -> Result<Answer, Problem> {
    let Reply::Nodes(nodes) = call.put("", Question::All(Query::Nodes)).await? else {
        return Err(unanswered());
    };
    let nodes: Vec<_> = nodes.iter().map(node).collect();
    Ok(ok(&json!({ "nodes": nodes })))
}

fn node(line: &NodeLine) -> Value {
    let counters = line.counters.iter();
    let counters: Map<String, Value> = counters
        .map(|(name, value)| (name.to_string(), (*value).into()))
        .collect();
    json!({
        "node": line.node,
        "answers": line.own,
        "version": line.version,
        "state": match (line.draining, line.leased, line.settled) {
            (true, ..) => "draining",
            (_, false, _) => "without_lease",
            (_, _, false) => "settling",
            _ => "serving",
        },
        "shards": line.shards,
        "counters": counters,
    })
}

pub(super) async fn top_rooms(call: Call) -> Result<Answer, Problem> {
    let order = match call.text("by") {
        "" | "busiest" => TopOrder::Busiest,
        "biggest" => TopOrder::Biggest,
        "slowest" => TopOrder::Slowest,
        _ => {
            let detail = "`by` is not busiest, biggest or slowest";
            return Err(Problem::of(ErrorCode::InvalidValue, detail));
        }
    };
    let query = TopQuery {
        order,
        kind: call.text("kind").into(),
        limit: limit(&call)?,
    };
    call.holder.owe(SCAN - 1);
    let Reply::Top(rooms) = call.put("", Question::All(Query::Top(query))).await? else {
        return Err(unanswered());
    };
    let line = |line: &TopLine| match order {
        TopOrder::Slowest => json!({
            "room_id": line.room,
            "connections": line.members,
            "lagging": line.lagging,
            "pending_bytes": line.pending,
        }),
        TopOrder::Busiest | TopOrder::Biggest => json!({
            "room_id": line.room,
            "members": line.members,
            "messages_per_second": line.rate as f64 / 1_000.0,
        }),
    };
    let rooms: Vec<_> = rooms.iter().map(line).collect();
    Ok(ok(&json!({ "rooms": rooms })))
}

pub(super) async fn lagging(call: Call) -> Result<Answer, Problem> {
    connections(&call, Whose::Lagging).await
}

pub(super) async fn of_room(call: Call) -> Result<Answer, Problem> {
    let room = call.room()?.into();
    connections(&call, Whose::Room(room)).await
}

pub(super) async fn of_user(call: Call) -> Result<Answer, Problem> {
    let user = call.user()?.into();
    connections(&call, Whose::User(user)).await
}

async fn connections(call: &Call, whose: Whose) -> Result<Answer, Problem> {
    let limit = limit(call)?;
    let query = Query::Connections(ConnectionsQuery { whose, limit });
    call.holder.owe(SCAN - 1);
    let Reply::Connections(lines) = call.put("", Question::All(query)).await? else {
        return Err(unanswered());
    };
    let lines: Vec<_> = lines.iter().map(connection).collect();
    Ok(ok(&json!({ "connections": lines })))
}

fn connection(line: &ConnectionLine) -> Value {
    let [events, state, answers] = line.pending;
    let mut shown = json!({
        "client_id": line.client.as_str(),
        "node": line.node,
        "connected": line.connected,
        "format": if line.protobuf { "protobuf" } else { "json" },
        "rooms": line.rooms,
        "idle_ms": line.idle,
        "lagging": line.lags(),
        "why": why(line),
        "blocked_ms": line.blocked,
        "behind_ms": line.behind,
        "pending": { "events": events, "state": state, "answers": answers },
    });
    if !line.user.is_empty() {
        shown["user_id"] = (*line.user).into();
    }
    if line.player_num > 0 {
        shown["player_num"] = line.player_num.into();
    }
    shown
}

/// For people; programs have the numbers.
fn why(line: &ConnectionLine) -> String {
    let pending: u64 = line.pending.iter().sum();
    match (line.connected, line.behind, line.blocked) {
        (false, ..) => "it has no connection, and its client may come back".to_owned(),
        (_, 0, 0) => "it keeps up".to_owned(),
        (_, 0, blocked) => {
            format!("its network has taken nothing for {blocked} ms, and {pending} bytes wait")
        }
        (_, behind, 0) => format!(
            "it reads too slowly: for {behind} ms it has been given what it missed from the log"
        ),
        (_, behind, blocked) => format!(
            "it reads too slowly: it fell behind {behind} ms ago, and its network has taken nothing for {blocked} ms"
        ),
    }
}

fn limit(call: &Call) -> Result<u32, Problem> {
    let limit = call.number("limit")?.unwrap_or(LINES);
    if !(1..=MOST_LINES).contains(&limit) {
        let detail = format!("`limit` is not from 1 to {MOST_LINES}");
        return Err(Problem::of(ErrorCode::InvalidValue, detail));
    }
    Ok(limit)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    node: String,
}

/// The node has to be named: who asks behind a balancer may not know which one answers.
pub(super) async fn drain(call: Call) -> Result<Answer, Problem> {
    let Drain { node } = serde_json::from_slice(&call.body).map_err(|error| {
        let detail = format!("the body is not `{{\"node\": \"...\"}}`: {error}");
        Problem::of(ErrorCode::InvalidJson, detail)
    })?;
    let own = &call.api.operator.node;
    if node != *own {
        let detail = format!("this is the node {own}, not the one that is to end");
        return Err(Problem::new(StatusCode::CONFLICT, "another_node", detail));
    }
    let Some(end) = &call.api.operator.end else {
        let detail = "this server is part of another program, which ends it";
        return Err(Problem::of(ErrorCode::NotSupported, detail));
    };
    let asked = Event::Asked(call.holder.name.clone());
    let end = end.lock().unwrap_or_else(PoisonError::into_inner);
    // One that ends already does not listen any more.
    let _ = end.send(asked);
    let connections = call.api.shards.connections();
    Ok(ok(
        &json!({ "node": own, "draining": true, "connections": connections }),
    ))
}
