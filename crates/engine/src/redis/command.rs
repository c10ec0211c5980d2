//! What lies between the requests of a store and the connections to Redis: a request becomes a [`Command`], and what
//! Redis says becomes an answer.

use roomcast_core::store::{Answer, Request, StoreError, StoreId};
use smallvec::SmallVec;

use super::resp::Value;

/// A script, as it is written. In its text stands the name of the store that it runs at. So another store does not know
/// it: scripts are neither replicated nor saved.
#[derive(Debug)]
pub struct Script {
    /// For the log, and for counters.
    pub name: &'static str,
    /// Lua, with [`Script::STORE`] in it at least once.
    pub template: &'static str,
}

impl Script {
    /// Stands in a template for the name of the store.
    pub const STORE: &'static str = "@STORE@";

    /// Whether it looks itself which store it runs at, as those do that take something over: nothing need go before it.
    pub(super) fn looks(&self) -> bool {
        self.template.contains("redis.call('INFO'")
    }

    /// The script for one store, with [`store_name`] in it.
    pub fn text(&self, store: StoreId) -> String {
        self.template.replace(Self::STORE, &store_name(store))
    }
}

/// A store's name as scripts and records have it: 32 hexadecimal digits, in lower case.
pub fn store_name(store: StoreId) -> String {
    format!("{:032x}", store.0)
}

/// What Redis is asked to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its script.
    pub script: &'static Script,
    /// The store that it is meant for: at another one it is not run ([`roomcast_core::store::Cause::OtherStore`]).
    /// `None`: whichever has the keys.
    pub store: Option<StoreId>,
    /// KEYS, all of one slot, with the prefix. The first says which master gets it.
    pub keys: SmallVec<[Vec<u8>; 2]>,
    /// ARGV.
    pub args: Vec<Vec<u8>>,
    /// A command that follows directly on the same connection, such as the XRANGE of a room's log behind its claim; empty:
    /// none. The value is then an array of both answers. An error of either is the error of both.
    pub behind: Vec<Vec<u8>>,
}

impl Command {
    /// Bytes of keys and arguments.
    pub fn bytes(&self) -> usize {
        let parts = self.keys.iter().chain(&self.args).chain(&self.behind);
        parts.map(Vec::len).sum()
    }
}

/// How requests are said to Redis. It holds the prefix of the keys.
pub trait Commands {
    /// What is run for a request.
    ///
    /// A beat is meant for one master: its key has `tag` between braces, which brings it there. Other requests have no use
    /// for it.
    fn command(&self, request: &Request, tag: &str) -> Command;

    /// What the request is answered, by the value that the script returned. Redis's own errors don't come here.
    ///
    /// # Errors
    ///
    /// [`roomcast_core::store::Cause::Protocol`], where the value is not what the script returns; and what the script
    /// itself says by a value.
    fn answer(&self, request: &Request, value: Value) -> Result<Answer, StoreError>;
}
