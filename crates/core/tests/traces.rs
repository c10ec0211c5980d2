//! Steps of a message that is traced, over several nodes.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::Cluster;
use common::relay;
use roomcast_core::backend::{Ask, Asker, Publication, Question};
use roomcast_core::settings::Settings;
use roomcast_core::{Span, Step, TraceContext};
use roomcast_protocol::{MessageType, PayloadKind};

const ASKED: TraceContext = TraceContext { trace: 7, span: 9 };

fn publish(cluster: &mut Cluster, node: usize, trace: Option<TraceContext>) {
    let publication = Publication {
        message_type: MessageType::Chat,
        payload_kind: PayloadKind::Json,
        name: "".into(),
        payload: b"1".as_slice().into(),
        ephemeral: false,
        once: None,
        service: "shop".into(),
        trace,
    };
    let node = cluster.node(node);
    let now = node.now;
    let question = Question::Room("r".into(), Ask::Publish(publication));
    node.shards[0].ask(now, Asker::default(), question).unwrap();
}

/// What each node has told, and tells no more.
fn spans(cluster: &mut Cluster, node: usize) -> Vec<Span> {
    let shards = cluster.node(node).shards.iter_mut();
    let mut spans: Vec<Span> = shards
        .flat_map(|shard| std::mem::take(&mut shard.host().spans))
        .collect();
    spans.sort_by_key(|span| span.step as u8);
    spans
}

fn steps(spans: &[Span]) -> Vec<Step> {
    spans.iter().map(|span| span.step).collect()
}

#[test]
fn a_message_is_followed_over_all_nodes() {
    let settings = Settings {
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&[1, 1, 1], &settings, &[relay("default")]);
    let ann = cluster.member(0, "r");
    let bob = cluster.member(2, "r");
    assert_eq!(cluster.home_of("r"), Some(0));
    publish(&mut cluster, 1, None);
    cluster.settle();
    for node in 0..3 {
        assert_eq!(spans(&mut cluster, node), []);
    }
    // The store answers after a while.
    cluster.unanswered.set(1);
    publish(&mut cluster, 1, Some(ASKED));
    cluster.pass(1_000);
    assert_eq!(cluster.messages(ann).len() + cluster.messages(bob).len(), 4);
    assert_eq!(spans(&mut cluster, 1), [], "it has nobody in the room");
    let home = spans(&mut cluster, 0);
    let at_home = [
        Step::Append,
        Step::GateWait,
        Step::GateWait,
        Step::Deliver,
        Step::LastWrite,
    ];
    assert_eq!(steps(&home), at_home, "{home:#?}");
    assert_eq!(home[0].parent, ASKED);
    let append = TraceContext {
        span: home[0].id,
        ..ASKED
    };
    for waited in &home[1..3] {
        assert_eq!(waited.parent, append);
        assert!(waited.end > waited.start, "{waited:?}");
    }
    let there = spans(&mut cluster, 2);
    assert_eq!(
        steps(&there),
        [Step::Deliver, Step::LastWrite],
        "{there:#?}"
    );
    for [deliver, written] in [[home[3], home[4]], [there[0], there[1]]] {
        assert_eq!((deliver.parent, deliver.receivers), (append, 1));
        assert_eq!(
            written.parent,
            TraceContext {
                span: deliver.id,
                ..ASKED
            }
        );
        assert!(written.start == deliver.end && written.end >= written.start);
    }
}

#[test]
fn the_last_write_is_that_of_the_slowest() {
    let settings = Settings {
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&[1], &settings, &[relay("default")]);
    let slow = cluster.member(0, "r");
    cluster.member(0, "r");
    cluster.node(0).sockets[slow.1].window = 0;
    publish(&mut cluster, 0, Some(ASKED));
    cluster.pass(700);
    let before = spans(&mut cluster, 0);
    assert!(!steps(&before).contains(&Step::LastWrite), "{before:#?}");
    cluster.node(0).sockets[slow.1].window = usize::MAX;
    cluster.messages(slow);
    cluster.pass(10);
    let written = spans(&mut cluster, 0);
    assert_eq!(steps(&written), [Step::LastWrite]);
    assert!(written[0].end - written[0].start >= 600_000, "{written:#?}");
}
