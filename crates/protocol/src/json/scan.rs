//! Where JSON values begin and end, by the grammar of RFC 8259.

use crate::error::{ErrorCode, Fault};
use crate::limits::MAX_NESTING;

/// Goes through a JSON text.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// How many objects and arrays inside each other may still open.
    nesting: u16,
}

impl<'a> Scanner<'a> {
    /// `nesting`: how many objects and arrays inside each other there may be.
    pub(crate) fn new(text: &'a str, nesting: u16) -> Scanner<'a> {
        Scanner {
            text,
            at: 0,
            nesting: nesting.min(MAX_NESTING),
        }
    }

    /// For a text that a scanner has been through.
    pub(crate) fn again(text: &'a str) -> Scanner<'a> {
        Scanner::new(text, MAX_NESTING)
    }

    /// An object: `each` gets every key, in its quotes, and value.
    pub(crate) fn object(
        &mut self,
        mut each: impl FnMut(&'a str, &'a str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.white();
        self.open(b'{')?;
        if self.eat(b'}') {
            return self.close();
        }
        loop {
            let key = self.key()?;
            let value = self.value()?;
            each(key, value)?;
            self.white();
            if self.eat(b'}') {
                return self.close();
            }
            self.expect(b',')?;
            self.white();
        }
    }

    /// An array: `each` gets every value.
    pub(crate) fn array(
        &mut self,
        mut each: impl FnMut(&'a str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.white();
        self.open(b'[')?;
        if self.eat(b']') {
            return self.close();
        }
        loop {
            let value = self.value()?;
            each(value)?;
            self.white();
            if self.eat(b']') {
                return self.close();
            }
            self.expect(b',')?;
        }
    }

    /// Any value, without the white space around it.
    pub(crate) fn value(&mut self) -> Result<&'a str, Fault> {
        self.white();
        let start = self.at;
        let mut open = Open::default();
        'value: loop {
            match self.peek() {
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                Some(b'{') => {
                    open.push(true, self.nesting)?;
                    self.at += 1;
                    self.white();
                    if !self.eat(b'}') {
                        self.key()?;
                        self.white();
                        continue 'value;
                    }
                    open.pop();
                }
                Some(b'[') => {
                    open.push(false, self.nesting)?;
                    self.at += 1;
                    self.white();
                    if !self.eat(b']') {
                        continue 'value;
                    }
                    open.pop();
                }
                _ => return Err(self.fault("a value")),
            }
            // A value has ended: so may what it is in.
            while let Some(object) = open.top() {
                self.white();
                match (self.peek(), object) {
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        open.pop();
                    }
                    (Some(b','), _) => {
                        self.at += 1;
                        self.white();
                        if object {
                            self.key()?;
                            self.white();
                        }
                        continue 'value;
                    }
                    (_, true) => return Err(self.fault("`,` or `}`")),
                    (_, false) => return Err(self.fault("`,` or `]`")),
                }
            }
            return Ok(self.text.get(start..self.at).unwrap_or_default());
        }
    }

    /// Nothing but white space follows.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        self.white();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(self.fault("the end"))
        }
    }

    /// A key with its quotes, and the colon.
    fn key(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.fault("a key"));
        }
        self.string()?;
        let key = self.text.get(start..self.at).unwrap_or_default();
        self.white();
        self.expect(b':')?;
        Ok(key)
    }

    fn string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        loop {
            self.at += plain(self.rest());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                            self.at += 1
                        }
                        Some(b'u') => {
                            self.at += 1;
                            let digits = self.rest().get(..4);
                            if !digits.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
                                return Err(self.fault("four hexadecimal digits"));
                            }
                            self.at += 4;
                        }
                        _ => return Err(self.fault("an escape")),
                    }
                }
                Some(_) => return Err(self.fault("no control character in a string")),
                None => return Err(self.fault("the end of a string")),
            }
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let count = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.at += count;
        if count == 0 {
            Err(self.fault("a digit"))
        } else {
            Ok(())
        }
    }

    fn literal(&mut self, literal: &str) -> Result<(), Fault> {
        if !self.rest().starts_with(literal.as_bytes()) {
            return Err(self.fault("a value"));
        }
        self.at += literal.len();
        Ok(())
    }

    fn open(&mut self, bracket: u8) -> Result<(), Fault> {
        self.nesting = self.nesting.checked_sub(1).ok_or_else(too_deep)?;
        self.expect(bracket)?;
        self.white();
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        self.nesting += 1;
        Ok(())
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.eat(byte) {
            return Ok(());
        }
        Err(self.fault(match byte {
            b'{' => "an object",
            b'[' => "an array",
            b':' => "`:`",
            _ => "`,` or an end",
        }))
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn white(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[cold]
    fn fault(&self, expected: &str) -> Fault {
        Fault::new(
            ErrorCode::InvalidJson,
            format!("not JSON: expected {expected} at byte {}", self.at),
        )
    }
}

#[cold]
fn too_deep() -> Fault {
    Fault::new(
        ErrorCode::TooDeep,
        "objects and arrays are nested more deeply than `message.max_nesting`",
    )
}

/// How many bytes are before the first quote, backslash or control character. Eight at a time: chat is mostly this.
pub(super) fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The high bit of each byte that is less than `n` (at most 128), exact up to and including the first such byte.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGH;
    let mut count = 0;
    for chunk in bytes.chunks_exact(8) {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        let word = u64::from_le_bytes(eight);
        let found = below(word, 0x20)
            | below(word ^ (ONES * u64::from(b'"')), 1)
            | below(word ^ (ONES * u64::from(b'\\')), 1);
        if found != 0 {
            return count + found.trailing_zeros() as usize / 8;
        }
        count += 8;
    }
    let rest = bytes.get(count..).unwrap_or_default();
    count
        + rest
            .iter()
            .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20))
            .count()
}

/// What is open around a value: a bit each, set for an object. On the stack, so that depth costs no memory.
#[derive(Default)]
struct Open {
    bits: [u64; 4],
    depth: u16,
}

impl Open {
    fn push(&mut self, object: bool, max: u16) -> Result<(), Fault> {
        if self.depth >= max {
            return Err(too_deep());
        }
        let (word, bit) = (usize::from(self.depth / 64), self.depth % 64);
        if let Some(word) = self.bits.get_mut(word) {
            *word = *word & !(1 << bit) | u64::from(object) << bit;
        }
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn top(&self) -> Option<bool> {
        let depth = self.depth.checked_sub(1)?;
        self.bits
            .get(usize::from(depth / 64))
            .map(|word| word >> (depth % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepts(text: &str) -> bool {
        let mut scanner = Scanner::new(text, MAX_NESTING);
        scanner.value().is_ok() && scanner.end().is_ok()
    }

    /// serde_json goes 127 deep and refuses numbers beyond a double; neither appears in what these tests make.
    fn reference(text: &str) -> bool {
        serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
    }

    #[test]
    fn grammar_is_the_reference_s() {
        for text in [
            "",
            " ",
            "0",
            "-0",
            "-",
            "01",
            "1.",
            "1.5e",
            "1e+5",
            ".5",
            "+1",
            "1e5",
            "0x1",
            "NaN",
            "true",
            "tru",
            "truee",
            "null",
            "nul",
            r#""""#,
            r#"""#,
            r#""\u12""#,
            r#""\u12G4""#,
            r#""\ud800""#,
            r#""\x""#,
            "\"\t\"",
            "\"a\u{7f}\"",
            "[]",
            "[",
            "[,]",
            "[1,]",
            "[1 2]",
            "[1,2]",
            "]",
            "{}",
            "{",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":1,"b":[{}]}"#,
            "{a:1}",
            "[}",
            "{]",
            "1 2",
            "[1]x",
            "\u{feff}1",
            " [ 1 , { \"a\" : [ ] } ] ",
            "[[[[]]]]",
            r#"{"a":{"b":{"c":[1]}},"d":[]}"#,
            "/**/1",
            "\u{a0}1",
        ] {
            assert_eq!(accepts(text), reference(text), "{text:?}");
        }
    }

    #[test]
    fn nesting_is_bounded_for_every_mixture() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let nested = |n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
            assert!(Scanner::new(&nested(5), 5).value().is_ok());
            let fault = Scanner::new(&nested(6), 5).value().unwrap_err();
            assert_eq!(fault.code, ErrorCode::TooDeep);
            assert!(accepts(&nested(255)) && !accepts(&nested(256)) && !accepts(&nested(100_000)));
        }
        let mut scanner = Scanner::new(r#"{"a":[[]]}"#, 2);
        assert_eq!(
            scanner.object(|_, _| Ok(())).unwrap_err().code,
            ErrorCode::TooDeep
        );
    }

    #[test]
    fn plain_finds_the_first_byte_that_is_not() {
        for length in 0..40 {
            for special in [b'"', b'\\', 0, 0x1f] {
                let mut bytes = vec![b'x'; length];
                assert_eq!(plain(&bytes), length);
                for place in 0..length {
                    bytes[place] = special;
                    assert_eq!(plain(&bytes), place);
                    bytes[place] = [b' ', b'!', 0x7f, 0xff, b'#', b'[', b']'][place % 7];
                }
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference(text in r#"[\[\]{},:"\\ua01.eE+\- tn\u{e9}]{0,24}"#) {
            prop_assert_eq!(accepts(&text), reference(&text));
        }

        #[test]
        fn pieces_are_those_of_the_reference(values in proptest::collection::vec(any::<(String, i32, bool)>(), 0..6)) {
            let text = serde_json::to_string_pretty(&values).unwrap();
            let mut pieces = Vec::new();
            Scanner::new(&text, 3).array(|piece| { pieces.push(piece); Ok(()) }).unwrap();
            prop_assert_eq!(pieces.len(), values.len());
            for (piece, value) in pieces.iter().zip(&values) {
                prop_assert_eq!(&serde_json::from_str::<(String, i32, bool)>(piece).unwrap(), value);
            }
        }
    }
}
