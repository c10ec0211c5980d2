//! The rules of a store, as far as they can be seen from outside, in random histories.

mod common;

use common::history::{CLIENTS, Data, Histories, ROOMS, Step, client};
use proptest::prelude::*;
use roomcast_core::store::{
    Answer, Claimed, Header, Request, RoomRecord, SessionRecord, StoreId, Taken, Written,
};
use roomcast_engine::model::Model;

type Content = (Vec<Option<RoomRecord>>, Vec<Option<SessionRecord>>);

fn content(model: &Model, now: u64) -> Content {
    let rooms = ROOMS.iter().map(|it| model.room(now, it));
    let sessions = (0..CLIENTS).map(|it| model.session(now, &client(it)).cloned());
    (rooms.collect(), sessions.collect())
}

fn header<'a>(content: &'a Content, room: &str) -> Option<&'a Header> {
    let place = ROOMS.iter().position(|it| *it == room)?;
    content.0[place].as_ref().map(|it| &it.header)
}

/// What each answer must have changed, and what not.
fn check(before: &Content, after: &Content, request: &Request, answer: &Answer, store: StoreId) {
    for (old, new) in before.0.iter().zip(&after.0) {
        let (Some(old), Some(new)) = (old, new) else {
            continue;
        };
        let (old, new) = (&old.header, &new.header);
        assert!(new.fence >= old.fence, "a fence falls: {request:?}");
        assert!(new.n >= old.n || old.pending || old.store != store);
        if new.home != old.home && new.home.is_some() {
            assert!(new.fence > old.fence, "two homes with one fence");
        }
    }
    match (request, answer) {
        (Request::Append(it), Answer::Written(Written::Confirmed)) => {
            let now = header(after, &it.room).expect("a record");
            assert_eq!((now.n, now.home), (it.header.n, it.header.home));
            assert_eq!((now.fence, now.store), (it.header.fence, store));
            assert!(!now.pending);
        }
        (Request::Renew(it), Answer::Written(Written::Confirmed)) if it.part.1 => {
            assert_eq!(header(after, &it.room), Some(&it.header));
            let old = header(before, &it.room).filter(|old| **old != it.header);
            if let Some(old) = old {
                assert!(
                    old.store != store || old.pending,
                    "a claimed room is replaced"
                );
                assert!(old.fence < it.header.fence);
            }
        }
        (Request::Claim(it), Answer::Claim(Claimed::Loaded(_) | Claimed::Kept(_))) => {
            let now = header(after, &it.room).expect("a record");
            assert_eq!((now.home, now.store), (Some(it.home), store));
            assert!(!now.pending);
            match header(before, &it.room) {
                Some(old) => {
                    assert_eq!((now.n, now.offset), (old.n, old.offset));
                    assert!(it.settled || (old.store == store && !old.pending));
                    assert_eq!(now.epochs == old.epochs, old.store == store);
                }
                None => assert!(it.settled),
            }
        }
        (
            _,
            Answer::Written(_)
            | Answer::Claim(_)
            | Answer::Turn(false)
            | Answer::Session(Taken::Nothing { .. } | Taken::Other(_))
            | Answer::Inbox(_)
            | Answer::InboxSlice(_)
            | Answer::Beat(_)
            | Answer::Clients(..),
        ) => assert_eq!(before, after, "{request:?} {answer:?}"),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_says_what_was_done(choices in prop::collection::vec(any::<[u8; 8]>(), 1..120)) {
        let mut now = 1_000_000;
        let mut model = Model::new(StoreId(1));
        let mut dump = model.clone();
        let mut histories = Histories::default();
        for choice in choices {
            now += 1;
            match histories.step(&model, now, choice) {
                Step::Ask(request) | Step::AskAndEnd(request) => {
                    let before = content(&model, now);
                    let result = model.apply(now, &request);
                    let after = content(&model, now);
                    let Ok(answer) = result else {
                        prop_assert_eq!(before, after);
                        continue;
                    };
                    check(&before, &after, &request, &answer, model.store());
                    repeat(&mut model, now, &request, &answer, &after);
                    now += 2;
                }
                Step::Dump => dump = model.clone(),
                Step::Restart(data) => {
                    let store = StoreId(u128::from(now) << 64);
                    model = match data {
                        Data::Same => model.restarted(store),
                        Data::Dumped => dump.clone().restarted(store),
                        Data::None => Model::new(store),
                    };
                }
                Step::Full(full) => model.set_full(full),
            }
        }
    }
}

/// Whoever got no answer asks again: it is done once, and what was done is said.
fn repeat(model: &mut Model, now: u64, request: &Request, answer: &Answer, content_then: &Content) {
    let is_numbered = match request {
        Request::Claim(_) | Request::User(_) | Request::Beat(_) | Request::InboxRead(_) => false,
        Request::InboxAppend(it) => it.seq > 0,
        Request::Append(_)
        | Request::Renew(_)
        | Request::Release(_)
        | Request::Take(_)
        | Request::Save(_)
        | Request::End(_) => true,
    };
    // The session may have ended with the save before, and then it is known at this store.
    if is_numbered {
        assert_eq!(
            model.apply(now, request).as_ref(),
            Ok(answer),
            "{request:?}"
        );
        assert_eq!(&content(model, now), content_then);
    }
}
