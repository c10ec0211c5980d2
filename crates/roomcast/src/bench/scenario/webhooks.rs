//! Webhooks beside live traffic: what members feel of a receiver that takes all, and of those that do not.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::client::{Measured, Pace, Plan, Say, Shape};
use crate::bench::error::{Error, Result};
use crate::bench::report::{Bound, Goal, Section, figure, maybe};
use crate::bench::runner::{Bench, data, over, over_some, progress, progress_of};
use crate::bench::target::{Setup, Subject};

/// Messages a second of each member.
const RATE: f64 = 10.0;
/// The 99th percentile of members beside a receiver that does not do what it should, against that without a webhook.
const RATIO: f64 = 1.5;
const SLOW: Duration = Duration::from_millis(200);

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Takes,
    TakesSlowly,
    Refuses,
    Hangs,
    /// Nobody listens at its address.
    Gone,
}

const CASES: [(&str, Option<Manner>); 6] = [
    ("no webhook", None),
    ("takes all", Some(Manner::Takes)),
    ("takes each request after 200 ms", Some(Manner::TakesSlowly)),
    ("answers 500", Some(Manner::Refuses)),
    ("never answers", Some(Manner::Hangs)),
    ("is not there", Some(Manner::Gone)),
];

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if bench.options.url.is_some() {
        return Err(Error::new(
            "`webhooks` starts a server of its own: one at --url would need its receiver"
                .to_owned(),
        ));
    }
    let shape = Shape::new(bench.options.size(50, 10), 8);
    let plan = Plan {
        say: Say::Action,
        kind: "relay",
        ..Plan::new(
            shape,
            Pace::Rate(RATE * f64::from(shape.connections)),
            bench.options.measure(10),
        )
    };
    let mut section = Section {
        name: "webhooks",
        title: format!(
            "Webhooks: every message of {} rooms of {}, {RATE} messages/s a member",
            shape.rooms, shape.members
        ),
        columns: vec![
            "the receiver",
            "messages/s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "server CPU %",
            "events taken/s",
            "requests/s",
        ],
        ..Section::default()
    };
    // In turns: machines drift, and what is compared has to be measured side by side.
    let mut runs: Vec<Vec<(Measured, Heard)>> = vec![Vec::new(); CASES.len()];
    for turn in 1..=bench.options.repeat() {
        for ((name, manner), runs) in CASES.iter().zip(&mut runs) {
            runs.push(measure(
                bench,
                &format!("webhooks, run {turn}: {name}"),
                *manner,
                &plan,
            )?);
        }
    }
    let mut without = None;
    for ((name, manner), runs) in CASES.iter().zip(runs) {
        let (runs, heard): (Vec<Measured>, Vec<Heard>) = runs.into_iter().unzip();
        let p99 = over(&runs, |run| run.latency_ms(99.0));
        let per_second = |of: fn(&Heard) -> u64| {
            let sum: u64 = heard.iter().map(of).sum();
            manner.map(|_| sum as f64 / heard.iter().map(|it| it.seconds).sum::<f64>())
        };
        let (events, requests) = (per_second(|it| it.events), per_second(|it| it.requests));
        section.rows.push(vec![
            (*name).to_owned(),
            figure(over(&runs, |run| {
                run.counts.sent as f64 / run.wall.as_secs_f64()
            })),
            figure(over(&runs, |run| run.latency_ms(50.0))),
            figure(p99),
            figure(over(&runs, |run| run.latency_ms(100.0))),
            maybe(over_some(&runs, Measured::server_share).map(|share| share * 100.0)),
            maybe(events),
            maybe(requests),
        ]);
        let mut row = data(name, &runs);
        row["events_taken_per_second"] = json!(events);
        row["requests_per_second"] = json!(requests);
        section.data.push(row);
        let without = *without.get_or_insert(p99);
        if manner.is_some_and(|it| it != Manner::Takes) && !bench.options.quick {
            section.goals.push(Goal {
                what: format!("p99 beside a receiver that {name}, against that without a webhook"),
                value: p99 / without,
                bound: Bound::AtMost(RATIO),
                unit: "×",
            });
        }
    }
    section.notes.push(
        "the receiver is in the process of the load generator; the server, and with it what sends to the receiver, has one \
         processor"
            .to_owned(),
    );
    section.notes.push(
        "of each room the receiver got one offset after the other, none left out and none twice"
            .to_owned(),
    );
    bench.add(section);
    Ok(())
}

/// One run beside a receiver.
fn measure(
    bench: &mut Bench,
    label: &str,
    manner: Option<Manner>,
    plan: &Plan,
) -> Result<(Measured, Heard)> {
    let receiver = manner.map(Receiver::start).transpose()?;
    let setup = Setup {
        config: receiver.as_ref().map(Receiver::config).unwrap_or_default(),
        ..Setup::default()
    };
    progress(label, "connecting");
    let (target, mut swarm, _) = bench.open(Subject::Server, &setup, plan)?;
    let measured = swarm.drive(target.pid.as_slice(), |look| progress_of(label, look))?;
    let mut heard = receiver.map(Receiver::end).transpose()?.unwrap_or_default();
    heard.seconds = (measured.wall + plan.warm_up).as_secs_f64();
    swarm.close();
    bench.judge(
        label,
        Subject::Server,
        &measured.faults,
        swarm.first_error(),
    );
    bench.others_used(measured.others_share().unwrap_or(0.0));
    if manner == Some(Manner::Takes) && heard.events == 0 {
        return Err(Error::new(format!("{label}: the receiver got nothing")));
    }
    Ok((measured, heard))
}

/// What a receiver has got.
#[derive(Clone, Debug, Default)]
struct Heard {
    requests: u64,
    /// Those that it has taken.
    events: u64,
    seconds: f64,
    /// The last offset of each room.
    rooms: BTreeMap<String, u64>,
    fault: Option<String>,
}

impl Heard {
    /// Takes the events of a request.
    fn take(&mut self, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        for event in body["events"].as_array().into_iter().flatten() {
            self.events += 1;
            let room = event["room_id"].as_str().unwrap_or_default();
            let offset = event["message"]["offset"].as_u64().unwrap_or(0).max(1);
            // Members have joined before anything was said, and that has offsets too.
            let last = self.rooms.entry(room.to_owned()).or_insert(offset - 1);
            if offset != *last + 1 {
                let fault = format!("the receiver got offset {offset} of {room} behind {last}");
                self.fault.get_or_insert(fault);
            }
            *last = offset;
        }
    }
}

/// An HTTP server on a thread of its own, with one more for each connection.
struct Receiver {
    at: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    ended: Arc<AtomicBool>,
}

impl Receiver {
    fn start(manner: Manner) -> Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let receiver = Receiver {
            at: listener.local_addr()?,
            heard: Arc::default(),
            ended: Arc::default(),
        };
        if manner == Manner::Gone {
            return Ok(receiver);
        }
        let (heard, ended) = (receiver.heard.clone(), receiver.ended.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let heard = heard.clone();
                thread::spawn(move || serve(stream, manner, &heard));
            }
        });
        Ok(receiver)
    }

    fn config(&self) -> String {
        format!(
            "\n[webhooks.bench]\nurl = \"http://{}/\"\nsecret = \"{SECRET}\"\nevents = [\"message\"]\n",
            self.at
        )
    }

    /// What it has got; nobody is let in any more.
    fn end(self) -> Result<Heard> {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts, if there is one.
        let _ = TcpStream::connect(self.at);
        let heard = self.heard.lock().map(|it| it.clone()).unwrap_or_default();
        match heard.fault {
            Some(fault) => Err(Error::new(fault)),
            None => Ok(heard),
        }
    }
}

/// Not one of anybody: it signs what goes to this process.
const SECRET: &str = "whsec_YmVuY2htYXJrLWJlbmNobWFyay1iZW5jaG1hcms=";

/// The requests of one connection, until it is closed.
fn serve(stream: TcpStream, manner: Manner, heard: &Mutex<Heard>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        heard.lock().ok()?.requests += 1;
        let answer: &[u8] = match manner {
            Manner::Takes | Manner::TakesSlowly => {
                if manner == Manner::TakesSlowly {
                    thread::sleep(SLOW);
                }
                heard.lock().ok()?.take(&body);
                b"HTTP/1.1 204 No Content\r\n\r\n"
            }
            Manner::Refuses => b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
            Manner::Hangs | Manner::Gone => continue,
        };
        reader.get_mut().write_all(answer).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::Heard;

    #[test]
    fn what_a_receiver_does_not_get_is_found() {
        let event = |offset: u64| format!(r#"{{"room_id":"a","message":{{"offset":{offset}}}}}"#);
        let body = |offsets: &[u64]| {
            let events: Vec<_> = offsets.iter().map(|it| event(*it)).collect();
            format!(r#"{{"events":[{}]}}"#, events.join(",")).into_bytes()
        };
        let mut heard = Heard::default();
        heard.take(&body(&[1, 2]));
        heard.take(&body(&[3]));
        assert_eq!((heard.events, &heard.fault), (3, &None));
        heard.take(&body(&[5]));
        assert!(heard.fault.is_some());
    }
}
