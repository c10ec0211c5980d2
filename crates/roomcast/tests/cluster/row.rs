//! Compares what was acked with what was heard: one row for each fault.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use crate::fleet::{Acked, Heard, Load, Said, Told, Witness};
use crate::found::{Counts, Found, Rule};
use crate::{history, lobby};

/// Findings that are told in words.
const IN_WORDS: usize = 20;

/// The default of `redis.patience`.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found in the order of messages: of rooms, or of inboxes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streams {
    /// Acked, and not heard by a client that was there, without a word.
    pub lost: usize,
    /// The same, where the client was told of a gap after it was sent.
    pub told: usize,
    /// Heard again.
    pub twice: usize,
    /// Heard in another order than by others, than its offsets, or than it was sent; or not where its ack said.
    pub disorder: usize,
    /// Told of a gap, joined without what was missed, or lost a room.
    pub anew: usize,
}

impl Streams {
    const HEAD: &str = "lost told twice disorder anew";

    /// What may never be.
    fn broken(&self) -> usize {
        self.lost + self.twice + self.disorder
    }

    /// What may be where something is gone for good.
    fn known(&self) -> usize {
        self.told + self.anew
    }
}

/// What a fault has done.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub clients: usize,
    pub acked: usize,
    pub rooms: Streams,
    /// What clients were told of their direct messages.
    pub inboxes: Streams,
    /// Seen to leave, though nobody did.
    pub left: usize,
    /// Came back as somebody else, or sees other members than there are.
    pub others: usize,
    /// Numbered messages that were not done, or of which nobody could say.
    pub refused: usize,
    /// Never came to an end, or has given up for good.
    pub stuck: usize,
    /// Of the rules that are no order of messages.
    pub broken: Counts,
    /// Longest time in which a member heard nothing in its room while it talked.
    pub pause: Duration,
    /// Whose that was, and what became of its connections meanwhile.
    pub paused: String,
    /// The first findings. Times are from when the fault began.
    pub words: Vec<String>,
    since: Instant,
}

impl Row {
    pub fn of(
        name: String,
        load: Load,
        said: &[(usize, Said)],
        witnesses: &[Witness],
        talked: (Instant, Instant),
        stuck: usize,
        found: &Found,
    ) -> Row {
        let mut row = Row {
            name,
            clients: (load.rooms + load.arenas) * load.members + load.lobbies * lobby::CLIENTS,
            acked: said
                .iter()
                .map(|(_, it)| it.acked.len() + it.direct.len())
                .sum(),
            rooms: Streams::default(),
            inboxes: Streams::default(),
            left: 0,
            others: 0,
            refused: 0,
            stuck,
            broken: Counts::default(),
            pause: Duration::ZERO,
            paused: String::new(),
            words: Vec::new(),
            since: talked.0,
        };
        for member in witnesses {
            if let Some(error) = &member.closed {
                row.stuck += 1;
                row.broken(|| format!("the client of {} has given up: {error}", member.id_before));
            }
        }
        for it in said.iter().flat_map(|(_, it)| &it.refused) {
            row.refused += 1;
            let (at, after, to) = (row.time(it.sent), it.waited, &it.to);
            row.word(|| {
                let (text, error) = (&it.text, &it.error);
                format!("refused: {text:?} for {to:?}, sent {at}, after {after:.1?}: {error}")
            });
        }
        for room in 0..load.rooms {
            let acked: Vec<&Acked> = (said.iter().filter(|(of, _)| *of == room))
                .flat_map(|(_, it)| &it.acked)
                .collect();
            let members: Vec<&Witness> = witnesses.iter().filter(|it| it.room == room).collect();
            let longest = members.iter().max_by_key(|it| it.told.heard.len());
            let order: HashMap<&str, usize> = longest
                .iter()
                .flat_map(|it| it.told.heard.iter().enumerate())
                .map(|(place, heard)| (heard.text.as_str(), place))
                .collect();
            history::check(room, &members, found);
            for member in members {
                let who = format!("{} in hall:{room}", member.id_before);
                row.room(&who, &member.told, &acked);
                row.order(&who, &member.told.heard, &order);
                let (paused, from) = pause(&member.told.heard, talked);
                if paused > row.pause {
                    row.pause = paused;
                    row.paused = row.told_of(&who, from, paused, &member.statuses);
                }
                let direct: Vec<&Acked> = (said.iter().flat_map(|(_, it)| &it.direct))
                    .filter(|(to, _)| *to == member.id_before)
                    .map(|(_, acked)| acked)
                    .collect();
                row.inbox(&format!("the inbox of {who}"), &member.direct, &direct);
                if member.client.client_id() != member.id_before {
                    row.others += 1;
                    row.word(|| format!("{who} has another id now"));
                }
                let there = load.players() as u64;
                if member.members != there {
                    row.others += 1;
                    row.word(|| format!("{who} sees {} of {there} members", member.members));
                }
            }
        }
        let (broken, words) = found.take();
        row.broken = broken;
        row.words.extend(words);
        row
    }

    /// Whether all promises were kept.
    pub fn is_clean(&self) -> bool {
        self.is_clean_in_rooms() && self.inboxes.known() == 0
    }

    /// The same, but that inboxes may lack what is told.
    pub fn is_clean_in_rooms(&self) -> bool {
        let others = self.rooms.known() + self.others + self.left + self.refused;
        self.is_told() && others + self.broken.all() == 0
    }

    /// Whether nothing was lost in silence, and all went on.
    pub fn is_told(&self) -> bool {
        let broken = self.rooms.broken() + self.inboxes.broken() + self.stuck;
        broken + self.broken.of(Rule::Truth) == 0 && self.acked > 0
    }

    fn word(&mut self, what: impl FnOnce() -> String) {
        if self.words.len() < IN_WORDS {
            self.words.push(what());
        }
    }

    /// What may never be comes first.
    fn broken(&mut self, what: impl FnOnce() -> String) {
        self.words.truncate(IN_WORDS - 1);
        self.words.insert(0, what());
    }

    fn told_of(
        &self,
        who: &str,
        from: Instant,
        paused: Duration,
        statuses: &[(Instant, String)],
    ) -> String {
        let meanwhile = from..from + paused;
        let statuses = statuses.iter().filter(|(at, _)| meanwhile.contains(at));
        let statuses: Vec<_> = statuses
            .map(|(at, what)| format!("\n    {} {what}", self.time(*at)))
            .collect();
        format!(
            "the pause is that of {who} {}{}",
            self.time(from),
            statuses.concat()
        )
    }

    fn time(&self, at: Instant) -> String {
        match at.checked_duration_since(self.since) {
            Some(after) => format!("at {:.3} s", after.as_secs_f64()),
            None => "before the fault".to_owned(),
        }
    }

    fn room(&mut self, who: &str, told: &Told, acked: &[&Acked]) {
        let mut rooms = self.rooms;
        self.stream(&mut rooms, who, told, acked, &HashSet::new());
        self.rooms = rooms;
    }

    /// A direct message that is not taken within the patience is refused and sent again, and so may come late.
    pub fn inbox(&mut self, who: &str, told: &Told, acked: &[&Acked]) {
        let late: HashSet<&str> = (acked.iter().filter(|it| it.waited >= PATIENCE))
            .map(|it| it.text.as_str())
            .collect();
        let mut inboxes = self.inboxes;
        self.stream(&mut inboxes, who, told, acked, &late);
        self.inboxes = inboxes;
    }

    /// What a member was told of a room, or of its inbox.
    fn stream(
        &mut self,
        found: &mut Streams,
        who: &str,
        told: &Told,
        acked: &[&Acked],
        late: &HashSet<&str>,
    ) {
        let mut places: HashMap<&str, u64> = HashMap::new();
        for heard in &told.heard {
            if places.insert(&heard.text, heard.offset).is_some() {
                found.twice += 1;
                self.broken(|| format!("{who} heard twice: {heard}"));
            }
        }
        for it in acked {
            match places.get(it.text.as_str()) {
                None if told.gaps.iter().any(|gap| *gap > it.sent) => found.told += 1,
                None => {
                    found.lost += 1;
                    let at = self.time(it.sent);
                    self.broken(|| {
                        format!(
                            "{who} did not hear {:?} ({}), sent {at}",
                            it.text, it.offset
                        )
                    });
                }
                Some(offset) if *offset != it.offset && it.offset != 0 => {
                    found.disorder += 1;
                    self.broken(|| {
                        format!(
                            "{who} heard {:?} at {offset}, its ack says {}",
                            it.text, it.offset
                        )
                    });
                }
                Some(_) => {}
            }
        }
        for (at, player) in &told.lefts {
            self.left += 1;
            let at = self.time(*at);
            self.word(|| format!("{who} saw {player} leave {at}"));
        }
        found.anew += told.gaps.len() + told.anew.len();
        for (at, what) in &told.anew {
            let at = self.time(*at);
            self.word(|| format!("{who}: {what} {at}"));
        }
        for gap in &told.gaps {
            let at = self.time(*gap);
            self.word(|| format!("{who} was told of a gap {at}"));
        }
        for (before, heard) in told.heard.iter().zip(told.heard.iter().skip(1)) {
            // Offsets go on over epochs; after a gap they may begin anew.
            let anew = told
                .gaps
                .iter()
                .any(|gap| *gap >= before.at && *gap <= heard.at);
            if before.offset >= heard.offset && !anew {
                found.disorder += 1;
                self.broken(|| format!("{who} heard {heard} after {before}"));
            }
        }
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for heard in &told.heard {
            let number = heard.text.rsplit(' ').next().and_then(|it| it.parse().ok());
            let number = number.unwrap_or(u64::MAX);
            if late.contains(heard.text.as_str()) {
                continue;
            }
            let before = last.insert(&heard.from, number).unwrap_or(0);
            if before > number {
                found.disorder += 1;
                let at = self.time(heard.at);
                self.broken(|| format!("{who} heard {heard} {at}, after the sender's {before}"));
            }
        }
    }

    /// Against the order in which another member heard the same.
    fn order(&mut self, who: &str, heard: &[Heard], order: &HashMap<&str, usize>) {
        let mut seen = HashSet::new();
        let places: Vec<usize> = (heard.iter().filter(|it| seen.insert(&it.text)))
            .filter_map(|it| order.get(it.text.as_str()).copied())
            .collect();
        let wrong = places.windows(2).filter(|pair| pair[0] > pair[1]).count();
        let falls = |pair: &&[Heard]| pair[0].timestamp > pair[1].timestamp;
        if let Some(pair) = heard.windows(2).find(falls) {
            self.rooms.disorder += 1;
            self.broken(|| format!("{who} saw the room's clock fall: {} {}", pair[0], pair[1]));
        }
        if wrong > 0 {
            self.rooms.disorder += wrong;
            self.broken(|| format!("{who} heard {wrong} in another order than the others"));
        }
    }

    /// What stands above rows: of messages first those in rooms, then those in inboxes.
    pub fn head() -> String {
        format!(
            "{:<58} {:>7} {:>7} | {} | {} | {:>5} {:>6} {:>7} {:>7} {:>8} {:>7} {:>6} {:>5} {:>5} {:>14}",
            "fault",
            "clients",
            "acked",
            Streams::HEAD,
            Streams::HEAD,
            "left",
            "others",
            "refused",
            "members",
            "capacity",
            "history",
            "frames",
            "truth",
            "stuck",
            "longest pause",
        )
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Heard {
            epoch,
            offset,
            from,
            text,
            timestamp,
            ..
        } = self;
        write!(f, "{text:?} of {from} at {offset} of {epoch}, {timestamp}")
    }
}

/// The longest time without an event between these two moments, and when it began.
fn pause(heard: &[Heard], (since, until): (Instant, Instant)) -> (Duration, Instant) {
    let times = heard
        .iter()
        .map(|it| it.at)
        .filter(|at| *at >= since && *at <= until);
    let mut longest = (Duration::ZERO, since);
    let mut before = since;
    for at in times.chain([until]) {
        longest = longest.max((at.saturating_duration_since(before), before));
        before = at;
    }
    longest
}

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Streams {
            lost,
            told,
            twice,
            disorder,
            anew,
        } = self;
        write!(f, "{lost:>4} {told:>4} {twice:>5} {disorder:>8} {anew:>4}")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<58} {:>7} {:>7} | {} | {} | {:>5} {:>6} {:>7} {:>7} {:>8} {:>7} {:>6} {:>5} {:>5} {:>11} ms",
            self.name,
            self.clients,
            self.acked,
            self.rooms,
            self.inboxes,
            self.left,
            self.others,
            self.refused,
            self.broken.of(Rule::Members),
            self.broken.of(Rule::Capacity),
            self.broken.of(Rule::History),
            self.broken.of(Rule::Frames),
            self.broken.of(Rule::Truth),
            self.stuck,
            self.pause.as_millis(),
        )
    }
}
