//! Letters, written and read.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod any;
mod examples;

use proptest::prelude::*;

use super::*;
use crate::letter::{Delivery, Exclusion, OpKind, Receipt, ToEdge};
use crate::spare::SpareBuffers;
use crate::wire::vectors;
use any::Draw;
use examples::{HASH_KEY, NOW, examples};

/// This shard, as it sends.
pub(super) const SENDER: ShardAddress = ShardAddress::own(3);
/// The shard that reads, as the sender names it.
pub(super) const READER: ShardAddress = ShardAddress::new(NodeNumber::met(9), 5);
/// The sender's node, as the reader names it.
const SENDERS_NODE: NodeNumber = NodeNumber::met(7);

fn written(letter: &Letter) -> Vec<u8> {
    written_for(Version::OWN, letter)
}

fn written_for(version: Version, letter: &Letter) -> Vec<u8> {
    let mut out = Vec::new();
    let sending = Sending {
        to: READER,
        now: NOW,
        version,
    };
    write(sending, letter, &mut out);
    out
}

fn read_next(bytes: &mut Reader<'_>) -> Result<Option<Letter>, WireError> {
    let mut at = Receiving {
        from: SENDERS_NODE,
        own: ShardAddress::own(READER.shard()),
        now: NOW,
        names: &NameHash::new(HASH_KEY),
        pool: &mut ChunkPool::new(),
        buffers: &mut SpareBuffers::new(0),
    };
    read(bytes, &mut at)
}

fn read_one(bytes: &[u8]) -> Result<Option<Letter>, WireError> {
    let mut bytes = Reader::new(bytes);
    let letter = read_next(&mut bytes)?;
    if !bytes.is_empty() {
        return Err(WireError::Range);
    }
    Ok(letter)
}

/// All that a letter says. On both sides a shard is called by its number alone.
fn said(letter: &Letter) -> String {
    let mut text = format!("{letter:?}");
    for node in [SENDERS_NODE, READER.node()] {
        text = text.replace(&format!(" of {node:?}"), "");
    }
    text
}

#[test]
fn every_kind_is_written_as_it_always_was() {
    vectors::check("letters.txt", "Letters between nodes.", |version| {
        let letters = examples().into_iter();
        // A version that does not know a field of one leaves that out.
        let newer = ["direct_from_user", "leave_of_turn", "news_of_turn"];
        let has_all = |name| version >= Version::V2 || !newer.contains(&name);
        let letters = letters.filter(|(name, letter)| needs(letter) <= version && has_all(name));
        letters
            .map(|(name, letter)| (name, written_for(version, &letter)))
            .collect()
    });
}

#[test]
fn what_versions_before_wrote_is_read() {
    let examples = examples();
    for (version, name, bytes) in vectors::of_before("letters.txt") {
        let read = read_one(&bytes).unwrap().unwrap();
        let letter = examples.iter().find(|it| it.0 == name).map(|it| &it.1);
        assert_eq!(said(&read), said(letter.unwrap()), "{name} of {version:?}");
    }
}

#[test]
fn every_example_is_read_as_it_was() {
    let mut kinds = std::collections::BTreeSet::new();
    for (name, letter) in examples() {
        kinds.insert(kind_of(&letter));
        let read = read_one(&written(&letter)).unwrap().unwrap();
        assert_eq!(said(&read), said(&letter), "{name}");
    }
    assert_eq!(kinds.len(), 40, "each kind has an example");
}

#[test]
fn a_letter_that_is_cut_is_an_error() {
    for (name, letter) in examples() {
        let bytes = written(&letter);
        for length in 0..bytes.len() {
            let cut = read_one(&bytes[..length]).map(|it| said(&it.unwrap()));
            assert_eq!(cut, Err(WireError::Short), "{length} bytes of {name}");
        }
    }
}

#[test]
fn letters_follow_one_another() {
    let letters = examples();
    let all: Vec<u8> = letters.iter().flat_map(|(_, it)| written(it)).collect();
    let mut bytes = Reader::new(&all);
    for (name, letter) in &letters {
        let read = read_next(&mut bytes).unwrap().unwrap();
        assert_eq!(said(&read), said(letter), "{name}");
    }
    assert!(bytes.is_empty());
}

#[test]
fn what_a_newer_version_writes_is_skipped() {
    let ours = written(&Letter::Credit(5));
    for (name, letter) in examples() {
        let bytes = written(&letter);
        let [format, kind] = [bytes[0], bytes[1]];
        let body = Reader::new(&bytes[2..]).bytes().unwrap();
        let newer = |format: u8, kind: u8, body: &[u8]| {
            let mut out = vec![format, kind];
            Writer::new(&mut out).bytes(body);
            out.extend_from_slice(&ours);
            out
        };
        // Fields behind the known ones are left out.
        let longer = newer(format, kind, &[body, b"and more"].concat());
        let mut longer = Reader::new(&longer);
        let read = read_next(&mut longer).unwrap().unwrap();
        assert_eq!(said(&read), said(&letter), "{name}");
        // Letters of other kinds and formats are.
        for unknown in [newer(format, 255, body), newer(format + 1, kind, body)] {
            let mut unknown = Reader::new(&unknown);
            assert!(read_next(&mut unknown).unwrap().is_none(), "{name}");
            assert!(read_next(&mut unknown).unwrap().is_some(), "the next one");
        }
    }
}

#[test]
fn a_letter_with_a_value_that_is_not_known_is_skipped() {
    let mut bytes = vec![FORMAT, kind::RECEIPT];
    Writer::new(&mut bytes).framed(|out| {
        out.raw(b"0123456789abcdefghij");
        out.varint(1_u8);
        // A type of message of tomorrow.
        out.u8(250);
    });
    assert_eq!(read_one(&bytes).map(|it| it.is_none()), Ok(true));
}

#[test]
fn an_error_that_is_not_known_is_an_error() {
    let mut bytes = vec![FORMAT, kind::RECEIPT];
    let mut out = Writer::new(&mut bytes);
    out.framed(|out| {
        out.raw(b"0123456789abcdefghij");
        out.varint(1_u8);
        out.u8(5);
        out.varint(0_u8);
        out.u8(1);
        out.text("an_error_of_tomorrow");
    });
    let read = read_one(&bytes).unwrap();
    let Some(Letter::Receipt(receipted)) = read else {
        panic!("a receipt");
    };
    assert!(matches!(receipted.receipt, Receipt::Failed(_)));
}

#[test]
fn a_connection_of_the_sender_is_the_senders_whatever_the_letter_says() {
    let op = examples().into_iter().find_map(|(_, letter)| match letter {
        Letter::Op(op) if matches!(op.request, OpKind::Publish(_)) => Some(op),
        _ => None,
    });
    let read = read_one(&written(&Letter::Op(op.unwrap()))).unwrap();
    let Some(Letter::Op(op)) = read else {
        panic!("an operation");
    };
    assert_eq!(
        op.head.conn.shard,
        ShardAddress::new(SENDERS_NODE, SENDER.shard())
    );
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "shard 2 of node 4")]
fn a_connection_of_a_third_node_is_in_no_letter() {
    let mut draw = Draw::new(1);
    let Letter::Op(mut op) = draw.op(OpKind::Detach) else {
        panic!("an operation");
    };
    op.head.conn.shard = ShardAddress::new(NodeNumber::met(4), 2);
    written(&Letter::Op(op));
}

#[test]
fn ranges_go_to_the_shard_of_their_connection_alone() {
    let mut draw = Draw::new(2);
    let exclusion = |shard, start| Exclusion {
        conn: ConnRef {
            shard,
            conn: ConnId::from_u64(4),
        },
        state_lane: false,
        offset: 1,
        start,
        end: start + 1,
    };
    let others = ShardAddress::new(READER.node(), READER.shard() + 1);
    let delivery = Delivery {
        exclusions: vec![
            exclusion(SENDER, 1),
            exclusion(READER, 2),
            exclusion(others, 3),
        ],
        ..draw.delivery()
    };
    let read = read_one(&written(&Letter::Edge(ToEdge::Deliver(delivery)))).unwrap();
    let Some(Letter::Edge(ToEdge::Deliver(delivery))) = read else {
        panic!("a delivery");
    };
    let ranges = delivery
        .exclusions
        .iter()
        .map(|it| (it.conn.shard, it.start));
    assert!(ranges.eq([(ShardAddress::own(READER.shard()), 2)]));
}

#[test]
fn spare_buffers_stay_on_their_node() {
    assert!(written(&Letter::Spare(vec![1])).is_empty());
}

#[test]
fn common_letters_are_small() {
    let sizes = |name: &str| {
        let letters = examples();
        let (_, letter) = letters.iter().find(|(other, _)| *other == name).unwrap();
        let content = match letter {
            Letter::Op(op) => op.request.held() + op.head.room.name.len(),
            Letter::Edge(ToEdge::Deliver(delivery)) => delivery.bytes,
            _ => 0,
        };
        let size = written(letter).len();
        println!("{name}: {size} bytes, {content} of them what is carried");
        size - content
    };
    assert!(sizes("publish") <= 26);
    assert!(sizes("deliver") <= 21);
    assert!(sizes("accepted") <= 10);
    assert!(sizes("credit") <= 6);
}

proptest! {
    #[test]
    fn any_letter_is_read_as_it_was(seed in any::<u64>()) {
        let letter = Draw::new(seed).letter();
        let bytes = written(&letter);
        let read = read_one(&bytes).unwrap().unwrap();
        prop_assert_eq!(said(&read), said(&letter));
        let cut = seed as usize % bytes.len();
        prop_assert!(read_one(&bytes[..cut]).is_err());
    }

    #[test]
    fn any_bytes_are_a_letter_or_an_error(
        seed in any::<u64>(),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let _ = read_one(&bytes);
        let mut body = vec![FORMAT, seed as u8 % 70];
        Writer::new(&mut body).bytes(&bytes);
        let _ = read_one(&body);
        let mut changed = written(&Draw::new(seed).letter());
        for (at, byte) in noise {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        let _ = read_one(&changed);
    }
}
