//! `[server]`, `[admin]`, `[http]`, `[shutdown]`, `[log]`.

use super::super::field::{AutoNumber, AutoSwitch, Choice, List, Number, Switch, Text, Zero};
use super::super::units::Unit;
use super::super::{Config, Engine, LogFormat, ProxyProtocol, items};
use super::{Key, Section};

pub(super) static SERVER: Section = Section {
    name: "server",
    about: "Where the server listens and who may connect.",
    keys: &[
        Key::new(
            "listen",
            "Addresses to listen on. Port 0 lets the system choose a port. An address that other machines can reach \
             needs one of three: keys for tokens (`[auth]`), `auth.anonymous = true`, or `public_demo`.",
            &List {
                place: |c: &mut Config| &mut c.server.listen,
                read: items::address,
                show: |address| address.to_string(),
                takes: "a list of addresses with ports, such as [\"127.0.0.1:8080\", \"[::1]:8080\"]",
            },
        )
        .flag("--listen ADDR:PORT"),
        Key::new(
            "engine",
            "What keeps rooms and sessions. `memory`: the process alone, so they end with it. `redis`: Redis too \
             (`[redis]`). They are still there after a restart, and several servers are \
             one system.",
            &Choice {
                place: |c: &mut Config| &mut c.server.engine,
                names: &[("memory", Engine::Memory), ("redis", Engine::Redis)],
            },
        )
        .flag("--engine ENGINE"),
        Key::new(
            "shards",
            "Worker threads. Each thread is a shard: it has an event loop of its own, and its share of the \
             connections and rooms.",
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
            "Serve clients from other machines without a token, and serve them the demo page. For tests in a network \
             that you trust.",
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
            "static_dir",
            "A folder with an application's own page: its files are served under `/`, in place of the demo page. `/console`, \
             `/sdk/` and the other paths of the server stay. A path that ends with `/` is the `index.html` there. Files and \
             folders whose names begin with a dot are not served, nor are links to such ones, to folders, or out of the folder. \
             The files are kept in memory (at most 4096, and 64 MiB together), and read again when they change.",
            &Text {
                place: |c: &mut Config| &mut c.server.static_dir,
                check: |_| Ok(()),
                takes: "a folder, such as \"./dist\", or \"\" (none)",
            },
        )
        .flag("--static DIR"),
        Key::new(
            "metrics",
            "Whether the addresses of `listen` serve `/metrics`. With \"auto\", they serve it to programs on this \
             machine, and not to a client that came by a proxy.",
            &AutoSwitch {
                place: |c: &mut Config| &mut c.server.metrics,
                meaning: "on loopback while `admin.listen` is empty",
            },
        ),
        Key::new(
            "sse",
            "Serve the protocol without WebSockets too, at `/sse` and `/send`: for networks that let no WebSocket \
             through.",
            &Switch { place: |c: &mut Config| &mut c.server.sse },
        ),
        Key::new(
            "origins",
            "Origins of web pages that may connect, besides the server's own host. On a loopback address any \
             loopback origin may connect without being listed. `\"*\"` lets any page connect.",
            &List {
                place: |c: &mut Config| &mut c.server.origins,
                read: items::origin,
                show: ToString::to_string,
                takes: "a list of origins, such as [\"https://game.example\", \"capacitor://localhost\", \"null\"]",
            },
        ),
        Key::new(
            "hosts",
            "Further names for which the server answers on a loopback address. It always answers for `localhost` and \
             for the addresses of this machine, with any port. List the name that a proxy passes on as `Host`. A \
             request for any other name gets a 421, as a web page could have sent it (DNS rebinding). `/healthz` and \
             `/readyz` answer for any name.",
            &List {
                place: |c: &mut Config| &mut c.server.hosts,
                read: items::host,
                show: ToString::to_string,
                takes: "a list of names without ports, such as [\"game.example\"]",
            },
        ),
        Key::new(
            "trusted_proxies",
            "Proxies that the server believes when they name a client's address (`X-Forwarded-For`, PROXY protocol).",
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
    about: "A second listener for the demo page and for metrics, so that the public addresses need not serve them.",
    keys: &[Key::new(
        "listen",
        "Further addresses, which serve the demo page and `/metrics`. They need no token. An address that other \
         machines can reach needs one of three: keys for tokens (`[auth]`), `auth.anonymous = true`, or \
         `server.public_demo`.",
        &List {
            place: |c: &mut Config| &mut c.admin.listen,
            read: items::address,
            show: |address| address.to_string(),
            takes: "a list of addresses with ports, such as [\"127.0.0.1:9090\"]",
        },
    )],
};

pub(super) static TLS: Section = Section {
    name: "tls",
    about: "TLS 1.2 and 1.3 on the addresses of `server.listen` and `api.listen`: clients connect to `https://` and `wss://`. It is on when \
            both files are named. `admin.listen` stays without. See docs/tls.md.",
    keys: &[
        Key::new(
            "certificate_path",
            "A PEM file with the server's certificate, followed by those that lead to one that clients trust.",
            &Text {
                place: |c: &mut Config| &mut c.tls.certificate_path,
                check: |_| Ok(()),
                takes: "a file, such as \"/etc/roomcast/fullchain.pem\", or \"\" (no TLS)",
            },
        )
        .flag("--tls-certificate FILE"),
        Key::new(
            "key_path",
            "A PEM file with the private key of the certificate.",
            &Text {
                place: |c: &mut Config| &mut c.tls.key_path,
                check: |_| Ok(()),
                takes: "a file, such as \"/etc/roomcast/privkey.pem\", or \"\" (no TLS)",
            },
        )
        .flag("--tls-key FILE"),
        Key::new(
            "reload_interval",
            "How often the server looks whether one of the files has changed. New connections get the new certificate at \
             once; open ones stay. If the files are broken, the certificate before stays. On SIGHUP the files are \
             read at once.",
            &Number {
                place: |c: &mut Config| &mut c.tls.reload_interval,
                unit: Unit::Micros,
                range: ("10ms", "1d"),
                zero: Zero::Refused,
            },
        ),
    ],
};

pub(super) static HTTP: Section = Section {
    name: "http",
    about: "Limits of HTTP requests. The WebSocket handshake is one of them.",
    keys: &[
        Key::new(
            "handshake_timeout",
            "Time from the start of a connection within which its whole request must arrive. After it: 408.",
            &Number {
                place: |c: &mut Config| &mut c.http.handshake_timeout,
                unit: Unit::Micros,
                range: ("100ms", "5m"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "max_header_size",
            "Size of the request line and the headers together. Beyond it: 431.",
            &Number {
                place: |c: &mut Config| &mut c.http.max_header_size,
                unit: Unit::Bytes,
                range: ("8KiB", "1MiB"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "max_headers",
            "Number of header lines in a request. Beyond it: 431.",
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
    about: "What the server does on SIGTERM and SIGINT. A second signal ends the process at once.",
    keys: &[
        Key::new(
            "delay",
            "Time in which `/readyz` says no and new connections are still served, so that a load balancer can \
             notice.",
            &Number {
                place: |c: &mut Config| &mut c.shutdown.delay,
                unit: Unit::Micros,
                range: ("1ms", "10m"),
                zero: Zero::Is("none"),
            },
        ),
        Key::new(
            "deadline",
            "Time from the signal until the process ends. It ends then even if clients are still connected.",
            &Number {
                place: |c: &mut Config| &mut c.shutdown.deadline,
                unit: Unit::Micros,
                range: ("100ms", "1h"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "pace",
            "Reconnects a second that the server aims at. It sends `reconnect` to all clients at once, each with a \
             delay of its own. The delays are spread so that this many clients connect again in a second.",
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
    about: "What the server logs, on standard error. Lines that can come often are limited for each cause: the first \
            few are written, then a count of those that were left out. No payload and no secret is ever logged.",
    keys: &[
        Key::new(
            "level",
            "The least severe level that is logged, for the whole program or for parts of it.",
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
            "The form of a line: text for people, or JSON. `\"auto\"` is text on a terminal, and JSON elsewhere.",
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
