//! `[authorize.NAME]`: settings, which know nothing of the rest of the configuration.

use std::time::Duration;

use crate::auth::Secret;

/// `[authorize.NAME]`: a backend that decides what is done.
#[derive(Clone, Debug)]
pub struct AuthorizeSettings {
    /// What logs and metrics call it.
    pub name: String,
    /// Where it is asked: `http` or `https`.
    pub url: String,
    /// What questions are signed with, as with webhooks; empty: it is in a file.
    pub secret: Secret,
    /// A file with it; empty: it is above. It is read again when it changes.
    pub secret_path: String,
    /// A PEM file with the certificates that are trusted with `https`; empty: those that the system trusts.
    pub ca_path: String,
    /// The kinds of rooms that it decides about.
    pub kinds: Vec<String>,
    /// What it decides.
    pub asks: Vec<Asked>,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// What is done without one.
    pub silence: Silence,
    /// Questions under way at once.
    pub most: u32,
    /// Longest time for which an answer may be kept.
    pub max_cache: Duration,
}

impl Default for AuthorizeSettings {
    fn default() -> AuthorizeSettings {
        AuthorizeSettings {
            name: String::new(),
            url: String::new(),
            secret: Secret::default(),
            secret_path: String::new(),
            ca_path: String::new(),
            kinds: Vec::new(),
            asks: Vec::new(),
            timeout: Duration::from_secs(2),
            silence: Silence::Refuse,
            most: 256,
            max_cache: Duration::from_secs(3_600),
        }
    }
}

/// Who decides what, in words that are the same on all servers where the same ones decide.
pub(crate) fn described(tables: &[AuthorizeSettings]) -> String {
    let described = tables.iter().map(|it| {
        let mut asks: Vec<_> = it.asks.iter().map(|asked| asked.as_str()).collect();
        let mut kinds: Vec<_> = it.kinds.iter().collect();
        asks.sort_unstable();
        kinds.sort_unstable();
        format!("{} {asks:?} {kinds:?} {:?}", it.url, it.silence)
    });
    let mut described: Vec<_> = described.collect();
    described.sort_unstable();
    described.join("\n")
}

/// What a backend may decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Who joins.
    Join,
    /// Chats.
    Chat,
    /// Named events.
    Event,
    /// Actions.
    GameAction,
}

impl Asked {
    const ALL: [Asked; 4] = [Asked::Join, Asked::Chat, Asked::Event, Asked::GameAction];

    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Asked::Join => "join",
            Asked::Chat => "chat",
            Asked::Event => "event",
            Asked::GameAction => "game_action",
        }
    }

    /// The reverse of [`Asked::as_str`].
    pub fn from_name(name: &str) -> Option<Asked> {
        Asked::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// What is done where a backend does not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It is not done, and may be tried again.
    Refuse,
    /// It is done.
    Allow,
}
