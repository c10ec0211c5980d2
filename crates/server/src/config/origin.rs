//! Hosts and origins as browsers write them, in one form: whoever compares two, compares what this file made of them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A longer one is not listed: browsers send none.
const LONGEST: usize = 300;

/// A host as it stands in a URL: a name or an IPv4 address in lower case, or an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(String);

impl HostName {
    /// Whether it means this machine whatever a name server says: `localhost` or an address of it. Names below
    /// `localhost` are asked of name servers by some systems, so they don't.
    pub fn is_loopback(&self) -> bool {
        let inner = self
            .0
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        match inner {
            Some(address) => address
                .parse::<Ipv6Addr>()
                .is_ok_and(|address| address.to_canonical().is_loopback()),
            None => {
                self.0 == "localhost"
                    || self
                        .0
                        .parse::<Ipv4Addr>()
                        .is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<HostName, &'static str> {
        match HostPort::parse(text)? {
            HostPort { name, port: None } if !text.ends_with(':') => Ok(name),
            _ => Err("has a port (a host is known with any port)"),
        }
    }
}

/// A host, and its port where one is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) name: HostName,
    pub(crate) port: Option<u16>,
}

impl HostPort {
    /// Reads `example.com`, `example.com:8080`, `127.0.0.1`, `[::1]:8080`.
    ///
    /// # Errors
    /// What is wrong, to be put behind "which".
    pub(crate) fn parse(text: &str) -> Result<HostPort, &'static str> {
        const WRONG: &str = "is not a host";
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(WRONG)?;
                let address: Ipv6Addr = address.parse().map_err(|_| WRONG)?;
                (format!("[{address}]"), port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (plain_name(name)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return Err(WRONG),
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| "has a port that is none")?)
            }
            Some(_) => return Err("has a port that is none"),
        };
        Ok(HostPort {
            name: HostName(name),
            port,
        })
    }
}

/// A name or an IPv4 address.
fn plain_name(name: &str) -> Result<String, &'static str> {
    if name.is_empty() || name.len() > LONGEST {
        return Err("is not a host");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !name.bytes().all(allowed) {
        return Err("is not as browsers send it (a host with other letters begins with \"xn--\")");
    }
    // What ends in a number is an address to a browser, which writes it in full.
    let last = name.trim_end_matches('.').rsplit('.').next();
    let number = last.is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if number && name.parse::<Ipv4Addr>().is_err() {
        return Err("is not an address");
    }
    Ok(name.to_ascii_lowercase())
}

/// A page's origin (RFC 6454): scheme, host and port. Or `null`, or that of an app with a scheme of its own.
///
/// Letters are lower case, a default port is left out, and there is no slash at the end: so two that mean the same are
/// equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    text: String,
    /// Host and port of a page that came by HTTP.
    page: Option<(HostName, u16)>,
}

impl Origin {
    /// Host and port of a page that came by HTTP.
    pub(crate) fn page(&self) -> Option<(&HostName, u16)> {
        self.page.as_ref().map(|(name, port)| (name, *port))
    }

    /// What the scheme's port is when none is written: a proxy that ends TLS passes on the `Host` without one.
    pub(crate) fn default_port(&self) -> u16 {
        if self.text.starts_with("https:") {
            443
        } else {
            80
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    /// The error is to be put behind "which".
    fn from_str(text: &str) -> Result<Origin, &'static str> {
        if text.eq_ignore_ascii_case("null") {
            let text = "null".to_owned();
            return Ok(Origin { text, page: None });
        }
        if text.len() > LONGEST {
            return Err("is too long");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("lacks a scheme such as \"https://\"");
        };
        let scheme = scheme.to_ascii_lowercase();
        let mut letters = scheme.bytes();
        let begins = letters
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic());
        if !begins || !letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
            return Err("has a scheme that is none");
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@', '\\']) {
            return Err("has more than a scheme, a host and a port");
        }
        if rest.contains('*') {
            return Err("has a * in it (only \"*\" alone is known: any origin)");
        }
        let default_port = match &*scheme {
            "http" => 80,
            "https" => 443,
            "ws" | "wss" => {
                return Err("is where a WebSocket goes (list the page: \"https://\" and its host)");
            }
            _ => {
                let odd = |byte: u8| !byte.is_ascii_graphic() || b"\"<>^`{|}".contains(&byte);
                if rest.bytes().any(odd) {
                    return Err("is not as browsers send it");
                }
                let text = format!("{scheme}://{}", rest.to_ascii_lowercase());
                return Ok(Origin { text, page: None });
            }
        };
        let HostPort { name, port } = HostPort::parse(rest)?;
        let text = match port.filter(|port| *port != default_port) {
            Some(port) => format!("{scheme}://{name}:{port}"),
            None => format!("{scheme}://{name}"),
        };
        let page = Some((name, port.unwrap_or(default_port)));
        Ok(Origin { text, page })
    }
}

/// An item of `server.origins`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AllowedOrigin {
    /// `*`: pages of any origin.
    Any,
    /// Pages of this one.
    Only(Origin),
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllowedOrigin::Any => f.write_str("*"),
            AllowedOrigin::Only(origin) => origin.fmt(f),
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<AllowedOrigin, &'static str> {
        match text {
            "*" => Ok(AllowedOrigin::Any),
            text => text.parse().map(AllowedOrigin::Only),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As written, and as browsers send it.
    const ORIGINS: &[(&str, &str)] = &[
        ("https://game.example", "https://game.example"),
        ("HTTPS://Game.Example:443/", "https://game.example"),
        ("http://game.example:80", "http://game.example"),
        ("http://game.example:443", "http://game.example:443"),
        ("https://game.example:8443/", "https://game.example:8443"),
        ("https://game.example:", "https://game.example"),
        ("https://game.example:00443", "https://game.example"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://[0:0::0:1]:3000", "http://[::1]:3000"),
        (
            "https://xn--mnchen-3ya.example",
            "https://xn--mnchen-3ya.example",
        ),
        ("https://under_score.example", "https://under_score.example"),
        ("null", "null"),
        ("NULL", "null"),
        ("file://", "file://"),
        ("file:///", "file://"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("Ionic://LOCALHOST/", "ionic://localhost"),
        ("tauri://localhost", "tauri://localhost"),
        ("app://.", "app://."),
        ("app://obsidian.md", "app://obsidian.md"),
        ("vscode-webview://1a2b", "vscode-webview://1a2b"),
        (
            "chrome-extension://abcdefghijklmnop",
            "chrome-extension://abcdefghijklmnop",
        ),
        (
            "moz-extension://0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0",
            "moz-extension://0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0",
        ),
        ("my.app+x-1://Host:77", "my.app+x-1://host:77"),
    ];

    const NONE: &[&str] = &[
        "",
        "*",
        "game.example",
        "https://",
        "https:///",
        "https://a/b",
        "https://a//",
        "https://a?b",
        "https://a#b",
        "https://user@a",
        "https://*.a",
        "https://ä.example",
        "https://a b",
        "https://a:b",
        "https://a:+80",
        "https://a:99999",
        "https://:443",
        "https://[::1",
        "https://[::1]x",
        "https://[game]",
        "http://1.2.3",
        "http://1.2.3.4.5",
        "http://127.1",
        "wss://game.example",
        "://x",
        "1a://x",
        "a b://x",
        "app://a b",
        "app://\"",
        "app://a\\b",
        "file",
        "about:blank",
        "https://a, https://b",
    ];

    #[test]
    fn origins_are_read_into_the_form_that_browsers_send() {
        for (written, sent) in ORIGINS {
            let read: Origin = written
                .parse()
                .unwrap_or_else(|why| panic!("{written} {why}"));
            assert_eq!(read.to_string(), *sent, "{written}");
            let again: Origin = sent.parse().unwrap();
            assert_eq!(again, read, "{written}");
        }
        for text in NONE {
            assert!(text.parse::<Origin>().is_err(), "{text:?}");
        }
        assert!(
            format!("app://{}", "x".repeat(400))
                .parse::<Origin>()
                .is_err()
        );
    }

    #[test]
    fn only_what_no_name_server_decides_is_loopback() {
        for name in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.8.9.10",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(name.parse::<HostName>().unwrap().is_loopback(), "{name}");
        }
        for name in [
            "app.localhost",
            "localhost.",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "0.0.0.0",
            "192.168.1.7",
            "[::]",
            "[2001:db8::1]",
        ] {
            assert!(!name.parse::<HostName>().unwrap().is_loopback(), "{name}");
        }
        for name in [
            "",
            "a:80",
            "a:",
            "[::1]:80",
            "127.0.0.1:8080",
            "a/b",
            "a b",
            "127.1",
        ] {
            assert!(name.parse::<HostName>().is_err(), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_so_that_it_is_read_again(text in "[a-zA-Z]{1,6}://\\PC{0,40}") {
            if let Ok(origin) = text.parse::<Origin>() {
                let again: Result<Origin, _> = origin.to_string().parse();
                proptest::prop_assert_eq!(again, Ok(origin));
            }
        }

        #[test]
        fn never_panics(text: String) {
            let _ = text.parse::<Origin>();
            let _ = text.parse::<HostName>();
        }
    }
}
