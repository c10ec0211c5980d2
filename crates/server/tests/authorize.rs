//! A backend decides who joins and what is said, over real HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;
#[path = "common/receiver.rs"]
mod receiver;

use std::time::Duration;

use common::{Client, address, eventually, metric, start};
use receiver::{Do, Receiver, SECRETS};
use roomcast_protocol::client::ServerBody;
use roomcast_protocol::{Incoming, JoinRoom, MessageType, Request};
use roomcast_server::RunningServer;
use roomcast_server::config::{Asked, AuthorizeSettings, Silence};

fn asking(
    receiver: &Receiver,
    asks: &[Asked],
    change: impl FnOnce(&mut AuthorizeSettings),
) -> RunningServer {
    let mut table = AuthorizeSettings {
        name: "shop".to_owned(),
        url: receiver.url(),
        secret: SECRETS[0].to_owned().into(),
        kinds: vec!["relay".to_owned()],
        asks: asks.to_vec(),
        ..AuthorizeSettings::default()
    };
    change(&mut table);
    start(|config| config.authorize = vec![table])
}

fn answer(json: &str) -> Do {
    Do::Answer(200, json.to_owned())
}

fn outcome(server: &RunningServer, outcome: &str) -> u64 {
    let name = format!("roomcast_authorize_total{{backend=\"shop\",outcome=\"{outcome}\"}}");
    metric(server, &name)
}

fn join(client: &mut Client, room: &str) {
    let join = JoinRoom {
        nickname: Some("nick".into()),
        ..JoinRoom::default()
    };
    client.request(&Incoming::new(Request::JoinRoom(join)).in_room(room));
}

fn error(client: &mut Client) -> (String, String) {
    match client.expect_any(MessageType::Error).body {
        ServerBody::Error(error) => (error.code.to_string(), error.message.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_backend_is_asked_who_joins_and_can_check_who_asks() {
    let receiver = Receiver::start();
    receiver.first([
        answer(r#"{"allow":false,"reason":"pay first"}"#),
        answer(r#"{"allow":true,"nickname":"Ada","more":1}"#),
    ]);
    let server = asking(&receiver, &[Asked::Join], |_| ());
    let mut ann = Client::json(address(&server));
    let client_id = ann.hello();
    join(&mut ann, "relay:1");
    assert_eq!(
        error(&mut ann),
        ("forbidden".to_owned(), "pay first".to_owned())
    );
    join(&mut ann, "relay:1");
    match ann.expect(MessageType::Joined).body {
        ServerBody::Joined(joined) => assert_eq!(joined.members[0].nickname, "Ada"),
        other => panic!("{other:?}"),
    }
    // Of other kinds, and of messages, nobody is asked.
    ann.join("other");
    ann.chat("relay:1", "x");
    ann.expect_chat();
    let got = receiver.requests();
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|it| it.is_signed_by(SECRETS[0])));
    let question = got[0].json();
    assert_eq!(question["type"], "join");
    assert_eq!(question["room_id"], "relay:1");
    assert_eq!(question["kind"], "relay");
    assert_eq!(question["client_id"], *client_id);
    assert_eq!(question["nickname"], "nick");
    assert_eq!(question["id"], *got[0].id);
    assert_eq!(
        (outcome(&server, "allowed"), outcome(&server, "refused")),
        (1, 1)
    );
}

#[test]
fn a_backend_is_asked_what_is_said_and_its_answer_may_be_kept() {
    let receiver = Receiver::start();
    receiver.then(Some(answer(r#"{"allow":true,"cache_ms":600000}"#)));
    receiver.first([answer(r#"{"allow":false}"#)]);
    let server = asking(&receiver, &[Asked::Chat], |_| ());
    let mut ann = Client::json(address(&server));
    ann.join("relay:1");
    ann.chat("relay:1", "bad word");
    assert_eq!(error(&mut ann).0, "forbidden");
    for said in ["one", "two", "three"] {
        ann.chat("relay:1", said);
        assert_eq!(ann.expect_chat().0, said);
    }
    let got = receiver.requests();
    assert_eq!(got.len(), 2, "the second answer is kept");
    assert_eq!(got[0].json()["type"], "chat");
    assert_eq!(got[0].json()["message"]["payload"], "bad word");
    assert_eq!(metric(&server, "roomcast_authorize_known_total"), 2);
}

#[test]
fn a_backend_that_says_nothing_of_use_lets_nobody_in_or_everybody() {
    for (silence, lets_in) in [(Silence::Refuse, false), (Silence::Allow, true)] {
        let receiver = Receiver::start();
        receiver.first([
            answer("no json"),
            Do::Answer(500, r#"{"allow":true}"#.to_owned()),
            answer(r#"{"allow":true,"nickname":"\u0007"}"#),
            Do::Redirect(receiver.url()),
            Do::Hang,
        ]);
        receiver.then(Some(answer(r#"{"allow":true}"#)));
        let server = asking(&receiver, &[Asked::Join], |it| {
            it.silence = silence;
            it.timeout = Duration::from_millis(300);
        });
        for at in 0..5 {
            let mut client = Client::json(address(&server));
            join(&mut client, "relay:1");
            match lets_in {
                true => drop(client.expect(MessageType::Joined)),
                false => assert_eq!(error(&mut client).0, "unavailable", "{at}"),
            }
        }
        let mut client = Client::json(address(&server));
        join(&mut client, "relay:1");
        client.expect(MessageType::Joined);
        eventually("all are counted", || outcome(&server, "silent") == 5);
        assert_eq!(outcome(&server, "allowed"), 1);
    }
}

#[test]
fn while_a_question_waits_others_go_on_and_there_are_not_too_many() {
    let receiver = Receiver::start();
    receiver.then(Some(Do::Hang));
    let server = asking(&receiver, &[Asked::Join], |it| it.most = 1);
    let mut ann = Client::json(address(&server));
    join(&mut ann, "relay:1");
    receiver.wait("the question", |got| got.len() == 1);
    // The same client in another room, and another one, who is not asked about.
    ann.join("other");
    let mut bob = Client::json(address(&server));
    join(&mut bob, "relay:2");
    assert_eq!(error(&mut bob).0, "unavailable");
    assert_eq!(outcome(&server, "busy"), 1);
    assert_eq!(error(&mut ann).0, "unavailable", "after the deadline");
}
