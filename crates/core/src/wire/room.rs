//! What a store keeps of a room: members, senders, rules and logic. Each begins with the number of its format,
//! which rises when an older version could misread it; what a newer version adds behind is passed over.

use std::collections::VecDeque;

use roomcast_protocol::{Position, Velocity};

use super::WireError;
use super::bytes::{Reader, Writer};
use super::version::Version;
use crate::host::Encoding;
use crate::id::ClientId;
use crate::log::{Answer, Producer};
use crate::player::{PlayerBody, PlayerNum};
use crate::store::NodeId;

/// The format of a member, of a sender, and of events.
pub(super) const FORMAT: u8 = 1;
/// Bytes that an item takes at least.
const LEAST: usize = 2;

/// A member, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackedMember {
    pub(crate) user_id: Box<str>,
    pub(crate) nickname: Box<str>,
    pub(crate) presence: Box<str>,
    pub(crate) seats: Vec<PackedSeat>,
}

/// A seat of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedSeat {
    pub(crate) client_id: ClientId,
    pub(crate) encoding: Encoding,
    /// Where its session was when this was written.
    pub(crate) node: NodeId,
}

pub(super) fn begin(bytes: &[u8]) -> Result<Reader<'_>, WireError> {
    let mut reader = Reader::new(bytes);
    match reader.u8()? {
        FORMAT => Ok(reader),
        other => Err(WireError::Format(other)),
    }
}

fn read_client(reader: &mut Reader<'_>) -> Result<ClientId, WireError> {
    ClientId::parse(reader.text()?).ok_or(WireError::Text)
}

pub(crate) fn write_member(
    out: &mut Vec<u8>,
    (user_id, nickname, presence): (&str, &str, &str),
    seats: impl ExactSizeIterator<Item = PackedSeat>,
) {
    let mut out = Writer::new(out);
    out.u8(FORMAT);
    for text in [user_id, nickname, presence] {
        out.text(text);
    }
    out.size(seats.len());
    for seat in seats {
        out.framed(|out| {
            out.text(seat.client_id.as_str());
            out.u8(seat.encoding.index() as u8);
            out.u64(seat.node.0);
        });
    }
}

pub(crate) fn read_member(bytes: &[u8]) -> Result<PackedMember, WireError> {
    let mut reader = begin(bytes)?;
    Ok(PackedMember {
        user_id: reader.text()?.into(),
        nickname: reader.text()?.into(),
        presence: reader.text()?.into(),
        seats: reader.list(LEAST, |reader| {
            let mut seat = reader.framed()?;
            let client_id = read_client(&mut seat)?;
            let encoding = Encoding::ALL.get(usize::from(seat.u8()?));
            Ok(PackedSeat {
                client_id,
                encoding: *encoding.ok_or(WireError::Unknown)?,
                node: NodeId(seat.u64()?),
            })
        })?,
    })
}

/// A room's logic, as a store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PackedLogic<'a> {
    /// Milliseconds of the room's clock.
    pub(crate) clock: u64,
    /// Milliseconds since the Unix epoch at that time.
    pub(crate) unix_ms: i64,
    /// Milliseconds until logic is woken, if it asked for that.
    pub(crate) wake_in: Option<u64>,
    /// The states of players, but for those that are as they began.
    pub(crate) bodies: Vec<(PlayerNum, PlayerBody)>,
    /// What logic has saved.
    pub(crate) logic: &'a [u8],
}

/// Whom the application does not let into a room.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PackedRules<'a> {
    /// Milliseconds since the Unix epoch; 0: it is not locked.
    pub(crate) locked_until: i64,
    /// Users, and until when they are banned.
    pub(crate) bans: Vec<(&'a str, i64)>,
    /// Sessions that were put out: until when they don't come back by themselves, and whether they are banned.
    pub(crate) put_out: Vec<(ClientId, i64, bool)>,
    /// The room's properties, as the text of a JSON object, and until when they are kept without members.
    pub(crate) properties: (&'a str, i64),
}

pub(crate) fn write_rules(out: &mut Vec<u8>, packed: &PackedRules<'_>) {
    let mut out = Writer::new(out);
    out.u8(FORMAT);
    out.signed(packed.locked_until);
    out.size(packed.bans.len());
    for (user, until) in &packed.bans {
        out.text(user);
        out.signed(*until);
    }
    out.size(packed.put_out.len());
    for (client, until, banned) in &packed.put_out {
        out.client(*client);
        out.signed(*until);
        out.flags([*banned]);
    }
    out.text(packed.properties.0);
    out.signed(packed.properties.1);
}

pub(crate) fn read_rules(bytes: &[u8]) -> Result<PackedRules<'_>, WireError> {
    let mut reader = begin(bytes)?;
    Ok(PackedRules {
        locked_until: reader.signed()?,
        bans: reader.list(2, |reader| Ok((reader.text()?, reader.signed()?)))?,
        put_out: reader.list(ClientId::LENGTH + 2, |reader| {
            let (client, until) = (reader.client()?, reader.signed()?);
            let [banned] = reader.flags()?;
            Ok((client, until, banned))
        })?,
        properties: (reader.text()?, reader.signed()?),
    })
}

pub(crate) fn write_logic(out: &mut Vec<u8>, packed: &PackedLogic<'_>) {
    let mut out = Writer::new(out);
    out.u8(FORMAT);
    out.varint(packed.clock);
    out.signed(packed.unix_ms);
    out.flags([packed.wake_in.is_some()]);
    out.varint(packed.wake_in.unwrap_or(0));
    out.size(packed.bodies.len());
    for (player, body) in &packed.bodies {
        out.framed(|out| {
            out.varint(*player);
            let (at, speed) = (body.position, body.velocity);
            for number in [at.x, at.y, at.z, speed.x, speed.y, speed.z] {
                out.u64(number.to_bits());
            }
            out.signed(body.health.into());
            out.signed(body.score.into());
        });
    }
    out.bytes(packed.logic);
}

pub(crate) fn read_logic(bytes: &[u8]) -> Result<PackedLogic<'_>, WireError> {
    let mut reader = begin(bytes)?;
    let (clock, unix_ms) = (reader.varint()?, reader.signed()?);
    let [wakes] = reader.flags()?;
    let wake_in = reader.varint()?;
    Ok(PackedLogic {
        clock,
        unix_ms,
        wake_in: wakes.then_some(wake_in),
        bodies: reader.list(LEAST, |reader| {
            let mut body = reader.framed()?;
            Ok((body.varint()?, read_body(&mut body)?))
        })?,
        logic: reader.bytes()?,
    })
}

fn read_body(reader: &mut Reader<'_>) -> Result<PlayerBody, WireError> {
    let mut numbers = [0.0; 6];
    for number in &mut numbers {
        *number = f64::from_bits(reader.u64()?);
        if !number.is_finite() {
            return Err(WireError::Range);
        }
    }
    let [x, y, z, speed @ ..] = numbers;
    let number =
        |reader: &mut Reader<'_>| i32::try_from(reader.signed()?).map_err(|_| WireError::Range);
    Ok(PlayerBody {
        position: Position { x, y, z },
        velocity: Velocity {
            x: speed[0],
            y: speed[1],
            z: speed[2],
        },
        health: number(reader)?,
        score: number(reader)?,
    })
}

/// What an answer was: logged, or an error.
const LOGGED: u8 = 0;
const REFUSED: u8 = 1;

pub(crate) fn write_sender(out: &mut Vec<u8>, version: Version, sender: &Producer) {
    let mut out = Writer::new(out);
    out.u8(FORMAT);
    out.varint(sender.last);
    out.varint(sender.unsure);
    out.varint(sender.offset);
    out.size(sender.answers.len());
    for answer in &sender.answers {
        match answer {
            Answer::Logged(offset) => {
                out.u8(LOGGED);
                out.varint(*offset);
            }
            Answer::Refused(code) => {
                out.u8(REFUSED);
                out.error_code(version, *code);
            }
        }
    }
    out.size(sender.ahead.len());
    for (seq, code) in &sender.ahead {
        out.varint(*seq);
        out.error_code(version, *code);
    }
}

pub(crate) fn read_sender(bytes: &[u8]) -> Result<Producer, WireError> {
    let mut reader = begin(bytes)?;
    let (last, unsure, offset) = (reader.offset()?, reader.varint()?, reader.offset()?);
    let answers = reader.list(LEAST, |reader| match reader.u8()? {
        LOGGED => reader.offset().map(Answer::Logged),
        REFUSED => reader.error_code().map(Answer::Refused),
        _ => Err(WireError::Unknown),
    })?;
    if answers.len() as u64 > last {
        return Err(WireError::Range);
    }
    let ahead = reader.list(LEAST, |reader| Ok((reader.offset()?, reader.error_code()?)))?;
    Ok(Producer {
        last,
        unsure,
        offset,
        answers: VecDeque::from(answers),
        ahead,
        ..Producer::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use proptest::collection::vec;
    use proptest::prelude::*;
    use roomcast_protocol::{ErrorCode, Format, MAX_NUMBER, MessageType, PayloadKind};

    use super::*;
    use crate::log::{Logged, Record};
    use crate::wire::events::tests::events;
    use crate::wire::events::{EventWriter, read_events};
    use crate::wire::vectors;

    fn client(number: u64) -> ClientId {
        ClientId::from_random([number, 7])
    }

    fn member(packed: &PackedMember) -> Vec<u8> {
        let mut out = Vec::new();
        let texts = (&*packed.user_id, &*packed.nickname, &*packed.presence);
        write_member(&mut out, texts, packed.seats.iter().copied());
        out
    }

    fn sender(sender: &Producer) -> Vec<u8> {
        let mut out = Vec::new();
        write_sender(&mut out, Version::OWN, sender);
        out
    }

    fn a_member() -> PackedMember {
        PackedMember {
            user_id: "ann".into(),
            nickname: "Ann".into(),
            presence: "{}".into(),
            seats: vec![PackedSeat {
                client_id: ClientId::parse("0123456789abcdefghjk").unwrap(),
                encoding: Encoding::ALL[2],
                node: NodeId(0x0102_0304),
            }],
        }
    }

    fn a_sender() -> Producer {
        Producer {
            last: 300,
            unsure: 5,
            offset: 9,
            answers: [Answer::Logged(9), Answer::Refused(ErrorCode::TooLarge)].into(),
            ahead: vec![(302, ErrorCode::Forbidden)],
            ..Producer::default()
        }
    }

    fn a_logic() -> PackedLogic<'static> {
        let body = PlayerBody {
            position: Position {
                x: 1.5,
                y: 0.0,
                z: 0.0,
            },
            velocity: Velocity::default(),
            health: 90,
            score: -1,
        };
        PackedLogic {
            clock: 300,
            unix_ms: 1_000,
            wake_in: Some(50),
            bodies: vec![(2, body)],
            logic: b"xy",
        }
    }

    fn an_entry() -> Vec<u8> {
        let mut writer = EventWriter::new();
        for (timestamp, seq) in [(1_000, 1), (999, 2)] {
            writer.push(&Logged {
                offset: 0,
                timestamp,
                record: Record {
                    message_type: MessageType::GameAction,
                    payload_kind: PayloadKind::Bytes,
                    format: Format::Protobuf,
                    silent: true,
                    client_id: "c",
                    user_id: "p",
                    player_num: 300,
                    service: "",
                    seq,
                    name: "n",
                    payload: b"xy",
                },
            });
        }
        writer.finish()
    }

    fn written_logic(packed: &PackedLogic<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        write_logic(&mut out, packed);
        out
    }

    #[test]
    fn it_is_written_as_it_always_was() {
        vectors::check("rooms.txt", "What a store keeps of a room.", |version| {
            let mut sender = Vec::new();
            write_sender(&mut sender, version, &a_sender());
            vec![
                ("member", member(&a_member())),
                ("sender", sender),
                ("logic", written_logic(&a_logic())),
                ("events", an_entry()),
            ]
        });
    }

    #[test]
    fn what_versions_before_wrote_is_read() {
        for (_, name, bytes) in vectors::of_before("rooms.txt") {
            match &*name {
                "member" => assert_eq!(read_member(&bytes), Ok(a_member())),
                "sender" => assert_eq!(read_sender(&bytes), Ok(a_sender())),
                "logic" => assert_eq!(read_logic(&bytes), Ok(a_logic())),
                "events" => {
                    let mut read = Vec::new();
                    let each = |it: Logged<'_>| read.push(format!("{it:?}"));
                    read_events(&bytes, 7, each).unwrap();
                    let mut now = Vec::new();
                    let each = |it: Logged<'_>| now.push(format!("{it:?}"));
                    read_events(&an_entry(), 7, each).unwrap();
                    assert_eq!(read, now);
                    let xy = || b"xy".to_vec();
                    let both = vec![(6, 1_000, 1, xy()), (7, 999, 2, xy())];
                    assert_eq!(events(&bytes, 7), Ok(both));
                    assert_eq!(events(&bytes, 1), Err(WireError::Range));
                }
                other => panic!("{other} is not read"),
            }
        }
    }

    /// Who is in the room, what is in its log, and which numbers are done must not depend on who was its home.
    #[test]
    fn what_a_newer_version_adds_to_any_part_is_passed_over() {
        let longer = |mut bytes: Vec<u8>| {
            bytes.extend(b"and more");
            bytes
        };
        assert_eq!(read_member(&longer(member(&a_member()))), Ok(a_member()));
        assert_eq!(read_sender(&longer(sender(&a_sender()))), Ok(a_sender()));
        assert_eq!(
            read_logic(&longer(written_logic(&a_logic()))),
            Ok(a_logic())
        );
        // Of events, behind the fields of each.
        let bytes = an_entry();
        let mut events_of_it = begin(&bytes).unwrap();
        let mut newer = vec![FORMAT];
        while !events_of_it.is_empty() {
            let event = events_of_it.bytes().unwrap();
            Writer::new(&mut newer).bytes(&longer(event.to_vec()));
        }
        assert_eq!(events(&newer, 7), events(&bytes, 7));
    }

    #[test]
    fn what_a_newer_version_adds_is_passed_over_and_its_format_is_not_guessed_at() {
        let packed = PackedMember {
            user_id: "".into(),
            nickname: "".into(),
            presence: "".into(),
            seats: Vec::new(),
        };
        let mut bytes = member(&packed);
        bytes.push(9);
        assert_eq!(read_member(&bytes), Ok(packed));
        bytes[0] = 2;
        assert_eq!(read_member(&bytes), Err(WireError::Format(2)));
        assert_eq!(events(&bytes, 1), Err(WireError::Format(2)));
    }

    fn code() -> impl Strategy<Value = ErrorCode> {
        (0..ErrorCode::ALL.len()).prop_map(|at| ErrorCode::ALL[at])
    }

    fn answer() -> impl Strategy<Value = Answer> {
        prop_oneof![
            (0..=MAX_NUMBER).prop_map(Answer::Logged),
            code().prop_map(Answer::Refused)
        ]
    }

    proptest! {
        #[test]
        fn members_come_back(
            texts in [".{0,40}", ".{0,40}", ".{0,40}"],
            seats in vec((any::<u64>(), 0..Encoding::COUNT, any::<u64>()), 0..5),
        ) {
            let [user_id, nickname, presence] = texts.map(String::into_boxed_str);
            let seats = seats.into_iter().map(|(name, encoding, node)| PackedSeat {
                client_id: client(name),
                encoding: Encoding::ALL[encoding],
                node: NodeId(node),
            });
            let packed = PackedMember { user_id, nickname, presence, seats: seats.collect() };
            prop_assert_eq!(read_member(&member(&packed)), Ok(packed));
        }

        #[test]
        fn senders_come_back(
            numbers in [32..=MAX_NUMBER, 0..=u64::MAX, 0..=MAX_NUMBER],
            answers in vec(answer(), 0..=32),
            ahead in vec((0..=MAX_NUMBER, code()), 0..=32),
        ) {
            let [last, unsure, offset] = numbers;
            let known = Producer { last, unsure, offset, answers: answers.into(), ahead, ..Producer::default() };
            prop_assert_eq!(read_sender(&sender(&known)), Ok(known));
        }

        #[test]
        fn logic_comes_back(
            clock in any::<u64>(),
            unix_ms in any::<i64>(),
            wake_in in proptest::option::of(any::<u64>()),
            bodies in vec((any::<u32>(), [-1e9..1e9, -1.0..1.0], any::<i32>(), any::<i32>()), 0..5),
            logic in vec(any::<u8>(), 0..100),
        ) {
            let bodies = bodies.into_iter().map(|(player, [x, speed], health, score)| {
                let position = Position { x, y: speed, z: -x };
                let velocity = Velocity { x: speed, y: x, z: 0.0 };
                (player, PlayerBody { position, velocity, health, score })
            });
            let packed = PackedLogic { clock, unix_ms, wake_in, bodies: bodies.collect(), logic: &logic };
            let bytes = written_logic(&packed);
            prop_assert_eq!(read_logic(&bytes), Ok(packed));
        }

        #[test]
        fn no_bytes_are_too_odd_to_read(bytes in vec(any::<u8>(), 0..200), last in any::<u64>()) {
            let _ = read_member(&bytes);
            let _ = read_sender(&bytes);
            let _ = read_logic(&bytes);
            let _ = read_events(&bytes, last, |_| {});
        }
    }
}
