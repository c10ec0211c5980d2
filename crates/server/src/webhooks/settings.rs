//! `[webhooks.NAME]`: settings, which know nothing of the rest of the configuration.

use std::time::Duration;

use crate::auth::Secret;

/// `[webhooks.NAME]`: who is told what happens.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// What logs and metrics call it.
    pub name: String,
    /// Where events are sent to: `http` or `https`.
    pub url: String,
    /// What they are signed with, one or two: `whsec_` and base64. Empty: they are in a file.
    pub secret: Secret,
    /// A file with the secrets; empty: they are above. It is read again when it changes.
    pub secret_path: String,
    /// A PEM file with the certificates that are trusted with `https`; empty: those that the system trusts.
    pub ca_path: String,
    /// What is told.
    pub events: Vec<EventType>,
    /// The kinds whose rooms are told of; empty: all.
    pub kinds: Vec<String>,
    /// The part of all messages that is told, above 0, at most 1.
    pub sample: f64,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// How long an event is sent again.
    pub retry_for: Duration,
    /// Events of one request.
    pub batch_events: u32,
    /// Bytes of them.
    pub batch_bytes: usize,
    /// Events that wait.
    pub queue_events: u64,
    /// Bytes of them.
    pub queue_bytes: u64,
}

impl Default for WebhookSettings {
    fn default() -> WebhookSettings {
        WebhookSettings {
            name: String::new(),
            url: String::new(),
            secret: Secret::default(),
            secret_path: String::new(),
            ca_path: String::new(),
            events: Vec::new(),
            kinds: Vec::new(),
            sample: 1.0,
            timeout: Duration::from_secs(10),
            retry_for: Duration::from_secs(24 * 3_600),
            batch_events: 100,
            batch_bytes: 256 * 1024,
            queue_events: 100_000,
            queue_bytes: 16 * 1024 * 1024,
        }
    }
}

impl WebhookSettings {
    pub(super) fn wants(&self, event: EventType) -> bool {
        self.events.contains(&event)
    }

    pub(super) fn is_about(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|it| it == kind)
    }

    /// Messages whose lot is at most this are told.
    pub(super) fn lots(&self) -> u32 {
        // A float becomes the nearest number that there is.
        (f64::from(u32::MAX) * self.sample) as u32
    }
}

/// Who is told what, in words that are the same on all servers that tell the same. How it is told may differ.
pub(crate) fn described(webhooks: &[WebhookSettings]) -> String {
    let described = webhooks.iter().map(|it| {
        let mut events: Vec<_> = it.events.iter().map(|event| event.as_str()).collect();
        let mut kinds: Vec<_> = it.kinds.iter().collect();
        events.sort_unstable();
        kinds.sort_unstable();
        format!("{} {} {events:?} {kinds:?} {}", it.name, it.url, it.sample)
    });
    let mut described: Vec<_> = described.collect();
    described.sort_unstable();
    described.join("\n")
}

/// What a backend may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// A session began.
    SessionBegan,
    /// A session ended.
    SessionEnded,
    /// A room has its first member.
    RoomOpened,
    /// A room has no members any more.
    RoomEmptied,
    /// A player is in a room.
    MemberJoined,
    /// A player is in a room no more.
    MemberLeft,
    /// A room has put a message into its log.
    Message,
    /// Clients were refused.
    ConnectionRefused,
}

impl EventType {
    /// All of them.
    pub const ALL: [EventType; 8] = [
        EventType::SessionBegan,
        EventType::SessionEnded,
        EventType::RoomOpened,
        EventType::RoomEmptied,
        EventType::MemberJoined,
        EventType::MemberLeft,
        EventType::Message,
        EventType::ConnectionRefused,
    ];

    /// The name in the configuration and in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventType::SessionBegan => "session.began",
            EventType::SessionEnded => "session.ended",
            EventType::RoomOpened => "room.opened",
            EventType::RoomEmptied => "room.emptied",
            EventType::MemberJoined => "member.joined",
            EventType::MemberLeft => "member.left",
            EventType::Message => "message",
            EventType::ConnectionRefused => "connection.refused",
        }
    }

    /// The reverse of [`EventType::as_str`].
    pub fn from_name(name: &str) -> Option<EventType> {
        EventType::ALL.into_iter().find(|it| it.as_str() == name)
    }
}
