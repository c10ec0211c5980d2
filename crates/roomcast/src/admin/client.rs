//! The way to a server's API.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client as Hyper};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::args::AdminArgs;

/// The largest answer.
const LARGEST: usize = 16 * 1024 * 1024;
/// The API answers within about twenty seconds.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks whether a server has ended.
const LOOK: Duration = Duration::from_millis(250);
/// The largest event of a tail.
const LARGEST_EVENT: usize = 4 * 1024 * 1024;

/// Why something could not be done.
#[derive(Debug)]
pub(super) enum Wrong {
    /// What was given makes no sense.
    Usage(String),
    /// The server can't be asked.
    Unreachable(String),
    /// It says no.
    Refused { code: String, detail: String },
    /// What it says is not what the API says.
    Answer,
    /// Nobody takes what is printed.
    Output(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Usage(sentence) | Wrong::Unreachable(sentence) | Wrong::Output(sentence) => {
                f.write_str(sentence)
            }
            Wrong::Refused { code, detail } => write!(f, "{detail} ({code})"),
            Wrong::Answer => f.write_str(
                "this is not the API of a Roomcast server, or one of another version: is --url right?",
            ),
        }
    }
}

impl Wrong {
    pub(super) fn of_problem(problem: &Value) -> Wrong {
        let text = |name: &str| problem[name].as_str().map(str::to_owned);
        match (text("code"), text("detail")) {
            (Some(code), Some(detail)) => Wrong::Refused { code, detail },
            _ => Wrong::Answer,
        }
    }
}

pub(super) struct Client {
    http: Hyper<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    key: HeaderValue,
}

impl Client {
    pub(super) fn new(args: &AdminArgs) -> Result<Client, Wrong> {
        let variable = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
        let url = args.url.clone().or_else(|| variable("ROOMCAST_ADMIN_URL"));
        let url = url.unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
        let url = url.trim_end_matches('/').to_owned();
        let uri = url.parse::<Uri>().ok();
        let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        if !uri.is_some_and(|uri| is_web(&uri) && uri.path() == "/" && uri.query().is_none()) {
            let sentence = format!("{url:?} is no URL of a server, such as http://127.0.0.1:8080");
            return Err(Wrong::Usage(sentence));
        }
        let file = args.key_file.clone();
        let file = file.or_else(|| variable("ROOMCAST_ADMIN_KEY_FILE").map(Into::into));
        let key = match file {
            Some(file) => std::fs::read_to_string(&file).map_err(|error| {
                Wrong::Usage(format!(
                    "cannot read the key in {}: {error}",
                    file.display()
                ))
            })?,
            None => variable("ROOMCAST_ADMIN_KEY").ok_or_else(|| {
                let sentence =
                    "there is no key: give --key-file FILE, or set ROOMCAST_ADMIN_KEY_FILE";
                Wrong::Usage(sentence.to_owned())
            })?,
        };
        let key = HeaderValue::try_from(format!("Bearer {}", key.trim()));
        let mut key =
            key.map_err(|_| Wrong::Usage("the key has characters that no key has".to_owned()))?;
        key.set_sensitive(true);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls(args)?)
            .https_or_http()
            .enable_http1()
            .build();
        let http = Hyper::builder(TokioExecutor::new()).build(connector);
        Ok(Client { http, url, key })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Wrong> {
        self.ask(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Wrong> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Wrong> {
        let exchange = async {
            let answer = self.request(method, path, body, None).await?;
            let is_done = answer.status().is_success();
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            let body = body.map_err(|error| {
                Wrong::Unreachable(format!("the answer of {} broke off: {error}", self.url))
            })?;
            let answer: Value =
                serde_json::from_slice(&body.to_bytes()).map_err(|_| Wrong::Answer)?;
            match is_done {
                true => Ok(answer),
                false => Err(Wrong::of_problem(&answer)),
            }
        };
        let late = |_| {
            let seconds = DEADLINE.as_secs();
            Wrong::Unreachable(format!("{} does not answer within {seconds} s", self.url))
        };
        tokio::time::timeout(DEADLINE, exchange)
            .await
            .map_err(late)?
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        last_event: Option<&str>,
    ) -> Result<Response<Incoming>, Wrong> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.url))
            .header(AUTHORIZATION, self.key.clone());
        if let Some(last) = last_event {
            request = request.header("last-event-id", last);
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| Wrong::Usage(error.to_string()))?;
        let answer = self.http.request(request).await;
        answer.map_err(|error| {
            Wrong::Unreachable(format!("no answer from {}: {}", self.url, cause(&error)))
        })
    }

    /// Server-sent events.
    pub(super) async fn events(&self, path: &str, last: Option<&str>) -> Result<Events, Wrong> {
        let answer = self.request(Method::GET, path, None, last).await?;
        if answer.status().is_success() {
            let body = answer.into_body();
            return Ok(Events {
                body,
                text: Vec::new(),
            });
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(|_| Wrong::Answer)?.to_bytes();
        let problem = serde_json::from_slice(&body).map_err(|_| Wrong::Answer)?;
        Err(Wrong::of_problem(&problem))
    }

    /// Waits until no server of this name answers. Another one may have taken its address.
    pub(super) async fn wait_until_gone(&self, node: &str) -> Result<(), Wrong> {
        loop {
            match self.get("/nodes").await {
                Ok(answer) => {
                    let nodes = answer["nodes"].as_array();
                    let is_it = |it: &Value| it["node"] == node;
                    if !nodes.is_some_and(|nodes| nodes.iter().any(is_it)) {
                        return Ok(());
                    }
                }
                Err(Wrong::Unreachable(_)) => return Ok(()),
                // While it ends it may be unable to answer.
                Err(Wrong::Refused { code, .. }) if code == "unavailable" => {}
                Err(wrong) => return Err(wrong),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: Option<String>,
    /// Empty: a message.
    pub(super) name: String,
    pub(super) data: String,
}

/// The events of an answer.
pub(super) struct Events {
    body: Incoming,
    text: Vec<u8>,
}

impl Events {
    /// Nothing: the answer has ended, or its connection is cut.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = take_event(&mut self.text) {
                return Some(event);
            }
            if self.text.len() > LARGEST_EVENT {
                return None;
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.text.extend_from_slice(&data);
            }
        }
    }
}

/// Takes the first whole event that has data.
fn take_event(text: &mut Vec<u8>) -> Option<Event> {
    loop {
        let end = text.windows(2).position(|two| two == b"\n\n")?;
        let whole: Vec<u8> = text.drain(..end + 2).collect();
        let mut event = Event::default();
        for line in String::from_utf8_lossy(&whole).lines() {
            match line.split_once(": ") {
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("data", data)) => data.clone_into(&mut event.data),
                _ => {}
            }
        }
        if !event.data.is_empty() {
            return Some(event);
        }
    }
}

fn tls(args: &AdminArgs) -> Result<ClientConfig, Wrong> {
    let mut roots = RootCertStore::empty();
    match &args.ca {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let wrong = |why: String| Wrong::Usage(format!("--ca {}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let added = certificate.ok().and_then(|it| roots.add(it).ok());
                added.ok_or_else(|| wrong("it has a certificate that is none".to_owned()))?;
            }
            if roots.is_empty() {
                return Err(wrong("it has no certificate in it".to_owned()));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Wrong::Usage(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The last cause is what helps: "connection refused".
fn cause(error: &legacy::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_they_come() {
        let mut text = b": listening\n\nid: ab:1\ndata: {\"a\": 1}\n\nevent: missed\nda".to_vec();
        let event = take_event(&mut text).unwrap();
        assert_eq!(event.id.as_deref(), Some("ab:1"));
        assert_eq!((&*event.name, &*event.data), ("", "{\"a\": 1}"));
        assert_eq!(take_event(&mut text), None);
        text.extend_from_slice(b"ta: {}\n\n");
        assert_eq!(take_event(&mut text).unwrap().name, "missed");
    }
}
