use crate::error::ProtocolError;

/// Checks a text that arrives in pieces. Holds the octets of a character whose end has not arrived
/// yet.
#[derive(Clone, Copy, Default)]
pub(crate) struct Utf8 {
    pending: [u8; 4],
    len: u8,
}

impl Utf8 {
    /// Takes the next piece.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidUtf8`] as soon as no continuation could make the text valid.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), ProtocolError> {
        while self.len > 0 {
            let Some((&octet, rest)) = piece.split_first() else {
                return Ok(());
            };
            piece = rest;
            // Four octets are either a character or wrong, so `len` never passes 3 here.
            self.pending[usize::from(self.len & 3)] = octet;
            self.len += 1;
            match std::str::from_utf8(&self.pending[..usize::from(self.len)]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(ProtocolError::InvalidUtf8),
            }
        }
        let Err(error) = simdutf8::compat::from_utf8(piece) else {
            return Ok(());
        };
        let tail = &piece[error.valid_up_to()..];
        if error.error_len().is_some() || tail.len() > 3 {
            return Err(ProtocolError::InvalidUtf8);
        }
        self.pending[..tail.len()].copy_from_slice(tail);
        self.len = tail.len() as u8;
        Ok(())
    }

    /// The text ends here.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidUtf8`] when a character isn't complete.
    pub(crate) fn finish(self) -> Result<(), ProtocolError> {
        if self.len == 0 {
            Ok(())
        } else {
            Err(ProtocolError::InvalidUtf8)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), ProtocolError> {
        let mut utf8 = Utf8::default();
        for piece in pieces {
            utf8.push(piece)?;
        }
        utf8.finish()
    }

    #[test]
    fn an_offending_octet_fails_at_once() {
        // Each of these can't become valid whatever follows; all but the last octet can.
        let cases: &[&[u8]] = &[
            b"\x80",
            b"\xc0",
            b"\xc1",
            b"\xf5",
            b"\xff",
            b"\xc3\x28",
            b"\xe0\x80",
            b"\xed\xa0",
            b"\xf0\x80",
            b"\xf4\x90",
            b"\xe2\x82\x28",
            b"\xf0\x9f\x92\x41",
        ];
        for case in cases {
            let (last, first) = case.split_last().unwrap();
            let mut utf8 = Utf8::default();
            utf8.push(b"ok ").unwrap();
            for octet in first {
                utf8.push(std::slice::from_ref(octet)).unwrap();
            }
            assert!(utf8.push(&[*last]).is_err(), "{case:x?} octet by octet");
            let mut utf8 = Utf8::default();
            utf8.push(first).unwrap();
            assert!(
                utf8.push(&[*last]).is_err(),
                "{case:x?} with its last octet apart"
            );
            assert!(Utf8::default().push(case).is_err(), "{case:x?} at once");
        }
    }

    #[test]
    fn a_text_may_not_end_inside_a_character() {
        for text in ["é", "€", "😀"] {
            for end in 1..text.len() {
                assert!(check([&text.as_bytes()[..end]]).is_err());
            }
            assert!(check([text.as_bytes()]).is_ok());
        }
    }

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_whole(
            text in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                any::<String>().prop_map(String::into_bytes),
                (any::<String>(), any::<u8>(), any::<prop::sample::Index>()).prop_map(|(text, octet, at)| {
                    let mut text = text.into_bytes();
                    if !text.is_empty() {
                        let at = at.index(text.len());
                        text[at] = octet;
                    }
                    text
                }),
            ],
            size in 1usize..9,
        ) {
            prop_assert_eq!(check(text.chunks(size)).is_ok(), std::str::from_utf8(&text).is_ok());
        }
    }
}
