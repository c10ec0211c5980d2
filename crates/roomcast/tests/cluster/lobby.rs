//! Rooms for a few players, and more clients than that, which come and go. One user has two of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roomcast_client::session::JoinOptions;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::capacity::{Log, Stay, capacity};
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
                offset: guest.room.position().map_or(0, |it| it.offset),
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

/// Who stays has seen each other player come, go and come, and come no more often than it had asked to by then.
fn each_once(name: &str, logs: &[Log], found: &Found) {
    let mut came: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    let others = logs
        .iter()
        .flat_map(|log| log.others.iter().map(move |it| (log, it)));
    for (stays, (at, _, event)) in others {
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
        let stays = logs.iter().filter(|it| it.player == *player);
        let asked = stays.flat_map(|it| &it.stays).filter(|it| it.asked <= *at);
        let asked = asked.count();
        if joins && *joined > asked {
            let what =
                format!("{name} saw {player} come {joined} times, which had asked {asked} times");
            found.broken(Rule::Members, what);
        }
    }
}
