//! Operations for rooms that are not there, or not for who asks.

use roomcast_protocol::{ErrorCode, MessageType, mutated};

use crate::context::{Context, Fault};
use crate::home::backend::{answer, failure_of, refuse_question};
use crate::host::Host;
use crate::id::{ConnRef, EdgeRoomId};
use crate::letter::{Leave, Op, OpHead, OpKind, ReadLog, ReadState, Resume, ToEdge};
use crate::time::Now;

/// Milliseconds after which a room may have closed.
const NO_MEMORY_RETRY_MS: u64 = 5_000;
/// Milliseconds after which the last node of an older version may have ended.
const UPGRADE_RETRY_MS: u64 = 5_000;

/// A room of this kind may not be made.
pub(super) fn unknown_kind() -> Fault<'static> {
    Fault::new(
        ErrorCode::UnknownKind,
        "this kind of room is not configured: the server needs a `[kinds.NAME]` for it, or `rooms.refuse_unknown_kinds = false`",
    )
}

/// No room can be made until another one closes.
pub(super) fn no_memory() -> Fault<'static> {
    Fault {
        retry_after_ms: NO_MEMORY_RETRY_MS,
        ..Fault::new(
            ErrorCode::Unavailable,
            "no new room can be opened: the open rooms take all of `rooms.log_memory`; join again later",
        )
    }
}

/// A join that would make a room is refused.
pub(super) fn refuse_new_room<H: Host>(
    ctx: &mut Context<H>,
    now: Now,
    op: &OpHead,
    edge_room: EdgeRoomId,
    fault: Fault<'_>,
) {
    let fault = Fault {
        seq: op.seq,
        request_id: op.request_id,
        request: Some(MessageType::JoinRoom),
        room: &op.room.name,
        ..fault
    };
    let error = ctx.error(op.encoding, op.born, now.unix_ms, fault);
    let (conn, code) = (op.conn.conn, fault.code);
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

/// An operation is not done, whatever it is. Whoever waits for an answer that is no error comes back, and asks again.
pub(super) fn refuse_op<H: Host>(ctx: &mut Context<H>, now: Now, op: Op, fault: Fault<'_>) {
    let asked = match &op.request {
        OpKind::Join(join) => {
            return refuse_new_room(ctx, now, &op.head, join.edge_room, fault);
        }
        OpKind::Backend(_) => {
            return refuse_question(ctx, &op.head, failure_of(&fault));
        }
        OpKind::Publish(publish) => publish.message_type,
        OpKind::Forbidden(request, _) => *request,
        OpKind::Presence(_) => MessageType::Presence,
        OpKind::Members(_) => MessageType::Members,
        OpKind::History(_) => MessageType::History,
        OpKind::Skip => MessageType::Skip,
        OpKind::Leave(_)
        | OpKind::Resume(_)
        | OpKind::ReadLog(_)
        | OpKind::ReadState(_)
        | OpKind::Detach
        | OpKind::Refused(_) => return ctx.come_back(op),
    };
    let Op { head, request } = op;
    if let OpKind::Publish(publish) = request {
        ctx.recycle_for(head.conn.shard, publish.bytes);
    }
    let fault = Fault {
        seq: head.seq,
        request_id: head.request_id,
        request: Some(asked),
        room: &head.room.name,
        ..fault
    };
    ctx.accepted(head.conn, head.window);
    ctx.refuse(head.conn, head.encoding, head.born, now.unix_ms, fault);
}

/// Operations that a living node is too old for: they can be done when the cluster is upgraded.
pub(crate) fn refuse_withheld<H: Host>(ctx: &mut Context<H>, now: Now) {
    for op in ctx.take_withheld() {
        let fault = Fault {
            retry_after_ms: UPGRADE_RETRY_MS,
            ..Fault::new(
                ErrorCode::Unavailable,
                "the servers are being upgraded, and one of them can't do this yet; ask again later",
            )
        };
        refuse_op(ctx, now, op, fault);
    }
}

/// Something for a room that is not there. Gives no window back.
pub(super) fn refuse_absent<H: Host>(ctx: &mut Context<H>, now: Now, op: Op) {
    let Op { head, request } = op;
    let asked = match request {
        OpKind::Leave(leave) => return refuse_leave(ctx, now, &head, leave),
        OpKind::Resume(resume) => return refuse_resume(ctx, now, &head, &resume),
        OpKind::Publish(publish) => {
            ctx.recycle(publish.bytes);
            publish.message_type
        }
        OpKind::ReadLog(read) => {
            return ctx.send_edge(head.conn.shard, unread_log(&head, read));
        }
        OpKind::ReadState(read) => {
            return ctx.send_edge(head.conn.shard, unread_state(&head, read));
        }
        OpKind::History(_) => MessageType::History,
        OpKind::Skip => MessageType::Skip,
        OpKind::Presence(_) => MessageType::Presence,
        OpKind::Members(_) => MessageType::Members,
        OpKind::Forbidden(request, _) => request,
        OpKind::Backend(_) => return answer(ctx, &head, None),
        // A join makes the room; nobody waits for the others' answers.
        OpKind::Join(_) | OpKind::Detach | OpKind::Refused(_) => return,
    };
    refuse_non_member(ctx, now, &head, asked);
}

/// Who asks for what comes next in the log is not in the room.
pub(super) fn unread_log(op: &OpHead, read: ReadLog) -> ToEdge {
    ToEdge::LogSlice {
        conn: op.conn.conn,
        edge_room: read.edge_room,
        slice: None,
    }
}

/// Who asks for the newest state is not in the room.
pub(super) fn unread_state(op: &OpHead, read: ReadState) -> ToEdge {
    ToEdge::NewestState {
        conn: op.conn.conn,
        edge_room: read.edge_room,
        from: read.from,
        newest: None,
    }
}

/// A request from somebody who is not in the room.
pub(super) fn refuse_non_member<H: Host>(
    ctx: &mut Context<H>,
    now: Now,
    op: &OpHead,
    request: MessageType,
) {
    let fault = not_in_room(op, request);
    ctx.refuse(op.conn, op.encoding, op.born, now.unix_ms, fault);
}

/// Who leaves is not in the room.
pub(super) fn refuse_leave<H: Host>(ctx: &mut Context<H>, now: Now, op: &OpHead, leave: Leave) {
    if !leave.gone && !mutated!("leave_of_no_member_is_not_answered") {
        tell_left(ctx, now, op, leave.edge_room, MessageType::LeaveRoom);
    }
}

/// A session that comes back is not in the room. Where its edge has asked by itself, its client asked for nothing, and
/// would believe that it is in the room still: it comes back, and is told then.
pub(super) fn refuse_resume<H: Host>(ctx: &mut Context<H>, now: Now, op: &OpHead, resume: &Resume) {
    if resume.by_edge {
        return come_back(ctx, op.conn);
    }
    tell_left(ctx, now, op, resume.edge_room, MessageType::JoinRoom);
}

/// Whoever has the session, or its seat, it is not this connection: its client comes back.
pub(super) fn come_back<H: Host>(ctx: &mut Context<H>, conn: ConnRef) {
    let (shard, conn) = (conn.shard, conn.conn);
    ctx.send_edge(shard, ToEdge::ComeBack { conn });
}

/// A session that comes back was put out meanwhile: it hears what it would have heard then, which answers nothing.
pub(super) fn tell_put_out<H: Host>(
    ctx: &mut Context<H>,
    now: Now,
    op: &OpHead,
    (edge_room, fault): (EdgeRoomId, Fault<'_>),
) {
    let fault = Fault {
        room: &op.room.name,
        ..fault
    };
    let farewell = Some(ctx.error(op.encoding, op.born, now.unix_ms, fault));
    let left = ToEdge::Left {
        conn: op.conn.conn,
        edge_room,
        asked: true,
        farewell,
    };
    ctx.send_edge(op.conn.shard, left);
}

fn tell_left<H: Host>(
    ctx: &mut Context<H>,
    now: Now,
    op: &OpHead,
    edge_room: EdgeRoomId,
    request: MessageType,
) {
    let fault = not_in_room(op, request);
    let farewell = Some(ctx.error(op.encoding, op.born, now.unix_ms, fault));
    let left = ToEdge::Left {
        conn: op.conn.conn,
        edge_room,
        asked: true,
        farewell,
    };
    ctx.send_edge(op.conn.shard, left);
}

fn not_in_room(op: &OpHead, request: MessageType) -> Fault<'_> {
    Fault {
        seq: op.seq,
        request_id: op.request_id,
        request: Some(request),
        room: &op.room.name,
        ..Fault::new(
            ErrorCode::NotInRoom,
            "you are not in this room; send `join_room` first",
        )
    }
}
