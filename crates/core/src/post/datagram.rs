//! What goes from node to node at once: which link it is for, how far the sender has received, and pieces of letters.
//!
//! All numbers are big-endian:
//!
//! | bytes | |
//! |---|---|
//! | 1 | version |
//! | 1 | flags: [`OPENING`], [`GAP`] |
//! | 24 | the sender's end of the link: node, lease, count |
//! | 24 | the receiver's, as the sender knows it; its count is 0 where it doesn't |
//! | 8 | the number of the last piece that has come |
//! | 8 | the number of the first piece here |
//! | | pieces: length (4, the highest bit: the letter goes on with the next), shards to and from (2 each), bytes |
//! | 16 | the MAC |

use super::mac::MAC;
use crate::store::{HomeName, NodeId};

/// Bytes of a datagram at most.
pub const MOST_DATAGRAM: usize = 1 << 20;
/// The versions of the format that are understood. A node speaks the lower one of its own and the other's newest.
pub const VERSIONS: std::ops::RangeInclusive<u8> = 1..=1;

/// Bytes beside the pieces.
pub(super) const AROUND: usize = HEADER + MAC;
/// Bytes beside a piece's own.
pub(super) const AROUND_PIECE: usize = 8;
const HEADER: usize = 2 + 24 + 24 + 8 + 8;

/// The sender does not know yet whether the receiver knows its end: an answer is due.
const OPENING: u8 = 1;
/// Pieces came before one that is missing: the receiver of this sends again from there.
const GAP: u8 = 2;
const CONTINUES: u32 = 1 << 31;

/// One node's end of a link. A link is a pair of ends. No end is used for a second link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) home: HomeName,
    /// Rises with each end that the node makes; 0: not known.
    pub(super) count: u64,
}

/// All but the pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) opening: bool,
    pub(super) gap: bool,
    pub(super) ack: u64,
    pub(super) first: u64,
}

/// A letter, or a part of one that is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<B> {
    pub(super) to_shard: u16,
    pub(super) from_shard: u16,
    /// The letter goes on with the next piece.
    pub(super) continues: bool,
    pub(super) bytes: B,
}

impl Header {
    /// Begins a datagram.
    pub(super) fn write(&self, version: u8, out: &mut Vec<u8>) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(version);
        out.push(flag(self.opening, OPENING) | flag(self.gap, GAP));
        for end in [&self.from, &self.to] {
            for number in [end.home.node.0, end.home.lease, end.count] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        out.extend_from_slice(&self.ack.to_be_bytes());
        out.extend_from_slice(&self.first.to_be_bytes());
    }
}

impl<B: AsRef<[u8]>> Piece<B> {
    /// Bytes that it takes in a datagram.
    pub(super) fn length(&self) -> usize {
        AROUND_PIECE + self.bytes.as_ref().len()
    }

    /// Appends it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let bytes = self.bytes.as_ref();
        // No piece is larger than a datagram.
        let length = bytes.len() as u32 | if self.continues { CONTINUES } else { 0 };
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.to_shard.to_be_bytes());
        out.extend_from_slice(&self.from_shard.to_be_bytes());
        out.extend_from_slice(bytes);
    }
}

/// Reads a datagram without its MAC, whose version is understood. `None`: it isn't one.
pub(super) fn read(bytes: &[u8]) -> Option<(Header, Vec<Piece<&[u8]>>)> {
    let mut rest = bytes;
    let [_version, flags] = take(&mut rest)?;
    let mut end = || {
        Some(End {
            home: HomeName {
                node: NodeId(number(&mut rest)?),
                lease: number(&mut rest)?,
            },
            count: number(&mut rest)?,
        })
    };
    let (from, to) = (end()?, end()?);
    let header = Header {
        from,
        to,
        opening: flags & OPENING != 0,
        gap: flags & GAP != 0,
        ack: number(&mut rest)?,
        first: number(&mut rest)?,
    };
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_be_bytes(take(&mut rest)?);
        let to_shard = u16::from_be_bytes(take(&mut rest)?);
        let from_shard = u16::from_be_bytes(take(&mut rest)?);
        let (bytes, behind) = rest.split_at_checked((length & !CONTINUES) as usize)?;
        rest = behind;
        pieces.push(Piece {
            to_shard,
            from_shard,
            continues: length & CONTINUES != 0,
            bytes,
        });
    }
    // Ends and pieces are numbered from 1, and numbers don't begin anew.
    let last = header.first.checked_add(pieces.len() as u64)?;
    let numbered = pieces.is_empty() || header.first > 0;
    (numbered && from.count > 0 && last < u64::MAX).then_some((header, pieces))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(node: u64, lease: u64, count: u64) -> End {
        let node = NodeId(node);
        End {
            home: HomeName { node, lease },
            count,
        }
    }

    fn example() -> (Header, Vec<Piece<&'static [u8]>>) {
        let header = Header {
            from: end(0x0102, 3, 4),
            to: end(0xffff_ffff_ffff_fffe, 5, 6),
            opening: false,
            gap: true,
            ack: 7,
            first: 8,
        };
        let piece = |to_shard, continues, bytes: &'static [u8]| Piece {
            to_shard,
            from_shard: 0x0203,
            continues,
            bytes,
        };
        (header, vec![piece(1, true, b"ab"), piece(9, false, b"")])
    }

    fn written() -> Vec<u8> {
        let (header, pieces) = example();
        let mut bytes = Vec::new();
        header.write(1, &mut bytes);
        for piece in &pieces {
            piece.write(&mut bytes);
        }
        bytes
    }

    #[test]
    fn the_format_is_as_it_was() {
        let hex: String = written().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "0102\
             000000000000010200000000000000030000000000000004\
             fffffffffffffffe00000000000000050000000000000006\
             00000000000000070000000000000008\
             80000002000102036162\
             0000000000090203"
        );
    }

    #[test]
    fn what_is_written_is_read_and_no_part_of_it_is() {
        let bytes = written();
        assert_eq!(read(&bytes), Some(example()));
        let (whole, one_piece) = (HEADER, HEADER + AROUND_PIECE + 2);
        for length in 0..bytes.len() {
            let cut = read(&bytes[..length]);
            let ends_between = length == whole || length == one_piece;
            assert_eq!(cut.is_some(), ends_between, "{length} bytes");
        }
    }

    #[test]
    fn numbers_that_no_node_gives_are_not_read() {
        let written = written();
        // The sender's count; the first piece's number, lowest and highest.
        for (at, number) in [(18, 0), (58, 0), (58, u64::MAX), (58, u64::MAX - 2)] {
            let mut bytes = written.clone();
            bytes[at..at + 8].copy_from_slice(&u64::to_be_bytes(number));
            assert_eq!(read(&bytes), None, "{number} at {at}");
        }
    }
}
