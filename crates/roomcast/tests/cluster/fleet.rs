//! Clients in rooms, all through one balancer: each says things in its room and directly to its neighbour for as long as
//! it is to, and writes down what it is told.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use roomcast_client::session::{Config, JoinOptions, Receipt, SendOptions, Status};
use roomcast_client::{
    Client, Content, Error, Events, Format, Message, Publish, Recipient, RoomEvent, Sending,
};
use tokio::sync::{Barrier, watch};
use tokio::time::MissedTickBehavior;

/// A direct message follows every so many chats.
const DIRECT_EVERY: u64 = 4;
/// Messages of a member that wait for their answers.
const UNDER_WAY: usize = 8;

/// Ends the last text of a member.
pub const END: &str = "end";

/// How many talk, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub rooms: usize,
    pub members: usize,
    /// From one chat of a member to its next.
    pub every: Duration,
    /// Whether they send direct messages.
    pub direct: bool,
}

/// What all members are to do.
#[derive(Clone, Debug)]
pub enum Phase {
    Talk,
    /// Say one thing more, which is the last.
    End,
    /// Listen until these were heard.
    Hear(Arc<Expected>),
    /// Say what was heard so far.
    Stop,
}

/// The last text that was acked of each member of a room, and of each sender of direct messages for a client. All that
/// they had sent before comes before it, or never.
#[derive(Debug, Default)]
pub struct Expected {
    pub rooms: BTreeMap<usize, HashSet<String>>,
    pub direct: BTreeMap<String, HashSet<String>>,
}

/// Something that was acked.
#[derive(Clone, Debug)]
pub struct Acked {
    pub text: String,
    pub offset: u64,
    pub sent: Instant,
}

/// Something that was told.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: Instant,
    pub epoch: String,
    pub offset: u64,
    pub from: String,
    pub text: String,
}

/// What a member has said.
#[derive(Debug, Default)]
pub struct Said {
    pub acked: Vec<Acked>,
    /// With the clients that they were for.
    pub direct: Vec<(String, Acked)>,
    pub refused: Vec<Error>,
}

/// What a member was told of one stream.
#[derive(Debug, Default)]
pub struct Told {
    pub heard: Vec<Heard>,
    /// When it was told that events may be missing.
    pub gaps: Vec<Instant>,
    /// When others were told to be gone.
    pub lefts: Vec<(Instant, String)>,
    /// When the room was joined without all that it missed, or left.
    pub anew: Vec<(Instant, String)>,
}

/// What a member knows in the end.
pub struct Witness {
    pub room: usize,
    pub id_before: String,
    pub client: Client,
    /// Why its client has given up.
    pub closed: Option<Error>,
    pub members: u64,
    pub told: Told,
    pub direct: Told,
}

/// What a room's members share.
pub struct Hall {
    pub number: usize,
    all_in: Barrier,
    ids: Mutex<Vec<String>>,
}

impl Hall {
    pub fn new(number: usize, members: usize) -> Arc<Hall> {
        Arc::new(Hall {
            number,
            all_in: Barrier::new(members),
            ids: Mutex::new(vec![String::new(); members]),
        })
    }
}

/// A member that runs.
pub struct Member {
    pub url: String,
    pub hall: Arc<Hall>,
    pub place: usize,
    pub every: Duration,
    pub direct: bool,
    pub phase: watch::Receiver<Phase>,
    /// Itself, once it runs.
    pub client: Arc<OnceLock<Client>>,
    /// Answers so far.
    pub answers: Arc<AtomicU64>,
    /// Told when something has happened that somebody may wait for.
    pub news: Arc<watch::Sender<()>>,
    /// What it has said, once that is all.
    pub said: Arc<Mutex<Option<Said>>>,
}

impl Member {
    pub async fn run(mut self) -> Witness {
        let config = Config {
            format: [Format::Json, Format::Protobuf][self.place % 2],
            // So that much happens in a short time.
            backoff_min_ms: 20,
            backoff_max_ms: 400,
            answer_ms: 5_000,
            ..Config::default()
        };
        let client = Client::builder(&self.url).config(config).connect().unwrap();
        let _ = self.client.set(client.clone());
        let room = client.room(&format!("hall:{}", self.hall.number));
        let (events, inbox) = (room.events(), client.direct_messages());
        room.join(JoinOptions::default()).await.unwrap();
        let id_before = client.client_id();
        self.hall.ids.lock().unwrap()[self.place] = id_before.clone();
        self.hall.all_in.wait().await;
        let neighbour = {
            let ids = self.hall.ids.lock().unwrap();
            ids[(self.place + 1) % ids.len()].clone()
        };
        let (number, own) = (self.hall.number, id_before.clone());
        let of_room = move |expected: &Expected| expected.rooms.get(&number).cloned();
        let of_inbox = move |expected: &Expected| expected.direct.get(&own).cloned();
        let (for_room, for_inbox) = (self.phase.clone(), self.phase.clone());
        let ((), told, direct) = tokio::join!(
            self.talk(&client, &room, neighbour),
            hear(events, for_room, of_room),
            hear(inbox, for_inbox, of_inbox),
        );
        let members = room.members().map_or(0, |members| members.total);
        let closed = match &*client.status().borrow() {
            Status::Closed(error) => Some(error.clone()),
            _ => None,
        };
        Witness {
            room: number,
            id_before,
            closed,
            client,
            members,
            told,
            direct,
        }
    }

    async fn talk(&mut self, client: &Client, room: &roomcast_client::Room, neighbour: String) {
        let mut said = Said::default();
        // Not all at the same moment.
        let first = self.every * self.place as u32 / 8;
        let mut pace = tokio::time::interval_at((Instant::now() + first).into(), self.every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pending: VecDeque<Pending> = VecDeque::new();
        let mut number = 0;
        let mut ended = false;
        loop {
            let (talks, stops) = match *self.phase.borrow() {
                Phase::Talk => (true, false),
                Phase::End | Phase::Hear(_) => (false, false),
                Phase::Stop => (false, true),
            };
            if stops || ended && pending.is_empty() {
                break;
            }
            if !talks && !ended {
                ended = true;
                pending.push_back(Pending::chat(room, format!("{} {END}", self.place)));
                if self.direct {
                    let text = format!("psst {} {END}", self.place);
                    pending.push_back(Pending::direct(client, &neighbour, text));
                }
            }
            tokio::select! {
                biased;
                result = answer(&mut pending), if !pending.is_empty() => {
                    let Some(Pending { text, to, sent, .. }) = pending.pop_front() else { continue };
                    match result {
                        Ok(Receipt { offset, .. }) => {
                            let acked = Acked { text, offset, sent };
                            match to {
                                Some(to) => said.direct.push((to, acked)),
                                None => said.acked.push(acked),
                            }
                        }
                        Err(error) => said.refused.push(error),
                    }
                    self.answers.fetch_add(1, Ordering::Relaxed);
                    self.news.send_replace(());
                }
                _ = pace.tick(), if talks && pending.len() < UNDER_WAY => {
                    number += 1;
                    pending.push_back(Pending::chat(room, format!("{} {number}", self.place)));
                    if self.direct && number % DIRECT_EVERY == 0 {
                        let text = format!("psst {} {number}", self.place);
                        pending.push_back(Pending::direct(client, &neighbour, text));
                    }
                }
                changed = self.phase.changed() => changed.unwrap(),
            }
        }
        if pending.is_empty() {
            *self.said.lock().unwrap() = Some(said);
        }
        self.news.send_replace(());
    }
}

struct Pending {
    text: String,
    to: Option<String>,
    sent: Instant,
    sending: Sending,
}

impl Pending {
    fn chat(room: &roomcast_client::Room, text: String) -> Pending {
        let sending = room.chat(text.clone());
        Pending {
            text,
            to: None,
            sent: Instant::now(),
            sending,
        }
    }

    fn direct(client: &Client, to: &str, text: String) -> Pending {
        let recipient = Recipient::Client(to.to_owned());
        let psst = Publish::Chat(text.clone().into());
        let sending = client.direct(recipient, psst, SendOptions::default());
        Pending {
            text,
            to: Some(to.to_owned()),
            sent: Instant::now(),
            sending,
        }
    }
}

/// Of the first; cancelled, it loses nothing.
async fn answer(pending: &mut VecDeque<Pending>) -> Result<Receipt, Error> {
    match pending.front_mut() {
        Some(first) => (&mut first.sending).await,
        None => std::future::pending().await,
    }
}

/// Writes down what comes until all that is expected has come.
async fn hear(
    mut events: Events,
    mut phase: watch::Receiver<Phase>,
    of: impl Fn(&Expected) -> Option<HashSet<String>>,
) -> Told {
    let mut told = Told::default();
    let mut missing: Option<HashSet<String>> = None;
    let mut joined = false;
    while missing.as_ref().is_none_or(|missing| !missing.is_empty()) {
        let event = tokio::select! {
            event = events.next() => event,
            _ = phase.changed() => {
                match &*phase.borrow_and_update() {
                    Phase::Hear(expected) => {
                        let mut all = of(expected).unwrap_or_default();
                        told.heard.iter().for_each(|heard| { all.remove(&heard.text); });
                        missing = Some(all);
                    }
                    Phase::Stop => break,
                    Phase::Talk | Phase::End => {}
                }
                continue;
            }
        };
        let Some(event) = event else {
            told.anew.push((Instant::now(), "closed".to_owned()));
            break;
        };
        let at = Instant::now();
        match event {
            RoomEvent::Message(message) => {
                if let Content::PlayerLeft { player_id, .. } = &message.content {
                    told.lefts.push((at, player_id.clone()));
                }
                if let Some(heard) = heard(at, &message) {
                    missing.iter_mut().for_each(|it| {
                        it.remove(&heard.text);
                    });
                    told.heard.push(heard);
                }
            }
            RoomEvent::Joined { recovered } => {
                if joined && !recovered {
                    told.anew.push((at, "not recovered".to_owned()));
                }
                joined = true;
            }
            RoomEvent::Gap { .. } => told.gaps.push(at),
            RoomEvent::Left(error) => told.anew.push((at, format!("left: {error:?}"))),
            RoomEvent::Refused { request, error } => {
                told.anew.push((at, format!("{request}: {error}")));
            }
            RoomEvent::Members | RoomEvent::Sync(_) => {}
        }
    }
    told
}

fn heard(at: Instant, message: &Message) -> Option<Heard> {
    let Content::Chat(payload) = &message.content else {
        return None;
    };
    let place = message.position.clone().unwrap_or_default();
    Some(Heard {
        at,
        epoch: place.epoch,
        offset: place.offset,
        from: message.from.clone(),
        text: payload.as_text().unwrap().to_owned(),
    })
}
