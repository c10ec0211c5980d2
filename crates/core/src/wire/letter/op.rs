//! Operations: the head, which is the same for all, then what is asked.

use std::sync::Arc;

use roomcast_protocol::{Format, HistoryRequest, PresenceUpdate};

use super::{Receiving, Sending, backend, kind};
use crate::address::NodeNumber;
use crate::identity::Rights;
use crate::letter::{
    Join, Leave, MembersPage, Op, OpHead, OpKind, Place, Publish, ReadLog, ReadState, Resume,
    RoomRef,
};
use crate::wire::bytes::{Reader, WireError, Writer};
use crate::wire::version::Version;

pub(super) fn kind_of(request: &OpKind) -> u8 {
    match request {
        OpKind::Join(_) => kind::JOIN,
        OpKind::Leave(_) => kind::LEAVE,
        OpKind::Detach => kind::DETACH,
        OpKind::Resume(_) => kind::RESUME,
        OpKind::ReadLog(_) => kind::READ_LOG,
        OpKind::History(_) => kind::HISTORY,
        OpKind::Skip => kind::SKIP,
        OpKind::Refused(_) => kind::REFUSED,
        OpKind::Forbidden(..) => kind::FORBIDDEN,
        OpKind::Publish(_) => kind::PUBLISH,
        OpKind::Presence(_) => kind::PRESENCE,
        OpKind::Members(_) => kind::MEMBERS,
        OpKind::ReadState(_) => kind::READ_STATE,
        OpKind::Backend(_) => kind::BACKEND,
    }
}

pub(super) fn write(out: &mut Writer<'_>, sending: Sending, op: &Op) {
    let Op { head, request } = op;
    write_head(out, sending, head);
    match request {
        OpKind::Join(join) => write_join(out, join),
        OpKind::Leave(leave) => {
            out.flags([leave.gone]);
            out.number(leave.edge_room);
            out.client(leave.client_id);
            if sending.version >= Version::V2 {
                out.varint(leave.turn);
            }
        }
        OpKind::Detach | OpKind::Skip => {}
        OpKind::Resume(resume) => {
            out.client(resume.client_id);
            out.number(resume.edge_room);
            write_place(out, resume.place);
            out.flags([resume.by_edge]);
            out.varint(resume.turn);
        }
        OpKind::ReadLog(read) => {
            out.varint(read.after);
            out.number(read.edge_room);
        }
        OpKind::History(history) => {
            out.varint(history.before);
            out.optional(history.after);
            out.varint(history.limit);
        }
        OpKind::Refused(code) => out.error_code(sending.version, *code),
        OpKind::Forbidden(message_type, right) => {
            out.message_type(*message_type);
            out.u8(right.bits());
        }
        OpKind::Publish(publish) => {
            debug_assert_eq!(publish.seq, head.seq, "one number");
            write_publish(out, publish);
        }
        OpKind::Backend(ask) => backend::write_ask(out, ask),
        OpKind::Presence(update) => {
            out.presence(update);
            if sending.version >= Version::V2 {
                out.text(update.nickname.as_deref().unwrap_or_default());
            }
        }
        OpKind::Members(page) => {
            out.varint(page.after);
            out.varint(page.limit);
        }
        OpKind::ReadState(read) => {
            out.state_position(read.from);
            out.number(read.edge_room);
        }
    }
}

pub(super) fn read(
    kind: u8,
    bytes: &mut Reader<'_>,
    at: &mut Receiving<'_>,
) -> Result<Op, WireError> {
    let head = read_head(bytes, at)?;
    let request = match kind {
        kind::JOIN => OpKind::Join(Box::new(read_join(bytes)?)),
        kind::LEAVE => {
            let [gone] = bytes.flags()?;
            OpKind::Leave(Leave {
                gone,
                edge_room: bytes.number()?,
                client_id: bytes.client()?,
                // Version 1 has written none.
                turn: match bytes.is_empty() {
                    true => 0,
                    false => bytes.varint()?,
                },
            })
        }
        kind::DETACH => OpKind::Detach,
        kind::SKIP => OpKind::Skip,
        kind::RESUME => OpKind::Resume(Box::new(Resume {
            client_id: bytes.client()?,
            edge_room: bytes.number()?,
            place: read_place(bytes)?,
            by_edge: bytes.flags().map(|[by_edge]| by_edge)?,
            turn: bytes.varint()?,
        })),
        kind::READ_LOG => OpKind::ReadLog(ReadLog {
            after: bytes.offset()?,
            edge_room: bytes.number()?,
        }),
        kind::HISTORY => OpKind::History(HistoryRequest {
            before: bytes.offset()?,
            after: bytes.optional()?,
            limit: bytes.varint()?,
        }),
        kind::REFUSED => OpKind::Refused(bytes.error_code()?),
        kind::FORBIDDEN => {
            let message_type = bytes.message_type()?;
            OpKind::Forbidden(message_type, Rights::from_bits(bytes.u8()?))
        }
        kind::PUBLISH => OpKind::Publish(read_publish(bytes, at, head.seq)?),
        kind::BACKEND => OpKind::Backend(Arc::new(backend::read_ask(bytes)?)),
        kind::PRESENCE => OpKind::Presence(read_presence(bytes)?),
        kind::MEMBERS => OpKind::Members(MembersPage {
            after: bytes.varint()?,
            limit: bytes.varint()?,
        }),
        kind::READ_STATE => OpKind::ReadState(ReadState {
            from: bytes.state_position()?,
            edge_room: bytes.number()?,
        }),
        _ => return Err(WireError::Unknown),
    };
    Ok(Op { head, request })
}

/// Its nickname is behind its keys; version 1 has written none.
fn read_presence(bytes: &mut Reader<'_>) -> Result<PresenceUpdate<'static>, WireError> {
    let update = bytes.presence()?;
    if bytes.is_empty() {
        return Ok(update);
    }
    let nickname = bytes.text()?;
    Ok(PresenceUpdate {
        nickname: (!nickname.is_empty()).then(|| nickname.to_owned().into()),
        ..update
    })
}

fn write_head(out: &mut Writer<'_>, sending: Sending, head: &OpHead) {
    let OpHead {
        room,
        conn,
        encoding,
        player,
        born,
        window,
        seq,
        request_id,
    } = head;
    out.text(&room.name);
    out.number(room.id);
    sending.own_conn(out, *conn);
    out.encoding(*encoding);
    // One byte for OpHead::NEWCOMER.
    out.varint(player.wrapping_add(1));
    out.varint(sending.age(*born));
    out.varint(*window);
    out.varint(*seq);
    out.varint(*request_id);
    out.flags([room.node == NodeNumber::NONE]);
}

fn read_head(bytes: &mut Reader<'_>, at: &Receiving<'_>) -> Result<OpHead, WireError> {
    let name = bytes.text()?;
    let room = RoomRef {
        name: Arc::from(name),
        hash: at.names.hash(name),
        id: bytes.number()?,
        // Whoever forwards it knows of no other home.
        node: NodeNumber::OWN,
    };
    let mut head = OpHead {
        room,
        conn: at.their_conn(bytes)?,
        encoding: bytes.encoding()?,
        player: bytes.varint::<u32>()?.wrapping_sub(1),
        born: at.born(bytes.varint()?),
        window: bytes.varint()?,
        seq: bytes.offset()?,
        request_id: bytes.varint()?,
    };
    let [knows_none] = bytes.flags()?;
    if knows_none {
        head.room.node = NodeNumber::NONE;
    }
    Ok(head)
}

fn write_join(out: &mut Writer<'_>, join: &Join) {
    let Join {
        client_id,
        nickname,
        presence,
        edge_room,
        user_id,
        place,
        turn,
    } = join;
    out.client(*client_id);
    out.text(nickname);
    out.presence(presence);
    out.number(*edge_room);
    out.text(user_id);
    write_place(out, *place);
    out.varint(*turn);
}

fn read_join(bytes: &mut Reader<'_>) -> Result<Join, WireError> {
    Ok(Join {
        client_id: bytes.client()?,
        nickname: bytes.text()?.into(),
        presence: bytes.presence()?,
        edge_room: bytes.number()?,
        user_id: bytes.text()?.into(),
        place: read_place(bytes)?,
        turn: bytes.varint()?,
    })
}

fn write_place(out: &mut Writer<'_>, place: Place) {
    out.flags([place.since.is_some()]);
    if let Some(since) = place.since {
        out.since(since);
    }
    out.varint(place.first_seq);
}

fn read_place(bytes: &mut Reader<'_>) -> Result<Place, WireError> {
    let [has_since] = bytes.flags()?;
    Ok(Place {
        since: has_since.then(|| bytes.since()).transpose()?,
        first_seq: bytes.offset()?,
    })
}

fn write_publish(out: &mut Writer<'_>, publish: &Publish) {
    out.message_type(publish.message_type);
    out.flags([
        publish.format == Format::Protobuf,
        publish.ephemeral,
        publish.no_echo.is_some(),
        publish.no_echo == Some(true),
    ]);
    out.payload_kind(publish.payload_kind);
    out.text(publish.name());
    out.bytes(publish.payload());
}

/// The number is the head's.
fn read_publish(
    bytes: &mut Reader<'_>,
    at: &mut Receiving<'_>,
    seq: u64,
) -> Result<Publish, WireError> {
    let message_type = bytes.message_type()?;
    let [is_protobuf, ephemeral, says_echo, no_echo] = bytes.flags()?;
    let payload_kind = bytes.payload_kind()?;
    let (name, payload) = (bytes.text()?, bytes.bytes()?);
    let mut buffer = at.buffers.take();
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(payload);
    Ok(Publish {
        message_type,
        format: if is_protobuf {
            Format::Protobuf
        } else {
            Format::Json
        },
        payload_kind,
        bytes: buffer,
        name_length: u32::try_from(name.len()).map_err(|_| WireError::Range)?,
        seq,
        ephemeral,
        no_echo: says_echo.then_some(no_echo),
    })
}
