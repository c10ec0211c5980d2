//! `tracing.headers_path`: what a collector wants to see of whoever sends it traces, such as a token.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::files::{self, FromFiles};

/// What the server says itself.
const OWN: [HeaderName; 5] = [
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    TRANSFER_ENCODING,
];

/// The headers, which are read anew when the file changes.
#[derive(Debug)]
pub(super) struct Headers {
    /// Empty: there are none.
    path: String,
    reload_interval: Duration,
    now: RwLock<HeaderMap>,
}

impl Headers {
    /// # Errors
    /// A sentence that shows no value.
    pub(super) fn load(path: &str, reload_interval: Duration) -> Result<Headers, String> {
        Ok(Headers {
            path: path.to_owned(),
            reload_interval,
            now: RwLock::new(read(path)?),
        })
    }

    pub(super) fn now(&self) -> HeaderMap {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }
}

impl FromFiles for Headers {
    const WHAT: &'static str = "the headers of tracing.headers_path";

    fn files(&self) -> Vec<PathBuf> {
        let path = Some(&self.path).filter(|path| !path.is_empty());
        path.map(PathBuf::from).into_iter().collect()
    }

    fn interval(&self) -> Duration {
        self.reload_interval
    }

    fn reload(&self) -> Result<(), String> {
        let headers = read(&self.path)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = headers;
        Ok(())
    }
}

/// One header on each line. Lines that are empty or begin with `#` are passed over.
fn read(path: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if path.is_empty() {
        return Ok(headers);
    }
    let wrong = |what: String| format!("tracing.headers_path = {path:?} {what}");
    let bytes = files::read(path).map_err(wrong)?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not text (UTF-8)".to_owned()))?;
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| wrong(format!("{what} in line {number}"));
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| wrong("has no header, such as \"Authorization: Bearer …\","))?;
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_| wrong("has a name that no header has"))?;
        if OWN.contains(&name) {
            return Err(wrong("has a header that the server sets itself"));
        }
        let mut value = HeaderValue::from_str(value.trim())
            .map_err(|_| wrong("has a value that no header has"))?;
        // Hidden where a header is shown.
        value.set_sensitive(true);
        headers.append(name, value);
    }
    match headers.is_empty() {
        true => Err(wrong("has no header in it".to_owned())),
        false => Ok(headers),
    }
}

/// For the configuration: what is wrong with the file.
pub(crate) fn check_headers(path: &str) -> Result<(), String> {
    read(path).map(drop)
}

#[cfg(test)]
mod tests {

    #[test]
    fn headers_are_read_and_what_is_wrong_is_told_without_their_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headers");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            super::read(path.to_str().unwrap())
        };
        let headers =
            read("# the collector\r\n\nAuthorization: Bearer s3cret\nX-Scope:team:a\n").unwrap();
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-scope"], "team:a");
        assert!(!format!("{headers:?}").contains("s3cret"));
        for (text, says) in [
            ("", "has no header in it"),
            ("# none", "has no header in it"),
            ("a: b\ns3cret", "has no header, such as"),
            ("s3 cret: x", "has a name that no header has in line 1"),
            ("x: s3cret\u{7}", "has a value that no header has in line 1"),
            ("Host: s3cret", "has a header that the server sets itself"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(says), "{told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
        assert!(super::read("").unwrap().is_empty());
        assert!(
            super::read("/nowhere")
                .unwrap_err()
                .contains("cannot be read")
        );
    }
}
