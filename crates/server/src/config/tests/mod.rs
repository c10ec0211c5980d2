//! Precedence, every form of value, and what is worked out from several settings.

mod backends;
mod errors;

use std::time::Duration;

use roomcast_core::settings::{Mode, PresenceMode};

use super::*;

/// Sources with a file of this text in a directory of its own.
struct Try {
    directory: tempfile::TempDir,
    sources: Sources,
}

fn with_file(text: &str) -> Try {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roomcast.toml");
    std::fs::write(&path, text).unwrap();
    let sources = Sources {
        file: Some(path),
        ..Sources::default()
    };
    Try { directory, sources }
}

fn without_file() -> Try {
    Try {
        directory: tempfile::tempdir().unwrap(),
        sources: Sources::default(),
    }
}

impl Try {
    fn variable(mut self, name: &str, value: &str) -> Try {
        self.sources
            .environment
            .push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, name: &str, key: &str, values: &[&str]) -> Try {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        self.sources.flags.push(Flag {
            name: name.to_owned(),
            key: key.to_owned(),
            values,
        });
        self
    }

    fn load(&self) -> Loaded {
        Config::load(&self.sources).unwrap()
    }

    /// The errors, without the directory's name.
    fn errors(&self) -> Vec<String> {
        let directory = format!("{}/", self.directory.path().display());
        let problems = Config::load(&self.sources).unwrap_err();
        problems
            .iter()
            .map(|problem| problem.to_string().replace(&directory, ""))
            .collect()
    }

    fn error(&self) -> String {
        let errors = self.errors();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        errors.into_iter().next().unwrap()
    }
}

fn error_in(text: &str) -> String {
    with_file(text).error()
}

#[test]
fn nothing_set_is_the_default() {
    let loaded = without_file().load();
    assert_eq!(
        format!("{:?}", loaded.config),
        format!("{:?}", Config::default())
    );
    assert!(loaded.warnings.is_empty());
}

#[test]
fn a_file_beats_the_default_a_variable_the_file_and_a_flag_the_variable() {
    let file = "[limits]\nmax_rooms = 1\nburst = 1\nmax_offences = 1\n";
    let loaded = with_file(file)
        .variable("ROOMCAST_LIMITS_BURST", "2")
        .variable("ROOMCAST_LIMITS_MAX_OFFENCES", "2")
        .flag("--set limits.max_offences", "limits.max_offences", &["3"])
        .load();
    let core = &loaded.config.core;
    assert_eq!((core.max_rooms, core.burst, core.max_offences), (1, 2, 3));
    assert_eq!(core.messages_per_second, 120);
    assert!(
        loaded
            .source("limits.max_rooms")
            .to_string()
            .ends_with("roomcast.toml:2")
    );
    assert_eq!(
        loaded.source("limits.burst").to_string(),
        "ROOMCAST_LIMITS_BURST"
    );
    assert_eq!(
        loaded.source("limits.max_offences").to_string(),
        "--set limits.max_offences"
    );
    assert_eq!(
        loaded.source("limits.messages_per_second"),
        &Source::Default
    );
}

#[test]
fn every_form_of_value_is_read() {
    let config = with_file(
        r#"
        compression.enabled = false
        [server]
        listen = "127.0.0.1:0"
        shards = 3
        pages = false
        origins = ["https://Game.Example"]
        trusted_proxies = ["10.0.0.0/8", "fd00::1"]
        proxy_protocol = "v2"
        [limits]
        memory = "1GiB"
        max_message = 0x1_0000
        [batcher]
        max_wait = "500us"
        [log]
        level = "warn,roomcast_server=debug"
        [kinds.default]
        presence = "count"
        [kinds.arena]
        mode = "relay"
        state.max_speed = 12.5
        [kinds.arena.compression]
        level = 9
        "#,
    )
    .load()
    .config;
    assert_eq!(config.server.listen, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(config.server.shards(), 3);
    assert_eq!(config.server.pages, Some(false));
    assert_eq!(
        config.server.origins,
        ["https://game.example".parse().unwrap()]
    );
    assert_eq!(config.server.proxy_protocol, ProxyProtocol::V2);
    assert!(config.server.trusts("10.9.8.7".parse().unwrap()));
    assert!(config.server.trusts("::ffff:10.9.8.7".parse().unwrap()));
    assert!(config.server.trusts("fd00::1".parse().unwrap()));
    assert!(!config.server.trusts("fd00::2".parse().unwrap()));
    assert_eq!(config.limits.memory(), 1 << 30);
    assert_eq!(config.core.max_message, 65_536);
    assert_eq!(config.batcher.max_wait, Duration::from_micros(500));
    assert!(!config.compression);
    let names: Vec<&str> = config.kinds.iter().map(|kind| &*kind.name).collect();
    assert_eq!(names, ["default", "arena"]);
    let arena = &config.kinds[1];
    assert_eq!(
        (arena.mode, arena.presence),
        (Mode::Relay, PresenceMode::Count)
    );
    assert_eq!((arena.rules.max_speed, arena.compression.level), (12.5, 9));
    assert_eq!(config.kinds[0].mode, Mode::State);
}

#[test]
fn lists_in_variables_have_commas() {
    let config = without_file()
        .variable(
            "ROOMCAST_SERVER_ORIGINS",
            "https://a.example, https://b.example",
        )
        .variable("ROOMCAST_SERVER_LISTEN", "127.0.0.1:1,[::1]:2")
        .load()
        .config;
    assert_eq!(
        config.server.origins,
        ["https://a.example", "https://b.example"].map(|origin| origin.parse().unwrap())
    );
    assert_eq!(config.server.listen.len(), 2);
}

#[test]
fn variables_set_kinds() {
    let config = without_file()
        .variable("ROOMCAST_KINDS_BIG_ARENA_COMPRESSION_LEVEL", "3")
        .variable("ROOMCAST_KINDS_DEFAULT_MAX_PLAYERS", "5")
        .load()
        .config;
    assert_eq!(config.kinds[1].name, "big_arena");
    assert_eq!(
        (
            config.kinds[1].compression.level,
            config.kinds[1].max_players
        ),
        (3, 5)
    );
}

#[test]
fn a_kind_without_keys_is_a_kind() {
    let config = with_file("rooms.refuse_unknown_kinds = true\n[kinds.lobby]\n")
        .load()
        .config;
    assert_eq!(config.kinds.len(), 2);
}

#[test]
fn an_empty_variable_is_not_set() {
    let config = without_file()
        .variable("ROOMCAST_LIMITS_BURST", "")
        .load()
        .config;
    assert_eq!(config.core.burst, 240);
}

#[test]
fn a_variable_may_name_a_file() {
    let mut tried = with_file("7\n");
    let path = tried.sources.file.take().unwrap().display().to_string();
    let loaded = tried.variable("ROOMCAST_LIMITS_BURST_FILE", &path).load();
    assert_eq!(loaded.config.core.burst, 7);
    let source = loaded.source("limits.burst").to_string();
    assert_eq!(source, format!("ROOMCAST_LIMITS_BURST_FILE ({path})"));
}

#[test]
fn what_kubernetes_puts_into_every_pod_is_not_ours() {
    let loaded = without_file()
        .variable("ROOMCAST_PORT", "tcp://10.0.0.1:8080")
        .variable("ROOMCAST_SERVER_PORT_8080_TCP_ADDR", "10.0.0.1")
        .variable("ROOMCAST_SERVER_SERVICE_HOST", "10.0.0.1")
        .variable("ROOMCAST_SERVICE_PORT_HTTP", "8080")
        .load();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn pages_and_metrics_are_on_where_only_this_machine_can_reach_them() {
    use Metrics::{Everybody, Local, Nobody};
    let offers = |tried: Try| -> Vec<(bool, Metrics)> {
        let listeners = tried.load().config.listeners();
        listeners
            .iter()
            .map(|listener| (listener.pages, listener.metrics))
            .collect()
    };
    assert_eq!(offers(without_file()), [(true, Local), (true, Local)]);
    let public = "server = { listen = [\"0.0.0.0:1\", \"127.0.0.1:1\"], public_demo = true }\n";
    assert_eq!(offers(with_file(public)), [(true, Nobody), (true, Local)]);
    let own = "[admin]\nlisten = [\"127.0.0.1:9090\"]";
    assert_eq!(
        offers(with_file(own)),
        [(false, Nobody), (false, Nobody), (true, Everybody)]
    );
    assert_eq!(
        offers(with_file(&format!("{public}{own}"))),
        [(true, Nobody), (true, Nobody), (true, Everybody)]
    );
    let asked =
        "server = { listen = [\"0.0.0.0:1\"], public_demo = true, metrics = true, pages = false }";
    assert_eq!(offers(with_file(asked)), [(false, Everybody)]);
}

#[test]
fn only_the_default_may_lack_its_second_address() {
    let optional = |tried: Try| -> Vec<bool> {
        tried
            .load()
            .config
            .listeners()
            .iter()
            .map(|listener| listener.optional)
            .collect()
    };
    assert_eq!(optional(without_file()), [false, true]);
    assert_eq!(
        optional(with_file("server.listen = [\"[::1]:8080\"]")),
        [false]
    );
}

#[test]
fn the_report_is_a_configuration_with_where_each_value_is_from() {
    let loaded = with_file(
        "[limits]\nburst = 7\n[kinds.default]\nmax_players = 4\n[kinds.arena]\ntick = \"20ms\"\n",
    )
    .variable("ROOMCAST_LOG_LEVEL", "debug")
    .flag("--shards", "server.shards", &["2"])
    .load();
    let report = loaded.report();
    for line in [
        "shards = 2  # --shards",
        "level = \"debug\"  # ROOMCAST_LOG_LEVEL",
        "max_rooms = 64  # default",
    ] {
        assert!(
            report.lines().any(|known| known == line),
            "{line}\n{report}"
        );
    }
    let ends = |start: &str, end: &str| {
        report
            .lines()
            .any(|line| line.starts_with(start) && line.ends_with(end))
    };
    assert!(ends("burst = 7  # ", "roomcast.toml:2"), "{report}");
    assert!(ends("tick = \"20ms\"  # ", "roomcast.toml:6"), "{report}");
    assert!(
        ends("max_players = 4  # kinds.default, ", "roomcast.toml:4"),
        "{report}"
    );
    let again = with_file(&report).load();
    assert_eq!(
        format!("{:?}", again.config),
        format!("{:?}", loaded.config)
    );
}

#[test]
fn auto_says_what_it_comes_to() {
    let loaded = without_file().load();
    let shards = format!(
        "shards = \"auto\"  # {} here; default",
        loaded.config.server.shards()
    );
    assert!(loaded.report().contains(&shards), "{}", loaded.report());
}

#[test]
fn those_who_come_back_are_spread_by_the_pace() {
    let shutdown = Shutdown {
        pace: 1_000,
        ..Shutdown::default()
    };
    assert_eq!(shutdown.spread(2_500), Duration::from_millis(2_500));
    let at_once = Shutdown {
        pace: 0,
        ..Shutdown::default()
    };
    assert_eq!(at_once.spread(usize::MAX), Duration::ZERO);
}
