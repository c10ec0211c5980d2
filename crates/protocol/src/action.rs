//! `game_action`: one type for both formats.

use std::borrow::Cow;

use crate::{BadMessage, ErrorCode, Format, Limits, Position};

/// Something done in a game. Keeps the bytes it came as, so that it passes from JSON to JSON as sent; answers the same
/// whatever its format.
#[derive(Clone, Debug)]
pub struct GameAction<'a> {
    pub(crate) format: Format,
    pub(crate) raw: &'a [u8],
    pub(crate) action: Cow<'a, str>,
    pub(crate) position: Option<Position>,
    pub(crate) target_id: i32,
}

impl<'a> GameAction<'a> {
    /// Reads the payload of a `game_action`: a JSON object, or a `gameproto.GameAction`.
    ///
    /// # Errors
    /// What is wrong with it. When this succeeds, the action can be written in both formats.
    pub fn parse(
        format: Format,
        raw: &'a [u8],
        limits: &Limits,
    ) -> Result<GameAction<'a>, BadMessage> {
        let _ = (format, raw, limits);
        Err(BadMessage::new(ErrorCode::NotSupported, "not yet"))
    }

    /// The format of [`GameAction::raw`].
    pub fn format(&self) -> Format {
        self.format
    }

    /// The payload as it came, for [`GameAction::parse`] at another place or time.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// What is done: `move`, `attack` …
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Where, if it says.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The `player_num` that it is aimed at.
    pub fn target_id(&self) -> Option<i32> {
        (self.target_id != 0).then_some(self.target_id)
    }

    /// The value of any other key: a string as it is, other JSON as its text.
    pub fn param(&self, key: &str) -> Option<Cow<'a, str>> {
        let _ = key;
        None
    }
}

impl PartialEq for GameAction<'_> {
    /// Whether both say the same, whatever their formats.
    fn eq(&self, other: &Self) -> bool {
        self.action == other.action
            && self.position == other.position
            && self.target_id == other.target_id
    }
}
