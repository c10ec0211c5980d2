//! What must hold for any bytes. Called by the cargo-fuzz targets beside this file and, on stable Rust, by
//! `crates/protocol/tests/fuzz.rs`.

use roomcast_protocol::client::{ServerBody, decode_server, encode_request};
use roomcast_protocol::{
    Body, Format, GameAction, Incoming, IncomingPayload, Limits, Outgoing, PayloadKind, Request,
    Sender, decode, encode, presence,
};

/// A client's message. What is taken means the same after it was written in either format.
pub(crate) fn client(format: Format, data: &[u8]) {
    let limits = Limits::default();
    let Ok(message) = decode(format, data, &limits) else {
        return;
    };
    for to in Format::ALL {
        let mut out = Vec::new();
        encode_request(to, &message, &mut out);
        let again = match decode(to, &out, &limits) {
            Ok(again) => again,
            Err(bad) => panic!("{bad}\n{message:?}\n{}", String::from_utf8_lossy(&out)),
        };
        assert_eq!(trimmed(message.clone()), trimmed(again));
    }
    match &message.request {
        Request::GameAction(action) => relayed(&Body::GameAction(action)),
        Request::Chat(payload) => relayed(&Body::Chat(payload.as_payload())),
        Request::Event { name, payload } => relayed(&Body::Event {
            name,
            payload: payload.as_payload(),
        }),
        Request::Presence(update) => {
            let merged =
                presence::merge("", update, &Limits::OFF).expect("its values were checked");
            assert_eq!(
                presence::merge(&merged, &Default::default(), &Limits::OFF),
                Ok(merged)
            );
        }
        _ => {}
    }
}

/// A server's message: a client must survive it.
pub(crate) fn server(format: Format, data: &[u8]) {
    let Ok(message) = decode_server(format, data) else {
        return;
    };
    if let ServerBody::GameAction(action) = &message.body {
        relayed(&Body::GameAction(action));
    }
}

/// The payload of a `game_action` on its own.
pub(crate) fn action(format: Format, data: &[u8]) {
    let Ok(action) = GameAction::parse(format, data, &Limits::default()) else {
        return;
    };
    for (key, value) in action.params() {
        assert_eq!(action.param(&key), Some(value));
    }
    relayed(&Body::GameAction(&action));
}

/// A member's presence that came from a store.
pub(crate) fn stored_presence(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(merged) = presence::merge(text, &Default::default(), &Limits::default()) else {
        return;
    };
    assert_eq!(
        presence::merge(&merged, &Default::default(), &Limits::default()),
        Ok(merged)
    );
}

/// Clients of both formats receive the same.
fn relayed(body: &Body<'_>) {
    let message = Outgoing {
        room_id: "r",
        from: Sender {
            client_id: "c",
            user_id: "u",
            player_num: 7,
            service: "s",
        },
        timestamp: 1,
        offset: 1,
        body: *body,
        ..Outgoing::default()
    };
    let [json, protobuf] = Format::ALL.map(|format| {
        let mut out = Vec::new();
        encode(format, &message, &mut out);
        out
    });
    let json = decode_server(Format::Json, &json).expect("JSON that we wrote");
    let protobuf = decode_server(Format::Protobuf, &protobuf).expect("Protobuf that we wrote");
    match (&json.body, &protobuf.body) {
        (ServerBody::Chat(one), ServerBody::Chat(other)) => {
            assert_eq!(trimmed_payload(one.clone()), trimmed_payload(other.clone()));
        }
        (ServerBody::Event { payload: one, .. }, ServerBody::Event { payload: other, .. }) => {
            assert_eq!(trimmed_payload(one.clone()), trimmed_payload(other.clone()));
        }
        (one, other) => assert_eq!(one, other),
    }
}

/// White space around a JSON value is not part of it, and only Protobuf can carry it.
fn trimmed(mut message: Incoming<'_>) -> Incoming<'_> {
    match &mut message.request {
        Request::Chat(payload) | Request::Ping(payload) | Request::Event { payload, .. } => {
            *payload = trimmed_payload(payload.clone());
        }
        _ => {}
    }
    message
}

fn trimmed_payload(payload: IncomingPayload<'_>) -> IncomingPayload<'_> {
    match payload.kind {
        PayloadKind::Json => IncomingPayload {
            data: payload.data.trim_ascii().to_vec().into(),
            ..payload
        },
        _ => payload,
    }
}
