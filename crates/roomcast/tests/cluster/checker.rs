//! The checker itself: it sees what a node without a store loses.

use crate::cluster::Cluster;
use crate::run::Run;
use crate::{load, my_turn};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_where_nothing_happens() {
    let _turn = my_turn().await;
    let cluster = Cluster::at(1, None, &[]).await;
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
    let mut cluster = Cluster::at(1, None, &[]).await;
    let mut run = Run::start(&cluster.url(), load()).await;
    run.begins();
    cluster.kill_node(0);
    cluster.start_node(0);
    run.go_on().await;
    let row = run.finish("a node without a store is killed").await;
    assert!(!row.is_clean() && row.anew > 0, "{row}");
}
