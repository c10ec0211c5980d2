//! The text of every error: what somebody reads who made a mistake.

use super::*;

#[test]
fn a_file_that_a_variable_names_must_be_there_and_alone() {
    let error = without_file()
        .variable("ROOMCAST_LIMITS_BURST_FILE", "/nowhere/burst")
        .error();
    assert!(
        error.starts_with("ROOMCAST_LIMITS_BURST_FILE: /nowhere/burst cannot be read: "),
        "{error}"
    );
    let error = without_file()
        .variable("ROOMCAST_LIMITS_BURST_FILE", "/nowhere/burst")
        .variable("ROOMCAST_LIMITS_BURST", "1")
        .error();
    assert_eq!(
        error,
        "ROOMCAST_LIMITS_BURST_FILE: ROOMCAST_LIMITS_BURST is set as well; set one of them"
    );
}

/// Wherever a file is named that is read whole: a pipe that nobody writes to would be waited for.
#[cfg(target_os = "linux")]
#[test]
fn a_pipe_or_a_directory_in_place_of_a_file_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let mode = rustix::fs::Mode::from_bits_truncate(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let cases = [
        (&*pipe, "is not a regular file"),
        (directory.path(), "is a directory: name a file"),
    ];
    for (path, wrong) in cases {
        let path = path.to_str().unwrap();
        for (key, expected) in [
            (
                "jwks_path",
                format!("roomcast.toml:2: auth.jwks_path = {path:?} {wrong}"),
            ),
            (
                "public_key_paths",
                format!("roomcast.toml:2: auth.public_key_paths: {path:?} {wrong}"),
            ),
        ] {
            let error = error_in(&format!("[auth]\n{key} = {path:?}\n"));
            assert_eq!(error, expected);
        }
        let secret = without_file().variable("ROOMCAST_AUTH_HS256_SECRET_FILE", path);
        let expected = format!("ROOMCAST_AUTH_HS256_SECRET_FILE: {path} {wrong}");
        assert_eq!(secret.error(), expected);
    }
}

#[test]
fn a_misspelt_variable_is_an_error() {
    let error = without_file()
        .variable("ROOMCAST_LIMITS_BRUST", "1")
        .error();
    assert_eq!(
        error,
        "ROOMCAST_LIMITS_BRUST: sets nothing: there is no such key; did you mean ROOMCAST_LIMITS_BURST?"
    );
    for (name, meant) in [
        ("ROOMCAST_LOGLEVEL", "ROOMCAST_LOG_LEVEL"),
        ("ROOMCAST_SERVERLISTEN", "ROOMCAST_SERVER_LISTEN"),
        ("ROOMCAST_LIMIT_BURST", "ROOMCAST_LIMITS_BURST"),
        ("ROOMCAST_SERVR_SHARDS", "ROOMCAST_SERVER_SHARDS"),
    ] {
        let error = without_file().variable(name, "1").error();
        let expected = format!("{name}: sets nothing: there is no such key; did you mean {meant}?");
        assert_eq!(error, expected);
    }
    let error = without_file().variable("ROOMCAST_BIN", "x").error();
    assert_eq!(
        error,
        "ROOMCAST_BIN: sets nothing: there is no such key, and variables that begin with ROOMCAST_ are the server's"
    );
}

#[test]
fn all_wrong_items_of_a_list_are_told() {
    let error =
        error_in("[server]\ntrusted_proxies = [\"10.0.0.1\", \"proxy\", \"10.0.0.0/99\"]\n");
    assert!(
        error.contains(
            "\"proxy\" in it, which is not a network; it has \"10.0.0.0/99\" in it, which is not"
        ),
        "{error}"
    );
    let error = without_file()
        .variable("ROOMCAST_SERVER_LISTEN", "8080,localhost:1,127.0.0.1:2")
        .error();
    assert!(
        error.contains("\"8080\" in it") && error.contains("\"localhost:1\" in it"),
        "{error}"
    );
    assert!(!error.contains("\"127.0.0.1:2\" in it"), "{error}");
}

/// They are set in the shell in which a server is started, too.
#[test]
fn what_the_other_commands_read_is_nothing_to_the_server() {
    let mut sources = without_file();
    for name in [
        "ADMIN_URL",
        "ADMIN_KEY_FILE",
        "API_KEY",
        "API_KEY_FILE",
        "URL",
        "TOKEN",
        "TOKEN_FILE",
    ] {
        sources = sources.variable(&format!("ROOMCAST_{name}"), "x");
    }
    sources.load();
}

/// A value that is refused is shown, and the log keeps what it is shown.
#[test]
fn a_password_in_a_url_is_refused_and_not_shown() {
    for url in [
        "https://me:s3cret@a/",
        "https://me:s3c/ret@a/",
        "me://s3cret@a",
    ] {
        for key in ["tracing.endpoint", "auth.jwks_path", "redis.urls"] {
            let (table, name) = key.split_once('.').unwrap();
            let error = error_in(&format!("[{table}]\n{name} = \"{url}\""));
            assert!(error.contains(key), "{error}");
            assert!(!error.contains("s3c") && !error.contains("ret@"), "{error}");
        }
    }
}

#[test]
fn headers_for_a_collector_are_read_before_anything_is_opened() {
    let endpoint = "endpoint = \"http://127.0.0.1:4318\"\n";
    let error = error_in(&format!("[tracing]\n{endpoint}headers_path = \"/nowhere\""));
    assert!(
        error.contains("tracing.headers_path = \"/nowhere\" cannot be read"),
        "{error}"
    );
    let headers = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(headers.path(), "Authorization: Bearer s3cret").unwrap();
    let path = format!("headers_path = {:?}\n", headers.path());
    let loaded = with_file(&format!("[tracing]\n{endpoint}{path}")).load();
    assert!(!loaded.report().contains("s3cret"));
    let error = error_in(&format!("[tracing]\n{path}"));
    assert!(error.contains("set tracing.endpoint"), "{error}");
}

#[test]
fn a_key_that_is_there_twice_is_named() {
    for (text, message) in [
        (
            "[limits]\nburst = 1\nburst = 2\n",
            "roomcast.toml:3: limits.burst is there twice",
        ),
        (
            "[limits]\nburst = 1\n[server]\n[limits]\nmax_rooms = 2\n",
            "roomcast.toml:4: [limits] is there twice",
        ),
        (
            "[server]\n\"listen\" = []\nlisten = []\n",
            "roomcast.toml:3: server.listen is there twice",
        ),
        (
            "[kinds.a.state]\nmax_speed = 1.0\nmax_speed = 2.0\n",
            "roomcast.toml:3: kinds.a.state.max_speed is there twice",
        ),
    ] {
        assert_eq!(error_in(text), message);
    }
}

#[test]
fn a_variable_and_a_flag_with_a_wrong_value_are_named() {
    let error = without_file()
        .variable("ROOMCAST_LIMITS_BURST", "many")
        .error();
    assert_eq!(
        error,
        "ROOMCAST_LIMITS_BURST: limits.burst = \"many\" is not a number: it takes a number from 1 to 10000000; \
         the default is 240"
    );
    let error = without_file()
        .flag("--shards", "server.shards", &["0"])
        .error();
    assert_eq!(
        error,
        "--shards: server.shards = \"0\" is too small: it takes a number from 1 to 256, or \"auto\" (one for each \
         core that the process may use); the default is \"auto\""
    );
    let error = without_file()
        .flag("--listen", "server.listen", &["127.0.0.1:1", "8080"])
        .error();
    assert_eq!(
        error,
        "--listen: server.listen = [\"127.0.0.1:1\", \"8080\"] has \"8080\" in it, which has no address (write \
         \"127.0.0.1:8080\" for this machine, \"0.0.0.0:8080\" for all): it takes a list of addresses with ports, \
         such as [\"127.0.0.1:8080\", \"[::1]:8080\"]; the default is [\"127.0.0.1:8080\", \"[::1]:8080\"]"
    );
}

#[test]
fn all_errors_are_told_at_once() {
    let errors =
        with_file("[limits]\nburst = -1\nmax_rooms = 1.5\n[heartbeat]\nping_interval = 30\n")
            .variable("ROOMCAST_LOG_FORMAT", "xml")
            .errors();
    assert_eq!(
        errors,
        [
            "roomcast.toml:2: limits.burst = -1 is negative: it takes a number from 1 to 10000000; the default is 240",
            "roomcast.toml:3: limits.max_rooms = 1.5 is not a whole number: it takes a number from 1 to 1000000, or 0 \
             (off); the default is 64",
            "roomcast.toml:5: heartbeat.ping_interval = 30 has no unit: it takes a time from 50ms to 1h, or 0 (off); \
             the default is \"30s\"",
            "ROOMCAST_LOG_FORMAT: log.format = \"xml\" is none of them: it takes \"auto\", \"text\" or \"json\"; the \
             default is \"auto\"",
        ]
    );
}

#[test]
fn wrong_values_of_every_type_are_told() {
    let cases = [
        (
            "limits.max_message = \"64KB\"",
            "limits.max_message = \"64KB\" has the unit \"KB\": it takes a size from 256B to 16MiB, or 0 (off); the \
             default is \"64KiB\"",
        ),
        (
            "limits.max_message = \"1GiB\"",
            "limits.max_message = \"1GiB\" is too large: it takes a size from 256B to 16MiB, or 0 (off); the default \
             is \"64KiB\"",
        ),
        (
            "limits.burst = \"5\"",
            "limits.burst = \"5\" is a text: it takes a number from 1 to 10000000; the default is 240",
        ),
        (
            "server.public_demo = \"true\"",
            "server.public_demo = \"true\" is a text: it takes true or false; the default is false",
        ),
        (
            "server.metrics = 1",
            "server.metrics = 1 is neither: it takes true, false or \"auto\" (on loopback while `admin.listen` is \
             empty); the default is \"auto\"",
        ),
        (
            "log.level = \"loud\"",
            "log.level = \"loud\" is not a level: it takes \"off\", \"error\", \"warn\", \"info\", \"debug\" or \
             \"trace\", or such a level for parts, such as \"warn,roomcast_server=debug\"; the default is \"info\"",
        ),
        (
            "server.origins = [1]",
            "server.origins = [1] is not a list of texts: it takes a list of origins, such as \
             [\"https://game.example\", \"capacitor://localhost\", \"null\"]; the default is []",
        ),
        (
            "server.trusted_proxies = [\"proxy\"]",
            "server.trusted_proxies = [\"proxy\"] has \"proxy\" in it, which is not a network: it takes a list of \
             networks or addresses, such as [\"10.0.0.0/8\", \"fd00::1\"]; the default is []",
        ),
        (
            "kinds.arena.state.bounds = inf",
            "kinds.arena.state.bounds = inf is not a number: it takes a number from 0.001 to 1000000000000, or 0 (off); the \
             default is 1000000.0",
        ),
        (
            "kinds.arena.mode = \"lockstep\"",
            "kinds.arena.mode = \"lockstep\" is none of them: it takes \"state\" or \"relay\"; the default is \
             \"state\"",
        ),
        (
            "limits.burst = 2026-01-01",
            "limits.burst = 2026-01-01 is not a number: it takes a number from 1 to 10000000; the default is 240",
        ),
    ];
    for (line, error) in cases {
        assert_eq!(error_in(line), format!("roomcast.toml:1: {error}"));
    }
}

#[test]
fn unknown_keys_come_with_a_suggestion() {
    let cases = [
        (
            "[limits]\nbrust = 1",
            "2: unknown key limits.brust; did you mean limits.burst?",
        ),
        (
            "burst = 1",
            "1: unknown key burst; did you mean limits.burst?",
        ),
        (
            "[server]\nmax_message = 1",
            "2: unknown key server.max_message; did you mean limits.max_message?",
        ),
        (
            "server.ping_intervall = 1",
            "1: unknown key server.ping_intervall; did you mean heartbeat.ping_interval?",
        ),
        (
            "[limit]\nburst = 1\nmax_rooms = 1",
            "1: unknown table [limit]; did you mean [limits]?",
        ),
        ("[nonsense]", "1: unknown table [nonsense]"),
        (
            "limits = 5",
            "1: limits is a table: write its keys below [limits]",
        ),
        (
            "[kinds.arena]\nmax_player = 1",
            "2: unknown key kinds.arena.max_player; did you mean kinds.arena.max_players?",
        ),
        (
            "[kinds.arena]\nmax_speed = 1",
            "2: unknown key kinds.arena.max_speed; did you mean kinds.arena.state.max_speed?",
        ),
        (
            "kinds.max_players = 1",
            "1: kinds.max_players is a table: write its keys below [kinds.max_players]",
        ),
        ("server.colour = \"green\"", "1: unknown key server.colour"),
    ];
    for (text, error) in cases {
        assert_eq!(error_in(text), format!("roomcast.toml:{error}"));
    }
}

#[test]
fn a_kind_needs_a_name_that_rooms_can_have() {
    let error = error_in("[kinds.\"a:b\"]\nmax_players = 1");
    assert_eq!(
        error,
        "roomcast.toml:2: the name of the kind \"a:b\" has a ':' in it: a kind is the part of a room's name before that"
    );
}

#[test]
fn a_file_that_is_not_toml_is_told_with_its_line() {
    let error = error_in("[limits]\nburst 5\n");
    assert!(error.starts_with("roomcast.toml:2: not TOML: "), "{error}");
}

#[test]
fn a_file_that_was_asked_for_must_be_there_and_the_usual_one_need_not() {
    let mut tried = without_file();
    let path = tried.directory.path().join("roomcast.toml");
    tried.sources.usual_file = Some(path.clone());
    assert_eq!(tried.load().file, None);
    tried.sources.file = Some(path);
    let error = tried.error();
    assert!(
        error.starts_with("roomcast.toml: cannot read this file: No such file"),
        "{error}"
    );
}

#[test]
fn a_public_address_needs_somebody_to_say_so() {
    let error = without_file()
        .flag("--listen", "server.listen", &["0.0.0.0:9000"])
        .error();
    assert_eq!(
        error,
        "--listen: server.listen has \"0.0.0.0:9000\" in it, which other machines can reach, and nothing asks clients \
         who they are: set auth.hs256_secret, auth.public_key_paths or auth.jwks_path to ask them for tokens, give \
         --public-demo (server.public_demo = true) to let everybody in, or listen on \"127.0.0.1:9000\""
    );
    for public in ["[::]:9000", "192.168.1.2:9000", "[::ffff:10.0.0.1]:9000"] {
        assert_eq!(
            without_file()
                .flag("--listen", "server.listen", &[public])
                .errors()
                .len(),
            1
        );
    }
    for local in ["127.9.9.9:9000", "[::1]:9000", "[::ffff:127.0.0.1]:9000"] {
        without_file()
            .flag("--listen", "server.listen", &[local])
            .load();
    }
    let error = error_in("[admin]\nlisten = [\"0.0.0.0:9090\"]");
    assert!(
        error.starts_with("roomcast.toml:2: admin.listen has \"0.0.0.0:9090\" in it"),
        "{error}"
    );
    let loaded = without_file()
        .flag("--listen", "server.listen", &["0.0.0.0:9000"])
        .flag("--public-demo", "server.public_demo", &["true"])
        .load();
    assert_eq!(
        loaded.warnings,
        ["--public-demo: everybody who can reach this server may join any room"]
    );
}

#[test]
fn an_auth_setting_allows_a_public_address() {
    let public = |tried: Try| tried.flag("--listen", "server.listen", &["0.0.0.0:9000"]);
    let secret = "a secret for tests, with enough bytes in it";
    let loaded = public(without_file().variable("ROOMCAST_AUTH_HS256_SECRET", secret)).load();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let listener = |loaded: &Loaded| loaded.config.listeners()[0].anonymous;
    assert_eq!(listener(&loaded), Anonymous::Nobody);
    let report = loaded.report();
    assert!(
        report.contains("hs256_secret = \"(not shown)\"  # ROOMCAST_AUTH_HS256_SECRET\n"),
        "{report}"
    );
    assert!(!report.contains(secret));
    let loaded = public(with_file("auth.anonymous = true")).load();
    assert_eq!(
        loaded.warnings,
        ["auth.anonymous = true: everybody who can reach this server may join any room"]
    );
    assert_eq!(listener(&loaded), Anonymous::Everybody);
    assert_eq!(listener(&without_file().load()), Anonymous::Local);
    let demo = public(without_file().flag("--public-demo", "server.public_demo", &["true"])).load();
    assert_eq!(listener(&demo), Anonymous::Everybody);
    // On loopback a proxy could look like a program of this machine.
    let loaded = without_file()
        .variable("ROOMCAST_AUTH_HS256_SECRET", secret)
        .load();
    assert_eq!(listener(&loaded), Anonymous::Local);
    assert!(loaded.warnings[0].contains("auth.anonymous"));
}

#[test]
fn wrong_keys_are_told_before_anything_is_opened() {
    let tried = with_file("auth.hs256_secret = \"hunter2\"");
    assert_eq!(
        tried.error(),
        "roomcast.toml:1: auth.hs256_secret = (not shown) has less than 32 bytes: it takes a text of at least 32 \
         bytes, or \"\" (none); the default is \"\""
    );
    assert_eq!(
        error_in("auth.anonymous = false"),
        "roomcast.toml:1: auth.anonymous = false lets nobody in while no key is configured: set auth.hs256_secret, \
         auth.public_key_paths or auth.jwks_path"
    );
    assert!(
        error_in("auth.algorithms = [\"HS512\"]")
            .contains("has \"HS512\" in it, which is none of them")
    );
    let error = error_in("log.level = \"info\"\nauth.jwks_path = \"/nowhere/jwks.json\"");
    assert!(
        error.starts_with(
            "roomcast.toml:2: auth.jwks_path = \"/nowhere/jwks.json\" cannot be read: "
        ),
        "{error}"
    );
    let error = error_in("auth.public_key_paths = [\"/nowhere/key.pem\"]");
    assert!(
        error.starts_with(
            "roomcast.toml:1: auth.public_key_paths: \"/nowhere/key.pem\" cannot be read: "
        ),
        "{error}"
    );
    let tried = with_file("");
    let path = tried.directory.path().join("secret");
    std::fs::write(&path, "hunter2\n").unwrap();
    let error = tried
        .variable(
            "ROOMCAST_AUTH_HS256_SECRET_FILE",
            &path.display().to_string(),
        )
        .error();
    assert!(
        error.contains("has less than 32 bytes") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn settings_that_contradict_each_other_are_told() {
    let cases = [
        (
            "heartbeat.pong_timeout = \"20s\"",
            "heartbeat.pong_timeout (20s) is not longer than heartbeat.ping_interval (30s): a client needs time to \
             answer; twice the interval is usual",
        ),
        (
            "heartbeat.ping_interval = 0",
            "heartbeat.pong_timeout needs a heartbeat.ping_interval: without pings a silent client would be taken for \
             gone; set both, or both to 0",
        ),
        (
            "shutdown.delay = \"25s\"",
            "shutdown.delay (25s) is not shorter than shutdown.deadline (25s): nothing would be left to end in",
        ),
        (
            "queues.event_lane = \"100KiB\"",
            "queues.event_lane (100KiB) is less than twice limits.max_message (128KiB): the largest message would \
             never fit",
        ),
        (
            "server.proxy_protocol = \"v2\"",
            "server.proxy_protocol = \"v2\" needs server.trusted_proxies: only their word is taken",
        ),
        (
            "server.listen = []",
            "server.listen = [] is empty: it takes at least one address, such as \"127.0.0.1:8080\"",
        ),
        (
            "admin.listen = [\"127.0.0.1:8080\"]",
            "admin.listen has \"127.0.0.1:8080\" in it, which is there twice",
        ),
    ];
    for (line, error) in cases {
        assert_eq!(error_in(line), format!("roomcast.toml:1: {error}"));
    }
    with_file("server.listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]").load();
    with_file("heartbeat = { ping_interval = 0, pong_timeout = 0 }").load();
}
