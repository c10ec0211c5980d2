//! What a stranger can do.

use super::{HOST, closed, status};
use crate::{SECRET, Trial};

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        what: "connections in all",
        set: &["limits.connections=1"],
        run: |tried| {
            let _first = tried.open();
            status(tried.handshake(HOST))
        },
    },
    Trial {
        what: "connections of one address",
        set: &[
            "limits.connections_per_address=1",
            "server.trusted_proxies=127.0.0.1",
            "auth.anonymous=true",
        ],
        run: |tried| {
            let from = format!("{HOST}X-Forwarded-For: 192.0.2.7\r\n");
            let (first, _kept) = tried.handshake(&from);
            assert_eq!(first, "101");
            status(tried.handshake(&from))
        },
    },
    Trial {
        what: "memory in use",
        set: &["limits.memory=16MiB"],
        run: |tried| {
            let _ballast = vec![1_u8; 32 * 1024 * 1024];
            let (status, _) = tried.handshake(HOST);
            assert_eq!(status, "503");
            "new connections get a 503"
        },
    },
    Trial {
        what: "time until a request has arrived whole",
        set: &["http.handshake_timeout=100ms"],
        run: |tried| status(tried.ask("GET /ws HTTP/1.1\r\nHost: loc")),
    },
    Trial {
        what: "bytes of a request's line and headers",
        set: &["http.max_header_size=8KiB"],
        run: |tried| {
            let long = "x".repeat(9_000);
            status(tried.ask(&format!("GET / HTTP/1.1\r\n{HOST}X: {long}\r\n\r\n")))
        },
    },
    Trial {
        what: "header lines of a request",
        set: &["http.max_headers=16"],
        run: |tried| {
            let many = "X: y\r\n".repeat(20);
            status(tried.ask(&format!("GET / HTTP/1.1\r\n{HOST}{many}\r\n")))
        },
    },
    Trial {
        what: "bytes of a request's body",
        set: &[],
        run: |tried| status(tried.handshake(&format!("{HOST}Content-Length: 1\r\n"))),
    },
    Trial {
        what: "host names that a loopback address answers to",
        set: &["server.hosts=game.example"],
        run: |tried| {
            assert_eq!(status(tried.handshake("Host: game.example\r\n")), "101");
            status(tried.handshake("Host: evil.example\r\n"))
        },
    },
    Trial {
        what: "origins of pages that connect",
        set: &["server.origins=https://game.example"],
        run: |tried| {
            let page = |origin: &str| tried.handshake(&format!("{HOST}Origin: {origin}\r\n"));
            assert_eq!(status(page("https://game.example")), "101");
            status(page("https://evil.example"))
        },
    },
    Trial {
        what: "time to show a token, where one is needed",
        set: &["auth.token_timeout=100ms", SECRET, "auth.anonymous=false"],
        run: |tried| closed(&mut tried.open()),
    },
];
