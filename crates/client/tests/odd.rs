//! What no good server sends: `tests/odd/server_messages.json`. None of it outlives itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use roomcast_client::Format;
use roomcast_client::session::{Config, Connection, Event, JoinOptions, Session, Status};
use roomcast_protocol::{Body, Joined, Outgoing, Payload, Sender, Welcome, WelcomeLimits, encode};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Told,
    Quiet,
    Delivered,
    Any,
}

#[derive(Debug)]
struct Odd {
    name: String,
    format: Format,
    before_welcome: bool,
    /// Whether the frame is of the format's own type.
    own_frame: bool,
    bytes: Vec<u8>,
    then: Then,
}

fn messages() -> Vec<Odd> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/odd/server_messages.json"
    );
    let file: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    file["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(odd)
        .collect()
}

fn odd(entry: &Value) -> Odd {
    let text = |key: &str| entry[key].as_str();
    let format = match text("format").unwrap() {
        "json" => Format::Json,
        _ => Format::Protobuf,
    };
    let bytes = match (text("text"), text("hex")) {
        (Some(text), _) => filled(text, &entry["fill"]).into_bytes(),
        (_, hex) => bytes(hex.unwrap()),
    };
    Odd {
        name: text("name").unwrap().to_owned(),
        format,
        before_welcome: text("when") == Some("hello"),
        own_frame: entry.get("text").is_some() == (format == Format::Json),
        bytes,
        then: match text("then").unwrap() {
            "told" => Then::Told,
            "quiet" => Then::Quiet,
            "delivered" => Then::Delivered,
            "any" => Then::Any,
            other => panic!("{other}"),
        },
    }
}

/// `§` is `text`, `times` over, then `middle`, then `and` as often.
fn filled(text: &str, fill: &Value) -> String {
    if fill.is_null() {
        return text.to_owned();
    }
    let times = usize::try_from(fill["times"].as_u64().unwrap()).unwrap();
    let part = |key: &str| fill[key].as_str().unwrap_or_default();
    let (before, after) = (part("text").repeat(times), part("and").repeat(times));
    text.replace('§', &format!("{before}{}{after}", part("middle")))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A session, and a server that says what it is told to.
struct Peer {
    session: Session,
    format: Format,
    now: u64,
    said: u64,
}

impl Peer {
    fn new(format: Format) -> Peer {
        let config = Config {
            format,
            ..Config::default()
        };
        let mut session = Session::new(config);
        session.join(0, "r", JoinOptions::default()).unwrap();
        session.connected(1);
        Peer {
            session,
            format,
            now: 1,
            said: 100,
        }
    }

    fn open(format: Format) -> Peer {
        let mut peer = Peer::new(format);
        peer.welcome();
        peer.joined();
        peer.events();
        peer
    }

    fn say(&mut self, room_id: &str, body: Body<'_>) {
        let message = Outgoing {
            room_id,
            body,
            ..Outgoing::default()
        };
        let mut bytes = Vec::new();
        encode(self.format, &message, &mut bytes);
        self.session.receive(self.now, &bytes);
    }

    fn welcome(&mut self) {
        let welcome = Welcome {
            client_id: "me",
            resume_token: "t",
            ping_interval_ms: 30_000,
            limits: WelcomeLimits {
                max_unanswered: 32,
                ..WelcomeLimits::default()
            },
            seq_acked: true,
            ..Welcome::default()
        };
        self.say("", Body::Welcome(&welcome));
    }

    fn joined(&mut self) {
        let joined = Joined {
            player_id: "me",
            player_num: 1,
            epoch: "e",
            total: 1,
            ..Joined::default()
        };
        self.say("r", Body::Joined(joined));
    }

    fn odd(&mut self, odd: &Odd) -> Vec<Event> {
        match odd.own_frame {
            true => self.session.receive(self.now, &odd.bytes),
            false => self.session.receive_other_format(self.now),
        }
        self.events()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// The next event arrives, the next message is sent and answered.
    fn goes_on(&mut self, name: &str) {
        self.said += 1;
        let text = format!("good {}", self.said);
        let message = Outgoing {
            from: Sender::client("c2"),
            room_id: "r",
            offset: self.said,
            epoch: "e",
            body: Body::Chat(Payload::text(&text)),
            ..Outgoing::default()
        };
        let mut bytes = Vec::new();
        encode(self.format, &message, &mut bytes);
        self.session.receive(self.now, &bytes);
        let came = self.events().into_iter().any(|event| {
            matches!(event, Event::Message { message, .. }
                if message.position.as_ref().is_some_and(|it| it.offset == self.said))
        });
        assert!(came, "{name}: the event after it");
        // A number that was said to be missing may be waited for a moment.
        self.now += 1_000;
        self.session.timeout(self.now);
        while self.session.poll_transmit().is_some() {}
        let hello = roomcast_client::Publish::Chat("hello".into());
        let ticket = self
            .session
            .send(self.now, "r", hello, Default::default())
            .unwrap();
        assert!(
            self.session.poll_transmit().is_some(),
            "{name}: nothing is sent"
        );
        let seq = self.said - 100;
        self.say("r", Body::Ack(&[(seq, self.said)]));
        let settled = self.events().into_iter().any(
            |event| matches!(event, Event::Settled { ticket: it, result: Ok(_) } if it == ticket),
        );
        assert!(settled, "{name}: the next message has no answer");
        assert_eq!(self.session.connection(), Connection::Up, "{name}");
    }
}

/// What is not as the list says.
fn fault(odd: &Odd, events: &[Event]) -> Option<String> {
    let told = events.iter().any(|it| matches!(it, Event::Unreadable(_)));
    let delivered = events.iter().any(|it| matches!(it, Event::Message { .. }));
    let good = match odd.then {
        Then::Told => told && !delivered,
        Then::Quiet => !told,
        Then::Delivered => delivered && !told,
        Then::Any => true,
    };
    (!good).then(|| format!("{} is not {:?}: {events:?}", odd.name, odd.then))
}

#[test]
fn an_odd_message_of_a_server_does_not_outlive_itself() {
    let mut faults = Vec::new();
    for odd in messages() {
        let mut peer = match odd.before_welcome {
            true => Peer::new(odd.format),
            false => Peer::open(odd.format),
        };
        let events = peer.odd(&odd);
        faults.extend(fault(&odd, &events));
        if odd.before_welcome {
            peer.welcome();
            peer.joined();
            let events = peer.events();
            let connected =
                |it: &Event| matches!(it, Event::Status(Status::Connected { resumed: false }));
            assert!(events.iter().any(connected), "{}", odd.name);
        }
        peer.goes_on(&odd.name);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn all_odd_messages_one_after_the_other_leave_a_session_that_works() {
    for format in [Format::Json, Format::Protobuf] {
        let mut peer = Peer::open(format);
        for odd in messages() {
            if odd.format == format && !odd.before_welcome {
                peer.odd(&odd);
                peer.goes_on(&odd.name);
            }
        }
    }
}
