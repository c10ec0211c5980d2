//! Nodes whose settings differ.

use super::redis::KEEPS_ALL;
use super::{Outcome, Test, over, talking};

/// Of the rooms in which all talk: another mode, room for fewer than are in them, and a shorter log.
const OTHERS: [&str; 3] = [
    "kinds.hall.mode=state",
    "kinds.hall.max_players=2",
    "kinds.hall.log.events=600",
];

/// A node comes back with other kinds than those of the others. Then rooms go there, as another one is killed, and back.
pub(super) async fn other_kinds(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_ALL).await;
    let odd = cluster.busiest();
    cluster.all_see_differing(&[0, 0, 0]).await;
    cluster.machines[odd].settings = OTHERS.map(str::to_owned).into();
    let mut expected = [1; 3];
    expected[odd] = 2;
    for node in [odd, (odd + 1) % 3, odd] {
        cluster.kill_node(node);
        run.go_on().await;
        cluster.start_node(node);
        cluster.all_ready().await;
        cluster.all_see_differing(&expected).await;
    }
    let row = over(test, cluster, run).await;
    assert!(
        row.1.contains("another server has other settings"),
        "{}",
        row.1
    );
    assert!(row.1.contains(r#""different":"kinds""#), "{}", row.1);
    row
}
