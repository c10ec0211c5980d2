//! Resume tokens: what a client shows to get its session back.
//!
//! A token says which session it is for, in which of its lives (a random *incarnation*), how often the session was
//! resumed before (its *generation*), and whose it is. A MAC over that (HMAC-SHA-256, RFC 2104, cut to 128 bits) says
//! that it is from here. The session itself stores the generation alone.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::id::ClientId;

/// The format of what is signed.
const VERSION: u8 = 2;
const MAC: usize = 16;
const SIGNED: usize = 1 + ClientId::LENGTH + 8 + 4 + 8 + 8;

/// The key for [`Settings::session_key`](crate::settings::Settings::session_key) from a secret text of any length.
pub fn session_key(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// A user in a resume token, so that the name of a session that is gone goes to nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserMark(u64);

impl UserMark {
    /// That of a user's id, which is empty for a client that is nobody in particular.
    pub(crate) fn of(secret: &[u8; 32], user_id: &str) -> UserMark {
        let mut keyed = mac(secret, b"user:");
        keyed.update(user_id.as_bytes());
        let tag = keyed.finalize().into_bytes();
        UserMark(
            tag.iter()
                .take(8)
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    }
}

/// Which life of a session, and how often it was resumed. Packed, as each session has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, packed(4))]
pub(crate) struct SessionKey {
    pub(crate) incarnation: u64,
    pub(crate) generation: NonZeroU32,
}

/// What a good token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResumeToken {
    pub(crate) client_id: ClientId,
    pub(crate) key: SessionKey,
    /// Whose session it is.
    pub(crate) user: UserMark,
    /// Milliseconds since the Unix epoch; 0: never.
    pub(crate) expires_at: i64,
}

impl ResumeToken {
    /// The text that the client is given.
    pub(crate) fn seal(&self, secret: &[u8; 32]) -> String {
        let signed = self.signed();
        let tag = mac(secret, &signed).finalize().into_bytes();
        let mut bytes = [0; SIGNED + MAC];
        bytes[..SIGNED].copy_from_slice(&signed);
        bytes[SIGNED..].copy_from_slice(&tag[..MAC]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a text that a client has sent. `None`: it is not from here, or its time is over.
    pub(crate) fn open(secret: &[u8; 32], text: &str, unix_ms: i64) -> Option<ResumeToken> {
        let mut bytes = [0; SIGNED + MAC];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (signed, tag) = bytes.get(..length)?.split_at_checked(SIGNED)?;
        if tag.len() != MAC {
            return None;
        }
        // Compares in constant time.
        mac(secret, signed).verify_truncated_left(tag).ok()?;
        let token = ResumeToken::read(signed)?;
        (token.expires_at == 0 || unix_ms < token.expires_at).then_some(token)
    }

    fn signed(&self) -> [u8; SIGNED] {
        let mut bytes = [0; SIGNED];
        bytes[0] = VERSION;
        bytes[1..21].copy_from_slice(self.client_id.as_str().as_bytes());
        bytes[21..29].copy_from_slice(&self.key.incarnation.to_be_bytes());
        bytes[29..33].copy_from_slice(&self.key.generation.get().to_be_bytes());
        bytes[33..41].copy_from_slice(&self.expires_at.to_be_bytes());
        bytes[41..].copy_from_slice(&self.user.0.to_be_bytes());
        bytes
    }

    fn read(signed: &[u8]) -> Option<ResumeToken> {
        if signed.first() != Some(&VERSION) {
            return None;
        }
        let number = |from: usize| signed.get(from..from + 8)?.try_into().ok();
        Some(ResumeToken {
            client_id: ClientId::parse(std::str::from_utf8(signed.get(1..21)?).ok()?)?,
            key: SessionKey {
                incarnation: u64::from_be_bytes(number(21)?),
                generation: NonZeroU32::new(u32::from_be_bytes(
                    signed.get(29..33)?.try_into().ok()?,
                ))?,
            },
            expires_at: i64::from_be_bytes(number(33)?),
            user: UserMark(u64::from_be_bytes(number(41)?)),
        })
    }
}

fn mac(secret: &[u8; 32], signed: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(signed);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::vectors;

    fn token() -> ResumeToken {
        ResumeToken {
            client_id: ClientId::from_random([3, 5]),
            key: SessionKey {
                incarnation: u64::MAX - 7,
                generation: NonZeroU32::MIN.saturating_add(8),
            },
            expires_at: 1_000,
            user: UserMark::of(&[1; 32], "u7"),
        }
    }

    /// A client keeps its token while the nodes are replaced.
    #[test]
    fn it_is_sealed_as_it_always_was() {
        vectors::check("tokens.txt", "Resume tokens.", |_| {
            vec![("token", token().seal(&[1; 32]).into_bytes())]
        });
        for (_, name, text) in vectors::of_before("tokens.txt") {
            let text = String::from_utf8(text).unwrap();
            let opened = ResumeToken::open(&[1; 32], &text, 999);
            assert_eq!(opened, Some(token()), "{name}");
        }
    }

    #[test]
    fn only_the_key_that_sealed_it_opens_a_token_and_only_in_its_time() {
        let text = token().seal(&[1; 32]);
        assert_eq!(ResumeToken::open(&[1; 32], &text, 999), Some(token()));
        assert_eq!(ResumeToken::open(&[1; 32], &text, 1_000), None, "over");
        assert_eq!(ResumeToken::open(&[2; 32], &text, 999), None, "another key");
        let endless = ResumeToken {
            expires_at: 0,
            ..token()
        };
        let text = endless.seal(&[1; 32]);
        assert_eq!(ResumeToken::open(&[1; 32], &text, i64::MAX), Some(endless));
    }

    #[test]
    fn every_change_of_a_token_makes_it_worthless() {
        let text = token().seal(&[1; 32]);
        for at in 0..text.len() {
            for letter in [b'A', b'b', b'-', b'=', b' '] {
                let mut changed = text.clone().into_bytes();
                changed[at] = letter;
                let changed = String::from_utf8(changed).unwrap();
                // The last letter has bits that mean nothing, and must be 0.
                if changed != text {
                    assert_eq!(ResumeToken::open(&[1; 32], &changed, 0), None, "{changed}");
                }
            }
        }
        for text in ["", "A", &text[1..], &format!("{text}AAAA"), "\u{e9}"] {
            assert_eq!(ResumeToken::open(&[1; 32], text, 0), None, "{text}");
        }
    }
}
