//! Rooms: claim, append, renew, release.

use roomcast_core::ClientId;
use roomcast_core::store::{
    Append, Claim, Claimed, FieldKey, Header, Log, Release, Renew, RoomRecord, Written,
};

use super::header::{epoch_text, fence_text, guard, header_from, header_text};
use super::{Command, ScriptCommands, Value, command, flag, home_from, home_text, number, scripts};

type Changes = [(FieldKey, Option<Box<[u8]>>)];

impl ScriptCommands {
    pub(super) fn claim(&self, claim: &Claim) -> Command {
        let dead = claim.dead.map(|it| home_text(Some(it)));
        let [n, next, fence] = match claim.has {
            Some((n, fence)) => [
                format!("{n:016x}"),
                format!("{:016x}", n.saturating_add(1)),
                fence_text(fence),
            ],
            None => Default::default(),
        };
        let args = vec![
            home_text(Some(claim.home)).into(),
            dead.unwrap_or_default().into(),
            flag(claim.settled),
            epoch_text(&claim.epoch),
            format!("{:016x}", claim.timestamp).into(),
            n.into(),
            next.into(),
            fence.into(),
            number(claim.ends_after),
            flag(claim.only_existing),
        ];
        let log = self.keys.log(&claim.room);
        let behind = match claim.has {
            None => vec![b"XRANGE".into(), log.clone(), b"-".into(), b"+".into()],
            Some(_) => Vec::new(),
        };
        let keys = [self.keys.room(&claim.room), log];
        Command {
            behind,
            ..command(&scripts::CLAIM, Some(claim.store), keys, args)
        }
    }

    pub(super) fn append(&self, append: &Append) -> Command {
        let header = &append.header;
        let (last, events) = match &append.log {
            Some(log) => (number(log.last), log.events.to_vec()),
            None => Default::default(),
        };
        let mut args = vec![
            header_text(&Header {
                pending: false,
                ..header.clone()
            }),
            format!("{:016x}", header.n.wrapping_sub(1)).into(),
            flag(append.settled),
            number(append.first),
            last,
            events,
            number(append.ends_after),
        ];
        change(&mut args, &append.fields);
        let frees = append.log.is_none() && append.fields.iter().all(|(_, it)| it.is_none());
        let script = if frees {
            &scripts::APPEND_FREES
        } else {
            &scripts::APPEND
        };
        let keys = [self.keys.room(&append.room), self.keys.log(&append.room)];
        command(script, Some(header.store), keys, args)
    }

    pub(super) fn renew(&self, renew: &Renew) -> Command {
        let header = &renew.header;
        let (part, is_last) = renew.part;
        let base = renew.base.map(|it| format!("{it:016x}"));
        let mut args = vec![
            header_text(header),
            base.unwrap_or_default().into(),
            number(part.into()),
            flag(is_last),
            fence_text(header.fence.saturating_sub(1)).into(),
            number(renew.ends_after),
            number(renew.log.len() as u64),
        ];
        for log in &renew.log {
            args.push(number(log.last));
            args.push(log.events.to_vec());
        }
        change(&mut args, &renew.fields);
        let keys = [self.keys.room(&renew.room), self.keys.log(&renew.room)];
        let mut command = command(&scripts::RENEW, Some(header.store), keys, args);
        if part > 0 || !is_last {
            command
                .keys
                .extend(self.keys.parts(&renew.room, header.home));
        }
        command
    }

    pub(super) fn release(&self, release: &Release) -> Command {
        let args = vec![
            guard(release.store, Some(release.home), release.fence).into(),
            number(release.ends_after),
        ];
        let keys = [self.keys.room(&release.room), self.keys.log(&release.room)];
        command(&scripts::RELEASE, Some(release.store), keys, args)
    }
}

/// How many fields are removed, these, then fields and values.
fn change(args: &mut Vec<Vec<u8>>, fields: &Changes) {
    let removed = fields.iter().filter(|(_, it)| it.is_none());
    args.push(number(removed.clone().count() as u64));
    args.extend(removed.map(|(key, _)| field_name(key)));
    for (key, value) in fields {
        if let Some(value) = value {
            args.push(field_name(key));
            args.push(value.to_vec());
        }
    }
}

fn field_name(key: &FieldKey) -> Vec<u8> {
    match key {
        FieldKey::Member(num) => format!("m{num}").into(),
        FieldKey::Sender(client) => format!("s{}", client.as_str()).into(),
        FieldKey::State => b"x".into(),
        FieldKey::Rules => b"r".into(),
    }
}

fn field_from(name: &str) -> Option<FieldKey> {
    match name.split_at_checked(1)? {
        ("m", num) => num.parse().ok().map(FieldKey::Member),
        ("s", client) => ClientId::parse(client).map(FieldKey::Sender),
        ("x", "") => Some(FieldKey::State),
        ("r", "") => Some(FieldKey::Rules),
        _ => None,
    }
}

pub(super) fn claimed(value: Value) -> Option<Claimed> {
    let mut parts = array(value)?.into_iter();
    let mut first = parts.next()?;
    // The log came behind, if it was asked for.
    let behind = match &first {
        Value::Array(_) => {
            let answer = first;
            let mut its = array(answer)?.into_iter();
            let behind = parts.next()?;
            first = its.next()?;
            parts = its;
            Some(behind)
        }
        _ => None,
    };
    Some(match first.as_int()? {
        0 => {
            let (header, fields) = record(array(parts.next()?)?)?;
            let log = match behind {
                Some(log) => log,
                None => parts.next()?,
            };
            Claimed::Loaded(Box::new(RoomRecord {
                header,
                fields,
                log: entries(log)?,
            }))
        }
        1 => Claimed::Kept(Box::new(header_from(parts.next()?.as_bytes()?)?)),
        2 => Claimed::Theirs(home_from(parts.next()?.as_str()?)?),
        3 => Claimed::Unsettled,
        4 => Claimed::Absent,
        _ => return None,
    })
}

pub(super) fn appended(value: Value) -> Option<Written> {
    Some(match value {
        Value::Int(0) => Written::Confirmed,
        Value::Int(1) => Written::Refused(None),
        Value::Int(2) => Written::Unsettled,
        Value::Bytes(header) => Written::Refused(Some(Box::new(header_from(&header)?))),
        _ => return None,
    })
}

pub(super) fn renewed(value: Value) -> Option<Written> {
    Some(match value {
        Value::Int(0) => Written::Confirmed,
        Value::Int(1) => Written::Incomplete,
        Value::Bytes(header) => Written::Refused(Some(Box::new(header_from(&header)?))),
        _ => return None,
    })
}

type Fields = Vec<(FieldKey, Box<[u8]>)>;

/// Names and values, by turns, the header among them.
fn record(parts: Vec<Value>) -> Option<(Header, Fields)> {
    let mut header = None;
    let mut fields = Vec::with_capacity(parts.len() / 2);
    let mut parts = parts.into_iter();
    while let Some(name) = parts.next() {
        let value = bytes(parts.next()?)?;
        match name.as_str() {
            Some("h") => header = Some(header_from(&value)?),
            // What a newer version has added is passed over.
            name => {
                let key = name.and_then(field_from);
                fields.extend(key.map(|key| (key, value.into())));
            }
        }
    }
    fields.sort_unstable_by_key(|it| it.0);
    Some((header?, fields))
}

/// Entries of a stream: an id `LAST-0`, and a list of one name and its value.
fn entries(log: Value) -> Option<Vec<Log>> {
    let entry = |entry: Value| {
        let [id, fields] = <[Value; 2]>::try_from(array(entry)?).ok()?;
        let [_, events] = <[Value; 2]>::try_from(array(fields)?).ok()?;
        Some(Log {
            last: id.as_str()?.strip_suffix("-0")?.parse().ok()?,
            events: bytes(events)?.into(),
        })
    };
    array(log)?.into_iter().map(entry).collect()
}

fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}
