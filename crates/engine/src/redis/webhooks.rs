//! What waits for the receiver of a webhook, kept in Redis for all nodes: a stream for each lane, from which one node at a
//! time sends. The counts of all lanes are in one hash, so that their bound is exact.

use roomcast_core::store::{Cause, StoreError};
use smallvec::SmallVec;

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

/// The first events of a lane, which this node holds from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Events that wait in all lanes.
    pub waiting: u64,
    /// Their places, and the events.
    pub events: Vec<(String, Vec<u8>)>,
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

    /// Adds events behind those that are in a lane. Returns how many were kept, the others had no room, and how many wait.
    ///
    /// # Errors
    /// See [`StoreError`]. They may have been added all the same.
    pub async fn add(
        &self,
        lane: usize,
        events: &[&[u8]],
        bounds: WebhookBounds,
    ) -> Result<(u64, u64), StoreError> {
        let mut args = vec![
            number(bounds.events),
            number(bounds.bytes),
            number(bounds.ends_after),
        ];
        args.extend(events.iter().map(|event| event.to_vec()));
        let value = self.run(&WEBHOOK_ADD, lane, args).await?;
        match value.as_array() {
            Some([kept, waiting]) => pair(kept, waiting).ok_or(UNREADABLE),
            _ => Err(UNREADABLE),
        }
    }

    /// Takes the first events of a lane, of at most `most` bytes unless the first alone has more, and holds the lane for
    /// `hold` milliseconds. They stay there until `sent` names the last of them. `None`: another node holds the lane.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn take(
        &self,
        lane: usize,
        sent: &str,
        hold: u64,
        (most, most_bytes): (u64, u64),
    ) -> Result<Option<Taken>, StoreError> {
        let args = vec![
            number(lane as u64),
            self.node.as_bytes().to_vec(),
            number(hold),
            number(most),
            number(most_bytes),
            sent.into(),
        ];
        let value = self.run(&WEBHOOK_TAKE, lane, args).await?;
        let Value::Array(parts) = value else {
            return Err(UNREADABLE);
        };
        let mut parts = parts.into_iter();
        let Some(waiting) = parts.next() else {
            return Ok(None);
        };
        let mut taken = Taken {
            waiting: count(&waiting).ok_or(UNREADABLE)?,
            events: Vec::new(),
        };
        while let Some(id) = parts.next() {
            let id = id.as_str().ok_or(UNREADABLE)?.to_owned();
            let Some(Value::Bytes(event)) = parts.next() else {
                return Err(UNREADABLE);
            };
            taken.events.push((id, event));
        }
        Ok(Some(taken))
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
        let value = self.run(&WEBHOOK_HOLD, lane, args).await?;
        let waiting = value.as_int().ok_or(UNREADABLE)?;
        Ok(u64::try_from(waiting).ok())
    }

    async fn run(
        &self,
        script: &'static Script,
        lane: usize,
        args: Vec<Vec<u8>>,
    ) -> Result<Value, StoreError> {
        let command = Command {
            script,
            store: None,
            keys: SmallVec::from_iter([
                self.keys.webhook(&self.name),
                self.keys.webhook_lane(&self.name, lane),
            ]),
            args,
            behind: Vec::new(),
        };
        self.client.run(command).await.map(|(_, value)| value)
    }
}

const UNREADABLE: StoreError = StoreError::Never(Cause::Protocol);

fn number(number: u64) -> Vec<u8> {
    number.to_string().into()
}

fn count(value: &Value) -> Option<u64> {
    u64::try_from(value.as_int()?).ok()
}

fn pair(one: &Value, other: &Value) -> Option<(u64, u64)> {
    Some((count(one)?, count(other)?))
}
