//! Who a request comes from, when proxies stand between.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// What only a proxy, or somebody who pretends to be one, sends.
const CLAIMS: [&str; 6] = [
    "x-forwarded-for",
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
];

/// Proxies whose word about the client's address is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustedProxies(Vec<IpNet>);

/// The client as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// Its address.
    pub(super) address: IpAddr,
    /// Whether it is on this machine. Not so when a proxy that is not trusted claims to have forwarded the request:
    /// then anybody may be behind it.
    pub(super) loopback: bool,
    /// Whether somebody claims to have forwarded the request, trusted or not.
    pub(super) forwarded: bool,
    /// Whether somebody who is not trusted claims to have forwarded the request.
    pub(super) unbelieved: bool,
}

impl TrustedProxies {
    pub(super) fn new(networks: &[IpNet]) -> TrustedProxies {
        TrustedProxies(networks.to_vec())
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// `direct`: who made the connection, or whom the PROXY protocol named.
    pub(super) fn client(&self, direct: IpAddr, headers: &HeaderMap) -> Client {
        let direct = direct.to_canonical();
        let claimed = CLAIMS.iter().any(|name| headers.contains_key(*name));
        if !claimed {
            return Client {
                address: direct,
                loopback: direct.is_loopback(),
                forwarded: false,
                unbelieved: false,
            };
        }
        if !self.contains(direct) {
            return Client {
                address: direct,
                loopback: false,
                forwarded: true,
                unbelieved: true,
            };
        }
        match self.rightmost_untrusted(headers) {
            Some(address) => Client {
                address,
                loopback: address.is_loopback(),
                forwarded: true,
                unbelieved: false,
            },
            None => Client {
                address: direct,
                loopback: false,
                forwarded: true,
                unbelieved: false,
            },
        }
    }

    /// Each proxy appends whom it got the request from: read from the right, the first address that is no trusted
    /// proxy is the client. What stands to the left of it is the client's own invention.
    fn rightmost_untrusted(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = None;
        for value in headers.get_all("x-forwarded-for").iter().rev() {
            for hop in value.to_str().ok()?.rsplit(',') {
                let Some(address) = parse_hop(hop.trim()) else {
                    return client;
                };
                client = Some(address);
                if !self.contains(address) {
                    return client;
                }
            }
        }
        client
    }
}

/// An address, with or without a port, IPv6 in brackets or not.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let bare = match hop.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match hop.split_once(':') {
            Some((address, port)) if !port.contains(':') => address,
            _ => hop,
        },
    };
    bare.parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(direct: &str, forwarded_for: &[&str]) -> (String, bool) {
        let trusted = TrustedProxies::new(&[
            "10.0.0.0/8".parse().unwrap(),
            "127.0.0.1/32".parse().unwrap(),
            "2001:db8:1::/48".parse().unwrap(),
        ]);
        let mut headers = HeaderMap::new();
        for value in forwarded_for {
            headers.append("x-forwarded-for", HeaderValue::from_str(value).unwrap());
        }
        let client = trusted.client(direct.parse().unwrap(), &headers);
        (client.address.to_string(), client.loopback)
    }

    #[test]
    fn direct() {
        assert_eq!(client("192.0.2.7", &[]), ("192.0.2.7".into(), false));
        assert_eq!(client("127.0.0.1", &[]), ("127.0.0.1".into(), true));
        assert_eq!(client("::ffff:127.0.0.1", &[]), ("127.0.0.1".into(), true));
        assert_eq!(client("::1", &[]), ("::1".into(), true));
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(
            client("192.0.2.7", &["198.51.100.1"]),
            ("192.0.2.7".into(), false)
        );
        // Not trusted here, and no longer taken for a client of this machine.
        assert_eq!(client("::1", &["127.0.0.1"]), ("::1".into(), false));
        assert_eq!(
            client("10.1.2.3", &["198.51.100.1"]),
            ("198.51.100.1".into(), false)
        );
        assert_eq!(
            client("::ffff:10.1.2.3", &["198.51.100.1"]),
            ("198.51.100.1".into(), false)
        );
        assert_eq!(
            client("2001:db8:1::9", &["2001:db8:2::1"]),
            ("2001:db8:2::1".into(), false)
        );
        assert_eq!(
            client("127.0.0.1", &["127.0.0.1"]),
            ("127.0.0.1".into(), true)
        );
    }

    #[test]
    fn the_rightmost_untrusted_hop_counts() {
        let expected = ("198.51.100.1".to_string(), false);
        assert_eq!(
            client("10.0.0.1", &["127.0.0.1, 198.51.100.1, 10.9.9.9"]),
            expected
        );
        assert_eq!(
            client("10.0.0.1", &["127.0.0.1, 198.51.100.1", "10.9.9.9"]),
            expected
        );
        assert_eq!(
            client("10.0.0.1", &["198.51.100.1:4711,10.9.9.9:80"]),
            expected
        );
        assert_eq!(
            client("10.0.0.1", &["[2001:db8::1]:443"]),
            ("2001:db8::1".into(), false)
        );
        assert_eq!(
            client("10.0.0.1", &["10.3.3.3, 10.9.9.9"]),
            ("10.3.3.3".into(), false)
        );
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        assert_eq!(
            client("10.0.0.1", &["198.51.100.1, unknown"]),
            ("10.0.0.1".into(), false)
        );
        assert_eq!(
            client("10.0.0.1", &["unknown, 10.2.2.2"]),
            ("10.2.2.2".into(), false)
        );
        assert_eq!(client("10.0.0.1", &[""]), ("10.0.0.1".into(), false));
    }

    #[test]
    fn any_claim_takes_the_trust_in_loopback() {
        let trusted = TrustedProxies::default();
        for name in CLAIMS {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("x"));
            assert!(
                !trusted
                    .client("127.0.0.1".parse().unwrap(), &headers)
                    .loopback,
                "{name}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(hop: String) {
            let _ = parse_hop(&hop);
        }
    }
}
