//! What an error of Redis, or of the way to it, means for whoever asked.

use std::fmt;

use roomcast_core::store::{Cause, StoreError};

/// An error with what was said, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether to ask again.
    pub error: StoreError,
    /// A sentence.
    pub said: Box<str>,
}

/// Lets a failure that lasts be told once, not with each attempt.
#[derive(Debug, Default)]
pub(crate) struct Told(Option<Box<str>>);

impl Told {
    /// Whether it is another one than the last.
    pub(crate) fn is_new(&mut self, failure: &Failure) -> bool {
        let is_new = self.0.as_ref() != Some(&failure.said);
        self.0 = Some(failure.said.clone());
        is_new
    }

    /// It has passed.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}

/// What the connection does after an error of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on.
    Nothing,
    /// Which Redis it is has to be read again.
    ReadIdentity,
    /// The connection is to no master, or not logged in: another one is made.
    Reconnect,
    /// The slots of the Cluster are asked for again.
    ReadSlots,
}

type Row = (&'static str, fn(Cause) -> StoreError, Cause, Then);

/// The codes of Redis's errors, what they mean and what follows. A code that is not here is [`UNKNOWN`].
///
/// *Again*: it passes by itself, or an operator can make it pass while the node runs.
const CODES: &[Row] = {
    use Cause::{Busy, Connection, Memory, OtherStore, Protocol, Rights};
    use StoreError::{Again, Never};
    use Then::{Nothing, ReadIdentity, ReadSlots, Reconnect};
    &[
        // It starts, a script holds it, it can't save or has too few replicas, it fails over.
        ("LOADING", Again, Busy, Nothing),
        ("BUSY", Again, Busy, Nothing),
        ("MISCONF", Again, Busy, Nothing),
        ("NOREPLICAS", Again, Busy, Nothing),
        ("MASTERDOWN", Again, Busy, Reconnect),
        ("READONLY", Again, Busy, Reconnect),
        ("IOERR", Again, Busy, Nothing),
        ("UNBLOCKED", Again, Busy, Nothing),
        // A Cluster moves slots, or lacks some.
        ("MOVED", Again, Busy, ReadSlots),
        ("ASK", Again, Busy, ReadSlots),
        ("TRYAGAIN", Again, Busy, ReadSlots),
        ("CLUSTERDOWN", Again, Busy, ReadSlots),
        ("OOM", Again, Memory, Nothing),
        ("NOSCRIPT", Again, OtherStore, ReadIdentity),
        // The password may just have changed: it is read again with the next connection.
        ("NOAUTH", Again, Rights, Reconnect),
        ("WRONGPASS", Again, Rights, Reconnect),
        ("NOPERM", Never, Rights, Nothing),
        ("DENIED", Never, Rights, Reconnect),
        ("NOPROTO", Never, Protocol, Nothing),
        ("WRONGTYPE", Never, Protocol, Nothing),
        ("CROSSSLOT", Never, Protocol, Nothing),
        ("NOTREADY", Again, Connection, Reconnect),
        // Scripts say it of a record that a newer version of the server has written in another form.
        ("NEWER", Never, Protocol, Nothing),
    ]
};

/// Sentences that begin with the code `ERR`, by a part of them.
const SENTENCES: &[Row] = {
    use StoreError::{Again, Never};
    &[
        (
            "max number of clients",
            Again,
            Cause::Connection,
            Then::Reconnect,
        ),
        (
            "user executing the script can't",
            Never,
            Cause::Rights,
            Then::Nothing,
        ),
        ("ACL failure in script", Never, Cause::Rights, Then::Nothing),
        ("invalid password", Again, Cause::Rights, Then::Reconnect),
    ]
};

const UNKNOWN: (StoreError, Then) = (StoreError::Never(Cause::Protocol), Then::Nothing);

impl Failure {
    /// Of an error that Redis said.
    pub(crate) fn said(text: &str) -> (Self, Then) {
        let (error, then) = meaning(text);
        (
            Self {
                error,
                said: text.into(),
            },
            then,
        )
    }

    /// Without a connection, or one that was lost.
    pub(crate) fn connection(said: impl fmt::Display) -> Self {
        Self::again(Cause::Connection, said)
    }

    pub(crate) fn timeout(said: impl fmt::Display) -> Self {
        Self::again(Cause::Timeout, said)
    }

    pub(crate) fn again(cause: Cause, said: impl fmt::Display) -> Self {
        Self {
            error: StoreError::Again(cause),
            said: said.to_string().into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for Failure {}

/// What an error that Redis said means.
pub(crate) fn meaning(text: &str) -> (StoreError, Then) {
    let code = text.split(' ').next().unwrap_or(text);
    let found = match code {
        "ERR" => SENTENCES.iter().find(|row| text.contains(row.0)),
        _ => CODES.iter().find(|row| row.0 == code),
    };
    match found {
        Some((_, error, cause, then)) => (error(*cause), *then),
        None => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_whether_to_ask_again() {
        use Cause::{Busy, Connection, Memory, OtherStore, Protocol, Rights};
        use StoreError::{Again, Never};
        let sentences = [
            (
                "LOADING Redis is loading the dataset in memory",
                Again(Busy),
                Then::Nothing,
            ),
            (
                "BUSY Redis is busy running a script.",
                Again(Busy),
                Then::Nothing,
            ),
            (
                "MISCONF Errors writing to the AOF file: No space left",
                Again(Busy),
                Then::Nothing,
            ),
            (
                "NOREPLICAS Not enough good replicas to write.",
                Again(Busy),
                Then::Nothing,
            ),
            (
                "READONLY You can't write against a read only replica.",
                Again(Busy),
                Then::Reconnect,
            ),
            (
                "MASTERDOWN Link with MASTER is down",
                Again(Busy),
                Then::Reconnect,
            ),
            ("MOVED 3999 127.0.0.1:6381", Again(Busy), Then::ReadSlots),
            ("ASK 3999 127.0.0.1:6381", Again(Busy), Then::ReadSlots),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                Again(Busy),
                Then::ReadSlots,
            ),
            (
                "CLUSTERDOWN Hash slot not served",
                Again(Busy),
                Then::ReadSlots,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Again(Memory),
                Then::Nothing,
            ),
            (
                "NOSCRIPT No matching script.",
                Again(OtherStore),
                Then::ReadIdentity,
            ),
            (
                "NOAUTH Authentication required.",
                Again(Rights),
                Then::Reconnect,
            ),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                Again(Rights),
                Then::Reconnect,
            ),
            (
                "NOPERM User a has no permissions to run the 'evalsha' command",
                Never(Rights),
                Then::Nothing,
            ),
            (
                "ERR The user executing the script can't run this command",
                Never(Rights),
                Then::Nothing,
            ),
            (
                "ERR max number of clients reached",
                Again(Connection),
                Then::Reconnect,
            ),
            (
                "WRONGTYPE Operation against a key",
                Never(Protocol),
                Then::Nothing,
            ),
            (
                "ERR unknown command 'EVALSHA'",
                Never(Protocol),
                Then::Nothing,
            ),
            ("SOMETHING new", Never(Protocol), Then::Nothing),
            ("", Never(Protocol), Then::Nothing),
        ];
        for (text, error, then) in sentences {
            assert_eq!(meaning(text), (error, then), "{text}");
        }
    }
}
