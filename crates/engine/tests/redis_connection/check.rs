//! What is said about a Redis that does not fit.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use roomcast_engine::redis::{
    Client, Level, Login, Mode, RIGHTS, RedisConfig, Report, Secret, check,
};

use crate::pubsub::{NODE, listens, reaches};
use crate::redis_cluster::RedisCluster;
use crate::redis_server::{Server, ask, config, wait};
use crate::shard::push;

fn has(report: &Report, level: Level, part: &str) -> bool {
    report
        .findings
        .iter()
        .any(|finding| finding.level == level && finding.text.contains(part))
}

#[track_caller]
fn says(report: &Report, level: Level, part: &str) {
    assert!(
        has(report, level, part),
        "not said: {level:?} {part}\n{report:#?}"
    );
}

fn logged_in(server: &Server) -> RedisConfig {
    let mut config = server.config();
    let password = Some(Secret::Value("secret".to_owned()));
    config.login = Login {
        user: Some("ann".to_owned()),
        password,
    };
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_one_is_usable() {
    let server = Server::start(["--appendonly", "yes"]);
    let report = check(&server.config()).await;
    assert!(report.is_usable(), "{report:#?}");
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.level == Level::Info),
        "{report:#?}"
    );
    let product = format!("It is {} ", server.product());
    says(&report, Level::Info, &product);
    says(&report, Level::Info, "all rights");
    says(&report, Level::Info, "ms ");
    assert_eq!(
        server.ask("DBSIZE").as_int(),
        Some(0),
        "nothing is left behind"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_persistence_are_looked_at() {
    let server = Server::start(["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let report = check(&server.config()).await;
    says(&report, Level::Error, "maxmemory-policy is allkeys-lru");
    says(&report, Level::Warning, "It saves nothing");
    assert!(!report.is_usable());
    server.ask("CONFIG SET maxmemory 0");
    ask(server.port, &["CONFIG", "SET", "save", "3600 1"]);
    let report = check(&server.config()).await;
    says(&report, Level::Warning, "Set the policy to noeviction");
    says(&report, Level::Info, "no append-only file");
}

/// What is of use with a Redis Cluster alone.
const CLUSTER_ONLY: [&str; 3] = ["cluster|slots", "spublish", "ssubscribe"];

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_documented_rights_are_enough() {
    let server = Server::start([""; 0]);
    server.ask(&format!(
        "ACL SETUSER ann on >secret ~roomcast:* &roomcast:* {RIGHTS}"
    ));
    let report = check(&logged_in(&server)).await;
    assert!(report.is_usable(), "{report:#?}");
    says(
        &report,
        Level::Info,
        "can't be read, as CONFIG is not allowed",
    );
    // A client needs no more.
    let redis = Client::start(logged_in(&server));
    let mut subscription = redis.subscribe(NODE);
    wait("a connection", || redis.masters()[0].store).await;
    let pushes = redis.run(push(b"roomcast:{a}", None)).await;
    assert!(
        pushes.is_err(),
        "the scripts of these tests use a command that Roomcast does not"
    );
    listens(&subscription, 1).await;
    reaches(&redis, &mut subscription, b"hello").await;

    // Each of them is needed, and named where it lacks.
    for right in RIGHTS.split(' ') {
        let name = right.trim_start_matches('+');
        server.ask(&format!("ACL SETUSER ann -{name}"));
        let report = check(&logged_in(&server)).await;
        let cluster_only = CLUSTER_ONLY.contains(&name);
        assert_eq!(report.is_usable(), cluster_only, "{name}: {report:#?}");
        if !report.is_usable() {
            says(&report, Level::Error, right);
        }
        server.ask(&format!("ACL SETUSER ann {right}"));
    }
    // One who lacks all of them learns of all at once.
    server.ask("ACL SETUSER ann -@all");
    let report = check(&logged_in(&server)).await;
    for right in RIGHTS.split(' ') {
        let name = right.trim_start_matches('+');
        let texts = report.findings.iter().map(|finding| &finding.text);
        let is_said = texts
            .flat_map(|text| text.split(' '))
            .any(|word| word == right);
        assert!(
            is_said || CLUSTER_ONLY.contains(&name),
            "{right}: {report:#?}"
        );
    }
    server.ask(&format!("ACL SETUSER ann {RIGHTS}"));
    server.ask("ACL SETUSER ann resetkeys ~other:*");
    says(
        &check(&logged_in(&server)).await,
        Level::Error,
        "~roomcast:*",
    );
    server.ask("ACL SETUSER ann ~roomcast:* resetchannels &other:*");
    says(
        &check(&logged_in(&server)).await,
        Level::Error,
        "&roomcast:*",
    );
    server.ask("ACL SETUSER ann >other <secret");
    says(
        &check(&logged_in(&server)).await,
        Level::Error,
        "Check the user and the password",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_that_the_page_makes_is_enough() {
    let page = include_str!("../../../../docs/redis.md");
    let mut lines = page.lines();
    let line = lines.find(|line| line.starts_with("ACL SETUSER")).unwrap();
    assert!(
        line.ends_with(&format!(" {RIGHTS}")),
        "its rights: {RIGHTS}"
    );
    let server = Server::start([""; 0]);
    let of_tests = line.replace("roomcast on >PASSWORD", "ann on >secret");
    assert_eq!(server.ask(&of_tests).as_str(), Some("OK"), "{line}");
    let mut config = logged_in(&server);
    let report = check(&config).await;
    assert!(report.is_usable(), "{report:#?}");
    config.database = 1;
    says(&check(&config).await, Level::Error, "+select");
    server.ask("ACL SETUSER ann +select");
    let report = check(&config).await;
    assert!(report.is_usable(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_master_is_said() {
    let master = Server::start([""; 0]);
    let replica = Server::start(["--replicaof", &format!("127.0.0.1 {}", master.port)]);
    let report = check(&replica.config()).await;
    says(
        &report,
        Level::Error,
        &format!(
            "It is a replica, and takes no writes. Its master is 127.0.0.1:{}",
            master.port
        ),
    );
    says(
        &check(&config(&[master.url()], Mode::Cluster)).await,
        Level::Error,
        "cluster support disabled",
    );
    says(
        &check(&config(
            &["redis://127.0.0.1:1".to_owned()],
            Mode::Standalone,
        ))
        .await,
        Level::Error,
        "Check the address",
    );
    let mode = Mode::Sentinel {
        master: "main".to_owned(),
        login: Login::default(),
    };
    says(
        &check(&config(&[master.url()], mode)).await,
        Level::Error,
        "This Sentinel can't be used",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_master_of_a_cluster_is_looked_at() {
    let cluster = RedisCluster::start(0);
    let report = check(&config(&[cluster.nodes[2].url()], Mode::Cluster)).await;
    assert!(report.is_usable(), "{report:#?}");
    for node in &cluster.nodes {
        node.ask("ACL SETUSER ann on >secret");
    }
    let mut nobody = logged_in(&cluster.nodes[0]);
    nobody.mode = Mode::Cluster;
    let report_of_nobody = check(&nobody).await;
    for part in ["+cluster|slots.", RIGHTS] {
        says(&report_of_nobody, Level::Error, part);
    }
    let rights = report
        .findings
        .iter()
        .filter(|finding| finding.text.contains("all rights"));
    assert_eq!(rights.count(), 3);
    says(
        &check(&cluster.nodes[0].config()).await,
        Level::Error,
        "Set the mode to cluster",
    );
    cluster.nodes[0].ask("CLUSTER DELSLOTS 7");
    let report = check(&config(&[cluster.nodes[0].url()], Mode::Cluster)).await;
    says(
        &report,
        Level::Error,
        "Only 16383 of the Cluster's 16384 slots",
    );
}

/// Answers INFO with this, and all else with OK.
fn answers_info(info: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = socket.read(&mut bytes) {
                    let answer = match bytes[..read].windows(4).any(|part| part == b"INFO") {
                        true => format!("${}\r\n{info}\r\n", info.len()),
                        false => "+OK\r\n".to_owned(),
                    };
                    if socket.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_too_old_or_not_told_is_an_error() {
    let old = "It should be Redis 7.0 or later, or Valkey.";
    for (info, level, text) in [
        (
            "redis_version:6.2.14\r\n",
            Level::Error,
            "It is Redis 6.2.14.",
        ),
        ("redis_version:6.2.14\r\n", Level::Error, old),
        ("redis_version:odd\r\n", Level::Error, old),
        ("role:master\r\n", Level::Error, "INFO shows no version."),
        ("role:master\r\n", Level::Error, old),
        ("redis_version:7.0.0\r\n", Level::Info, "It is Redis 7.0.0."),
        (
            "redis_version:10.0.1\r\n",
            Level::Info,
            "It is Redis 10.0.1.",
        ),
        (
            "redis_version:6.9.9\r\nvalkey_version:8.0.1\r\n",
            Level::Info,
            "It is Valkey 8.0.1.",
        ),
    ] {
        let report = check(&config(&[answers_info(info)], Mode::Standalone)).await;
        says(&report, level, text);
        assert_eq!(has(&report, Level::Error, old), level == Level::Error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_hides_which_redis_answers_is_found() {
    // Without ids, as some proxies do.
    let url = answers_info("redis_version:7.2.0\r\nrole:master\r\n");
    let report = check(&config(std::slice::from_ref(&url), Mode::Standalone)).await;
    says(&report, Level::Error, "A proxy hides which Redis answers");
    let redis = Client::start(config(&[url], Mode::Standalone));
    let failure = wait("a failure", || redis.masters()[0].failure.clone()).await;
    assert!(
        failure.said.contains("a proxy hides which Redis answers"),
        "{failure}"
    );
}
