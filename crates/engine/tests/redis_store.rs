//! The scripts over a node's connection to Redis: what a shard submits, and what it is answered.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::history::{client, home};
use common::redis_server::Server;
use roomcast_core::Now;
use roomcast_core::log::Epoch;
use roomcast_core::store::{
    Answer, Append, Cause, Claim, Claimed, End, FieldKey, Header, Log, Release, Request, Save,
    SessionRecord, Store as _, StoreError, StoreId, Take, Taken, Ticket, Written,
};
use roomcast_engine::redis::{Client, RedisStore, ScriptCommands};
use tokio::sync::Notify;

const DEADLINE: Duration = Duration::from_secs(20);

struct Shard {
    redis: Client,
    store: RedisStore<ScriptCommands>,
    woken: Arc<Notify>,
    tickets: u64,
}

impl Shard {
    fn new(server: &Server) -> Shard {
        let config = server.config();
        let commands = ScriptCommands::new(&config.prefix);
        let redis = Client::start(config);
        let woken = Arc::new(Notify::new());
        let wake = Arc::clone(&woken);
        let store = RedisStore::new(&redis, commands, move || wake.notify_one());
        Shard {
            redis,
            store,
            woken,
            tickets: 0,
        }
    }

    fn submit(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.store.submit(Now::default(), ticket, request);
        ticket
    }

    async fn next(&mut self) -> (Ticket, Result<Answer, StoreError>) {
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

    async fn ask(&mut self, request: Request) -> Result<Answer, StoreError> {
        let ticket = self.submit(request);
        let (answered, result) = self.next().await;
        assert_eq!(answered, ticket);
        result
    }

    /// Which store it is that it has met, once it is another than `before`.
    async fn meets(&self, before: Option<StoreId>) -> StoreId {
        let meets = async {
            loop {
                match self.redis.masters()[0].store {
                    Some(store) if Some(store) != before => return store,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(DEADLINE, meets)
            .await
            .expect("a connection in time")
    }
}

fn claim(store: StoreId, of: u8, has: Option<(u64, u64)>) -> Request {
    Request::Claim(Claim {
        room: "room".into(),
        home: home(of),
        store,
        dead: None,
        settled: true,
        epoch: Epoch::from_random(9),
        timestamp: 0,
        has,
        ends_after: 1_000_000,
        only_existing: false,
    })
}

fn append(header: &Header) -> Append {
    Append {
        room: "room".into(),
        header: Header {
            n: header.n + 1,
            offset: header.offset + 1,
            ..header.clone()
        },
        settled: true,
        fields: vec![(FieldKey::State, Some([1, 2].into()))],
        log: Some(Log {
            last: header.offset + 1,
            events: b"hello"[..].into(),
        }),
        first: 0,
        ends_after: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_goes_from_one_home_to_the_next() {
    let mut server = Server::start([""; 0]);
    let mut shard = Shard::new(&server);
    let store = shard.meets(None).await;
    let Ok(Answer::Claim(Claimed::Loaded(new))) = shard.ask(claim(store, 0, None)).await else {
        panic!("it is nobody's");
    };
    assert_eq!((new.header.store, new.log.len()), (store, 0));
    // Two appends go out together, and are done in their order.
    let first = append(&new.header);
    let second = append(&first.header);
    for append in [&first, &second] {
        shard.submit(Request::Append(Arc::new(append.clone())));
    }
    for _ in 0..2 {
        let answer = shard.next().await.1;
        assert_eq!(answer, Ok(Answer::Written(Written::Confirmed)));
    }
    let theirs = shard.ask(claim(store, 1, None)).await;
    assert_eq!(theirs, Ok(Answer::Claim(Claimed::Theirs(home(0)))));
    let has = Some((second.header.n - 1, second.header.fence));
    let Ok(Answer::Claim(Claimed::Kept(kept))) = shard.ask(claim(store, 0, has)).await else {
        panic!("it has what the record has");
    };
    assert_eq!(kept.n, second.header.n);
    let late = shard.ask(Request::Append(Arc::new(append(&second.header))));
    let refused = Written::Refused(Some(kept.clone()));
    assert_eq!(late.await, Ok(Answer::Written(refused)));
    let release = Request::Release(Release {
        room: "room".into(),
        home: home(0),
        fence: kept.fence,
        store,
        ends_after: 1_000_000,
    });
    assert_eq!(shard.ask(release).await, Ok(Answer::Done));
    let Ok(Answer::Claim(Claimed::Loaded(record))) = shard.ask(claim(store, 1, None)).await else {
        panic!("it was released");
    };
    assert_eq!(record.header.home, Some(home(1)));
    assert_eq!(record.fields, [(FieldKey::State, [1, 2].into())]);
    let entries: Vec<_> = [first, second]
        .into_iter()
        .filter_map(|it| it.log)
        .collect();
    assert_eq!(record.log, entries);

    // Redis comes back without anything: what was meant for the old one is not done.
    server.restart_empty();
    let other = shard.meets(Some(store)).await;
    let late = shard.ask(claim(store, 1, None)).await;
    assert_eq!(late, Err(StoreError::Again(Cause::OtherStore)));
    let Ok(Answer::Claim(Claimed::Loaded(new))) = shard.ask(claim(other, 1, None)).await else {
        panic!("there is no record");
    };
    assert_eq!((new.header.n, new.header.store), (0, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_taken_once() {
    let server = Server::start([""; 0]);
    let mut shard = Shard::new(&server);
    let store = shard.meets(None).await;
    let save = |turn, known| {
        Request::Save(Save {
            client: client(1),
            record: SessionRecord {
                turn,
                node: home(0).node,
                value: [5].into(),
            },
            known,
            ends_after: 1_000_000,
        })
    };
    let take = |of, attempt| {
        Request::Take(Take {
            client: client(1),
            turn: Some(1),
            store: None,
            node: home(of).node,
            attempt,
        })
    };
    let turn = |it| Ok(Answer::Turn(it));
    assert_eq!(shard.ask(save(1, None)).await, turn(true));
    let taken = shard.ask(take(1, 7)).await;
    let Ok(Answer::Session(Taken::Taken(record))) = &taken else {
        panic!("{taken:?}");
    };
    assert_eq!((record.turn, record.node), (2, home(1).node));
    assert_eq!(shard.ask(take(1, 7)).await, taken, "asked again");
    assert_eq!(
        shard.ask(take(2, 8)).await,
        Ok(Answer::Session(Taken::Other(record.clone()))),
        "looked at"
    );
    assert_eq!(shard.ask(save(1, Some(store))).await, turn(false));
    let end = Request::End(End {
        client: client(1),
        turn: 2,
        node: home(1).node,
        known: Some(store),
        store: Some(store),
    });
    assert_eq!(shard.ask(end).await, turn(true));
    assert_eq!(
        shard.ask(save(2, Some(store))).await,
        turn(false),
        "it has ended"
    );
}
