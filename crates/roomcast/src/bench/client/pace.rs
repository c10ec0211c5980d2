//! When messages are sent, and what is measured meanwhile.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::check::Faults;
use super::plan::{Pace, Plan, Say};
use super::swarm::{Counts, Swarm};
use crate::bench::error::Result;
use crate::bench::proc;

/// Messages sent before the loop looks at its sockets again.
const BURST: u32 = 64;

/// After the last message was sent, how long nothing may arrive before the rest counts as lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The order and the times of the messages in an open loop.
///
/// Neighbours in time are in different rooms: real players don't act room by room.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    begin: u32,
    /// Microseconds between two messages.
    step: f64,
    /// Senders in their order.
    order: Vec<u32>,
    /// Where in the order each sender is.
    place: Vec<u32>,
}

impl Schedule {
    /// For these senders, of which there is at least one.
    fn new(senders: &[u32], rate: f64, begin: u32) -> Schedule {
        let count = senders.len() as u32;
        // About the golden ratio, and without a common factor: each sender once, neighbours far apart.
        let mut stride = (f64::from(count) * 0.618) as u32 | 1;
        while gcd(stride, count) != 1 {
            stride += 2;
        }
        let order: Vec<u32> = (0..u64::from(count))
            .map(|n| senders[(n * u64::from(stride) % u64::from(count)) as usize])
            .collect();
        let last = senders.iter().max().map_or(0, |last| *last as usize + 1);
        let mut place = vec![0; last];
        for (at, &sender) in order.iter().enumerate() {
            place[sender as usize] = at as u32;
        }
        Schedule {
            begin,
            step: 1e6 / rate,
            order,
            place,
        }
    }

    /// The sender of message `n` of all.
    fn sender(&self, n: u64) -> u32 {
        self.order[(n % self.order.len() as u64) as usize]
    }

    /// When message `n` of all is due.
    fn nth_due(&self, n: u64) -> u32 {
        self.begin.saturating_add((n as f64 * self.step) as u32)
    }

    /// When a sender's message number `counter` is due.
    pub(crate) fn due(&self, sender: u32, counter: u32) -> u32 {
        let place = u64::from(self.place[sender as usize]);
        self.nth_due(u64::from(counter) * self.order.len() as u64 + place)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Where a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    /// The time that counts begins.
    Begin,
    /// This part of the time is over.
    Done(f64),
    /// The time that counts has ended.
    End,
}

/// What a run has shown.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Traffic of the time that counts.
    pub(crate) counts: Counts,
    /// The time that counts.
    pub(crate) wall: Duration,
    /// The servers' processor time in it, where their processes are known.
    pub(crate) server_cpu: Option<Duration>,
    /// The same of each process that was named.
    pub(crate) cpus: Vec<Duration>,
    /// The load generator's processor time in it.
    pub(crate) client_cpu: Duration,
    /// Processor time that others on this machine used in it, where the server's process is known.
    pub(crate) others_cpu: Option<Duration>,
    /// Microseconds from when a message was due until it arrived.
    pub(crate) latency: Histogram<u64>,
    /// Faults of the whole run.
    pub(crate) faults: Faults,
    /// Messages that were due but could not be sent in time.
    pub(crate) behind: u64,
    /// Most memory (PSS, bytes) that was seen while it ran, where there are stalled connections.
    pub(crate) peak_pss: Option<u64>,
    /// Most memory that the kernel held for sockets, in bytes, likewise.
    pub(crate) peak_sockets: Option<u64>,
}

impl Measured {
    /// Processor time of the server for each delivery, in microseconds.
    pub(crate) fn cpu_per_delivery(&self) -> Option<f64> {
        Some(self.server_cpu?.as_secs_f64() * 1e6 / self.counts.deliveries.max(1) as f64)
    }

    /// Deliveries for each second of the server's processor time.
    pub(crate) fn per_cpu_second(&self) -> Option<f64> {
        Some(self.counts.deliveries as f64 / self.server_cpu?.as_secs_f64().max(1e-9))
    }

    /// Deliveries a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.counts.deliveries as f64 / self.wall.as_secs_f64()
    }

    /// Part of one core that the server used.
    pub(crate) fn server_share(&self) -> Option<f64> {
        Some(self.server_cpu?.as_secs_f64() / self.wall.as_secs_f64())
    }

    /// Part of its core that the load generator used.
    pub(crate) fn client_share(&self) -> f64 {
        self.client_cpu.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// Part of one core that neither the server nor the load generator used.
    pub(crate) fn others_share(&self) -> Option<f64> {
        Some(self.others_cpu?.as_secs_f64() / self.wall.as_secs_f64())
    }

    /// A percentile of the latency, in milliseconds.
    pub(crate) fn latency_ms(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1e3
    }
}

impl Swarm {
    /// Sends at the plan's pace: through the warm-up, through the time that counts, and then waits until all has come.
    ///
    /// The processor time of `pids` is measured. `look` is called when the time that counts begins and ends, and about four
    /// times a second in between. It may be called again, with another pace.
    pub(crate) fn drive(&mut self, pids: &[u32], mut look: impl FnMut(Look)) -> Result<Measured> {
        let (warm_up, measure) = (self.plan.warm_up, self.plan.measure);
        let begin = self.now() + 1_000;
        let from = begin + warm_up.as_micros() as u32;
        let until = from + measure.as_micros() as u32;
        self.window = (from, until);
        self.latency.reset();
        self.begin(begin);

        let mut next = 0;
        let mut first = None;
        let mut last = None;
        let mut glance = Instant::now();
        let (mut peak_pss, mut peak_sockets) = (None, None);
        let mut quiet_since = Instant::now();
        let mut seen = 0;
        loop {
            let now = self.now();
            if now >= from && first.is_none() {
                look(Look::Begin);
                first = Some(Snapshot::take(self, pids));
            }
            if now >= until && last.is_none() {
                self.sending = false;
                last = Some((Snapshot::take(self, pids), next));
                look(Look::End);
                quiet_since = Instant::now();
                seen = self.counts.deliveries;
            }
            if last.is_some() {
                if self.counts.deliveries != seen {
                    seen = self.counts.deliveries;
                    quiet_since = Instant::now();
                }
                let overdue =
                    self.start.elapsed().as_micros() as u32 > until.saturating_add(30_000_000);
                if self.complete() || quiet_since.elapsed() > PATIENCE || overdue {
                    break;
                }
            }
            let wait = match last {
                None => self.send_due(&mut next, now),
                Some(_) => Duration::from_millis(50),
            };
            self.turn(wait.min(Duration::from_millis(50)))?;
            if glance.elapsed() > Duration::from_millis(250) {
                glance = Instant::now();
                let done = (f64::from(now) - f64::from(begin)) / f64::from(until - begin);
                look(Look::Done(done.clamp(0.0, 1.0)));
                // Reading this takes the kernel a while for a large process, which a measured core would feel.
                if self.plan.stalled_from.is_some() {
                    peak_pss = peak_pss.max(pids.first().copied().and_then(proc::pss));
                    peak_sockets = peak_sockets.max(proc::socket_memory());
                }
            }
        }
        self.finish();
        let first = first.unwrap_or_else(|| Snapshot::take(self, pids));
        let (last, sent) = last.unwrap_or_else(|| (Snapshot::take(self, pids), next));
        let due = match &self.schedule {
            Some(schedule) => (f64::from(until - begin) / schedule.step) as u64,
            None => sent,
        };
        let cpus = last.servers.iter().zip(&first.servers);
        let cpus: Vec<Duration> = cpus
            .map(|(last, first)| last.saturating_sub(*first))
            .collect();
        let known = !pids.is_empty() && cpus.len() == pids.len();
        let server_cpu = known.then(|| cpus.iter().sum());
        let client_cpu = last.client - first.client;
        let machine = last.machine.saturating_sub(first.machine);
        Ok(Measured {
            counts: last.counts.since(first.counts),
            wall: last.at - first.at,
            others_cpu: server_cpu
                .map(|server: Duration| machine.saturating_sub(server + client_cpu)),
            server_cpu,
            cpus,
            client_cpu,
            latency: self.latency.clone(),
            faults: self.faults,
            behind: due.saturating_sub(sent + 1),
            peak_pss,
            peak_sockets,
        })
    }

    /// In rooms that have all their members: of the others, nobody could say what is lost.
    pub(super) fn begin(&mut self, begin: u32) {
        let whole = self.whole();
        match self.plan.pace {
            Pace::Rate(_) if whole.is_empty() => self.schedule = None,
            Pace::Rate(rate) => self.schedule = Some(Schedule::new(&whole, rate, begin)),
            Pace::InFlight(each) => {
                self.sending = true;
                self.schedule = None;
                let senders = self.plan.shape.all_senders() as usize;
                self.under_way = vec![receivers(&self.plan); senders];
                for sender in whole {
                    let now = self.now();
                    self.say(sender, each, now);
                }
            }
        }
    }

    /// Sends what is due in an open loop, and returns how long there is nothing to send.
    pub(super) fn send_due(&mut self, next: &mut u64, now: u32) -> Duration {
        let Some(schedule) = self.schedule.take() else {
            return Duration::from_millis(50);
        };
        let mut due = schedule.nth_due(*next);
        for _ in 0..BURST {
            if due > now {
                break;
            }
            self.say(schedule.sender(*next), 1, due);
            *next += 1;
            due = schedule.nth_due(*next);
        }
        self.schedule = Some(schedule);
        Duration::from_micros(u64::from(due.saturating_sub(self.now())))
    }

    pub(super) fn complete(&self) -> bool {
        if self.plan.say == Say::Move {
            return self.unseen() == 0;
        }
        let receivers = receivers(&self.plan);
        let lost_already = self.faults.lost;
        self.counts.deliveries + lost_already >= self.counts.sent * u64::from(receivers)
    }

    pub(super) fn finish(&mut self) {
        if self.plan.say == Say::Move {
            self.faults.lost += self.unseen();
            return;
        }
        let plan = &self.plan;
        self.checker
            .finish(&self.sent, |conn| plan.is_stalled(conn), &mut self.faults);
    }
}

/// Members of a room that read what they get.
fn receivers(plan: &Plan) -> u32 {
    plan.stalled_from
        .unwrap_or(plan.shape.members)
        .min(plan.shape.members)
}

struct Snapshot {
    at: Instant,
    counts: Counts,
    servers: Vec<Duration>,
    client: Duration,
    machine: Duration,
}

impl Snapshot {
    fn take(swarm: &Swarm, pids: &[u32]) -> Snapshot {
        let servers = pids.iter().filter_map(|pid| proc::cpu(*pid)).collect();
        Snapshot {
            at: Instant::now(),
            counts: swarm.counts,
            servers,
            client: proc::own_cpu(),
            machine: proc::machine_cpu(),
        }
    }
}

impl Counts {
    fn since(self, earlier: Counts) -> Counts {
        Counts {
            deliveries: self.deliveries - earlier.deliveries,
            bytes: self.bytes - earlier.bytes,
            syncs: self.syncs - earlier.syncs,
            sent: self.sent - earlier.sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_names_each_sender_once_a_round_at_even_times() {
        for senders in [1, 2, 8, 50, 1600] {
            // Each but the first two.
            let some: Vec<u32> = (2..senders + 2).collect();
            let schedule = Schedule::new(&some, 1_000.0, 500);
            let mut seen = vec![0; senders as usize + 2];
            for n in 0..u64::from(senders) * 3 {
                let sender = schedule.sender(n);
                let counter = seen[sender as usize];
                assert_eq!(schedule.nth_due(n), 500 + n as u32 * 1_000);
                assert_eq!(schedule.due(sender, counter), schedule.nth_due(n));
                seen[sender as usize] += 1;
            }
            assert!(seen[2..].iter().all(|&count| count == 3));
            assert_eq!(seen[..2], [0, 0]);
        }
    }
}
