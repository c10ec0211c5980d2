//! Which web pages may connect: the check of a browser's `Origin` (RFC 6455, section 10.2).
//!
//! A browser sends a page's origin with a handshake and lets any page of the web connect to anything, so it is the
//! server that has to look. A client without an `Origin` is no browser, and a lie about it would be cheap: it passes.

use std::net::{IpAddr, Ipv6Addr};

/// The configured part of the policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    any: bool,
    listed: Vec<String>,
}

/// What a request shows of where it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// The `Origin` header.
    pub(super) origin: &'a str,
    /// The `Host` header.
    pub(super) host: &'a str,
    /// Whether it came to a listener on loopback and was not forwarded from elsewhere.
    pub(super) loopback: bool,
}

impl Origins {
    /// `listed`: origins as browsers send them (`https://example.com`, `null`), or `*` for all.
    pub(super) fn new(listed: &[String]) -> Origins {
        Origins {
            any: listed.iter().any(|origin| origin == "*"),
            listed: listed
                .iter()
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
        }
    }

    /// Whether a page of that origin may connect: one of the same host, one that is listed, and on loopback any page
    /// served from loopback, whatever its port.
    pub(super) fn allow(&self, seen: Seen<'_>) -> bool {
        if self.any
            || self
                .listed
                .iter()
                .any(|listed| listed.eq_ignore_ascii_case(seen.origin))
        {
            return true;
        }
        let Some(origin) = Authority::of_origin(seen.origin) else {
            return false;
        };
        let same_host = Authority::of_host(seen.host, origin.default_port).is_some_and(|host| {
            host.name.eq_ignore_ascii_case(origin.name) && host.port == origin.port
        });
        same_host || (seen.loopback && is_loopback_name(origin.name))
    }
}

/// A host and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Authority<'a> {
    name: &'a str,
    port: u16,
    /// What the origin's scheme stands for. A `Host` without a port is taken to mean the same: a proxy that ends TLS
    /// passes on `example.com` for `https://example.com`.
    default_port: u16,
}

impl<'a> Authority<'a> {
    fn of_origin(origin: &'a str) -> Option<Authority<'a>> {
        let (scheme, rest) = origin.split_once("://")?;
        let default_port = if scheme.eq_ignore_ascii_case("https") {
            443
        } else if scheme.eq_ignore_ascii_case("http") {
            80
        } else {
            return None;
        };
        Authority::of_host(rest, default_port)
    }

    fn of_host(host: &'a str, default_port: u16) -> Option<Authority<'a>> {
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (_, port) = rest.split_once(']')?;
                (&host[..host.len() - port.len()], port)
            }
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if port.is_empty() => default_port,
            None => return None,
        };
        let plain = !name.is_empty() && !name.contains(['/', '@', '?', '#', '\\', ' ']);
        plain.then_some(Authority {
            name,
            port,
            default_port,
        })
    }
}

/// Whether a host name means this machine (RFC 6761, section 6.3, for the names).
fn is_loopback_name(name: &str) -> bool {
    if let Some(address) = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        return address
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| address.to_canonical().is_loopback());
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(listed: &[&str], origin: &str, host: &str, loopback: bool) -> bool {
        let listed: Vec<String> = listed.iter().map(|origin| origin.to_string()).collect();
        Origins::new(&listed).allow(Seen {
            origin,
            host,
            loopback,
        })
    }

    #[test]
    fn same_host() {
        for (origin, host) in [
            ("http://example.com", "example.com"),
            ("http://example.com:8080", "example.com:8080"),
            ("https://example.com", "example.com"),
            ("https://example.com", "example.com:443"),
            ("https://Example.COM:443", "example.com"),
            ("http://192.0.2.7:8080", "192.0.2.7:8080"),
            ("http://[2001:db8::7]:8080", "[2001:db8::7]:8080"),
        ] {
            assert!(allow(&[], origin, host, false), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://example.com", "example.org"),
            ("http://example.com:8080", "example.com:8081"),
            ("http://example.com:8080", "example.com"),
            ("http://example.com", "example.com:443"),
            ("http://example.com.evil.test", "example.com"),
            ("http://evil.test/example.com", "example.com"),
            ("http://user@example.com", "example.com"),
            ("null", "example.com"),
            ("null", "null"),
            ("", ""),
            ("http://", ""),
            ("file://", ""),
            ("http://:80", ":80"),
            ("chrome-extension://abc", "abc"),
            ("http://example.com:99999", "example.com"),
            ("http://[::1", "[::1"),
            ("http://[::1]x", "[::1]"),
        ] {
            assert!(!allow(&[], origin, host, false), "{origin} {host}");
        }
    }

    #[test]
    fn listed() {
        let list = ["https://game.example/", "null"];
        assert!(allow(&list, "https://game.example", "api.example", false));
        assert!(allow(&list, "null", "api.example", false));
        assert!(!allow(&list, "http://game.example", "api.example", false));
        assert!(!allow(
            &list,
            "https://game.example:8443",
            "api.example",
            false
        ));
        assert!(allow(
            &["*"],
            "https://anything.example",
            "api.example",
            false
        ));
    }

    #[test]
    fn loopback_pages_on_loopback() {
        for origin in [
            "http://localhost:5173",
            "http://LOCALHOST",
            "http://app.localhost:3000",
            "http://127.0.0.1:1",
            "http://127.8.8.8:3000",
            "https://[::1]:3000",
            "http://[::ffff:127.0.0.1]:3000",
        ] {
            assert!(allow(&[], origin, "127.0.0.1:8080", true), "{origin}");
            assert!(!allow(&[], origin, "127.0.0.1:8080", false), "{origin}");
        }
        for origin in [
            "http://example.com",
            "http://localhost.example.com",
            "http://notlocalhost",
            "http://127.0.0.1.example.com",
            "http://192.168.1.5:3000",
            "null",
        ] {
            assert!(!allow(&[], origin, "127.0.0.1:8080", true), "{origin}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(origin: String, host: String, loopback: bool) {
            allow(&[], &origin, &host, loopback);
            allow(&[], &format!("http://{origin}"), &host, loopback);
        }
    }
}
