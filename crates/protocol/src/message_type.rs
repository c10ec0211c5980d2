//! What a message is: the `type` of its envelope.

/// The type of a message. Its number is the one in the `.proto`, its name the one in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// A client joins a room. Answered by [`MessageType::Joined`].
    JoinRoom = 1,
    /// A client leaves a room.
    LeaveRoom = 2,
    /// Something done in a game: from a client, and relayed to the room's members.
    GameAction = 3,
    /// The state that the server owns, or what changed in it.
    Sync = 4,
    /// Something said, to a room or to one client.
    Chat = 5,
    /// A client's first message.
    Hello = 6,
    /// The answer to [`MessageType::Hello`].
    Welcome = 7,
    /// The answer to [`MessageType::JoinRoom`].
    Joined = 8,
    /// A player came into a room.
    PlayerJoined = 9,
    /// A player left a room.
    PlayerLeft = 10,
    /// From a client: keys of its own entry. From the server: a player's entry, or how many are there.
    Presence = 11,
    /// An event with a name and any payload.
    Event = 12,
    /// Messages with a `seq` are in the log.
    Ack = 13,
    /// A message was refused.
    Error = 14,
    /// Is somebody there? Answered by [`MessageType::Pong`].
    Ping = 15,
    /// The answer to [`MessageType::Ping`], with its payload and the server's clock.
    Pong = 16,
    /// From a client: asks for a page of a room's members. From the server: the page.
    Members = 17,
    /// From a client: asks for a page of a room's events. From the server: the page.
    History = 18,
    /// A `seq` was given up and won't come.
    Skip = 19,
    /// The server asks to connect again.
    Reconnect = 20,
    /// From a client: a new token. From the server: until when it is good.
    Auth = 21,
}

impl MessageType {
    /// All types, in the order of their numbers, which begin at 1.
    pub const ALL: [MessageType; 21] = [
        MessageType::JoinRoom,
        MessageType::LeaveRoom,
        MessageType::GameAction,
        MessageType::Sync,
        MessageType::Chat,
        MessageType::Hello,
        MessageType::Welcome,
        MessageType::Joined,
        MessageType::PlayerJoined,
        MessageType::PlayerLeft,
        MessageType::Presence,
        MessageType::Event,
        MessageType::Ack,
        MessageType::Error,
        MessageType::Ping,
        MessageType::Pong,
        MessageType::Members,
        MessageType::History,
        MessageType::Skip,
        MessageType::Reconnect,
        MessageType::Auth,
    ];

    /// The name in JSON: `join_room`.
    pub const fn as_str(self) -> &'static str {
        match self {
            MessageType::JoinRoom => "join_room",
            MessageType::LeaveRoom => "leave_room",
            MessageType::GameAction => "game_action",
            MessageType::Sync => "sync",
            MessageType::Chat => "chat",
            MessageType::Hello => "hello",
            MessageType::Welcome => "welcome",
            MessageType::Joined => "joined",
            MessageType::PlayerJoined => "player_joined",
            MessageType::PlayerLeft => "player_left",
            MessageType::Presence => "presence",
            MessageType::Event => "event",
            MessageType::Ack => "ack",
            MessageType::Error => "error",
            MessageType::Ping => "ping",
            MessageType::Pong => "pong",
            MessageType::Members => "members",
            MessageType::History => "history",
            MessageType::Skip => "skip",
            MessageType::Reconnect => "reconnect",
            MessageType::Auth => "auth",
        }
    }

    /// The type with this name in JSON.
    pub fn from_name(name: &str) -> Option<MessageType> {
        Some(match name {
            "join_room" => MessageType::JoinRoom,
            "leave_room" => MessageType::LeaveRoom,
            "game_action" => MessageType::GameAction,
            "sync" => MessageType::Sync,
            "chat" => MessageType::Chat,
            "hello" => MessageType::Hello,
            "welcome" => MessageType::Welcome,
            "joined" => MessageType::Joined,
            "player_joined" => MessageType::PlayerJoined,
            "player_left" => MessageType::PlayerLeft,
            "presence" => MessageType::Presence,
            "event" => MessageType::Event,
            "ack" => MessageType::Ack,
            "error" => MessageType::Error,
            "ping" => MessageType::Ping,
            "pong" => MessageType::Pong,
            "members" => MessageType::Members,
            "history" => MessageType::History,
            "skip" => MessageType::Skip,
            "reconnect" => MessageType::Reconnect,
            "auth" => MessageType::Auth,
            _ => return None,
        })
    }

    /// The number in the `.proto`.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The type with this number in the `.proto`.
    pub fn from_number(number: u64) -> Option<MessageType> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        MessageType::ALL.get(index).copied()
    }

    /// Whether a client may send it.
    pub const fn is_request(self) -> bool {
        matches!(
            self,
            MessageType::JoinRoom
                | MessageType::LeaveRoom
                | MessageType::GameAction
                | MessageType::Chat
                | MessageType::Hello
                | MessageType::Presence
                | MessageType::Event
                | MessageType::Ping
                | MessageType::Members
                | MessageType::History
                | MessageType::Skip
                | MessageType::Auth
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back() {
        for (index, message_type) in MessageType::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(message_type.number()), index + 1);
            assert_eq!(
                MessageType::from_number(u64::from(message_type.number())),
                Some(message_type)
            );
            assert_eq!(
                MessageType::from_name(message_type.as_str()),
                Some(message_type)
            );
        }
        assert_eq!(MessageType::from_number(0), None);
        assert_eq!(MessageType::from_number(22), None);
        assert_eq!(MessageType::from_number(u64::MAX), None);
        assert_eq!(MessageType::from_name("JOIN_ROOM"), None);
    }
}
