//! `[tracing]`: settings, which know nothing of the rest of the configuration.

use http::Uri;

/// `[tracing]`
#[derive(Clone, Debug)]
pub struct TracingSettings {
    /// Where the collector takes OTLP over HTTP; empty: nothing is traced.
    pub endpoint: String,
    /// The part of requests that is traced, of those that come without a `traceparent`: from 0 to 1.
    pub sample: f64,
    /// What traces call the servers.
    pub service_name: String,
}

impl Default for TracingSettings {
    fn default() -> TracingSettings {
        TracingSettings {
            endpoint: String::new(),
            sample: 0.01,
            service_name: "roomcast".to_owned(),
        }
    }
}

impl TracingSettings {
    /// Whether anything is traced.
    pub fn is_on(&self) -> bool {
        !self.endpoint.is_empty()
    }

    /// Where traces go.
    pub(crate) fn url(&self) -> Result<Uri, &'static str> {
        let base = self.endpoint.trim_end_matches('/');
        let url = match base.ends_with("/v1/traces") {
            true => base.to_owned(),
            false => format!("{base}/v1/traces"),
        };
        let uri: Uri = url.parse().map_err(|_| "is no URL")?;
        match uri.scheme_str() {
            Some("http" | "https") if uri.host().is_some() => Ok(uri),
            _ => Err("does not begin with http:// or https://"),
        }
    }
}

/// For the configuration: whether it can be one.
pub(crate) fn check_endpoint(text: &str) -> Result<(), String> {
    let settings = TracingSettings {
        endpoint: text.to_owned(),
        ..TracingSettings::default()
    };
    match settings.is_on() {
        true => settings.url().map(drop).map_err(str::to_owned),
        false => Ok(()),
    }
}

pub(crate) fn check_name(text: &str) -> Result<(), String> {
    match text.len() {
        1..=64 => Ok(()),
        _ => Err("is empty, or longer than 64 bytes".to_owned()),
    }
}
