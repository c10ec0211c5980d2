//! A fleet that talks while something happens to the servers, and what came of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use roomcast_client::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::DEADLINE;
use crate::fleet::{Acked, END, Expected, Hall, Load, Member, Phase, Said, Witness};
use crate::row::Row;

/// Answers that each member has before something happens, and after it.
const SOME: u64 = 5;

pub struct Run {
    load: Load,
    tasks: JoinSet<Witness>,
    phase: watch::Sender<Phase>,
    members: Vec<Seen>,
    news: watch::Receiver<()>,
    /// When something happened first.
    since: Option<Instant>,
}

/// What can be seen of a member that runs.
struct Seen {
    client: Arc<OnceLock<Client>>,
    answers: Arc<AtomicU64>,
    said: Arc<Mutex<Option<Said>>>,
}

impl Run {
    /// Lets all come and talk; returns when each has had some answers.
    pub async fn start(url: &str, load: Load) -> Run {
        let (phase, watched) = watch::channel(Phase::Talk);
        let (news, heard_of) = watch::channel(());
        let news = Arc::new(news);
        let mut run = Run {
            load,
            tasks: JoinSet::new(),
            phase,
            members: Vec::new(),
            news: heard_of,
            since: None,
        };
        for number in 0..load.rooms {
            let hall = Hall::new(number, load.members);
            for place in 0..load.members {
                let seen = Seen {
                    client: Arc::default(),
                    answers: Arc::default(),
                    said: Arc::default(),
                };
                let member = Member {
                    url: url.to_owned(),
                    hall: hall.clone(),
                    place,
                    every: load.every,
                    direct: load.direct,
                    phase: watched.clone(),
                    client: seen.client.clone(),
                    answers: seen.answers.clone(),
                    news: news.clone(),
                    said: seen.said.clone(),
                };
                run.members.push(seen);
                run.tasks.spawn(member.run());
            }
        }
        run.go_on().await;
        run
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
            for member in late.iter().take(5) {
                let client = self.members[*member].client.get();
                let status = client.map(|client| client.status().borrow().clone());
                let (room, place) = (member / self.load.members, member % self.load.members);
                let had = now[*member] - before[*member];
                eprintln!("{place} of hall:{room} has {had} answers, {client:?} is {status:?}");
            }
            let (late, all) = (late.len(), now.len());
            panic!("{late} of {all} members have too few answers for {DEADLINE:?}");
        }
    }

    fn answers(&self) -> Vec<u64> {
        let answers = |seen: &Seen| seen.answers.load(Ordering::Relaxed);
        self.members.iter().map(answers).collect()
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
    pub async fn finish(mut self, name: &'static str) -> Row {
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
        let stuck = silent.max(self.members.len() - witnesses.len());
        Row::of(name, self.load, &said, &witnesses, (since, talked), stuck)
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
