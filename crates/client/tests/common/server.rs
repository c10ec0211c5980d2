//! The model of a server: its rooms.

use std::collections::{BTreeMap, VecDeque};

use roomcast_protocol::{
    Body, ErrorBody, ErrorCode, Format, Incoming, IncomingPayload, Joined, Limits, LogPosition,
    Member, Outgoing, Payload, Request, Sender, decode, encode,
};

use super::{Logged, Numbers, Random, UNIX, Verdict, What};

#[derive(Debug)]
pub struct Room {
    pub epoch: String,
    /// All that was ever logged in this epoch.
    pub log: Vec<Logged>,
    /// Events up to this one are not kept.
    pub trimmed: u64,
    pub members: BTreeMap<u32, String>,
    pub next_num: u32,
    pub numbers: BTreeMap<String, Numbers>,
}

impl Room {
    pub fn newest(&self) -> u64 {
        self.log.last().map_or(0, |it| it.offset)
    }

    pub fn num_of(&self, client: &str) -> Option<u32> {
        let mut members = self.members.iter();
        members.find(|(_, id)| *id == client).map(|(num, _)| *num)
    }
}

#[derive(Debug, Default)]
pub struct Session {
    pub conn: Option<u64>,
    pub lost_at: u64,
    pub incarnation: u64,
    pub generation: u64,
    pub inbox: Vec<Logged>,
    pub inbox_epoch: String,
    pub sent: Numbers,
    pub rooms: Vec<String>,
}

#[derive(Debug)]
pub struct Conn {
    pub format: Format,
    pub client: Option<String>,
    pub out: VecDeque<Vec<u8>>,
    pub closed: Option<u16>,
}

/// How often it does what a client has to bear, in thousandths of its messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    pub rate_limited: u64,
    pub unavailable: u64,
    pub refused: u64,
    pub overrun: u64,
    /// It fails whom it has to answer, in the end.
    pub acked: bool,
}

#[derive(Debug)]
pub struct Server {
    pub now: u64,
    pub random: Random,
    pub trouble: Trouble,
    pub conns: BTreeMap<u64, Conn>,
    pub rooms: BTreeMap<String, Room>,
    pub sessions: BTreeMap<String, Session>,
    pub grace: u64,
    pub acks: bool,
    pub key: u64,
    pub made: u64,
    /// Logs of epochs that are over.
    pub past: Vec<(String, String, Vec<Logged>)>,
    /// What inboxes got: which, at which offset, and what.
    pub mailed: Vec<(String, u64, String)>,
}

impl Server {
    pub fn new(seed: u64) -> Server {
        Server {
            now: 0,
            random: Random(seed),
            trouble: Trouble::default(),
            conns: BTreeMap::new(),
            rooms: BTreeMap::new(),
            sessions: BTreeMap::new(),
            grace: 30_000,
            acks: true,
            key: 1,
            made: 0,
            past: Vec::new(),
            mailed: Vec::new(),
        }
    }

    pub fn unix(&self) -> i64 {
        UNIX + i64::try_from(self.now).unwrap()
    }

    pub fn fresh(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    pub fn open(&mut self, format: Format) -> u64 {
        let id = self.fresh();
        let conn = Conn {
            format,
            client: None,
            out: VecDeque::new(),
            closed: None,
        };
        self.conns.insert(id, conn);
        id
    }

    /// The connection is gone, and the server notices.
    pub fn lost(&mut self, id: u64, code: u16) {
        let Some(client) = self.conns.remove(&id).and_then(|conn| conn.client) else {
            return;
        };
        let now = self.now;
        if let Some(session) = self
            .sessions
            .get_mut(&client)
            .filter(|it| it.conn == Some(id))
        {
            session.conn = None;
            session.lost_at = now;
            if code == 1000 {
                self.end(&client);
            }
        }
    }

    pub fn end(&mut self, client: &str) {
        let Some(session) = self.sessions.remove(client) else {
            return;
        };
        for room in session.rooms {
            self.go(client, &room);
        }
    }

    pub fn expire(&mut self) {
        let over = |it: &&Session| it.conn.is_none() && it.lost_at + self.grace <= self.now;
        let sessions = self.sessions.iter().filter(|(_, it)| over(it));
        for client in sessions.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.end(&client);
        }
    }

    /// Killed and started again: all that was in memory is gone. With another key, old tokens open nothing.
    pub fn restart(&mut self, new_key: bool) {
        for (_, conn) in std::mem::take(&mut self.conns) {
            drop(conn);
        }
        for (name, room) in std::mem::take(&mut self.rooms) {
            self.past.push((name, room.epoch, room.log));
        }
        self.sessions.clear();
        self.key += u64::from(new_key);
    }

    /// The log of a room keeps nothing of what it has.
    pub fn trim(&mut self, room: &str) {
        if let Some(room) = self.rooms.get_mut(room) {
            room.trimmed = room.newest();
        }
    }

    /// Everybody is asked to come back.
    pub fn announce(&mut self, delay_ms: u64) {
        let body = Body::Reconnect {
            delay_ms,
            url: "",
            reason: "reconnect",
        };
        for id in self.conns.keys().copied().collect::<Vec<_>>() {
            self.say(id, "", body);
        }
    }

    pub fn say(&mut self, id: u64, room: &str, body: Body<'_>) {
        let timestamp = self.unix();
        let message = Outgoing {
            room_id: room,
            timestamp,
            body,
            ..Outgoing::default()
        };
        self.send(id, &message);
    }

    pub fn send(&mut self, id: u64, message: &Outgoing<'_>) {
        if let Some(conn) = self.conns.get_mut(&id).filter(|it| it.closed.is_none()) {
            let mut bytes = Vec::new();
            encode(conn.format, message, &mut bytes);
            conn.out.push_back(bytes);
        }
    }

    pub fn refuse(&mut self, id: u64, asked: &Incoming<'_>, code: ErrorCode, seq: u64, wait: u64) {
        let room = asked.room_id.as_deref().unwrap_or("").to_owned();
        let body = Body::Error(ErrorBody {
            code,
            message: "no",
            seq,
            retry_after_ms: wait,
            request: Some(asked.request.message_type()),
        });
        self.say(id, &room, body);
    }

    /// A message came.
    pub fn take(&mut self, id: u64, bytes: &[u8]) {
        let Some(conn) = self.conns.get(&id).filter(|it| it.closed.is_none()) else {
            return;
        };
        let message = decode(conn.format, bytes, &Limits::default()).unwrap();
        let seq = match &message.request {
            Request::Skip(skip) => skip.seq,
            _ => message.seq.unwrap_or(0),
        };
        let Some(client) = conn.client.clone() else {
            let Request::Hello(hello) = &message.request else {
                panic!("{message:?} is before `hello`");
            };
            return self.hello(id, hello);
        };
        if self.random.chance(self.trouble.rate_limited) {
            let wait = 10 + self.random.below(300);
            return self.refuse(id, &message, ErrorCode::RateLimited, seq, wait);
        }
        let room = message.room_id.as_deref().unwrap_or("").to_owned();
        match &message.request {
            Request::Hello(_) => panic!("a second `hello`"),
            Request::JoinRoom(join) => {
                let since = join.since.clone();
                self.join(
                    id,
                    &client,
                    &room,
                    since.as_ref(),
                    join.first_seq.unwrap_or(0),
                );
            }
            Request::Ping(payload) => {
                let server_time = self.unix();
                let payload = payload.as_payload();
                self.say(
                    id,
                    "",
                    Body::Pong {
                        payload,
                        server_time,
                    },
                );
            }
            _ if room.is_empty() => self.mail(id, &client, &message, seq),
            _ if !self.in_room(&client, &room) => {
                self.refuse(id, &message, ErrorCode::NotInRoom, seq, 0);
            }
            Request::LeaveRoom => {
                let num = self.rooms[&room].num_of(&client).unwrap();
                let session = self.sessions.get_mut(&client).unwrap();
                session.rooms.retain(|it| *it != room);
                self.go(&client, &room);
                let player_id = &client;
                let message = Outgoing {
                    from: Sender::client(&client),
                    room_id: &room,
                    timestamp: self.unix(),
                    body: Body::PlayerLeft {
                        player_id,
                        player_num: num,
                    },
                    ..Outgoing::default()
                };
                self.send(id, &message);
            }
            Request::Chat(payload) => self.publish(id, &client, &room, &message, payload, seq),
            Request::Skip(_) => {
                let numbers = self.numbers(&client, &room);
                match numbers.check(seq) {
                    Verdict::Next => {
                        numbers.used(Ok(0));
                        self.say(id, &room, Body::Ack(&[(seq, 0)]));
                    }
                    known => self.known(id, &message, seq, known),
                }
            }
            Request::Presence(_) | Request::GameAction(_) | Request::Event { .. } => {}
            other => panic!("{other:?} is not modelled"),
        }
    }

    pub fn in_room(&self, client: &str, room: &str) -> bool {
        let session = self.sessions.get(client);
        session.is_some_and(|session| session.rooms.iter().any(|it| it == room))
    }

    pub fn numbers(&mut self, client: &str, room: &str) -> &mut Numbers {
        let room = self.rooms.get_mut(room).unwrap();
        room.numbers.entry(client.to_owned()).or_default()
    }

    pub fn known(&mut self, id: u64, asked: &Incoming<'_>, seq: u64, verdict: Verdict) {
        let room = asked.room_id.as_deref().unwrap_or("").to_owned();
        match verdict {
            Verdict::Known(Ok(offset)) => self.say(id, &room, Body::Ack(&[(seq, offset)])),
            Verdict::Known(Err(code)) => self.refuse(id, asked, code, seq, 0),
            Verdict::Gap(missing, true) => self.refuse(id, asked, ErrorCode::SeqGap, missing, 0),
            Verdict::Gap(_, false) | Verdict::Next => {}
        }
    }

    pub fn join(
        &mut self,
        id: u64,
        client: &str,
        room: &str,
        since: Option<&LogPosition<'_>>,
        first_seq: u64,
    ) {
        let epoch = format!("e{}", self.made);
        self.made += 1;
        self.rooms.entry(room.to_owned()).or_insert_with(|| Room {
            epoch,
            log: Vec::new(),
            trimmed: 0,
            members: BTreeMap::new(),
            next_num: 1,
            numbers: BTreeMap::new(),
        });
        if !self.in_room(client, room) {
            self.sessions
                .get_mut(client)
                .unwrap()
                .rooms
                .push(room.to_owned());
            self.numbers(client, room).enter(first_seq);
            let known = self.rooms.get_mut(room).unwrap();
            let num = known.next_num;
            known.next_num += 1;
            known.members.insert(num, client.to_owned());
            let before = known.newest();
            self.log(room, client, 0, What::Came { num }, Some(id));
            self.joined_up_to(id, client, room, since, before);
            return;
        }
        self.joined(id, client, room, since);
    }

    pub fn joined(&mut self, id: u64, client: &str, room: &str, since: Option<&LogPosition<'_>>) {
        let newest = self.rooms[room].newest();
        self.joined_up_to(id, client, room, since, newest);
    }

    pub fn joined_up_to(
        &mut self,
        id: u64,
        client: &str,
        room: &str,
        since: Option<&LogPosition<'_>>,
        newest: u64,
    ) {
        let known = &self.rooms[room];
        let since = since.filter(|it| {
            it.epoch == known.epoch && it.offset <= newest && it.offset >= known.trimmed
        });
        let offset = since.map_or(newest, |it| it.offset);
        let members: Vec<_> = known.members.clone().into_iter().collect();
        let members: Vec<_> = members
            .iter()
            .map(|(num, id)| Member {
                player_id: id,
                player_num: *num,
                connected: true,
                ..Member::default()
            })
            .collect();
        let epoch = known.epoch.clone();
        let body = Body::Joined(Joined {
            player_id: client,
            player_num: known.num_of(client).unwrap(),
            mode: "relay",
            presence: "full",
            total: members.len() as u64,
            epoch: &epoch,
            offset,
            recovered: since.is_some(),
            repeats_possible: false,
            members: &members,
            properties: "",
        });
        let missed = known.log.iter().filter(|it| it.offset > offset);
        let missed: Vec<_> = missed.cloned().collect();
        self.say(id, room, body);
        for logged in missed {
            self.deliver(id, room, &epoch, &logged);
        }
    }

    pub fn go(&mut self, client: &str, room: &str) {
        let known = self.rooms.get_mut(room).unwrap();
        let Some(num) = known.num_of(client) else {
            return;
        };
        known.members.remove(&num);
        self.log(room, client, 0, What::Went { num }, None);
    }

    /// Appends an event and delivers it to all but one.
    pub fn log(&mut self, room: &str, from: &str, seq: u64, what: What, but: Option<u64>) -> u64 {
        let at = self.unix();
        let known = self.rooms.get_mut(room).unwrap();
        let logged = Logged {
            offset: known.newest() + 1,
            at,
            from: from.to_owned(),
            seq,
            what,
        };
        known.log.push(logged.clone());
        let epoch = known.epoch.clone();
        let receivers: Vec<_> = known.members.values().cloned().collect();
        for receiver in receivers {
            let conn = self.sessions.get(&receiver).and_then(|it| it.conn);
            let Some(conn) = conn.filter(|conn| Some(*conn) != but) else {
                continue;
            };
            if self.random.chance(self.trouble.overrun) {
                // It was so slow that the log has moved on.
                self.joined(conn, &receiver, room, None);
            } else {
                self.deliver(conn, room, &epoch, &logged);
            }
        }
        logged.offset
    }

    pub fn deliver(&mut self, id: u64, room: &str, epoch: &str, logged: &Logged) {
        let body = match &logged.what {
            What::Said(text) => Body::Chat(Payload::text(text)),
            What::Came { num } => Body::PlayerJoined(Member {
                player_id: &logged.from,
                player_num: *num,
                connected: true,
                ..Member::default()
            }),
            What::Went { num } => Body::PlayerLeft {
                player_id: &logged.from,
                player_num: *num,
            },
        };
        let message = Outgoing {
            from: Sender::client(&logged.from),
            room_id: room,
            timestamp: logged.at,
            seq: logged.seq,
            offset: logged.offset,
            epoch,
            body,
            ..Outgoing::default()
        };
        self.send(id, &message);
    }

    pub fn publish(
        &mut self,
        id: u64,
        client: &str,
        room: &str,
        message: &Incoming<'_>,
        payload: &IncomingPayload<'_>,
        seq: u64,
    ) {
        let text = String::from_utf8(payload.data.to_vec()).unwrap();
        if !self.acks {
            self.log(room, client, seq, What::Said(text), None);
            return;
        }
        match self.numbers(client, room).check(seq) {
            Verdict::Next => {}
            known => return self.known(id, message, seq, known),
        }
        if self.random.chance(self.trouble.unavailable) {
            return self.refuse(id, message, ErrorCode::Unavailable, seq, 0);
        }
        if self.random.chance(self.trouble.refused) {
            self.numbers(client, room).used(Err(ErrorCode::Forbidden));
            return self.refuse(id, message, ErrorCode::Forbidden, seq, 0);
        }
        let offset = self.log(room, client, seq, What::Said(text), None);
        self.numbers(client, room).used(Ok(offset));
        self.say(id, room, Body::Ack(&[(seq, offset)]));
    }
}
