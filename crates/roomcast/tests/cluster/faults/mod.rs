//! The faults, in the order in which they are to hold.

mod clocks;
mod node;
mod redis;
mod settings;
mod topology;

use std::fmt;
use std::time::Duration;

use crate::cluster::{Cluster, Way};
use crate::row::Row;
use crate::run::Run;
use crate::{Promise, load, survive};

/// A row, and what the nodes have logged.
type Outcome = (Row, String);

/// A fault, and how the nodes talk that it meets.
#[derive(Clone, Copy)]
struct Test {
    name: &'static str,
    way: Way,
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::OverRedis => "",
            Way::FromNodeToNode => ", node to node",
        };
        write!(f, "{}{way}", self.name)
    }
}

/// Each of these is a test of its name.
macro_rules! hold {
    ($way:expr; $($promise:ident $name:ident = $fault:path;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[cfg_attr(debug_assertions, ignore = "slow without optimisation: ./test heavy")]
            async fn $name() {
                let (name, way) = (stringify!($name), $way);
                survive(Promise::$promise, || $fault(Test { name, way })).await;
            }
        )*
    };
}

hold! { Way::of_all();
    Whole the_only_node_is_killed_and_starts_again = node::only_one_killed;
    Whole one_of_three_nodes_is_killed = node::one_killed;
    Whole all_nodes_are_killed_in_turn = node::all_killed_in_turn;
    Quick a_node_is_ended_politely = node::one_ended;
    Told a_node_and_all_data_of_redis_are_lost = redis::and_a_node_empty;
    Told a_node_is_killed_and_redis_starts_with_older_data = redis::and_a_node_older;
    Whole connections_to_redis_are_killed = redis::connections_killed;
    Whole a_node_is_stopped_past_its_lease = node::one_stopped;
    Whole redis_is_stopped = redis::stopped;
    Whole scripts_are_flushed = redis::scripts_flushed;
    Told all_keys_are_flushed = redis::all_flushed;
    Whole redis_is_out_of_memory = redis::out_of_memory;
    Whole redis_is_slow = redis::slow;
    Quick all_nodes_are_restarted_in_turn = node::all_in_turn;
    Whole the_right_to_run_scripts_is_taken_away = redis::no_scripts;
    Whole the_right_to_write_in_scripts_is_taken_away = redis::no_writes;
    Whole the_rights_to_info_and_to_publish_are_taken_away = redis::no_info_and_publish;
    Whole the_right_to_keys_is_taken_away = redis::no_keys;
    Whole the_right_to_channels_is_taken_away = redis::no_channels;
    Whole redis_is_killed_and_starts_with_its_data = redis::with_its_data;
    Rooms redis_starts_empty = redis::empty;
    Rooms redis_starts_with_older_data = redis::older;
    Whole a_node_and_redis_are_killed = redis::and_a_node;
    Whole a_replica_takes_over = topology::sentinel_fails_over;
    Whole a_replica_takes_over_and_the_first_comes_back = topology::sentinel_fails_over_and_back;
    Whole clocks_of_nodes_are_an_hour_apart = clocks::apart;
    Whole the_clock_of_redis_jumps_ahead = clocks::redis_jumps_ahead;
    Whole the_clock_of_redis_jumps_back = clocks::redis_jumps_back;
    Whole all_nodes_are_replaced_by_another_version = node::all_by_another_version;
    Whole nodes_have_other_kinds_and_limits = settings::other_kinds;
    Whole slots_move_to_another_master = topology::slots_move;
    Whole a_replica_of_one_of_three_masters_takes_over = topology::shard_fails_over;
    Whole one_of_three_masters_is_stopped = topology::shard_is_away;
}

/// Some of them where nodes talk from node to node.
mod from_node_to_node {
    use super::*;

    hold! { Way::FromNodeToNode;
        Whole one_of_three_nodes_is_killed = node::one_killed;
        Whole all_nodes_are_killed_in_turn = node::all_killed_in_turn;
        Quick a_node_is_ended_politely = node::one_ended;
        Whole a_node_is_stopped_past_its_lease = node::one_stopped;
        Whole redis_is_stopped = redis::stopped;
        Quick all_nodes_are_restarted_in_turn = node::all_in_turn;
    }
}

/// The fault lasts so long. Nobody can see its end before.
async fn lasts(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A cluster with a fleet in it that talks, and is about to suffer.
async fn talking(test: Test, nodes: usize, redis: &[&str]) -> (Cluster, Run) {
    let cluster = Cluster::start(test.way, nodes, redis).await;
    let mut run = Run::start(&cluster.url(), load()).await;
    run.begins();
    (cluster, run)
}

/// It is over: all go on, and what was said is compared.
async fn over(test: Test, cluster: Cluster, mut run: Run) -> Outcome {
    run.go_on().await;
    let row = run.finish(test.to_string()).await;
    (row, cluster.logs())
}
