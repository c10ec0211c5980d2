//! `[cluster]`, and where others reach this server.

use std::net::SocketAddr;

/// `[cluster]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Where other servers may connect, as `address:port`; empty: nowhere, so all between them goes over Redis.
    pub listen: String,
    /// What others are told to connect to, as `host:port`; empty: `listen`.
    pub advertise: String,
}

impl ClusterSettings {
    /// Where to listen.
    pub(crate) fn listens(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }

    /// Whether others can't be told the address that is listened on: it stands for all of this machine.
    pub(crate) fn lacks_address(&self) -> bool {
        let all = |address: SocketAddr| address.ip().is_unspecified();
        self.advertise.is_empty() && self.listens().is_some_and(all)
    }

    /// What others are told, once this address was opened.
    pub(crate) fn address(&self, listens: SocketAddr) -> String {
        match self.advertise.is_empty() {
            true => listens.to_string(),
            false => self.advertise.clone(),
        }
    }
}

/// Where this server may listen: an address, or nowhere.
pub(super) fn listen(text: &str) -> Result<(), String> {
    match text {
        "" => Ok(()),
        text => super::items::address(text).map(drop),
    }
}

/// `host:port`, or nothing.
pub(super) fn advertise(text: &str) -> Result<(), String> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return match text {
            "" => Ok(()),
            _ => Err("has no port".to_owned()),
        };
    };
    if host.is_empty() || text.len() > 253 {
        return Err("has no host, or a very long one".to_owned());
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(format!("has the port {port:?}")),
    }
}
