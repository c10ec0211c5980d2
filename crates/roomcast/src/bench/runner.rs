//! Runs of a plan against a subject, and what they have in common.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Faults, Look, Measured, Opened, Opening, Plan, Say, Swarm, Wire};
use super::error::{Error, Result};
use super::options::Options;
use super::proc;
use super::report::{Report, Section, figure, maybe, median};
use super::target::{Setup, Subject, Target};

/// Connections on their way at once, where the storm is not what is measured.
const CONNECT_WINDOW: u32 = 128;

/// How long connections may take to be in their rooms.
pub(crate) const OPEN_WITHIN: Duration = Duration::from_secs(60);

/// The benchmarks' common state.
pub(crate) struct Bench {
    /// What was asked for.
    pub(crate) options: Options,
    /// What was found.
    pub(crate) report: Report,
    /// Whether a server lost, repeated or mixed up something.
    pub(crate) faulty: bool,
    /// The largest part of a core that other programs used during a run of the section.
    disturbed: f64,
}

impl Bench {
    pub(crate) fn new(options: Options) -> Bench {
        proc::raise_file_limit();
        Bench {
            options,
            report: Report::default(),
            faulty: false,
            disturbed: 0.0,
        }
    }

    /// Shows a section and keeps it.
    pub(crate) fn add(&mut self, mut section: Section) {
        let disturbed = std::mem::take(&mut self.disturbed) * 100.0;
        if disturbed > 10.0 {
            let percent = figure(disturbed);
            section.notes.push(format!(
                "other programs used up to {percent} % of a core meanwhile: measure again when it is quiet"
            ));
        }
        progress_done();
        println!("{}", section.text());
        self.report.sections.push(section);
    }

    /// A server, and the plan's connections in their rooms.
    pub(crate) fn open(
        &self,
        subject: Subject,
        setup: &Setup,
        plan: &Plan,
    ) -> Result<(Target, Swarm, Opened)> {
        self.check_file_limit(plan.shape.connections)?;
        let target = Target::start(subject, setup, &self.options)?;
        let mut swarm = self.swarm(&target, plan)?;
        let opened = self.fill(&mut swarm, subject)?;
        Ok((target, swarm, opened))
    }

    /// Whether this process may have so many connections.
    pub(crate) fn check_file_limit(&self, connections: u32) -> Result<()> {
        let limit = proc::raise_file_limit();
        let connections = u64::from(connections);
        if connections + 64 > limit {
            return Err(Error::new(format!(
                "{connections} connections need more than the {limit} open files that this process may have; \
                 raise it with: ulimit -n {}",
                connections + 64
            )));
        }
        Ok(())
    }

    /// Other programs used this part of a core during a run.
    pub(crate) fn others_used(&mut self, share: f64) {
        self.disturbed = self.disturbed.max(share);
    }

    /// The connections of a plan, none of which is there yet.
    pub(crate) fn swarm(&self, target: &Target, plan: &Plan) -> Result<Swarm> {
        let mut plan = plan.clone();
        // Positions are read from JSON.
        plan.wire = if plan.say == Say::Move {
            Wire::Json
        } else {
            self.options.wire
        };
        let mut swarm = Swarm::new(target.route(), plan)?;
        swarm.decode_sample = target.subject == Subject::Server;
        Ok(swarm)
    }

    /// Brings the connections into their rooms, all of them or it is an error.
    pub(crate) fn fill(&self, swarm: &mut Swarm, subject: Subject) -> Result<Opened> {
        let opened = swarm.open(Opening::all(CONNECT_WINDOW, OPEN_WITHIN))?;
        if opened.failures.is_empty() {
            return Ok(opened);
        }
        let reasons: Vec<String> = opened
            .failures
            .iter()
            .map(|(why, count)| format!("{count} × {why}"))
            .collect();
        Err(Error::new(format!(
            "{}: not all connections got into their rooms: {}; the server's first error: {}",
            subject.name(),
            reasons.join(", "),
            swarm.first_error().unwrap_or("none"),
        )))
    }

    /// Runs the plan once.
    pub(crate) fn run(
        &mut self,
        what: &str,
        subject: Subject,
        setup: &Setup,
        plan: &Plan,
    ) -> Result<Measured> {
        let label = format!("{what}: {}", subject.name());
        progress(&label, "connecting");
        let (target, mut swarm, _) = self.open(subject, setup, plan)?;
        let measured = swarm.drive(target.pid.as_slice(), |look| progress_of(&label, look))?;
        swarm.close();
        self.judge(&label, subject, &measured.faults, swarm.first_error());
        self.others_used(measured.others_share().unwrap_or(0.0));
        Ok(measured)
    }

    /// Runs the plan against each subject in turns, as often as asked for. Machines drift: what is compared has to be
    /// measured side by side.
    pub(crate) fn compare(
        &mut self,
        what: &str,
        subjects: &[(Subject, Setup)],
        plan: &Plan,
        turns: u32,
    ) -> Result<Vec<Vec<Measured>>> {
        let mut runs = vec![Vec::new(); subjects.len()];
        for turn in 1..=turns {
            for ((subject, setup), runs) in subjects.iter().zip(&mut runs) {
                let what = format!("{what}, run {turn} of {turns}");
                runs.push(self.run(&what, *subject, setup, plan)?);
            }
        }
        Ok(runs)
    }

    /// The server, and the bare loop that it is compared with unless that is not wanted.
    pub(crate) fn subjects(&self, bare: Subject, setup: &Setup) -> Vec<(Subject, Setup)> {
        let mut subjects = Vec::new();
        // The loops know JSON only, and where a server at --url runs is not known.
        let options = &self.options;
        if !options.alone && options.url.is_none() && options.wire == Wire::Json {
            subjects.push((bare, Setup::default()));
        }
        subjects.push((Subject::Server, setup.clone()));
        subjects
    }

    /// Says what went wrong, if anything did.
    pub(crate) fn judge(
        &mut self,
        label: &str,
        subject: Subject,
        faults: &Faults,
        error: Option<&str>,
    ) {
        if faults.none() {
            return;
        }
        progress_done();
        eprintln!("{label}: {}", describe(faults));
        if let Some(error) = error {
            eprintln!("{label}: the server's first error: {error}");
        }
        self.faulty |= subject == Subject::Server;
    }
}

/// The faults in words.
pub(crate) fn describe(faults: &Faults) -> String {
    if faults.none() {
        return "nothing lost, twice or out of order".to_owned();
    }
    let counts = [
        ("lost", faults.lost),
        ("twice", faults.twice),
        ("out of order", faults.disordered),
        ("to the wrong connection", faults.misdelivered),
        ("not decodable", faults.undecodable),
        ("errors", faults.errors),
        ("connections closed", faults.closed),
    ];
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    counts
        .map(|(what, count)| format!("{count} {what}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Which side was at its end.
pub(crate) fn limit(runs: &[Measured]) -> &'static str {
    let server = median(runs.iter().filter_map(Measured::server_share).collect());
    let client = median(runs.iter().map(Measured::client_share).collect());
    match (server > 0.93, client > 0.93) {
        (true, false) => "server",
        (false, true) => "client",
        (true, true) => "both",
        (false, false) => "neither",
    }
}

/// The median of a figure over runs.
pub(crate) fn over(runs: &[Measured], figure: impl Fn(&Measured) -> f64) -> f64 {
    median(runs.iter().map(figure).collect())
}

/// The median of a figure over runs, if all have it.
pub(crate) fn over_some(
    runs: &[Measured],
    figure: impl Fn(&Measured) -> Option<f64>,
) -> Option<f64> {
    let values: Vec<f64> = runs.iter().filter_map(figure).collect();
    (values.len() == runs.len() && !values.is_empty()).then(|| median(values))
}

/// A column of tables of runs.
pub(crate) const COLUMNS: [&str; 10] = [
    "",
    "deliveries/s",
    "per server CPU s",
    "CPU µs/delivery",
    "server CPU %",
    "client CPU %",
    "limit",
    "p50 ms",
    "p99 ms",
    "max ms",
];

/// The row of a subject in such a table.
pub(crate) fn row(name: &str, runs: &[Measured]) -> Vec<String> {
    vec![
        name.to_owned(),
        figure(over(runs, Measured::per_second)),
        maybe(over_some(runs, Measured::per_cpu_second)),
        maybe(over_some(runs, Measured::cpu_per_delivery)),
        maybe(over_some(runs, Measured::server_share).map(|share| share * 100.0)),
        figure(over(runs, Measured::client_share) * 100.0),
        limit(runs).to_owned(),
        figure(over(runs, |run| run.latency_ms(50.0))),
        figure(over(runs, |run| run.latency_ms(99.0))),
        figure(over(runs, |run| run.latency_ms(100.0))),
    ]
}

/// The same for programs, with every run.
pub(crate) fn data(name: &str, runs: &[Measured]) -> Value {
    let runs: Vec<Value> = runs
        .iter()
        .map(|run| {
            json!({
                "seconds": run.wall.as_secs_f64(),
                "deliveries": run.counts.deliveries,
                "sent": run.counts.sent,
                "bytes": run.counts.bytes,
                "syncs": run.counts.syncs,
                "per_cpu_second": run.per_cpu_second(),
                "cpu_us_per_delivery": run.cpu_per_delivery(),
                "server_cpu_share": run.server_share(),
                "client_cpu_share": run.client_share(),
                "others_cpu_share": run.others_share(),
                "p50_ms": run.latency_ms(50.0),
                "p99_ms": run.latency_ms(99.0),
                "p99_9_ms": run.latency_ms(99.9),
                "max_ms": run.latency_ms(100.0),
                "not_sent_in_time": run.behind,
                "lost": run.faults.lost,
                "twice": run.faults.twice,
                "out_of_order": run.faults.disordered,
                "other_faults": run.faults.misdelivered + run.faults.undecodable
                    + run.faults.errors + run.faults.closed,
            })
        })
        .collect();
    json!({ "subject": name, "runs": runs })
}

/// Shows on stderr where things are: in place on a terminal, else only what begins.
pub(crate) fn progress(what: &str, state: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Nothing depends on it.
        let _ = write!(stderr, "\r\x1b[2K{what}: {state}");
        let _ = stderr.flush();
    } else if !state.ends_with('%') {
        eprintln!("{what}: {state}");
    }
}

/// The same of a run.
pub(crate) fn progress_of(what: &str, look: Look) {
    if let Look::Done(done) = look {
        progress(what, &format!("{:3.0} %", done * 100.0));
    }
}

/// Clears the line that shows where things are.
pub(crate) fn progress_done() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K");
    }
}
