//! The live tail of a room: what it tells its members, as server-sent events.
//!
//! The room's home is asked again and again, as fast as the reader takes what comes. A slow one misses messages, and is
//! told how many. So it costs the room nothing but a copy of each message, while somebody listens.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body_util::Either;
use http_body_util::channel::{Channel, Sender};
use roomcast_core::backend::{Ask, Asker, Reply};
use roomcast_protocol::ErrorCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use super::call::Call;
use super::problem::{Answer, Problem};
use super::reading::unanswered;

/// Tails of one node at once.
const MOST: usize = 16;
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two signs of life where nothing is said.
const SIGN: Duration = Duration::from_secs(5);
/// After so long it ends, and who wants more goes on where it was: an HTTP connection is not open for longer than a minute.
const LONGEST: Duration = Duration::from_secs(30);

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// How many each key has. One that has none always gets one, whatever the others have.
#[derive(Debug)]
pub(super) struct Tails {
    /// Keys that may have some.
    keys: usize,
    taken: Arc<Mutex<BTreeMap<u32, usize>>>,
}

/// One of them, until it is dropped.
struct Permit {
    key: u32,
    taken: Arc<Mutex<BTreeMap<u32, usize>>>,
}

impl Tails {
    /// None yet, for so many keys.
    pub(super) fn new(keys: usize) -> Tails {
        Tails {
            keys,
            taken: Arc::default(),
        }
    }

    fn begin(&self, Asker(key): Asker) -> Option<Permit> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        // A place is left for each key that has none.
        let kept = self.keys.saturating_sub(taken.len());
        if taken.contains_key(&key) && all + kept >= MOST.max(self.keys) {
            return None;
        }
        *taken.entry(key).or_default() += 1;
        let taken = Arc::clone(&self.taken);
        Some(Permit { key, taken })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut of_key) = taken.entry(self.key) {
            *of_key.get_mut() -= 1;
            if *of_key.get() == 0 {
                of_key.remove();
            }
        }
    }
}

pub(super) async fn tail(call: Call) -> Result<Answer, Problem> {
    let room = call.room()?.to_owned();
    let position = position(call.last_event.as_deref())?;
    let Some(permit) = call.api.tails.begin(call.holder.asker) else {
        let detail = format!(
            "this server has {MOST} live tails at most, and one for each key that has none: end another one first"
        );
        return Err(Problem::unavailable(&detail));
    };
    // What can't be had at all is told as any other error.
    let first = ask(&call, &room, position).await?;
    let (sender, body) = Channel::new(1);
    tokio::spawn(follow(call, room, sender, first, permit));
    let mut answer = Answer::new(Either::Right(body));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, NO_STORE);
    Ok(answer)
}

#[derive(Deserialize)]
struct Heard<'a> {
    tap: &'a str,
    next: u64,
    missed: u64,
    restarted: bool,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

/// Where the listener is: the tap, and the number of the message that comes next.
type Position = (u64, u64);

async fn ask(call: &Call, room: &str, (tap, after): Position) -> Result<Box<[u8]>, Problem> {
    match call.ask(room, Ask::Tail { tap, after }).await? {
        Reply::Message(heard) => Ok(heard),
        _ => Err(unanswered()),
    }
}

async fn follow(
    call: Call,
    room: String,
    mut to: Sender<Bytes, Infallible>,
    first: Box<[u8]>,
    permit: Permit,
) {
    let begin = Instant::now();
    let (mut heard, mut signed) = (first, None::<Instant>);
    while let Some((position, mut text)) = events(&heard) {
        if text.is_empty() && signed.is_none_or(|at| at.elapsed() >= SIGN) {
            text.push_str(": listening\n\n");
        }
        if !text.is_empty() {
            signed = Some(Instant::now());
            // A slow reader is waited for, here.
            if to.send_data(Bytes::from(text)).await.is_err() {
                break;
            }
        }
        if begin.elapsed() >= LONGEST {
            break;
        }
        sleep(PAUSE).await;
        match ask(&call, &room, position).await {
            Ok(next) => heard = next,
            Err(problem) => {
                let told = format!("event: problem\ndata: {}\n\n", problem.body());
                let _ = to.send_data(Bytes::from(told)).await;
                break;
            }
        }
    }
    drop(permit);
}

/// As server-sent events, and where the listener is then.
fn events(heard: &[u8]) -> Option<(Position, String)> {
    let heard: Heard<'_> = serde_json::from_slice(heard).ok()?;
    let tap = u64::from_str_radix(heard.tap, 16).ok()?;
    let mut text = String::new();
    // Writing into a string does not fail.
    if heard.missed > 0 {
        let _ = write!(
            text,
            "event: missed\ndata: {{\"messages\":{}}}\n\n",
            heard.missed
        );
    }
    if heard.restarted {
        text.push_str("event: missed\ndata: {}\n\n");
    }
    let before = heard.next.saturating_sub(heard.messages.len() as u64);
    for (number, message) in (before + 1..).zip(&heard.messages) {
        let _ = write!(
            text,
            "id: {}:{number}\ndata: {}\n\n",
            heard.tap,
            one_line(message.get())
        );
    }
    Some(((tap, heard.next), text))
}

/// JSON has line breaks between its tokens alone, where a space does as well.
fn one_line(json: &str) -> Cow<'_, str> {
    match json.contains(['\n', '\r']) {
        true => json.replace(['\n', '\r'], " ").into(),
        false => json.into(),
    }
}

/// What a client had last, as the id of an event.
fn position(id: Option<&str>) -> Result<Position, Problem> {
    let Some(id) = id else { return Ok((0, 0)) };
    let parts = id.split_once(':');
    let position = parts
        .and_then(|(tap, number)| Some((u64::from_str_radix(tap, 16).ok()?, number.parse().ok()?)));
    position.ok_or_else(|| {
        let detail = "`Last-Event-ID` is no id that a tail has given";
        Problem::of(ErrorCode::InvalidValue, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_one_line_with_its_place() {
        let heard = b"{\"tap\":\"00000000000000ab\",\"next\":9,\"missed\":2,\"restarted\":false,\
                      \"messages\":[{\"a\":\n1},{\"b\":\"\\n\"}]}";
        let ((tap, next), text) = events(heard).unwrap();
        assert_eq!((tap, next), (0xab, 9));
        assert_eq!(
            text,
            "event: missed\ndata: {\"messages\":2}\n\n\
             id: 00000000000000ab:8\ndata: {\"a\": 1}\n\n\
             id: 00000000000000ab:9\ndata: {\"b\":\"\\n\"}\n\n"
        );
        assert_eq!(position(Some("00000000000000ab:9")).unwrap(), (0xab, 9));
        assert!(position(Some("x")).is_err() && position(Some("1:x")).is_err());
    }

    #[test]
    fn there_are_not_more_than_may_be_and_each_key_gets_one() {
        for keys in [1, 3, 40] {
            let tails = Tails::new(keys);
            let all_of = |key: u32| -> Vec<Permit> {
                std::iter::from_fn(|| tails.begin(Asker(key))).collect()
            };
            let first = all_of(0);
            assert_eq!(first.len(), MOST.saturating_sub(keys - 1).max(1), "{keys}");
            let others: Vec<_> = (1..keys as u32).map(|key| (key, all_of(key))).collect();
            assert!(others.iter().all(|(_, of_key)| of_key.len() == 1), "{keys}");
            drop(first);
            let again: Vec<_> = (0..keys as u32).flat_map(all_of).collect();
            let had = keys - 1;
            assert_eq!(again.len() + had, MOST.max(keys), "{keys}");
            drop((again, others));
            assert!(tails.taken.lock().unwrap().is_empty());
        }
    }
}
