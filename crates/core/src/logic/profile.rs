//! What a player shows of itself, before it is shown.

use std::borrow::Cow;

use roomcast_protocol::{ErrorCode, Limits, PresenceUpdate, names, presence};
use serde::{Deserialize, Serialize};

use crate::logic::Refusal;
use crate::logic::event::not_understood;
use crate::logic::outcome::to_json;

/// Who somebody is, and what all in the room are to see of it.
#[derive(Debug)]
pub struct Profile<'a> {
    pub(crate) id: &'a str,
    pub(crate) nickname: Cow<'a, str>,
    /// A JSON object, or nothing.
    pub(crate) presence: Cow<'a, str>,
    pub(crate) limits: &'a Limits,
}

impl Profile<'_> {
    /// The user's id, `player_id` on the wire. Without a token it is the client's.
    pub fn id(&self) -> &str {
        self.id
    }

    /// The nickname; may be empty.
    pub fn nickname(&self) -> &str {
        &self.nickname
    }

    /// Gives another nickname; `""` is none.
    ///
    /// # Errors
    /// A refusal with `invalid_name`, where no client could choose it: it is too long, or can't be seen.
    pub fn set_nickname(&mut self, nickname: &str) -> Result<(), Refusal> {
        if !nickname.is_empty() && names::validate_nickname(nickname, self.limits).is_err() {
            return Err(
                Refusal::new("this nickname is not possible").with_code(ErrorCode::InvalidName)
            );
        }
        self.nickname = Cow::Owned(nickname.to_owned());
        Ok(())
    }

    /// The presence, as a value: an object with all keys.
    ///
    /// # Errors
    /// A refusal with `invalid_value` that says what is wrong, for whoever sent it.
    pub fn presence<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Refusal> {
        let text = match &*self.presence {
            "" => "{}",
            text => text,
        };
        serde_json::from_str(text).map_err(not_understood)
    }

    /// Gives another presence, in place of the one before: an object.
    ///
    /// # Errors
    /// A refusal with `presence_too_large`, or with `invalid_value` for what is no object.
    ///
    /// # Panics
    /// If JSON can't say it.
    pub fn set_presence<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        let update = update_of(&to_json(value))?;
        let merged = presence::merge("", &update, self.limits);
        let too_large = |code| Refusal::new("the presence is too large").with_code(code);
        self.presence = Cow::Owned(merged.map_err(too_large)?);
        Ok(())
    }
}

/// What makes a presence of nothing.
pub(crate) fn update_of(presence: &str) -> Result<PresenceUpdate<'static>, Refusal> {
    if presence.is_empty() {
        return Ok(PresenceUpdate::default());
    }
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(presence).map_err(not_understood)?;
    let keys = object.into_iter().filter(|(_, value)| !value.is_null());
    let keys = keys.map(|(key, value)| (key.into(), Some(value.to_string().into())));
    Ok(PresenceUpdate {
        keys: keys.collect(),
        nickname: None,
    })
}
