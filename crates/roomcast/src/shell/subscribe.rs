//! `roomcast sub`.

use std::io::{Write, stderr, stdout};
use std::pin::pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roomcast_client::session::{JoinOptions, Status};
use roomcast_client::{
    Action, Client, Content, Message, Payload, PayloadKind, Position, RoomEvent,
};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::http::tls;
use super::{Failure, SubArgs, secret, variable};

/// A place in a log: `EPOCH:OFFSET`.
pub(super) fn place(text: &str) -> Result<Position, String> {
    let place = text.rsplit_once(':');
    let place = place.and_then(|(epoch, offset)| Some((epoch, offset.parse().ok()?)));
    match place {
        Some((epoch, offset)) if !epoch.is_empty() => Ok(Position {
            epoch: epoch.to_owned(),
            offset,
        }),
        _ => Err("write EPOCH:OFFSET, such as 5cc1a2e9b07d4f36:12".to_owned()),
    }
}

pub(super) fn run(args: SubArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(error.to_string()))?;
    runtime.block_on(follow(args))
}

async fn follow(args: SubArgs) -> Result<(), Failure> {
    let url = args.url.clone().or_else(|| variable("ROOMCAST_URL"));
    let url = url.unwrap_or_else(|| "ws://127.0.0.1:8080".to_owned());
    let mut builder = Client::builder(&url);
    if let Some(token) = secret("token", args.token_file.as_deref(), "ROOMCAST_TOKEN")? {
        builder = builder.token(token);
    }
    if args.ca.is_some() {
        builder = builder.tls(tls(args.ca.as_deref())?);
    }
    let client = builder
        .connect()
        .map_err(|error| Failure::usage(format!("{url}: {error}")))?;
    let room = client.room(&args.room);
    let mut events = room.events();
    let mut joining = pin!(room.join(JoinOptions {
        since: args.since.clone(),
        nickname: args.nickname.clone(),
        ..JoinOptions::default()
    }));
    let mut is_joined = false;
    let mut status = client.status();
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let event = tokio::select! {
            event = events.next() => event,
            result = &mut joining, if !is_joined => {
                result.map_err(|error| Failure::new(error.to_string()))?;
                is_joined = true;
                continue;
            }
            _ = status.changed() => {
                match &*status.borrow_and_update() {
                    Status::Reconnecting { reason, .. } => tell(&format!("not connected: {reason}")),
                    Status::Closed(error) => return Err(Failure::new(error.to_string())),
                    Status::Connecting | Status::Connected { .. } => {}
                }
                continue;
            }
            _ = tokio::signal::ctrl_c() => break,
        };
        match event {
            Some(RoomEvent::Joined { .. }) => tell(&format!("in {}", args.room)),
            Some(RoomEvent::Message(message)) => {
                let line = match args.json {
                    true => as_json(&message),
                    false => as_text(&message),
                };
                let Some(line) = line.filter(|_| args.members || is_said(&message)) else {
                    continue;
                };
                if writeln!(stdout(), "{line}").is_err() {
                    // Whoever reads it has seen enough.
                    break;
                }
                left -= 1;
            }
            Some(RoomEvent::Gap { .. }) => tell("messages are missing here"),
            Some(RoomEvent::Left(Some(error))) => return Err(Failure::new(error.to_string())),
            None | Some(RoomEvent::Left(None)) => break,
            Some(_) => {}
        }
    }
    client.close().await;
    Ok(())
}

/// How it stands, for people. Nothing depends on it.
fn tell(sentence: &str) {
    let _ = writeln!(stderr(), "roomcast: {sentence}");
}

fn is_said(message: &Message) -> bool {
    !matches!(
        message.content,
        Content::PlayerJoined(_) | Content::PlayerLeft { .. }
    )
}

/// Who has sent it, as people call it.
fn sender(message: &Message) -> &str {
    let names = [&message.service, &message.user, &message.from];
    names
        .into_iter()
        .find(|it| !it.is_empty())
        .map_or("*", |it| it.as_str())
}

fn as_text(message: &Message) -> Option<String> {
    let shown = |payload: &Payload| match payload.kind() {
        PayloadKind::Bytes => format!("<{} bytes>", payload.data().len()),
        _ => payload.as_text().unwrap_or_default().to_owned(),
    };
    let what = match &message.content {
        Content::Chat(payload) => shown(payload),
        Content::Event { name, payload } => format!("{name} {}", shown(payload)),
        Content::Action(action) => format!("{} {}", action.name, params(action)),
        Content::PlayerJoined(member) => format!("joined as player {}", member.player_num),
        Content::PlayerLeft { player_num, .. } => format!("left, player {player_num}"),
    };
    // A terminal obeys some of them, whoever has sent them.
    let is_safe = |it: &char| !it.is_control() || *it == '\t';
    let what: String = what.chars().filter(is_safe).collect();
    Some(format!("{}: {what}", sender(message)))
}

fn params(action: &Action) -> Value {
    let params = action.params.iter();
    params
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect::<Map<_, _>>()
        .into()
}

fn as_json(message: &Message) -> Option<String> {
    let mut shown = json!({ "timestamp": message.timestamp });
    let texts = [
        ("from_client_id", &message.from),
        ("from_user_id", &message.user),
        ("from_service", &message.service),
    ];
    for (name, text) in texts {
        if !text.is_empty() {
            shown[name] = text.as_str().into();
        }
    }
    if let Some(position) = &message.position {
        shown["epoch"] = position.epoch.as_str().into();
        shown["offset"] = position.offset.into();
    }
    let (kind, name, payload) = match &message.content {
        Content::Chat(payload) => ("chat", None, Some(payload)),
        Content::Event { name, payload } => ("event", Some(name), Some(payload)),
        Content::Action(action) => {
            shown["action"] = action.name.as_str().into();
            shown["params"] = params(action);
            ("game_action", None, None)
        }
        Content::PlayerJoined(member) => {
            shown["player_id"] = member.player_id.as_str().into();
            shown["player_num"] = member.player_num.into();
            ("player_joined", None, None)
        }
        Content::PlayerLeft {
            player_num,
            player_id,
        } => {
            shown["player_id"] = player_id.as_str().into();
            shown["player_num"] = (*player_num).into();
            ("player_left", None, None)
        }
    };
    shown["type"] = kind.into();
    if let Some(name) = name {
        shown["name"] = name.as_str().into();
    }
    let Some(payload) = payload.filter(|it| !it.is_none()) else {
        return Some(shown.to_string());
    };
    let text = match payload.kind() {
        PayloadKind::Json => payload.as_text()?.to_owned(),
        PayloadKind::Text => Value::from(payload.as_text()?).to_string(),
        PayloadKind::Bytes => {
            shown["payload_kind"] = "bytes".into();
            Value::from(STANDARD.encode(payload.data())).to_string()
        }
    };
    // JSON passes as it is: some of it is no value of ours.
    serde_json::from_str::<&RawValue>(&text).ok()?;
    let mut line = shown.to_string();
    line.pop();
    Some(format!("{line},\"payload\":{text}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_epoch_and_an_offset() {
        let position = place("5cc1:12").unwrap();
        assert_eq!((position.epoch.as_str(), position.offset), ("5cc1", 12));
        for wrong in ["", "5cc1", ":12", "5cc1:x"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
