//! Under which names a listener on loopback answers.
//!
//! A page of the web can have its own name point to 127.0.0.1 (DNS rebinding): to the browser this server then is that
//! page's own. Only the `Host` shows it, so there it has to be a name that means this machine, or one that is
//! configured.

use http::header::HOST;
use http::request;

use crate::config::{HostName, HostPort};

/// The configured names.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Vec<HostName>);

impl Hosts {
    pub(super) fn new(hosts: &[HostName]) -> Hosts {
        Hosts(hosts.to_vec())
    }

    /// Whether a listener on loopback answers to that name.
    pub(super) fn know(&self, host: &HostPort) -> bool {
        host.name.is_loopback() || self.0.contains(&host.name)
    }
}

/// The host that a request is for, where it names one: that of its target counts before its `Host`
/// (RFC 9112, section 3.2.2), and two are none.
pub(super) fn of(request: &request::Parts) -> Option<HostPort> {
    if let Some(authority) = request.uri.authority() {
        return HostPort::parse(authority.as_str()).ok();
    }
    let mut values = request.headers.get_all(HOST).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    HostPort::parse(only.to_str().ok()?.trim()).ok()
}
