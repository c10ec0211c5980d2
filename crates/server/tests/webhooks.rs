//! Webhooks: a backend is told what happens, over real HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;
#[path = "common/receiver.rs"]
mod receiver;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Client, address, eventually, metric, start};
use receiver::{Do, Got, Receiver, SECRETS};
use roomcast_protocol::{Incoming, MessageType, Request};
use roomcast_server::RunningServer;
use roomcast_server::config::{Config, EventType, WebhookSettings};
use serde_json::{Value, json};

fn webhook(url: String, events: &[EventType]) -> WebhookSettings {
    WebhookSettings {
        name: "shop".to_owned(),
        url,
        secret: SECRETS[0].to_owned().into(),
        events: events.to_vec(),
        ..WebhookSettings::default()
    }
}

/// A server that tells a receiver of these.
fn telling(
    receiver: &Receiver,
    events: &[EventType],
    change: impl FnOnce(&mut WebhookSettings),
) -> RunningServer {
    let mut webhook = webhook(receiver.url(), events);
    change(&mut webhook);
    start(|config| config.webhooks = vec![webhook])
}

fn of_type<'a>(events: &'a [Value], event: &str) -> Vec<&'a Value> {
    events.iter().filter(|it| it["type"] == event).collect()
}

fn counted(server: &RunningServer, outcome: &str) -> u64 {
    let name = format!("roomcast_webhook_events_total{{webhook=\"shop\",outcome=\"{outcome}\"}}");
    metric(server, &name)
}

#[test]
fn a_backend_is_told_what_happens_and_can_check_who_says_so() {
    let receiver = Receiver::start();
    let server = telling(&receiver, &EventType::ALL, |_| ());
    let mut ann = Client::json(address(&server));
    let client_id = ann.hello();
    ann.join("relay:1");
    ann.chat("relay:1", "hello");
    let offset = ann.expect_chat().1;
    ann.request(&Incoming::new(Request::LeaveRoom).in_room("relay:1"));
    ann.expect(MessageType::PlayerLeft);
    ann.frame(roomcast_websocket::Opcode::Close, &1000_u16.to_be_bytes());
    let events = receiver.wait_for(7);
    let room = |name: &str| {
        let found = of_type(&events, name);
        assert_eq!(found.len(), 1, "{events:#?}");
        assert_eq!(found[0]["room_id"], "relay:1");
        found[0].clone()
    };
    let (joined, left) = (room("member.joined"), room("member.left"));
    room("room.opened");
    room("room.emptied");
    assert_eq!(joined["client_id"], *client_id);
    assert_eq!(
        (&joined["player_num"], &joined["members"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(left["members"], 0);
    let message = room("message");
    assert_eq!(message["message"]["payload"], "hello");
    assert_eq!(message["message"]["offset"], offset);
    assert_eq!(message["message"]["from_client_id"], *client_id);
    for name in ["session.began", "session.ended"] {
        assert_eq!(of_type(&events, name)[0]["client_id"], *client_id);
    }
    // In the order of the room.
    let of_room = events.iter().filter(|it| it["room_id"] == "relay:1");
    let order: Vec<_> = of_room.map(|it| it["type"].as_str().unwrap()).collect();
    let expected = [
        "room.opened",
        "member.joined",
        "message",
        "member.left",
        "room.emptied",
    ];
    assert_eq!(order, expected);
    let mut ids: Vec<_> = events.iter().map(|it| it["id"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "each has an id of its own");
    for got in receiver.requests() {
        assert!(got.is_signed_by(SECRETS[0]) && !got.is_signed_by(SECRETS[1]));
    }
    eventually("all are counted", || counted(&server, "sent") == 7);
}

#[test]
fn what_happens_within_some_milliseconds_goes_with_one_request() {
    const EVENTS: usize = 500;
    let receiver = Receiver::start();
    let server = telling(&receiver, &[EventType::Message], |it| {
        it.batch_events = EVENTS as u32;
    });
    let mut ann = Client::json(address(&server));
    ann.join("relay:1");
    let begun = Instant::now();
    for _ in 0..EVENTS {
        ann.chat("relay:1", "hello");
        ann.expect_chat();
    }
    receiver.wait_for(EVENTS);
    let took = begun.elapsed();
    let (requests, most) = (receiver.requests().len(), took.as_millis() / 10 + 2);
    assert!(
        requests as u128 <= most,
        "{requests} requests in {took:?}, which is more than one each 10 ms"
    );
}

#[test]
fn refused_clients_are_told_of_together() {
    let receiver = Receiver::start();
    let server = telling(&receiver, &[EventType::ConnectionRefused], |_| ());
    for _ in 0..5 {
        let mut stream = TcpStream::connect(address(&server)).unwrap();
        let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
    }
    let count = |got: &[Got]| -> u64 {
        let events = got.iter().flat_map(Got::events);
        events.map(|it| it["count"].as_u64().unwrap()).sum()
    };
    let got = receiver.wait("five refusals", |got| count(got) == 5);
    assert!(
        got.iter()
            .flat_map(Got::events)
            .all(|it| it["cause"] == "handshake")
    );
}

#[test]
fn what_a_receiver_does_not_take_is_sent_again_alike_and_in_order() {
    let receiver = Receiver::start();
    let elsewhere = Receiver::start();
    receiver.first([
        Do::Answer(500, "no".to_owned()),
        Do::Redirect(elsewhere.url()),
        Do::Answer(200, String::new()),
        Do::Answer(404, "x".repeat(100_000)),
    ]);
    let server = telling(&receiver, &[EventType::Message], |it| it.batch_events = 3);
    let mut ann = Client::json(address(&server));
    ann.join("relay:1");
    for at in 0..10 {
        ann.chat("relay:1", &at.to_string());
    }
    let events = receiver.wait_for(10);
    let said: Vec<_> = events
        .iter()
        .map(|it| it["message"]["payload"].clone())
        .collect();
    let expected: Vec<_> = (0..10).map(|it| json!(it.to_string())).collect();
    assert_eq!(said, expected);
    let got = receiver.requests();
    assert_eq!(got[0].id, got[1].id);
    assert_eq!((&got[0].body, &got[0].id), (&got[2].body, &got[2].id));
    assert_ne!(got[2].id, got[3].id);
    assert_eq!((&got[3].body, &got[3].id), (&got[4].body, &got[4].id));
    assert!(
        elsewhere.requests().is_empty(),
        "redirects are not followed"
    );
    let failed = "roomcast_webhook_requests_total{webhook=\"shop\",outcome=\"failed\"}";
    assert_eq!(metric(&server, failed), 3);
}

#[test]
fn a_slow_receiver_gets_all_in_order_and_one_request_of_a_room_at_a_time() {
    const LATE: Duration = Duration::from_millis(100);
    let receiver = Receiver::start();
    receiver.then(Some(Do::Late(LATE)));
    let server = telling(&receiver, &[EventType::Message], |it| it.batch_events = 8);
    let mut ann = Client::json(address(&server));
    ann.join("relay:1");
    for at in 0..40 {
        ann.chat("relay:1", &at.to_string());
        ann.expect_chat();
    }
    let events = receiver.wait_for(40);
    let said = events.iter().map(|it| it["message"]["payload"].clone());
    assert!(
        said.eq((0..40).map(|it| json!(it.to_string()))),
        "{events:#?}"
    );
    let got = receiver.requests();
    for (one, next) in got.iter().zip(&got[1..]) {
        assert!(next.at - one.at >= LATE, "the one before has its answer");
    }
    let failed = "roomcast_webhook_requests_total{webhook=\"shop\",outcome=\"failed\"}";
    assert_eq!(metric(&server, failed), 0);
}

#[test]
fn a_receiver_that_asks_for_time_gets_it() {
    let receiver = Receiver::start();
    receiver.first([Do::Busy(1)]);
    let server = telling(&receiver, &[EventType::Message], |_| ());
    let mut ann = Client::json(address(&server));
    ann.join("relay:1");
    ann.chat("relay:1", "hello");
    receiver.wait_for(1);
    let got = receiver.requests();
    assert_eq!((got.len(), &got[0].id), (2, &got[1].id));
    // Without being asked it would have come again after half a second at most.
    assert!(got[1].at - got[0].at >= Duration::from_secs(1));
}

#[test]
fn a_receiver_that_hangs_delays_no_client_and_what_has_no_room_is_told() {
    let receiver = Receiver::start();
    receiver.then(Some(Do::Hang));
    let server = telling(&receiver, &[EventType::Message], |it| {
        it.queue_events = 20;
        it.timeout = Duration::from_millis(50);
        it.batch_events = 10;
    });
    let (mut ann, mut bob) = (
        Client::json(address(&server)),
        Client::json(address(&server)),
    );
    ann.join("relay:1");
    bob.join("relay:1");
    for at in 0..100 {
        ann.chat("relay:1", &at.to_string());
    }
    for at in 0..100 {
        assert_eq!(bob.expect_chat().0, at.to_string());
    }
    eventually("the bound is reached", || counted(&server, "full") == 80);
    receiver.wait("one is given up", |got| got.len() >= 2);
    receiver.then(None);
    let events = receiver.wait_for(20);
    let said: Vec<_> = events
        .iter()
        .map(|it| it["message"]["payload"].clone())
        .collect();
    let expected: Vec<_> = (0..20).map(|it| json!(it.to_string())).collect();
    assert_eq!(said, expected, "what was there first");
    let bodies: Vec<_> = receiver.requests().iter().map(Got::json).collect();
    let dropped: BTreeMap<_, _> = receiver
        .requests()
        .iter()
        .zip(&bodies)
        .map(|(got, body)| (got.id.clone(), body["dropped"].as_u64().unwrap_or(0)))
        .collect();
    ann.chat("relay:1", "last");
    receiver.wait_for(21);
    let last = receiver.requests().last().unwrap().json();
    let told = dropped.values().sum::<u64>() + last["dropped"].as_u64().unwrap_or(0);
    assert_eq!(told, 80, "the receiver knows how many it lacks");
}

#[test]
fn a_receiver_that_is_gone_for_too_long_gets_what_is_new() {
    let free = Receiver::start().address;
    let server = start(|config| {
        let mut webhook = webhook(format!("http://{free}/"), &[EventType::Message]);
        webhook.retry_for = Duration::from_millis(200);
        config.webhooks = vec![webhook];
    });
    let mut ann = Client::json(address(&server));
    ann.join("relay:1");
    ann.chat("relay:1", "old");
    eventually("it is given up", || counted(&server, "expired") == 1);
    let receiver = Receiver::at(free);
    ann.chat("relay:1", "new");
    let events = receiver.wait_for(1);
    assert_eq!(events[0]["message"]["payload"], "new");
    assert_eq!(receiver.requests()[0].json()["dropped"], 1);
}

#[test]
fn secrets_change_while_the_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, SECRETS[0]).unwrap();
    let receiver = Receiver::start();
    let server = start(|config: &mut Config| {
        let mut webhook = webhook(receiver.url(), &[EventType::Message]);
        webhook.secret = Default::default();
        webhook.secret_path = path.display().to_string();
        config.webhooks = vec![webhook];
        config.auth.reload_interval = Duration::from_millis(5);
    });
    let mut ann = Client::json(address(&server));
    ann.join("relay:1");
    let mut signed_by = |wanted: [bool; 2]| {
        receiver.wait("signed so", |got| {
            ann.chat("relay:1", "x");
            ann.expect_chat();
            got.last()
                .is_some_and(|it| SECRETS.map(|secret| it.is_signed_by(secret)) == wanted)
        });
    };
    signed_by([true, false]);
    std::fs::write(&path, format!("{}\n{}\n", SECRETS[1], SECRETS[0])).unwrap();
    signed_by([true, true]);
    std::fs::write(&path, SECRETS[1]).unwrap();
    signed_by([false, true]);
}

#[test]
fn kinds_samples_and_several_receivers() {
    let (all, some) = (Receiver::start(), Receiver::start());
    let server = start(|config| {
        let everything = webhook(all.url(), &[EventType::Message]);
        let part = WebhookSettings {
            name: "part".to_owned(),
            kinds: vec!["relay".to_owned()],
            sample: 0.25,
            ..webhook(some.url(), &[EventType::Message, EventType::RoomOpened])
        };
        config.webhooks = vec![everything, part];
    });
    let mut ann = Client::json(address(&server));
    ann.join("other");
    ann.join("relay:1");
    for _ in 0..200 {
        ann.chat("other", "o");
        ann.chat("relay:1", "r");
    }
    let events = all.wait_for(400);
    assert_eq!(of_type(&events, "message").len(), 400);
    assert!(of_type(&events, "room.opened").is_empty());
    // The router is done with all of them.
    eventually("nothing waits", || {
        let waiting = "roomcast_webhook_waiting{webhook=\"part\",where=\"process\"}";
        metric(&server, waiting) == 0
    });
    let events = some.events();
    assert!(events.iter().all(|it| it["room_id"] == "relay:1"));
    assert_eq!(of_type(&events, "room.opened").len(), 1);
    let messages = of_type(&events, "message").len();
    assert!((20..90).contains(&messages), "{messages} of 200");
}

#[test]
fn what_happened_last_is_told_before_the_server_ends() {
    let receiver = Receiver::start();
    receiver.first([Do::Answer(503, String::new())]);
    let server = telling(&receiver, &[EventType::Message], |_| ());
    let mut ann = Client::json(address(&server));
    ann.join("relay:1");
    ann.chat("relay:1", "last");
    ann.expect_chat();
    server.shutdown().unwrap();
    assert_eq!(receiver.events().len(), 1);
}
