//! Sessions, their inboxes, and the sessions of a user.

use roomcast_core::ClientId;
use roomcast_core::store::{
    Answer, End, InboxAppend, InboxAppended, InboxRead, InboxSlice, Save, SessionRecord, StoreId,
    Take, Taken, UserChange,
};

use super::{
    Command, ScriptCommands, Value, command, node_text, number, parse_node, parse_number, scripts,
    store_name,
};

impl ScriptCommands {
    pub(super) fn take(&self, take: &Take) -> Command {
        let args = vec![
            take.turn.map_or_else(Vec::new, number),
            node_text(take.node),
            format!("{:016x}", take.attempt).into(),
        ];
        command(
            &scripts::TAKE,
            take.store,
            [self.keys.session(&take.client)],
            args,
        )
    }

    pub(super) fn save(&self, save: &Save) -> Command {
        let args = vec![
            number(save.record.turn),
            node_text(save.record.node),
            save.record.value.to_vec(),
            save.known.map_or_else(String::new, store_name).into(),
            number(save.ends_after),
        ];
        command(&scripts::SAVE, None, self.session_keys(&save.client), args)
    }

    pub(super) fn end(&self, end: &End) -> Command {
        let args = vec![
            number(end.turn),
            node_text(end.node),
            end.known.map_or_else(String::new, store_name).into(),
        ];
        command(
            &scripts::END,
            end.store,
            self.session_keys(&end.client),
            args,
        )
    }

    pub(super) fn inbox_append(&self, append: &InboxAppend) -> Command {
        let name = match append.seq {
            0 => String::new(),
            seq => format!("{}{seq:x}", append.from.as_str()),
        };
        let args = vec![
            name.into(),
            append.message.to_vec(),
            number(append.most.into()),
            number(append.most_bytes.into()),
        ];
        let keys = self.session_keys(&append.to);
        command(&scripts::INBOX_APPEND, None, keys, args)
    }

    pub(super) fn inbox_read(&self, read: &InboxRead) -> Command {
        let args = vec![number(read.after), number(read.most_bytes.into())];
        let keys = self.session_keys(&read.client);
        command(&scripts::INBOX_READ, None, keys, args)
    }

    pub(super) fn user(&self, change: &UserChange) -> Command {
        let client = |it: &ClientId| it.as_str().as_bytes().to_vec();
        let mut args = vec![
            change.add.as_ref().map_or_else(Vec::new, client),
            number(change.most.into()),
            number(change.ends_after),
        ];
        args.extend(change.remove.iter().map(client));
        let script = match change.add {
            Some(_) => &scripts::USER,
            None => &scripts::USER_FREES,
        };
        command(script, None, [self.keys.user(&change.user)], args)
    }

    fn session_keys(&self, client: &ClientId) -> [Vec<u8>; 2] {
        [self.keys.session(client), self.keys.inbox(client)]
    }
}

pub(super) fn taken(value: Value) -> Option<Taken> {
    let Value::Array(parts) = value else {
        return None;
    };
    if let [store, now] = &parts[..] {
        return Some(Taken::Nothing {
            store: parse_store(store)?,
            now: parse_number(now)?,
        });
    }
    let [Value::Int(is_taken), turn, node, Value::Bytes(value)] =
        <[Value; 4]>::try_from(parts).ok()?
    else {
        return None;
    };
    let record = SessionRecord {
        turn: parse_number(&turn)?,
        node: parse_node(&node)?,
        value: value.into(),
    };
    match is_taken {
        0 => Some(Taken::Other(record)),
        1 => Some(Taken::Taken(record)),
        _ => None,
    }
}

pub(super) fn stored(value: Value) -> Option<InboxAppended> {
    match value {
        Value::Bytes(_) => parse_store(&value).map(InboxAppended::NoSession),
        Value::Array(parts) => match &parts[..] {
            [offset, node, store, turn] => Some(InboxAppended::Stored {
                offset: parse_number(offset)?,
                node: parse_node(node)?,
                turn: parse_number(turn)?,
                store: parse_store(store)?,
            }),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn slice(value: Value) -> Option<InboxSlice> {
    let Value::Array(parts) = value else {
        return None;
    };
    let mut parts = parts.into_iter();
    let last = parse_number(&parts.next()?)?;
    let first = match parts.next()?.as_str()? {
        "" => last.checked_add(1)?,
        id => entry_offset(id)?,
    };
    let store = parse_store(&parts.next()?)?;
    let before = (parse_store(&parts.next()?)?, parse_number(&parts.next()?)?);
    let mut messages = Vec::new();
    while let Some(id) = parts.next() {
        let Value::Bytes(message) = parts.next()? else {
            return None;
        };
        messages.push((entry_offset(id.as_str()?)?, message.into()));
    }
    Some(InboxSlice {
        messages,
        first,
        last,
        store,
        before: Some(before).filter(|(store, _)| *store != StoreId::default()),
    })
}

pub(super) fn clients(value: Value) -> Option<Answer> {
    let (store, clients) = value.as_array()?.split_first()?;
    let mut clients: Vec<_> = clients
        .iter()
        .map(|it| ClientId::parse(it.as_str()?))
        .collect::<Option<_>>()?;
    clients.sort_unstable();
    Some(Answer::Clients(parse_store(store)?, clients))
}

/// The name of a store; empty for none.
fn parse_store(value: &Value) -> Option<StoreId> {
    Some(match value.as_str()? {
        "" => StoreId::default(),
        name => StoreId(u128::from_str_radix(name, 16).ok()?),
    })
}

fn entry_offset(id: &str) -> Option<u64> {
    id.strip_suffix("-0")?.parse().ok()
}
