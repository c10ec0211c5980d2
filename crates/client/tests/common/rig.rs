//! A session under a hand-moved clock, and the server's side of its connection.

use roomcast_client::session::{
    Config, Connection, Event, JoinOptions, SendOptions, Session, Ticket,
};
use roomcast_client::{Payload, Publish};
use serde_json::{Value, json};

/// A session and the time.
pub struct Rig {
    pub session: Session,
    pub now: u64,
}

impl Rig {
    pub fn new(config: Config) -> Rig {
        Rig {
            session: Session::new(config),
            now: 1_000,
        }
    }

    /// Connected and welcomed, with nothing left to read or to send.
    pub fn open() -> Rig {
        let mut rig = Rig::new(Config::default());
        rig.connect(json!({}));
        rig.sent();
        rig.events();
        rig
    }

    pub fn in_room() -> Rig {
        let mut rig = Rig::open();
        rig.join("r");
        rig
    }

    pub fn join(&mut self, room: &str) {
        self.session
            .join(self.now, room, JoinOptions::default())
            .unwrap();
        self.joined(room, json!({}));
        self.sent();
        self.events();
    }

    /// Opens the connection and answers `hello`. Returns that.
    pub fn connect(&mut self, with: Value) -> Value {
        assert_eq!(self.session.connection(), Connection::Connect);
        self.session.connected(self.now);
        let hello = self.sent().remove(0);
        assert_eq!(hello["type"], "hello");
        let mut welcome = json!({"client_id": "me", "resume_token": "t", "resumed": false,
            "ping_interval_ms": 30_000, "seq_acked": true, "server_time": 5_000_000,
            "limits": {"max_unanswered": 32}});
        merge(&mut welcome, with);
        self.say(json!({"type": "welcome", "payload": welcome}));
        hello["payload"].clone()
    }

    /// The connection breaks, and the next one is open.
    pub fn again(&mut self, with: Value) -> Value {
        self.cut();
        self.connect(with)
    }

    pub fn cut(&mut self) {
        self.session.disconnected(self.now, 1006, "", 0);
        self.pass(500);
    }

    pub fn joined(&mut self, room: &str, with: Value) {
        let mut joined = json!({"epoch": "e", "offset": 0, "player_num": 1, "player_id": "me",
            "members": [{"player_id": "me", "player_num": 1, "connected": true}], "total": 1});
        merge(&mut joined, with);
        self.say(json!({"type": "joined", "room_id": room, "payload": joined}));
    }

    pub fn chat(&mut self, room: &str, epoch: &str, offset: u64, from: &str, seq: u64) {
        self.say(
            json!({"type": "chat", "room_id": room, "epoch": epoch, "offset": offset,
            "from_client_id": from, "seq": seq, "payload": format!("{from} {seq}")}),
        );
    }

    pub fn refuse(&mut self, room: &str, request: &str, code: &str, seq: u64, wait: u64) {
        let error = json!({"code": code, "message": "", "seq": seq, "retry_after_ms": wait,
            "request": request});
        self.say(json!({"type": "error", "room_id": room, "payload": error}));
    }

    pub fn ack(&mut self, room: &str, seq: u64, offset: u64) {
        let acks = json!({"acks": [{"seq": seq, "offset": offset}]});
        self.say(json!({"type": "ack", "room_id": room, "payload": acks}));
    }

    pub fn say(&mut self, message: Value) {
        self.session
            .receive(self.now, message.to_string().as_bytes());
    }

    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.session.timeout(self.now);
    }

    pub fn send(&mut self, text: &str) -> Ticket {
        let publish = Publish::Chat(Payload::text(text));
        self.session
            .send(self.now, "r", publish, SendOptions::default())
            .unwrap()
    }

    /// All that is sent, without pings.
    pub fn sent(&mut self) -> Vec<Value> {
        let all = std::iter::from_fn(|| self.session.poll_transmit());
        let all = all.map(|it| serde_json::from_slice::<Value>(&it).unwrap());
        all.filter(|it| it["type"] != "ping").collect()
    }

    /// Of each message: its type and number, of a skip the one it skips.
    pub fn sent_seqs(&mut self) -> Vec<(String, u64)> {
        let seq = |it: &Value| {
            it["seq"]
                .as_u64()
                .or(it["payload"]["seq"].as_u64())
                .unwrap_or(0)
        };
        let name = |it: &Value| it["type"].as_str().unwrap().to_owned();
        self.sent().iter().map(|it| (name(it), seq(it))).collect()
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// What became of messages: their offset, or the error's code.
    pub fn settled(&mut self) -> Vec<(Ticket, Result<u64, String>)> {
        let settled = |event| match event {
            Event::Settled { ticket, result } => Some((
                ticket,
                result
                    .map(|it| it.offset)
                    .map_err(|it| it.code().to_owned()),
            )),
            _ => None,
        };
        self.events().into_iter().filter_map(settled).collect()
    }
}

pub fn merge(into: &mut Value, with: Value) {
    for (key, value) in with.as_object().unwrap() {
        into[key] = value.clone();
    }
}

pub fn chats(seqs: impl IntoIterator<Item = u64>) -> Vec<(String, u64)> {
    seqs.into_iter()
        .map(|seq| ("chat".to_owned(), seq))
        .collect()
}

pub fn error(code: &str) -> Result<u64, String> {
    Err(code.to_owned())
}
