//! Which web pages may connect: the check of a browser's `Origin` (RFC 6455, section 10.2).
//!
//! A browser sends a page's origin with a handshake and lets any page of the web connect to anything, so it is the
//! server that has to look. A client without an `Origin` is no browser, and a lie about it would be cheap: it passes.

use crate::config::{AllowedOrigin, HostPort, Origin};

/// The configured part of the policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    any: bool,
    listed: Vec<Origin>,
}

/// What a request shows of where it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// The `Origin` header.
    pub(super) origin: &'a Origin,
    /// The `Host` header, where it is one.
    pub(super) host: Option<&'a HostPort>,
    /// Whether a program on this machine sent it to a listener on loopback.
    pub(super) local: bool,
}

impl Origins {
    pub(super) fn new(listed: &[AllowedOrigin]) -> Origins {
        let only = |origin: &AllowedOrigin| match origin {
            AllowedOrigin::Any => None,
            AllowedOrigin::Only(origin) => Some(origin.clone()),
        };
        Origins {
            any: listed.contains(&AllowedOrigin::Any),
            listed: listed.iter().filter_map(only).collect(),
        }
    }

    /// Whether pages of all origins may connect, also of such as are none.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Whether a page of that origin may connect: one of the same host, one that is listed, and on loopback any page
    /// served from loopback, whatever its port.
    pub(super) fn allow(&self, seen: Seen<'_>) -> bool {
        if self.any || self.listed.contains(seen.origin) {
            return true;
        }
        let Some((name, port)) = seen.origin.page() else {
            return false;
        };
        let same_host = seen.host.is_some_and(|host| {
            host.name == *name && host.port.unwrap_or(seen.origin.default_port()) == port
        });
        same_host || (seen.local && name.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(listed: &[&str], origin: &str, host: &str, local: bool) -> bool {
        let listed: Vec<AllowedOrigin> = listed.iter().map(|it| it.parse().unwrap()).collect();
        let host = HostPort::parse(host).ok();
        origin.parse().is_ok_and(|origin| {
            Origins::new(&listed).allow(Seen {
                origin: &origin,
                host: host.as_ref(),
                local,
            })
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
        let list = ["https://Game.Example:443/", "null", "capacitor://localhost"];
        assert!(allow(&list, "https://game.example", "api.example", false));
        assert!(allow(&list, "https://GAME.example/", "api.example", false));
        assert!(allow(&list, "null", "api.example", false));
        assert!(allow(&list, "capacitor://localhost", "api.example", false));
        assert!(!allow(&list, "ionic://localhost", "api.example", false));
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
            "http://app.localhost:3000",
            "http://localhost.example.com",
            "http://notlocalhost",
            "http://127.0.0.1.example.com",
            "http://192.168.1.5:3000",
            "capacitor://localhost",
            "null",
        ] {
            assert!(!allow(&[], origin, "127.0.0.1:8080", true), "{origin}");
        }
    }
}
