//! One Redis.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use roomcast_core::store::{Answer, Cause, StoreError, StoreId, Ticket};
use roomcast_engine::redis::{Client, Login, Mode, Secret, Value};
use tokio::time::timeout;

use crate::redis_server::{DEADLINE, Server, config, wait};
use crate::shard::{PUSH, READ, Shard, client, key, push, run};

async fn connected(redis: &Client) -> StoreId {
    wait("a connection", || redis.masters()[0].store).await
}

fn list(server: &Server, of: u64) -> Vec<String> {
    let key = String::from_utf8(key(client(of))).expect("text");
    let list = crate::redis_server::ask(server.port, &["LRANGE", &key, "0", "-1"]);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    list.as_array().expect("a list").iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_turn_submits_is_done_in_its_order() {
    let server = Server::start([""; 0]);
    let redis = Client::start(server.config());
    let mut shard = Shard::new(&redis);
    let tickets: Vec<_> = (0..500)
        .map(|number| shard.push(client(number % 2), number))
        .collect();
    for ticket in tickets {
        assert_eq!(shard.next().await, (ticket, Ok(Answer::Turn(true))));
    }
    let even: Vec<_> = (0..500)
        .step_by(2)
        .map(|number| number.to_string())
        .collect();
    assert_eq!(list(&server, 0), even);
    assert_eq!(list(&server, 1).len(), 250);
    // A script is loaded once, and not asked for again.
    let stats = server.text("INFO commandstats");
    let calls = |name: &str| {
        let line = stats
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or("calls=0,")
            .to_owned();
        line.split("calls=")
            .nth(1)
            .and_then(|rest| rest.split(',').next()?.parse().ok())
            .unwrap_or(0u32)
    };
    assert_eq!(calls("cmdstat_script|load"), 1);
    assert_eq!(calls("cmdstat_evalsha:"), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_killed_comes_back_to_the_same_store() {
    let server = Server::start([""; 0]);
    let redis = Client::start(server.config());
    let store = connected(&redis).await;
    let mut shard = Shard::new(&redis);
    for round in 1..=5 {
        server.ask("CLIENT KILL TYPE normal SKIPME yes");
        // Answered, or lost and to be asked again; never silence.
        shard.push(client(0), round);
        let (_, answer) = shard.next().await;
        assert!(
            matches!(answer, Ok(Answer::Turn(true)) | Err(StoreError::Again(_))),
            "{answer:?}"
        );
        shard.length(client(0)).await;
    }
    assert_eq!(connected(&redis).await, store);
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_scripts_are_loaded_again() {
    let server = Server::start([""; 0]);
    let redis = Client::start(server.config());
    let store = connected(&redis).await;
    let mut shard = Shard::new(&redis);
    shard.length(client(0)).await;
    for round in 0..5 {
        server.ask("SCRIPT FLUSH");
        for number in 0..20 {
            shard.push(client(0), round * 20 + number);
        }
        for _ in 0..20 {
            assert_eq!(shard.next().await.1, Ok(Answer::Turn(true)));
        }
    }
    let all: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(list(&server, 0), all);
    assert_eq!(connected(&redis).await, store);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_not_done_after_a_later_one_about_the_same_key() {
    let server = Server::start([""; 0]);
    let redis = Client::start(server.config());
    let store = connected(&redis).await;
    let mut shard = Shard::new(&redis);
    shard.push(client(0), 0);
    shard.next().await.1.expect("it is done");
    shard.length(client(1)).await;
    // Redis knows one of the two scripts: the second request is done, while the first one waits for its script.
    server.ask("SCRIPT FLUSH");
    let text = READ.text(store);
    crate::redis_server::ask(server.port, &["SCRIPT", "LOAD", &text]);
    let push = shard.push(client(0), 1);
    let other = shard.push(client(1), 2);
    let read = shard.read(client(0));
    let mut answers = HashMap::new();
    for _ in 0..3 {
        let (ticket, answer) = shard.next().await;
        answers.insert(ticket, answer);
    }
    assert_eq!(answers[&push], Err(StoreError::Again(Cause::Busy)));
    assert_eq!(answers[&other], Ok(Answer::Turn(true)));
    assert!(answers[&read].is_ok());
    assert_eq!((list(&server, 0).len(), list(&server, 1).len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_redis_is_another_store() {
    let mut server = Server::start([""; 0]);
    let redis = Client::start(server.config());
    let store = connected(&redis).await;
    let (at, _) = run(&redis, push(b"{a}", Some(store)))
        .await
        .expect("it runs");
    assert_eq!(at, store);

    server.kill();
    let mut shard = Shard::new(&redis);
    shard.push(client(0), 1);
    assert_eq!(
        shard.next().await.1,
        Err(StoreError::Again(Cause::Connection))
    );

    let mut changes = redis.changes();
    server.restart();
    let other = loop {
        match redis.masters()[0].store {
            Some(other) if other != store => break other,
            _ => timeout(DEADLINE, changes.changed())
                .await
                .expect("a change in time")
                .expect("a change"),
        }
    };
    assert_eq!(
        run(&redis, push(b"{a}", Some(store))).await,
        Err(StoreError::Again(Cause::OtherStore))
    );
    assert_eq!(server.ask("EXISTS {a}"), Value::Int(0));
    assert_eq!(
        run(&redis, push(b"{a}", Some(other))).await,
        Ok((other, Value::Int(1)))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_a_replica_meanwhile_is_another_store() {
    let server = Server::start([""; 0]);
    let other = Server::start(["--repl-diskless-sync-delay", "0"]);
    let mut config = server.config();
    config.response_timeout = Duration::from_secs(5);
    config.identity_age = Duration::ZERO;
    let redis = Client::start(config);
    let store = connected(&redis).await;
    run(&redis, push(b"{a}", Some(store)))
        .await
        .expect("it runs");
    let clients = server.text("CLIENT LIST");
    let id = clients.split(['=', ' ']).nth(1).expect("an id");

    server.ask(&format!("REPLICAOF 127.0.0.1 {}", other.port));
    wait("the copy", || {
        server
            .text("INFO replication")
            .contains("master_link_status:up")
            .then_some(())
    })
    .await;
    server.ask("REPLICAOF NO ONE");

    // It has kept the connection, its run id and the scripts: only what is read before the next command tells.
    assert!(server.text("CLIENT LIST").contains(&format!("id={id} ")));
    let again = run(&redis, push(b"{a}", Some(store))).await;
    assert_eq!(again, Err(StoreError::Again(Cause::OtherStore)));
    assert_ne!(connected(&redis).await, store);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stands_still_is_given_up_in_time() {
    let server = Server::start([""; 0]);
    let redis = Client::start(server.config());
    let store = connected(&redis).await;
    let mut shard = Shard::new(&redis);
    shard.length(client(0)).await;
    server.signal("STOP");
    let ticket = shard.push(client(0), 1);
    assert_eq!(
        shard.next().await,
        (ticket, Err(StoreError::Again(Cause::Timeout)))
    );
    let ticket = shard.push(client(0), 2);
    let (answered, error) = shard.next().await;
    assert_eq!(answered, ticket);
    assert!(
        matches!(
            error,
            Err(StoreError::Again(Cause::Timeout | Cause::Connection))
        ),
        "{error:?}"
    );
    server.signal("CONT");
    // The first one was done after all, or not: whoever asks again has to bear both.
    assert!(shard.length(client(0)).await <= 2);
    assert_eq!(connected(&redis).await, store);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_shard_may_have_under_way_is_refused() {
    let server = Server::start([""; 0]);
    let mut config = server.config();
    config.queue_entries = 3;
    let redis = Client::start(config);
    connected(&redis).await;
    let mut shard = Shard::new(&redis);
    let tickets: Vec<_> = (0..4).map(|number| shard.push(client(0), number)).collect();
    assert_eq!(
        shard.next().await,
        (tickets[3], Err(StoreError::Again(Cause::Queue)))
    );
    for ticket in &tickets[..3] {
        assert_eq!(shard.next().await, (*ticket, Ok(Answer::Turn(true))));
    }
    assert_eq!(shard.length(client(0)).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_behind_a_script_is_answered_with_it() {
    let server = Server::start([""; 0]);
    let redis = Client::start(server.config());
    connected(&redis).await;
    let mut command = push(b"{a}", None);
    let parts = [&b"LRANGE"[..], b"{a}", b"0", b"-1"];
    command.behind = parts.map(<[u8]>::to_vec).to_vec();
    let (_, value) = run(&redis, command.clone()).await.expect("it runs");
    let list = Value::Array(vec![Value::Bytes(b"x".to_vec())]);
    assert_eq!(value, Value::Array(vec![Value::Int(1), list]));
    command.behind[0] = b"GET".to_vec();
    command.behind.truncate(2);
    assert_eq!(
        run(&redis, command).await,
        Err(StoreError::Never(Cause::Protocol))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_asked_again() {
    let server = Server::start(["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let redis = Client::start(server.config());
    connected(&redis).await;
    let mut command = push(b"{a}", None);
    command.args = vec![vec![b'x'; 1 << 20]];
    let error = loop {
        if let Err(error) = run(&redis, command.clone()).await {
            break error;
        }
    };
    assert_eq!(error, StoreError::Again(Cause::Memory));
    server.ask("DEL {a}");
    run(&redis, push(b"{a}", None))
        .await
        .expect("there is memory again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_do_is_never_done() {
    let server = Server::start([""; 0]);
    server.ask("ACL SETUSER ann on >secret ~roomcast:* +evalsha +script|load +info +rpush");
    let mut config = server.config();
    config.login = Login {
        user: Some("ann".to_owned()),
        password: Some(Secret::Value("secret".to_owned())),
    };
    let redis = Client::start(config);
    connected(&redis).await;
    let rights = Err(StoreError::Never(Cause::Rights));
    run(&redis, push(b"roomcast:a", None))
        .await
        .expect("that is allowed");
    assert_eq!(run(&redis, push(b"a", None)).await, rights, "another key");
    for right in ["rpush", "evalsha", "script|load"] {
        server.ask("SCRIPT FLUSH");
        server.ask(&format!("ACL SETUSER ann -{right}"));
        assert_eq!(
            run(&redis, push(b"roomcast:a", None)).await,
            rights,
            "{right}"
        );
        server.ask(&format!("ACL SETUSER ann +{right}"));
        run(&redis, push(b"roomcast:a", None))
            .await
            .expect("that is allowed again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_in_its_file_is_read_again() {
    let server = Server::start([""; 0]);
    server.ask("ACL SETUSER ann on >one ~* &* +@all");
    let file = server.path().join("password");
    fs::write(&file, "one\n").expect("it is written");
    let mut config = server.config();
    config.login = Login {
        user: Some("ann".to_owned()),
        password: Some(Secret::File(file.clone())),
    };
    let redis = Client::start(config);
    let store = connected(&redis).await;

    // On demand, while the connection stands.
    server.ask("ACL SETUSER ann >two <one");
    fs::write(&file, "two\n").expect("it is written");
    redis.log_in_again();
    assert_eq!(
        run(&redis, push(b"a", None)).await,
        Ok((store, Value::Int(1)))
    );

    // And by itself, once the old one is refused.
    server.ask("ACL SETUSER ann >three <two");
    server.ask("CLIENT KILL USER ann");
    wait("a refusal", || {
        let failure = redis.masters()[0].failure.clone()?;
        (failure.error == StoreError::Again(Cause::Rights)).then_some(())
    })
    .await;
    fs::write(&file, "three\n").expect("it is written");
    assert_eq!(connected(&redis).await, store);
    run(&redis, push(b"a", None)).await.expect("it runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_and_a_socket_in_the_file_system() {
    let server = Server::start(["--unixsocket", "redis.sock"]);
    let url = format!("unix://{}?db=3", server.path().join("redis.sock").display());
    let redis = Client::start(config(&[url], Mode::Standalone));
    connected(&redis).await;
    run(&redis, push(b"{a}", None)).await.expect("it runs");
    assert!(server.text("INFO keyspace").contains("db3:keys=1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_redis_share_the_keys() {
    let servers = [Server::start([""; 0]), Server::start([""; 0])];
    let urls = servers.each_ref().map(Server::url);
    let redis = Client::start(config(&urls, Mode::Standalone));
    wait("connections", || {
        redis
            .masters()
            .iter()
            .all(|master| master.store.is_some())
            .then_some(())
    })
    .await;
    let mut shard = Shard::new(&redis);
    for number in 0..100 {
        shard.push(client(number), number);
    }
    for _ in 0..100 {
        assert_eq!(shard.next().await.1, Ok(Answer::Turn(true)));
    }
    let sizes = servers.each_ref().map(|server| match server.ask("DBSIZE") {
        Value::Int(size) => size,
        other => panic!("{other:?}"),
    });
    assert_eq!(sizes[0] + sizes[1], 100);
    assert!(sizes[0] > 20 && sizes[1] > 20, "{sizes:?}");
    let tags = redis
        .masters()
        .iter()
        .map(|master| master.store)
        .collect::<Vec<_>>();
    for (master, store) in redis.masters().iter().zip(tags) {
        assert_eq!(
            redis.store_of(format!("P{{{}}}nodes", master.tag).as_bytes()),
            store
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_where_there_is_no_redis() {
    let redis = Client::start(config(
        &["redis://127.0.0.1:1".to_owned()],
        Mode::Standalone,
    ));
    let mut shard = Shard::new(&redis);
    shard.push(client(0), 0);
    assert_eq!(
        shard.next().await,
        (Ticket(1), Err(StoreError::Again(Cause::Connection)))
    );
    assert_eq!(
        redis.run(push(b"a", None)).await,
        Err(StoreError::Again(Cause::Connection))
    );
    assert!(PUSH.template.contains("@STORE@"));
}
