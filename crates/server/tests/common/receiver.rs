//! A backend that is told things: a real HTTP server, which keeps what it gets.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::oneshot;

/// No test waits longer for anything.
const DEADLINE: Duration = Duration::from_secs(20);

/// A secret, and another one.
pub const SECRETS: [&str; 2] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
];

/// What a request is answered with.
#[derive(Clone, Debug)]
pub enum Do {
    /// This status, with this body.
    Answer(u16, String),
    /// 503, with so many seconds as `Retry-After`.
    Busy(u64),
    /// It takes the request when so much time has passed.
    Late(Duration),
    /// Nothing: the request hangs until its sender gives it up.
    Hang,
    /// Elsewhere.
    Redirect(String),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Got {
    pub id: String,
    pub timestamp: i64,
    pub signature: String,
    pub body: Vec<u8>,
    /// Whether it was answered with 200, or will be.
    pub taken: bool,
    /// When it had come.
    pub at: Instant,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn events(&self) -> Vec<Value> {
        self.json()["events"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// Whether one of its signatures is by this secret.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key.unwrap());
        let mut signed = format!("{}.{}.", self.id, self.timestamp).into_bytes();
        signed.extend_from_slice(&self.body);
        let expected = format!("v1,{}", STANDARD.encode(hmac::sign(&key, &signed)));
        self.signature.split(' ').any(|it| it == expected)
    }
}

#[derive(Debug, Default)]
struct State {
    got: Vec<Got>,
    /// What the next requests are answered with; then with `then`.
    next: VecDeque<Do>,
    then: Option<Do>,
}

/// A receiver on a free port. It ends with the test.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    /// One that takes everything.
    pub fn start() -> Receiver {
        Receiver::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub fn at(address: SocketAddr) -> Receiver {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let of_thread = Arc::clone(&shared);
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let accept = async {
                    loop {
                        let Ok((stream, _)) = listener.accept().await else {
                            return;
                        };
                        let shared = Arc::clone(&of_thread);
                        let answer = service_fn(move |request| take(Arc::clone(&shared), request));
                        let connection =
                            http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                        tokio::spawn(async move { drop(connection.await) });
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        };
        Receiver {
            address,
            shared,
            stop: Some(stop),
            thread: Some(std::thread::spawn(serve)),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// Does these first.
    pub fn first(&self, what: impl IntoIterator<Item = Do>) {
        self.shared.0.lock().unwrap().next.extend(what);
    }

    /// Does this from now on; `None`: takes everything.
    pub fn then(&self, what: Option<Do>) {
        self.shared.0.lock().unwrap().then = what;
    }

    pub fn requests(&self) -> Vec<Got> {
        self.shared.0.lock().unwrap().got.clone()
    }

    /// What it has taken, in order.
    pub fn events(&self) -> Vec<Value> {
        let requests = self.requests();
        let taken = requests.iter().filter(|it| it.taken);
        taken.flat_map(Got::events).collect()
    }

    /// Waits for a request after which this holds.
    pub fn wait(&self, what: &str, mut holds: impl FnMut(&[Got]) -> bool) -> Vec<Got> {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.shared.0.lock().unwrap();
        while !holds(&state.got) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never: {what}; {:#?}", state.got);
            (state, _) = self.shared.1.wait_timeout(state, left).unwrap();
        }
        state.got.clone()
    }

    /// Waits until it has taken so many events.
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        let taken = |got: &[Got]| -> usize {
            let taken = got.iter().filter(|it| it.taken);
            taken.map(|it| it.events().len()).sum()
        };
        self.wait(&format!("{count} events"), |got| taken(got) >= count);
        self.events()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn take(
    shared: Arc<(Mutex<State>, Condvar)>,
    request: http::Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let header = |name: &str| {
        let value = head.headers.get(name).map(|it| it.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    };
    let body = body
        .collect()
        .await
        .map(|it| it.to_bytes())
        .unwrap_or_default();
    let what = {
        let mut state = shared.0.lock().unwrap();
        let what = state.next.pop_front().or_else(|| state.then.clone());
        let what = what.unwrap_or(Do::Answer(200, String::new()));
        state.got.push(Got {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp").parse().unwrap_or(0),
            signature: header("webhook-signature"),
            body: body.to_vec(),
            taken: matches!(what, Do::Answer(200, _) | Do::Late(_)),
            at: Instant::now(),
        });
        shared.1.notify_all();
        what
    };
    let mut answer = Response::new(Full::default());
    match what {
        Do::Answer(status, body) => {
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            *answer.body_mut() = body.into();
        }
        Do::Busy(seconds) => {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer.headers_mut().insert("retry-after", seconds.into());
        }
        Do::Late(by) => tokio::time::sleep(by).await,
        Do::Redirect(to) => {
            *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            answer.headers_mut().insert("location", to.parse().unwrap());
        }
        Do::Hang => std::future::pending().await,
    }
    Ok(answer)
}
