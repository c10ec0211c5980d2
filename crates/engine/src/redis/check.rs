//! Says what is wrong with a Redis, or with the way to it, before a node uses it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use roomcast_core::store::{Cause, NodeId, StoreError};

use super::cluster;
use super::config::{Mode, RedisConfig};
use super::connection::Connection;
use super::failure::Failure;
use super::identity::Info;
use super::pubsub::channel;
use super::resp::Value;
use super::sentinel::Sentinels;
use super::slot::{SLOTS, anchor, tag_for};
use super::url::Endpoint;

mod rights;

pub use rights::RIGHTS;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which it was looked at.
    pub findings: Vec<Finding>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Which Redis; `None`: the settings, or all of them.
    pub endpoint: Option<Endpoint>,
    /// One or two sentences: what is, and what to do.
    pub text: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be, or good to know.
    Info,
    /// It works, but what is promised may not hold.
    Warning,
    /// Roomcast can't use it.
    Error,
}

impl Report {
    /// Whether Roomcast can use it.
    pub fn is_usable(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.level < Level::Error)
    }

    fn add(&mut self, level: Level, endpoint: Option<&Endpoint>, text: impl Into<String>) {
        self.findings.push(Finding {
            level,
            endpoint: endpoint.cloned(),
            text: text.into(),
        });
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Info => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        match &self.endpoint {
            Some(endpoint) => write!(f, "{level}: {endpoint}: {}", self.text),
            None => write!(f, "{level}: {}", self.text),
        }
    }
}

/// Connects to each master, and looks at everything that Roomcast needs of it. It writes to a key of its own, which it
/// deletes.
pub async fn check(config: &RedisConfig) -> Report {
    let mut report = Report::default();
    for (endpoint, slot) in masters(config, &mut report).await {
        if let Err(failure) = check_master(&endpoint, slot, config, &mut report).await {
            report.add(
                Level::Error,
                Some(&endpoint),
                unreachable("Redis", &failure),
            );
        }
    }
    report
}

/// The masters, with a slot of each.
async fn masters(config: &RedisConfig, report: &mut Report) -> Vec<(Endpoint, u16)> {
    match &config.mode {
        Mode::Standalone => config
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.clone(), 0))
            .collect(),
        Mode::Sentinel { master, login } => {
            let mut found = Vec::new();
            // Each Sentinel has to know the master: any of them may be the only one that is left.
            for endpoint in &config.endpoints {
                let mut one = Sentinels {
                    endpoints: vec![endpoint.clone()],
                    master: master.clone(),
                    login: login.clone(),
                };
                match one.find_master(config).await {
                    Ok(master) => {
                        report.add(
                            Level::Info,
                            Some(endpoint),
                            format!("This Sentinel says that the master is {master}."),
                        );
                        if !found.contains(&(master.clone(), 0)) {
                            found.push((master, 0));
                        }
                    }
                    Err(failure) => report.add(
                        Level::Error,
                        Some(endpoint),
                        unreachable("Sentinel", &failure),
                    ),
                }
            }
            if found.len() > 1 {
                report.add(
                    Level::Error,
                    None,
                    "The Sentinels name different masters. All should watch the same one.",
                );
            }
            found
        }
        Mode::Cluster => {
            for endpoint in &config.endpoints {
                match cluster::ask_at(endpoint, config).await {
                    Ok(map) => {
                        let slots: u32 = map
                            .values()
                            .flatten()
                            .map(|(first, last)| u32::from(last - first) + 1)
                            .sum();
                        if slots < u32::from(SLOTS) {
                            let text = format!(
                                "Only {slots} of the Cluster's 16384 slots have a master. Rooms in the others wait. See \
                                 `redis-cli --cluster check`."
                            );
                            report.add(Level::Error, Some(endpoint), text);
                        }
                        let mut masters: Vec<_> = map.into_iter().collect();
                        masters.sort_by_key(|(_, ranges)| ranges.iter().map(|it| it.0).min());
                        let masters = masters.into_iter();
                        let with_slot =
                            masters.map(|(endpoint, ranges)| (endpoint, anchor(&ranges)));
                        return with_slot.collect();
                    }
                    Err(failure) => report.add(
                        Level::Error,
                        Some(endpoint),
                        unreachable("node of the Cluster", &failure),
                    ),
                }
            }
            Vec::new()
        }
    }
}

fn unreachable(what: &str, failure: &Failure) -> String {
    let hint = match (&failure.error, rights::forbidden(&failure.said)) {
        (_, Some(command)) if what == "Sentinel" => format!(" Give the user +{command}."),
        (_, Some(command)) => {
            format!(" Give the user +{command}. A user of Roomcast needs these: {RIGHTS}")
        }
        (StoreError::Again(Cause::Rights) | StoreError::Never(Cause::Rights), None) => {
            " Check the user and the password.".to_owned()
        }
        (StoreError::Again(Cause::Connection | Cause::Timeout), None) => {
            " Check the address, and whether it takes connections from here.".to_owned()
        }
        _ => String::new(),
    };
    // The endpoint is told with each finding.
    let said = failure
        .said
        .split_once(": ")
        .map_or(&*failure.said, |(_, said)| said);
    format!(
        "This {what} can't be used: {}.{hint}",
        said.trim_end_matches('.')
    )
}

async fn check_master(
    endpoint: &Endpoint,
    slot: u16,
    config: &RedisConfig,
    report: &mut Report,
) -> Result<(), Failure> {
    let open = || Connection::open(endpoint, config, &config.login, config.database);
    let mut connection = match open().await {
        Ok(connection) => connection,
        Err(failure) => {
            report.add(Level::Error, Some(endpoint), unreachable("Redis", &failure));
            return Ok(());
        }
    };
    match connection.ask(&["INFO"]).await? {
        Value::Error(text) => {
            let text = format!("INFO is refused ({text}). It says which Redis answers.");
            report.add(Level::Error, Some(endpoint), text);
        }
        value => {
            let info = value.as_bytes().map(String::from_utf8_lossy);
            let info = info.unwrap_or_default().into_owned();
            let mut second = open().await?;
            let again = second.call(&["INFO"]).await?;
            let again = again.as_str().map(Info::read).unwrap_or_default();
            check_info(&info, &again, endpoint, config, report);
            check_memory(&info, &mut connection, endpoint, report).await?;
            check_persistence(&info, &mut connection, endpoint, report).await?;
        }
    }
    check_clock(&mut connection, endpoint, report).await?;
    // Also where INFO is refused, so that all that a user lacks is said at once.
    let tag = tag_for(slot);
    let names = rights::Names {
        key: format!("{}{{{tag}}}:check", config.prefix),
        channel: channel(config, &tag, NodeId(0)),
        sharded: config.mode == Mode::Cluster,
    };
    let lacking = rights::lacking(&mut connection, &names).await?;
    for problem in &lacking {
        report.add(Level::Error, Some(endpoint), problem.clone());
    }
    if lacking.is_empty() {
        report.add(
            Level::Info,
            Some(endpoint),
            "The user has all rights that are needed.",
        );
    }
    Ok(())
}

/// What INFO says, and what it says on another connection.
fn check_info(
    info: &str,
    again: &Info,
    endpoint: &Endpoint,
    config: &RedisConfig,
    report: &mut Report,
) {
    let read = Info::read(info);
    check_version(&read, endpoint, report);
    check_kind(info, &read, endpoint, config, report);
    if read.store().is_some() && read.store() != again.store() {
        let text = "Two connections reached two different Redis. A proxy or a balancer is in between: connect to Redis itself.";
        report.add(Level::Error, Some(endpoint), text);
    }
}

/// The value of a line of INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim())
}

fn check_version(info: &Info, endpoint: &Endpoint, report: &mut Report) {
    if let Some(version) = &info.valkey_version {
        return report.add(
            Level::Info,
            Some(endpoint),
            format!("It is Valkey {version}."),
        );
    }
    let Some(version) = &info.redis_version else {
        return report.add(
            Level::Error,
            Some(endpoint),
            "INFO shows no version. It should be Redis 7.0 or later, or Valkey.",
        );
    };
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(7..) => report.add(
            Level::Info,
            Some(endpoint),
            format!("It is Redis {version}."),
        ),
        _ => {
            let text =
                format!("It is Redis {version}. It should be Redis 7.0 or later, or Valkey.");
            report.add(Level::Error, Some(endpoint), text);
        }
    }
}

fn check_kind(
    info: &str,
    read: &Info,
    endpoint: &Endpoint,
    config: &RedisConfig,
    report: &mut Report,
) {
    let is_cluster = field(info, "cluster_enabled") == Some("1");
    match (is_cluster, &config.mode) {
        (true, Mode::Standalone | Mode::Sentinel { .. }) => {
            report.add(
                Level::Error,
                Some(endpoint),
                "It is a node of a Redis Cluster. Set the mode to cluster.",
            );
        }
        (false, Mode::Cluster) => {
            report.add(
                Level::Error,
                Some(endpoint),
                "It is no node of a Redis Cluster. Set the mode to standalone.",
            );
        }
        _ => {}
    }
    if read.role.is_some() && !read.is_master() {
        let master = match (field(info, "master_host"), field(info, "master_port")) {
            (Some(host), Some(port)) => format!(" Its master is {host}:{port}."),
            _ => String::new(),
        };
        let text = format!(
            "It is a replica, and takes no writes.{master} Connect to the master, or to Sentinels."
        );
        report.add(Level::Error, Some(endpoint), text);
    }
    if read.store().is_none() {
        let text = "INFO shows no run_id or no master_replid. A proxy hides which Redis answers, so that a failover would not \
                    be noticed: connect to Redis itself.";
        report.add(Level::Error, Some(endpoint), text);
    }
}

/// A setting of Redis; `None`: it may not be read.
async fn setting(connection: &mut Connection, name: &str) -> Result<Option<String>, Failure> {
    let value = connection.ask(&["CONFIG", "GET", name]).await?;
    let pair = value.as_array().unwrap_or_default();
    Ok(pair.get(1).and_then(Value::as_str).map(str::to_owned))
}

async fn check_memory(
    info: &str,
    connection: &mut Connection,
    endpoint: &Endpoint,
    report: &mut Report,
) -> Result<(), Failure> {
    let policy = match field(info, "maxmemory_policy") {
        Some(policy) => Some(policy.to_owned()),
        None => setting(connection, "maxmemory-policy").await?,
    };
    let unlimited = field(info, "maxmemory") == Some("0");
    match policy.as_deref() {
        Some("noeviction") => {}
        None => {
            let text = "Its eviction policy can't be read, as CONFIG is not allowed. Make sure that maxmemory-policy is noeviction.";
            report.add(Level::Warning, Some(endpoint), text);
        }
        Some(policy) if unlimited => {
            let text = format!(
                "Its maxmemory-policy is {policy}, but it has no maxmemory. Set the policy to noeviction."
            );
            report.add(Level::Warning, Some(endpoint), text);
        }
        Some(policy) => {
            let text = format!(
                "Its maxmemory-policy is {policy}: it would drop rooms and sessions. Set it to noeviction."
            );
            report.add(Level::Error, Some(endpoint), text);
        }
    }
    Ok(())
}

async fn check_persistence(
    info: &str,
    connection: &mut Connection,
    endpoint: &Endpoint,
    report: &mut Report,
) -> Result<(), Failure> {
    if field(info, "aof_enabled") == Some("1") {
        return Ok(());
    }
    let (level, text) = match setting(connection, "save").await?.as_deref() {
        Some("") => (
            Level::Warning,
            "It saves nothing. If it restarts while all nodes are down, rooms and sessions are lost: set appendonly to yes.",
        ),
        Some(_) => (
            Level::Info,
            "It saves snapshots, but no append-only file. If Redis and all nodes go down together, the newest changes are lost.",
        ),
        None => (
            Level::Info,
            "It has no append-only file. Whether it saves snapshots can't be read, as CONFIG is not allowed.",
        ),
    };
    report.add(level, Some(endpoint), text);
    Ok(())
}

/// The two clocks need not agree: only the distance is told.
async fn check_clock(
    connection: &mut Connection,
    endpoint: &Endpoint,
    report: &mut Report,
) -> Result<(), Failure> {
    let value = connection.ask(&["TIME"]).await?;
    let parts: Vec<i64> = value
        .as_array()
        .unwrap_or_default()
        .iter()
        .filter_map(|part| part.as_str()?.parse().ok())
        .collect();
    if let [seconds, micros] = parts[..] {
        let here = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let distance =
            seconds * 1_000 + micros / 1_000 - i64::try_from(here.as_millis()).unwrap_or(i64::MAX);
        let text = match distance {
            0.. => format!("Its clock is {distance} ms ahead of the one here."),
            _ => format!("Its clock is {} ms behind the one here.", -distance),
        };
        report.add(Level::Info, Some(endpoint), text);
    }
    Ok(())
}
