//! Datagrams between nodes.

use std::time::Duration;

use roomcast_core::store::NodeId;
use roomcast_engine::redis::{Client, Subscription};
use tokio::time::timeout;

use crate::redis_server::{DEADLINE, Server, wait};

pub(crate) const NODE: NodeId = NodeId(7);

/// Waits until a node listens at so many masters.
pub(crate) async fn listens(subscription: &Subscription, masters: usize) {
    wait("the subscriptions", || {
        (subscription.masters() == masters).then_some(())
    })
    .await;
}

/// Sends until something arrives: what is sent while a connection is lost is lost with it.
pub(crate) async fn reaches(from: &Client, to: &mut Subscription, what: &[u8]) {
    let arrives = async {
        loop {
            from.publish(NODE, what.to_vec());
            match timeout(Duration::from_millis(20), to.next()).await {
                Ok(datagram) if datagram == what => return,
                _ => {}
            }
        }
    };
    timeout(DEADLINE, arrives).await.expect("it arrives");
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_arrive_in_their_order() {
    let server = Server::start([""; 0]);
    let (a, b) = (
        Client::start(server.config()),
        Client::start(server.config()),
    );
    let mut to_b = b.subscribe(NODE);
    let other = a.subscribe(NodeId(8));
    listens(&to_b, 1).await;
    wait("a connection", || a.masters()[0].store).await;
    for number in 0..1_000u32 {
        let mut datagram = vec![0xff; 200];
        datagram[..4].copy_from_slice(&number.to_le_bytes());
        assert!(a.publish(NODE, datagram));
    }
    for number in 0..1_000u32 {
        let datagram = timeout(DEADLINE, to_b.next()).await.expect("it arrives");
        assert_eq!(
            (datagram.len(), &datagram[..4]),
            (200, &number.to_le_bytes()[..])
        );
    }
    assert_eq!(to_b.dropped() + other.dropped(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_comes_back_after_each_kind_of_loss() {
    let mut server = Server::start([""; 0]);
    let redis = Client::start(server.config());
    let mut subscription = redis.subscribe(NODE);
    listens(&subscription, 1).await;
    reaches(&redis, &mut subscription, b"at first").await;

    for kind in ["pubsub", "normal"] {
        server.ask(&format!("CLIENT KILL TYPE {kind} SKIPME yes"));
        reaches(&redis, &mut subscription, kind.as_bytes()).await;
    }

    // A Redis that stands still closes nothing: a PING without an answer tells.
    server.signal("STOP");
    listens(&subscription, 0).await;
    server.signal("CONT");
    reaches(&redis, &mut subscription, b"after it stood still").await;

    server.restart();
    reaches(&redis, &mut subscription, b"after a restart").await;
    listens(&subscription, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_is_dropped_and_counted() {
    let server = Server::start([""; 0]);
    let mut config = server.config();
    config.queue_bytes = 10_000;
    let redis = Client::start(config);
    let mut subscription = redis.subscribe(NODE);
    listens(&subscription, 1).await;
    wait("a connection", || redis.masters()[0].store).await;
    for number in 0..20 {
        redis.publish(NODE, vec![number; 1_000]);
        // Each is sent before the next: the queue to Redis has a bound as well.
        wait("it is sent", || {
            let stats = server.text("INFO commandstats");
            stats
                .contains(&format!("cmdstat_publish:calls={},", number + 1))
                .then_some(())
        })
        .await;
    }
    wait("what is too much", || {
        (subscription.dropped() == 11).then_some(())
    })
    .await;
    for number in 0..9 {
        assert_eq!(subscription.next().await, vec![number; 1_000]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_without_a_connection() {
    let mut server = Server::start([""; 0]);
    let redis = Client::start(server.config());
    wait("a connection", || redis.masters()[0].store).await;
    server.kill();
    wait("the loss", || {
        redis.masters()[0].store.is_none().then_some(())
    })
    .await;
    assert!(!redis.publish(NODE, b"lost".to_vec()));
}
