//! Why somebody gets an `error`, and the `error`.

use std::sync::Arc;

use roomcast_protocol::{Body, ErrorBody, ErrorCode, MessageType, Outgoing, mutated};

use super::Context;
use crate::chunk::Chunk;
use crate::host::{Encoding, Host};
use crate::id::ConnRef;
use crate::letter::ToEdge;

/// Why somebody gets an `error`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault<'a> {
    pub(crate) code: ErrorCode,
    pub(crate) message: &'a str,
    pub(crate) seq: u64,
    pub(crate) retry_after_ms: u64,
    pub(crate) request: Option<MessageType>,
    pub(crate) request_id: u32,
    pub(crate) room: &'a str,
}

impl<'a> Fault<'a> {
    pub(crate) fn new(code: ErrorCode, message: &'a str) -> Fault<'a> {
        Fault {
            code,
            message,
            seq: 0,
            retry_after_ms: 0,
            request: None,
            request_id: 0,
            room: "",
        }
    }
}

impl<H: Host> Context<H> {
    /// An `error` for one receiver.
    pub(crate) fn error(
        &mut self,
        encoding: Encoding,
        born: u64,
        unix_ms: i64,
        fault: Fault<'_>,
    ) -> Arc<Chunk> {
        self.stats.error(fault.code);
        // A name that was refused for its length is not sent back.
        let room = if room_fits(fault.room) {
            fault.room
        } else {
            ""
        };
        let Fault {
            code,
            message,
            seq,
            retry_after_ms,
            request,
            request_id,
            room: _,
        } = fault;
        let body = Body::Error(ErrorBody {
            code,
            message,
            seq,
            retry_after_ms,
            request,
        });
        let outgoing = Outgoing {
            room_id: room,
            timestamp: unix_ms,
            request_id: if mutated!("error_names_no_request") {
                0
            } else {
                request_id
            },
            body,
            ..Outgoing::default()
        };
        self.single(encoding, born, &outgoing)
    }

    /// Answers a request that failed at a room's home.
    pub(crate) fn refuse(
        &mut self,
        to: ConnRef,
        encoding: Encoding,
        born: u64,
        unix_ms: i64,
        fault: Fault<'_>,
    ) {
        let answer = self.error(encoding, born, unix_ms, fault);
        let offence = Some(fault.code);
        let ordered = false;
        self.send_edge(
            to.shard,
            ToEdge::Answer {
                conn: to.conn,
                answer,
                offence,
                ordered,
            },
        );
    }
}

/// Whether a name may be part of an answer, whose size is bounded.
fn room_fits(name: &str) -> bool {
    name.len() <= 512
}
