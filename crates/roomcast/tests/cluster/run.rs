//! A fleet that talks while something happens to the servers, and what came of it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::DEADLINE;
use crate::fleet::{Acked, END, Expected, Hall, Load, Member, Phase, Said, Witness};
use crate::found::Found;
use crate::guest::{Sign, Watched};
use crate::row::Row;
use crate::{arena, lobby};

/// Answers that each member has before something happens, and after it.
const SOME: u64 = 5;

/// The time of day, as the nodes log it: hours are left out.
pub fn at() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seconds = since.as_secs() % 3_600;
    format!(
        "{:02}:{:02}.{:03}",
        seconds / 60,
        seconds % 60,
        since.subsec_millis()
    )
}

pub struct Run {
    load: Load,
    tasks: JoinSet<Witness>,
    /// Of lobbies and arenas.
    others: JoinSet<()>,
    phase: watch::Sender<Phase>,
    members: Vec<Seen>,
    /// All who are to have answers, by what they are.
    signs: Vec<(String, Arc<Sign>)>,
    news: watch::Receiver<()>,
    found: Arc<Found>,
    /// When something happened first.
    since: Option<Instant>,
}

/// What can be seen of a member that runs.
struct Seen {
    said: Arc<Mutex<Option<Said>>>,
}

impl Run {
    /// Lets all come and talk; returns when each has had some answers.
    pub async fn start(url: &str, load: Load) -> Run {
        let (phase, watched) = watch::channel(Phase::Talk);
        let (news, heard_of) = watch::channel(());
        let watched = Watched {
            url: url.to_owned(),
            phase: watched,
            news: Arc::new(news),
            found: Arc::default(),
        };
        let mut run = Run {
            load,
            tasks: JoinSet::new(),
            others: JoinSet::new(),
            phase,
            members: Vec::new(),
            signs: Vec::new(),
            news: heard_of,
            found: watched.found.clone(),
            since: None,
        };
        for number in 0..load.rooms {
            let hall = Hall::new(number, load.members);
            for place in 0..load.members {
                let seen = Seen {
                    said: Arc::default(),
                };
                let member = Member {
                    watched: watched.clone(),
                    sign: run.sign(format!("{place} of hall:{number}")),
                    hall: hall.clone(),
                    place,
                    load,
                    said: seen.said.clone(),
                };
                run.members.push(seen);
                run.tasks.spawn(member.run());
            }
        }
        for number in 0..load.lobbies {
            let signs = run.some_signs("lobby", number, lobby::CLIENTS);
            // Who stays asks for nothing.
            run.signs.retain(|(_, sign)| !Arc::ptr_eq(sign, &signs[0]));
            run.others
                .spawn(lobby::visit(watched.clone(), number, signs));
        }
        for number in 0..load.arenas {
            let signs = run.some_signs("arena", number, load.members);
            run.others
                .spawn(arena::play(watched.clone(), number, signs));
        }
        run.go_on().await;
        run
    }

    fn sign(&mut self, of: String) -> Arc<Sign> {
        let sign = Arc::new(Sign::default());
        self.signs.push((of, sign.clone()));
        sign
    }

    fn some_signs(&mut self, kind: &str, number: usize, count: usize) -> Vec<Arc<Sign>> {
        (0..count)
            .map(|place| self.sign(format!("{place} of {kind}:{number}")))
            .collect()
    }

    /// From now on a pause is one that the fault has made.
    pub fn begins(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Waits until each member has had some answers more: all are there, and what they say arrives.
    pub async fn go_on(&mut self) {
        self.answered(SOME).await;
    }

    /// Waits until each member has had so many answers more.
    pub async fn answered(&mut self, count: u64) {
        let before: Vec<u64> = self.answers();
        let enough = |now: &[u64]| {
            now.iter()
                .zip(&before)
                .all(|(now, then)| *now >= then + count)
        };
        if !self.wait(|run| enough(&run.answers())).await {
            let now = self.answers();
            let late: Vec<usize> = (0..now.len())
                .filter(|&member| now[member] < before[member] + count)
                .collect();
            for at in late.iter().take(5) {
                let (of, sign) = &self.signs[*at];
                let client = sign.client.get();
                let status = client.map(|client| client.status().borrow().clone());
                let had = now[*at] - before[*at];
                eprintln!("{of} has {had} answers, {client:?} is {status:?}");
            }
            let (late, all) = (late.len(), now.len());
            panic!("{late} of {all} members have too few answers for {DEADLINE:?}");
        }
    }

    fn answers(&self) -> Vec<u64> {
        let answers = |(_, sign): &(String, Arc<Sign>)| sign.answers.load(Ordering::Relaxed);
        self.signs.iter().map(answers).collect()
    }

    /// Whether it came to that within the deadline.
    async fn wait(&mut self, done: impl Fn(&Run) -> bool) -> bool {
        let begin = Instant::now();
        while !done(self) {
            let left = DEADLINE.saturating_sub(begin.elapsed());
            if !matches!(timeout(left, self.news.changed()).await, Ok(Ok(()))) {
                return done(self);
            }
        }
        true
    }

    /// Lets all say their last, waits until all have heard what was acked, and counts.
    pub async fn finish(mut self, name: impl Into<String>) -> Row {
        let talked = Instant::now();
        let since = self.since.unwrap_or(talked);
        self.phase.send_replace(Phase::End);
        let all_said = |run: &Run| {
            run.members
                .iter()
                .all(|it| it.said.lock().unwrap().is_some())
        };
        let silent = match self.wait(all_said).await {
            true => 0,
            false => {
                let said = |it: &&Seen| it.said.lock().unwrap().is_some();
                self.members.len() - self.members.iter().filter(said).count()
            }
        };
        let said: Vec<(usize, Said)> = (self.members.iter().enumerate())
            .filter_map(|(number, seen)| {
                let said = seen.said.lock().unwrap().take()?;
                Some((number / self.load.members, said))
            })
            .collect();
        self.phase
            .send_replace(Phase::Hear(Arc::new(expected(&said))));
        let mut witnesses = Vec::new();
        let mut patience = Duration::from_secs(20);
        loop {
            match timeout(patience, self.tasks.join_next()).await {
                Ok(Some(witness)) => witnesses.push(witness.unwrap()),
                Ok(None) => break,
                // Whoever still waits says what it lacks.
                Err(_) if !matches!(*self.phase.borrow(), Phase::Stop) => {
                    self.phase.send_replace(Phase::Stop);
                    patience = Duration::from_secs(5);
                }
                Err(_) => break,
            }
        }
        // They have had the same time.
        let mut stuck = silent.max(self.members.len() - witnesses.len());
        let mut patience = match *self.phase.borrow() {
            Phase::Stop => Duration::from_secs(5),
            _ => Duration::from_secs(15),
        };
        while !self.others.is_empty() {
            match timeout(patience, self.others.join_next()).await {
                Ok(done) => done.map_or((), Result::unwrap),
                Err(_) if !matches!(*self.phase.borrow(), Phase::Stop) => {
                    self.phase.send_replace(Phase::Stop);
                    patience = Duration::from_secs(5);
                }
                Err(_) => {
                    stuck += self.others.len();
                    break;
                }
            }
        }
        let talked = (since, talked);
        Row::of(
            name.into(),
            self.load,
            &said,
            &witnesses,
            talked,
            stuck,
            &self.found,
        )
    }
}

fn expected(said: &[(usize, Said)]) -> Expected {
    let mut expected = Expected::default();
    let last = |acked: &Acked| acked.text.ends_with(END).then(|| acked.text.clone());
    for (room, said) in said {
        let texts = said.acked.iter().filter_map(last);
        expected.rooms.entry(*room).or_default().extend(texts);
        for (to, acked) in &said.direct {
            let inbox = expected.direct.entry(to.clone()).or_default();
            inbox.extend(last(acked));
        }
    }
    expected
}
