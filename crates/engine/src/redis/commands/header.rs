//! A room's header as a text of fixed places, so that scripts compare and change parts of it without reading it.
//!
//! | from | to | what |
//! |---|---|---|
//! | 1 | 1 | the version of this form: 1 |
//! | 2 | 2 | whether it is pending |
//! | 3 | 34 | the store |
//! | 35 | 66 | the home: node, number of the lease; 32 times `-` if there is none |
//! | 67 | 82 | the fence, in decimal |
//! | 83 | 98 | the number of the last append |
//! | 99 | 114 | the offset |
//! | 115 | 132 | the epoch: its length, then its text and blanks up to 16 bytes |
//! | 133 | 140 | the number of the next player |
//! | 141 | 156 | the time |
//! | 157 | 157 | whether presence is counted |
//! | 158 | | ended epochs, the newest first, 34 bytes each: the epoch as above, and its offset |
//!
//! Nothing is added behind: what a newer version has more is a field of its own in the room's hash, which older ones leave
//! as it is. Only a renewal writes a record without what the node did not know.
//!
//! Places count from 1, as in Lua. Numbers are hexadecimal but for the fence, of which scripts take the greater.

use roomcast_core::log::Epoch;
use roomcast_core::store::{Epochs, Header, HomeName, NodeId, StoreId};
use smallvec::SmallVec;

use super::super::store_name;
use super::parse_hex;

/// Bytes of an epoch.
const EPOCH: usize = 18;

pub(super) fn header_text(header: &Header) -> Vec<u8> {
    let ended = &header.epochs.ended;
    let mut text = Vec::with_capacity(157 + (EPOCH + 16) * ended.len());
    text.push(b'1');
    text.push(b'0' + u8::from(header.pending));
    text.extend_from_slice(guard(header.store, header.home, header.fence).as_bytes());
    text.extend_from_slice(format!("{:016x}{:016x}", header.n, header.offset).as_bytes());
    text.extend_from_slice(&epoch_text(&header.epochs.current));
    let rest = format!("{:08x}{:016x}", header.next_player, header.timestamp);
    text.extend_from_slice(rest.as_bytes());
    text.push(b'0' + u8::from(header.counts_presence));
    for (epoch, offset) in ended.iter().take(Epochs::KEPT) {
        text.extend_from_slice(&epoch_text(epoch));
        text.extend_from_slice(format!("{offset:016x}").as_bytes());
    }
    text
}

/// Store, home and fence: what a header must have for its home to write.
pub(super) fn guard(store: StoreId, home: Option<HomeName>, fence: u64) -> String {
    format!(
        "{}{}{}",
        store_name(store),
        home_text(home),
        fence_text(fence)
    )
}

pub(super) fn fence_text(fence: u64) -> String {
    format!("{fence:016}")
}

pub(in super::super) fn home_text(home: Option<HomeName>) -> String {
    home.map_or_else(
        || "-".repeat(32),
        |it| format!("{:016x}{:016x}", it.node.0, it.lease),
    )
}

pub(super) fn epoch_text(epoch: &Epoch) -> Vec<u8> {
    let text = epoch.as_str();
    let mut bytes = format!("{:02x}", text.len()).into_bytes();
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(EPOCH, b' ');
    bytes
}

/// The reverse of [`header_text`].
pub(super) fn header_from(bytes: &[u8]) -> Option<Header> {
    let mut rest = bytes.strip_prefix(b"1")?;
    let pending = take(&mut rest, 1)? == "1";
    let store = store_from(take(&mut rest, 32)?)?;
    let home = take(&mut rest, 32)?;
    let home = if home.starts_with('-') {
        None
    } else {
        Some(home_from(home)?)
    };
    let fence = take(&mut rest, 16)?.parse().ok()?;
    let n = parse_hex(take(&mut rest, 16)?)?;
    let offset = parse_hex(take(&mut rest, 16)?)?;
    let current = take_epoch(&mut rest)?;
    let next_player = u32::from_str_radix(take(&mut rest, 8)?, 16).ok()?;
    let timestamp = parse_hex(take(&mut rest, 16)?)? as i64;
    let counts_presence = take(&mut rest, 1)? == "1";
    let mut ended = SmallVec::new();
    while !rest.is_empty() {
        ended.push((take_epoch(&mut rest)?, parse_hex(take(&mut rest, 16)?)?));
    }
    Some(Header {
        home,
        fence,
        n,
        store,
        pending,
        epochs: Epochs { current, ended },
        offset,
        next_player,
        timestamp,
        counts_presence,
    })
}

pub(super) fn home_from(text: &str) -> Option<HomeName> {
    let (node, lease) = text.split_at_checked(16)?;
    Some(HomeName {
        node: NodeId(parse_hex(node)?),
        lease: parse_hex(lease)?,
    })
}

pub(super) fn store_from(text: &str) -> Option<StoreId> {
    u128::from_str_radix(text, 16).ok().map(StoreId)
}

fn take_epoch(rest: &mut &[u8]) -> Option<Epoch> {
    let length = parse_hex(take(rest, 2)?)?;
    let (bytes, after) = rest.split_at_checked(EPOCH - 2)?;
    *rest = after;
    Epoch::parse(str::from_utf8(bytes.get(..usize::try_from(length).ok()?)?).ok()?)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a str> {
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            home: Some(HomeName {
                node: NodeId(0x0123_4567_89ab_cdef),
                lease: 7,
            }),
            fence: 1_790_000_000_123,
            n: 258,
            store: StoreId(0xfeed << 112 | 9),
            pending: true,
            epochs: Epochs {
                current: Epoch::parse("new").unwrap(),
                ended: SmallVec::from_iter([(Epoch::parse("0123456789abcdef").unwrap(), 3)]),
            },
            offset: 77,
            next_player: 12,
            timestamp: -2,
            counts_presence: true,
        }
    }

    #[test]
    fn a_header_is_a_text() {
        let text = header_text(&header());
        // What Redis has must be read by later versions too.
        let golden = concat!(
            "11",
            "feed0000000000000000000000000009",
            "0123456789abcdef0000000000000007",
            "0001790000000123",
            "0000000000000102",
            "000000000000004d",
            "03new             ",
            "0000000c",
            "fffffffffffffffe",
            "1",
            "100123456789abcdef0000000000000003",
        );
        assert_eq!(str::from_utf8(&text).unwrap(), golden);
        assert_eq!(header_from(&text), Some(header()));
        let nobody = Header {
            home: None,
            ..header()
        };
        assert_eq!(header_from(&header_text(&nobody)), Some(nobody));
    }

    #[test]
    fn what_is_cut_or_of_another_version_is_no_header() {
        let text = header_text(&header());
        for length in (0..157).chain(158..text.len()) {
            assert_eq!(header_from(&text[..length]), None, "{length}");
        }
        let mut other = text.clone();
        other[0] = b'2';
        assert_eq!(header_from(&other), None);
    }
}
