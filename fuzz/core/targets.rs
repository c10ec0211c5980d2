//! What must hold for any bytes. Called by the cargo-fuzz targets beside this file and, on stable Rust, by
//! `crates/core/tests/fuzz.rs`.

use roomcast_core::node::{ClusterView, LivingNode, Own};
use roomcast_core::post::{Letter, Post, PostEvent, PostKey, PostSettings};
use roomcast_core::store::{HomeName, NodeId};
use roomcast_core::wire::{rewrite_letters, rewrite_session};
use roomcast_core::{NodeNumber, Now};

/// Longest that what is written again may be, as a multiple: a code that is not known is replaced by a longer one, and what
/// an older version wrote gets the fields that came since.
const LONGER: usize = 8;

/// Letters from another node. What is taken is known whole when it is written again, and not much longer.
pub(crate) fn letters(data: &[u8]) {
    let mut once = Vec::new();
    if rewrite_letters(data, &mut once).is_err() {
        return;
    }
    assert!(once.len() <= LONGER * data.len(), "{} bytes", once.len());
    let mut twice = Vec::new();
    assert_eq!(rewrite_letters(&once, &mut twice), Ok(0));
    assert_eq!(once, twice);
}

/// A session from a store. What is taken is known whole when it is written again, and not much longer.
pub(crate) fn session(data: &[u8]) {
    let mut once = Vec::new();
    if rewrite_session(data, &mut once).is_err() {
        return;
    }
    assert!(once.len() <= LONGER * data.len(), "{} bytes", once.len());
    let mut twice = Vec::new();
    assert_eq!(rewrite_session(&once, &mut twice), Ok(()));
    assert_eq!(once, twice);
}

/// Datagrams from node 2 to node 1, each behind its length of 2 bytes, with a good MAC. No more comes out than went in,
/// and the post goes on.
pub(crate) fn datagrams(data: &[u8]) {
    let key = PostKey::new(&[1; 32]);
    let mut post = post_of(1);
    let (mut rest, mut micros, mut out, mut links) = (data, 0, 0, 1);
    while let [high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (body, behind) = behind.split_at(length.min(behind.len()));
        rest = behind;
        micros += 3_000;
        let now = Now { micros, unix_ms: 0 };
        // Something to ack.
        let letter = Letter {
            to_shard: 0,
            from_shard: 0,
            bytes: [7].into(),
        };
        assert_eq!(post.send(NodeNumber::met(links), letter), Ok(()));
        // Without the MAC it is nothing.
        post.handle(now, body);
        assert_eq!(post.poll_event(), None);
        let mut sealed = body.to_vec();
        key.seal(&mut sealed);
        post.handle(now, &sealed);
        while let Some(event) = post.poll_event() {
            match event {
                PostEvent::Letter { bytes, .. } => out += bytes.len(),
                PostEvent::Lost(number) => {
                    assert_eq!(number, NodeNumber::met(links));
                    links += 1;
                    post.meet(now, &view_of(1, NodeNumber::met(links)));
                }
                PostEvent::Room(number) => panic!("nothing was sent to {number:?}"),
            }
        }
        assert!(out <= data.len(), "{out} bytes");
        while let Some((node, bytes)) = post.poll_transmit(now) {
            assert!(bytes.len() < 100 + data.len() * 9, "what was sent");
            post.taken(now, node);
        }
        assert!(post.next_wake().is_none_or(|at| at > micros));
    }
}

/// The post of node 1 or 2, which knows the other one.
pub(crate) fn post_of(node: u64) -> Post {
    let mut post = Post::new(PostSettings::default(), PostKey::new(&[1; 32]));
    post.meet(Now::default(), &view_of(node, NodeNumber::met(1)));
    post
}

fn view_of(node: u64, number: NodeNumber) -> ClusterView {
    let home = |node| HomeName {
        node: NodeId(node),
        lease: 1,
    };
    ClusterView {
        own: Some(Own {
            home: home(node),
            links: 1,
            until: u64::MAX,
        }),
        living: vec![LivingNode {
            number,
            home: home(3 - node),
            shards: 1,
            version: 1,
            settings: "".into(),
            address: "".into(),
        }],
        ..ClusterView::default()
    }
}
