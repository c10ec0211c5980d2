//! Who a request comes from, when proxies stand between.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// What only a proxy, or somebody who pretends to be one, sends; and every header that begins with `x-forwarded`.
const CLAIMS: [&str; 11] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-host",
    "x-envoy-external-address",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
];

fn is_claim(name: &str) -> bool {
    name.starts_with("x-forwarded") || CLAIMS.contains(&name)
}

/// Proxies whose word about the client's address is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustedProxies(Vec<IpNet>);

/// How a connection came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Without a word about anybody else.
    Direct(IpAddr),
    /// A trusted proxy began it with a PROXY protocol header, which may name the client.
    Proxy {
        proxy: IpAddr,
        client: Option<IpAddr>,
    },
}

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A program on this machine, which nobody speaks for: the only one whom a listener on loopback trusts.
    Local,
    /// A client on another machine.
    Remote(IpAddr),
    /// Whoever is behind a proxy, or claims to be. `address` is the client's as far as it is known, and the proxy's
    /// else.
    Proxied {
        address: IpAddr,
        /// Whether the proxy's word was taken.
        believed: bool,
    },
}

impl Peer {
    pub(super) fn is_local(self) -> bool {
        self == Peer::Local
    }

    /// The address that its connections are counted under.
    pub(super) fn counted_under(self) -> Option<IpAddr> {
        match self {
            Peer::Local => None,
            Peer::Remote(address) | Peer::Proxied { address, .. } => Some(address),
        }
    }
}

impl TrustedProxies {
    pub(super) fn new(networks: &[IpNet]) -> TrustedProxies {
        TrustedProxies(networks.to_vec())
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Who sent a request with these headers over such a connection.
    pub(super) fn peer(&self, way: Way, headers: &HeaderMap) -> Peer {
        let claimed = headers.keys().any(|name| is_claim(name.as_str()));
        let proxied = |address, believed| Peer::Proxied { address, believed };
        match way {
            Way::Direct(address) if claimed => self.forwarded(address, headers),
            Way::Direct(address) if address.is_loopback() => Peer::Local,
            Way::Direct(address) => Peer::Remote(address),
            // Whoever that is, it is not the proxy: what it claims itself is nobody's word.
            Way::Proxy {
                proxy,
                client: None,
            } => proxied(proxy, !claimed),
            Way::Proxy {
                client: Some(client),
                ..
            } if claimed => self.forwarded(client, headers),
            Way::Proxy {
                client: Some(client),
                ..
            } => proxied(client, true),
        }
    }

    /// What is known of the address of a peer before it has sent a request.
    pub(super) fn known_early(&self, way: Way) -> Option<IpAddr> {
        let (Way::Direct(address)
        | Way::Proxy {
            client: Some(address),
            ..
        }) = way
        else {
            return None;
        };
        // A program on this machine isn't counted, and a proxy that is trusted names the client in its request.
        let known = match way {
            Way::Direct(_) => !address.is_loopback(),
            Way::Proxy { .. } => true,
        };
        (known && !self.contains(address)).then_some(address)
    }

    /// Somebody claims that `from` has forwarded the request.
    fn forwarded(&self, from: IpAddr, headers: &HeaderMap) -> Peer {
        let believed = self.contains(from);
        let named = believed.then(|| self.rightmost_untrusted(headers));
        Peer::Proxied {
            address: named.flatten().unwrap_or(from),
            believed,
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

    fn client(direct: &str, forwarded_for: &[&str]) -> Peer {
        let trusted = TrustedProxies::new(&[
            "10.0.0.0/8".parse().unwrap(),
            "127.0.0.1/32".parse().unwrap(),
            "2001:db8:1::/48".parse().unwrap(),
        ]);
        let mut headers = HeaderMap::new();
        for value in forwarded_for {
            headers.append("x-forwarded-for", HeaderValue::from_str(value).unwrap());
        }
        trusted.peer(Way::Direct(ip(direct)), &headers)
    }

    fn ip(address: &str) -> IpAddr {
        address.parse::<IpAddr>().unwrap().to_canonical()
    }

    fn behind(address: &str) -> Peer {
        Peer::Proxied {
            address: ip(address),
            believed: true,
        }
    }

    #[test]
    fn direct() {
        assert_eq!(client("192.0.2.7", &[]), Peer::Remote(ip("192.0.2.7")));
        assert_eq!(client("127.0.0.1", &[]), Peer::Local);
        assert_eq!(client("::ffff:127.0.0.1", &[]), Peer::Local);
        assert_eq!(client("::1", &[]), Peer::Local);
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let unbelieved = |address| Peer::Proxied {
            address: ip(address),
            believed: false,
        };
        assert_eq!(
            client("192.0.2.7", &["198.51.100.1"]),
            unbelieved("192.0.2.7")
        );
        // Not trusted here, and no longer taken for a client of this machine.
        assert_eq!(client("::1", &["127.0.0.1"]), unbelieved("::1"));
        for proxy in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8:1::9"] {
            assert_eq!(client(proxy, &["198.51.100.1"]), behind("198.51.100.1"));
        }
        // Whoever a proxy brings is not local, wherever the proxy says it is.
        assert_eq!(client("127.0.0.1", &["127.0.0.1"]), behind("127.0.0.1"));
    }

    #[test]
    fn the_rightmost_untrusted_hop_counts() {
        for (hops, expected) in [
            (&["127.0.0.1, 198.51.100.1, 10.9.9.9"][..], "198.51.100.1"),
            (&["127.0.0.1, 198.51.100.1", "10.9.9.9"], "198.51.100.1"),
            (&["198.51.100.1:4711,10.9.9.9:80"], "198.51.100.1"),
            (&["[2001:db8::1]:443"], "2001:db8::1"),
            (&["10.3.3.3, 10.9.9.9"], "10.3.3.3"),
            // What is no address ends the search.
            (&["198.51.100.1, unknown"], "10.0.0.1"),
            (&["unknown, 10.2.2.2"], "10.2.2.2"),
            (&[""], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", hops), behind(expected), "{hops:?}");
        }
    }

    /// Each way to come here, with and without a claim, from each kind of address: who is local, and whom to count.
    #[test]
    fn nobody_is_local_who_came_by_a_proxy_or_says_so() {
        let trusted = TrustedProxies::new(&["127.0.0.1/32".parse().unwrap()]);
        let proxy = ip("127.0.0.1");
        let ways = [
            (Way::Direct(ip("127.0.0.1")), true, None),
            (Way::Direct(ip("::1")), true, None),
            (Way::Direct(ip("192.0.2.7")), false, Some("192.0.2.7")),
            (
                Way::Proxy {
                    proxy,
                    client: None,
                },
                false,
                Some("127.0.0.1"),
            ),
            (
                Way::Proxy {
                    proxy,
                    client: Some(ip("127.0.0.1")),
                },
                false,
                Some("127.0.0.1"),
            ),
            (
                Way::Proxy {
                    proxy,
                    client: Some(ip("192.0.2.7")),
                },
                false,
                Some("192.0.2.7"),
            ),
        ];
        let other_claims = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        for (way, local, counted) in ways {
            let peer = trusted.peer(way, &HeaderMap::new());
            assert_eq!(peer.is_local(), local, "{way:?}");
            assert_eq!(peer.counted_under(), counted.map(ip), "{way:?}");
            for name in CLAIMS.into_iter().chain(other_claims) {
                let mut headers = HeaderMap::new();
                headers.insert(name, HeaderValue::from_static("x"));
                assert!(!trusted.peer(way, &headers).is_local(), "{way:?} {name}");
            }
        }
        // A client without a name can't give itself one, though its proxy is trusted.
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.9"));
        let unknown = Way::Proxy {
            proxy,
            client: None,
        };
        assert_eq!(trusted.peer(unknown, &headers).counted_under(), Some(proxy));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(hop: String) {
            let _ = parse_hop(&hop);
        }
    }
}
