//! The checker itself: it sees what a node without a store loses.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Way};
use crate::fleet::{Acked, Heard, Said, Told};
use crate::found::Found;
use crate::row::Row;
use crate::run::Run;
use crate::{load, my_turn};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_where_nothing_happens() {
    let _turn = my_turn().await;
    let cluster = Cluster::at(Way::OverRedis, 1, None, &[]).await;
    let mut run = Run::start(&cluster.url(), load()).await;
    run.begins();
    run.go_on().await;
    let row = run.finish("nothing").await;
    assert!(row.is_clean(), "{row}\n{}", row.words.join("\n"));
}

/// Its sessions are new, its rooms are empty: that is told, and seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_without_a_store_loses_is_found() {
    let _turn = my_turn().await;
    let mut cluster = Cluster::at(Way::OverRedis, 1, None, &[]).await;
    let mut run = Run::start(&cluster.url(), load()).await;
    run.begins();
    cluster.kill_node(0);
    cluster.start_node(0);
    run.go_on().await;
    let row = run.finish("a node without a store is killed").await;
    assert!(!row.is_clean() && row.rooms.anew + row.others > 0, "{row}");
}

/// What is found where direct messages with these offsets were sent a second apart and acked, a client has heard these of
/// them, and it was told of a gap when the last one was sent.
fn of_an_inbox(acked: &[u64], heard: &[u64], is_told: bool) -> Row {
    let begin = Instant::now();
    let at = |offset: u64| begin + Duration::from_secs(offset);
    let acked: Vec<Acked> = (acked.iter())
        .map(|&offset| Acked {
            text: format!("psst 0 {offset}"),
            offset,
            sent: at(offset),
            waited: Duration::ZERO,
        })
        .collect();
    let heard = heard.iter().map(|&offset| Heard {
        at: at(offset),
        epoch: String::new(),
        offset,
        timestamp: 0,
        from: "0".to_owned(),
        text: format!("psst 0 {offset}"),
    });
    let told = Told {
        heard: heard.collect(),
        gaps: is_told
            .then(|| acked.last().unwrap().sent)
            .into_iter()
            .collect(),
        ..Told::default()
    };
    let said = Said {
        direct: acked
            .iter()
            .map(|it| ("1".to_owned(), it.clone()))
            .collect(),
        ..Said::default()
    };
    let talked = (begin, begin);
    let mut row = Row::of(
        "an inbox".to_owned(),
        load(),
        &[(0, said)],
        &[],
        talked,
        0,
        &Found::default(),
    );
    row.inbox("1", &told, &acked.iter().collect::<Vec<_>>());
    row
}

/// Whether a fault may do that which leaves all whole, which leaves all whole but for inboxes, and of which all is told.
fn may_be(row: &Row) -> [bool; 3] {
    [row.is_clean(), row.is_clean_in_rooms(), row.is_told()]
}

#[test]
fn no_fault_may_lose_direct_messages_in_silence_or_bring_them_again() {
    let all = of_an_inbox(&[1, 2, 3], &[1, 2, 3], false);
    assert_eq!(may_be(&all), [true; 3], "{all}");
    let told = of_an_inbox(&[1, 2, 3], &[1, 3], true);
    assert_eq!(may_be(&told), [false, true, true], "{told}");
    let not_told = [&[1, 3][..], &[1, 2]].map(|heard| of_an_inbox(&[1, 2, 3], heard, false));
    let after_it_was_told = of_an_inbox(&[1, 2, 3], &[1, 2], true);
    let again = of_an_inbox(&[1, 2, 3], &[1, 2, 2, 3], true);
    let disordered = of_an_inbox(&[1, 2, 3], &[2, 1, 3], false);
    let bad = not_told.into_iter();
    for row in bad.chain([after_it_was_told, again, disordered]) {
        assert_eq!(may_be(&row), [false; 3], "{row}");
    }
}
