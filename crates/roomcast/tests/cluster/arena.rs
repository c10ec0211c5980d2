//! Rooms whose state is the server's: players move, and see where the others are.

use std::sync::Arc;
use std::time::Duration;

use roomcast_client::session::JoinOptions;
use roomcast_client::{Action, Room};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fleet::Phase;
use crate::found::Rule;
use crate::guest::{Ends, Guest, Numbers, Sign, Watched};
use crate::random::Random;

/// From one move of a player to its next.
const EVERY: Duration = Duration::from_millis(100);
/// A move that is not seen is made again: an action has no answer, and is done now or not at all.
const AGAIN: Duration = Duration::from_secs(2);

/// So many players in a room, until the test is over.
pub async fn play(watched: Watched, number: usize, signs: Vec<Arc<Sign>>) {
    let (all, numbers) = (signs.len(), Arc::new(Numbers::default()));
    let ends = [all; 2].map(|of| Arc::new(Ends::of(of)));
    let mut players = JoinSet::new();
    for (place, sign) in signs.into_iter().enumerate() {
        let room = format!("arena:{number}");
        let guest = Guest::start(&watched, sign, &room, place, None, numbers.clone());
        players.spawn(player(guest, place, all, ends.clone()));
    }
    while let Some(done) = players.join_next().await {
        done.unwrap();
    }
}

async fn player(mut guest: Guest, place: usize, all: usize, [ends, over]: [Arc<Ends>; 2]) {
    if let Err(error) = guest.room.join(JoinOptions::default()).await {
        return guest.broken(Rule::Members, format_args!("could not join: {error}"));
    }
    let id = guest.client.client_id();
    let own_number = guest.room.members().unwrap_or_default().player_num;
    let mut random = Random(place as u64 + 1);
    while guest.talks() {
        let x = random.within(1_000..1_000_000) as f64;
        let _ = guest
            .room
            .action(&Action::new("move").at(x, place as f64, 0.0));
        let seen = guest.until(|room| x_of(room, &id) == Some(x));
        if let Ok(true) = timeout(AGAIN, seen).await {
            guest.answered();
            // Its pace.
            tokio::time::sleep(EVERY).await;
        }
    }
    let last = place as f64;
    loop {
        let _ = guest
            .room
            .action(&Action::new("move").at(last, place as f64, 0.0));
        let seen = guest.until(|room| x_of(room, &id) == Some(last));
        if timeout(AGAIN, seen).await.is_ok() {
            break;
        }
    }
    guest.set("last", place.into());
    let mut phase = guest.watched.phase.clone();
    let whole = |room: &Room| {
        let (state, members) = (room.state(), room.members().unwrap_or_default());
        let moved = state
            .values()
            .filter(|it| it.position.x == it.position.y)
            .count();
        let known = state.values().filter(|it| {
            let member = members.listed.get(&(it.player_num as u32));
            member.is_some_and(|member| member.player_id == it.player_id)
        });
        let there = Guest::sees(room, "last").into_values();
        let there = there
            .filter(|(connected, last)| *connected && last.is_u64())
            .count();
        [
            state.len(),
            moved,
            known.count(),
            there,
            members.listed.len(),
        ] == [all; 5]
    };
    if !(ends.reached(&mut phase).await && guest.until(whole).await) {
        let (state, members) = (guest.room.state(), guest.room.members());
        guest.broken(Rule::Truth, format_args!("sees {state:?} and {members:?}"));
    }
    // Who goes before is missed by the others.
    over.reached(&mut phase).await;
    let number = guest.room.members().unwrap_or_default().player_num;
    if number != own_number || guest.client.client_id() != id {
        let what = format!("was {own_number} ({id}), and is {number} in the end");
        guest.broken(Rule::Members, what);
    }
    let lost = std::mem::take(&mut guest.diary.lock().unwrap().lost);
    lost.iter()
        .for_each(|what| guest.broken(Rule::Members, what));
    if matches!(*phase.borrow(), Phase::Stop) {
        guest.broken(Rule::Truth, "the test had to be ended");
    }
}

/// Where a player is, as it sees it.
fn x_of(room: &Room, id: &str) -> Option<f64> {
    room.state().get(id).map(|state| state.position.x)
}
