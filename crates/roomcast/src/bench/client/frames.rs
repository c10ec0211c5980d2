//! A server's frames, as the load generator reads them: no copy, and only what a server of ours sends. It refuses
//! fragments and masks; whether a server keeps all of RFC 6455 is for other tests.

/// A whole frame in the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The opcode: 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub(crate) opcode: u8,
    /// Whether the payload is compressed (RFC 7692 section 6).
    pub(crate) compressed: bool,
    /// What the frame carries.
    pub(crate) payload: &'a [u8],
}

/// What the server sent is no frame that a server of ours sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The frame at the front of `input` and its length, or `None` when more is needed.
#[inline]
pub(crate) fn next(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let [first, second, ..] = *input else {
        return Ok(None);
    };
    if first & 0x80 == 0 || first & 0x30 != 0 || second & 0x80 != 0 {
        return Err(Malformed);
    }
    let (start, len) = match second {
        126 => match input.get(2..4).and_then(|length| length.try_into().ok()) {
            Some(length) => (4, usize::from(u16::from_be_bytes(length))),
            None => return Ok(None),
        },
        127 => match input.get(2..10).and_then(|length| length.try_into().ok()) {
            Some(length) => (10, u64::from_be_bytes(length).min(1 << 40) as usize),
            None => return Ok(None),
        },
        length => (2, usize::from(length)),
    };
    let end = start + len;
    Ok(input.get(start..end).map(|payload| {
        (
            Frame {
                opcode: first & 15,
                compressed: first & 0x40 != 0,
                payload,
            },
            end,
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_found_and_parts_are_not() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; len];
            let mut input = Vec::new();
            roomcast_websocket::frame::write_frame(
                &mut input,
                roomcast_websocket::frame::Opcode::Text,
                true,
                false,
                &payload,
                None,
            );
            let frame = Frame {
                opcode: 1,
                compressed: false,
                payload: &payload,
            };
            assert_eq!(next(&input), Ok(Some((frame, input.len()))));
            assert_eq!(next(&input[..input.len() - 1]), Ok(None));
            assert_eq!(next(&input[..1]), Ok(None));
        }
        assert_eq!(next(&[0x01, 0]), Err(Malformed));
        assert_eq!(next(&[0x81, 0x80]), Err(Malformed));
    }
}
