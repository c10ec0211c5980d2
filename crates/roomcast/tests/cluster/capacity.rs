//! No room has more players than it may have, and nobody is refused where there is a place.

use std::time::{Duration, Instant};

use crate::found::{Found, Rule};
use crate::guest::Came;
use crate::lobby::PLACES;

/// What is shown of the time around a refusal.
const SHOWN: Duration = Duration::from_secs(2);

/// A time in the room.
#[derive(Debug)]
pub struct Stay {
    pub asked: Instant,
    pub joined: Instant,
    /// A place in the room's log at which it was in.
    pub offset: u64,
    /// When it began to leave, and when that was answered.
    pub left: Option<(Instant, Instant)>,
}

/// What a client has done.
#[derive(Debug, Default)]
pub struct Log {
    pub player: String,
    pub stays: Vec<Stay>,
    /// From the question to the answer that the room is full.
    pub refused: Vec<(Instant, Instant)>,
    /// What who stays has seen of all, with its place in the room's log.
    pub others: Vec<(Instant, u64, Came)>,
}

/// From when to when a player is in.
type Time<'a> = (&'a str, Instant, Instant);

/// A player is surely in from the answer to its join until it begins to leave. It may be in from when it asks until its
/// leave is answered and who stays has seen it: where its connection is lost, it takes the leave for done. So there are never
/// more than [`PLACES`] that surely are, and nobody is refused where fewer may be.
pub fn capacity(name: &str, logs: &[Log], found: &Found) {
    let Some(stays) = logs.iter().find(|log| !log.others.is_empty()) else {
        return;
    };
    let end = Instant::now();
    let mut surely: Vec<Time<'_>> = Vec::new();
    let mut maybe: Vec<Time<'_>> = Vec::new();
    for log in logs {
        for stay in &log.stays {
            let (begins, left) = stay.left.unwrap_or((end, end));
            surely.push((&log.player, stay.joined, begins));
            // Who stays may have been cut off, and see the end of an earlier stay after this one has begun: the log tells
            // them apart.
            let seen = stays.others.iter().find(|(_, offset, came)| {
                *offset > stay.offset && matches!(came, Came::Left(it) if *it == log.player)
            });
            let seen = seen.map_or(end, |(at, ..)| *at);
            maybe.push((&log.player, stay.asked, left.max(seen)));
        }
    }
    for (player, at, _) in &surely {
        let there = players(&surely, *at);
        if there > PLACES {
            let times = shown(&surely, stays, (*at, *at));
            let what = format!("{name} had {there} players when {player} came: {times}");
            found.broken(Rule::Capacity, what);
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
                let times = shown(&maybe, stays, (*asked, *at));
                let what = format!(
                    "{name} refused {} with at most {most:?} players: {times}",
                    log.player
                );
                found.broken(Rule::Capacity, what);
            }
        }
    }
}

/// Who stays has no stay of its own in its log.
fn players(of: &[Time<'_>], at: Instant) -> usize {
    let there = of.iter().filter(|(_, from, to)| *from <= at && at < *to);
    let mut there: Vec<&str> = there.map(|(player, ..)| *player).collect();
    there.sort_unstable();
    there.dedup();
    there.len() + 1
}

/// Times around a moment as the players know them, and what the room has told of them, in milliseconds from then on. Who comes
/// there without a time of its own has a seat that nobody has asked for.
fn shown(times: &[Time<'_>], stays: &Log, (begin, end): (Instant, Instant)) -> String {
    let ms = |at: Instant| match at.checked_duration_since(begin) {
        Some(after) => after.as_millis() as i64,
        None => -((begin - at).as_millis() as i64),
    };
    let is_near = |from: Instant, to: Instant| from < end + SHOWN && to + SHOWN > begin;
    let mut lines = vec![format!("0 to {} ms", ms(end))];
    for (player, from, to) in times.iter().filter(|(_, from, to)| is_near(*from, *to)) {
        lines.push(format!("{player} from {} to {}", ms(*from), ms(*to)));
    }
    let mut is_in: Vec<&str> = Vec::new();
    for (at, offset, came) in &stays.others {
        match came {
            Came::Joined(player) => is_in.push(player),
            Came::Left(player) => is_in.retain(|it| it != player),
        }
        if is_near(*at, *at) {
            let at = ms(*at);
            lines.push(format!("told at {at}: {came:?} at {offset}, so {is_in:?}"));
        }
    }
    lines.join("\n    ")
}

/// What is found where one asks at 600 ms and is refused, while the one that stays was told so late of another's ends.
fn found_of(stays: &[[u64; 4]], ends: &[(u64, u64)]) -> usize {
    let begin = Instant::now() - SHOWN;
    let at = |ms: u64| begin + Duration::from_millis(ms);
    let ann = "ann".to_owned();
    let stay = |[asked, leaves, left, offset]: &[u64; 4]| Stay {
        asked: at(*asked),
        joined: at(*asked + 5),
        offset: *offset,
        left: Some((at(*leaves), at(*left))),
    };
    let bob = Log {
        player: "bob".to_owned(),
        stays: vec![stay(&[0, 900, 910, 1])],
        ..Log::default()
    };
    let cid = Log {
        refused: vec![(at(600), at(610))],
        ..Log::default()
    };
    let of_ann = Log {
        player: ann.clone(),
        stays: stays.iter().map(stay).collect(),
        others: (ends.iter())
            .map(|(ms, offset)| (at(*ms), *offset, Came::Left(ann.clone())))
            .chain([(at(920), 20, Came::Left(bob.player.clone()))])
            .collect(),
        ..Log::default()
    };
    let found = Found::default();
    capacity("lobby", &[of_ann, bob, cid], &found);
    found.take().0.all()
}

#[test]
fn a_place_is_taken_until_the_end_of_a_stay_is_told_and_not_that_of_the_one_before() {
    let (first, second) = ([10, 100, 110, 2], [400, 500, 510, 4]);
    assert_eq!(found_of(&[first], &[(120, 3)]), 1, "there is a place");
    // Its connection was lost when it left, so that it took that for done.
    assert_eq!(found_of(&[first, second], &[(120, 3), (700, 5)]), 0);
    assert_eq!(found_of(&[first, second], &[(450, 3), (700, 5)]), 0);
    assert_eq!(found_of(&[first, second], &[(450, 3), (520, 5)]), 1);
    assert_eq!(
        found_of(&[first, second], &[(450, 3)]),
        0,
        "it was not told"
    );
}
