//! Rooms for a few players, and more clients than that, which come and go. One user has two of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roomcast_client::session::JoinOptions;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::fleet::{Phase, token};
use crate::found::{Found, Rule};
use crate::guest::{Came, Ends, Guest, Numbers, Sign, Watched};
use crate::random::Random;

/// Players of a room, as `kinds.lobby.max_players` says.
pub const PLACES: usize = 3;
/// Its clients: one that stays, five that come and go, and two that are of one user and come and go.
pub const CLIENTS: usize = 8;
/// Who is there in the end: as many players as there may be.
const LAST: [usize; PLACES] = [0, 1, SESSIONS];
/// The first of the user's.
const SESSIONS: usize = CLIENTS - 2;

/// A time in the room.
#[derive(Debug)]
struct Stay {
    asked: Instant,
    joined: Instant,
    /// When it began to leave, and when that was answered.
    left: Option<(Instant, Instant)>,
}

/// What a client has done.
#[derive(Debug, Default)]
struct Log {
    player: String,
    stays: Vec<Stay>,
    /// From the question to the answer that the room is full.
    refused: Vec<(Instant, Instant)>,
    others: Vec<(Instant, Came)>,
}

/// Until the test is over. Then what they did is compared.
pub async fn visit(watched: Watched, number: usize, signs: Vec<Arc<Sign>>) {
    let name = format!("lobby:{number}");
    let numbers = Arc::new(Numbers::default());
    let ends = [signs.len(); 2].map(|of| Arc::new(Ends::of(of)));
    let last: Arc<Mutex<BTreeMap<String, (bool, Value)>>> = Arc::default();
    let mut guests = JoinSet::new();
    for (place, sign) in signs.into_iter().enumerate() {
        let user = (place >= SESSIONS).then(|| token(&format!("guest-{number}")));
        let guest = Guest::start(&watched, sign, &name, place, user, numbers.clone());
        if place == 0 {
            // Who stays is there first.
            let joined = guest.room.join(JoinOptions::default()).await;
            assert!(joined.is_ok(), "{joined:?}");
        }
        guests.spawn(client(guest, place, ends.clone(), last.clone()));
    }
    let mut logs = Vec::new();
    while let Some(log) = guests.join_next().await {
        logs.push(log.unwrap());
    }
    capacity(&name, &logs, &watched.found);
    each_once(&name, &logs, &watched.found);
}

async fn client(
    mut guest: Guest,
    place: usize,
    [ends, over]: [Arc<Ends>; 2],
    last: Arc<Mutex<BTreeMap<String, (bool, Value)>>>,
) -> Log {
    let mut log = Log::default();
    let mut random = Random(place as u64 + 7);
    if place > 0 {
        while guest.talks() {
            if come(&guest, &mut log).await {
                guest.set("stay", log.stays.len().into());
                tokio::time::sleep(Duration::from_millis(random.within(50..300))).await;
                go(&guest, &mut log).await;
            }
            // Who is refused too often is taken for an attacker.
            tokio::time::sleep(Duration::from_millis(random.within(300..500))).await;
        }
    }
    let mut phase = guest.watched.phase.clone();
    let ends_talk = |phase: &Phase| !matches!(phase, Phase::Talk);
    let _ = phase.wait_for(ends_talk).await;
    // Where all was lost, somebody else may have taken its place.
    while LAST.contains(&place) && guest.room.members().is_none() && !come(&guest, &mut log).await {
        tokio::time::sleep(Duration::from_millis(random.within(300..500))).await;
    }
    log.player = match place >= SESSIONS {
        true => guest.room.name().replace("lobby:", "guest-"),
        false => guest.client.client_id(),
    };
    if LAST.contains(&place) {
        guest.set("last", place.into());
        let entry = (true, place.into());
        last.lock().unwrap().insert(log.player.clone(), entry);
    }
    let all = ends.reached(&mut phase).await;
    if LAST.contains(&place) {
        let last = last.lock().unwrap().clone();
        let whole = guest.until(|room| Guest::sees(room, "last") == last).await;
        if !all || !whole {
            let sees = guest.room.members();
            let told = &guest.diary.lock().unwrap().told;
            let what = format_args!("sees {sees:?} and not {last:?}, was told {told:#?}");
            guest.broken(Rule::Truth, what);
        }
    }
    // Who goes before is missed by the others.
    over.reached(&mut phase).await;
    let mut diary = std::mem::take(&mut *guest.diary.lock().unwrap());
    diary
        .lost
        .iter()
        .for_each(|what| guest.broken(Rule::Members, what));
    if diary.begun > log.stays.len().max(1) {
        let (begun, stays) = (diary.begun, log.stays.len());
        guest.broken(
            Rule::Members,
            format_args!("began {begun} times in {stays} stays"),
        );
    }
    if place == 0 {
        log.others = std::mem::take(&mut diary.others);
    }
    log
}

/// Whether it is in.
async fn come(guest: &Guest, log: &mut Log) -> bool {
    let asked = Instant::now();
    let joined = guest.room.join(JoinOptions::default()).await;
    guest.answered();
    match joined {
        Ok(_) => {
            let joined = Instant::now();
            log.stays.push(Stay {
                asked,
                joined,
                left: None,
            });
            return true;
        }
        Err(error) if error.code() == "room_full" => log.refused.push((asked, Instant::now())),
        // Redis has not confirmed anything for too long.
        Err(error) if error.code() == "unavailable" => {}
        Err(error) => guest.broken(Rule::Members, format_args!("could not join: {error}")),
    }
    false
}

async fn go(guest: &Guest, log: &mut Log) {
    let begins = Instant::now();
    guest.room.leave().await;
    guest.answered();
    if let Some(stay) = log.stays.last_mut() {
        stay.left = Some((begins, Instant::now()));
    }
}

/// A player is surely in from the answer to its join until it begins to leave. It may be in from when it asks until its
/// leave is answered and who stays has seen it. So there are never more than [`PLACES`] that surely are, and nobody is
/// refused where fewer may be.
fn capacity(name: &str, logs: &[Log], found: &Found) {
    let Some(stays) = logs.iter().find(|log| !log.others.is_empty()) else {
        return;
    };
    let end = Instant::now();
    let mut surely: Vec<(&str, Instant, Instant)> = Vec::new();
    let mut maybe: Vec<(&str, Instant, Instant)> = Vec::new();
    for log in logs {
        for stay in &log.stays {
            let (begins, left) = stay.left.unwrap_or((end, end));
            surely.push((&log.player, stay.joined, begins));
            let seen = stays.others.iter().find(|(at, came)| {
                *at > stay.joined && matches!(came, Came::Left(player) if *player == log.player)
            });
            let seen = seen.map_or(end, |(at, _)| *at);
            maybe.push((&log.player, stay.asked, left.max(seen)));
        }
    }
    // Who stays has no stay of its own in its log.
    let players = |of: &[(&str, Instant, Instant)], at: Instant| {
        let there = of.iter().filter(|(_, from, to)| *from <= at && at < *to);
        let mut there: Vec<&str> = there.map(|(player, ..)| *player).collect();
        there.sort_unstable();
        there.dedup();
        there.len() + 1
    };
    for (player, at, _) in &surely {
        let there = players(&surely, *at);
        if there > PLACES {
            found.broken(
                Rule::Capacity,
                format!("{name} had {there} players when {player} came"),
            );
        }
    }
    for log in logs {
        for (asked, at) in &log.refused {
            let within = maybe
                .iter()
                .map(|(_, from, _)| *from)
                .filter(|from| from > asked && from < at);
            let most = within.chain([*asked]).map(|at| players(&maybe, at)).max();
            if most.unwrap_or(0) < PLACES {
                let what = format!(
                    "{name} refused {} with at most {most:?} players",
                    log.player
                );
                found.broken(Rule::Capacity, what);
            }
        }
    }
}

/// Who stays has seen each other player come, go and come, and come no more often than it did.
fn each_once(name: &str, logs: &[Log], found: &Found) {
    let mut came: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    let others = logs
        .iter()
        .flat_map(|log| log.others.iter().map(move |it| (log, it)));
    for (stays, (_, event)) in others {
        let (player, joins) = match event {
            Came::Joined(player) => (player, true),
            Came::Left(player) => (player, false),
        };
        // It has seen itself come.
        if *player == stays.player && joins {
            continue;
        }
        let (joined, is_in) = came.entry(player).or_default();
        if *is_in == joins {
            let what = format!("{name} saw {player} {event:?} twice in a row");
            found.broken(Rule::Members, what);
        }
        *is_in = joins;
        *joined += usize::from(joins);
    }
    for (player, (joined, _)) in came {
        let stays: usize = logs
            .iter()
            .filter(|it| it.player == player)
            .map(|it| it.stays.len())
            .sum();
        if joined > stays {
            let what = format!("{name} saw {player} come {joined} times, which came {stays} times");
            found.broken(Rule::Members, what);
        }
    }
}
