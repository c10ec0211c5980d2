//! The pages: those inside the binary, and those of the program that embeds the server.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderValue, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;

use super::folder::{Folder, Found};
use super::paths::Own;
use super::response::Answer;

/// The built-in pages need nothing but themselves: their scripts and styles are files, their WebSocket is here.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
);

macro_rules! built_in {
    ($($path:literal $file:literal $content_type:literal)*) => {
        &[$(($path, $content_type, include_bytes!(concat!("../../web/", $file)).as_slice())),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";

/// Path, content type, content.
const BUILT_IN: &[(&str, &str, &[u8])] = built_in! {
    "/" "index.html" "text/html; charset=utf-8"
    "/app.js" "app.js" "text/javascript; charset=utf-8"
    "/arena.js" "arena.js" "text/javascript; charset=utf-8"
    "/pane.js" "pane.js" "text/javascript; charset=utf-8"
    "/tally.js" "tally.js" "text/javascript; charset=utf-8"
    "/traffic.js" "traffic.js" "text/javascript; charset=utf-8"
    "/world.js" "world.js" "text/javascript; charset=utf-8"
    "/style.css" "style.css" "text/css; charset=utf-8"
    "/pane.css" "pane.css" "text/css; charset=utf-8"
    "/console" "console.html" "text/html; charset=utf-8"
    "/console.css" "console.css" "text/css; charset=utf-8"
    "/console.js" "console.js" "text/javascript; charset=utf-8"
    "/console-frames.js" "console-frames.js" "text/javascript; charset=utf-8"
    "/console-link.js" "console-link.js" "text/javascript; charset=utf-8"
    "/admin" "admin/index.html" "text/html; charset=utf-8"
    "/admin/admin.css" "admin/admin.css" "text/css; charset=utf-8"
    "/admin/admin.js" "admin/admin.js" "text/javascript; charset=utf-8"
    "/admin/api.js" "admin/api.js" "text/javascript; charset=utf-8"
    "/admin/tables.js" "admin/tables.js" "text/javascript; charset=utf-8"
    "/admin/tail.js" "admin/tail.js" "text/javascript; charset=utf-8"
    "/admin/style.css" "style.css" "text/css; charset=utf-8"
    "/admin/favicon.svg" "favicon.svg" "image/svg+xml"
    "/favicon.svg" "favicon.svg" "image/svg+xml"
    "/sdk/roomcast.js" "sdk/roomcast.js" "text/javascript; charset=utf-8"
    "/sdk/protobuf.js" "sdk/protobuf.js" "text/javascript; charset=utf-8"
    "/sdk/reload.js" "sdk/reload.js" "text/javascript; charset=utf-8"
    "/sdk/fallback.js" "sdk/fallback.js" "text/javascript; charset=utf-8"
    "/sdk/react.js" "sdk/react.js" "text/javascript; charset=utf-8"
    "/sdk/roomcast.d.ts" "sdk/roomcast.d.ts" "text/plain; charset=utf-8"
    "/sdk/protobuf.d.ts" "sdk/protobuf.d.ts" "text/plain; charset=utf-8"
    "/sdk/reload.d.ts" "sdk/reload.d.ts" "text/plain; charset=utf-8"
    "/sdk/fallback.d.ts" "sdk/fallback.d.ts" "text/plain; charset=utf-8"
    "/sdk/react.d.ts" "sdk/react.d.ts" "text/plain; charset=utf-8"
};

/// No page frames the admin page.
const ADMIN_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// The demo page, in whose place the files of a folder are. The other built-in pages keep their paths.
const DEMO: [&str; 10] = [
    "/",
    "/app.js",
    "/arena.js",
    "/pane.js",
    "/tally.js",
    "/traffic.js",
    "/world.js",
    "/style.css",
    "/pane.css",
    "/favicon.svg",
];

/// The SDK: served on every listener, and to pages of every origin, as an application's own page imports it.
const SDK: &str = "/sdk/";

/// A page that the embedding program gives.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    path: String,
    content_type: HeaderValue,
    content: Bytes,
}

impl Page {
    /// # Errors
    /// A sentence that says what is wrong with the path or the content type.
    pub(crate) fn new(path: &str, content_type: &str, content: Bytes) -> Result<Page, String> {
        if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
            return Err(format!(
                "the path of a page begins with / and has no query: {path:?}"
            ));
        }
        if Own::at(path).is_some() {
            return Err(format!("{path} is the server's own"));
        }
        // A page that doesn't say how it is encoded is UTF-8, as Rust's strings are.
        let content_type = if content_type == "text/html" {
            HTML
        } else {
            content_type
        };
        let content_type = HeaderValue::from_str(content_type)
            .map_err(|_| format!("not a content type: {content_type:?}"))?;
        Ok(Page {
            path: path.to_owned(),
            content_type,
            content,
        })
    }
}

/// Everything that can be had with GET by its path.
#[derive(Debug)]
pub(super) struct Pages {
    assets: HashMap<String, Asset>,
    folder: Option<Arc<Folder>>,
}

/// What is answered at a path.
#[derive(Clone, Debug)]
pub(super) struct Asset {
    built_in: bool,
    policy: HeaderValue,
    /// Served on listeners whose built-in pages are off, too.
    always: bool,
    content: Bytes,
    content_type: HeaderValue,
    etag: HeaderValue,
}

impl Pages {
    /// A page of `extra` takes the place of a built-in one, and the files of a folder that of the demo page.
    pub(super) fn new(extra: Vec<Page>, folder: Option<Arc<Folder>>) -> Pages {
        let stays = |path: &str| folder.is_none() || !DEMO.contains(&path);
        let built_in = BUILT_IN.iter().filter(|(path, ..)| stays(path)).map(
            |(path, content_type, content)| {
                let asset = Asset {
                    built_in: true,
                    policy: match Own::at(path) {
                        Some(Own::Admin) => ADMIN_POLICY,
                        _ => POLICY,
                    },
                    always: path.starts_with(SDK),
                    content: Bytes::from_static(content),
                    content_type: HeaderValue::from_static(content_type),
                    etag: etag(content),
                };
                ((*path).to_owned(), asset)
            },
        );
        let extra = extra.into_iter().map(|page| {
            let asset = Asset {
                built_in: false,
                policy: POLICY,
                always: true,
                etag: etag(&page.content),
                content: page.content,
                content_type: page.content_type,
            };
            (page.path, asset)
        });
        Pages {
            assets: built_in.chain(extra).collect(),
            folder,
        }
    }

    /// The folder, where there is one.
    pub(super) fn folder(&self) -> Option<&Arc<Folder>> {
        self.folder.as_ref()
    }

    /// What is at that path; `built_in` says whether the built-in pages are on.
    pub(super) fn get(&self, path: &str, built_in: bool, headers: &HeaderMap) -> Option<Answer> {
        let Some(asset) = self.assets.get(path) else {
            return match self.folder.as_ref()?.get(path)? {
                Found::File(asset) => Some(asset.answer(headers)),
                Found::Elsewhere(to) => Some(elsewhere(to)),
            };
        };
        (built_in || asset.always).then(|| {
            let mut answer = asset.answer(headers);
            if asset.built_in && asset.always {
                answer
                    .headers_mut()
                    .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            answer
        })
    }
}

impl Asset {
    /// A file of a folder: there on every listener.
    pub(super) fn of_folder(content_type: HeaderValue, etag: HeaderValue, content: Bytes) -> Asset {
        Asset {
            built_in: false,
            policy: POLICY,
            always: true,
            content,
            content_type,
            etag,
        }
    }

    #[cfg(all(test, unix))]
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    fn answer(&self, request: &HeaderMap) -> Answer {
        let fresh = request
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.etag);
        let mut answer = Response::new(Full::default());
        let headers = answer.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        // Kept by the browser, asked for again each time: a new version of the server is a new page at once.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if fresh {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            return answer;
        }
        headers.insert(CONTENT_TYPE, self.content_type.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        // What a game's own page loads is the game's business.
        if self.built_in {
            headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        }
        *answer.body_mut() = Full::new(self.content.clone());
        answer
    }
}

fn elsewhere(to: HeaderValue) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    answer.headers_mut().insert(LOCATION, to);
    answer
}

/// Names a content; no secret, so a plain hash does.
pub(super) fn etag(content: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"0\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_web_directory_is_served() {
        let web = concat!(env!("CARGO_MANIFEST_DIR"), "/web");
        for (directory, prefix) in [
            (web.to_owned(), "/"),
            (format!("{web}/sdk"), SDK),
            (format!("{web}/admin"), "/admin/"),
        ] {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                let path = match name.as_str() {
                    "index.html" if prefix == "/admin/" => "/admin".to_owned(),
                    "index.html" => "/".to_owned(),
                    "console.html" => "/console".to_owned(),
                    name => format!("{prefix}{name}"),
                };
                assert!(
                    entry.file_type().unwrap().is_dir()
                        || BUILT_IN.iter().any(|(known, ..)| *known == path),
                    "{path} is not in BUILT_IN"
                );
            }
        }
    }

    #[test]
    fn extra_pages_come_first_and_the_sdk_is_always_there() {
        let headers = HeaderMap::new();
        let page = Page::new("/", "text/html", Bytes::from_static(b"mine")).unwrap();
        let pages = Pages::new(vec![page], None);
        let mine = pages.get("/", false, &headers).unwrap();
        assert_eq!(mine.headers()[CONTENT_TYPE], HTML);
        assert!(!mine.headers().contains_key(CONTENT_SECURITY_POLICY));
        assert!(pages.get("/app.js", false, &headers).is_none());
        let script = pages.get("/app.js", true, &headers).unwrap();
        assert!(!script.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        for pages in [pages, Pages::new(Vec::new(), None)] {
            for built_in in [true, false] {
                let sdk = pages.get("/sdk/roomcast.js", built_in, &headers).unwrap();
                assert_eq!(sdk.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
            }
        }
    }

    #[test]
    fn paths_and_types_are_checked() {
        let page = |path, content_type| Page::new(path, content_type, Bytes::new()).map(|_| ());
        assert!(page("/game", "text/html").is_ok());
        assert!(
            page("game", "text/html")
                .unwrap_err()
                .contains("begins with /")
        );
        for path in ["/ws", "/sse", "/send", "/metrics", "/api/v1/x", "/admin"] {
            let told = page(path, "text/html").unwrap_err();
            assert!(told.contains("server's own"), "{told}");
        }
        assert!(page("/a?b", "text/html").is_err());
        assert!(
            page("/game", "text/html\r\n")
                .unwrap_err()
                .contains("content type")
        );
    }
}
