//! Event streams behind a balancer that sends each request anywhere.

use std::net::SocketAddr;

use rustix::process::Signal;

use crate::event_stream::{Heard, Stream, chat, forged, refused_unread};
use crate::process::Process;
use crate::redis_server::Server as Redis;
use crate::settings;
use crate::two::{servers, servers_with};

const HELLO: &str = r#"{"version":1}"#;

/// Posts the next batch to one of the servers, again until it is taken, as a client does.
fn post(stream: &mut Stream, to: SocketAddr, lines: &str) {
    stream.batch += 1;
    loop {
        let answer = stream.post_to(to, stream.batch, lines, &[]);
        match answer.status {
            204 => return,
            503 => {}
            _ => panic!("{answer:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_posted_to_any_server_gets_to_the_stream_once_and_in_order() {
    let redis = Redis::start([""; 0]);
    let servers = servers(&redis, 3).await;
    let at = |number: usize| servers[number % servers.len()].address;
    let test = move |at: &dyn Fn(usize) -> SocketAddr| {
        let mut streams: Vec<_> = (0..3).map(|number| Stream::open(at(number))).collect();
        for (number, stream) in streams.iter_mut().enumerate() {
            post(
                stream,
                at(number + 1),
                &format!(r#"{{"type":"hello","payload":{HELLO}}}"#),
            );
            stream.expect("welcome");
            post(
                stream,
                at(number + 2),
                r#"{"type":"join_room","room_id":"chat:1"}"#,
            );
            stream.expect("joined");
        }
        let mut said = Vec::new();
        for number in 0..30 {
            let text = format!("{number}");
            let stream = &mut streams[number % 2];
            post(stream, at(number / 2), &chat("chat:1", &text));
            // A proxy has repeated it, at another server.
            let again = stream.post_to(
                at(number / 2 + 1),
                stream.batch,
                &chat("chat:1", &text),
                &[],
            );
            assert_eq!(again.status, 204, "{again:?}");
            said.push(text);
            for stream in &mut streams {
                assert_eq!(stream.expect("chat")["payload"], said[number].as_str());
            }
        }
        for (number, stream) in streams.iter().enumerate() {
            let early = stream.post_to(at(number + 1), stream.batch + 2, "", &[]);
            assert_eq!(early.status, 409);
            // Neither its own node nor another one reads what comes for a guess.
            for server in 0..2 {
                let status = refused_unread(at(number + server), &forged(&stream.id));
                assert_eq!(status, 410);
            }
        }
        streams
    };
    let mut streams = test(&at);
    // Goodbye by way of another server.
    let last = &streams[2];
    let bye = last.post_to(at(0), last.batch + 1, "", &["roomcast-close: 1000"]);
    assert_eq!(bye.status, 204);
    assert_eq!(streams[2].expect_close().0, 1000);
    streams[0].expect("player_left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_server_is_gone_is_told_so_and_its_session_goes_on_at_another() {
    let redis = Redis::start([""; 0]);
    let mut servers = servers(&redis, 2).await;
    let (first, second): (Process, Process) = (servers.remove(0), servers.remove(0));
    let mut stream = Stream::open(first.address);
    let welcome = stream.hello(HELLO);
    stream.join("chat:1");
    post(&mut stream, second.address, &chat("chat:1", "one"));
    assert_eq!(stream.expect("chat")["payload"], "one");
    first.signal(Signal::KILL);
    let gone = loop {
        let answer = stream.post_to(second.address, stream.batch + 1, &chat("chat:1", "x"), &[]);
        match answer.status {
            // Until the other servers know.
            503 => {}
            status => break status,
        }
    };
    assert_eq!(gone, 410);
    let mut next = Stream::open(second.address);
    let token = welcome["resume_token"].as_str().unwrap();
    let hello =
        format!(r#"{{"version":1,"resume_token":"{token}","positions":[{{"room_id":"chat:1"}}]}}"#);
    next.send(&format!(r#"{{"type":"hello","payload":{hello}}}"#));
    let welcome = next.expect("welcome");
    assert_eq!(welcome["payload"]["resumed"], true);
    next.expect("joined");
    next.send(&chat("chat:1", "two"));
    next.until(|message| message["type"] == "chat" && message["payload"] == "two");
}

/// What one server could hand over to another is told to each client, and nothing larger is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_batch_passes_from_server_to_server_and_a_larger_one_is_refused_by_each() {
    let redis = Redis::start([""; 0]);
    let mut settings = settings(&redis);
    for setting in [
        "limits.max_message=16MiB",
        "queues.event_lane=32MiB",
        "queues.publish_window=16MiB",
        "queues.link_window=32MiB",
    ] {
        settings.push(setting.to_owned());
    }
    let servers = servers_with(&settings, 2).await;
    let mut stream = Stream::open(servers[0].address);
    stream.hello(HELLO);
    assert!(stream.max_body < 4 << 20, "{}", stream.max_body);
    let ping = r#"{"type":"ping","payload":1}"#;
    let pings = |bytes: usize| format!("{ping}{}", " ".repeat(bytes - ping.len()));
    for server in &servers {
        let answer = stream.post_to(
            server.address,
            stream.batch + 1,
            &pings(stream.max_body + 1),
            &[],
        );
        assert_eq!(answer.status, 413, "{answer:?}");
        let most = pings(stream.max_body);
        post(&mut stream, server.address, &most);
        stream.expect("pong");
    }
}

/// While its session is written it takes nothing: that once kept it from being pinged until the next other timer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_said_hello_and_is_silent_is_pinged() {
    let redis = Redis::start([""; 0]);
    let mut settings = settings(&redis);
    for setting in ["heartbeat.ping_interval=200ms", "heartbeat.write_timeout=0"] {
        settings.push(setting.to_owned());
    }
    let servers = servers_with(&settings, 1).await;
    let mut stream = Stream::open(servers[0].address);
    stream.hello(HELLO);
    stream.join("chat:1");
    for _ in 0..4 {
        while stream.next() != Heard::Comment {}
    }
}
