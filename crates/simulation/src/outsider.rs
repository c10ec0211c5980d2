//! Somebody without a token, or with one that allows nothing: nothing is done for it.

use roomcast_core::Access;
use roomcast_protocol::Format;
use roomcast_protocol::client::{ServerBody, decode_server};

use crate::raw_client::{Heard, RawClient};
use crate::setup::ROOMS;
use crate::world::World;

pub(crate) struct Outsider {
    client: RawClient,
    /// It has a token, so that there is a session for it.
    has_token: bool,
}

/// First messages that are refused before anybody asks whose they are.
const REFUSED: [&str; 4] = [
    "{",
    r#"{"type":"joined"}"#,
    r#"{"type":"join_room","room_id":"a b"}"#,
    r#"{"type":"hello","payload":{"version":2}}"#,
];
const HELLO: &str =
    r#"{"type":"hello","payload":{"version":1,"token":"outsider 9999999999999 none"}}"#;

impl World {
    /// Asks for something that only others may have.
    pub(crate) fn knock(&mut self, victim: usize) {
        if self.outsider.is_some() {
            return;
        }
        let has_token = self.random.chance(500);
        let room = self.random.pick(&ROOMS);
        let client = self.peers[victim].session.client_id().to_owned();
        let first = if has_token {
            HELLO
        } else {
            self.random.pick(&REFUSED)
        };
        let request = if self.random.chance(500) {
            format!(r#"{{"type":"join_room","room_id":"{room}"}}"#)
        } else {
            format!(r#"{{"type":"chat","to_client_id":"{client}","seq":1,"payload":0}}"#)
        };
        self.say(format_args!("an outsider says {first} and {request}"));
        let messages = [first, &request, r#"{"type":"ping"}"#].map(str::as_bytes);
        let client = self.open_raw(Access::NONE, &messages);
        self.outsider = client.map(|client| Outsider { client, has_token });
    }

    /// Reads the answers, and goes. Whether there was anything to do.
    pub(crate) fn drive_outsider(&mut self) -> bool {
        let Some(mut outsider) = self.outsider.take() else {
            return false;
        };
        let messages = match self.hear_raw(&mut outsider.client) {
            Heard::Messages(messages) => messages,
            Heard::Nothing => {
                self.outsider = Some(outsider);
                return false;
            }
            Heard::End => {
                self.facts.outsiders += u64::from(!outsider.has_token);
                return true;
            }
        };
        let mut done = false;
        for message in messages {
            let message = decode_server(Format::Json, message.as_bytes()).unwrap();
            match message.body {
                ServerBody::Error(_) => {}
                ServerBody::Welcome(_) | ServerBody::Reconnect { .. } if outsider.has_token => {}
                ServerBody::Pong { .. } if outsider.has_token => done = true,
                other => panic!("an outsider is told {other:?}"),
            }
        }
        if !done {
            self.outsider = Some(outsider);
            return true;
        }
        self.facts.outsiders += 1;
        self.close_raw(outsider.client);
        true
    }
}
