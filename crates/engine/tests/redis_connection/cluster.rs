//! Three masters of a Redis Cluster, and a replica.

use roomcast_core::store::{Cause, NodeId, StoreError, StoreId};
use roomcast_engine::redis::{Client, Mode, Value};

use crate::pubsub::{NODE, listens, reaches};
use crate::redis_cluster::RedisCluster;
use crate::redis_server::{config, wait};
use crate::shard::{Shard, client, push, run};

impl RedisCluster {
    fn client(&self) -> Client {
        // One of them is enough, and one that is gone does no harm.
        let urls = ["redis://127.0.0.1:1".to_owned(), self.nodes[1].url()];
        Client::start(config(&urls, Mode::Cluster))
    }

    /// Which master has the slot of a key.
    fn slot(&self, key: &str) -> i64 {
        self.nodes[0]
            .ask(&format!("CLUSTER KEYSLOT {key}"))
            .as_int()
            .expect("a number")
    }
}

async fn stores(redis: &Client) -> Vec<StoreId> {
    wait("connections to all masters", || {
        let stores: Vec<_> = redis
            .masters()
            .iter()
            .filter_map(|master| master.store)
            .collect();
        (stores.len() == 3).then_some(stores)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_master_is_a_store_of_its_own() {
    let cluster = RedisCluster::start(0);
    let redis = cluster.client();
    let stores = stores(&redis).await;
    assert!(stores[0] != stores[1] && stores[1] != stores[2]);
    let mut shard = Shard::new(&redis);
    for number in 0..300 {
        shard.push(client(number % 100), number);
    }
    for _ in 0..300 {
        shard.next().await.1.expect("it is done");
    }
    let sizes: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| node.ask("DBSIZE").as_int().expect("a number"))
        .collect();
    assert_eq!(sizes.iter().sum::<i64>(), 100);
    assert!(sizes.iter().all(|size| *size > 10), "{sizes:?}");
    for (master, store) in redis.masters().iter().zip(&stores) {
        assert_eq!(
            redis.store_of(format!("P{{{}}}nodes", master.tag).as_bytes()),
            Some(*store)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_is_followed() {
    let cluster = RedisCluster::start(0);
    let redis = cluster.client();
    let stores = stores(&redis).await;
    let (from, to) = (&cluster.nodes[0], &cluster.nodes[1]);
    // The slot of the names that are kept at the first master.
    let tag = redis.masters()[0].tag.to_string();
    let (here, absent) = (format!("{{{tag}}}:here"), format!("{{{tag}}}:absent"));
    let slot = cluster.slot(&here);
    assert_eq!(slot, i64::from(redis.masters()[0].anchor.0));
    let here = push(here.as_bytes(), None);
    assert_eq!(
        run(&redis, here.clone()).await.expect("it runs").0,
        stores[0]
    );

    to.ask(&format!(
        "CLUSTER SETSLOT {slot} IMPORTING {}",
        cluster.id(0)
    ));
    from.ask(&format!(
        "CLUSTER SETSLOT {slot} MIGRATING {}",
        cluster.id(1)
    ));
    assert_eq!(
        run(&redis, here.clone())
            .await
            .expect("it has not moved yet")
            .0,
        stores[0]
    );
    let busy = Err(StoreError::Again(Cause::Busy));
    assert_eq!(redis.run(push(absent.as_bytes(), None)).await, busy, "ASK");
    let mut both = here.clone();
    both.keys.push(absent.into_bytes());
    assert_eq!(redis.run(both).await, busy, "TRYAGAIN");
    let key = String::from_utf8(here.keys[0].clone()).expect("text");
    let moved = from.ask(&format!("MIGRATE 127.0.0.1 {} {key} 0 1000", to.port));
    assert_eq!(moved, Value::Bytes(b"OK".to_vec()));
    assert_eq!(redis.run(here.clone()).await, busy, "ASK");

    for node in [1, 0, 2] {
        cluster.nodes[node].ask(&format!("CLUSTER SETSLOT {slot} NODE {}", cluster.id(1)));
    }
    assert_eq!(
        run(&redis, here.clone()).await.expect("it has moved").0,
        stores[1]
    );
    assert_eq!(to.ask(&format!("LLEN {key}")), Value::Int(3));
    // What was meant for the one that had it is done at no other.
    let mut meant = here.clone();
    meant.store = Some(stores[0]);
    assert_eq!(
        redis.run(meant).await,
        Err(StoreError::Again(Cause::OtherStore))
    );
    let masters = redis.masters();
    assert_ne!(*masters[0].tag, tag, "other names are kept there");
    for (master, store) in masters.iter().zip(&stores) {
        assert_eq!(master.store, Some(*store));
        let key = format!("{{{}}}", master.tag);
        assert_eq!(redis.store_of(key.as_bytes()), Some(*store));
    }
    let ranges = masters[1].ranges.iter();
    let here = i64::from(u16::MAX);
    let moved = ranges.clone().find(|(first, last)| first == last);
    assert_eq!(moved.map_or(here, |(first, _)| i64::from(first.0)), slot);
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_go_through_any_master_also_after_a_slot_has_moved() {
    let cluster = RedisCluster::start(0);
    let redis = cluster.client();
    stores(&redis).await;
    let mut to = redis.subscribe(NODE);
    listens(&to, 3).await;
    // Each node is reached through another master.
    for node in 0..3 {
        let mut one = redis.subscribe(NodeId(node));
        listens(&one, 3).await;
        assert!(redis.publish(NodeId(node), b"hello".to_vec()));
        assert_eq!(one.next().await, b"hello");
    }
    for node in &cluster.nodes {
        node.ask("CLIENT KILL TYPE pubsub");
    }
    reaches(&redis, &mut to, b"after the connections were lost").await;

    // The slots of the channels at the first and at the second master.
    let anchors = || -> Vec<_> { redis.masters().iter().map(|it| it.anchor.0).collect() };
    let before = anchors();
    for (slot, target) in [(before[0], 1), (before[1], 2)] {
        for node in [target, 0, 1, 2] {
            cluster.nodes[node].ask(&format!(
                "CLUSTER SETSLOT {slot} NODE {}",
                cluster.id(target)
            ));
        }
    }
    // Whoever loses the slot ends the subscription, which tells.
    wait("the new tags", || {
        let after = anchors();
        (after.len() == 3 && after[0] != before[0] && after[1] != before[1]).then_some(())
    })
    .await;
    listens(&to, 3).await;
    reaches(&redis, &mut to, b"after the move").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_reached_though_it_can_listen_at_one_master_only() {
    let cluster = RedisCluster::start(0);
    let redis = cluster.client();
    stores(&redis).await;
    let mut to = redis.subscribe(NODE);
    listens(&to, 3).await;
    for node in &cluster.nodes[..2] {
        node.ask("ACL SETUSER default -ssubscribe");
        node.ask("CLIENT KILL TYPE pubsub");
    }
    listens(&to, 1).await;
    reaches(&redis, &mut to, b"through the third").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_fails_over_is_followed() {
    let mut cluster = RedisCluster::start(1);
    let redis = cluster.client();
    let before = stores(&redis).await;
    let mut to = redis.subscribe(NODE);
    let key = format!("{{{}}}", redis.masters()[0].tag);
    run(&redis, push(key.as_bytes(), Some(before[0])))
        .await
        .expect("it runs");
    wait("the copy", || {
        (cluster.nodes[3]
            .text("INFO replication")
            .contains("master_link_status:up"))
        .then_some(())
    })
    .await;

    cluster.nodes[0].kill();
    let (store, _) = run(&redis, push(key.as_bytes(), None))
        .await
        .expect("the replica has it");
    assert!(!before.contains(&store));
    let after = stores(&redis).await;
    assert_eq!(
        (after[0], after[1], after[2]),
        (store, before[1], before[2])
    );
    listens(&to, 3).await;
    reaches(&redis, &mut to, b"after the failover").await;
}
