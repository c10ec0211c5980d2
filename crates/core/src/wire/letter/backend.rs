//! What backends ask, and what they are answered. Each question and each answer has a number and its length before it, so
//! that one that is not known here is answered as such, and fields are added at the end.

use std::borrow::Cow;

use roomcast_protocol::HistoryRequest;

use crate::backend::{
    Ask, Failure, Found, Publication, Published, Query, Reply, RoomLine, RoomsQuery, SessionLine,
};
use crate::id::ClientId;
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
}

/// Never changed or used again.
mod reply {
    pub(super) const AGAIN: u8 = 0;
    pub(super) const FAILED: u8 = 1;
    pub(super) const PUBLISHED: u8 = 2;
    pub(super) const MESSAGE: u8 = 3;
    pub(super) const DONE: u8 = 4;
}

/// Never changed or used again: of queries, and of what was found.
mod query {
    pub(super) const NEWER: u8 = 0;
    pub(super) const ROOMS: u8 = 1;
    pub(super) const SESSIONS: u8 = 2;
    pub(super) const DISCONNECT: u8 = 3;
}

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
    });
    out.framed(|out| match ask {
        Ask::Newer | Ask::Clear => {}
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
    })
}

pub(super) fn write_reply(out: &mut Writer<'_>, version: Version, reply: Option<&Reply>) {
    out.u8(match reply {
        None => reply::AGAIN,
        Some(Reply::Failed(_)) => reply::FAILED,
        Some(Reply::Published(_)) => reply::PUBLISHED,
        Some(Reply::Message(_)) => reply::MESSAGE,
        Some(Reply::Done(_)) => reply::DONE,
        // Made where they are asked for.
        Some(_) => reply::AGAIN,
    });
    out.framed(|out| match reply {
        Some(Reply::Message(message)) => out.bytes(message),
        Some(Reply::Done(count)) => out.varint(*count),
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
        Query::Newer => query::NEWER,
        Query::Rooms(_) => query::ROOMS,
        Query::Sessions(_) => query::SESSIONS,
        Query::Disconnect { .. } => query::DISCONNECT,
    });
    out.framed(|out| match query {
        Query::Newer => {}
        Query::Rooms(rooms) => {
            out.text(&rooms.kind);
            out.text(&rooms.prefix);
            out.text(&rooms.after);
            out.varint(rooms.limit);
        }
        Query::Sessions(user) => out.text(user),
        Query::Disconnect { user, reason } => {
            out.text(user);
            out.text(reason);
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
        query::SESSIONS => Query::Sessions(body.text()?.into()),
        query::DISCONNECT => Query::Disconnect {
            user: body.text()?.into(),
            reason: body.text()?.into(),
        },
        _ => Query::Newer,
    };
    Ok((number, query))
}

pub(super) fn write_found(out: &mut Writer<'_>, (number, found): &(u32, Found)) {
    out.varint(*number);
    out.u8(match found {
        Found::Unknown => query::NEWER,
        Found::Rooms(_) => query::ROOMS,
        Found::Sessions(_) => query::SESSIONS,
        Found::Ended(_) => query::DISCONNECT,
    });
    out.framed(|out| match found {
        Found::Unknown => {}
        Found::Rooms(rooms) => {
            out.size(rooms.len());
            for line in rooms {
                out.text(&line.room);
                out.varint(line.members);
            }
        }
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
    });
}

pub(super) fn read_found(bytes: &mut Reader<'_>) -> Result<(u32, Found), WireError> {
    let (number, kind) = (bytes.varint()?, bytes.u8()?);
    let mut body = bytes.framed()?;
    let found = match kind {
        query::ROOMS => Found::Rooms(body.list(2, |body| {
            Ok(RoomLine {
                room: body.text()?.into(),
                members: body.varint()?,
            })
        })?),
        query::SESSIONS => Found::Sessions(body.list(ClientId::LENGTH + 2, |body| {
            Ok(SessionLine {
                client: body.client()?,
                connected: body.flags().map(|[connected]| connected)?,
                rooms: body.list(1, |body| Ok(body.text()?.into()))?,
            })
        })?),
        query::DISCONNECT => Found::Ended(body.varint()?),
        _ => Found::Unknown,
    };
    Ok((number, found))
}
