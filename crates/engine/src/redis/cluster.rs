//! A Redis Cluster: which node has which slots, asked again whenever something shows that it has changed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use roomcast_core::store::Cause;
use tokio::time::sleep;
use tracing::warn;

use super::backoff::{Backoff, random_below};
use super::config::RedisConfig;
use super::connection::Connection;
use super::failure::{Failure, Told};
use super::job::{Job, Reply, What};
use super::master::{Shared, Source};
use super::resp::Value;
use super::slot::SLOTS;
use super::topology::{Ranges, Table, Topology};
use super::url::Endpoint;

/// The masters, each with its slots.
pub(crate) type Map = HashMap<Endpoint, Ranges>;

/// Keeps the table as the Cluster has it, until the topology is dropped.
pub(crate) async fn follow(topology: Weak<Topology>, config: Arc<RedisConfig>) {
    let Some((mut changes, trouble)) = topology
        .upgrade()
        .map(|topology| (topology.changes.subscribe(), Arc::clone(&topology.trouble)))
    else {
        return;
    };
    let mut known = Known {
        config,
        masters: HashMap::new(),
        map: Map::new(),
    };
    let mut backoff = Backoff::new();
    let mut told = Told::default();
    loop {
        let read = known.read_map().await;
        let Some(topology) = topology.upgrade() else {
            return;
        };
        match read {
            Ok(map) => {
                told.clear();
                if known.take(map, &topology) {
                    backoff.reset();
                }
            }
            Err(failure) => {
                if told.is_new(&failure) {
                    warn!("Redis Cluster: {failure}");
                }
                trouble.notify_one();
            }
        }
        drop(topology);
        // Many notice the same trouble at one moment.
        sleep(backoff.next()).await;
        changes.mark_unchanged();
        tokio::select! {
            () = trouble.notified() => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

/// What is known of the Cluster.
struct Known {
    config: Arc<RedisConfig>,
    masters: HashMap<Endpoint, Arc<Shared>>,
    map: Map,
}

impl Known {
    /// Asks a master that there is a connection to; where none answers, any node that was ever named.
    async fn read_map(&self) -> Result<Map, Failure> {
        let mut connected: Vec<_> = self
            .masters
            .iter()
            .filter(|(_, shared)| shared.store().is_some())
            .collect();
        while !connected.is_empty() {
            let (endpoint, shared) = connected.swap_remove(random_below(connected.len()));
            if let Some(map) = ask_on(shared, &self.config, endpoint).await {
                return Ok(map);
            }
        }
        let mut last = None;
        for endpoint in self.masters.keys().chain(&self.config.endpoints) {
            match ask_at(endpoint, &self.config).await {
                Ok(map) => return Ok(map),
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.unwrap_or_else(|| Failure::connection("no node is known")))
    }

    /// Whether it is another map than before. Masters that are new are reached, those that are gone are let go.
    fn take(&mut self, map: Map, topology: &Topology) -> bool {
        if map == self.map {
            return false;
        }
        let mut table = Vec::new();
        let mut masters = HashMap::new();
        for (endpoint, ranges) in &map {
            let shared = self
                .masters
                .remove(endpoint)
                .unwrap_or_else(|| topology.reach(&self.config, Source::Fixed(endpoint.clone())));
            table.push((Arc::clone(&shared), ranges.clone()));
            masters.insert(endpoint.clone(), shared);
        }
        topology.replace(Table::new(table));
        for gone in self.masters.values() {
            gone.queue.close();
        }
        self.masters = masters;
        self.map = map;
        true
    }
}

async fn ask_on(shared: &Shared, config: &RedisConfig, endpoint: &Endpoint) -> Option<Map> {
    let (reply, answer) = Reply::to_task();
    let job = Job {
        what: What::Plain(vec![b"CLUSTER".to_vec(), b"SLOTS".to_vec()]),
        deadline: Instant::now() + config.response_timeout,
        reply,
        repeated: false,
        bytes: 12,
    };
    shared.queue.put(vec![job]);
    let (_, value) = answer.await.ok()?.ok()?;
    read_slots(&value, endpoint).ok()
}

/// Asks a node over a connection of its own.
pub(crate) async fn ask_at(endpoint: &Endpoint, config: &RedisConfig) -> Result<Map, Failure> {
    let mut connection = Connection::open(endpoint, config, &config.login, 0).await?;
    let value = connection.call(&["CLUSTER", "SLOTS"]).await;
    value
        .and_then(|value| read_slots(&value, endpoint))
        .map_err(|Failure { error, said }| Failure {
            error,
            said: format!("{endpoint}: {said}").into(),
        })
}

/// The answer to CLUSTER SLOTS. A node that does not know its own address leaves the host out: then it is the one that
/// was asked.
fn read_slots(value: &Value, asked: &Endpoint) -> Result<Map, Failure> {
    let mut map = Map::new();
    for row in value.as_array().unwrap_or_default() {
        let [first, last, master, ..] = row.as_array().unwrap_or_default() else {
            continue;
        };
        let slot = |value: &Value| {
            value
                .as_int()
                .and_then(|slot| u16::try_from(slot).ok())
                .filter(|slot| *slot < SLOTS)
        };
        let (Some(first), Some(last), Some(endpoint)) =
            (slot(first), slot(last), read_node(master, asked))
        else {
            continue;
        };
        map.entry(endpoint).or_default().push((first, last));
    }
    map.values_mut().for_each(|ranges| ranges.sort_unstable());
    match map.is_empty() {
        true => Err(Failure::again(
            Cause::Busy,
            "no slot of the Cluster has a master",
        )),
        false => Ok(map),
    }
}

fn read_node(node: &Value, asked: &Endpoint) -> Option<Endpoint> {
    let [host, port, ..] = node.as_array()? else {
        return None;
    };
    let port = u16::try_from(port.as_int()?).ok()?;
    let Endpoint::Tcp {
        host: asked_host,
        tls,
        ..
    } = asked
    else {
        return None;
    };
    let host = match host {
        Value::Nil => asked_host,
        host => match host.as_str()? {
            "" => asked_host,
            "?" => return None,
            host => host,
        },
    };
    Some(Endpoint::Tcp {
        host: host.to_owned(),
        port,
        tls: *tls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }

    fn row(first: i64, last: i64, host: Value, port: i64) -> Value {
        let node = Value::Array(vec![host, Value::Int(port), text("id")]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node])
    }

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp {
            host: host.to_owned(),
            port,
            tls: true,
        }
    }

    #[test]
    fn slots_are_read_with_the_hosts_that_are_left_out() {
        let value = Value::Array(vec![
            row(5, 9, text("b"), 2),
            row(0, 4, text(""), 1),
            row(20, 30, text("b"), 2),
            row(40, 41, Value::Nil, 1),
            row(50, 51, text("?"), 1),
            row(60, 20_000, text("c"), 1),
            Value::Nil,
        ]);
        let map = read_slots(&value, &tcp("a", 9)).expect("a map");
        let expected = [
            (tcp("a", 1), vec![(0, 4), (40, 41)]),
            (tcp("b", 2), vec![(5, 9), (20, 30)]),
        ];
        assert_eq!(map, expected.into_iter().collect());
        assert!(read_slots(&Value::Array(Vec::new()), &tcp("a", 9)).is_err());
    }
}
