//! Numbers, bytes and texts, written and read back. Whatever the bytes are, reading them does not panic, and takes no more
//! memory than a small multiple of what they are.

use std::fmt;

/// Why bytes can't be read as what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// They end too early.
    Short,
    /// A number is outside its range, or written with more bytes than it needs.
    Range,
    /// A text is not UTF-8, or not what it should be.
    Text,
    /// A value that nothing is known of: a newer version has written it.
    Unknown,
    /// They are in this format, which is not known.
    Format(u8),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Short => f.write_str("the bytes end too early"),
            WireError::Range => f.write_str("a number is outside its range"),
            WireError::Text => f.write_str("a text is not what it should be"),
            WireError::Unknown => f.write_str("a value is not known in this version"),
            WireError::Format(format) => write!(f, "the format {format} is not known"),
        }
    }
}

impl std::error::Error for WireError {}

/// Appends to a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out }
    }

    pub(crate) fn u8(&mut self, number: u8) {
        self.out.push(number);
    }

    /// Eight bytes, for a number that is as likely large as small.
    pub(crate) fn u64(&mut self, number: u64) {
        self.raw(&number.to_le_bytes());
    }

    /// One byte below 128, two below 16,384, and so on: seven bits in each, the lowest first (LEB128).
    pub(crate) fn varint(&mut self, number: impl Into<u64>) {
        let (bytes, length) = leb128(number.into());
        self.raw(bytes.get(..length).unwrap_or_default());
    }

    /// A length or a count.
    pub(crate) fn size(&mut self, size: usize) {
        self.varint(size as u64);
    }

    /// A number that may be below 0, small where it is near 0.
    pub(crate) fn signed(&mut self, number: i64) {
        self.varint(((number << 1) ^ (number >> 63)) as u64);
    }

    /// Up to eight answers to yes-or-no questions, the first one the lowest bit.
    pub(crate) fn flags<const N: usize>(&mut self, flags: [bool; N]) {
        const { assert!(N <= 8) };
        let flags = flags.into_iter().enumerate();
        self.u8(flags.fold(0, |all, (nth, flag)| all | u8::from(flag) << nth));
    }

    /// With their length before them.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.size(bytes.len());
        self.raw(bytes);
    }

    /// The same.
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Without their length: the reader knows it.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// What `write` writes, with its length before it: a reader that doesn't know it all can skip it.
    pub(crate) fn framed(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let start = self.out.len();
        // Most are short. A longer one is moved by a few bytes.
        self.out.push(0);
        write(&mut Writer::new(self.out));
        let (bytes, length) = leb128((self.out.len() - start - 1) as u64);
        let bytes = bytes.into_iter().take(length);
        self.out.splice(start..=start, bytes);
    }
}

/// Longest varint, in bytes.
const VARINT: usize = 10;

fn leb128(mut number: u64) -> ([u8; VARINT], usize) {
    let mut bytes = [0; VARINT];
    let mut length = 0;
    for byte in &mut bytes {
        length += 1;
        *byte = number as u8 & 0x7f;
        number >>= 7;
        if number == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, length)
}

/// Reads what a [`Writer`] wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// How many bytes were not read yet.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Whether all was read: what a newer version would have written behind it is not there.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// So many bytes.
    pub(crate) fn raw(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of any type, which it must fit into.
    pub(crate) fn varint<T: TryFrom<u64>>(&mut self) -> Result<T, WireError> {
        let mut number = 0;
        for nth in 0..VARINT {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * nth;
            if bits << shift >> shift != bits {
                return Err(WireError::Range);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                // Each number is written in one way alone.
                let is_shortest = byte != 0 || nth == 0;
                return T::try_from(number)
                    .ok()
                    .filter(|_| is_shortest)
                    .ok_or(WireError::Range);
            }
        }
        Err(WireError::Range)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, WireError> {
        let number: u64 = self.varint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Answers to yes-or-no questions; those that a newer version asks are left out.
    pub(crate) fn flags<const N: usize>(&mut self) -> Result<[bool; N], WireError> {
        const { assert!(N <= 8) };
        let flags = self.u8()?;
        Ok(std::array::from_fn(|nth| flags >> nth & 1 == 1))
    }

    /// How many items come, of which each takes `least` bytes or more. More than there can be are an error, so that a
    /// number alone reserves no memory.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, WireError> {
        let count: usize = self.varint()?;
        if count > self.left() / least.max(1) {
            return Err(WireError::Short);
        }
        Ok(count)
    }

    /// Items of which each takes `least` bytes or more, with their count before them.
    pub(crate) fn list<T>(
        &mut self,
        least: usize,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = self.count(least)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// Bytes with their length before them.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.varint()?;
        self.raw(length)
    }

    /// Text with its length before it.
    pub(crate) fn text(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Text)
    }

    /// What [`Writer::framed`] wrote.
    pub(crate) fn framed(&mut self) -> Result<Reader<'a>, WireError> {
        self.bytes().map(Reader::new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out));
        out
    }

    #[test]
    fn numbers_take_as_many_bytes_as_they_need() {
        let cases = [
            (0, 1),
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (u64::MAX >> 1, 9),
            (u64::MAX, 10),
        ];
        for (number, length) in cases {
            let bytes = written(|out| out.varint(number));
            assert_eq!(bytes.len(), length, "{number}");
            assert_eq!(Reader::new(&bytes).varint(), Ok(number));
        }
        for (number, length) in [(-64, 1), (63, 1), (64, 2), (i64::MIN, 10)] {
            let bytes = written(|out| out.signed(number));
            assert_eq!(bytes.len(), length, "{number}");
            assert_eq!(Reader::new(&bytes).signed(), Ok(number));
        }
    }

    #[test]
    fn a_number_is_written_in_one_way_and_fits_its_type() {
        let read = |bytes: &[u8]| Reader::new(bytes).varint::<u64>();
        assert_eq!(read(&[0x80, 0]), Err(WireError::Range), "0 in two bytes");
        let mut most = [0xff; 10];
        most[9] = 1;
        assert_eq!(read(&most), Ok(u64::MAX));
        most[9] = 2;
        assert_eq!(read(&most), Err(WireError::Range));
        assert_eq!(read(&[0xff; 11]), Err(WireError::Range));
        assert_eq!(read(&[0x80]), Err(WireError::Short));
        assert_eq!(Reader::new(&[0xff, 1]).varint::<u8>(), Ok(255));
        assert_eq!(
            Reader::new(&[0x80, 2]).varint::<u8>(),
            Err(WireError::Range)
        );
    }

    #[test]
    fn what_is_not_there_reserves_nothing() {
        let huge = written(|out| out.varint(u64::MAX));
        assert_eq!(Reader::new(&huge).bytes(), Err(WireError::Short));
        assert_eq!(Reader::new(&huge).count(1), Err(WireError::Short));
        let mut three = written(|out| out.varint(3_u8));
        three.extend([0; 5]);
        assert_eq!(Reader::new(&three).count(2), Err(WireError::Short));
        assert_eq!(Reader::new(&three).count(1), Ok(3));
    }

    #[test]
    fn a_frame_of_any_length_is_read_or_skipped() {
        for length in [0, 1, 127, 128, 20_000] {
            let bytes = written(|out| {
                out.framed(|out| out.raw(&vec![7; length]));
                out.u8(9);
            });
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.framed().unwrap().left(), length);
            assert_eq!((reader.u8(), reader.is_empty()), (Ok(9), true));
        }
    }

    #[test]
    fn flags_of_a_newer_version_are_left_out() {
        let bytes = written(|out| out.flags([true, false, true]));
        assert_eq!(bytes, [5]);
        assert_eq!(Reader::new(&bytes).flags(), Ok([true, false]));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            numbers in prop::collection::vec(any::<u64>(), 0..4),
            signed in any::<i64>(),
            (bytes, text) in (prop::collection::vec(any::<u8>(), 0..300), any::<String>()),
        ) {
            let all = written(|out| {
                out.size(numbers.len());
                numbers.iter().for_each(|number| out.u64(*number));
                out.signed(signed);
                out.bytes(&bytes);
                out.text(&text);
            });
            let read = |all: &[u8]| -> Result<(), WireError> {
                let mut reader = Reader::new(all);
                assert_eq!(reader.list(8, Reader::u64)?, numbers);
                assert_eq!(reader.signed()?, signed);
                assert_eq!(reader.bytes()?, bytes);
                assert_eq!(reader.text()?, text);
                assert!(reader.is_empty());
                Ok(())
            };
            prop_assert_eq!(read(&all), Ok(()));
            prop_assert!(all.len() < 2 || read(&all[..all.len() - 1]).is_err());
        }
    }
}
