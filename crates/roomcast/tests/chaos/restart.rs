//! The server is killed and started again: clients come back, are told what was lost with its memory, and nothing that
//! is acked after that is lost.

use std::collections::HashSet;
use std::sync::Arc;

use roomcast_client::session::{JoinOptions, Status};
use roomcast_client::{Client, Events, Position, Room, RoomEvent, code};
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

use crate::fleet::{Heard, MEMBERS, auditor, client, log_of};
use crate::process::{Process, free_address, raise_file_limit};
use crate::{GROUPS, ONE, all_of, in_time};

/// Messages of each member after the restart.
const AFTER: usize = 8;
/// The server is killed when each member has so many answers, more or less.
const BEFORE: u64 = 5;

/// A room, and what its members wait for together.
struct Hall {
    room: String,
    url: String,
    all_in: Barrier,
    all_back: Barrier,
}

/// What a member knows in the end.
struct Witness {
    client: Client,
    id_before: String,
    /// Messages of which nobody could say what became of them.
    unconfirmed: usize,
    /// Of those sent after the restart: the text and the place that the ack named.
    acked: Vec<(String, u64)>,
    /// The last event before the gap, and after which the next one is.
    gap: (Position, Position),
    heard: Vec<Heard>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_told_of_and_nothing_acked_after_it_is_lost() {
    let _one = ONE.lock().await;
    kill(&[], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_secret_clients_are_the_same_after_a_kill_and_send_again_what_had_no_answer() {
    let _one = ONE.lock().await;
    let secret = "session.secret=of these tests, thirty-two bytes long";
    kill(&[secret], true).await;
}

async fn kill(settings: &[&str], same_id: bool) {
    raise_file_limit();
    let server = Process::start(free_address(), settings);
    let address = server.address;
    let (answers, mut answered) = watch::channel(0);
    let mut members = JoinSet::new();
    for number in 0..GROUPS {
        let hall = Arc::new(Hall {
            room: format!("hall:{number}"),
            url: format!("ws://{address}"),
            all_in: Barrier::new(MEMBERS),
            all_back: Barrier::new(MEMBERS),
        });
        for place in 0..MEMBERS {
            let (hall, answers) = (hall.clone(), answers.clone());
            members.spawn(async move {
                let witness = member(hall.clone(), place, answers).await;
                ((number, place), (hall, witness))
            });
        }
    }
    let enough = (GROUPS * MEMBERS) as u64 * BEFORE;
    in_time(answered.wait_for(|count| *count >= enough))
        .await
        .unwrap();
    server.kill();
    let server = Process::start(address, settings);

    let witnesses: Vec<_> = in_time(all_of(members)).await.into_values().collect();
    let auditor = auditor(&server);
    let mut unconfirmed = 0;
    for hall in witnesses.chunks(MEMBERS) {
        let log = in_time(log_of(&auditor, &hall[0].0.room)).await;
        for (_, witness) in hall {
            check(witness, &log);
            assert_eq!(witness.client.client_id() == witness.id_before, same_id);
            unconfirmed += witness.unconfirmed;
        }
    }
    eprintln!("{unconfirmed} messages without a confirmation");
    if same_id {
        assert_eq!(unconfirmed, 0);
    }
}

async fn member(hall: Arc<Hall>, place: usize, answers: watch::Sender<u64>) -> Witness {
    let client = client(&hall.url, place);
    let room = client.room(&hall.room);
    let events = room.events();
    room.join(JoinOptions::default()).await.unwrap();
    let id_before = client.client_id();
    hall.all_in.wait().await;
    let (tell, told) = watch::channel(None);
    let ((unconfirmed, acked), heard) = tokio::join!(
        talk(&client, &room, &hall, place, answers, told.clone()),
        hear(events, tell),
    );
    let gap = told.borrow().clone().unwrap();
    Witness {
        client,
        id_before,
        unconfirmed,
        acked,
        gap,
        heard,
    }
}

type Gap = Option<(Position, Position)>;

/// Talks until it is told of the restart, and when all of the room are says what has to arrive.
async fn talk(
    client: &Client,
    room: &Room,
    hall: &Hall,
    place: usize,
    answers: watch::Sender<u64>,
    told: watch::Receiver<Gap>,
) -> (usize, Vec<(String, u64)>) {
    let (mut number, mut unconfirmed) = (0, 0);
    while told.borrow().is_none() {
        match room.chat(format!("{place} before {number}")).await {
            Ok(_) => answers.send_modify(|count| *count += 1),
            Err(error) => {
                assert_eq!(error.code(), code::UNCONFIRMED, "{error}");
                unconfirmed += 1;
            }
        }
        number += 1;
    }
    let status = client.status().borrow().clone();
    // Resumed where an answer was so late that the client came once more.
    assert!(matches!(status, Status::Connected { .. }), "{status:?}");
    hall.all_back.wait().await;
    let texts = (0..AFTER).map(|number| format!("{place} after {number}"));
    let sent: Vec<_> = texts.map(|text| (text.clone(), room.chat(text))).collect();
    let mut acked = Vec::new();
    for (text, sending) in sent {
        acked.push((text, sending.await.unwrap().offset));
    }
    (unconfirmed, acked)
}

/// Until all that was said after the restart has come.
async fn hear(mut events: Events, tell: watch::Sender<Gap>) -> Vec<Heard> {
    let mut heard = Vec::new();
    let mut left = MEMBERS * AFTER;
    while left > 0 {
        match events.next().await.expect("the client was closed") {
            RoomEvent::Message(message) => {
                let Some(message) = Heard::of(&message) else {
                    continue;
                };
                left -= usize::from(message.text.contains("after"));
                heard.push(message);
            }
            RoomEvent::Gap { since, now } => {
                let before = tell.send_replace(Some((since.unwrap(), now)));
                assert_eq!(before, None, "a second gap");
            }
            RoomEvent::Left(error) => panic!("left: {error:?}"),
            _ => {}
        }
    }
    heard
}

/// Between the log of the server that was started last and what a member was told.
fn check(witness: &Witness, log: &[Heard]) {
    let (since, now) = &witness.gap;
    assert_ne!(since.epoch, now.epoch);
    let texts: HashSet<_> = witness.heard.iter().map(|heard| &heard.text).collect();
    assert_eq!(
        texts.len(),
        witness.heard.len(),
        "nothing twice, in both lives"
    );
    let split = witness.heard.partition_point(|it| it.epoch == since.epoch);
    let (before, after) = witness.heard.split_at(split);
    assert!(before.iter().all(|heard| heard.offset <= since.offset));
    // What was sent again to the new log and had been heard in the old one is no news.
    let known: HashSet<_> = before.iter().map(|it| (&it.from, it.seq)).collect();
    let news = |it: &&Heard| it.offset > now.offset && !known.contains(&(&it.from, it.seq));
    let expected: Vec<_> = log.iter().filter(news).cloned().collect();
    assert_eq!(after, expected, "all that the log has after the gap");
    for (text, offset) in &witness.acked {
        let place = log.iter().find(|heard| heard.text == *text);
        assert_eq!(place.map(|it| it.offset), Some(*offset), "{text}");
    }
}
