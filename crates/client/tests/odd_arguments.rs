//! What no good application passes: `tests/odd/arguments.json`. None of it outlives its call.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod wire;

use roomcast_client::session::{JoinOptions, SendOptions};
use roomcast_client::{
    Action, Client, Error, Format, HistoryRequest, Payload, Position, Publish, Recipient, Room,
};
use serde_json::Value;
use wire::{client, soon, start_with};

/// This can't be made, or passed, in Rust.
struct Elsewhere;

/// The argument that an entry stands for.
fn made(value: &Value) -> Result<Value, Elsewhere> {
    let times = |key: &str| usize::try_from(value[key].as_u64().unwrap()).unwrap();
    Ok(match (value, value["$"].as_str()) {
        (Value::Array(items), _) => items.iter().map(made).collect::<Result<_, _>>()?,
        (Value::Object(keys), None) => {
            let keys = keys.iter().map(|(key, it)| Ok((key.clone(), made(it)?)));
            Value::Object(keys.collect::<Result<_, _>>()?)
        }
        (_, None) => value.clone(),
        (_, Some("text")) => value["of"].as_str().unwrap().repeat(times("times")).into(),
        // Dropping deeper ones takes more stack than a thread has, before any client is asked.
        (_, Some("nested")) if times("depth") < 1_000 => {
            (0..times("depth")).fold(Value::from(0), |inner, _| vec![inner].into())
        }
        _ => return Err(Elsewhere),
    })
}

fn text(args: &Value, key: &str) -> Result<Option<String>, Elsewhere> {
    match &args[key] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(Elsewhere),
    }
}

fn keys(args: &Value, key: &str) -> serde_json::Map<String, Value> {
    args[key].as_object().cloned().unwrap_or_default()
}

fn whole<T: TryFrom<u64>>(args: &Value, key: &str) -> Result<Option<T>, Elsewhere> {
    match &args[key] {
        Value::Null => Ok(None),
        value => {
            let number = value.as_u64().ok_or(Elsewhere)?;
            Ok(Some(T::try_from(number).map_err(|_| Elsewhere)?))
        }
    }
}

async fn call(
    client: &Client,
    room: &Room,
    call: &str,
    args: &Value,
) -> Result<Result<(), Error>, Elsewhere> {
    let payload = || Payload::from(args["payload"].clone());
    let name = text(args, "name")?.unwrap_or_default();
    Ok(match call {
        "join" => {
            let other = client.room(&text(args, "room")?.unwrap_or_default());
            let since = match &args["since"] {
                Value::Null => None,
                since => Some(Position {
                    epoch: text(since, "epoch")?.unwrap_or_default(),
                    offset: whole(since, "offset")?.unwrap_or_default(),
                }),
            };
            let options = JoinOptions {
                since,
                nickname: text(args, "nickname")?,
                token: text(args, "token")?,
                presence: keys(args, "presence"),
            };
            let joined = soon(other.join(options)).await.map(|_| ());
            soon(other.leave()).await;
            joined
        }
        "chat" => soon(room.chat(payload())).await.map(|_| ()),
        "event" => soon(room.event(&name, payload())).await.map(|_| ()),
        "direct" => {
            let to = match (text(args, "client")?, text(args, "user")?) {
                (Some(id), None) if id == "self" => Recipient::Client(client.client_id()),
                (Some(id), None) => Recipient::Client(id),
                (None, Some(id)) => Recipient::User(id),
                _ => return Err(Elsewhere),
            };
            let publish = Publish::Chat(payload());
            let sending = client.direct(to, publish, SendOptions::default());
            soon(sending).await.map(|_| ())
        }
        "action" => {
            let keys = keys(args, "keys").into_iter();
            let name = text(args, "action")?.unwrap_or_default();
            let action = keys.fold(Action::new(name), |action, (key, value)| {
                action.param(key, value.as_str().unwrap_or_default())
            });
            room.action(&action)
        }
        "presence" => room.update_presence(keys(args, "keys")),
        "signal" => room.ephemeral(&name, payload()),
        "history" => {
            let request = HistoryRequest {
                after: whole(args, "after")?,
                before: whole(args, "before")?.unwrap_or_default(),
                ..HistoryRequest::default()
            };
            let mut history = room.history(request);
            loop {
                match soon(history.next()).await {
                    Ok(Some(_)) => {}
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
        }
        "members" => {
            let after = whole(args, "after")?.unwrap_or_default();
            soon(room.members_page(after, 0)).await.map(|_| ())
        }
        other => panic!("{other}"),
    })
}

#[tokio::test]
async fn an_odd_argument_does_not_outlive_its_call() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/odd/arguments.json"
    );
    let file: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let server = start_with(|config| config.core.max_offences = 0);
    for format in [Format::Json, Format::Protobuf] {
        let client = client(server.local_addrs()[0], format);
        let room = client.room("r");
        soon(room.join(JoinOptions::default())).await.unwrap();
        let status = client.status();
        let mut ran = 0;
        let mut faults = Vec::new();
        for entry in file["calls"].as_array().unwrap() {
            let name = entry["name"].as_str().unwrap();
            let Ok(args) = made(&entry["with"]) else {
                continue;
            };
            let result = call(&client, &room, entry["call"].as_str().unwrap(), &args).await;
            let Ok(result) = result else {
                continue;
            };
            ran += 1;
            let good = match entry["then"].as_str().unwrap() {
                "refused" | "refused_here" => {
                    // What has no answer of its own is refused by an event.
                    result.is_err() || name.starts_with("action_")
                }
                "works" => result.is_ok(),
                _ => true,
            };
            if !good {
                faults.push(format!("{format:?} {name}: {result:?}"));
            }
            soon(room.chat("next")).await.unwrap();
            let own = Recipient::Client(client.client_id());
            let next = Publish::Chat("next".into());
            soon(client.direct(own, next, SendOptions::default()))
                .await
                .unwrap();
            let changed = status.has_changed().unwrap();
            assert!(!changed, "{name}: {:?}", *client.status().borrow());
        }
        assert!(ran > 50, "{ran}");
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
