//! Versions of what nodes say to each other and of what they keep in a store.
//!
//! A node says in each beat which version it has ([`VERSION`]). Nodes of adjacent versions work together: a cluster is
//! upgraded node by node, and a node of the version before may come back in between. So while a node of an older version
//! lives, nothing is said and nothing is written that it does not know:
//!
//! - **A kind of letter** is declared with the version that brought it (`letter/kind.rs`). An operation that needs a newer
//!   one is answered `unavailable` with a time to wait ([`Context::withhold`](crate::context::Context)). Any other letter
//!   is not sent, and counted: who makes a new one asks [`Context::version`](crate::context::Context::version) before.
//! - **A field** is written behind the known ones where the version has it (`if version >= Version::V2`), and read with a
//!   default. Who does not know it passes it over, and loses it when it writes the record again. What must not be lost so
//!   is a field of its own in the store's hash, with another first letter: who does not know that leaves it as it is.
//! - **A word**, which is an error code or a type of message, is in [`CODES`] or [`TYPES`] with its version. A code is
//!   replaced ([`Version::code`]). What has such a type is withheld, as it would be in a room's log.
//!
//! **To add one of them** between two releases, use the version that this one will be released as: [`VERSION`]. The first
//! change after a release raises it, and copies `tests/vectors/*.txt` to `tests/vectors/N/`, N being the version that was
//! released. Those files are never changed. Tests compare with them what this version writes for version N, and read them.

use roomcast_protocol::{ErrorCode, MessageType};

/// The version of this node.
pub const VERSION: u32 = 2;

/// A version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32);

impl Version {
    /// The first one that other nodes may have.
    pub(crate) const V1: Version = Version(1);
    /// With this one, nodes choose by the version of the others what they say.
    pub(crate) const V2: Version = Version(2);
    /// Of this node.
    pub(crate) const OWN: Version = Version(VERSION);
}

/// Error codes that came after version 1, each with the version that brought it.
const CODES: &[(ErrorCode, Version)] = &[
    (ErrorCode::Removed, Version::V2),
    (ErrorCode::Banned, Version::V2),
    (ErrorCode::RoomLocked, Version::V2),
    (ErrorCode::ReservedEvent, Version::V2),
];
/// Types of messages, likewise.
const TYPES: &[(MessageType, Version)] = &[];
/// What a node is told instead of a code that it does not know: as final, and it says less.
const INSTEAD: ErrorCode = ErrorCode::NotSupported;

const _: () = assert!(VERSION >= Version::V2.0);

impl Version {
    /// The version that brought a type of message.
    pub(crate) fn of_type(message_type: MessageType) -> Version {
        since(TYPES, message_type)
    }

    /// The code as nodes of this version know it.
    pub(crate) fn code(self, code: ErrorCode) -> ErrorCode {
        if since(CODES, code) <= self {
            code
        } else {
            INSTEAD
        }
    }

    /// What was read, where it may be a code that this node does not know.
    pub(crate) fn code_read(name: &str) -> ErrorCode {
        ErrorCode::from_name(name).unwrap_or(INSTEAD)
    }
}

fn since<T: Copy + PartialEq>(table: &[(T, Version)], word: T) -> Version {
    let row = table.iter().find(|row| row.0 == word);
    row.map_or(Version::V1, |row| row.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::vectors;

    /// The words that a version knows, with all that a node could be told.
    fn words(version: Version) -> Vec<(&'static str, Vec<u8>)> {
        let codes = ErrorCode::ALL.iter().copied();
        let codes = codes.filter(|code| since(CODES, *code) <= version);
        let types = (0..=u64::from(u8::MAX)).filter_map(MessageType::from_number);
        let types = types.filter(|it| Version::of_type(*it) <= version);
        let codes = codes.map(|code| (code.as_str(), Vec::new()));
        let types = types.map(|it| (it.as_str(), vec![it.number()]));
        let mut words: Vec<_> = codes.chain(types).collect();
        words.sort_unstable();
        words
    }

    /// A new word has to be in a table with its version: nodes of the version before do not know it.
    #[test]
    fn each_version_knows_the_words_that_it_knew() {
        vectors::check("words.txt", "Error codes, and types of messages.", words);
    }

    #[test]
    fn a_code_that_is_not_known_is_replaced() {
        assert_eq!(Version(0).code(ErrorCode::RoomFull), INSTEAD);
        assert_eq!(Version::V1.code(ErrorCode::RoomFull), ErrorCode::RoomFull);
        assert_eq!(Version::code_read("an_error_of_tomorrow"), INSTEAD);
        assert_eq!(Version::code_read("room_full"), ErrorCode::RoomFull);
    }
}
