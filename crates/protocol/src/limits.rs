//! What a message may hold, checked before memory is spent on it.

/// Limits of a single message. Sizes are bytes of UTF-8; 0 switches a limit off, unless the field says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects and arrays inside each other in JSON, the envelope and its payload included. 0 and more than 255 mean 255.
    pub max_nesting: u16,
    /// A room's name.
    pub max_name: usize,
    /// An event's name, and the `action` of a `game_action`.
    pub max_event_name: usize,
    /// A player's nickname.
    pub max_nickname: usize,
    /// A client's or user's id.
    pub max_id: usize,
    /// Keys of a `game_action` that the schema lacks.
    pub max_params: usize,
    /// Keys of one's presence.
    pub max_presence_keys: usize,
    /// One's presence, as JSON text.
    pub max_presence: usize,
    /// Rooms that a `hello` gives positions for.
    pub max_positions: usize,
    /// Capabilities that a `hello` names.
    pub max_capabilities: usize,
    /// A token in `hello`, `join_room` or `auth`.
    pub max_token: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_nesting: 32,
            max_name: 128,
            max_event_name: 64,
            max_nickname: 64,
            max_id: 128,
            max_params: 64,
            max_presence_keys: 32,
            max_presence: 2048,
            max_positions: 64,
            max_capabilities: 32,
            max_token: 4096,
        }
    }
}

impl Limits {
    /// No limit but the ones that can't be switched off.
    pub const OFF: Limits = Limits {
        max_nesting: 0,
        max_name: 0,
        max_event_name: 0,
        max_nickname: 0,
        max_id: 0,
        max_params: 0,
        max_presence_keys: 0,
        max_presence: 0,
        max_positions: 0,
        max_capabilities: 0,
        max_token: 0,
    };

    pub(crate) fn nesting(&self) -> u16 {
        if self.max_nesting == 0 {
            MAX_NESTING
        } else {
            self.max_nesting.min(MAX_NESTING)
        }
    }
}

/// The most nesting that is ever read: one bit each in the scanner's stack.
pub(crate) const MAX_NESTING: u16 = 255;

/// The greatest `seq` and `offset`, 2^53 − 1: the greatest integer that a JavaScript number holds exactly with all below.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The longest `epoch`, in characters.
pub const MAX_EPOCH: usize = 16;

/// Whether `value` is over a limit that may be off.
pub(crate) const fn over(value: usize, limit: usize) -> bool {
    limit != 0 && value > limit
}
