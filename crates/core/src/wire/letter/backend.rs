//! What backends ask, and what they are answered. Each question and each answer has a number and its length before it, so
//! that one that is not known here is answered as such, and fields are added at the end.

use std::borrow::Cow;

use roomcast_protocol::HistoryRequest;

use crate::backend::{
    Ask, Batch, ConnectionLine, ConnectionsQuery, Failure, Found, NodeLine, Publication, Published,
    Query, Reply, RoomLine, RoomsQuery, SessionLine, Taken, TopLine, TopOrder, TopQuery, Whose,
};
use crate::id::ClientId;
use crate::trace::TraceContext;
use crate::wire::bytes::{Reader, WireError, Writer};
use crate::wire::version::Version;

/// Never changed or used again.
mod ask {
    pub(super) const NEWER: u8 = 0;
    pub(super) const PUBLISH: u8 = 1;
    pub(super) const MEMBERS: u8 = 2;
    pub(super) const HISTORY: u8 = 3;
    pub(super) const KICK: u8 = 4;
    pub(super) const BAN: u8 = 5;
    pub(super) const LOCK: u8 = 6;
    pub(super) const CLEAR: u8 = 7;
    pub(super) const TAIL: u8 = 20;
    pub(super) const RULES: u8 = 8;
    pub(super) const SET_PROPERTIES: u8 = 9;
    pub(super) const PROPERTIES: u8 = 10;
}

/// Never changed or used again.
mod reply {
    pub(super) const AGAIN: u8 = 0;
    pub(super) const FAILED: u8 = 1;
    pub(super) const PUBLISHED: u8 = 2;
    pub(super) const MESSAGE: u8 = 3;
    pub(super) const DONE: u8 = 4;
    pub(super) const RULES: u8 = 5;
    pub(super) const PROPERTIES: u8 = 6;
}

/// Never changed or used again: of queries, and of what was found.
mod query {
    pub(super) const NEWER: u8 = 0;
    pub(super) const ROOMS: u8 = 1;
    pub(super) const SESSIONS: u8 = 2;
    pub(super) const DISCONNECT: u8 = 3;
    pub(super) const BATCH: u8 = 16;
    pub(super) const NODES: u8 = 20;
    pub(super) const TOP: u8 = 21;
    pub(super) const CONNECTIONS: u8 = 22;
    pub(super) const WHOSE: u8 = 4;
}

/// Never changed or used again: what became of a batch.
mod taken {
    pub(super) const DONE: u8 = 0;
    pub(super) const GONE: u8 = 1;
    pub(super) const OUT_OF_ORDER: u8 = 2;
    pub(super) const BUSY: u8 = 3;
}

/// Never changed or used again.
mod whose {
    pub(super) const LAGGING: u8 = 0;
    pub(super) const ROOM: u8 = 1;
    pub(super) const USER: u8 = 2;
}

/// By their numbers, which are never changed.
const ORDERS: [TopOrder; 3] = [TopOrder::Busiest, TopOrder::Biggest, TopOrder::Slowest];

pub(super) fn write_ask(out: &mut Writer<'_>, ask: &Ask) {
    out.u8(match ask {
        Ask::Newer => ask::NEWER,
        Ask::Publish(_) => ask::PUBLISH,
        Ask::Members { .. } => ask::MEMBERS,
        Ask::History(_) => ask::HISTORY,
        Ask::Kick { .. } => ask::KICK,
        Ask::Ban { .. } => ask::BAN,
        Ask::Lock { .. } => ask::LOCK,
        Ask::Clear => ask::CLEAR,
        Ask::Tail { .. } => ask::TAIL,
        Ask::Rules => ask::RULES,
        Ask::SetProperties(_) => ask::SET_PROPERTIES,
        Ask::Properties => ask::PROPERTIES,
    });
    out.framed(|out| match ask {
        Ask::Newer | Ask::Clear | Ask::Rules | Ask::Properties => {}
        Ask::SetProperties(update) => out.presence(update),
        Ask::Tail { tap, after } => {
            out.varint(*tap);
            out.varint(*after);
        }
        Ask::Kick { user } => out.text(user),
        Ask::Ban { user, until } => {
            out.text(user);
            out.signed(*until);
        }
        Ask::Lock { until } => out.signed(*until),
        Ask::Publish(publication) => write_publication(out, publication),
        Ask::Members { after, limit } => {
            out.varint(*after);
            out.varint(*limit);
        }
        Ask::History(history) => {
            out.varint(history.before);
            out.optional(history.after);
            out.varint(history.limit);
        }
    });
}

pub(super) fn read_ask(bytes: &mut Reader<'_>) -> Result<Ask, WireError> {
    let number = bytes.u8()?;
    let mut body = bytes.framed()?;
    let ask = match number {
        ask::PUBLISH => read_publication(&mut body).map(Ask::Publish),
        ask::KICK => Ok(Ask::Kick {
            user: body.text()?.into(),
        }),
        ask::BAN => Ok(Ask::Ban {
            user: body.text()?.into(),
            until: body.signed()?,
        }),
        ask::LOCK => Ok(Ask::Lock {
            until: body.signed()?,
        }),
        ask::CLEAR => Ok(Ask::Clear),
        ask::TAIL => Ok(Ask::Tail {
            tap: body.varint()?,
            after: body.varint()?,
        }),
        ask::RULES => Ok(Ask::Rules),
        ask::PROPERTIES => Ok(Ask::Properties),
        ask::SET_PROPERTIES => Ok(Ask::SetProperties(body.presence()?)),
        ask::MEMBERS => Ok(Ask::Members {
            after: body.varint()?,
            limit: body.varint()?,
        }),
        ask::HISTORY => Ok(Ask::History(HistoryRequest {
            before: body.offset()?,
            after: body.optional()?,
            limit: body.varint()?,
        })),
        _ => return Ok(Ask::Newer),
    };
    match ask {
        Err(WireError::Unknown) => Ok(Ask::Newer),
        ask => ask,
    }
}

fn write_publication(out: &mut Writer<'_>, publication: &Publication) {
    let Publication {
        message_type,
        payload_kind,
        name,
        payload,
        ephemeral,
        once,
        service,
        trace,
    } = publication;
    out.message_type(*message_type);
    out.payload_kind(*payload_kind);
    out.flags([*ephemeral, once.is_some()]);
    out.text(name);
    out.bytes(payload);
    if let Some(once) = once {
        out.client(*once);
    }
    out.text(service);
    write_trace(out, *trace);
}

fn write_trace(out: &mut Writer<'_>, trace: Option<TraceContext>) {
    out.flags([trace.is_some()]);
    if let Some(TraceContext { trace, span }) = trace {
        out.u64((trace >> 64) as u64);
        out.u64(trace as u64);
        out.u64(span);
    }
}

fn read_trace(bytes: &mut Reader<'_>) -> Result<Option<TraceContext>, WireError> {
    if bytes.is_empty() || bytes.flags()? == [false] {
        return Ok(None);
    }
    let (high, low) = (bytes.u64()?, bytes.u64()?);
    Ok(Some(TraceContext {
        trace: u128::from(high) << 64 | u128::from(low),
        span: bytes.u64()?,
    }))
}

fn read_publication(bytes: &mut Reader<'_>) -> Result<Publication, WireError> {
    let (message_type, payload_kind) = (bytes.message_type()?, bytes.payload_kind()?);
    let [ephemeral, is_once] = bytes.flags()?;
    Ok(Publication {
        message_type,
        payload_kind,
        name: bytes.text()?.into(),
        payload: bytes.bytes()?.into(),
        ephemeral,
        once: is_once.then(|| bytes.client()).transpose()?,
        service: bytes.text()?.into(),
        trace: read_trace(bytes)?,
    })
}

pub(super) fn write_reply(out: &mut Writer<'_>, version: Version, reply: Option<&Reply>) {
    out.u8(match reply {
        None => reply::AGAIN,
        Some(Reply::Failed(_)) => reply::FAILED,
        Some(Reply::Published(_)) => reply::PUBLISHED,
        Some(Reply::Message(_)) => reply::MESSAGE,
        Some(Reply::Done(_)) => reply::DONE,
        Some(Reply::Rules { .. }) => reply::RULES,
        Some(Reply::Properties(_)) => reply::PROPERTIES,
        // Made where they are asked for.
        Some(_) => reply::AGAIN,
    });
    out.framed(|out| match reply {
        Some(Reply::Message(message)) => out.bytes(message),
        Some(Reply::Done(count)) => out.varint(*count),
        Some(Reply::Properties(text)) => out.text(text),
        Some(Reply::Rules { bans, locked_until }) => {
            out.signed(*locked_until);
            out.size(bans.len());
            for (user, until) in bans {
                out.text(user);
                out.signed(*until);
            }
        }
        Some(Reply::Failed(failure)) => {
            out.error_code(version, failure.code);
            out.text(&failure.sentence);
            out.varint(failure.retry_after_ms);
        }
        Some(Reply::Published(published)) => {
            out.epoch(published.epoch);
            out.varint(published.offset);
            out.signed(published.timestamp);
            out.flags([published.repeated]);
        }
        _ => {}
    });
}

/// `None`: it is to be asked again.
pub(super) fn read_reply(bytes: &mut Reader<'_>) -> Result<Option<Reply>, WireError> {
    let number = bytes.u8()?;
    let mut body = bytes.framed()?;
    Ok(Some(match number {
        reply::AGAIN => return Ok(None),
        reply::FAILED => Reply::Failed(Failure {
            code: body.error_code()?,
            sentence: Cow::Owned(body.text()?.to_owned()),
            retry_after_ms: body.varint()?,
        }),
        reply::DONE => Reply::Done(body.varint()?),
        reply::PROPERTIES => Reply::Properties(body.text()?.into()),
        reply::RULES => Reply::Rules {
            locked_until: body.signed()?,
            bans: body.list(2, |body| Ok((body.text()?.into(), body.signed()?)))?,
        },
        reply::MESSAGE => Reply::Message(body.bytes()?.into()),
        reply::PUBLISHED => Reply::Published(Published {
            epoch: body.epoch()?,
            offset: body.offset()?,
            timestamp: body.signed()?,
            repeated: body.flags().map(|[repeated]| repeated)?,
        }),
        _ => return Err(WireError::Unknown),
    }))
}

pub(super) fn write_query(out: &mut Writer<'_>, (number, query): &(u32, Query)) {
    out.varint(*number);
    out.u8(match query {
        // Orphans are asked for within a node.
        Query::Newer | Query::EndOrphans(_) => query::NEWER,
        Query::Whose(_) => query::WHOSE,
        Query::Rooms(_) => query::ROOMS,
        Query::Sessions { .. } => query::SESSIONS,
        Query::Disconnect { .. } => query::DISCONNECT,
        Query::Nodes => query::NODES,
        Query::Top(_) => query::TOP,
        Query::Connections(_) => query::CONNECTIONS,
        Query::Batch(_) => query::BATCH,
    });
    out.framed(|out| match query {
        Query::Top(top) => {
            let at = ORDERS.iter().position(|it| *it == top.order);
            out.size(at.unwrap_or(0));
            out.text(&top.kind);
            out.varint(top.limit);
        }
        Query::Connections(query) => {
            match &query.whose {
                Whose::Lagging => out.u8(whose::LAGGING),
                Whose::Room(room) => {
                    out.u8(whose::ROOM);
                    out.text(room);
                }
                Whose::User(user) => {
                    out.u8(whose::USER);
                    out.text(user);
                }
            }
            out.varint(query.limit);
        }
        Query::Newer | Query::Nodes | Query::EndOrphans(_) => {}
        Query::Whose(user) => out.text(user),
        Query::Rooms(rooms) => {
            out.text(&rooms.kind);
            out.text(&rooms.prefix);
            out.text(&rooms.after);
            out.varint(rooms.limit);
        }
        Query::Sessions { user, clients } => {
            out.text(user);
            write_clients(out, clients);
        }
        Query::Disconnect {
            user,
            clients,
            reason,
        } => {
            out.text(user);
            out.text(reason);
            write_clients(out, clients);
        }
        Query::Batch(batch) => {
            out.raw(&batch.stream);
            out.varint(batch.number);
            out.varint(batch.close);
            out.bytes(&batch.body);
        }
    });
}

pub(super) fn read_query(bytes: &mut Reader<'_>) -> Result<(u32, Query), WireError> {
    let (number, kind) = (bytes.varint()?, bytes.u8()?);
    let mut body = bytes.framed()?;
    let query = match kind {
        query::ROOMS => Query::Rooms(RoomsQuery {
            kind: body.text()?.into(),
            prefix: body.text()?.into(),
            after: body.text()?.into(),
            limit: body.varint()?,
        }),
        query::WHOSE => Query::Whose(body.text()?.into()),
        query::SESSIONS => Query::Sessions {
            user: body.text()?.into(),
            clients: read_clients(&mut body)?,
        },
        query::DISCONNECT => Query::Disconnect {
            user: body.text()?.into(),
            reason: body.text()?.into(),
            clients: read_clients(&mut body)?,
        },
        query::NODES => Query::Nodes,
        query::TOP => match ORDERS.get(body.varint::<u32>()? as usize) {
            Some(order) => Query::Top(TopQuery {
                order: *order,
                kind: body.text()?.into(),
                limit: body.varint()?,
            }),
            None => Query::Newer,
        },
        query::CONNECTIONS => {
            let whose = match body.u8()? {
                whose::LAGGING => Whose::Lagging,
                whose::ROOM => Whose::Room(body.text()?.into()),
                whose::USER => Whose::User(body.text()?.into()),
                _ => return Ok((number, Query::Newer)),
            };
            let limit = body.varint()?;
            Query::Connections(ConnectionsQuery { whose, limit })
        }
        query::BATCH => Query::Batch(Batch {
            stream: body.array()?,
            number: body.varint()?,
            close: body.varint()?,
            body: body.bytes()?.into(),
        }),
        _ => Query::Newer,
    };
    Ok((number, query))
}

pub(super) fn write_found(out: &mut Writer<'_>, (number, found): &(u32, Found)) {
    out.varint(*number);
    out.u8(match found {
        Found::Unknown => query::NEWER,
        Found::Rooms { .. } => query::ROOMS,
        Found::Whose(_) => query::WHOSE,
        Found::Sessions(_) => query::SESSIONS,
        Found::Ended(_) => query::DISCONNECT,
        Found::Node(_) => query::NODES,
        Found::Top(_) => query::TOP,
        Found::Connections(_) => query::CONNECTIONS,
        Found::Taken(_) => query::BATCH,
    });
    out.framed(|out| match found {
        Found::Unknown => {}
        Found::Rooms { rooms, cut } => {
            out.size(rooms.len());
            for line in rooms {
                out.text(&line.room);
                out.varint(line.members);
                out.text(&line.properties);
            }
            out.flags([cut.is_some()]);
            out.text(cut.as_deref().unwrap_or_default());
        }
        Found::Whose(clients) => write_clients(out, clients),
        Found::Sessions(sessions) => {
            out.size(sessions.len());
            for line in sessions {
                out.client(line.client);
                out.flags([line.connected]);
                out.size(line.rooms.len());
                line.rooms.iter().for_each(|room| out.text(room));
            }
        }
        Found::Ended(count) => out.varint(*count),
        Found::Node(line) => write_node(out, line),
        Found::Top(lines) => {
            out.size(lines.len());
            for line in lines {
                out.text(&line.room);
                out.varint(line.members);
                out.varint(line.rate);
                out.varint(line.lagging);
                out.varint(line.pending);
            }
        }
        Found::Connections(lines) => {
            out.size(lines.len());
            lines.iter().for_each(|line| write_connection(out, line));
        }
        Found::Taken(taken) => {
            let (what, next) = match taken {
                Taken::Done => (taken::DONE, 0),
                Taken::Gone => (taken::GONE, 0),
                Taken::OutOfOrder(next) => (taken::OUT_OF_ORDER, *next),
                Taken::Busy => (taken::BUSY, 0),
            };
            out.u8(what);
            out.varint(next);
        }
    });
}

pub(super) fn read_found(bytes: &mut Reader<'_>) -> Result<(u32, Found), WireError> {
    let (number, kind) = (bytes.varint()?, bytes.u8()?);
    let mut body = bytes.framed()?;
    let found = match kind {
        query::ROOMS => {
            let rooms = body.list(3, |body| {
                Ok(RoomLine {
                    room: body.text()?.into(),
                    members: body.varint()?,
                    properties: body.text()?.into(),
                })
            })?;
            let [is_cut] = body.flags()?;
            let cut = Some(body.text()?.into()).filter(|_| is_cut);
            Found::Rooms { rooms, cut }
        }
        query::WHOSE => Found::Whose(read_clients(&mut body)?),
        query::SESSIONS => Found::Sessions(body.list(ClientId::LENGTH + 2, |body| {
            Ok(SessionLine {
                client: body.client()?,
                connected: body.flags().map(|[connected]| connected)?,
                rooms: body.list(1, |body| Ok(body.text()?.into()))?,
            })
        })?),
        query::DISCONNECT => Found::Ended(body.varint()?),
        query::NODES => Found::Node(Box::new(read_node(&mut body)?)),
        query::TOP => Found::Top(body.list(5, |body| {
            Ok(TopLine {
                room: body.text()?.into(),
                members: body.varint()?,
                rate: body.varint()?,
                lagging: body.varint()?,
                pending: body.varint()?,
            })
        })?),
        query::CONNECTIONS => {
            Found::Connections(body.list(ClientId::LENGTH + 11, read_connection)?)
        }
        query::BATCH => {
            let (what, next) = (body.u8()?, body.varint()?);
            Found::Taken(match what {
                taken::DONE => Taken::Done,
                taken::OUT_OF_ORDER => Taken::OutOfOrder(next),
                taken::BUSY => Taken::Busy,
                // Whoever is told so makes a new stream.
                _ => Taken::Gone,
            })
        }
        _ => Found::Unknown,
    };
    Ok((number, found))
}

fn write_node(out: &mut Writer<'_>, line: &NodeLine) {
    out.text(&line.node);
    out.text(&line.version);
    out.flags([line.own, line.draining, line.leased, line.settled]);
    out.varint(line.shards);
    out.size(line.counters.len());
    for (name, value) in &line.counters {
        out.text(name);
        out.varint(*value);
    }
}

fn read_node(bytes: &mut Reader<'_>) -> Result<NodeLine, WireError> {
    let (node, version) = (bytes.text()?.into(), bytes.text()?.into());
    let [own, draining, leased, settled] = bytes.flags()?;
    Ok(NodeLine {
        node,
        own,
        version,
        draining,
        leased,
        settled,
        shards: bytes.varint()?,
        counters: bytes.list(2, |bytes| Ok((bytes.text()?.into(), bytes.varint()?)))?,
    })
}

fn write_connection(out: &mut Writer<'_>, line: &ConnectionLine) {
    out.text(&line.node);
    out.client(line.client);
    out.text(&line.user);
    out.varint(line.player_num);
    out.flags([line.connected, line.protobuf]);
    line.pending.iter().for_each(|bytes| out.varint(*bytes));
    out.varint(line.blocked);
    out.varint(line.behind);
    out.varint(line.idle);
    out.varint(line.rooms);
}

fn read_connection(bytes: &mut Reader<'_>) -> Result<ConnectionLine, WireError> {
    let node = bytes.text()?.into();
    let (client, user, player_num) = (bytes.client()?, bytes.text()?.into(), bytes.varint()?);
    let [connected, protobuf] = bytes.flags()?;
    Ok(ConnectionLine {
        node,
        client,
        user,
        player_num,
        connected,
        protobuf,
        pending: [bytes.varint()?, bytes.varint()?, bytes.varint()?],
        blocked: bytes.varint()?,
        behind: bytes.varint()?,
        idle: bytes.varint()?,
        rooms: bytes.varint()?,
    })
}

fn write_clients(out: &mut Writer<'_>, clients: &[ClientId]) {
    out.size(clients.len());
    clients.iter().for_each(|client| out.client(*client));
}

fn read_clients(bytes: &mut Reader<'_>) -> Result<Vec<ClientId>, WireError> {
    bytes.list(ClientId::LENGTH, |bytes| bytes.client())
}
