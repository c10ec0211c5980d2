//! `[server]`, `[admin]`, `[http]`, `[shutdown]`, `[log]`.

use super::super::field::{AutoNumber, AutoSwitch, Choice, List, Number, Switch, Text, Zero};
use super::super::units::Unit;
use super::super::{Config, LogFormat, ProxyProtocol, items};
use super::{Key, Section};

pub(super) static SERVER: Section = Section {
    name: "server",
    about: "Where the server listens and who may connect.",
    keys: &[
        Key::new(
            "listen",
            "Addresses to listen on. Port 0 lets the system choose one. An address that other machines can reach \
             needs keys for tokens (`[auth]`) or `public_demo`.",
            &List {
                place: |c: &mut Config| &mut c.server.listen,
                read: items::address,
                show: |address| address.to_string(),
                takes: "a list of addresses with ports, such as [\"127.0.0.1:8080\", \"[::1]:8080\"]",
            },
        )
        .flag("--listen ADDR:PORT"),
        Key::new(
            "shards",
            "Worker threads. Each has an event loop of its own and its share of the connections and rooms.",
            &AutoNumber {
                place: |c: &mut Config| &mut c.server.shards,
                unit: Unit::Count,
                range: ("1", "256"),
                zero: Zero::Refused,
                auto: |c| u64::from(c.server.shards()),
                meaning: "one for each core that the process may use",
            },
        )
        .flag("--shards N"),
        Key::new(
            "public_demo",
            "Accept clients from other machines without any authentication, and serve them the demo page. For trying \
             it out in a network that you trust.",
            &Switch { place: |c: &mut Config| &mut c.server.public_demo },
        )
        .flag("--public-demo"),
        Key::new(
            "pages",
            "Whether the addresses of `listen` serve the demo page and `/console`. The SDK at `/sdk/` is always there.",
            &AutoSwitch {
                place: |c: &mut Config| &mut c.server.pages,
                meaning: "on loopback while `admin.listen` is empty, and with `public_demo`",
            },
        ),
        Key::new(
            "metrics",
            "Whether the addresses of `listen` serve `/metrics`.",
            &AutoSwitch {
                place: |c: &mut Config| &mut c.server.metrics,
                meaning: "on loopback while `admin.listen` is empty",
            },
        ),
        Key::new(
            "origins",
            "Origins of pages that may connect besides the server's own host. On a loopback address any loopback \
             origin may, without being listed. `\"*\"` lets any page connect.",
            &List {
                place: |c: &mut Config| &mut c.server.origins,
                read: items::origin,
                show: ToString::to_string,
                takes: "a list of origins, such as [\"https://game.example\", \"capacitor://localhost\", \"null\"]",
            },
        ),
        Key::new(
            "hosts",
            "Names under which the server answers on a loopback address, besides `localhost` and addresses of this \
             machine, with any port: those that a proxy passes on as `Host`. A request for another name gets a 421, as \
             any web page could have sent it. `/healthz` and `/readyz` answer to any name.",
            &List {
                place: |c: &mut Config| &mut c.server.hosts,
                read: items::host,
                show: ToString::to_string,
                takes: "a list of names without ports, such as [\"game.example\"]",
            },
        ),
        Key::new(
            "trusted_proxies",
            "Proxies whose word about a client's address is taken (`X-Forwarded-For`, PROXY protocol).",
            &List {
                place: |c: &mut Config| &mut c.server.trusted_proxies,
                read: items::network,
                show: |network| network.to_string(),
                takes: "a list of networks or addresses, such as [\"10.0.0.0/8\", \"fd00::1\"]",
            },
        ),
        Key::new(
            "proxy_protocol",
            "Whether each connection from a trusted proxy begins with a PROXY protocol header.",
            &Choice {
                place: |c: &mut Config| &mut c.server.proxy_protocol,
                names: &[("off", ProxyProtocol::Off), ("v2", ProxyProtocol::V2)],
            },
        ),
    ],
};

pub(super) static ADMIN: Section = Section {
    name: "admin",
    about: "A listener of its own for pages and metrics, so that the public one can do without them.",
    keys: &[Key::new(
        "listen",
        "Further addresses, on which the demo page and `/metrics` are served. They ask nobody for \
         a token. An address that other machines can reach needs keys (`[auth]`) or `server.public_demo`.",
        &List {
            place: |c: &mut Config| &mut c.admin.listen,
            read: items::address,
            show: |address| address.to_string(),
            takes: "a list of addresses with ports, such as [\"127.0.0.1:9090\"]",
        },
    )],
};

pub(super) static HTTP: Section = Section {
    name: "http",
    about: "Limits of HTTP requests, the WebSocket handshake among them.",
    keys: &[
        Key::new(
            "handshake_timeout",
            "Time from a connection's start until its request must be there whole.",
            &Number {
                place: |c: &mut Config| &mut c.http.handshake_timeout,
                unit: Unit::Micros,
                range: ("100ms", "5m"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "max_header_size",
            "Size of a request's line and headers together. Beyond it: 431.",
            &Number {
                place: |c: &mut Config| &mut c.http.max_header_size,
                unit: Unit::Bytes,
                range: ("8KiB", "1MiB"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "max_headers",
            "Header lines of a request. Beyond it: 431.",
            &Number {
                place: |c: &mut Config| &mut c.http.max_headers,
                unit: Unit::Count,
                range: ("16", "1000"),
                zero: Zero::Refused,
            },
        ),
    ],
};

pub(super) static SHUTDOWN: Section = Section {
    name: "shutdown",
    about: "What happens on SIGTERM and SIGINT. A second signal ends the process at once.",
    keys: &[
        Key::new(
            "delay",
            "Time in which `/readyz` says no and newcomers are still served, so that a load balancer can notice.",
            &Number {
                place: |c: &mut Config| &mut c.shutdown.delay,
                unit: Unit::Micros,
                range: ("1ms", "10m"),
                zero: Zero::Is("none"),
            },
        ),
        Key::new(
            "deadline",
            "Time from the signal until the process ends, whatever is left.",
            &Number {
                place: |c: &mut Config| &mut c.shutdown.deadline,
                unit: Unit::Micros,
                range: ("100ms", "1h"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "pace",
            "Connections a second that are asked to come back. All are asked at once, each with a delay of its own; \
             the delays are spread so that this many come back in a second.",
            &Number {
                place: |c: &mut Config| &mut c.shutdown.pace,
                unit: Unit::Count,
                range: ("1", "10000000"),
                zero: Zero::Is("no delays"),
            },
        ),
    ],
};

pub(super) static LOG: Section = Section {
    name: "log",
    about: "What is logged, on standard error. What can happen often is limited per cause: the first few \
            lines in a while, then how many more there were. No payload and no secret is ever logged.",
    keys: &[
        Key::new(
            "level",
            "The least severe level that is logged, for all or for parts of the program.",
            &Text {
                place: |c: &mut Config| &mut c.log.level,
                check: items::log_level,
                takes: "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\", or such a level for parts, \
                        such as \"warn,roomcast_server=debug\"",
            },
        )
        .flag("--log-level LEVEL"),
        Key::new(
            "format",
            "What a line looks like: for people, or JSON. `\"auto\"` is text on a terminal and JSON else.",
            &Choice {
                place: |c: &mut Config| &mut c.log.format,
                names: &[
                    ("auto", LogFormat::Auto),
                    ("text", LogFormat::Text),
                    ("json", LogFormat::Json),
                ],
            },
        )
        .flag("--log-format FORMAT"),
    ],
};
