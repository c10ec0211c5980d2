//! The post between two nodes whose channel is sound: how much it sends, what it keeps, what it ignores. What it does over
//! a channel that fails is in the simulation.

use std::collections::BTreeMap;

use roomcast_core::node::{ClusterView, LivingNode, Own};
use roomcast_core::post::{
    Letter, MOST_LETTER, NotSent, Post, PostEvent, PostKey, PostSettings, VERSIONS,
};
use roomcast_core::store::{HomeName, NodeId};
use roomcast_core::{NodeNumber, Now};

const MS: u64 = 1_000;
/// Microseconds from node to node, usually.
const WAY: u64 = 300;
const OTHER: NodeNumber = NodeNumber::met(1);

fn now(micros: u64) -> Now {
    Now { micros, unix_ms: 0 }
}

fn home(node: u64) -> HomeName {
    let node = NodeId(node);
    HomeName { node, lease: 1 }
}

/// One of two nodes may act until then, and knows the other one by this number.
fn view(node: u64, until: u64, number: NodeNumber) -> ClusterView {
    let own = Own {
        home: home(node),
        links: 1,
        until,
    };
    let other = LivingNode {
        number,
        home: home(1 - node),
        shards: 1,
        version: 1,
        settings: "".into(),
        address: "".into(),
    };
    ClusterView {
        own: Some(own),
        living: vec![other],
        ..ClusterView::default()
    }
}

fn letter(bytes: &[u8]) -> Letter {
    Letter {
        to_shard: 2,
        from_shard: 1,
        bytes: bytes.into(),
    }
}

/// Two nodes that know each other, and the datagrams between them.
struct Pair {
    now: u64,
    way: u64,
    posts: [Post; 2],
    under_way: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    /// When, from which, how many bytes.
    sent: Vec<(u64, usize, usize)>,
    got: [Vec<PostEvent>; 2],
    /// Which of `sent` the channel loses.
    lose: Vec<usize>,
}

impl Pair {
    /// A link that is open, and has said all that it says by itself.
    fn new(settings: &PostSettings) -> Pair {
        let key = PostKey::new(&[3; 32]);
        let mut posts = [(); 2].map(|()| Post::new(settings.clone(), key.clone()));
        for (at, post) in posts.iter_mut().enumerate() {
            post.meet(now(1), &view(at as u64, u64::MAX, OTHER));
        }
        let mut pair = Pair {
            now: 1,
            way: WAY,
            posts,
            under_way: BTreeMap::new(),
            sent: Vec::new(),
            got: [Vec::new(), Vec::new()],
            lose: Vec::new(),
        };
        pair.until(500 * MS);
        assert!(pair.sent.len() <= 6, "{:?}", pair.sent);
        pair.sent.clear();
        pair
    }

    fn until(&mut self, end: u64) {
        loop {
            self.work();
            let wakes = self.posts.iter().filter_map(Post::next_wake);
            let arrives = self.under_way.keys().next().map(|(at, _)| *at);
            match wakes.chain(arrives).min() {
                Some(at) if at < end => self.now = self.now.max(at),
                _ => break,
            }
        }
        self.now = end;
    }

    fn work(&mut self) {
        while let Some(first) = self.under_way.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let (to, bytes) = first.remove();
            self.posts[to].handle(now(self.now), &bytes);
        }
        for at in 0..2 {
            while let Some((node, bytes)) = self.posts[at].poll_transmit(now(self.now)) {
                self.posts[at].taken(now(self.now), node);
                self.sent.push((self.now, at, bytes.len()));
                let order = self.sent.len() as u64;
                if self.lose.contains(&(self.sent.len() - 1)) {
                    continue;
                }
                self.under_way
                    .insert((self.now + self.way, order), (1 - at, bytes));
            }
            while let Some(event) = self.posts[at].poll_event() {
                self.got[at].push(event);
            }
        }
    }

    fn sent_by(&self, at: usize) -> Vec<usize> {
        let of = self.sent.iter().filter(|(_, from, _)| *from == at);
        of.map(|(_, _, bytes)| *bytes).collect()
    }
}

/// Sends a letter each `step` µs, one way, and once that has gone on for a while, for a second more. How many datagrams
/// went in that one, and how long its letters took at most until they went.
fn at_a_steady_rate(pair: &mut Pair, step: u64) -> (usize, u64) {
    let start = pair.now;
    let (mut first, mut longest) = (0, 0);
    for count in 0..1_200_000 / step {
        if count == 200_000 / step {
            (first, longest) = (pair.sent_by(0).len(), 0);
        }
        let (at, before) = (pair.now, pair.sent_by(0).len());
        let sent = pair.posts[0].send(OTHER, letter(&[7; 200]));
        assert_eq!(sent, Ok(()));
        pair.until(at);
        let due = match pair.sent_by(0).len() > before {
            true => at,
            false => pair.posts[0].next_wake().expect("it waits"),
        };
        longest = longest.max(due - at);
        pair.until(start + (count + 1) * step);
    }
    let count = pair.sent_by(0).len() - first;
    pair.until(start + 3_000 * MS);
    assert_eq!(pair.posts[0].kept(OTHER), 0);
    assert_eq!(pair.posts[0].stats().pieces_again, 0);
    (count, longest)
}

#[test]
fn an_idle_link_sends_without_delay() {
    let mut pair = Pair::new(&PostSettings::default());
    let (datagrams, longest) = at_a_steady_rate(&mut pair, 5 * MS);
    assert_eq!((datagrams, longest), (200, 0));
    let mut pair = Pair::new(&PostSettings::default());
    let (datagrams, longest) = at_a_steady_rate(&mut pair, MS);
    assert_eq!((datagrams, longest), (1_000, 0));
    // Nor does one wait long that has a little more to do.
    let mut pair = Pair::new(&PostSettings::default());
    let (_, longest) = at_a_steady_rate(&mut pair, 500);
    assert!(longest <= 200, "{longest} µs");
}

#[test]
fn at_a_high_rate_no_more_than_500_datagrams_a_second_go_to_a_node() {
    for step in [100, 50, 10] {
        let mut pair = Pair::new(&PostSettings::default());
        let (datagrams, longest) = at_a_steady_rate(&mut pair, step);
        assert_eq!(pair.got[1].len() as u64, 1_200_000 / step);
        assert!((490..=501).contains(&datagrams), "{step} µs: {datagrams}");
        assert!(longest <= 2 * MS, "{longest} µs");
        let acks = pair.sent_by(1).len();
        assert!(acks <= 125, "one each 50 ms or 256 KiB: {acks}");
    }
}

#[test]
fn at_any_rate_datagrams_are_bounded() {
    for step in (50..1_000).step_by(125) {
        let mut pair = Pair::new(&PostSettings::default());
        let (datagrams, longest) = at_a_steady_rate(&mut pair, step);
        assert!(datagrams <= 3_000, "{step} µs: {datagrams}");
        assert!(longest <= 2 * MS, "{step} µs: {longest}");
    }
}

#[test]
fn acks_go_with_what_goes_back() {
    let mut pair = Pair::new(&PostSettings::default());
    let start = pair.now;
    for count in 0..10_000 {
        for post in &mut pair.posts {
            post.send(OTHER, letter(&[7; 20])).unwrap();
        }
        pair.until(start + (count + 1) * 100);
    }
    let both = [pair.sent_by(0).len(), pair.sent_by(1).len()];
    assert!(
        both.iter().all(|sent| (490..=600).contains(sent)),
        "{both:?}"
    );
}

#[test]
fn a_first_letter_goes_at_once_and_nothing_goes_at_rest() {
    let mut pair = Pair::new(&PostSettings::default());
    let start = pair.now;
    pair.until(start + 60_000 * MS);
    assert_eq!(pair.sent, []);
    pair.posts[0].send(OTHER, letter(b"a")).unwrap();
    let start = pair.now;
    pair.until(start + 60_000 * MS);
    let expected = [(start, 0), (start + WAY + 50 * MS, 1)];
    let sent: Vec<_> = pair.sent.iter().map(|(at, from, _)| (*at, *from)).collect();
    assert_eq!(sent, expected);
}

#[test]
fn what_nobody_waits_for_goes_with_what_goes() {
    let mut pair = Pair::new(&PostSettings::default());
    let start = pair.now;
    let later = |pair: &mut Pair, bytes: &[u8]| {
        let at = now(pair.now);
        pair.posts[0].send_later(at, OTHER, letter(bytes)).unwrap();
    };
    later(&mut pair, b"a");
    pair.until(start + 10 * MS);
    assert_eq!(pair.sent, []);
    later(&mut pair, b"b");
    pair.posts[0].send(OTHER, letter(b"c")).unwrap();
    later(&mut pair, b"d");
    pair.until(start + 30 * MS);
    assert_eq!(pair.sent_by(0).len(), 1);
    // Alone once it has waited as long as an ack.
    later(&mut pair, b"e");
    pair.until(start + 79 * MS);
    assert_eq!(pair.sent_by(0).len(), 1);
    pair.until(start + 81 * MS);
    assert_eq!(pair.sent_by(0).len(), 2);
    // With an ack of what has come.
    pair.posts[1].send(OTHER, letter(b"back")).unwrap();
    pair.until(start + 100 * MS);
    later(&mut pair, b"f");
    pair.until(start + 1_000 * MS);
    assert_eq!(pair.sent_by(0).len(), 3);
    let bytes = pair.got[1].iter().map(|event| match event {
        PostEvent::Letter { bytes, .. } => bytes[0],
        other => panic!("{other:?}"),
    });
    assert!(bytes.eq(*b"abcdef"));
    // What is lost is sent again, whatever it is.
    pair.lose = vec![pair.sent.len()];
    later(&mut pair, b"g");
    pair.until(pair.now + 1_000 * MS);
    assert_eq!(pair.got[1].len(), 7);
    assert_eq!(pair.posts[0].kept(OTHER), 0);
}

#[test]
fn a_datagram_is_bounded_and_large_letters_go_in_parts() {
    let settings = PostSettings {
        datagram: 1_000,
        ..PostSettings::default()
    };
    let mut pair = Pair::new(&settings);
    let large: Vec<u8> = (0..10_000u32).map(|byte| byte as u8).collect();
    for bytes in [&b"before"[..], &large, b"", b"after"] {
        pair.posts[0].send(OTHER, letter(bytes)).unwrap();
    }
    pair.until(pair.now + 1_000 * MS);
    let bytes = pair.got[1].iter().map(|event| match event {
        PostEvent::Letter { bytes, .. } => &bytes[..],
        other => panic!("{other:?}"),
    });
    assert!(bytes.eq([&b"before"[..], &large, b"", b"after"]));
    let sent = pair.sent_by(0);
    assert!(sent.iter().all(|bytes| *bytes <= 1_000), "{sent:?}");
    assert!((11..=13).contains(&sent.len()), "{sent:?}");
    let too_large = letter(&vec![0; MOST_LETTER + 1]);
    let refused = pair.posts[0].send(OTHER, too_large);
    assert!(matches!(refused, Err(NotSent::TooLarge(_))));
}

#[test]
fn a_full_window_gives_letters_back_until_there_is_room() {
    let settings = PostSettings {
        window: 1_000,
        ..PostSettings::default()
    };
    let mut pair = Pair::new(&settings);
    let mut taken = 0;
    let refused = loop {
        match pair.posts[0].send(OTHER, letter(&[1; 100])) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!((taken, refused), (6, NotSent::Full(letter(&[1; 100]))));
    assert!(pair.posts[0].kept(OTHER) <= 1_000);
    pair.until(pair.now + 1_000 * MS);
    assert_eq!(pair.got[0], [PostEvent::Room(OTHER)], "told once");
    pair.posts[0].send(OTHER, letter(&[1; 100])).unwrap();
    // What is larger than the window goes alone.
    pair.until(pair.now + 1_000 * MS);
    pair.posts[0].send(OTHER, letter(&[1; 5_000])).unwrap();
    pair.until(pair.now + 1_000 * MS);
    assert_eq!(pair.got[1].len(), 8);
}

#[test]
fn what_has_no_ack_is_sent_again_ever_more_rarely_and_one_datagram_at_a_time() {
    let settings = PostSettings {
        datagram: 1_000,
        ..PostSettings::default()
    };
    let mut pair = Pair::new(&settings);
    let start = pair.now;
    for _ in 0..20 {
        pair.posts[0].send(OTHER, letter(&[1; 500])).unwrap();
    }
    while pair.now < start + 10_000 * MS {
        pair.until(pair.now + MS / 4);
        pair.under_way.clear();
    }
    let again: Vec<_> = pair
        .sent
        .iter()
        .skip(20)
        .map(|(at, ..)| (at - start) / MS)
        .collect();
    assert_eq!(again, [200, 600, 1_400, 3_000, 5_000, 7_000, 9_000]);
    pair.until(pair.now + 5_000 * MS);
    assert_eq!(pair.got[1].len(), 20);
    assert_eq!(pair.posts[0].kept(OTHER), 0);
}

#[test]
fn a_version_that_is_not_understood_is_counted_and_ignored() {
    let mut pair = Pair::new(&PostSettings::default());
    pair.posts[0].send(OTHER, letter(b"a")).unwrap();
    let (_, good) = pair.posts[0].poll_transmit(now(pair.now)).unwrap();
    for version in [0, VERSIONS.end() + 1, 255] {
        let mut bytes = good.clone();
        bytes[0] = version;
        pair.posts[1].handle(now(pair.now), &bytes);
    }
    pair.posts[1].handle(now(pair.now), &[]);
    pair.posts[1].handle(now(pair.now), &good[..good.len() - 1]);
    assert_eq!(pair.posts[1].poll_event(), None);
    let stats = pair.posts[1].stats();
    assert_eq!((stats.unknown_version, stats.unproven), (4, 1));
    pair.posts[1].handle(now(pair.now), &good);
    assert!(pair.posts[1].poll_event().is_some());
}

#[test]
fn nothing_goes_without_a_lease_and_everything_when_it_goes_on() {
    let mut pair = Pair::new(&PostSettings::default());
    let until = pair.now + 10 * MS;
    pair.posts[0].meet(now(pair.now), &view(0, until, OTHER));
    pair.until(until);
    pair.posts[0].send(OTHER, letter(b"a")).unwrap();
    pair.until(until + 100 * MS);
    assert_eq!((pair.sent.len(), pair.posts[0].next_wake()), (0, None));
    pair.posts[0].meet(now(pair.now), &view(0, u64::MAX, OTHER));
    pair.until(until + 200 * MS);
    assert_eq!(pair.got[1].len(), 1);
    // With the lease the links are gone.
    pair.posts[0].meet(now(pair.now), &ClusterView::default());
    assert_eq!(pair.posts[0].poll_event(), Some(PostEvent::Lost(OTHER)));
    let refused = pair.posts[0].send(OTHER, letter(b"a"));
    assert_eq!(refused, Err(NotSent::Gone(letter(b"a"))));
}

#[test]
fn a_node_that_gives_its_link_up_takes_the_other_ones_with_it() {
    let mut pair = Pair::new(&PostSettings::default());
    pair.posts[1].send(OTHER, letter(b"unsent")).unwrap();
    let again = NodeNumber::met(2);
    pair.posts[0].meet(now(pair.now), &view(0, u64::MAX, again));
    pair.until(pair.now + 1_000 * MS);
    // Told once on each side; the other one has no number for the node until it is given one.
    assert_eq!(pair.got, [(); 2].map(|()| vec![PostEvent::Lost(OTHER)]));
    pair.posts[1].meet(now(pair.now), &view(1, u64::MAX, again));
    pair.posts[1].send(again, letter(b"new")).unwrap();
    pair.until(pair.now + 3_000 * MS);
    assert!(matches!(&pair.got[0][1..], [PostEvent::Letter { bytes, .. }] if **bytes == *b"new"));
}

#[test]
fn a_slow_channel_is_not_sent_everything_twice() {
    let mut pair = Pair::new(&PostSettings::default());
    pair.way = 400 * MS;
    let start = pair.now;
    for count in 0..1_000 {
        pair.posts[0].send(OTHER, letter(&[7; 200])).unwrap();
        pair.until(start + (count + 1) * 10 * MS);
    }
    pair.until(start + 20_000 * MS);
    assert_eq!(pair.got[1].len(), 1_000);
    let again = pair.posts[0].stats().pieces_again;
    // Some, until the first ack that tells how long the way is.
    assert!(again < 200, "{again} of 1,000");
}

#[test]
fn what_is_lost_twice_comes_while_more_is_sent() {
    let mut pair = Pair::new(&PostSettings::default());
    let start = pair.now;
    // The first one, and the one that goes back to it after the second one and its ack.
    pair.lose = vec![0, 3];
    for count in 0..300 {
        pair.posts[0].send(OTHER, letter(&[7; 20])).unwrap();
        pair.until(start + (count + 1) * 10 * MS);
    }
    assert_eq!(pair.sent[2].1, 1, "an ack that tells of a gap");
    assert!(pair.sent[3].2 > pair.sent[0].2, "goes back");
    assert!(pair.got[1].len() > 290, "{}", pair.got[1].len());
}
