//! The binary as somebody uses it at a prompt.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../engine/tests/common/ports.rs"]
#[allow(dead_code, reason = "each test uses its part")]
mod ports;
#[path = "../../engine/tests/common/redis_server.rs"]
#[allow(dead_code, clippy::expect_used, reason = "each test uses its part")]
mod redis_server;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use redis_server::Server;
use tempfile::TempDir;

/// The binary in a directory of its own, without variables of ours.
fn roomcast(directory: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(args).current_dir(directory.path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOMCAST_") {
            command.env_remove(name);
        }
    }
    command
}

fn run(args: &[&str]) -> Output {
    roomcast(&directory(), args).output().unwrap()
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(directory: &TempDir, name: &str, text: &str) {
    std::fs::write(directory.path().join(name), text).unwrap();
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_has_every_command_flag_and_exit_code() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for word in [
        "serve",
        "check",
        "healthcheck",
        "token",
        "--config",
        "--listen",
        "--shards",
        "--public-demo",
        "--log-level",
        "--log-format",
        "--set",
        "Examples:",
        "Exit codes:",
        "64",
        "69",
        "78",
    ] {
        assert!(text.contains(word), "{word}\n{text}");
    }
}

#[test]
fn the_version_is_said() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        format!("roomcast {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_wrong_command_line_is_64() {
    for args in [
        &["--lisen", "127.0.0.1:0"][..],
        &["serf"],
        &["--set", "limits.burst"],
        &["check", "--shards"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
    assert!(stderr(&run(&["--lisen", "127.0.0.1:0"])).contains("--listen"));
}

#[test]
fn check_prints_what_is_in_effect_and_where_it_is_from() {
    let directory = directory();
    write(&directory, "roomcast.toml", "[limits]\nburst = 7\n");
    let output = roomcast(
        &directory,
        &["check", "--set", "limits.max_rooms=3", "--shards", "2"],
    )
    .env("ROOMCAST_LOG_LEVEL", "warn")
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for line in [
        "burst = 7  # roomcast.toml:2",
        "max_rooms = 3  # --set",
        "shards = 2  # --shards",
        "level = \"warn\"  # ROOMCAST_LOG_LEVEL",
        "max_offences = 32  # default",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert_eq!(
        stderr(&output),
        "roomcast: the settings are right (roomcast.toml)\n"
    );
}

#[test]
fn a_redis_that_is_not_there_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = format!("redis://{}", listener.local_addr().unwrap());
    drop(listener);
    let output = run(&["check", "--redis", &free]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("\nerror: 127.0.0.1:")
            && text.contains("Check the address")
            && !text.contains(".."),
        "{text}"
    );
    assert!(stdout(&output).contains("urls = \"(not shown)\"  # --redis\n"));
    let offline = run(&["check", "--redis", &free, "--offline"]);
    assert_eq!(offline.status.code(), Some(0));

    for (args, expected) in [
        (["--redis", "localhost"], "begin with redis://"),
        (["--redis", "redis://localhost:port"], "from 1 to 65535"),
    ] {
        let output = run(&["check", args[0], args[1]]);
        assert_eq!(output.status.code(), Some(78));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    let output = run(&["check", "--redis", &free, "--redis-mode", "sentinel:"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("--redis-mode: redis.mode"));
}

#[test]
fn a_redis_is_looked_at() {
    let redis = Server::start(["--unixsocket", "redis.sock"]);
    let url = format!("unix://{}", redis.path().join("redis.sock").display());
    let output = run(&["check", "--redis", &url]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let product = format!("It is {} ", redis.product());
    for part in [
        product.as_str(),
        "warning: ",
        "It saves nothing",
        "all rights that are needed",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_file_is_the_one_that_is_asked_for() {
    let directory = directory();
    write(&directory, "roomcast.toml", "[limits]\nburst = 1\n");
    write(&directory, "second.toml", "[limits]\nburst = 2\n");
    write(&directory, "third.toml", "[limits]\nburst = 3\n");
    let mut by_variable = roomcast(&directory, &["check"]);
    by_variable.env("ROOMCAST_CONFIG", "second.toml");
    assert!(stdout(&by_variable.output().unwrap()).contains("burst = 2  # second.toml:2\n"));
    let mut by_flag = roomcast(&directory, &["check", "--config", "third.toml"]);
    by_flag.env("ROOMCAST_CONFIG", "second.toml");
    assert!(stdout(&by_flag.output().unwrap()).contains("burst = 3  # third.toml:2\n"));
}

#[test]
fn the_printed_defaults_are_a_file_that_is_right() {
    let directory = directory();
    let defaults = stdout(
        &roomcast(&directory, &["check", "--defaults"])
            .output()
            .unwrap(),
    );
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../roomcast.example.toml");
    assert_eq!(defaults, std::fs::read_to_string(committed).unwrap());
    write(&directory, "roomcast.toml", &defaults);
    assert_eq!(
        roomcast(&directory, &["check"])
            .output()
            .unwrap()
            .status
            .code(),
        Some(0)
    );
}

#[test]
fn every_mistake_is_listed_and_the_code_is_78() {
    let directory = directory();
    write(
        &directory,
        "roomcast.toml",
        "[limits]\nbrust = 7\nmax_rooms = -1\n",
    );
    for command in ["check", "serve", "healthcheck"] {
        let output = roomcast(&directory, &[command, "--listen", "8080"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78), "{command}");
        let text = stderr(&output);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[0], "roomcast: 3 things are wrong with the settings:");
        assert_eq!(
            lines[1],
            "  roomcast.toml:2: unknown key limits.brust; did you mean limits.burst?"
        );
        assert!(
            lines[2].starts_with("  roomcast.toml:3: limits.max_rooms = -1 is negative: "),
            "{text}"
        );
        assert!(
            lines[3].starts_with("  --listen: server.listen = \"8080\" has \"8080\" in it"),
            "{text}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_public_address_is_refused_without_the_flag_for_it() {
    let output = run(&["--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        stderr(&output).contains("give --public-demo"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_settings_are_checked_before_an_address_is_opened() {
    // The address is taken: whoever tried to open it would say 69.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["serve", "--listen", &address, "--set", "limits.burst=none"]);
    assert_eq!(output.status.code(), Some(78));
}

const SECRET: &str = "a secret for tests, with enough bytes in it";

/// The claims of a token, as JSON text.
fn claims(token: &str) -> String {
    let part = token.split('.').nth(1).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn a_token_is_made_with_the_secret_of_the_settings() {
    let args = [
        "token",
        "--user",
        "u7",
        "--name",
        "Ada",
        "--room",
        "chat:42",
        "--room",
        "arena:*",
        "--allow",
        "join,history",
        "--ttl",
        "5m",
    ];
    let directory = directory();
    let output = roomcast(&directory, &args)
        .env("ROOMCAST_AUTH_HS256_SECRET", SECRET)
        .output()
        .unwrap();
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""));
    let token = stdout(&output);
    assert_eq!(token.trim_end().split('.').count(), 3, "{token}");
    let claims = claims(&token);
    for part in [
        r#""sub":"u7""#,
        r#""name":"Ada""#,
        r#""permissions":[{"rooms":["chat:42","arena:*"],"allow":["join","history"]}]"#,
    ] {
        assert!(claims.contains(part), "{claims}");
    }
}

#[test]
fn a_token_is_made_with_a_private_key() {
    let directory = directory();
    let random = aws_lc_rs::rand::SystemRandom::new();
    let key = aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(key)
    );
    write(&directory, "private.pem", &pem);
    let output = roomcast(
        &directory,
        &["token", "--user", "u7", "--key", "private.pem"],
    )
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(claims(&stdout(&output)).contains(r#""sub":"u7""#));
    // No server with these settings would take it, and that is said.
    assert!(
        stderr(&output).contains("This server takes no tokens"),
        "{}",
        stderr(&output)
    );
    write(&directory, "wrong.pem", "nonsense");
    for (key, says) in [
        ("wrong.pem", "not a private key"),
        ("missing.pem", "cannot read"),
    ] {
        let output = roomcast(&directory, &["token", "--user", "u7", "--key", key])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_token_that_cannot_be_is_not_made() {
    let directory = directory();
    let token = |args: &[&str]| {
        roomcast(&directory, &[&["token", "--user", "u7"], args].concat())
            .env("ROOMCAST_AUTH_HS256_SECRET", SECRET)
            .output()
            .unwrap()
    };
    for args in [&["--allow", "jion"][..], &["--room", "chat:4*"]] {
        let output = token(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(stderr(&output).contains(args[1]) && output.stdout.is_empty());
    }
    for args in [
        &["--ttl", "0s"][..],
        &["--ttl", "soon"],
        &["--ttl", "1y"],
        &["--ttl", "9999999999d"],
    ] {
        assert_eq!(token(args).status.code(), Some(64), "{args:?}");
    }
    let refused = token(&["--name", " Ada"]);
    assert!(stderr(&refused).contains("The token's name is no nickname"));
    let without = run(&["token", "--user", "u7"]);
    assert_eq!(without.status.code(), Some(1));
    assert!(stderr(&without).contains("ROOMCAST_AUTH_HS256_SECRET_FILE"));
    let short = roomcast(&directory, &["token", "--user", "u7"])
        .env("ROOMCAST_AUTH_HS256_SECRET", "hunter2")
        .output()
        .unwrap();
    assert_eq!(short.status.code(), Some(78));
    assert!(!stderr(&short).contains("hunter2"));
}

#[test]
fn a_health_check_of_nobody_fails() {
    // Bound and let go: nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let output = run(&["healthcheck", "--listen", &free]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(&format!("no answer from {free}")),
        "{}",
        stderr(&output)
    );
}

/// A container's health check comes from an address that is a proxy's as well: from loopback, with a proxy beside it.
#[test]
fn a_health_check_is_answered_where_proxies_begin_with_a_header() {
    let directory = directory();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let free = free.unwrap().to_string();
    let settings = [
        "--listen",
        &free,
        "--set",
        "server.proxy_protocol=v2",
        "--set",
        "server.trusted_proxies=127.0.0.1",
    ];
    let mut server = roomcast(&directory, &["serve"])
        .args(settings)
        .args(["--log-format", "json"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
    let listens = log.any(|line| line.unwrap().contains("listening on"));
    let output = roomcast(&directory, &["healthcheck", "--ready"])
        .args(settings)
        .output()
        .unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(listens);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
