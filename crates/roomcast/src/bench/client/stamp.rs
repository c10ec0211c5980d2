//! The stamp at the front of each message's payload, by which a receiver knows whose message it is, which one, and when
//! it should have been sent.
//!
//! 28 printable characters, so that it is the same in JSON, in Protobuf and in a text of any kind: `~RC:` and three
//! numbers of eight hexadecimal digits.

use memchr::memmem::Finder;

/// Length of a stamp in bytes.
pub(crate) const LEN: usize = 28;

const MAGIC: [u8; 4] = *b"~RC:";

/// Who sent a message, its number, and its intended time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The sender's number among all senders of the run.
    pub(crate) sender: u32,
    /// The message's number among this sender's, from 0.
    pub(crate) counter: u32,
    /// When the message was due, in microseconds since the run began.
    pub(crate) due: u32,
}

impl Stamp {
    /// Writes the stamp.
    pub(crate) fn write(self, out: &mut [u8; LEN]) {
        out[..4].copy_from_slice(&MAGIC);
        out[4..12].copy_from_slice(&to_hex(self.sender));
        out[12..20].copy_from_slice(&to_hex(self.counter));
        out[20..].copy_from_slice(&to_hex(self.due));
    }

    /// The stamp at the front of `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Stamp> {
        let bytes: &[u8; LEN] = bytes.first_chunk()?;
        if bytes[..4] != MAGIC {
            return None;
        }
        let number = |at: usize| bytes[at..].first_chunk().map(|digits| from_hex(*digits));
        Some(Stamp {
            sender: number(4)?,
            counter: number(12)?,
            due: number(20)?,
        })
    }
}

/// Finds stamps, first where the last one on this connection was: messages of a room mostly look alike.
pub(crate) struct StampFinder(Finder<'static>);

impl StampFinder {
    pub(crate) fn new() -> StampFinder {
        StampFinder(Finder::new(&MAGIC))
    }

    /// The stamp in `message`; `place` is where it was the last time, and is set to where it is.
    pub(crate) fn find(&self, message: &[u8], place: &mut u16) -> Option<Stamp> {
        if let Some(stamp) = message.get(usize::from(*place)..).and_then(Stamp::parse) {
            return Some(stamp);
        }
        let at = self.0.find(message)?;
        *place = u16::try_from(at).unwrap_or(0);
        Stamp::parse(&message[at..])
    }
}

fn to_hex(number: u32) -> [u8; 8] {
    let mut out = [0; 8];
    for (place, digit) in out.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (28 - 4 * place)) as usize & 15];
    }
    out
}

/// Eight hexadecimal digits at once: this runs once per delivery, millions of times a second.
fn from_hex(digits: [u8; 8]) -> u32 {
    let x = u64::from_be_bytes(digits);
    let letters = x >> 6 & 0x0101_0101_0101_0101;
    let x = (x & 0x0f0f_0f0f_0f0f_0f0f) + letters * 9;
    let x = (x | x >> 4) & 0x00ff_00ff_00ff_00ff;
    let x = (x | x >> 8) & 0x0000_ffff_0000_ffff;
    (x | x >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_where_it_was_and_where_it_was_not() {
        let stamp = Stamp {
            sender: 0x00ab_cdef,
            counter: u32::MAX,
            due: 1_234_567_890,
        };
        let mut text = [0; LEN];
        stamp.write(&mut text);
        let finder = StampFinder::new();
        let mut place = 0;
        for prefix in ["{\"type\":\"event\",\"payload\":\"", "", "{\"payload\":\""] {
            let message = [prefix.as_bytes(), &text, b"...\"}"].concat();
            assert_eq!(finder.find(&message, &mut place), Some(stamp));
            assert_eq!(usize::from(place), prefix.len());
            assert_eq!(finder.find(&message, &mut place), Some(stamp));
        }
        assert_eq!(finder.find(b"{\"type\":\"joined\"}", &mut place), None);
        assert_eq!(finder.find(&text[..LEN - 1], &mut place), None);
    }
}
