//! A Sentinel, a master and a replica.

use roomcast_core::store::{Cause, StoreError};
use roomcast_engine::redis::{Client, Login, Mode, Secret, Value};

use crate::pubsub::{NODE, listens, reaches};
use crate::redis_server::{Server, config, wait};
use crate::shard::{push, run};

/// A Sentinel of this master.
fn sentinel_of(master: &Server) -> Server {
    let sentinel = Server::sentinel(&format!(
        "sentinel monitor main 127.0.0.1 {} 1\n\
         sentinel down-after-milliseconds main 500\n\
         sentinel failover-timeout main 1000\n\
         requirepass watched\n",
        master.port
    ));
    // It looks at its Redis more often than every ten seconds.
    let faster = "SENTINEL DEBUG info-period 100 publish-period 100";
    assert_eq!(
        sentinel.ask_as("watched", faster),
        Value::Bytes(b"OK".to_vec())
    );
    sentinel
}

fn mode(master: &str) -> Mode {
    let password = Some(Secret::Value("watched".to_owned()));
    Mode::Sentinel {
        master: master.to_owned(),
        login: Login {
            user: None,
            password,
        },
    }
}

/// Lets the Sentinel make the replica the master.
async fn fail_over(sentinel: &Server) {
    // It refuses until it has heard of the replica.
    wait("a failover", || {
        let answer = sentinel.ask_as("watched", "SENTINEL FAILOVER main");
        (answer == Value::Bytes(b"OK".to_vec())).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_and_back_are_three_stores() {
    let first = Server::start(["--repl-diskless-sync-delay", "0"]);
    let second = Server::start([
        "--repl-diskless-sync-delay",
        "0",
        "--replicaof",
        &format!("127.0.0.1 {}", first.port),
    ]);
    let sentinel = sentinel_of(&first);
    // A Sentinel that is gone comes first.
    let urls = ["redis://127.0.0.1:1".to_owned(), sentinel.url()];
    let redis = Client::start(config(&urls, mode("main")));
    let mut subscription = redis.subscribe(NODE);
    let one = wait("a connection", || redis.masters()[0].store).await;
    run(&redis, push(b"a", Some(one))).await.expect("it runs");
    listens(&subscription, 1).await;
    // A failover does not wait for the replica: what it has not got yet would be lost.
    wait("the copy", || {
        (second.ask("LLEN a") == Value::Int(1)).then_some(())
    })
    .await;

    fail_over(&sentinel).await;
    let two = wait("the new master", || {
        redis.masters()[0].store.filter(|store| *store != one)
    })
    .await;
    assert_eq!(
        run(&redis, push(b"a", Some(one))).await,
        Err(StoreError::Again(Cause::OtherStore))
    );
    assert_eq!(
        run(&redis, push(b"a", Some(two))).await,
        Ok((two, Value::Int(1)))
    );
    assert!(second.text("INFO replication").contains("role:master"));
    reaches(&redis, &mut subscription, b"by the second").await;

    wait("the first one as a replica", || {
        first
            .text("INFO replication")
            .contains("master_link_status:up")
            .then_some(())
    })
    .await;
    fail_over(&sentinel).await;
    let three = wait("the first master again", || {
        redis.masters()[0]
            .store
            .filter(|store| *store != one && *store != two)
    })
    .await;
    assert_eq!(
        run(&redis, push(b"a", Some(three))).await,
        Ok((three, Value::Int(1)))
    );
    assert!(first.text("INFO replication").contains("role:master"));
    assert_eq!(first.ask("LLEN a"), Value::Int(3));
    reaches(&redis, &mut subscription, b"by the first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_dies_is_replaced() {
    let mut first = Server::start(["--repl-diskless-sync-delay", "0"]);
    let second = Server::start([
        "--repl-diskless-sync-delay",
        "0",
        "--replicaof",
        &format!("127.0.0.1 {}", first.port),
    ]);
    let sentinel = sentinel_of(&first);
    let redis = Client::start(config(&[sentinel.url()], mode("main")));
    let one = wait("a connection", || redis.masters()[0].store).await;
    wait("the replica", || {
        second
            .text("INFO replication")
            .contains("master_link_status:up")
            .then_some(())
    })
    .await;
    wait("the Sentinel to see it", || {
        let answer = sentinel.ask_as("watched", "SENTINEL REPLICAS main");
        answer
            .as_array()
            .is_some_and(|replicas| !replicas.is_empty())
            .then_some(())
    })
    .await;
    first.kill();
    let two = wait("the new master", || {
        redis.masters()[0].store.filter(|store| *store != one)
    })
    .await;
    run(&redis, push(b"a", Some(two))).await.expect("it runs");
    assert_eq!(second.ask("LLEN a"), Value::Int(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sentinel_lacks_is_said() {
    let master = Server::start([""; 0]);
    let sentinel = sentinel_of(&master);
    let redis = Client::start(config(&[sentinel.url()], mode("other")));
    let failure = wait("a failure", || redis.masters()[0].failure.clone()).await;
    assert!(
        failure.said.contains("knows no master called other"),
        "{failure}"
    );

    let without = Mode::Sentinel {
        master: "main".to_owned(),
        login: Login::default(),
    };
    let redis = Client::start(config(&[sentinel.url()], without));
    let failure = wait("a failure", || redis.masters()[0].failure.clone()).await;
    assert_eq!(failure.error, StoreError::Again(Cause::Rights), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_for_the_sentinel_in_a_file_may_change_meanwhile() {
    let master = Server::start([""; 0]);
    let sentinel = sentinel_of(&master);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    std::fs::write(&file, "wrong\n").expect("it is written");
    let with_file = Mode::Sentinel {
        master: "main".to_owned(),
        login: Login {
            user: None,
            password: Some(Secret::File(file.clone())),
        },
    };
    let redis = Client::start(config(&[sentinel.url()], with_file));
    let failure = wait("a failure", || redis.masters()[0].failure.clone()).await;
    assert_eq!(failure.error, StoreError::Again(Cause::Rights), "{failure}");
    std::fs::write(&file, "watched\n").expect("it is written");
    wait("a connection", || redis.masters()[0].store).await;
}
