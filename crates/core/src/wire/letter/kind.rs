//! The kinds of letters, and which version of a node knows each.

use crate::direct::DirectBody;
use crate::letter::{Letter, OpKind};
use crate::wire::version::Version;

/// A kind can't be declared without the version that brought it. Its number is never changed, and never used again.
macro_rules! kinds {
    ($($name:ident = $number:literal, $since:ident;)*) => {
        $(pub(super) const $name: u8 = $number;)*

        /// The version that brought a kind.
        const fn since(kind: u8) -> Version {
            match kind {
                $($number => Version::$since,)*
                _ => Version::OWN,
            }
        }
    };
}

kinds! {
    JOIN = 1, V1;
    LEAVE = 2, V1;
    DETACH = 3, V1;
    RESUME = 4, V1;
    READ_LOG = 5, V1;
    HISTORY = 6, V1;
    SKIP = 7, V1;
    REFUSED = 8, V1;
    FORBIDDEN = 9, V1;
    PUBLISH = 10, V1;
    PRESENCE = 11, V1;
    MEMBERS = 12, V1;
    READ_STATE = 13, V1;
    BACKEND = 20, V2;

    DELIVER = 32, V1;
    JOINED = 33, V1;
    JOINED_AGAIN = 34, V1;
    JOIN_REFUSED = 35, V1;
    LEFT = 36, V1;
    ANSWER = 37, V1;
    ACCEPTED = 38, V1;
    LOG_SLICE = 39, V1;
    NEWEST_STATE = 40, V1;
    COME_BACK = 41, V1;
    HOME_GONE = 42, V1;
    RENAMED = 43, V1;
    BACKEND_REPLY = 50, V2;

    DIRECT = 64, V1;
    RECEIPT = 65, V1;
    USER = 66, V1;
    SESSION_REFUSED = 67, V1;
    CREDIT = 68, V1;
    GATEWAY_HOME_GONE = 69, V1;
    NEWS = 70, V1;
    SESSION_TAKEN = 71, V1;
    WANTED = 72, V1;
    WHOSE = 73, V1;
    NEWS_LOST = 74, V2;
    QUERY = 80, V2;
    FOUND = 81, V2;
}

/// The version that a node needs to understand a letter.
pub(crate) fn needs(letter: &Letter) -> Version {
    let kind = super::kind_of(letter).map_or(Version::V1, since);
    let of_type = match letter {
        Letter::Op(op) => return needs_of_op(&op.request),
        Letter::Direct(it) => needs_of_body(&it.body),
        Letter::News(it) => needs_of_body(&it.body),
        Letter::Receipt(it) => Version::of_type(it.request),
        _ => kind,
    };
    kind.max(of_type)
}

/// Nodes before version 2 would say that a client had sent what a service sends.
fn needs_of_body(body: &DirectBody) -> Version {
    let of_type = Version::of_type(body.message_type);
    if body.service.is_empty() {
        of_type
    } else {
        of_type.max(Version::V2)
    }
}

/// The same for an operation: what it asks is in the room's record then.
pub(crate) fn needs_of_op(request: &OpKind) -> Version {
    let kind = since(super::op::kind_of(request));
    let of_type = match request {
        OpKind::Publish(it) => Version::of_type(it.message_type),
        OpKind::Forbidden(message_type, _) => Version::of_type(*message_type),
        // A home of version 1 would leave the nickname as it is, and tell nobody.
        OpKind::Presence(update) if update.nickname.is_some() => Version::V2,
        _ => kind,
    };
    kind.max(of_type)
}
