//! The server asks its clients to come back, at the same place or at another.

#![cfg(feature = "net")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod wire;

use std::net::SocketAddr;

use roomcast_client::session::{JoinOptions, Status};
use roomcast_client::{Client, Format, RoomEvent};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wire::{chat, client, proxy, soon, start, switch, url};

/// Passes bytes on, and says what `words` has last, in a frame of its own between two of the server's. Connections are
/// counted.
async fn prompter(
    server: SocketAddr,
    words: watch::Receiver<String>,
) -> (SocketAddr, watch::Receiver<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (made, count) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            made.send_modify(|count| *count += 1);
            let far = TcpStream::connect(server).await.unwrap();
            let mut words = words.clone();
            words.mark_unchanged();
            tokio::spawn(prompt(near, far, words));
        }
    });
    (address, count)
}

async fn prompt(near: TcpStream, far: TcpStream, mut words: watch::Receiver<String>) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut near_read, &mut far_write).await });
    // The handshake's answer ends in an empty line.
    let mut last = [0; 4];
    while last != *b"\r\n\r\n" {
        let byte = far_read.read_u8().await.unwrap();
        last = [last[1], last[2], last[3], byte];
        near_write.write_u8(byte).await.unwrap();
    }
    let mut far_read = tokio::io::BufReader::new(far_read);
    loop {
        tokio::select! {
            ready = far_read.fill_buf() => {
                if ready.is_ok_and(<[u8]>::is_empty) { break }
                let Ok(frame) = next_frame(&mut far_read).await else { break };
                if near_write.write_all(&frame).await.is_err() { break }
            }
            said = words.changed() => {
                if said.is_err() { break }
                let frame = text_frame(&words.borrow_and_update());
                if near_write.write_all(&frame).await.is_err() { break }
            }
        }
    }
    up.abort();
}

/// A whole frame of a server (RFC 6455 section 5.2), as it came.
async fn next_frame(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut frame = from.read_u16().await?.to_be_bytes().to_vec();
    let len = match frame[1] {
        126 => {
            let len = from.read_u16().await?;
            frame.extend(len.to_be_bytes());
            usize::from(len)
        }
        127 => panic!("a frame of over 64 KiB"),
        len => usize::from(len),
    };
    let start = frame.len();
    frame.resize(start + len, 0);
    from.read_exact(&mut frame[start..]).await?;
    Ok(frame)
}

fn text_frame(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).unwrap();
    assert!(len < 126, "longer ones have another header");
    [&[0x81, len], text.as_bytes()].concat()
}

fn reconnect(url: &str) -> String {
    format!(
        r#"{{"type":"reconnect","payload":{{"delay_ms":20,"url":"{url}","reason":"reconnect"}}}}"#
    )
}

async fn reconnecting(client: &Client) -> String {
    let mut status = client.status();
    let gone = |status: &Status| matches!(status, Status::Reconnecting { .. });
    match &*soon(status.wait_for(gone)).await.unwrap() {
        Status::Reconnecting { reason, .. } => reason.code().to_owned(),
        _ => unreachable!(),
    }
}

/// With its session, and from there on as before.
#[tokio::test]
async fn a_client_comes_back_where_the_server_says() {
    let server = start();
    let address = server.local_addrs()[0];
    let (say, words) = watch::channel(String::new());
    let (first, connections) = prompter(address, words).await;
    // A way of its own to the same server.
    let (cut, cuts) = watch::channel(0);
    let second = proxy(address, cuts).await;
    let client = client(first, Format::Json);
    let room = client.room("r");
    let mut events = room.events();
    soon(room.join(JoinOptions::default())).await.unwrap();
    let id = client.client_id();

    say.send_replace(reconnect(&url(second)));
    assert_eq!(reconnecting(&client).await, "reconnect");
    let mut status = client.status();
    let back = |status: &Status| matches!(status, Status::Connected { resumed: true });
    soon(status.wait_for(back)).await.unwrap();
    assert_eq!(client.client_id(), id);
    assert_eq!(*connections.borrow(), 1, "it came back elsewhere");
    soon(room.chat("moved")).await.unwrap();
    assert_eq!(chat(&mut events).await, "moved");

    // The next time it is at home again.
    cut.send_modify(|count| *count += 1);
    let mut connections = connections;
    soon(connections.wait_for(|count| *count == 2))
        .await
        .unwrap();
    soon(room.chat("home")).await.unwrap();
    assert_eq!(chat(&mut events).await, "home");
}

/// A place that can't be reached, or read, is no place: the client's own is.
#[tokio::test]
async fn a_place_that_is_none_brings_a_client_home() {
    let server = start();
    let address = server.local_addrs()[0];
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = url(closed.local_addr().unwrap());
    drop(closed);
    let nowhere = format!("ws://{address}/nowhere");
    // One that answers as if this client were not wanted at all, is none either.
    for place in [nobody.as_str(), "no address at all", nowhere.as_str()] {
        let (say, words) = watch::channel(String::new());
        let (first, mut connections) = prompter(address, words).await;
        let client = client(first, Format::Json);
        let room = client.room("r");
        soon(room.join(JoinOptions::default())).await.unwrap();
        say.send_replace(reconnect(place));
        assert_eq!(reconnecting(&client).await, "reconnect");
        soon(connections.wait_for(|count| *count == 2))
            .await
            .unwrap();
        soon(room.chat("home")).await.unwrap();
    }
}

/// A real server that ends asks everybody to come back, and whoever is there then is found.
#[tokio::test]
async fn who_is_asked_by_a_server_that_ends_finds_the_next_one() {
    let (before, after) = (start(), start());
    let (place, places) = watch::channel(before.local_addrs()[0]);
    let (_cut, cuts) = watch::channel(0);
    let through = switch(places, cuts).await;
    let client = client(through, Format::Protobuf);
    let room = client.room("r");
    let mut events = room.events();
    soon(room.join(JoinOptions::default())).await.unwrap();
    place.send_replace(after.local_addrs()[0]);
    let ending = tokio::task::spawn_blocking(move || before.shutdown());
    assert_eq!(reconnecting(&client).await, "reconnect");
    soon(ending).await.unwrap().unwrap();
    let mut status = client.status();
    let back = |status: &Status| matches!(status, Status::Connected { .. });
    soon(status.wait_for(back)).await.unwrap();
    // The other server has another log.
    let gap = async { while !matches!(events.next().await, Some(RoomEvent::Gap { .. })) {} };
    soon(gap).await;
    soon(room.chat("on")).await.unwrap();
    assert_eq!(chat(&mut events).await, "on");
}
