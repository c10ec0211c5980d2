//! A direct message as an inbox in a store keeps it.
//!
//! It begins with its format. What a newer node has written behind the known fields is left out.

use super::bytes::{Reader, WireError, Writer};
use super::letter::{read_body, write_body};
use super::version::Version;
use crate::direct::DirectBody;

/// The format of direct messages in inboxes.
const FORMAT: u8 = 1;

/// A message as nodes of this version know it, and the milliseconds since the Unix epoch at which its sender's node took it.
pub(crate) fn write(version: Version, unix_ms: i64, body: &DirectBody) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(64 + body.bytes.len());
    let out = &mut Writer::new(&mut bytes);
    out.u8(FORMAT);
    out.signed(unix_ms);
    write_body(out, version, body);
    bytes.into()
}

/// The reverse of [`write`].
///
/// # Errors
/// It is not one, or of another format.
pub(crate) fn read(message: &[u8]) -> Result<(i64, DirectBody), WireError> {
    let bytes = &mut Reader::new(message);
    let format = bytes.u8()?;
    if format != FORMAT {
        return Err(WireError::Format(format));
    }
    Ok((bytes.signed()?, read_body(bytes)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use proptest::prelude::*;
    use roomcast_protocol::{MessageType, PayloadKind};

    use super::*;
    use crate::id::ClientId;
    use crate::wire::vectors;

    fn body(from_user: &str, to_user: &str, text: &str, name_length: u32) -> DirectBody {
        DirectBody {
            message_type: MessageType::Event,
            payload_kind: PayloadKind::Json,
            from: ClientId::from_random([1, 2]),
            from_user: from_user.into(),
            service: "".into(),
            to_user: to_user.into(),
            seq: 7,
            ephemeral: false,
            bytes: text.as_bytes().into(),
            name_length,
        }
    }

    const UNIX_MS: i64 = 1_700_000_000_123;

    fn examples(version: Version) -> [(&'static str, Box<[u8]>); 3] {
        let wave = |from_user: &str| {
            let wave = body(from_user, "", "wave\"hello\"", 4);
            write(version, UNIX_MS, &wave)
        };
        let to_user = body("", "user-2", "{}", 0);
        [
            ("direct", wave("")),
            ("to_user", write(version, UNIX_MS, &to_user)),
            ("from_user", wave("ann")),
        ]
    }

    #[test]
    fn it_is_written_as_it_always_was() {
        let what = "Direct messages in inboxes in a store.";
        vectors::check("inboxes.txt", what, |version| {
            let known = if version < Version::V2 { 2 } else { 3 };
            let examples = examples(version).into_iter().take(known);
            examples.map(|(name, bytes)| (name, bytes.into())).collect()
        });
    }

    #[test]
    fn what_versions_before_wrote_is_read() {
        for (_, name, bytes) in vectors::of_before("inboxes.txt") {
            let examples = examples(Version::OWN).into_iter();
            let (_, now) = examples.into_iter().find(|it| it.0 == name).unwrap();
            let said = |bytes: &[u8]| format!("{:?}", read(bytes).unwrap());
            assert_eq!(said(&bytes), said(&now), "{name}");
        }
    }

    #[test]
    fn it_is_read_as_it_was_and_not_in_part() {
        for (name, bytes) in examples(Version::OWN) {
            let (unix_ms, body) = read(&bytes).unwrap();
            assert_eq!(write(Version::OWN, unix_ms, &body), bytes, "{name}");
            // What a version before 2 has written is whole.
            let first = write(Version::V1, unix_ms, &body).len();
            for length in (0..bytes.len()).filter(|length| *length != first) {
                assert!(read(&bytes[..length]).is_err(), "{name}: {length} bytes");
            }
            let mut longer = bytes.to_vec();
            longer.extend(b"and more");
            assert!(read(&longer).is_ok());
            longer[0] += 1;
            assert!(matches!(read(&longer), Err(WireError::Format(2))));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = read(&bytes);
            let mut changed = examples(Version::OWN)[0].1.to_vec();
            let at = at.index(changed.len());
            changed[at] = byte;
            let _ = read(&changed);
        }
    }
}
