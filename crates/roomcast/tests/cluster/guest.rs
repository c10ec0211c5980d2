//! A client in a room beside the fleet's talkers: what all of them do, and note.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use roomcast_client::session::Config;
use roomcast_client::{Client, Content, Format, Member, Room, RoomEvent};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::fleet::Phase;
use crate::found::{Found, Rule};

/// What those who watch share with the test.
#[derive(Clone)]
pub struct Watched {
    pub url: String,
    pub phase: watch::Receiver<Phase>,
    /// Told when something has happened that the test may wait for.
    pub news: Arc<watch::Sender<()>>,
    pub found: Arc<Found>,
}

/// What the test sees of a guest that runs.
#[derive(Default)]
pub struct Sign {
    /// Answers so far.
    pub answers: AtomicU64,
    /// Itself, once it runs.
    pub client: OnceLock<Client>,
}

/// Numbers that a room has given to players: never one to two.
#[derive(Default)]
pub struct Numbers(Mutex<BTreeMap<u32, String>>);

impl Numbers {
    pub fn note(&self, room: &str, number: u32, player: &str, found: &Found) {
        let mut given = self.0.lock().unwrap();
        let owner = given.entry(number).or_insert_with(|| player.to_owned());
        if owner != player {
            let what = format!("{room} gave number {number} to {owner} and to {player}");
            found.broken(Rule::Members, what);
            *owner = player.to_owned();
        }
    }

    /// Those of all members that are known to this one.
    pub fn note_all(&self, room: &Room, found: &Found) {
        for member in room.members().iter().flat_map(|it| it.listed.values()) {
            self.note(room.name(), member.player_num, &member.player_id, found);
        }
    }
}

/// What others were told to do.
#[derive(Clone, Debug)]
pub enum Came {
    Joined(String),
    Left(String),
}

/// What a guest was told of its room.
#[derive(Default)]
pub struct Diary {
    /// With their places in the log.
    pub others: Vec<(Instant, u64, Came)>,
    /// Joins that did not go on from where the client was.
    pub begun: usize,
    /// It lost its room, or events of it.
    pub lost: Vec<String>,
    frame: i64,
    /// The newest of all that it was told.
    pub told: VecDeque<String>,
}

/// What it was told last is shown where something is wrong.
const SHOWN: usize = 40;

/// A client in one room that notes what it is told.
pub struct Guest {
    pub name: String,
    pub watched: Watched,
    pub sign: Arc<Sign>,
    pub client: Client,
    pub room: Room,
    pub diary: Arc<Mutex<Diary>>,
    wanted: Arc<Mutex<Map<String, Value>>>,
    heard: watch::Receiver<()>,
    hears: tokio::task::JoinHandle<()>,
}

/// The settings of all clients of the fleet.
pub fn config(number: usize) -> Config {
    Config {
        format: [Format::Json, Format::Protobuf][number % 2],
        // So that much happens in a short time.
        backoff_min_ms: 20,
        backoff_max_ms: 400,
        answer_ms: 5_000,
        ..Config::default()
    }
}

impl Guest {
    pub fn start(
        watched: &Watched,
        sign: Arc<Sign>,
        room: &str,
        number: usize,
        token: Option<String>,
        numbers: Arc<Numbers>,
    ) -> Guest {
        let mut builder = Client::builder(&watched.url).config(config(number));
        if let Some(token) = token {
            builder = builder.token(token);
        }
        let client = builder.connect().unwrap();
        let _ = sign.client.set(client.clone());
        let room = client.room(room);
        let diary = Arc::new(Mutex::new(Diary::default()));
        let wanted = Arc::new(Mutex::new(Map::new()));
        let (tell, heard) = watch::channel(());
        let name = format!("{number} in {}", room.name());
        let hears = tokio::spawn({
            let mut events = room.events();
            let (room, diary, wanted) = (room.clone(), diary.clone(), wanted.clone());
            let (found, name) = (watched.found.clone(), name.clone());
            async move {
                while let Some(event) = events.next().await {
                    note(
                        event,
                        &name,
                        &mut diary.lock().unwrap(),
                        &room,
                        &wanted,
                        &found,
                    );
                    numbers.note_all(&room, &found);
                    tell.send_replace(());
                }
            }
        });
        Guest {
            name,
            watched: watched.clone(),
            sign,
            client,
            room,
            diary,
            wanted,
            heard,
            hears,
        }
    }

    pub fn talks(&self) -> bool {
        matches!(*self.watched.phase.borrow(), Phase::Talk)
    }

    /// Something was answered.
    pub fn answered(&self) {
        self.sign.answers.fetch_add(1, Ordering::Relaxed);
        self.watched.news.send_replace(());
    }

    /// Sets keys of its own entry; again, where the server had no time for it.
    pub fn set(&self, key: &str, value: Value) {
        self.wanted.lock().unwrap().insert(key.to_owned(), value);
        let _ = self
            .room
            .update_presence(self.wanted.lock().unwrap().clone());
    }

    /// Waits until it is so. False: the test is over before.
    pub async fn until(&mut self, done: impl Fn(&Room) -> bool) -> bool {
        loop {
            if done(&self.room) {
                return true;
            }
            if matches!(*self.watched.phase.borrow(), Phase::Stop) {
                return false;
            }
            tokio::select! {
                _ = self.heard.changed() => {}
                _ = self.watched.phase.changed() => {}
            }
        }
    }

    pub fn broken(&self, rule: Rule, what: impl std::fmt::Display) {
        self.watched
            .found
            .broken(rule, format!("{}: {what}", self.name));
    }

    /// Each entry of the room as this one sees it: whether it is connected, and a key of it.
    pub fn sees(room: &Room, key: &str) -> BTreeMap<String, (bool, Value)> {
        let entries = room.members().unwrap_or_default().listed.into_values();
        let entry = |member: Member| {
            let keys: Map<String, Value> =
                serde_json::from_str(&member.presence).unwrap_or_default();
            let value = keys.get(key).cloned().unwrap_or_default();
            (member.player_id, (member.connected, value))
        };
        entries.map(entry).collect()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.hears.abort();
    }
}

fn note(
    event: RoomEvent,
    name: &str,
    diary: &mut Diary,
    room: &Room,
    wanted: &Mutex<Map<String, Value>>,
    found: &Found,
) {
    if !matches!(event, RoomEvent::Sync(_)) {
        if diary.told.len() == SHOWN {
            diary.told.pop_front();
        }
        let sees = room.members().unwrap_or_default();
        let numbers: Vec<u32> = sees.listed.into_keys().collect();
        let told = format!("{}: {event:?}, sees {numbers:?}", crate::run::at());
        diary.told.push_back(told);
    }
    match event {
        RoomEvent::Message(message) => {
            let came = match message.content {
                Content::PlayerJoined(member) => Came::Joined(member.player_id),
                Content::PlayerLeft { player_id, .. } => Came::Left(player_id),
                _ => return,
            };
            let offset = message.position.map_or(0, |it| it.offset);
            diary.others.push((Instant::now(), offset, came));
        }
        RoomEvent::Joined { recovered } => diary.begun += usize::from(!recovered),
        RoomEvent::Gap { .. } => diary.lost.push("was told of a gap".to_owned()),
        RoomEvent::Left(Some(error)) if error.code() != "room_full" => {
            diary.lost.push(format!("left: {error}"));
        }
        RoomEvent::Refused { request, error } if error.code() == "unavailable" => {
            if request == "presence" {
                let _ = room.update_presence(wanted.lock().unwrap().clone());
            }
        }
        RoomEvent::Refused { request, error } => diary.lost.push(format!("{request}: {error}")),
        RoomEvent::Sync(sync) => {
            let (before, frame) = (diary.frame, sync.frame_num);
            if frame < before {
                found.broken(Rule::Frames, format!("{name} got {frame} after {before}"));
            }
            diary.frame = frame;
        }
        RoomEvent::Left(_) | RoomEvent::Members => {}
    }
}

/// All of a room who have come to their end.
#[derive(Default)]
pub struct Ends {
    ends: watch::Sender<usize>,
    of: usize,
    /// The test was over before.
    stopped: AtomicBool,
}

impl Ends {
    pub fn of(of: usize) -> Ends {
        Ends {
            of,
            ..Ends::default()
        }
    }

    /// Waits for the others too. False: the test is over before.
    pub async fn reached(&self, phase: &mut watch::Receiver<Phase>) -> bool {
        self.ends.send_modify(|ends| *ends += 1);
        let mut ends = self.ends.subscribe();
        loop {
            if *ends.borrow_and_update() == self.of {
                return true;
            }
            if matches!(*phase.borrow(), Phase::Stop) {
                self.stopped.store(true, Ordering::Relaxed);
                return false;
            }
            tokio::select! {
                _ = ends.changed() => {}
                _ = phase.changed() => {}
            }
        }
    }
}
