//! What a store in memory has, as a file keeps it. The values of fields, logs, sessions and messages are in the forms that
//! a store is given; this is what is around them.
//!
//! A field is added at the end, and read with a default.

use std::sync::Arc;

use smallvec::SmallVec;

use super::bytes::{Reader, WireError, Writer};
use crate::store::{
    Epochs, FieldKey, Header, HomeName, Kept, KeptMessage, KeptRoom, KeptSession, KeptUser, Log,
    NodeId, RoomRecord, SessionRecord, StoreId,
};

const ROOM: u8 = 1;
const SESSION: u8 = 2;
const USER: u8 = 3;

const MEMBER: u8 = 1;
const SENDER: u8 = 2;
const STATE: u8 = 3;
const RULES: u8 = 4;

/// Appends one.
pub fn write_kept(kept: &Kept, out: &mut Vec<u8>) {
    let mut out = Writer::new(out);
    match kept {
        Kept::Room(room) => {
            out.u8(ROOM);
            write_room(&mut out, room);
        }
        Kept::Session(session) => {
            out.u8(SESSION);
            write_session(&mut out, session);
        }
        Kept::User(user) => {
            out.u8(USER);
            out.text(&user.user);
            out.size(user.clients.len());
            for client in &user.clients {
                out.client(*client);
            }
            write_ends(&mut out, user.ends);
        }
    }
}

/// Reads what [`write_kept`] wrote. `None`: a newer version has written it, and knows it alone.
///
/// # Errors
/// It is none.
pub fn read_kept(bytes: &[u8]) -> Result<Option<Kept>, WireError> {
    let mut bytes = Reader::new(bytes);
    Ok(Some(match bytes.u8()? {
        ROOM => Kept::Room(Box::new(read_room(&mut bytes)?)),
        SESSION => Kept::Session(Box::new(read_session(&mut bytes)?)),
        USER => Kept::User(Box::new(KeptUser {
            user: bytes.text()?.into(),
            clients: bytes.list(1, |bytes| bytes.client())?,
            ends: read_ends(&mut bytes)?,
        })),
        _ => return Ok(None),
    }))
}

fn write_room(out: &mut Writer<'_>, room: &KeptRoom) {
    let RoomRecord {
        header,
        fields,
        log,
    } = &room.record;
    out.text(&room.name);
    out.framed(|out| write_header(out, header));
    out.size(fields.len());
    for (key, value) in fields {
        match key {
            FieldKey::Member(player) => {
                out.u8(MEMBER);
                out.varint(*player);
            }
            FieldKey::Sender(client) => {
                out.u8(SENDER);
                out.client(*client);
            }
            FieldKey::State => out.u8(STATE),
            FieldKey::Rules => out.u8(RULES),
        }
        out.bytes(value);
    }
    out.size(log.len());
    for Log { last, events } in log {
        out.varint(*last);
        out.bytes(events);
    }
    out.varint(room.last);
    write_ends(out, room.ends);
}

fn read_room(bytes: &mut Reader<'_>) -> Result<KeptRoom, WireError> {
    let name = bytes.text()?.into();
    let header = read_header(&mut bytes.framed()?)?;
    let fields = bytes.list(2, |bytes| {
        let key = match bytes.u8()? {
            MEMBER => FieldKey::Member(bytes.varint()?),
            SENDER => FieldKey::Sender(bytes.client()?),
            STATE => FieldKey::State,
            RULES => FieldKey::Rules,
            _ => return Err(WireError::Unknown),
        };
        Ok((key, bytes.bytes()?.into()))
    })?;
    let log = bytes.list(2, |bytes| {
        Ok(Log {
            last: bytes.varint()?,
            events: Arc::from(bytes.bytes()?),
        })
    })?;
    Ok(KeptRoom {
        name,
        record: RoomRecord {
            header,
            fields,
            log,
        },
        last: bytes.varint()?,
        ends: read_ends(bytes)?,
    })
}

fn write_header(out: &mut Writer<'_>, header: &Header) {
    out.flags([
        header.home.is_some(),
        header.pending,
        header.counts_presence,
    ]);
    if let Some(HomeName { node, lease }) = header.home {
        out.u64(node.0);
        out.varint(lease);
    }
    out.varint(header.fence);
    out.varint(header.n);
    write_store(out, header.store);
    out.epoch(header.epochs.current);
    out.size(header.epochs.ended.len());
    for (epoch, last) in &header.epochs.ended {
        out.epoch(*epoch);
        out.varint(*last);
    }
    out.varint(header.offset);
    out.varint(header.next_player);
    out.signed(header.timestamp);
}

fn read_header(bytes: &mut Reader<'_>) -> Result<Header, WireError> {
    let [has_home, pending, counts_presence] = bytes.flags()?;
    let home = match has_home {
        true => Some(HomeName {
            node: NodeId(bytes.u64()?),
            lease: bytes.varint()?,
        }),
        false => None,
    };
    let (fence, n) = (bytes.varint()?, bytes.varint()?);
    let store = read_store(bytes)?;
    let current = bytes.epoch()?;
    let ended = bytes.list(2, |bytes| Ok((bytes.epoch()?, bytes.varint()?)))?;
    Ok(Header {
        home,
        fence,
        n,
        store,
        pending,
        epochs: Epochs {
            current,
            ended: SmallVec::from_vec(ended),
        },
        offset: bytes.varint()?,
        next_player: bytes.varint()?,
        timestamp: bytes.signed()?,
        counts_presence,
    })
}

fn write_session(out: &mut Writer<'_>, session: &KeptSession) {
    out.client(session.client);
    out.varint(session.record.turn);
    out.u64(session.record.node.0);
    out.bytes(&session.record.value);
    out.size(session.inbox.len());
    for message in &session.inbox {
        out.varint(message.offset);
        out.client(message.from);
        out.varint(message.seq);
        out.bytes(&message.bytes);
    }
    out.varint(session.last);
    write_store(out, session.store);
    out.flags([session.before.is_some()]);
    if let Some((store, last)) = session.before {
        write_store(out, store);
        out.varint(last);
    }
    write_ends(out, session.ends);
}

fn read_session(bytes: &mut Reader<'_>) -> Result<KeptSession, WireError> {
    let client = bytes.client()?;
    let record = SessionRecord {
        turn: bytes.varint()?,
        node: NodeId(bytes.u64()?),
        value: bytes.bytes()?.into(),
    };
    let inbox = bytes.list(4, |bytes| {
        Ok(KeptMessage {
            offset: bytes.varint()?,
            from: bytes.client()?,
            seq: bytes.varint()?,
            bytes: bytes.bytes()?.into(),
        })
    })?;
    let last = bytes.varint()?;
    let store = read_store(bytes)?;
    let [has_before] = bytes.flags()?;
    let before = match has_before {
        true => Some((read_store(bytes)?, bytes.varint()?)),
        false => None,
    };
    Ok(KeptSession {
        client,
        record,
        inbox,
        last,
        store,
        before,
        ends: read_ends(bytes)?,
    })
}

fn write_store(out: &mut Writer<'_>, StoreId(store): StoreId) {
    out.u64(store as u64);
    out.u64((store >> 64) as u64);
}

fn read_store(bytes: &mut Reader<'_>) -> Result<StoreId, WireError> {
    let low = u128::from(bytes.u64()?);
    Ok(StoreId(low | u128::from(bytes.u64()?) << 64))
}

fn write_ends(out: &mut Writer<'_>, ends: Option<u64>) {
    out.varint(ends.map_or(0, |ends| ends.saturating_add(1)));
}

fn read_ends(bytes: &mut Reader<'_>) -> Result<Option<u64>, WireError> {
    let ends: u64 = bytes.varint()?;
    Ok(ends.checked_sub(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::id::ClientId;
    use crate::log::Epoch;
    use crate::wire::vectors;
    use crate::wire::version::Version;

    fn examples() -> Vec<(&'static str, Kept)> {
        let client = |number| ClientId::from_random([number, 7]);
        let epoch = |name| Epoch::parse(name).unwrap();
        let (store, before) = (StoreId(1 << 100 | 7), StoreId(6));
        let room = KeptRoom {
            name: "chat:1".into(),
            record: RoomRecord {
                header: Header {
                    home: Some(HomeName {
                        node: NodeId(9),
                        lease: 2,
                    }),
                    fence: 1_700_000_000_000,
                    n: 12,
                    store,
                    pending: false,
                    epochs: Epochs {
                        current: epoch("abc"),
                        ended: SmallVec::from_vec(vec![(epoch("old"), 5)]),
                    },
                    offset: 300,
                    next_player: 4,
                    timestamp: 1_700_000_000_123,
                    counts_presence: true,
                },
                fields: vec![
                    (FieldKey::Member(3), [1, 2].into()),
                    (FieldKey::Sender(client(1)), [3].into()),
                    (FieldKey::State, [].into()),
                    (FieldKey::Rules, [4].into()),
                ],
                log: vec![Log {
                    last: 300,
                    events: Arc::from([5, 6]),
                }],
            },
            last: 300,
            ends: Some(1_700_000_300_000),
        };
        let session = KeptSession {
            client: client(1),
            record: SessionRecord {
                turn: 3,
                node: NodeId(9),
                value: [7, 8].into(),
            },
            inbox: vec![KeptMessage {
                offset: 2,
                from: client(2),
                seq: 1,
                bytes: [9].into(),
            }],
            last: 2,
            store,
            before: Some((before, 1)),
            ends: None,
        };
        let user = KeptUser {
            user: "ann".into(),
            clients: vec![client(1), client(2)],
            ends: Some(0),
        };
        vec![
            ("room", Kept::Room(Box::new(room))),
            ("session", Kept::Session(Box::new(session))),
            ("user", Kept::User(Box::new(user))),
        ]
    }

    fn written(kept: &Kept) -> Vec<u8> {
        let mut out = Vec::new();
        write_kept(kept, &mut out);
        out
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_written() {
        for (name, kept) in examples() {
            let bytes = written(&kept);
            assert_eq!(read_kept(&bytes), Ok(Some(kept.clone())), "{name}");
            for length in 0..bytes.len() {
                let _ = read_kept(&bytes[..length]);
            }
        }
        assert_eq!(read_kept(&[99, 1, 2]), Ok(None));
    }

    #[test]
    fn files_of_each_version_can_be_read() {
        let all = |version: Version| {
            // Version 1 has written no such file.
            let examples = examples().into_iter().filter(|_| version > Version::V1);
            examples
                .map(|(name, kept)| (name, written(&kept)))
                .collect()
        };
        vectors::check("kept.txt", "What a snapshot's file has.", all);
    }
}
