//! A node with its post, and what it must and must not be told.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_core::node::{ClusterView, LivingNode, Own};
use roomcast_core::post::{Letter, NotSent, Post, PostEvent, PostKey, PostSettings};
use roomcast_core::store::{HomeName, NodeId};
use roomcast_core::{NodeNumber, Now};

use crate::random::Random;

/// What a node has sent over one link, or received over one.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The nodes at its ends, and the sender's number for the receiver. Not known to a receiver before the first letter.
    pub(super) link: Option<(NodeId, NodeNumber, NodeId)>,
    /// Letters.
    pub(super) count: u64,
}

pub(super) struct Node {
    pub(super) home: HomeName,
    pub(super) post: Post,
    pub(super) settings: PostSettings,
    /// Whether it has its lease, and until when.
    pub(super) until: Option<u64>,
    /// Who it believes to live.
    pub(super) living: Vec<HomeName>,
    pub(super) numbers: BTreeMap<NodeId, NodeNumber>,
    met: u32,
    pub(super) lost: BTreeSet<NodeNumber>,
    pub(super) sent: BTreeMap<NodeNumber, Stream>,
    pub(super) received: BTreeMap<NodeNumber, Stream>,
    /// Numbers for which it waits for room.
    pub(super) waits: BTreeSet<NodeNumber>,
}

impl Node {
    pub(super) fn new(home: HomeName, settings: PostSettings) -> Node {
        Node {
            home,
            post: Post::new(settings.clone(), PostKey::new(&[7; 32])),
            settings,
            until: None,
            living: Vec::new(),
            numbers: BTreeMap::new(),
            met: 0,
            lost: BTreeSet::new(),
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            waits: BTreeSet::new(),
        }
    }

    /// Tells the post who lives. A node that is gone, and one whose link was lost, gets another number.
    pub(super) fn meet(&mut self, now: Now) {
        let living: Vec<_> = self.living.clone();
        self.numbers
            .retain(|node, _| living.iter().any(|home| home.node == *node));
        let living = living.into_iter().map(|home| LivingNode {
            number: *self.numbers.entry(home.node).or_insert_with(|| {
                self.met += 1;
                NodeNumber::met(self.met)
            }),
            home,
            shards: 1,
            version: 9,
            settings: "".into(),
            address: "".into(),
        });
        let mut living: Vec<_> = living.filter(|it| it.home.node != self.home.node).collect();
        living.sort_by_key(|it| it.home.node);
        let own = self.until.map(|until| Own {
            home: self.home,
            links: self.home.lease,
            until,
        });
        let view = ClusterView {
            own,
            living,
            ..ClusterView::default()
        };
        self.post.meet(now, &view);
    }

    /// Sends a letter that says which one it is.
    pub(super) fn send(&mut self, now: Now, to: NodeId, random: &mut Random) {
        let Some(number) = self.numbers.get(&to).copied() else {
            return;
        };
        let stream = self.sent.entry(number).or_default();
        let letter = letter(self.home.node, number, to, stream.count, random);
        let kept = self.post.kept(number);
        let sent = match random.chance(300) {
            true => self.post.send_later(now, number, letter.clone()),
            false => self.post.send(number, letter.clone()),
        };
        match sent {
            Ok(()) => {
                stream.link = Some((self.home.node, number, to));
                stream.count += 1;
                let bytes = self.post.kept(number);
                assert!(kept == 0 || bytes <= self.settings.window, "bound not kept");
            }
            Err(NotSent::Full(back)) => {
                assert_eq!(back, letter);
                self.waits.insert(number);
            }
            // The node has no lease, or has not told the post yet that the link was lost.
            Err(NotSent::Gone(back)) => assert_eq!(back, letter),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Takes what the post tells. Whether a link was lost.
    pub(super) fn events(&mut self) -> bool {
        let mut lost = false;
        while let Some(event) = self.post.poll_event() {
            match event {
                PostEvent::Lost(number) => {
                    assert!(self.lost.insert(number), "{number:?} was lost twice");
                    self.numbers.retain(|_, other| *other != number);
                    self.waits.remove(&number);
                    lost = true;
                }
                PostEvent::Room(number) => {
                    assert!(self.waits.remove(&number), "nobody waited for {number:?}");
                }
                PostEvent::Letter {
                    from,
                    to_shard,
                    bytes,
                } => {
                    let number = from.node();
                    assert!(!self.lost.contains(&number), "{number:?} was lost before");
                    let stream = self.received.entry(number).or_default();
                    let (link, at) = check(&bytes, from.shard(), to_shard);
                    assert_eq!(link.2, self.home.node, "a letter for another node");
                    assert_eq!(*stream.link.get_or_insert(link), link, "of another link");
                    assert_eq!(stream.count, at, "out of order over {link:?}");
                    stream.count += 1;
                }
            }
        }
        lost
    }
}

/// The letter of this number over a link. All of it follows from its first 32 bytes and its length.
fn letter(from: NodeId, number: NodeNumber, to: NodeId, at: u64, random: &mut Random) -> Letter {
    let mut bytes = Vec::new();
    let number: u64 = format!("{number:?}").replace("node ", "").parse().unwrap();
    for part in [from.0, number, to.0, at] {
        bytes.extend_from_slice(&part.to_be_bytes());
    }
    let large = random.chance(50);
    let length = random.below(if large { 5_000 } else { 60 });
    bytes.extend((0..length).map(|byte| (byte ^ at) as u8));
    Letter {
        to_shard: (at * 7) as u16,
        from_shard: (at * 3) as u16,
        bytes: bytes.into(),
    }
}

fn check(bytes: &[u8], from_shard: u16, to_shard: u16) -> ((NodeId, NodeNumber, NodeId), u64) {
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let at = number(24);
    let filled = bytes[32..].iter().enumerate();
    let intact = |(byte, value): (usize, &u8)| *value == (byte as u64 ^ at) as u8;
    assert!(filled.into_iter().all(intact), "a letter has changed");
    assert_eq!((to_shard, from_shard), ((at * 7) as u16, (at * 3) as u16));
    let sender = NodeNumber::met(number(8) as u32);
    ((NodeId(number(0)), sender, NodeId(number(16))), at)
}
