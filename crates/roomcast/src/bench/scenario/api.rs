//! Publishing over the API: HTTP/1.1 with connections that stay open, beside live traffic and without it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::bench::client::{Measured, Pace, Plan, Say, Shape};
use crate::bench::error::{Error, Result};
use crate::bench::proc;
use crate::bench::report::{Bound, Goal, Section, figure, maybe, median};
use crate::bench::runner::{Bench, data, over, over_some, progress, progress_of};
use crate::bench::target::{Setup, Subject, Target};

/// Options of `api`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections of the backend, each of which waits for its answer before it asks again.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=512))]
    connections: u32,
}

impl Default for Args {
    fn default() -> Args {
        Args { connections: 32 }
    }
}

/// Publishes a second that one core is to take.
const RATE: f64 = 10_000.0;
const KEY: &str = "a-key-for-the-benchmark-0123456789abcdef";
/// Logs are short, so that all of them are kept (`limits.log_memory`): a log that is dropped begins at 1 again.
const KEYS: &str = "log.events = 256\n\n[api_keys.bench]\nkey = \"a-key-for-the-benchmark-0123456789abcdef\"\nrights = [\"publish\"]\nrate = 0\n";
const DEADLINE: Duration = Duration::from_secs(20);
/// Messages of one request, where it has several: all connections together stay below what one key may have under way.
const BATCH: u32 = 50;
/// Bytes of a payload.
const PAYLOAD: usize = 128;

/// What is published, and where to.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    rooms: u32,
    batch: u32,
    beside: bool,
}

const CASES: [Case; 4] = [
    Case {
        name: "one room",
        rooms: 1,
        batch: 1,
        beside: false,
    },
    Case {
        name: "1,000 rooms",
        rooms: 1_000,
        batch: 1,
        beside: false,
    },
    Case {
        name: "1,000 rooms, 50 messages a request",
        rooms: 1_000,
        batch: BATCH,
        beside: false,
    },
    Case {
        name: "1,000 rooms, beside 50 × 8 × 10 actions/s",
        rooms: 1_000,
        batch: 1,
        beside: true,
    },
];

pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    if bench.options.url.is_some() {
        return Err(Error::new(
            "`api` starts a server of its own: one at --url would need its key".to_owned(),
        ));
    }
    let mut section = Section {
        name: "api",
        title: format!(
            "Publishing over HTTP: {} connections, payloads of {PAYLOAD} bytes",
            args.connections
        ),
        columns: vec![
            "",
            "publishes/s",
            "server CPU µs each",
            "p50 ms",
            "p99 ms",
            "p99 ms of the others",
        ],
        ..Section::default()
    };
    let alone = others(bench, None)?;
    let by_clients = by_clients(bench, &mut section)?;
    for case in CASES {
        let mut runs = Vec::new();
        for _ in 0..bench.options.repeat() {
            progress(&format!("api: {}", case.name), "publishing");
            runs.push(measure(bench, args.connections, case)?);
        }
        let over = |figure: fn(&Run) -> f64| median(runs.iter().map(figure).collect());
        let rate = over(|run| run.per_second);
        let cpu: Option<Vec<f64>> = runs.iter().map(|run| run.cpu).collect();
        let cpu = cpu.map(median);
        let of_others: Option<Vec<f64>> = runs.iter().map(|run| run.others).collect();
        let of_others = of_others.map(median);
        let (p50, p99) = (over(|run| run.p50), over(|run| run.p99));
        section.rows.push(vec![
            case.name.to_owned(),
            figure(rate),
            maybe(cpu),
            figure(p50),
            figure(p99),
            maybe(of_others),
        ]);
        section.data.push(json!({
            "case": case.name,
            "publishes_per_second": rate,
            "cpu_us_per_publish": cpu,
            "p50_ms": p50,
            "p99_ms": p99,
            "p99_ms_of_others": of_others,
        }));
        if let (Some(cpu), Some(by_clients), false, true) =
            (cpu, by_clients, bench.options.quick, case.batch > 1)
        {
            section.goals.push(Goal {
                what: "CPU of a message among 50 of a request, against that of a client's"
                    .to_owned(),
                value: cpu / by_clients,
                bound: Bound::AtMost(1.0),
                unit: "×",
            });
        }
        if !bench.options.quick && case.batch == 1 && !case.beside {
            section.goals.push(Goal {
                what: format!("publishes/s to {}", case.name),
                value: rate,
                bound: Bound::AtLeast(RATE),
                unit: "a second",
            });
        }
    }
    section.notes.push(format!(
        "the latency of a request is from its first byte to the answer's last; without the API's traffic the others' p99 is {} ms",
        figure(alone)
    ));
    section.notes.push(
        "each answer's offset is compared with the others of its room: none is there twice, and none is missing"
            .to_owned(),
    );
    bench.add(section);
    Ok(())
}

/// The row of clients that say the same: one connection is in about 16 of 1,000 rooms, and has one message under way in each.
/// Returns the server's CPU time of a message in µs.
fn by_clients(bench: &mut Bench, section: &mut Section) -> Result<Option<f64>> {
    let plan = Plan {
        say: Say::Event,
        kind: "relay",
        payload: PAYLOAD,
        ..Plan::new(
            Shape::new(1_000, 1).with_connections(64),
            Pace::InFlight(1),
            bench.options.measure(5),
        )
    };
    let mut runs = Vec::new();
    for _ in 0..bench.options.repeat() {
        runs.push(bench.run("api: clients", Subject::Server, &setup(), &plan)?);
    }
    let name = "1,000 rooms, by clients over WebSocket";
    let cpu = over_some(&runs, Measured::cpu_per_delivery);
    section.rows.push(vec![
        name.to_owned(),
        figure(over(&runs, Measured::per_second)),
        maybe(cpu),
        figure(over(&runs, |run| run.latency_ms(50.0))),
        figure(over(&runs, |run| run.latency_ms(99.0))),
        maybe(None),
    ]);
    section.data.push(data(name, &runs));
    Ok(cpu)
}

struct Run {
    per_second: f64,
    cpu: Option<f64>,
    p50: f64,
    p99: f64,
    /// The 99th percentile of the live traffic beside it, in ms.
    others: Option<f64>,
}

fn setup() -> Setup {
    Setup {
        config: KEYS.to_owned(),
        ..Setup::default()
    }
}

fn measure(bench: &mut Bench, connections: u32, case: Case) -> Result<Run> {
    let time = bench.options.measure(5);
    let publisher = Publisher {
        case,
        connections,
        stop: AtomicBool::new(false),
        published: AtomicU64::new(0),
    };
    if case.beside {
        let mut run = None;
        let p99 = others(bench, Some((&publisher, &mut run)))?;
        let run = run.unwrap_or_else(|| Err(Error::new("nothing was published".to_owned())))?;
        return Ok(Run {
            others: Some(p99),
            cpu: None,
            ..run
        });
    }
    let target = Target::start(Subject::Server, &setup(), &bench.options)?;
    thread::scope(|scope| {
        let publishing = scope.spawn(|| publisher.run(target.to, target.pid));
        thread::sleep(time);
        publisher.stop.store(true, Ordering::Relaxed);
        let ended = publishing.join();
        ended.unwrap_or_else(|_| Err(Error::new("the publisher has failed".to_owned())))
    })
}

/// The 99th percentile of live traffic in ms, with a publisher beside it or without.
fn others(
    bench: &mut Bench,
    beside: Option<(&Publisher, &mut Option<Result<Run>>)>,
) -> Result<f64> {
    let shape = Shape::new(bench.options.size(50, 10), 8);
    let rate = 10.0 * f64::from(shape.connections);
    let plan = Plan {
        say: Say::Action,
        kind: "relay",
        ..Plan::new(shape, Pace::Rate(rate), bench.options.measure(5))
    };
    let label = "api: live traffic";
    progress(label, "connecting");
    let (target, mut swarm, _) = bench.open(Subject::Server, &setup(), &plan)?;
    let measured = thread::scope(|scope| {
        let publishing = beside.map(|(publisher, run)| {
            let (to, pid) = (target.to, target.pid);
            (publisher, run, scope.spawn(move || publisher.run(to, pid)))
        });
        let measured = swarm.drive(target.pid.as_slice(), |look| progress_of(label, look));
        if let Some((publisher, run, thread)) = publishing {
            publisher.stop.store(true, Ordering::Relaxed);
            let ended = thread.join();
            let failed = || Error::new("the publisher has failed".to_owned());
            *run = Some(ended.unwrap_or_else(|_| Err(failed())));
        }
        measured
    })?;
    swarm.close();
    bench.judge(
        label,
        Subject::Server,
        &measured.faults,
        swarm.first_error(),
    );
    Ok(measured.latency_ms(99.0))
}

/// A backend that publishes as fast as it is answered.
struct Publisher {
    case: Case,
    connections: u32,
    stop: AtomicBool,
    published: AtomicU64,
}

/// What one connection has seen: latencies in µs, and offsets by room.
type Seen = (Histogram<u64>, Vec<(u32, u64)>);

impl Publisher {
    fn run(&self, to: SocketAddr, pid: Option<u32>) -> Result<Run> {
        let (begin, cpu_before) = (Instant::now(), pid.and_then(proc::cpu));
        let seen = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.connections)
                .map(|nth| scope.spawn(move || self.publish(to, nth)))
                .collect();
            let ended = threads.into_iter().map(|thread| {
                let failed = |_| Err(Error::new("a connection has failed".to_owned()));
                thread.join().unwrap_or_else(failed)
            });
            ended.collect::<Result<Vec<Seen>>>()
        })?;
        let wall = begin.elapsed().as_secs_f64();
        let cpu = pid.and_then(proc::cpu).zip(cpu_before);
        let published = self.published.load(Ordering::Relaxed) as f64;
        let (mut latencies, mut offsets) = (histogram()?, Vec::new());
        for (of_one, places) in seen {
            latencies
                .add(of_one)
                .map_err(|error| Error::new(error.to_string()))?;
            offsets.extend(places);
        }
        check(offsets)?;
        let ms = |percent| latencies.value_at_quantile(percent) as f64 / 1e3;
        Ok(Run {
            per_second: published / wall,
            cpu: cpu.map(|(after, before)| {
                after.saturating_sub(before).as_secs_f64() * 1e6 / published.max(1.0)
            }),
            p50: ms(0.5),
            p99: ms(0.99),
            others: None,
        })
    }

    /// One connection.
    fn publish(&self, to: SocketAddr, nth: u32) -> Result<Seen> {
        let Case { rooms, batch, .. } = self.case;
        let (mut latencies, mut offsets) = (histogram()?, Vec::new());
        let mut http = Http::open(to)?;
        let payload = "x".repeat(PAYLOAD);
        let mut room = nth;
        while !self.stop.load(Ordering::Relaxed) {
            let mut next = || {
                room = room.wrapping_add(self.connections) % rooms.max(1);
                room
            };
            let (path, body) = if batch == 1 {
                let path = format!("/api/v1/rooms/relay:api{}/messages", next());
                (path, format!(r#"{{"type":"chat","payload":"{payload}"}}"#))
            } else {
                let message = |_| {
                    let room = next();
                    format!(
                        r#"{{"room_id":"relay:api{room}","type":"chat","payload":"{payload}"}}"#
                    )
                };
                let messages: Vec<_> = (0..batch).map(message).collect();
                let body = format!(r#"{{"messages":[{}]}}"#, messages.join(","));
                ("/api/v1/messages".to_owned(), body)
            };
            let begin = Instant::now();
            let answer = http.post(to, &path, &body)?;
            latencies.saturating_record(begin.elapsed().as_micros() as u64);
            let results = match answer["results"].as_array() {
                Some(results) => results.as_slice(),
                None => std::slice::from_ref(&answer),
            };
            for result in results {
                let number = result["room_id"].as_str();
                let number = number.and_then(|it| it.strip_prefix("relay:api")?.parse().ok());
                let place = number.zip(result["offset"].as_u64());
                offsets.push(place.ok_or_else(|| Error::new(format!("not published: {result}")))?);
            }
            self.published
                .fetch_add(results.len() as u64, Ordering::Relaxed);
        }
        Ok((latencies, offsets))
    }
}

/// Of µs. What takes longer than a minute counts as a minute.
fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|error| Error::new(error.to_string()))
}

/// The offsets of each room are 1, 2, 3 … and each is there once.
fn check(mut offsets: Vec<(u32, u64)>) -> Result<()> {
    offsets.sort_unstable();
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    for (room, offset) in offsets {
        let last = last.entry(room).or_default();
        if offset != *last + 1 {
            return Err(Error::new(format!(
                "room {room} has {offset} behind {last}: a publish was lost or is there twice"
            )));
        }
        *last = offset;
    }
    Ok(())
}

/// A connection that stays open.
struct Http(BufReader<TcpStream>);

impl Http {
    fn open(to: SocketAddr) -> Result<Http> {
        let stream = TcpStream::connect_timeout(&to, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Http(BufReader::new(stream)))
    }

    /// The JSON of an answer of 200. The server closes a connection that is old with an answer.
    fn post(&mut self, to: SocketAddr, path: &str, body: &str) -> Result<Value> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut length, mut closes, mut line) = (0, false, String::new());
        self.0.read_line(&mut line)?;
        let is_done = line.starts_with("HTTP/1.1 200");
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            match name {
                "content-length" => length = value.parse().unwrap_or(0),
                "connection" => closes = value == "close",
                _ => {}
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer)?;
        if !is_done {
            let answer = String::from_utf8_lossy(&answer);
            return Err(Error::new(format!("the API refuses: {answer}")));
        }
        if closes {
            *self = Http::open(to)?;
        }
        serde_json::from_slice(&answer).map_err(|error| Error::new(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_is_missing_and_what_is_there_twice_is_found() {
        assert!(check(vec![(1, 2), (2, 1), (1, 1)]).is_ok());
        assert!(check(vec![(1, 2)]).is_err());
        assert!(check(vec![(1, 1), (1, 1)]).is_err());
        assert!(check(vec![(1, 1), (1, 3)]).is_err());
    }
}
