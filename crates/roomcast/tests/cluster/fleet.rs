//! Clients in rooms, all through one balancer: each says things in its room and directly to its neighbour for as long as
//! it is to, and writes down what it is told. The first two of a room are one user.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roomcast_client::session::{JoinOptions, Receipt, SendOptions, Status};
use roomcast_client::{
    Client, Content, Error, Events, Message, Publish, Recipient, RoomEvent, Sending,
};
use roomcast_server::auth::{NewToken, Signer};
use tokio::sync::{Barrier, watch};
use tokio::time::MissedTickBehavior;

use crate::found::Rule;
use crate::guest::{Guest, Numbers, Sign, Watched};
use crate::history::{Page, read};

/// A direct message follows every so many chats, and another presence.
const DIRECT_EVERY: u64 = 4;
/// The key of a member's presence that says how many chats it has sent.
const SAID: &str = "said";
/// Messages of a member that wait for their answers.
const UNDER_WAY: usize = 8;

/// Ends the last text of a member.
pub const END: &str = "end";

/// What the tokens of users are signed with, on all nodes.
pub const TOKEN_SECRET: &str = "of the tokens of these tests, thirty-two bytes long";

/// A token of a user, for all that may be done.
pub fn token(user: &str) -> String {
    let signer = Signer::from_secret(TOKEN_SECRET.as_bytes()).unwrap();
    let ttl = Duration::from_secs(6 * 3_600);
    let user = user.to_owned();
    let token = NewToken {
        user,
        ttl,
        ..NewToken::default()
    };
    signer.sign(&token).unwrap()
}

/// How many talk, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub rooms: usize,
    pub members: usize,
    /// From one chat of a member to its next.
    pub every: Duration,
    /// Rooms that have fewer places than clients that want in.
    pub lobbies: usize,
    /// Rooms whose state is the server's.
    pub arenas: usize,
}

impl Load {
    /// Players of a room: the first two of its members are one.
    pub fn players(&self) -> usize {
        self.members - 1
    }
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
    /// For its answer.
    pub waited: Duration,
}

/// Something that was told.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: Instant,
    pub epoch: String,
    pub offset: u64,
    /// The room's clock.
    pub timestamp: i64,
    pub from: String,
    pub text: String,
}

/// Something that was not done, or of which nobody could say.
#[derive(Debug)]
pub struct Refused {
    pub text: String,
    /// The clients that it was for; empty: the room.
    pub to: Vec<String>,
    pub sent: Instant,
    /// For its answer.
    pub waited: Duration,
    pub error: Error,
}

/// What a member has said.
#[derive(Debug, Default)]
pub struct Said {
    pub acked: Vec<Acked>,
    /// With the clients that they were for; the offset 0 says nothing.
    pub direct: Vec<(String, Acked)>,
    pub refused: Vec<Refused>,
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
    /// What it has read of the room's history.
    pub pages: Vec<Page>,
    /// What became of its connections.
    pub statuses: Vec<(Instant, String)>,
}

/// What a room's members share.
pub struct Hall {
    pub number: usize,
    pub numbers: Arc<Numbers>,
    all_in: Barrier,
    ids: Mutex<Vec<String>>,
}

impl Hall {
    pub fn new(number: usize, members: usize) -> Arc<Hall> {
        Arc::new(Hall {
            number,
            numbers: Arc::default(),
            all_in: Barrier::new(members),
            ids: Mutex::new(vec![String::new(); members]),
        })
    }
}

/// A member that runs.
pub struct Member {
    pub watched: Watched,
    pub sign: Arc<Sign>,
    pub hall: Arc<Hall>,
    pub place: usize,
    pub load: Load,
    /// What it has said, once that is all.
    pub said: Arc<Mutex<Option<Said>>>,
}

impl Member {
    pub async fn run(self) -> Witness {
        let number = self.hall.number;
        let user = (self.place < 2).then(|| format!("user-{number}"));
        let mut guest = Guest::start(
            &self.watched,
            self.sign.clone(),
            &format!("hall:{number}"),
            self.place,
            user.as_deref().map(token),
            self.hall.numbers.clone(),
        );
        let statuses = Arc::new(Mutex::new(Vec::new()));
        let watches = tokio::spawn(watch_status(guest.client.status(), statuses.clone()));
        let (events, inbox) = (guest.room.events(), guest.client.direct_messages());
        guest.room.join(JoinOptions::default()).await.unwrap();
        let id_before = guest.client.client_id();
        let number_before = guest.room.members().unwrap_or_default().player_num;
        self.hall.ids.lock().unwrap()[self.place] = id_before.clone();
        self.hall.all_in.wait().await;
        let own = id_before.clone();
        let of_room = move |expected: &Expected| expected.rooms.get(&number).cloned();
        let of_inbox = move |expected: &Expected| expected.direct.get(&own).cloned();
        let phase = &self.watched.phase;
        let reads = async {
            match self.place {
                0 => read(&guest.room, phase.clone()).await,
                _ => Vec::new(),
            }
        };
        let ((), told, direct, mut pages) = tokio::join!(
            self.talk(&guest, self.to()),
            hear(events, phase.clone(), of_room),
            hear(inbox, phase.clone(), of_inbox),
            reads,
        );
        let players = self.load.players();
        let truth = |room: &roomcast_client::Room| {
            let sees = Guest::sees(room, SAID);
            sees.len() == players && sees.values().all(|it| *it == (true, END.into()))
        };
        if !guest.until(truth).await {
            let sees = guest.room.members();
            guest.broken(Rule::Truth, format_args!("sees {sees:?} in the end"));
        }
        if self.place == 0 {
            pages.push(Page::all(&guest.room).await);
        }
        let members = guest.room.members().unwrap_or_default();
        if members.player_num != number_before {
            let number = members.player_num;
            guest.broken(
                Rule::Members,
                format_args!("was {number_before}, and is {number}"),
            );
        }
        watches.abort();
        let closed = match &*guest.client.status().borrow() {
            Status::Closed(error) => Some(error.clone()),
            _ => None,
        };
        Witness {
            room: number,
            id_before,
            closed,
            client: guest.client.clone(),
            members: members.total,
            told,
            direct,
            pages,
            statuses: std::mem::take(&mut *statuses.lock().unwrap()),
        }
    }

    /// Whom it writes to, and the clients that get it. The last one writes to the user.
    fn to(&self) -> (Recipient, Vec<String>) {
        let ids = self.hall.ids.lock().unwrap();
        match ids.get(self.place + 1) {
            Some(neighbour) => (
                Recipient::Client(neighbour.clone()),
                vec![neighbour.clone()],
            ),
            None => {
                let user = format!("user-{}", self.hall.number);
                (Recipient::User(user), ids[..2].to_vec())
            }
        }
    }

    async fn talk(&self, guest: &Guest, (recipient, to): (Recipient, Vec<String>)) {
        let mut phase = self.watched.phase.clone();
        let (client, room) = (&guest.client, &guest.room);
        let mut said = Said::default();
        // Not all at the same moment.
        let first = self.load.every * self.place as u32 / 8;
        let mut pace = tokio::time::interval_at((Instant::now() + first).into(), self.load.every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pending: VecDeque<Pending> = VecDeque::new();
        let mut number = 0;
        let mut ended = false;
        loop {
            let (talks, stops) = match *phase.borrow() {
                Phase::Talk => (true, false),
                Phase::End | Phase::Hear(_) => (false, false),
                Phase::Stop => (false, true),
            };
            if stops || ended && pending.is_empty() {
                break;
            }
            if !talks && !ended {
                ended = true;
                guest.set(SAID, END.into());
                pending.push_back(Pending::chat(room, format!("{} {END}", self.place)));
                let text = format!("psst {} {END}", self.place);
                pending.push_back(Pending::direct(client, &recipient, text));
            }
            tokio::select! {
                biased;
                result = answer(&mut pending), if !pending.is_empty() => {
                    let Some(Pending { text, direct, sent, .. }) = pending.pop_front() else { continue };
                    let waited = sent.elapsed();
                    match result {
                        Ok(Receipt { offset, .. }) => {
                            // Two inboxes have two offsets.
                            let offset = if direct && to.len() > 1 { 0 } else { offset };
                            let acked = Acked { text, offset, sent, waited };
                            match direct {
                                true => said.direct.extend(to.iter().map(|to| (to.clone(), acked.clone()))),
                                false => said.acked.push(acked),
                            }
                        }
                        Err(error) => {
                            let to = if direct { to.clone() } else { Vec::new() };
                            said.refused.push(Refused { text, to, sent, waited, error });
                        }
                    }
                    guest.answered();
                }
                _ = pace.tick(), if talks && pending.len() < UNDER_WAY => {
                    number += 1;
                    pending.push_back(Pending::chat(room, format!("{} {number}", self.place)));
                    if number % DIRECT_EVERY == 0 {
                        guest.set(SAID, number.into());
                        let text = format!("psst {} {number}", self.place);
                        pending.push_back(Pending::direct(client, &recipient, text));
                    }
                }
                changed = phase.changed() => changed.unwrap(),
            }
        }
        if pending.is_empty() {
            *self.said.lock().unwrap() = Some(said);
        }
        self.watched.news.send_replace(());
    }
}

/// Writes down what becomes of a client's connections.
async fn watch_status(
    mut status: watch::Receiver<Status>,
    statuses: Arc<Mutex<Vec<(Instant, String)>>>,
) {
    loop {
        let now = format!("{:?}", *status.borrow_and_update());
        statuses.lock().unwrap().push((Instant::now(), now));
        if status.changed().await.is_err() {
            return;
        }
    }
}

struct Pending {
    text: String,
    direct: bool,
    sent: Instant,
    sending: Sending,
}

impl Pending {
    fn chat(room: &roomcast_client::Room, text: String) -> Pending {
        let sending = room.chat(text.clone());
        Pending {
            text,
            direct: false,
            sent: Instant::now(),
            sending,
        }
    }

    fn direct(client: &Client, to: &Recipient, text: String) -> Pending {
        let psst = Publish::Chat(text.clone().into());
        let sending = client.direct(to.clone(), psst, SendOptions::default());
        Pending {
            text,
            direct: true,
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
            // It is set again.
            RoomEvent::Refused { request, error }
                if request == "presence" && error.code() == "unavailable" => {}
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
        timestamp: message.timestamp,
        from: message.from.clone(),
        text: payload.as_text().unwrap().to_owned(),
    })
}
