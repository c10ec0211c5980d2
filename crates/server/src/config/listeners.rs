//! Which listener offers what: the safe defaults, worked out per address.

use std::net::{IpAddr, SocketAddr};

use super::{Anonymous, Config, ServerSettings};

/// One address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// From which setting it is.
    pub role: Role,
    /// Whether the pages are served.
    pub pages: bool,
    /// Who is served `/metrics`.
    pub metrics: Metrics,
    /// Who is served without a token.
    pub anonymous: Anonymous,
    /// Whether its connections have TLS.
    pub tls: bool,
    /// Whether the API for backends is served, if a key for it is set.
    pub api: bool,
    /// Whether only this machine can reach it.
    pub loopback: bool,
    /// Whether the server may start without it: `[::1]` by default, which a machine without IPv6 lacks.
    pub optional: bool,
}

impl Listener {
    /// How addresses of its pages begin.
    pub fn http(&self) -> &'static str {
        if self.tls { "https://" } else { "http://" }
    }

    /// How addresses of its WebSocket begin.
    pub fn ws(&self) -> &'static str {
        if self.tls { "wss://" } else { "ws://" }
    }
}

/// From which setting a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `server.listen`
    Main,
    /// `admin.listen`
    Admin,
    /// `api.listen`
    Api,
}

/// Who is served `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    /// They are off.
    Nobody,
    /// Programs on this machine: nobody who came by a proxy, or says so.
    Local,
    /// Whoever can reach the listener.
    Everybody,
}

impl Metrics {
    fn new(asked: Option<bool>, private: bool) -> Metrics {
        match asked {
            Some(true) => Metrics::Everybody,
            None if private => Metrics::Local,
            Some(false) | None => Metrics::Nobody,
        }
    }
}

impl Config {
    /// The listeners to open and what each offers. `/healthz` and `/readyz` are on all of them, `/ws` on all but those of
    /// `api.listen`.
    pub fn listeners(&self) -> Vec<Listener> {
        let server = &self.server;
        let own_admin = !self.admin.listen.is_empty();
        let preset = server.listen == ServerSettings::default().listen;
        let main = server.listen.iter().map(|&address| {
            let loopback = is_loopback(address.ip());
            let private = loopback && !own_admin;
            Listener {
                address,
                role: Role::Main,
                pages: server.pages.unwrap_or(private || server.public_demo),
                metrics: Metrics::new(server.metrics, private),
                anonymous: self.auth.anonymous(loopback, server.public_demo),
                tls: self.tls.is_on(),
                api: self.api.listen.is_empty(),
                loopback,
                optional: preset && address.is_ipv6(),
            }
        });
        let admin = self.admin.listen.iter().map(|&address| {
            let loopback = is_loopback(address.ip());
            Listener {
                address,
                role: Role::Admin,
                pages: true,
                metrics: Metrics::Everybody,
                anonymous: self.auth.anonymous(loopback, server.public_demo),
                tls: false,
                api: false,
                loopback,
                optional: false,
            }
        });
        let api = self.api.listen.iter().map(|&address| Listener {
            address,
            role: Role::Api,
            pages: false,
            metrics: Metrics::Nobody,
            anonymous: Anonymous::Nobody,
            tls: self.tls.is_on(),
            api: true,
            loopback: is_loopback(address.ip()),
            optional: false,
        });
        main.chain(admin).chain(api).collect()
    }
}

/// Whether only this machine can reach `address`.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
