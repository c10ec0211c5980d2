//! Direct messages, what became of them, and who is where to get them.

use std::sync::Arc;

use super::{Receiving, Sending};
use crate::direct::DirectBody;
use crate::id::ClientId;
use crate::letter::{
    DirectMessage, News, Receipt, Receipted, Recipient, SessionTaken, UserSession,
};
use crate::store::StoreId;
use crate::wire::bytes::{Reader, WireError, Writer};
use crate::wire::version::Version;

pub(super) fn write_message(out: &mut Writer<'_>, sending: Sending, message: &DirectMessage) {
    let DirectMessage {
        to,
        from,
        from_encoding,
        born,
        window,
        request_id,
        body,
    } = message;
    match to {
        Recipient::User => out.size(0),
        Recipient::Clients(clients) => {
            out.size(clients.len());
            clients.iter().for_each(|client| out.client(*client));
        }
    }
    sending.own_conn(out, *from);
    out.encoding(*from_encoding);
    out.varint(sending.age(*born));
    out.varint(*window);
    out.varint(*request_id);
    write_body(out, sending.version, body);
}

pub(super) fn read_message(
    bytes: &mut Reader<'_>,
    at: &Receiving<'_>,
) -> Result<DirectMessage, WireError> {
    let clients = bytes.list(ClientId::LENGTH, Reader::client)?;
    Ok(DirectMessage {
        // One that is for no client is for a user.
        to: if clients.is_empty() {
            Recipient::User
        } else {
            Recipient::Clients(clients.into())
        },
        from: at.their_conn(bytes)?,
        from_encoding: bytes.encoding()?,
        born: at.born(bytes.varint()?),
        window: bytes.varint()?,
        request_id: bytes.varint()?,
        body: Arc::new(read_body(bytes)?),
    })
}

/// As nodes of this version know it.
pub(crate) fn write_body(out: &mut Writer<'_>, version: Version, body: &DirectBody) {
    let (name, payload) = body.name_and_payload();
    out.message_type(body.message_type);
    out.payload_kind(body.payload_kind);
    out.client(body.from);
    out.text(&body.to_user);
    out.varint(body.seq);
    out.flags([body.ephemeral]);
    out.text(name);
    out.bytes(payload);
    if version >= Version::V2 {
        out.text(&body.from_user);
        out.text(&body.service);
    }
}

pub(crate) fn read_body(bytes: &mut Reader<'_>) -> Result<DirectBody, WireError> {
    let (message_type, payload_kind) = (bytes.message_type()?, bytes.payload_kind()?);
    let (from, to_user, seq) = (bytes.client()?, bytes.text()?.into(), bytes.offset()?);
    let [ephemeral] = bytes.flags()?;
    let (name, payload) = (bytes.text()?, bytes.bytes()?);
    // Version 1 has written none.
    let (from_user, service) = if bytes.is_empty() {
        ("", "")
    } else {
        (bytes.text()?, bytes.text()?)
    };
    Ok(DirectBody {
        message_type,
        payload_kind,
        from,
        from_user: from_user.into(),
        service: service.into(),
        to_user,
        seq,
        ephemeral,
        bytes: [name.as_bytes(), payload].concat().into(),
        name_length: u32::try_from(name.len()).map_err(|_| WireError::Range)?,
    })
}

const STORED: u8 = 0;
const FAILED: u8 = 1;
const COPIES: u8 = 2;

pub(super) fn write_receipt(out: &mut Writer<'_>, sending: Sending, receipted: &Receipted) {
    let Receipted {
        sender,
        seq,
        request,
        request_id,
        receipt,
    } = receipted;
    out.client(*sender);
    out.varint(*seq);
    out.message_type(*request);
    out.varint(*request_id);
    match receipt {
        Receipt::Stored(offset) => {
            out.u8(STORED);
            out.varint(*offset);
        }
        Receipt::Failed(code) => {
            out.u8(FAILED);
            out.error_code(sending.version, *code);
        }
        Receipt::Copies(copies) => {
            out.u8(COPIES);
            out.varint(*copies);
        }
    }
}

pub(super) fn read_receipt(bytes: &mut Reader<'_>) -> Result<Receipted, WireError> {
    Ok(Receipted {
        sender: bytes.client()?,
        seq: bytes.offset()?,
        request: bytes.message_type()?,
        request_id: bytes.varint()?,
        receipt: match bytes.u8()? {
            STORED => Receipt::Stored(bytes.offset()?),
            FAILED => Receipt::Failed(bytes.error_code()?),
            COPIES => Receipt::Copies(bytes.varint()?),
            _ => return Err(WireError::Unknown),
        },
    })
}

pub(super) fn write_news(out: &mut Writer<'_>, sending: Sending, news: &News) {
    let News {
        client,
        offset,
        store,
        turn,
        unix_ms,
        body,
    } = news;
    out.client(*client);
    out.varint(*offset);
    out.raw(&store.0.to_be_bytes());
    out.signed(*unix_ms);
    write_body(out, sending.version, body);
    if sending.version >= Version::V2 {
        out.varint(*turn);
    }
}

pub(super) fn read_news(bytes: &mut Reader<'_>) -> Result<News, WireError> {
    let (client, offset) = (bytes.client()?, bytes.offset()?);
    let store = bytes.raw(16)?.try_into().map_err(|_| WireError::Short)?;
    Ok(News {
        client,
        offset,
        store: StoreId(u128::from_be_bytes(store)),
        unix_ms: bytes.signed()?,
        body: Arc::new(read_body(bytes)?),
        // Version 1 has written none.
        turn: match bytes.is_empty() {
            true => 0,
            false => bytes.varint()?,
        },
    })
}

pub(super) fn write_taken(out: &mut Writer<'_>, taken: SessionTaken) {
    out.client(taken.client);
    out.varint(taken.turn);
    out.varint(u64::from(taken.shown));
}

pub(super) fn read_taken(bytes: &mut Reader<'_>) -> Result<SessionTaken, WireError> {
    let (client, turn) = (bytes.client()?, bytes.offset()?);
    let shown = bytes.varint()?;
    Ok(SessionTaken {
        client,
        turn,
        shown,
    })
}

pub(super) fn write_user(out: &mut Writer<'_>, user: &UserSession) {
    out.text(&user.user_id);
    out.client(user.session);
    out.flags([user.present]);
}

pub(super) fn read_user(bytes: &mut Reader<'_>) -> Result<UserSession, WireError> {
    let (user_id, session) = (bytes.text()?.into(), bytes.client()?);
    let [present] = bytes.flags()?;
    Ok(UserSession {
        user_id,
        session,
        present,
    })
}
