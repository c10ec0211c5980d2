//! What a key may be used for.

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Publish to rooms.
    Publish,
    /// Send to users and clients.
    Send,
    /// List rooms, members and sessions, and read rooms' logs.
    Read,
    /// Send users away, put them out of rooms, and lock rooms.
    Moderate,
    /// Set rooms' properties, and clear their logs.
    Manage,
    /// Listen to rooms: it shows what members send.
    Tail,
    /// End servers.
    Operate,
}

impl Right {
    /// All of them.
    pub const ALL: &'static [Right] = &[
        Right::Publish,
        Right::Send,
        Right::Read,
        Right::Moderate,
        Right::Manage,
        Right::Tail,
        Right::Operate,
    ];

    /// As in `[api_keys.NAME]` `rights`.
    pub const fn name(self) -> &'static str {
        match self {
            Right::Publish => "publish",
            Right::Send => "send",
            Right::Read => "read",
            Right::Moderate => "moderate",
            Right::Manage => "manage",
            Right::Tail => "tail",
            Right::Operate => "operate",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Right> {
        let mut all = Right::ALL.iter().copied();
        all.find(|right| right.name() == name)
    }
}
