//! A session on a model network, and whether what it is told is true.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roomcast_client::session::{Config, Event, Session, Status, Ticket};
use roomcast_client::{Content, Format, Message, code};

use super::{Server, What};

pub enum Down {
    Message(Vec<u8>),
    Close(u16),
}

/// A connection as its client has it.
pub struct Wire {
    pub id: u64,
    pub up: VecDeque<(u64, Vec<u8>)>,
    pub down: VecDeque<(u64, Down)>,
    pub stalled_until: u64,
}

pub struct Pending {
    pub room: Option<&'static str>,
    pub text: String,
    pub aborted: bool,
    /// The server may have forgotten it: its session or room was lost, or the room was left.
    pub excused: bool,
}

pub struct Peer {
    pub session: Session,
    pub wire: Option<Wire>,
    pub format: Format,
    /// Where it wants to be.
    pub joined: BTreeSet<&'static str>,
    pub pending: BTreeMap<Ticket, Pending>,
    /// What the last event or gap of a room was.
    pub last: BTreeMap<String, (String, u64)>,
    pub received: BTreeSet<(String, String)>,
    pub mail: Option<(String, u64)>,
    pub mailed: BTreeSet<String>,
    pub gaps: u64,
}

pub fn peer(format: Format) -> Peer {
    Peer {
        session: Session::new(Config {
            format,
            ..Config::default()
        }),
        wire: None,
        format,
        joined: BTreeSet::new(),
        pending: BTreeMap::new(),
        last: BTreeMap::new(),
        received: BTreeSet::new(),
        mail: None,
        mailed: BTreeSet::new(),
        gaps: 0,
    }
}

impl Peer {
    pub fn expect(
        &mut self,
        ticket: Ticket,
        room: Option<&'static str>,
        text: String,
        short: bool,
    ) {
        let pending = Pending {
            room,
            text,
            aborted: short,
            excused: false,
        };
        assert!(self.pending.insert(ticket, pending).is_none());
    }

    /// What it was told is true.
    pub fn check(
        &mut self,
        server: &Server,
        now: u64,
        done: &mut BTreeSet<(&'static str, String)>,
        not_done: &mut BTreeMap<String, String>,
    ) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Settled { ticket, result } => {
                    let pending = self.pending.remove(&ticket).expect("settled twice");
                    match (result, pending.room) {
                        (Ok(receipt), room) => {
                            assert!(receipt.offset > 0 && receipt.seq > 0);
                            if let Some(room) = room {
                                done.insert((room, pending.text));
                            }
                        }
                        (Err(error), _) => match error.code() {
                            code::UNCONFIRMED => {
                                assert!(pending.excused, "{} at {now}: {error}", pending.text);
                            }
                            code::ABORTED | code::EXPIRED => {
                                assert!(pending.aborted, "{error}");
                                not_done.insert(pending.text, format!("{error} at {now}"));
                            }
                            code::LEFT | "forbidden" | "recipient_not_found" => {
                                not_done.insert(pending.text, format!("{error} at {now}"));
                            }
                            // To a room that was left, what was refused for now is not sent again.
                            "rate_limited" | "unavailable" | "seq_gap" => {}
                            other => panic!("{other} at {now}"),
                        },
                    }
                }
                Event::Joined { room, .. } => {
                    if !self.last.contains_key(&*room)
                        && let Some(position) = self.session.position(&room)
                    {
                        let last = (position.epoch.clone(), position.offset);
                        self.last.insert(room.to_string(), last);
                    }
                }
                Event::Gap { room, now, .. } => {
                    self.gaps += 1;
                    let place = (now.epoch, now.offset);
                    match room {
                        Some(room) => drop(self.last.insert(room.to_string(), place)),
                        None => self.mail = Some(place),
                    }
                }
                Event::Message { room, message } => self.message(server, &room, message),
                Event::Direct(message) => self.direct(server, message),
                Event::Status(Status::Connected { resumed: false }) => {
                    self.pending.values_mut().for_each(|it| it.excused = true);
                }
                Event::Left { room, error } => assert!(error.is_none(), "{room}: {error:?}"),
                Event::Unreadable(error) => panic!("{error}"),
                Event::Status(Status::Closed(error)) => panic!("{error}"),
                _ => {}
            }
        }
    }

    fn message(&mut self, server: &Server, room: &str, message: Message) {
        let place = message.position.clone().unwrap();
        let (epoch, offset) = self
            .last
            .get(room)
            .cloned()
            .expect("an event before `Joined`");
        assert_eq!(
            epoch, place.epoch,
            "the log of {room} is another one, and there was no gap"
        );
        assert!(place.offset > offset, "{room}: {place:?} after {offset}");
        // What lies between was received in an epoch before.
        let log = match server.rooms.get(room).filter(|it| it.epoch == epoch) {
            Some(room) => &room.log,
            None => {
                let mut past = server.past.iter();
                &past
                    .find(|(name, it, _)| name == room && *it == epoch)
                    .unwrap()
                    .2
            }
        };
        for logged in log
            .iter()
            .filter(|it| it.offset > offset && it.offset < place.offset)
        {
            match &logged.what {
                What::Said(text) => {
                    let known = (room.to_owned(), text.clone());
                    assert!(self.received.contains(&known), "{text} was not received");
                }
                other => panic!("{other:?} was not received"),
            }
        }
        if let Content::Chat(payload) = &message.content {
            let text = payload.as_text().unwrap().to_owned();
            let new = self.received.insert((room.to_owned(), text.clone()));
            assert!(new, "{text} came twice");
        }
        self.last
            .insert(room.to_owned(), (place.epoch, place.offset));
    }

    fn direct(&mut self, server: &Server, message: Message) {
        let place = message.position.clone().unwrap();
        let (epoch, offset) = self.mail.clone().unwrap_or_default();
        assert!(
            epoch == place.epoch || epoch.is_empty(),
            "another inbox, and no gap"
        );
        assert!(place.offset > offset, "{place:?} after {offset}");
        // What lies between was received in an inbox before.
        for (_, _, text) in server
            .mailed
            .iter()
            .filter(|(inbox, at, _)| *inbox == place.epoch && *at > offset && *at < place.offset)
        {
            assert!(self.mailed.contains(text), "{text} was not received");
        }
        self.mail = Some((place.epoch, place.offset));
        let Content::Chat(payload) = &message.content else {
            panic!("{message:?}");
        };
        let new = self.mailed.insert(payload.as_text().unwrap().to_owned());
        assert!(new, "{payload:?} came twice");
    }
}
