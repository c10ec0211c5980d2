//! A session as a store keeps it ([`SessionRecord::value`](crate::store::SessionRecord::value)): what another node needs
//! to go on with it.
//!
//! It begins with its format. A field is added as to a letter: at the end of the session or of a membership, and read
//! with a default where an older node has written none. What a newer node has written behind the known fields is left
//! out, and lost when the session is written again: so a node writes a new field when no older one lives.

use std::num::NonZeroU32;

use roomcast_protocol::ErrorCode;

use super::bytes::{Reader, WireError, Writer};
use super::version::Version;
use crate::identity::{Grant, Identity, Rights, Rooms};
use crate::player::PlayerNum;
use crate::store::StoreId;
use crate::token::SessionKey;

/// The format of sessions.
const FORMAT: u8 = 1;

/// A session without what belongs to a connection or a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackedSession {
    /// What its resume token has to show.
    pub(crate) key: SessionKey,
    /// The generation with which it began.
    pub(crate) first: u32,
    /// What its token says; `None`: it is served without one.
    pub(crate) identity: Option<Box<Identity>>,
    /// Milliseconds since the Unix epoch since which it has no connection; 0: it has one.
    pub(crate) parked_since: i64,
    /// In the order in which they were joined.
    pub(crate) memberships: Vec<PackedMembership>,
    pub(crate) sent: PackedSent,
    /// The newest store at which it was certain that no node has it as it is later; of nobody where version 1 has written
    /// it. At another one a node may have it as it is later.
    pub(crate) store: StoreId,
}

/// A session's place in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackedMembership {
    pub(crate) room: Box<str>,
    /// 0 where the home has not told it.
    pub(crate) player: PlayerNum,
    /// It has asked to leave, and was not answered.
    pub(crate) leaves: bool,
    /// What a token for this room alone allows, and when that ends in milliseconds since the Unix epoch; 0: never.
    pub(crate) of_room: Option<(Rights, i64)>,
    /// The offset after which its events began.
    pub(crate) floor: u64,
}

/// The numbers of the direct messages that it has sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackedSent {
    /// The greatest number with an answer, or to be sent again.
    pub(crate) last: u64,
    /// Of the last ones, the newest at the end.
    pub(crate) answers: Vec<PackedAnswer>,
    /// Numbers above that were refused for good before they came.
    pub(crate) ahead: Vec<(u64, ErrorCode)>,
}

/// What became of a number. One that is under way is open: its receipt goes to the node before, and an inbox takes a
/// number once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackedAnswer {
    Open,
    Acked(u64),
    Refused(ErrorCode),
}

impl PackedSession {
    /// Appends the value.
    pub(crate) fn write(&self, version: Version, out: &mut Vec<u8>) {
        let PackedSession {
            key,
            first,
            identity,
            parked_since,
            memberships,
            sent,
            store,
        } = self;
        let out = &mut Writer::new(out);
        out.u8(FORMAT);
        out.u64(key.incarnation);
        out.varint(key.generation.get());
        out.varint(*first);
        out.flags([identity.is_some()]);
        if let Some(identity) = identity {
            write_identity(out, identity);
        }
        out.signed(*parked_since);
        out.size(memberships.len());
        for membership in memberships {
            out.framed(|out| membership.write(out));
        }
        sent.write(version, out);
        if version >= Version::V2 {
            out.raw(&store.0.to_be_bytes());
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// It is not one, or of another format.
    pub(crate) fn read(value: &[u8]) -> Result<PackedSession, WireError> {
        let bytes = &mut Reader::new(value);
        let format = bytes.u8()?;
        if format != FORMAT {
            return Err(WireError::Format(format));
        }
        let key = SessionKey {
            incarnation: bytes.u64()?,
            generation: NonZeroU32::new(bytes.varint()?).ok_or(WireError::Range)?,
        };
        let first = bytes.varint()?;
        let [has_identity] = bytes.flags()?;
        let identity = has_identity.then(|| read_identity(bytes)).transpose()?;
        Ok(PackedSession {
            key,
            first,
            identity: identity.map(Box::new),
            parked_since: bytes.signed()?,
            memberships: bytes.list(1, |bytes| PackedMembership::read(&mut bytes.framed()?))?,
            sent: PackedSent::read(bytes)?,
            // Version 1 has written none.
            store: match bytes.is_empty() {
                true => StoreId::default(),
                false => read_store(bytes)?,
            },
        })
    }

    /// Whether it is certain at this store that no node has it as it is later.
    pub(crate) fn is_of(&self, store: StoreId) -> bool {
        [store, StoreId::default()].contains(&self.store)
    }
}

fn read_store(bytes: &mut Reader<'_>) -> Result<StoreId, WireError> {
    let store = bytes.raw(16)?.try_into().map_err(|_| WireError::Short)?;
    Ok(StoreId(u128::from_be_bytes(store)))
}

impl PackedMembership {
    fn write(&self, out: &mut Writer<'_>) {
        let PackedMembership {
            room,
            player,
            leaves,
            of_room,
            floor,
        } = self;
        out.text(room);
        out.varint(*player);
        out.flags([*leaves, of_room.is_some()]);
        if let Some((rights, ends_at)) = of_room {
            out.u8(rights.bits());
            out.signed(*ends_at);
        }
        out.varint(*floor);
    }

    fn read(bytes: &mut Reader<'_>) -> Result<PackedMembership, WireError> {
        let (room, player) = (bytes.text()?.into(), bytes.varint()?);
        let [leaves, has_rights] = bytes.flags()?;
        let rights = |bytes: &mut Reader<'_>| -> Result<_, WireError> {
            Ok((Rights::from_bits(bytes.u8()?), bytes.signed()?))
        };
        Ok(PackedMembership {
            room,
            player,
            leaves,
            of_room: has_rights.then(|| rights(bytes)).transpose()?,
            floor: bytes.offset()?,
        })
    }
}

const OPEN: u8 = 0;
const ACKED: u8 = 1;
const REFUSED: u8 = 2;

impl PackedSent {
    fn write(&self, version: Version, out: &mut Writer<'_>) {
        let PackedSent {
            last,
            answers,
            ahead,
        } = self;
        out.varint(*last);
        out.size(answers.len());
        for answer in answers {
            match answer {
                PackedAnswer::Open => out.u8(OPEN),
                PackedAnswer::Acked(offset) => {
                    out.u8(ACKED);
                    out.varint(*offset);
                }
                PackedAnswer::Refused(code) => {
                    out.u8(REFUSED);
                    out.error_code(version, *code);
                }
            }
        }
        out.size(ahead.len());
        for (seq, code) in ahead {
            out.varint(*seq);
            out.error_code(version, *code);
        }
    }

    fn read(bytes: &mut Reader<'_>) -> Result<PackedSent, WireError> {
        let last = bytes.offset()?;
        let answers = bytes.list(1, |bytes| {
            Ok(match bytes.u8()? {
                OPEN => PackedAnswer::Open,
                ACKED => PackedAnswer::Acked(bytes.offset()?),
                REFUSED => PackedAnswer::Refused(bytes.error_code()?),
                _ => return Err(WireError::Unknown),
            })
        })?;
        let ahead = bytes.list(2, |bytes| Ok((bytes.offset()?, bytes.error_code()?)))?;
        // Each answer is that of a number.
        if answers.len() as u64 > last {
            return Err(WireError::Range);
        }
        Ok(PackedSent {
            last,
            answers,
            ahead,
        })
    }
}

const ALL: u8 = 0;
const KIND: u8 = 1;
const ROOM: u8 = 2;

fn write_identity(out: &mut Writer<'_>, identity: &Identity) {
    let Identity {
        user_id,
        name,
        grants,
        direct,
        expires_at,
    } = identity;
    out.text(user_id);
    out.text(name);
    out.flags([*direct]);
    out.signed(*expires_at);
    out.size(grants.len());
    for Grant { rooms, rights } in grants {
        match rooms {
            Rooms::All => out.u8(ALL),
            Rooms::Kind(kind) => {
                out.u8(KIND);
                out.text(kind);
            }
            Rooms::Room(room) => {
                out.u8(ROOM);
                out.text(room);
            }
        }
        out.u8(rights.bits());
    }
}

fn read_identity(bytes: &mut Reader<'_>) -> Result<Identity, WireError> {
    let (user_id, name) = (bytes.text()?.into(), bytes.text()?.into());
    let [direct] = bytes.flags()?;
    let expires_at = bytes.signed()?;
    let grants = bytes.list(2, |bytes| {
        let rooms = match bytes.u8()? {
            ALL => Rooms::All,
            KIND => Rooms::Kind(bytes.text()?.into()),
            ROOM => Rooms::Room(bytes.text()?.into()),
            _ => return Err(WireError::Unknown),
        };
        let rights = Rights::from_bits(bytes.u8()?);
        Ok(Grant { rooms, rights })
    })?;
    Ok(Identity {
        user_id,
        name,
        grants,
        direct,
        expires_at,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use proptest::prelude::*;

    use super::*;
    use crate::wire::vectors;

    fn written(session: &PackedSession) -> Vec<u8> {
        written_for(Version::OWN, session)
    }

    fn written_for(version: Version, session: &PackedSession) -> Vec<u8> {
        let mut out = Vec::new();
        session.write(version, &mut out);
        out
    }

    fn examples() -> [(&'static str, PackedSession); 2] {
        [("fresh", fresh()), ("full", full())]
    }

    fn fresh() -> PackedSession {
        PackedSession {
            key: SessionKey {
                incarnation: 0x0123_4567_89ab_cdef,
                generation: NonZeroU32::new(3).unwrap(),
            },
            first: 1,
            identity: None,
            parked_since: 0,
            memberships: Vec::new(),
            sent: PackedSent::default(),
            store: StoreId(1 << 100 | 7),
        }
    }

    fn full() -> PackedSession {
        let grant = |rooms, rights| Grant { rooms, rights };
        let membership = |room: &str, of_room: Option<_>| PackedMembership {
            room: room.into(),
            player: 7,
            leaves: of_room.is_none(),
            of_room,
            floor: 1_000,
        };
        PackedSession {
            identity: Some(Box::new(Identity {
                user_id: "user-1".into(),
                name: "Ann".into(),
                grants: vec![
                    grant(Rooms::All, Rights::JOIN),
                    grant(Rooms::Kind("chat".into()), Rights::ALL),
                    grant(Rooms::Room("chat:42".into()), Rights::HISTORY),
                ],
                direct: true,
                expires_at: 1_700_000_000_000,
            })),
            parked_since: 1_700_000_000_123,
            memberships: vec![
                membership("chat:42", Some((Rights::PUBLISH, 1_700_000_100_000))),
                membership("chat:43", None),
            ],
            sent: PackedSent {
                last: 40,
                answers: vec![
                    PackedAnswer::Acked(77),
                    PackedAnswer::Refused(ErrorCode::TooLarge),
                    PackedAnswer::Open,
                ],
                ahead: vec![(43, ErrorCode::Forbidden)],
            },
            ..fresh()
        }
    }

    #[test]
    fn it_is_written_as_it_always_was() {
        vectors::check("sessions.txt", "Sessions in a store.", |version| {
            let sessions = examples().into_iter();
            sessions
                .map(|(name, session)| (name, written_for(version, &session)))
                .collect()
        });
    }

    #[test]
    fn what_versions_before_wrote_is_read() {
        for (_, name, bytes) in vectors::of_before("sessions.txt") {
            let examples = examples().into_iter();
            let (_, now) = examples.into_iter().find(|it| it.0 == name).unwrap();
            let as_then = PackedSession {
                store: StoreId::default(),
                ..now
            };
            assert_eq!(PackedSession::read(&bytes), Ok(as_then), "{name}");
        }
    }

    #[test]
    fn it_is_read_as_it_was_and_not_in_part() {
        for session in [fresh(), full()] {
            let bytes = written(&session);
            assert_eq!(PackedSession::read(&bytes), Ok(session.clone()));
            let of_version_1 = written_for(Version::V1, &session).len();
            for length in (0..bytes.len()).filter(|it| *it != of_version_1) {
                let cut = PackedSession::read(&bytes[..length]);
                assert_eq!(cut, Err(WireError::Short), "{length} bytes");
            }
        }
    }

    #[test]
    fn fields_of_a_newer_version_are_left_out_and_a_newer_format_is_refused() {
        let mut bytes = written(&full());
        bytes.extend(b"and more");
        assert_eq!(PackedSession::read(&bytes), Ok(full()));
        bytes[0] = FORMAT + 1;
        let newer = PackedSession::read(&bytes);
        assert_eq!(newer, Err(WireError::Format(FORMAT + 1)));
        // And those of a membership.
        let mut longer = Vec::new();
        let out = &mut Writer::new(&mut longer);
        let membership = &full().memberships[0];
        out.framed(|out| {
            membership.write(out);
            out.raw(b"and more");
        });
        let mut longer = Reader::new(&longer);
        let read = PackedMembership::read(&mut longer.framed().unwrap());
        assert_eq!(read.as_ref(), Ok(membership));
    }

    #[test]
    fn there_are_no_more_answers_than_numbers() {
        let mut session = full();
        session.sent.last = 2;
        assert_eq!(
            PackedSession::read(&written(&session)),
            Err(WireError::Range)
        );
    }

    proptest! {
        #[test]
        fn any_session_is_read_as_it_was(
            (incarnation, generation, first) in any::<(u64, NonZeroU32, u32)>(),
            (user_id, name, direct, expires_at) in any::<(String, String, bool, i64)>(),
            (has_identity, parked_since) in any::<(bool, i64)>(),
            grants in prop::collection::vec((0..3_u8, any::<String>(), any::<u8>()), 0..3),
            rooms in prop::collection::vec(any::<(String, u32, bool, Option<(u8, i64)>, u32)>(), 0..3),
            answers in prop::collection::vec((0..3_u8, any::<u32>()), 0..33),
            ahead in prop::collection::vec(any::<(u32, prop::sample::Index)>(), 0..3),
        ) {
            let grant = |(kind, text, rights): (u8, String, u8)| Grant {
                rooms: match kind {
                    0 => Rooms::All,
                    1 => Rooms::Kind(text.into()),
                    _ => Rooms::Room(text.into()),
                },
                rights: Rights::from_bits(rights),
            };
            let identity = Identity {
                user_id: user_id.into(),
                name: name.into(),
                grants: grants.into_iter().map(grant).collect(),
                direct,
                expires_at,
            };
            let membership = |(room, player, leaves, of_room, floor): (String, _, _, Option<(u8, i64)>, u32)| {
                PackedMembership {
                    room: room.into(),
                    player,
                    leaves,
                    of_room: of_room.map(|(bits, ends_at)| (Rights::from_bits(bits), ends_at)),
                    floor: floor.into(),
                }
            };
            let answer = |(kind, number): (u8, u32)| match kind {
                0 => PackedAnswer::Open,
                1 => PackedAnswer::Acked(number.into()),
                _ => PackedAnswer::Refused(ErrorCode::ALL[number as usize % ErrorCode::ALL.len()]),
            };
            let session = PackedSession {
                key: SessionKey { incarnation, generation },
                first,
                identity: has_identity.then(|| Box::new(identity)),
                parked_since,
                memberships: rooms.into_iter().map(membership).collect(),
                sent: PackedSent {
                    last: answers.len() as u64 + u64::from(first),
                    answers: answers.into_iter().map(answer).collect(),
                    ahead: ahead
                        .into_iter()
                        .map(|(seq, code)| (seq.into(), *code.get(ErrorCode::ALL)))
                        .collect(),
                },
                store: StoreId(u128::from(incarnation) << 64 | u128::from(first)),
            };
            prop_assert_eq!(PackedSession::read(&written(&session)), Ok(session));
        }

        #[test]
        fn any_bytes_are_a_session_or_an_error(
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = PackedSession::read(&bytes);
            let mut changed = written(&full());
            for (at, byte) in noise {
                let at = at.index(changed.len());
                changed[at] = byte;
            }
            let _ = PackedSession::read(&changed);
        }
    }
}
