//! Operations for rooms that are not there, or not for who asks.

use roomcast_protocol::{ErrorCode, MessageType};

use crate::context::{Context, Fault};
use crate::host::{Host, Notice};
use crate::letter::{Op, OpKind, ToEdge};
use crate::time::Now;

/// A room of this kind may not be made.
pub(super) fn refuse_kind<H: Host>(ctx: &mut Context<H>, now: Now, op: Op) {
    ctx.host.notice(Notice::UnknownKind);
    let OpKind::Join(join) = op.request else {
        return;
    };
    let fault = Fault {
        seq: op.seq,
        request_id: op.request_id,
        request: Some(MessageType::JoinRoom),
        room: &op.room.name,
        ..Fault::new(
            ErrorCode::UnknownKind,
            "no room of this kind is configured; add it to `kinds` or set `rooms.refuse_unknown_kinds`",
        )
    };
    let error = ctx.error(op.encoding, op.born, now.unix_ms, fault);
    let (conn, edge_room, code) = (op.conn.conn, join.edge_room, ErrorCode::UnknownKind);
    ctx.accepted(op.conn, op.window);
    ctx.send_edge(
        op.conn.shard,
        ToEdge::JoinRefused {
            conn,
            edge_room,
            error,
            code,
        },
    );
}

/// Something for a room from somebody who is not in it. Gives no window back.
pub(super) fn refuse_non_member<H: Host>(ctx: &mut Context<H>, now: Now, op: Op) {
    let Op {
        room,
        conn,
        encoding,
        born,
        seq,
        request_id,
        request,
        ..
    } = op;
    let answers = match &request {
        OpKind::Leave { gone: true, .. } | OpKind::Join(_) => return,
        OpKind::Resume(_) => Some(MessageType::JoinRoom),
        request => match request.message_type() {
            None => return,
            answers => answers,
        },
    };
    let fault = Fault {
        seq,
        request_id,
        request: answers,
        room: &room.name,
        ..Fault::new(
            ErrorCode::NotInRoom,
            "you are not in this room; send `join_room` first",
        )
    };
    let edge_room = match request {
        OpKind::Leave { edge_room, .. } => edge_room,
        OpKind::Resume(resume) => resume.edge_room,
        OpKind::Publish(publish) => {
            ctx.recycle(publish.bytes);
            return ctx.refuse(conn, encoding, born, now.unix_ms, fault);
        }
        _ => return ctx.refuse(conn, encoding, born, now.unix_ms, fault),
    };
    let farewell = Some(ctx.error(encoding, born, now.unix_ms, fault));
    let left = ToEdge::Left {
        conn: conn.conn,
        edge_room,
        asked: true,
        farewell,
    };
    ctx.send_edge(conn.shard, left);
}
