//! What is sent and received, owned.

use std::borrow::Cow;
use std::sync::Arc;

use roomcast_protocol::client::{Member, ServerBody, ServerMessage};
use roomcast_protocol::{
    Format, GameAction, IncomingPayload, Limits, LogPosition, PayloadKind, Position as Place,
    Request,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A payload: JSON, text or bytes, as its sender declared it. Cloning it copies no data.
///
/// ```
/// use roomcast_client::Payload;
///
/// let payload = Payload::json(&vec![1, 2]).unwrap();
/// assert_eq!(payload.parse::<Vec<u32>>().unwrap(), [1, 2]);
/// assert_eq!(Payload::from("hello").as_text(), Some("hello"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    kind: PayloadKind,
    data: Arc<[u8]>,
}

impl Payload {
    /// No payload at all.
    pub fn none() -> Payload {
        Payload {
            kind: PayloadKind::Json,
            data: Arc::default(),
        }
    }

    /// A JSON value.
    ///
    /// # Errors
    /// The value can't be written as JSON: a map with keys that are no strings, or its own `Serialize` says no.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Payload> {
        Ok(Payload {
            kind: PayloadKind::Json,
            data: serde_json::to_vec(value)?.into(),
        })
    }

    /// A text.
    pub fn text(text: &str) -> Payload {
        Payload {
            kind: PayloadKind::Text,
            data: text.as_bytes().into(),
        }
    }

    /// Bytes.
    pub fn bytes(data: &[u8]) -> Payload {
        Payload {
            kind: PayloadKind::Bytes,
            data: data.into(),
        }
    }

    /// What the data is.
    pub fn kind(&self) -> PayloadKind {
        self.kind
    }

    /// JSON text, UTF-8 text, or bytes as they are.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.kind == PayloadKind::Json && self.data.is_empty()
    }

    /// The text, if it is one: of the kind `text`, or JSON's text.
    pub fn as_text(&self) -> Option<&str> {
        match self.kind {
            PayloadKind::Bytes => None,
            _ => std::str::from_utf8(&self.data).ok(),
        }
    }

    /// Reads JSON. A `text` payload reads as a JSON string.
    ///
    /// # Errors
    /// It is not JSON, or not what `T` looks like.
    pub fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        match (self.kind, self.as_text()) {
            (PayloadKind::Text, Some(text)) => {
                serde_json::from_value(serde_json::Value::String(text.to_owned()))
            }
            _ => serde_json::from_slice(&self.data),
        }
    }

    pub(crate) fn as_wire(&self) -> IncomingPayload<'_> {
        IncomingPayload {
            kind: self.kind,
            data: (&self.data[..]).into(),
        }
    }

    fn of_wire(payload: &IncomingPayload<'_>) -> Payload {
        Payload {
            kind: payload.kind,
            data: payload.data[..].into(),
        }
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Payload {
        Payload::text(text)
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Payload {
        Payload::text(&text)
    }
}

impl From<()> for Payload {
    fn from((): ()) -> Payload {
        Payload::none()
    }
}

impl From<serde_json::Value> for Payload {
    fn from(value: serde_json::Value) -> Payload {
        Payload {
            kind: PayloadKind::Json,
            data: value.to_string().into_bytes().into(),
        }
    }
}

/// What is sent with a number, kept until it is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Publish {
    /// Something said.
    Chat(Payload),
    /// An application's event.
    Event {
        /// Its name: no white space, no control characters.
        name: String,
        /// Its payload.
        payload: Payload,
    },
}

impl Publish {
    pub(crate) fn nothing() -> Publish {
        Publish::Chat(Payload::none())
    }

    pub(crate) fn as_wire(&self) -> Request<'_> {
        match self {
            Publish::Chat(payload) => Request::Chat(payload.as_wire()),
            Publish::Event { name, payload } => Request::Event {
                name: Cow::Borrowed(name),
                payload: payload.as_wire(),
            },
        }
    }

    pub(crate) fn weight(&self) -> usize {
        match self {
            Publish::Chat(payload) => payload.data.len(),
            Publish::Event { name, payload } => name.len() + payload.data.len(),
        }
    }
}

/// Whom a direct message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// One session.
    Client(String),
    /// All sessions of a user.
    User(String),
}

/// Something done in a game.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Action {
    /// What is done: `move`, `attack` …
    pub name: String,
    /// Where.
    pub position: Option<Place>,
    /// The `player_num` that it is aimed at; 0 is nobody.
    pub target: i32,
    /// Anything else, by key: strings as they are, other JSON as its text.
    pub params: Vec<(String, String)>,
}

impl Action {
    /// An action without anything but its name.
    pub fn new(name: impl Into<String>) -> Action {
        Action {
            name: name.into(),
            ..Action::default()
        }
    }

    /// The same, at a place. Axes that are not finite become 0.
    pub fn at(self, x: f64, y: f64, z: f64) -> Action {
        Action {
            position: Some(Place { x, y, z }),
            ..self
        }
    }

    /// The same, aimed at a player.
    pub fn target(self, player_num: i32) -> Action {
        Action {
            target: player_num,
            ..self
        }
    }

    /// The same, with one more parameter.
    pub fn param(mut self, key: impl Into<String>, value: impl Into<String>) -> Action {
        self.params.push((key.into(), value.into()));
        self
    }

    /// The payload, as JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let finite = |axis: f64| if axis.is_finite() { axis } else { 0.0 };
        let mut object = serde_json::Map::new();
        object.insert("action".into(), self.name.as_str().into());
        if let Some(Place { x, y, z }) = self.position {
            let position = serde_json::json!({"x": finite(x), "y": finite(y), "z": finite(z)});
            object.insert("position".into(), position);
        }
        if self.target != 0 {
            object.insert("target_id".into(), self.target.into());
        }
        if !self.params.is_empty() {
            let params: serde_json::Map<_, _> = self
                .params
                .iter()
                .map(|(key, value)| (key.clone(), value.as_str().into()))
                .collect();
            object.insert("params".into(), params.into());
        }
        serde_json::Value::Object(object).to_string().into_bytes()
    }

    /// Reads what [`Action::to_json`] wrote, for the encoder.
    pub(crate) fn as_wire(json: &[u8]) -> Option<GameAction<'_>> {
        GameAction::parse(Format::Json, json, &Limits::OFF).ok()
    }

    fn of_wire(action: &GameAction<'_>) -> Action {
        Action {
            name: action.action().to_owned(),
            position: action.position(),
            target: action.target_id().unwrap_or_default(),
            params: action
                .params()
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect(),
        }
    }
}

/// A place in a log: of a room, or of one's direct messages. Worth storing: as `since` of a later join it brings what
/// came after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Which log.
    pub epoch: String,
    /// Up to and with this event; 0 is the beginning.
    pub offset: u64,
}

impl Position {
    pub(crate) fn as_wire(&self) -> LogPosition<'_> {
        LogPosition {
            epoch: Cow::Borrowed(&self.epoch),
            offset: self.offset,
        }
    }
}

/// An event: of a room, or a direct message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The session that sent it. Empty where no client did: the room itself, or a `service`.
    pub from: String,
    /// The user that the sender's token names, as the server has verified it. Empty without a token.
    pub user: String,
    /// The sender's `player_num` in the room; 0: it has none, as in a direct message.
    pub player: u32,
    /// The service that sent it, such as the application's backend. Empty where a client did, or the room itself.
    pub service: String,
    /// Milliseconds since the Unix epoch, by the server's clock; never falls within a room.
    pub timestamp: i64,
    /// Its place in the log; `None`: it is in none.
    pub position: Option<Position>,
    /// The sender's number for it; 0: none.
    pub seq: u64,
    /// Sent to this one session.
    pub to_client_id: String,
    /// Sent to this one user.
    pub to_user_id: String,
    /// What happened.
    pub content: Content,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Something was said.
    Chat(Payload),
    /// An application's event.
    Event {
        /// Its name.
        name: String,
        /// Its payload.
        payload: Payload,
    },
    /// Something was done in a game.
    Action(Action),
    /// A player came.
    PlayerJoined(Member),
    /// A player left.
    PlayerLeft {
        /// Who.
        player_id: String,
        /// The player's number in the room.
        player_num: u32,
    },
}

impl Message {
    /// The message as an event; `None`: it is something else, an answer or state.
    pub(crate) fn of_wire(message: &ServerMessage<'_>) -> Option<Message> {
        let content = match &message.body {
            ServerBody::Chat(payload) => Content::Chat(Payload::of_wire(payload)),
            ServerBody::Event { name, payload } => Content::Event {
                name: name.clone().into_owned(),
                payload: Payload::of_wire(payload),
            },
            ServerBody::GameAction(action) => Content::Action(Action::of_wire(action)),
            ServerBody::PlayerJoined(member) => Content::PlayerJoined(member.clone()),
            ServerBody::PlayerLeft {
                player_id,
                player_num,
            } => Content::PlayerLeft {
                player_id: player_id.clone(),
                player_num: *player_num,
            },
            _ => return None,
        };
        Some(Message {
            from: message.from_client_id.clone().into_owned(),
            user: message.from_user_id.clone().into_owned(),
            player: message.from_player_num,
            service: message.from_service.clone().into_owned(),
            timestamp: message.timestamp,
            position: (message.offset > 0).then(|| Position {
                epoch: message.epoch.clone().into_owned(),
                offset: message.offset,
            }),
            seq: message.seq,
            to_client_id: message.to_client_id.clone().into_owned(),
            to_user_id: message.to_user_id.clone().into_owned(),
            content,
        })
    }
}
