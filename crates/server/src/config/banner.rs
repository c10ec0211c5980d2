//! What the server says on standard output when it is up: where to look, what it listens on, its limits.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::{Config, Listener, Loaded, Metrics};
use crate::memory::CountingAllocator;

/// Addresses of other machines' ways to this one that are shown at most: a host of containers has hundreds.
const MOST_ADDRESSES: usize = 6;

/// The text for people. `bound` is where the server listens, with the ports that the system chose; `own` are this
/// machine's addresses in its networks ([`own_addresses`]); `most_connections` is how many it takes, 0 for any number.
pub fn banner(
    config: &Config,
    file: Option<&Path>,
    bound: &[SocketAddr],
    own: &[IpAddr],
    most_connections: usize,
) -> String {
    let listeners = bound_listeners(config, bound);
    let mut out = format!("Roomcast {}\n\n", env!("CARGO_PKG_VERSION"));
    let page = listeners.iter().find(|listener| listener.pages);
    if let Some(page) = page {
        line(
            &mut out,
            "Open",
            &[format!("{}{}/", page.http(), from_here(page.address))],
        );
    }
    let others: Vec<String> = listeners
        .iter()
        .filter(|listener| !listener.loopback)
        .flat_map(|listener| from_elsewhere(listener, own))
        .take(MOST_ADDRESSES)
        .collect();
    line(&mut out, "Elsewhere", &others);
    if let Some(first) = listeners.first() {
        line(
            &mut out,
            "WebSocket",
            &[format!("{}{}/ws", first.ws(), from_here(first.address))],
        );
    }
    let mut with_metrics = listeners
        .iter()
        .filter(|listener| listener.metrics != Metrics::Nobody);
    if let Some(metrics) = with_metrics.next() {
        line(
            &mut out,
            "Metrics",
            &[format!(
                "{}{}/metrics",
                metrics.http(),
                from_here(metrics.address)
            )],
        );
    }
    let listening: Vec<String> = bound.iter().map(SocketAddr::to_string).collect();
    line(&mut out, "Listening", &[listening.join(", ")]);
    let shards = config.server.shards();
    let shards = if shards == 1 {
        "1 shard".to_owned()
    } else {
        format!("{shards} shards")
    };
    let engine = config.server.engine.as_str();
    line(&mut out, "Engine", &[format!("{engine}, {shards}")]);
    line(&mut out, "Limits", &limits(config, most_connections));
    let file = file.map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    line(
        &mut out,
        "Settings",
        &[format!("{file} (`roomcast check` shows what is in effect)")],
    );
    out.push_str("\nCtrl-C ends it.\n");
    out
}

impl Loaded {
    /// Says that the server is up: the banner on standard output where the log is text, else a line of the log at
    /// level `info`. Programs find the bound addresses in both. `bound` and `most_connections` are as for [`banner`].
    pub fn announce(&self, bound: &[SocketAddr], most_connections: usize) {
        if crate::log::is_text(self.config.log.format) {
            let own = own_addresses();
            let text = banner(
                &self.config,
                self.file.as_deref(),
                bound,
                &own,
                most_connections,
            );
            // Nobody reads it: that is no reason not to serve.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            return;
        }
        let addresses: Vec<String> = bound.iter().map(SocketAddr::to_string).collect();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            engine = self.config.server.engine.as_str(),
            shards = self.config.server.shards(),
            "listening on {}",
            addresses.join(", ")
        );
    }
}

/// This machine's addresses in its networks, IPv4 first. Loopback and link-local ones are not among them.
pub fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<IpAddr> = interfaces
        .iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| interface.ip())
        .collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
}

/// The listeners with the addresses that they are bound to.
fn bound_listeners(config: &Config, bound: &[SocketAddr]) -> Vec<Listener> {
    let mut wanted = config.listeners();
    let mut found = Vec::new();
    for &address in bound {
        let same = |listener: &Listener| {
            let port = listener.address.port();
            listener.address.ip() == address.ip() && (port == 0 || port == address.port())
        };
        if let Some(index) = wanted.iter().position(same) {
            // Taken out, so that two listeners with port 0 are each found once.
            found.push(Listener {
                address,
                ..wanted.remove(index)
            });
        }
    }
    found
}

/// How a program on this machine reaches a listener.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// How other machines reach a listener.
fn from_elsewhere(listener: &Listener, own: &[IpAddr]) -> Vec<String> {
    let port = listener.address.port();
    let ips: Vec<IpAddr> = match listener.address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            own.iter().copied().filter(IpAddr::is_ipv4).collect()
        }
        IpAddr::V6(ip) if ip.is_unspecified() => own.to_vec(),
        ip => vec![ip],
    };
    let addresses = ips.into_iter().map(|ip| SocketAddr::new(ip, port));
    let url = |address| {
        if listener.pages {
            format!("{}{address}/", listener.http())
        } else {
            format!("{}{address}/ws", listener.ws())
        }
    };
    addresses.map(url).collect()
}

/// The limits in force, which the system may have lowered.
fn limits(config: &Config, most_connections: usize) -> Vec<String> {
    let core = &config.core;
    let limits = &config.limits;
    let or_any = |value: u64, text: String| if value == 0 { None } else { Some(text) };
    let message = core.max_message as u64;
    let messages = u64::from(core.messages_per_second);
    let connections = most_connections as u64;
    let lowered = limits.connections == 0 || most_connections < limits.connections;
    let by = if lowered { " (`ulimit -n`)" } else { "" };
    let address = u64::from(limits.connections_per_address);
    // Where nothing counts what is in use, this limit does not hold.
    let memory = if CountingAllocator::is_used() {
        limits.memory()
    } else {
        0
    };
    let of_session = [
        or_any(message, format!("{} a message", size(message))),
        or_any(
            messages,
            format!("{messages} messages a second ({} at once)", core.burst),
        ),
        or_any(
            core.max_rooms.into(),
            format!("{} rooms a session", core.max_rooms),
        ),
    ];
    let of_server = [
        or_any(connections, format!("{connections} connections{by}")),
        or_any(address, format!("{address} per address")),
        or_any(memory, format!("{} of memory", size(memory))),
    ];
    let lines = [of_session, of_server].map(|parts| {
        parts
            .into_iter()
            .flatten()
            .collect::<Vec<String>>()
            .join(", ")
    });
    let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        vec!["off".to_owned()]
    } else {
        lines
    }
}

/// A size to about three digits.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(*unit) => format!("{} {name}", bytes / unit),
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

/// A line for each value, the first one with its name.
fn line(out: &mut String, name: &str, values: &[String]) {
    for (index, value) in values.iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        // Writing to a `String` cannot fail.
        let _ = writeln!(out, "  {name:<10} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn config() -> Config {
        let mut config = Config::default();
        config.server.shards = Some(2);
        config.limits.memory = Some(1536 << 20);
        config
    }

    #[test]
    fn the_default_says_where_to_look_and_its_limits() {
        let bound = addresses(&["127.0.0.1:8080", "[::1]:8080"]);
        let text = banner(
            &config(),
            None,
            &bound,
            &["10.0.0.5".parse().unwrap()],
            1_000_000,
        );
        let expected = concat!(
            "Roomcast ",
            env!("CARGO_PKG_VERSION"),
            "

  Open       http://127.0.0.1:8080/
  WebSocket  ws://127.0.0.1:8080/ws
  Metrics    http://127.0.0.1:8080/metrics
  Listening  127.0.0.1:8080, [::1]:8080
  Engine     memory, 2 shards
  Limits     64 KiB a message, 120 messages a second (240 at once), 64 rooms a session
             1000000 connections, 1024 per address, 1.5 GiB of memory
  Settings   no file (`roomcast check` shows what is in effect)

Ctrl-C ends it.
"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_public_demo_says_how_other_devices_reach_it() {
        let mut config = config();
        config.server.listen = addresses(&["0.0.0.0:0"]);
        config.server.public_demo = true;
        let own = [
            "192.168.1.7".parse().unwrap(),
            "2001:db8::7".parse().unwrap(),
        ];
        let text = banner(
            &config,
            Some(Path::new("my.toml")),
            &addresses(&["0.0.0.0:4711"]),
            &own,
            0,
        );
        assert!(
            text.contains("  Open       http://127.0.0.1:4711/\n"),
            "{text}"
        );
        assert!(
            text.contains("  Elsewhere  http://192.168.1.7:4711/\n"),
            "{text}"
        );
        assert!(!text.contains("2001:db8"), "{text}");
        assert!(!text.contains("Metrics"), "{text}");
        assert!(text.contains("  Settings   my.toml ("), "{text}");
    }

    #[test]
    fn without_pages_the_web_socket_is_what_others_reach() {
        let mut config = config();
        config.server.listen = addresses(&["[::]:80"]);
        config.server.public_demo = true;
        config.server.pages = Some(false);
        let own = [
            "192.168.1.7".parse().unwrap(),
            "2001:db8::7".parse().unwrap(),
        ];
        let text = banner(&config, None, &addresses(&["[::]:80"]), &own, 0);
        assert!(!text.contains("Open"), "{text}");
        assert!(
            text.contains(
                "Elsewhere  ws://192.168.1.7:80/ws\n             ws://[2001:db8::7]:80/ws\n"
            ),
            "{text}"
        );
        assert!(text.contains("WebSocket  ws://[::1]:80/ws"), "{text}");
    }

    #[test]
    fn limits_that_are_off_are_not_listed() {
        let mut config = config();
        config.limits.connections = 0;
        config.limits.connections_per_address = 0;
        config.limits.memory = Some(0);
        config.core.max_message = 0;
        config.core.max_rooms = 0;
        config.core.messages_per_second = 0;
        let text = banner(&config, None, &addresses(&["127.0.0.1:8080"]), &[], 0);
        assert!(text.contains("  Limits     off\n"), "{text}");
    }

    /// What the system allows is less than what is set, or nothing is set.
    #[test]
    fn the_number_of_connections_is_the_one_in_force() {
        let mut config = config();
        for set in [1_000_000, 0] {
            config.limits.connections = set;
            let text = banner(&config, None, &addresses(&["127.0.0.1:8080"]), &[], 872);
            assert!(
                text.contains(" 872 connections (`ulimit -n`), 1024 per"),
                "{text}"
            );
        }
    }
}
