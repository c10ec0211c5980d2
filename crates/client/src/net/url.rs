//! Where to connect to.

use crate::error::{Error, code};

/// A WebSocket's address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) tls: bool,
    /// Without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Host`.
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
}

impl Url {
    /// Reads `ws://…` and `wss://…`; without a path it is `/ws`.
    pub(super) fn parse(text: &str) -> Result<Url, Error> {
        let bad = |why: &'static str| Error::new(code::BAD_URL, why);
        let (tls, rest) = match text.split_once("://") {
            Some(("ws", rest)) => (false, rest),
            Some(("wss", rest)) => (true, rest),
            _ => return Err(bad("the address does not begin with ws:// or wss://")),
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad(
                "the address has a character that has to be percent-encoded",
            ));
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(bad("the address has a user name, which is not sent"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest
                    .split_once(']')
                    .ok_or_else(|| bad("the address has no `]`"))?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return Err(bad("the address names no host"));
        }
        let port = match port {
            Some(port) => port
                .parse()
                .map_err(|_| bad("the address has a port that is no number of one"))?,
            None if tls => 443,
            None => 80,
        };
        let target = match target {
            "" | "/" => "/ws".to_owned(),
            query if query.starts_with('?') => format!("/ws{query}"),
            target => target.to_owned(),
        };
        Ok(Url {
            tls,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            target,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    fn parts(text: &str) -> Option<(bool, String, u16, String)> {
        let url = Url::parse(text).ok()?;
        Some((url.tls, url.host, url.port, url.target))
    }

    #[test]
    fn addresses_are_taken_apart() {
        let of = |tls, host: &str, port, target: &str| {
            Some((tls, host.to_owned(), port, target.to_owned()))
        };
        assert_eq!(parts("ws://a"), of(false, "a", 80, "/ws"));
        assert_eq!(parts("wss://a.b/x?y=1#z"), of(true, "a.b", 443, "/x?y=1"));
        assert_eq!(parts("ws://[::1]:8080"), of(false, "::1", 8080, "/ws"));
        assert_eq!(parts("ws://a:9?t=1"), of(false, "a", 9, "/ws?t=1"));
        for bad in [
            "http://a",
            "ws://",
            "ws://a:x",
            "ws://[::1",
            "ws://u@a",
            "ws://a/\r\nX: y",
        ] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
