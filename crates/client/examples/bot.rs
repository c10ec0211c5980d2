//! A bot in a room: it greets who comes, answers what is said to it, and stays through reconnections.
//!
//! ```sh
//! cargo run -p roomcast-client --example bot -- ws://127.0.0.1:8080 room-123
//! ```
//!
//! Without arguments it goes to that server and that room. `cargo run --release` starts the server, and shows the room at
//! <http://localhost:8080/?room=room-123>.

use roomcast_client::session::{JoinOptions, Status};
use roomcast_client::{Client, Content, Error, Message, Room, RoomEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next();
    let room = arguments.next();
    let client = Client::connect(url.as_deref().unwrap_or("ws://127.0.0.1:8080"))?;
    let room = client.room(room.as_deref().unwrap_or("room-123"));
    tokio::select! {
        result = stay(&client, &room) => result,
        error = tell(&client) => Err(error),
        _ = tokio::signal::ctrl_c() => {
            client.close().await;
            Ok(())
        }
    }
}

/// Until the client is closed, or put out of the room.
pub async fn stay(client: &Client, room: &Room) -> Result<(), Error> {
    // Made before the join, the stream misses nothing.
    let mut events = room.events();
    let options = JoinOptions {
        nickname: Some("Robot".to_owned()),
        ..JoinOptions::default()
    };
    room.join(options).await?;
    room.chat("I am a bot. Say !help.").await?;
    while let Some(event) = events.next().await {
        match event {
            RoomEvent::Message(message) if message.from != client.client_id() => {
                if let Some(answer) = answer(client, room, &message) {
                    // Nobody waits for the receipt: it is sent all the same, again after a reconnection if need be.
                    room.chat(answer);
                }
            }
            RoomEvent::Gap { .. } => {
                room.chat("I was away for too long, and missed something.");
            }
            RoomEvent::Left(Some(error)) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn answer(client: &Client, room: &Room, message: &Message) -> Option<String> {
    let said = match &message.content {
        Content::PlayerJoined(member) => {
            return Some(format!("Hello, {}!", name(&member.nickname)));
        }
        Content::Chat(payload) => payload.parse::<String>().ok()?,
        _ => return None,
    };
    match said.trim() {
        "!help" => Some("!help, !who, !rtt".to_owned()),
        "!who" => {
            let members = room.members()?;
            let names = members.listed.values().map(|it| name(&it.nickname));
            Some(format!(
                "{}: {}",
                members.total,
                names.collect::<Vec<_>>().join(", ")
            ))
        }
        "!rtt" => Some(format!("{} ms to the server and back", client.rtt()?)),
        _ => None,
    }
}

fn name(nickname: &str) -> &str {
    if nickname.is_empty() {
        "somebody"
    } else {
        nickname
    }
}

/// What becomes of the connection, until it is closed for good: why.
async fn tell(client: &Client) -> Error {
    let mut status = client.status();
    loop {
        match &*status.borrow_and_update() {
            Status::Connecting => eprintln!("connecting"),
            Status::Connected { resumed } => eprintln!("connected, resumed: {resumed}"),
            Status::Reconnecting { reason, .. } => eprintln!("reconnecting: {reason}"),
            Status::Closed(error) => return error.clone(),
        }
        // The sender lives as long as the client.
        let _ = status.changed().await;
    }
}
