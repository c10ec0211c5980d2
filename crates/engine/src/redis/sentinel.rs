//! Sentinels: who the master is.

use std::sync::Arc;

use roomcast_core::store::Cause;
use tokio::time::sleep;

use super::backoff::Backoff;
use super::config::{Login, RedisConfig};
use super::connection::Connection;
use super::failure::Failure;
use super::master::Shared;
use super::pubsub::Listening;
use super::url::Endpoint;

#[derive(Clone, Debug)]
pub(crate) struct Sentinels {
    /// The one that answered last is first.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) master: String,
    pub(crate) login: Login,
}

impl Sentinels {
    /// Where the master is, by the first Sentinel that answers.
    ///
    /// # Errors
    ///
    /// None does, or none knows the name.
    pub(crate) async fn find_master(&mut self, config: &RedisConfig) -> Result<Endpoint, Failure> {
        let mut last = None;
        for at in 0..self.endpoints.len() {
            let endpoint = self.endpoints[at].clone();
            match self.ask(&endpoint, config).await {
                Ok(found) => {
                    self.endpoints[..=at].rotate_right(1);
                    return Ok(found);
                }
                Err(failure) => last = Some(failure),
            }
        }
        // Another one is asked first the next time.
        if !self.endpoints.is_empty() {
            self.endpoints.rotate_left(1);
        }
        Err(last.unwrap_or_else(|| Failure::connection("there is no Sentinel")))
    }

    async fn ask(&self, endpoint: &Endpoint, config: &RedisConfig) -> Result<Endpoint, Failure> {
        let mut connection = Connection::open(endpoint, config, &self.login, 0).await?;
        let answer = connection
            .call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &self.master])
            .await?;
        let tls = matches!(endpoint, Endpoint::Tcp { tls: true, .. });
        let place = answer.as_array().unwrap_or_default();
        match place {
            [host, port] => read_place(host.as_str(), port.as_str(), tls),
            _ => None,
        }
        .ok_or_else(|| {
            Failure::again(
                Cause::Connection,
                format!(
                    "the Sentinel at {endpoint} knows no master called {}",
                    self.master
                ),
            )
        })
    }
}

fn read_place(host: Option<&str>, port: Option<&str>, tls: bool) -> Option<Endpoint> {
    Some(Endpoint::Tcp {
        host: host?.to_owned(),
        port: port?.parse().ok()?,
        tls,
    })
}

/// Listens to Sentinels, and says in `named` where the master is, whenever one tells or there was none to listen to.
pub(crate) async fn watch(mut sentinels: Sentinels, config: Arc<RedisConfig>, shared: Arc<Shared>) {
    let mut backoff = Backoff::new();
    loop {
        let watched = tokio::select! {
            watched = watch_one(&mut sentinels, &config, &shared, &mut backoff) => watched,
            () = shared.queue.closed() => return,
        };
        if let Err(failure) = watched {
            tracing::debug!("Sentinel: {failure}");
        }
        sentinels.endpoints.rotate_left(1);
        sleep(backoff.next()).await;
    }
}

async fn watch_one(
    sentinels: &mut Sentinels,
    config: &RedisConfig,
    shared: &Shared,
    backoff: &mut Backoff,
) -> Result<(), Failure> {
    let Some(endpoint) = sentinels.endpoints.first().cloned() else {
        return Ok(());
    };
    let login = (&sentinels.login, 0);
    let mut listening =
        Listening::begin(&endpoint, config, login, "SUBSCRIBE", "+switch-master").await?;
    // What was told before is asked for.
    let found = sentinels.ask(&endpoint, config).await?;
    shared.named.send_replace(Some(found));
    backoff.reset();
    let tls = matches!(endpoint, Endpoint::Tcp { tls: true, .. });
    loop {
        let message = listening.next().await?;
        let message = String::from_utf8_lossy(&message);
        let parts: Vec<_> = message.split(' ').collect();
        if let [name, _, _, host, port] = parts[..]
            && name == sentinels.master
            && let Some(place) = read_place(Some(host), Some(port), tls)
        {
            shared.named.send_replace(Some(place));
        }
    }
}
