//! What applications do.

use roomcast_client::session::{JoinOptions, SendOptions, Status};
use roomcast_client::{Action, HistoryRequest, Payload, Publish, Recipient, code};
use serde_json::{Map, Value};

use crate::peer::{Around, Peer};
use crate::setup::ROOMS;
use crate::view::Pending;
use crate::world::World;

impl World {
    /// Something that an application does.
    pub(crate) fn act(&mut self, who: usize) {
        let room = self.random.pick(&ROOMS);
        let other = self.random.below(self.peers.len() as u64) as usize;
        let other = &self.peers[other];
        let to = match other.user {
            Some(user) if self.random.chance(500) => Recipient::User(user.to_owned()),
            _ => Recipient::Client(other.session.client_id().to_owned()),
        };
        let what = self.random.below(1_000);
        if let Status::Closed(_) = self.peers[who].session.status() {
            return;
        }
        self.with(who, |peer, around| match what {
            0..120 => peer.join(room, around),
            120..140 => peer.leave(room, around),
            140..180 => peer.abort(around),
            180..300 => peer.direct(to, around),
            300..330 => peer.show(room, around),
            330..350 => peer.ephemeral(room, around),
            350..400 => peer.move_about(around),
            400..425 => peer.read_back(room, around),
            425..435 => drop(peer.session.members_page(around.now, room, 0, 2)),
            435..445 => peer.session.wake(around.now),
            445..452 => {
                around.facts.reloads += 1;
                let goodbye = around.random.chance(500);
                peer.reload(goodbye, around);
            }
            452..456 => peer.go(around),
            _ => peer.say(room, around),
        });
    }
}

impl Peer {
    fn join(&mut self, room: &'static str, around: &mut Around<'_>) {
        if self.view.joined.insert(room) {
            let nickname = around.random.chance(300).then(|| "nick".to_owned());
            let options = JoinOptions {
                nickname,
                ..JoinOptions::default()
            };
            self.session.join(around.now, room, options).unwrap();
        }
    }

    fn leave(&mut self, room: &'static str, around: &mut Around<'_>) {
        if self.view.joined.contains(room) {
            self.session.leave(around.now, room).unwrap();
            self.view.left(room);
        }
    }

    /// Says goodbye: what has no answer will have none.
    fn go(&mut self, around: &mut Around<'_>) {
        let pending = self.view.pending.values_mut();
        pending.for_each(|it| it.excused = true);
        self.session.close(around.now);
    }

    fn abort(&mut self, around: &mut Around<'_>) {
        let which = around.random.below(self.view.pending.len() as u64) as usize;
        if let Some((ticket, pending)) = self.view.pending.iter_mut().nth(which) {
            pending.aborted = true;
            self.session.abort(around.now, *ticket);
        }
    }

    fn say(&mut self, room: &'static str, around: &mut Around<'_>) {
        let (number, publish, options) = draw(around);
        match self.session.send(around.now, room, publish, options) {
            Ok(ticket) => {
                let pending = Pending {
                    room: Some(room),
                    number,
                    aborted: options.ttl_ms.is_some(),
                    excused: false,
                };
                self.view.pending.insert(ticket, pending);
            }
            Err(error) if error.code() == code::NOT_JOINED => {
                assert!(!self.view.joined.contains(room));
            }
            Err(error) => assert!(
                [code::OUTBOX_FULL, code::CLOSED].contains(&error.code()),
                "{error}"
            ),
        }
    }

    fn direct(&mut self, to: Recipient, around: &mut Around<'_>) {
        let (Recipient::Client(name) | Recipient::User(name)) = &to;
        if name.is_empty() {
            return;
        }
        let name = name.clone();
        let (number, publish, options) = draw(around);
        if let Ok(ticket) = self.session.direct(around.now, to, publish, options) {
            around.facts.mail_sent(number, &name);
            let pending = Pending {
                room: None,
                number,
                aborted: options.ttl_ms.is_some(),
                excused: false,
            };
            self.view.pending.insert(ticket, pending);
        }
    }

    fn show(&mut self, room: &str, around: &mut Around<'_>) {
        let mut keys = Map::new();
        keys.insert("mood".to_owned(), Value::from(around.random.below(9)));
        // Not joined: nothing to show.
        let _ = self.session.presence(around.now, room, keys);
    }

    /// Shows something in each room.
    pub(crate) fn show_all(&mut self, around: &mut Around<'_>) {
        for room in self.view.joined.clone() {
            self.show(room, around);
        }
    }

    fn ephemeral(&mut self, room: &str, around: &mut Around<'_>) {
        let payload = Payload::text("typing");
        // Now, or not at all.
        let _ = self
            .session
            .ephemeral(around.now, room, "typing", &payload, None);
    }

    fn move_about(&mut self, around: &mut Around<'_>) {
        let x = around.random.below(100) as f64;
        let action = match around.random.below(3) {
            0 => Action::new("wave"),
            1 => Action::new("attack").target(1),
            _ => Action::new("move").at(x, 1.0, 0.0),
        };
        let room = around.random.pick(&["arena:1", "arena:1", "chat:1"]);
        // Now, or not at all.
        let _ = self.session.action(around.now, room, &action);
    }

    fn read_back(&mut self, room: &'static str, around: &mut Around<'_>) {
        let random = &mut around.random;
        let request = HistoryRequest {
            limit: random.below(20) as u32,
            after: random.chance(500).then(|| random.below(50)),
            before: 0,
        };
        if let Ok(ticket) = self.session.history(around.now, room, request) {
            self.view.asked(ticket, room);
        }
    }
}

/// A message of any kind and length, and how it is to be sent.
fn draw(around: &mut Around<'_>) -> (u64, Publish, SendOptions) {
    let number = around.facts.number();
    let random = &mut around.random;
    let length = random.pick(&[0, 10, 60, 300]) as u64;
    let length = random.below(length + 1) as usize;
    let text = format!("{number} {}", "x".repeat(length));
    let event = |payload| Publish::Event {
        name: "said".to_owned(),
        payload,
    };
    let publish = match random.below(5) {
        0 => event(Payload::json(&text).unwrap()),
        1 => event(Payload::bytes(text.as_bytes())),
        _ => Publish::Chat(Payload::text(&text)),
    };
    let options = SendOptions {
        ttl_ms: random.chance(100).then(|| random.below(2_000)),
        no_echo: random.pick(&[None, None, None, Some(true), Some(false)]),
        at_least_once: false,
    };
    (number, publish, options)
}
