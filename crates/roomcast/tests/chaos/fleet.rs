//! Clients in rooms of eight: each says things in its room and directly to its neighbour, and hears all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use roomcast_client::session::{Config, JoinOptions, SendOptions};
use roomcast_client::{
    Client, Content, Events, Format, HistoryRequest, Message, Publish, Recipient, Room, RoomEvent,
    Sending,
};
use tokio::sync::Barrier;

use crate::process::Process;

/// Members of a room.
pub const MEMBERS: usize = 8;
/// Messages of a member that wait for their answers.
const UNDER_WAY: usize = 4;
/// A direct message follows every so many chats.
const DIRECT_EVERY: usize = 4;

/// A room, and what its members tell each other beside it.
pub struct Group {
    pub room: String,
    pub url: String,
    pub chats: usize,
    pub all_in: Barrier,
    ids: Mutex<Vec<String>>,
}

impl Group {
    pub fn new(number: usize, url: &str, chats: usize) -> Arc<Group> {
        Arc::new(Group {
            room: format!("chaos:{number}"),
            url: url.to_owned(),
            chats,
            all_in: Barrier::new(MEMBERS),
            ids: Mutex::new(vec![String::new(); MEMBERS]),
        })
    }

    /// Direct messages of each member.
    pub fn directs(&self) -> usize {
        self.chats / DIRECT_EVERY
    }
}

/// A chat in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub epoch: String,
    pub offset: u64,
    pub from: String,
    pub seq: u64,
    pub text: String,
}

impl Heard {
    pub fn of(message: &Message) -> Option<Heard> {
        let Content::Chat(payload) = &message.content else {
            return None;
        };
        let place = message.position.clone().unwrap_or_default();
        Some(Heard {
            epoch: place.epoch,
            offset: place.offset,
            from: message.from.clone(),
            seq: message.seq,
            text: payload.as_text().unwrap().to_owned(),
        })
    }
}

/// What a member knows in the end. It stays until all have theirs.
pub struct Outcome {
    pub client: Client,
    /// Of each chat, in the order in which they were sent: the text and the place that the ack named.
    pub acked: Vec<(String, u64)>,
    pub heard: Vec<Heard>,
    pub direct: Vec<Heard>,
}

/// One that comes back quickly, so that much happens in a short time.
pub fn client(url: &str, place: usize) -> Client {
    let config = Config {
        format: [Format::Json, Format::Protobuf][place % 2],
        backoff_min_ms: 20,
        backoff_max_ms: 400,
        answer_ms: 4_000,
        ..Config::default()
    };
    Client::builder(url).config(config).connect().unwrap()
}

/// Says all that it has to say, and hears all that the others have.
pub async fn member(group: Arc<Group>, place: usize) -> Outcome {
    let client = client(&group.url, place);
    let room = client.room(&group.room);
    let (events, inbox) = (room.events(), client.direct_messages());
    room.join(JoinOptions::default()).await.unwrap();
    group.ids.lock().unwrap()[place] = client.client_id();
    group.all_in.wait().await;
    let neighbour = group.ids.lock().unwrap()[(place + 1) % MEMBERS].clone();
    let (acked, (heard, direct)) = tokio::join!(
        say_all(&client, &room, &group, place, neighbour),
        hear_all(events, inbox, MEMBERS * group.chats, group.directs()),
    );
    Outcome {
        client,
        acked,
        heard,
        direct,
    }
}

async fn say_all(
    client: &Client,
    room: &Room,
    group: &Group,
    place: usize,
    neighbour: String,
) -> Vec<(String, u64)> {
    let mut acked = Vec::new();
    let mut chats: VecDeque<(String, Sending)> = VecDeque::new();
    let mut directs = VecDeque::new();
    for number in 0..group.chats {
        let text = format!("{place} {number}");
        chats.push_back((text.clone(), room.chat(text)));
        if number % DIRECT_EVERY == DIRECT_EVERY - 1 {
            let psst = Publish::Chat(number.to_string().into());
            let to = Recipient::Client(neighbour.clone());
            directs.push_back(client.direct(to, psst, SendOptions::default()));
        }
        if chats.len() > UNDER_WAY {
            acked.extend(first_answer(&mut chats).await);
        }
        if directs.len() > UNDER_WAY {
            directs.pop_front().unwrap().await.unwrap();
        }
    }
    while let Some(answer) = first_answer(&mut chats).await {
        acked.push(answer);
    }
    for sending in directs {
        sending.await.unwrap();
    }
    acked
}

async fn first_answer(chats: &mut VecDeque<(String, Sending)>) -> Option<(String, u64)> {
    let (text, sending) = chats.pop_front()?;
    Some((text, sending.await.unwrap().offset))
}

/// Until so many have come. What is told of a loss, or of somebody leaving, is one too many.
async fn hear_all(
    mut events: Events,
    mut inbox: Events,
    chats: usize,
    directs: usize,
) -> (Vec<Heard>, Vec<Heard>) {
    let (mut heard, mut direct) = (Vec::new(), Vec::new());
    let mut joined = false;
    while heard.len() < chats || direct.len() < directs {
        let (event, into) = tokio::select! {
            event = events.next() => (event, &mut heard),
            event = inbox.next() => (event, &mut direct),
        };
        match event.expect("the client was closed") {
            RoomEvent::Message(message) => {
                let left = matches!(message.content, Content::PlayerLeft { .. });
                assert!(!left, "a drop was taken for a leave: {message:?}");
                into.extend(Heard::of(&message));
            }
            RoomEvent::Joined { recovered } => {
                assert!(recovered || !joined, "the room was joined anew");
                joined = true;
            }
            lost @ (RoomEvent::Gap { .. } | RoomEvent::Left(_) | RoomEvent::Refused { .. }) => {
                panic!("{lost:?} after {} of {chats}", heard.len());
            }
            RoomEvent::Members | RoomEvent::Sync(_) => {}
        }
    }
    (heard, direct)
}

/// What the server has in a room's log, from its beginning.
pub async fn log_of(auditor: &Client, room: &str) -> Vec<Heard> {
    let room = auditor.room(room);
    room.join(JoinOptions::default()).await.unwrap();
    let mut history = room.history(HistoryRequest {
        after: Some(0),
        ..HistoryRequest::default()
    });
    let mut log = Vec::new();
    while let Some(message) = history.next().await.unwrap() {
        log.extend(Heard::of(&message));
    }
    room.leave().await;
    log
}

/// A client of its own, over a wire without faults.
pub fn auditor(server: &Process) -> Client {
    Client::connect(&format!("ws://{}", server.address)).unwrap()
}
