//! What waits for the receiver of a webhook, kept in Redis for all nodes: a stream for each lane, from which one node at a
//! time sends. The counts of all lanes are in one hash, so that their bound is exact.

use roomcast_core::store::{Cause, StoreError, StoreId};
use smallvec::SmallVec;
use tokio::sync::watch;

use super::client::Client;
use super::command::{Command, Script};
use super::keys::Keys;
use super::resp::Value;
use super::scripts::{WEBHOOK_ADD, WEBHOOK_HOLD, WEBHOOK_TAKE};

/// The events of one webhook, as one node reaches them. Clones share the connections.
#[derive(Clone, Debug)]
pub struct WebhookQueue {
    client: Client,
    keys: Keys,
    name: Box<str>,
    /// Who this node is among those that hold lanes.
    node: Box<str>,
}

/// Bounds of a webhook's queue, over all lanes.
#[derive(Clone, Copy, Debug)]
pub struct WebhookBounds {
    /// Events.
    pub events: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Milliseconds after the last event was added at which all are dropped: nobody sends them any more.
    pub ends_after: u64,
}

/// Where an event is in a lane. Later ones are greater, at one Redis: they begin with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    nth: u64,
}

/// What became of events that were to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Where each is; `None`: there was no room for it.
    pub places: Vec<Option<Place>>,
    /// Events that wait in all lanes.
    pub waiting: u64,
}

/// What waits in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// At which Redis.
    pub store: StoreId,
    /// Events that wait in all lanes.
    pub waiting: u64,
    /// Events of this lane before this place are sent.
    pub done: Place,
    /// Its first events and their places. This node holds the lane if there are some.
    pub events: Vec<(Place, Vec<u8>)>,
}

impl WebhookQueue {
    /// The queue of the webhook with this name. `node` tells this node from all others: at each start another one.
    pub fn new(client: &Client, prefix: &str, name: &str, node: &str) -> WebhookQueue {
        WebhookQueue {
            client: client.clone(),
            keys: Keys::new(prefix),
            name: name.into(),
            node: node.into(),
        }
    }

    /// The Redis that has a lane; `None`: there is no connection to it.
    pub fn store(&self, lane: usize) -> Option<StoreId> {
        let key = self.keys.webhook_lane(&self.name, lane);
        self.client.store_of(&key)
    }

    /// Changes whenever [`WebhookQueue::store`] of a lane may have.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.client.changes()
    }

    /// Adds events behind those that are in a lane. One that comes with a place, and is there, stays there. What there is no
    /// room for is not kept, nor any behind it.
    ///
    /// # Errors
    /// See [`StoreError`]: [`Cause::OtherStore`], where `store` has the lane no more. They may have been added all the same.
    pub async fn add(
        &self,
        lane: usize,
        store: StoreId,
        events: &[(Option<Place>, &[u8])],
        bounds: WebhookBounds,
    ) -> Result<Added, StoreError> {
        let mut args = vec![
            number(bounds.events),
            number(bounds.bytes),
            number(bounds.ends_after),
        ];
        for (former, event) in events {
            args.push(former.map(Place::to_bytes).unwrap_or_default());
            args.push(event.to_vec());
        }
        let (_, value) = self.run(&WEBHOOK_ADD, lane, Some(store), args).await?;
        let Some([waiting, Value::Array(places)]) = value.as_array() else {
            return Err(UNREADABLE);
        };
        let place = |place: &Value| match place.as_str()? {
            "" => Some(None),
            place => Place::read(place).map(Some),
        };
        let added = Added {
            places: places
                .iter()
                .map(place)
                .collect::<Option<_>>()
                .ok_or(UNREADABLE)?,
            waiting: count(waiting).ok_or(UNREADABLE)?,
        };
        match added.places.len() == events.len() {
            true => Ok(added),
            false => Err(UNREADABLE),
        }
    }

    /// Takes the first events of a lane, of at most `most` bytes unless the first alone has more, and holds the lane for
    /// `hold` milliseconds. They stay there until `sent` names the last of them, and the Redis that it was taken from. There
    /// are none where another node holds the lane.
    ///
    /// # Errors
    /// See [`StoreError`]: [`Cause::OtherStore`], where the lane is at another Redis than what was sent.
    pub async fn take(
        &self,
        lane: usize,
        sent: Option<(StoreId, Place)>,
        hold: u64,
        (most, most_bytes): (u64, u64),
    ) -> Result<Taken, StoreError> {
        let args = vec![
            number(lane as u64),
            self.node.as_bytes().to_vec(),
            number(hold),
            number(most),
            number(most_bytes),
            sent.map(|(_, place)| place.to_bytes()).unwrap_or_default(),
        ];
        let at = sent.map(|(store, _)| store);
        let (store, value) = self.run(&WEBHOOK_TAKE, lane, at, args).await?;
        let Value::Array(parts) = value else {
            return Err(UNREADABLE);
        };
        let mut parts = parts.into_iter();
        let (Some(waiting), Some(done)) = (parts.next(), parts.next()) else {
            return Err(UNREADABLE);
        };
        let place = |value: &Value| value.as_str().and_then(Place::read).ok_or(UNREADABLE);
        let mut taken = Taken {
            store,
            waiting: count(&waiting).ok_or(UNREADABLE)?,
            done: place(&done)?,
            events: Vec::new(),
        };
        while let Some(at) = parts.next() {
            let Some(Value::Bytes(event)) = parts.next() else {
                return Err(UNREADABLE);
            };
            taken.events.push((place(&at)?, event));
        }
        Ok(taken)
    }

    /// Holds a lane for so many milliseconds more, and says how many events wait in all lanes. `None`: another node has it by
    /// now.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn hold(&self, lane: usize, hold: u64) -> Result<Option<u64>, StoreError> {
        let args = vec![
            number(lane as u64),
            self.node.as_bytes().to_vec(),
            number(hold),
        ];
        let (_, value) = self.run(&WEBHOOK_HOLD, lane, None, args).await?;
        let waiting = value.as_int().ok_or(UNREADABLE)?;
        Ok(u64::try_from(waiting).ok())
    }

    async fn run(
        &self,
        script: &'static Script,
        lane: usize,
        store: Option<StoreId>,
        args: Vec<Vec<u8>>,
    ) -> Result<(StoreId, Value), StoreError> {
        let command = Command {
            script,
            store,
            keys: SmallVec::from_iter([
                self.keys.webhook(&self.name),
                self.keys.webhook_lane(&self.name, lane),
            ]),
            args,
            behind: Vec::new(),
        };
        self.client.run(command).await
    }
}

const UNREADABLE: StoreError = StoreError::Never(Cause::Protocol);

fn number(number: u64) -> Vec<u8> {
    number.to_string().into()
}

fn count(value: &Value) -> Option<u64> {
    u64::try_from(value.as_int()?).ok()
}

impl Place {
    /// As Redis writes it: `1764500000000-0`.
    fn read(text: &str) -> Option<Place> {
        let (unix_ms, nth) = text.split_once('-')?;
        Some(Place {
            unix_ms: unix_ms.parse().ok()?,
            nth: nth.parse().ok()?,
        })
    }

    fn to_bytes(self) -> Vec<u8> {
        format!("{}-{}", self.unix_ms, self.nth).into()
    }

    /// One of which nothing is known but its time.
    pub fn at(unix_ms: u64) -> Place {
        Place { unix_ms, nth: 0 }
    }
}
