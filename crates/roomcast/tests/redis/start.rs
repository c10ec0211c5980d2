//! A start without Redis, with another password, and without what the engine needs.

use std::process::Command;

use crate::ports::free_port;
use crate::process::free_address;
use crate::redis_server::Server as Redis;
use crate::{SECRET, ready, settings, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_waits_for_redis_and_says_so_when_it_has_gone() {
    let mut redis = Redis::start([""; 0]);
    redis.kill();
    let mut settings = settings(&redis);
    settings.push("redis.not_ready_after=100ms".to_owned());
    let server = start(free_address(), &settings);
    let answer = ready(&server, false).await;
    assert!(answer.contains("not settled at Redis"), "{answer}");
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200 "));
    redis.restart();
    ready(&server, true).await;
    assert_eq!(server.metric("roomcast_lease"), 1);
    redis.kill();
    let answer = ready(&server, false).await;
    assert!(answer.contains("no Redis"), "{answer}");
    redis.restart();
    ready(&server, true).await;
    assert_eq!(server.metric("roomcast_stores_met_total"), 2);
}

/// What it says on standard error, when it does not start or is ended as soon as it has said `part`.
fn said(settings: &[String], part: &str) -> String {
    use std::io::{BufRead as _, BufReader};
    let address = free_address().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    // What is set for the tests is not meant for it.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOMCAST_") {
            command.env_remove(name);
        }
    }
    command.args(["serve", "--listen", &address]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let mut child = command
        .current_dir(std::env::temp_dir())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    for line in lines.map_while(Result::ok) {
        said.push_str(&line);
        said.push('\n');
        if line.contains(part) {
            break;
        }
    }
    let _ = child.kill();
    child.wait().unwrap();
    said
}

#[test]
fn a_wrong_password_is_said() {
    let redis = Redis::start(["--requirepass", "right"]);
    let mut settings = settings(&redis);
    settings.push("redis.password=wrong".to_owned());
    let text = said(&settings, "WRONGPASS");
    let place = format!("127.0.0.1:{}: WRONGPASS", redis.port);
    assert!(text.contains(&place), "{text}");
    assert!(!text.contains("=wrong"), "{text}");
}

#[test]
fn what_the_engine_needs_is_asked_for() {
    let engine = "server.engine=redis".to_owned();
    let url = format!("redis.urls=redis://127.0.0.1:{}", free_port());
    let two = format!("{url},redis://127.0.0.1:{}", free_port());
    let secret = SECRET.to_owned();
    for (settings, expected) in [
        (vec![engine.clone(), url.clone()], "needs a session.secret"),
        (vec![engine.clone(), secret.clone()], "needs redis.urls"),
        (
            vec![engine.clone(), secret.clone(), two],
            "several Redis servers",
        ),
        (
            vec![
                engine.clone(),
                secret.clone(),
                url.replace("127", "u:p@127"),
                "redis.password=other".to_owned(),
            ],
            "redis.password is set, and redis.urls have a password too",
        ),
        (
            vec![
                engine.clone(),
                secret.clone(),
                url.clone(),
                "cluster.listen=0.0.0.0:7400".to_owned(),
            ],
            "set cluster.advertise to the one that the other servers can reach",
        ),
        (
            vec![
                engine.clone(),
                secret.clone(),
                url.clone(),
                "cluster.advertise=here".to_owned(),
            ],
            "cluster.advertise = \"here\" has no port",
        ),
        (
            vec![engine, secret, url.replace("redis://", "http://")],
            "redis.urls: the URL of Redis: http:// is not known",
        ),
    ] {
        let text = said(&settings, expected);
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(!text.contains("listening on"), "{text}");
    }
}
