//! `[tracing]`: settings, which know nothing of the rest of the configuration.

use http::Uri;

use crate::outgoing;

/// `[tracing]`
#[derive(Clone, Debug)]
pub struct TracingSettings {
    /// Where the collector takes OTLP over HTTP; empty: nothing is traced.
    pub endpoint: String,
    /// The part of requests that is traced, of those that come without a `traceparent`: from 0 to 1.
    pub sample: f64,
    /// What traces call the servers.
    pub service_name: String,
    /// A file with headers for the collector, one on each line; empty: none.
    pub headers_path: String,
}

impl Default for TracingSettings {
    fn default() -> TracingSettings {
        TracingSettings {
            endpoint: String::new(),
            sample: 0.01,
            service_name: "roomcast".to_owned(),
            headers_path: String::new(),
        }
    }
}

impl TracingSettings {
    /// Whether anything is traced.
    pub fn is_on(&self) -> bool {
        !self.endpoint.is_empty()
    }

    /// Where traces go.
    pub(crate) fn url(&self) -> Result<Uri, String> {
        let base = self.endpoint.trim_end_matches('/');
        let url = match base.ends_with("/v1/traces") {
            true => base.to_owned(),
            false => format!("{base}/v1/traces"),
        };
        outgoing::read_url(&url)
    }
}

/// For the configuration: whether it can be one.
pub(crate) fn check_endpoint(text: &str) -> Result<(), String> {
    let settings = TracingSettings {
        endpoint: text.to_owned(),
        ..TracingSettings::default()
    };
    match settings.is_on() {
        true => settings.url().map(drop),
        false => Ok(()),
    }
}

pub(crate) fn check_name(text: &str) -> Result<(), String> {
    match text.len() {
        1..=64 => Ok(()),
        _ => Err("is empty, or longer than 64 bytes".to_owned()),
    }
}
