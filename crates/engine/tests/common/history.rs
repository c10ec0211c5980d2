//! Random histories of a store: what is asked of it, by whom, and what befalls it.
//!
//! Each step follows from eight random bytes and from what the store has, so that most requests are ones that a node
//! could make, and some are late, repeated, or another's.

use std::sync::Arc;

use roomcast_core::ClientId;
use roomcast_core::log::Epoch;
use roomcast_core::store::{
    Append, Beat, Claim, End, Epochs, FieldKey, Header, HomeName, InboxAppend, InboxRead, Log,
    NodeId, Release, Renew, Request, Save, SessionRecord, StoreId, Take, UserChange,
};
use roomcast_engine::model::Model;

/// Milliseconds that no test lasts.
pub const LONG: u64 = 60 * 60 * 1_000;
pub const ROOMS: [&str; 3] = ["lobby", "a {room} of 100%", "r:\u{e9}\n"];
pub const CLIENTS: u64 = 3;
pub const USERS: [&str; 2] = ["ann", "{bob}"];

/// What happens next.
#[derive(Clone, Debug)]
pub enum Step {
    /// This is asked.
    Ask(Request),
    /// This is asked, and what it has written ends before anything else is asked.
    AskAndEnd(Request),
    /// What the store has now is kept as a dump.
    Dump,
    /// The store comes back under another id.
    Restart(Data),
    /// It has no memory left, or has some again.
    Full(bool),
}

/// What a store comes back with.
#[derive(Clone, Copy, Debug)]
pub enum Data {
    Same,
    Dumped,
    None,
}

/// Makes the steps of one history.
#[derive(Default)]
pub struct Histories {
    steps: u64,
    last: Option<Request>,
    renewal: Option<Renew>,
}

pub fn client(number: u64) -> ClientId {
    ClientId::from_random([number % CLIENTS, 7])
}

fn bytes(of: &[u8; 8], length: usize) -> Box<[u8]> {
    of.iter().copied().cycle().take(length).collect()
}

impl Histories {
    pub fn step(&mut self, model: &Model, now_ms: u64, c: [u8; 8]) -> Step {
        self.steps += 1;
        let request = match c[0] % 40 {
            0..=6 => self.claim(model, now_ms, c),
            7..=16 => self.append(model, now_ms, c),
            17..=21 => self.renew(model, now_ms, c),
            22..=23 => self.release(model, now_ms, c),
            24 | 25 => self.take(model, now_ms, c),
            26 | 27 => self.save(model, now_ms, c),
            28 => self.end(model, now_ms, c),
            29 | 30 => self.inbox_append(c),
            31 => Request::InboxRead(InboxRead {
                client: client(u64::from(c[1])),
                after: u64::from(c[2] % 8),
                most_bytes: u32::from(c[3]),
            }),
            32 => self.user(c),
            33 | 34 => self.beat(model, c),
            35 | 36 => match self.last.clone() {
                Some(last) => last,
                None => self.beat(model, c),
            },
            37 => {
                return Step::Full(c[1].is_multiple_of(3));
            }
            38 => return Step::Dump,
            _ => {
                let data = match c[1] % 4 {
                    0 | 1 => Data::Same,
                    2 => Data::Dumped,
                    _ => Data::None,
                };
                return Step::Restart(data);
            }
        };
        self.last = Some(request.clone());
        if ends_soon(&request) {
            Step::AskAndEnd(request)
        } else {
            Step::Ask(request)
        }
    }

    fn claim(&mut self, model: &Model, now_ms: u64, c: [u8; 8]) -> Request {
        let record = header(model, now_ms, c);
        let home = home(c[2]);
        let has = record.as_ref().and_then(|it| match c[5] % 6 {
            0 | 1 => Some((it.n, it.fence)),
            2 => Some((it.n.saturating_sub(1), it.fence)),
            3 => Some((it.n + 1, it.fence)),
            4 => Some((it.n, it.fence - 1)),
            _ => None,
        });
        Request::Claim(Claim {
            room: room(c),
            home,
            store: store(model, c[4]),
            dead: match c[3] % 4 {
                0 => None,
                1 => Some(self::home(c[3] >> 2)),
                _ => record.and_then(|it| it.home),
            },
            settled: c[4] & 3 != 0,
            epoch: self.epoch(),
            timestamp: self.steps as i64,
            has,
            // Not at once: the log is read behind it.
            ends_after: after(c[6] % 128),
            only_existing: c[5] & 8 != 0,
        })
    }

    fn append(&mut self, model: &Model, now_ms: u64, c: [u8; 8]) -> Request {
        let mut header = header(model, now_ms, c).unwrap_or_else(|| self.made_up(model, now_ms));
        if c[2] > 220 || header.home.is_none() {
            header.home = Some(home(c[2]));
        }
        if c[2] % 16 == 7 {
            header.home = None;
        }
        match c[3] % 16 {
            0 => header.fence += 1,
            1 => header.fence -= 1,
            _ => {}
        }
        header.n = match c[5] % 8 {
            0 => header.n,
            1 => header.n + 2,
            _ => header.n + 1,
        };
        header.store = if c[3] < 240 {
            model.store()
        } else {
            header.store
        };
        header.pending = c[3] & 32 == 0;
        let log = (c[7] % 4 != 3).then(|| Log {
            last: header.offset + 1 + u64::from(c[7] % 3),
            events: bytes(&c, usize::from(c[7])).into(),
        });
        header.offset = log.as_ref().map_or(header.offset, |it| it.last);
        self.vary(&mut header, c);
        Request::Append(Arc::new(Append {
            room: room(c),
            settled: c[4] & 3 != 0,
            fields: fields(c),
            first: if c[6] % 4 == 3 {
                header.offset.saturating_sub(u64::from(c[7] % 5))
            } else {
                0
            },
            header,
            log,
            ends_after: after(c[6]),
        }))
    }

    fn renew(&mut self, model: &Model, now_ms: u64, c: [u8; 8]) -> Request {
        if let Some(before) = &self.renewal
            && !c[1].is_multiple_of(4)
        {
            let mut next = before.clone();
            let part = match c[2] % 8 {
                0 => before.part.0,
                1 => before.part.0 + 2,
                _ => before.part.0 + 1,
            };
            next.part = (part, c[3].is_multiple_of(3));
            next.header.fence += u64::from(c[4] % 8 == 7);
            next.log = logs(u64::from(part) * 10, c);
            next.fields = fields(c);
            self.renewal = (!next.part.1).then(|| next.clone());
            return Request::Renew(Arc::new(next));
        }
        let old = header(model, now_ms, c);
        let mut header = old.clone().unwrap_or_else(|| self.made_up(model, now_ms));
        header.home = Some(home(c[2]));
        header.pending = c[3] & 7 != 0;
        header.fence = match c[4] % 8 {
            0 => header.fence - 1,
            1 => header.fence,
            2 => header.fence + 2,
            3 => header.fence + LONG,
            _ => header.fence + 1,
        };
        header.store = model.store();
        header
            .epochs
            .ended
            .insert(0, (header.epochs.current, header.offset));
        if c[6] % 4 == 3 {
            let more = (0..Epochs::KEPT as u64).map(|it| (Epoch::from_random(it), it));
            header.epochs.ended.extend(more);
        }
        header.epochs.ended.truncate(Epochs::KEPT);
        header.epochs.current = self.epoch();
        let base = match c[5] % 6 {
            0 | 1 => Some(header.n),
            2 => Some(header.n + 1),
            _ => None,
        };
        header.n += u64::from(c[5] % 3);
        let part = match (base, c[6] % 2) {
            (None, 1) => (0, false),
            _ => (0, true),
        };
        let log = if base.is_some() {
            logs(header.offset, c)
        } else {
            logs(0, c)
        };
        let last = log.last().map_or(0, |it| it.last);
        header.offset = if part.1 {
            header.offset.max(last)
        } else {
            10_000
        };
        let renew = Renew {
            room: room(c),
            header,
            base,
            part,
            fields: fields(c),
            log,
            ends_after: after(c[6]),
        };
        self.renewal = (!part.1).then(|| renew.clone());
        Request::Renew(Arc::new(renew))
    }

    fn release(&mut self, model: &Model, now_ms: u64, c: [u8; 8]) -> Request {
        let header = header(model, now_ms, c).unwrap_or_else(|| self.made_up(model, now_ms));
        Request::Release(Release {
            room: room(c),
            home: match header.home {
                Some(home) if c[2] < 200 => home,
                _ => home(c[2]),
            },
            fence: header.fence - u64::from(c[3].is_multiple_of(8)),
            store: store(model, c[4]),
            ends_after: after(c[6]),
        })
    }

    fn take(&mut self, model: &Model, now_ms: u64, c: [u8; 8]) -> Request {
        let client = client(u64::from(c[1]));
        let turn = model.session(now_ms, &client).map_or(1, |it| it.turn);
        Request::Take(Take {
            client,
            turn: match c[2] % 4 {
                0 => None,
                1 => Some(turn.saturating_sub(1)),
                _ => Some(turn),
            },
            store: Some(store(model, c[5])).filter(|_| c[6].is_multiple_of(2)),
            node: home(c[3]).node,
            attempt: u64::from(c[4] % 4),
        })
    }

    fn save(&mut self, model: &Model, now_ms: u64, c: [u8; 8]) -> Request {
        let client = client(u64::from(c[1]));
        let record = model.session(now_ms, &client);
        let turn = record.map_or(1, |it| it.turn);
        let node = record.map_or(home(c[3]).node, |it| it.node);
        Request::Save(Save {
            client,
            record: SessionRecord {
                turn: (turn + u64::from(c[2] % 4)).saturating_sub(1),
                node: if c[3] < 150 { node } else { home(c[3]).node },
                value: bytes(&c, usize::from(c[4])),
            },
            known: known(model, c[5]),
            ends_after: after(c[6]),
        })
    }

    fn end(&mut self, model: &Model, now_ms: u64, c: [u8; 8]) -> Request {
        let client = client(u64::from(c[1]));
        let record = model.session(now_ms, &client);
        let turn = record.map_or(1, |it| it.turn);
        let node = record.map_or(home(c[3]).node, |it| it.node);
        Request::End(End {
            client,
            turn: (turn + u64::from(c[2] % 3)).saturating_sub(1),
            node: if c[3] < 150 { node } else { home(c[3]).node },
            known: known(model, c[4]),
            store: (c[5] < 128).then(|| model.store()),
        })
    }

    fn inbox_append(&mut self, c: [u8; 8]) -> Request {
        Request::InboxAppend(InboxAppend {
            to: client(u64::from(c[1])),
            from: client(u64::from(c[2])),
            seq: u64::from(c[3] % 5),
            message: bytes(&c, usize::from(c[4])),
            most: u32::from(c[5] % 5),
            most_bytes: u32::from(c[6]) * 2,
        })
    }

    fn user(&mut self, c: [u8; 8]) -> Request {
        let remove = (0..c[3] % 3).map(|it| client(u64::from(c[4]) + u64::from(it)));
        Request::User(UserChange {
            user: USERS[usize::from(c[1]) % USERS.len()].into(),
            add: (!c[2].is_multiple_of(4)).then(|| client(u64::from(c[2]))),
            remove: remove.collect(),
            most: u32::from(c[5] % 3),
            ends_after: after(c[6]),
        })
    }

    fn beat(&mut self, model: &Model, c: [u8; 8]) -> Request {
        Request::Beat(Box::new(Beat {
            key: 7,
            settings: "a=1".into(),
            store: store(model, c[4]),
            home: home(c[2]),
            begins: c[3].is_multiple_of(3),
            lease_ms: if c[5].is_multiple_of(4) { 0 } else { LONG },
            keep_ms: if c[6].is_multiple_of(8) { 0 } else { 2 * LONG },
            settled: (c[7] & 1 == 0).then(|| model.store()),
            shards: u16::from(c[6]),
            version: u32::from(c[7]) << 20,
            address: ["", "[::1]:9000"][usize::from(c[7] & 1)].into(),
        }))
    }

    fn epoch(&self) -> Epoch {
        match self.steps % 5 {
            0 => Epoch::parse("short").expect("it is one"),
            _ => Epoch::from_random(self.steps.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        }
    }

    fn made_up(&self, model: &Model, now_ms: u64) -> Header {
        Header {
            home: Some(home(0)),
            fence: now_ms,
            n: self.steps,
            store: model.store(),
            pending: false,
            epochs: Epochs {
                current: self.epoch(),
                ended: Default::default(),
            },
            offset: self.steps * 3,
            next_player: 1,
            timestamp: -5,
            counts_presence: false,
        }
    }

    fn vary(&self, header: &mut Header, c: [u8; 8]) {
        header.next_player = header.next_player.wrapping_add(u32::from(c[6]));
        header.timestamp += i64::from(c[7]) - 3;
        header.counts_presence = c[6] & 16 == 0;
    }
}

fn room(c: [u8; 8]) -> Arc<str> {
    ROOMS[usize::from(c[1]) % ROOMS.len()].into()
}

fn header(model: &Model, now_ms: u64, c: [u8; 8]) -> Option<Header> {
    model.room(now_ms, &room(c)).map(|it| it.header)
}

pub fn home(c: u8) -> HomeName {
    HomeName {
        node: NodeId(u64::from(c % 3) << 60 | 17),
        lease: 1 + u64::from(c / 3 % 2),
    }
}

fn store(model: &Model, c: u8) -> StoreId {
    if c > 247 { StoreId(3) } else { model.store() }
}

fn after(c: u8) -> u64 {
    match c {
        248.. => 1,
        _ => u64::from(c % 3) * LONG,
    }
}

fn fields(c: [u8; 8]) -> Vec<(FieldKey, Option<Box<[u8]>>)> {
    let field = |i: u8| {
        let key = match c[i as usize] % 6 {
            0 => FieldKey::State,
            5 => FieldKey::Rules,
            1 | 2 => FieldKey::Member(u32::from(c[i as usize] % 3) + 1),
            _ => FieldKey::Sender(client(u64::from(c[i as usize]))),
        };
        let value = !c[i as usize + 1].is_multiple_of(4);
        (key, value.then(|| bytes(&c, usize::from(c[5] % 90))))
    };
    let mut fields: Vec<_> = (0..c[7] % 4).map(field).collect();
    fields.sort();
    fields.dedup_by_key(|it| it.0);
    fields
}

fn logs(after: u64, c: [u8; 8]) -> Vec<Log> {
    let entry = |i: u8| Log {
        last: after + 1 + 2 * u64::from(i),
        events: bytes(&c, usize::from(c[i as usize])).into(),
    };
    (0..c[4] % 4).map(entry).collect()
}

fn ends_soon(request: &Request) -> bool {
    let after = match request {
        Request::Claim(it) => it.ends_after,
        Request::Append(it) => it.ends_after,
        Request::Renew(it) => it.ends_after,
        Request::Release(it) => it.ends_after,
        Request::Save(it) => it.ends_after,
        Request::User(it) => it.ends_after,
        _ => 0,
    };
    after == 1
}

/// The store that knows a session.
fn known(model: &Model, choice: u8) -> Option<StoreId> {
    match choice % 4 {
        0 => Some(model.store()),
        1 => Some(StoreId(5)),
        _ => None,
    }
}
