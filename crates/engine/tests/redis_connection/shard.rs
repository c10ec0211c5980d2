//! A shard's store with scripts of its own: they append to a list, so that the order shows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roomcast_core::ClientId;
use roomcast_core::Now;
use roomcast_core::store::{
    Answer, Cause, End, InboxRead, InboxSlice, NodeId, Request, Store as _, StoreError, StoreId,
    Ticket,
};
use roomcast_engine::redis::{Client, Command, Commands, RedisStore, Script, Value};
use smallvec::smallvec;
use tokio::sync::Notify;

use crate::redis_server::DEADLINE;

pub(crate) static PUSH: Script = Script {
    name: "push",
    template: "-- @STORE@\nredis.call('RPUSH', KEYS[1], ARGV[1]) return 1",
};
pub(crate) static READ: Script = Script {
    name: "read",
    template: "return {'@STORE@', tostring(redis.call('LLEN', KEYS[1]))}",
};

#[derive(Debug)]
pub(crate) struct Lists;

pub(crate) fn key(client: ClientId) -> Vec<u8> {
    format!("roomcast:{{{}}}", client.as_str()).into_bytes()
}

impl Commands for Lists {
    fn command(&self, request: &Request, _tag: &str) -> Command {
        let (script, client, arg) = match request {
            Request::End(End { client, turn, .. }) => (&PUSH, client, turn.to_string()),
            Request::InboxRead(read) => (&READ, &read.client, String::new()),
            other => panic!("{other:?}"),
        };
        Command {
            script,
            store: None,
            keys: smallvec![key(*client)],
            args: vec![arg.into_bytes()],
            behind: Vec::new(),
        }
    }

    fn answer(&self, request: &Request, value: Value) -> Result<Answer, StoreError> {
        match (request, value) {
            (Request::End(_), Value::Int(1)) => Ok(Answer::Turn(true)),
            (Request::InboxRead(_), Value::Array(values)) => Ok(Answer::InboxSlice(InboxSlice {
                last: values[1]
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .expect("a number"),
                ..InboxSlice::default()
            })),
            _ => Err(StoreError::Never(Cause::Protocol)),
        }
    }
}

pub(crate) struct Shard {
    pub(crate) store: RedisStore<Lists>,
    woken: Arc<Notify>,
    tickets: u64,
}

pub(crate) fn client(number: u64) -> ClientId {
    ClientId::from_random([number, 1])
}

impl Shard {
    pub(crate) fn new(redis: &Client) -> Self {
        let woken = Arc::new(Notify::new());
        let wake = Arc::clone(&woken);
        let store = RedisStore::new(redis, Lists, move || wake.notify_one());
        Self {
            store,
            woken,
            tickets: 0,
        }
    }

    pub(crate) fn push(&mut self, to: ClientId, number: u64) -> Ticket {
        self.submit(Request::End(End {
            client: to,
            turn: number,
            node: NodeId::default(),
            known: None,
            store: None,
        }))
    }

    pub(crate) fn submit(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        self.store
            .submit(Now::default(), Ticket(self.tickets), request);
        Ticket(self.tickets)
    }

    /// The next answer, once it is there.
    pub(crate) async fn next(&mut self) -> (Ticket, Result<Answer, StoreError>) {
        let next = async {
            self.store.flush();
            loop {
                match self.store.poll(Now::default()) {
                    Some(answer) => return answer,
                    None => self.woken.notified().await,
                }
            }
        };
        tokio::time::timeout(DEADLINE, next)
            .await
            .expect("an answer in time")
    }

    pub(crate) fn read(&mut self, of: ClientId) -> Ticket {
        let read = InboxRead {
            client: of,
            after: 0,
            most_bytes: 0,
        };
        self.submit(Request::InboxRead(read))
    }

    /// How long a client's list is: asked again until Redis answers.
    pub(crate) async fn length(&mut self, of: ClientId) -> u64 {
        loop {
            self.read(of);
            match self.next().await.1 {
                Ok(Answer::InboxSlice(slice)) => return slice.last,
                Ok(other) => panic!("{other:?}"),
                Err(StoreError::Again(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

/// Runs a command, again while it is the connection that is in the way.
pub(crate) async fn run(redis: &Client, command: Command) -> Result<(StoreId, Value), StoreError> {
    let begin = Instant::now();
    loop {
        let answer = redis.run(command.clone()).await;
        match answer {
            Err(StoreError::Again(Cause::Connection | Cause::Timeout | Cause::Busy))
                if begin.elapsed() < DEADLINE =>
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answer => return answer,
        }
    }
}

/// A command that pushes, as a task asks it.
pub(crate) fn push(key: &[u8], store: Option<StoreId>) -> Command {
    Command {
        script: &PUSH,
        store,
        keys: smallvec![key.to_vec()],
        args: vec![b"x".to_vec()],
        behind: Vec::new(),
    }
}
