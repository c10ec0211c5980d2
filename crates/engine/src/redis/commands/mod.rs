//! How requests are said to Redis, and what its scripts answer: no I/O.

mod header;
mod rooms;
mod sessions;

use roomcast_core::store::{
    Answer, Beat, Beaten, Cause, HomeName, NodeEntry, NodeId, Request, StoreError, StoreId,
};
use smallvec::SmallVec;

use super::scripts;
use super::{Command, Commands, Keys, Script, Value, store_name};

pub(super) use header::home_text;
use header::{home_from, store_from};

/// The requests of a store as commands for its scripts.
#[derive(Clone, Debug)]
pub struct ScriptCommands {
    keys: Keys,
}

impl ScriptCommands {
    /// For the keys below a prefix.
    pub fn new(prefix: &str) -> ScriptCommands {
        ScriptCommands {
            keys: Keys::new(prefix),
        }
    }

    /// The names of its keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    fn beat(&self, beat: &Beat, tag: &str) -> Command {
        let settled = beat.settled.map_or_else(|| "-".repeat(32), store_name);
        let Beat {
            shards,
            version,
            key,
            settings,
            address,
            ..
        } = beat;
        let rest = format!("{settled}{shards:04x}{version:08x}{key:08x}{address}\n{settings}");
        let args = vec![
            node_text(beat.home.node),
            format!("{:016x}", beat.home.lease).into(),
            flag(beat.begins),
            number(beat.lease_ms),
            number(beat.keep_ms.max(beat.lease_ms)),
            rest.into(),
        ];
        command(
            &scripts::BEAT,
            Some(beat.store),
            [self.keys.nodes(tag)],
            args,
        )
    }
}

impl Commands for ScriptCommands {
    fn command(&self, request: &Request, tag: &str) -> Command {
        match request {
            Request::Claim(it) => self.claim(it),
            Request::Append(it) => self.append(it),
            Request::Renew(it) => self.renew(it),
            Request::Release(it) => self.release(it),
            Request::Take(it) => self.take(it),
            Request::Save(it) => self.save(it),
            Request::End(it) => self.end(it),
            Request::InboxAppend(it) => self.inbox_append(it),
            Request::InboxRead(it) => self.inbox_read(it),
            Request::User(it) => self.user(it),
            Request::Beat(it) => self.beat(it, tag),
        }
    }

    fn answer(&self, request: &Request, value: Value) -> Result<Answer, StoreError> {
        let answer = match request {
            Request::Claim(_) => rooms::claimed(value).map(Answer::Claim),
            Request::Append(_) => rooms::appended(value).map(Answer::Written),
            Request::Renew(_) => rooms::renewed(value).map(Answer::Written),
            Request::Release(_) => Some(Answer::Done),
            Request::Take(_) => sessions::taken(value).map(Answer::Session),
            Request::Save(_) | Request::End(_) => value.as_int().map(|it| Answer::Turn(it == 1)),
            Request::InboxAppend(_) => sessions::stored(value).map(Answer::Inbox),
            Request::InboxRead(_) => sessions::slice(value).map(Answer::InboxSlice),
            Request::User(_) => sessions::clients(value),
            Request::Beat(_) => beaten(&value).map(Answer::Beat),
        };
        answer.ok_or(StoreError::Never(Cause::Protocol))
    }
}

fn command<const KEYS: usize>(
    script: &'static Script,
    store: Option<StoreId>,
    keys: [Vec<u8>; KEYS],
    args: Vec<Vec<u8>>,
) -> Command {
    Command {
        script,
        store,
        keys: SmallVec::from_iter(keys),
        args,
        behind: Vec::new(),
    }
}

fn number(number: u64) -> Vec<u8> {
    number.to_string().into()
}

fn flag(is: bool) -> Vec<u8> {
    if is { b"1".into() } else { b"0".into() }
}

fn node_text(node: NodeId) -> Vec<u8> {
    format!("{:016x}", node.0).into()
}

fn parse_hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn parse_node(value: &Value) -> Option<NodeId> {
    Some(NodeId(parse_hex(value.as_str()?)?))
}

/// A number that a script wrote, in decimal.
fn parse_number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

fn beaten(value: &Value) -> Option<Beaten> {
    let [gone, now, entries @ ..] = value.as_array()? else {
        return None;
    };
    let (entries, []) = entries.as_chunks::<2>() else {
        return None;
    };
    let mut nodes = Vec::with_capacity(entries.len());
    for [node, entry] in entries {
        // One that can't be read is a newer version's, or nobody's: the others count all the same.
        let texts = node.as_str().zip(entry.as_str());
        nodes.extend(texts.and_then(|(node, entry)| node_entry(node, entry)));
    }
    nodes.sort_by_key(|it| it.home);
    Some(Beaten {
        gone: gone.as_int()? == 1,
        now: parse_number(now)?,
        nodes,
    })
}

/// An entry as `beat` writes it: a version, the time, the number of the lease, and what the node said of itself.
fn node_entry(node: &str, entry: &str) -> Option<NodeEntry> {
    let rest = entry.strip_prefix('1')?;
    let (beat, rest) = rest.split_at_checked(16)?;
    let (lease, rest) = rest.split_at_checked(16)?;
    let (settled, rest) = rest.split_at_checked(32)?;
    let (shards, rest) = rest.split_at_checked(4)?;
    let (version, rest) = rest.split_at_checked(8)?;
    let (key, rest) = rest.split_at_checked(8)?;
    let (address, settings) = rest.split_once('\n')?;
    Some(NodeEntry {
        home: HomeName {
            node: NodeId(parse_hex(node)?),
            lease: parse_hex(lease)?,
        },
        beat: beat.parse().ok()?,
        settled: store_from(settled),
        shards: u16::from_str_radix(shards, 16).ok()?,
        version: u32::from_str_radix(version, 16).ok()?,
        key: u32::from_str_radix(key, 16).ok()?,
        settings: settings.into(),
        address: address.into(),
    })
}
