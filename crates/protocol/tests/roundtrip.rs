//! Any message means the same after it was written and read, in both formats and across them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::borrow::Cow;

use common::resend;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use roomcast_protocol::client::{self, ServerBody, ServerMessage, decode_server, encode_request};
use roomcast_protocol::{
    ErrorCode, Format, GameAction, Hello, HistoryRequest, Incoming, IncomingPayload, JoinRoom,
    Limits, LogPosition, MAX_NUMBER, MembersRequest, MessageType, PayloadKind, Position,
    PresenceUpdate, Request, RoomPosition, Skip, Velocity, WelcomeLimits, decode, presence,
};
use serde_json::{Map, Value};

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9:_-]{1,20}", r"[\p{L}\p{So}\\\x22/]{1,12}"]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,40}", any::<String>()]
}

fn place() -> impl Strategy<Value = u64> {
    prop_oneof![1..300_u64, 1..=MAX_NUMBER]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-1000..1000_i32).prop_map(f64::from),
        any::<f64>().prop_map(finite)
    ]
}

fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { 0.0 }
}

/// A JSON value of any kind but null, which in a presence removes the key.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        number().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4)
                .prop_map(|entries| Value::from(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn payload() -> impl Strategy<Value = IncomingPayload<'static>> {
    let of_kind = |kind| {
        move |data: Vec<u8>| IncomingPayload {
            kind,
            data: Cow::Owned(data),
        }
    };
    prop_oneof![
        json()
            .prop_map(|value| value.to_string().into_bytes())
            .prop_map(of_kind(PayloadKind::Json)),
        text()
            .prop_map(String::into_bytes)
            .prop_map(of_kind(PayloadKind::Text)),
        // Empty bytes without a kind are no payload in Protobuf; with their kind they are themselves.
        vec(any::<u8>(), 0..200).prop_map(of_kind(PayloadKind::Bytes)),
    ]
}

fn maybe_payload() -> impl Strategy<Value = IncomingPayload<'static>> {
    prop_oneof![1 => Just(IncomingPayload::NONE), 4 => payload()]
}

fn update() -> impl Strategy<Value = PresenceUpdate<'static>> {
    vec((name(), of(json())), 0..6).prop_map(|entries| {
        let mut keys: Vec<(Cow<'static, str>, Option<Cow<'static, str>>)> = Vec::new();
        for (key, value) in entries {
            if keys.iter().all(|(known, _)| *known != key) {
                keys.push((key.into(), value.map(|value| value.to_string().into())));
            }
        }
        PresenceUpdate {
            keys,
            nickname: None,
        }
    })
}

fn since() -> impl Strategy<Value = LogPosition<'static>> {
    ("[a-z0-9é]{0,16}", 0..=MAX_NUMBER).prop_map(|(epoch, offset)| LogPosition {
        epoch: epoch.into(),
        offset,
    })
}

fn cow(text: String) -> Cow<'static, str> {
    Cow::Owned(text)
}

fn room_position() -> impl Strategy<Value = RoomPosition<'static>> {
    (name().prop_map(cow), of(since()), of(place())).prop_map(|(room_id, since, first_seq)| {
        RoomPosition {
            room_id,
            since,
            first_seq,
        }
    })
}

fn request() -> impl Strategy<Value = Request<'static>> {
    let word = || name().prop_map(cow);
    prop_oneof![
        (
            any::<u32>(),
            vec(word(), 0..4),
            of(word()),
            of(word()),
            vec(room_position(), 0..4),
            of(since()),
            of(place())
        )
            .prop_map(
                |(
                    version,
                    capabilities,
                    token,
                    resume_token,
                    positions,
                    inbox,
                    first_direct_seq,
                )| {
                    Request::Hello(Box::new(Hello {
                        version,
                        capabilities,
                        token,
                        resume_token,
                        positions,
                        inbox,
                        first_direct_seq,
                    }))
                }
            ),
        (of(word()), of(since()), of(place()), update(), of(word())).prop_map(
            |(nickname, since, first_seq, presence, token)| {
                Request::JoinRoom(JoinRoom {
                    nickname,
                    since,
                    first_seq,
                    presence,
                    token,
                })
            }
        ),
        Just(Request::LeaveRoom),
        payload().prop_map(Request::Chat),
        (word(), maybe_payload()).prop_map(|(name, payload)| Request::Event { name, payload }),
        (update(), proptest::option::of("[a-zé]{1,20}")).prop_map(|(update, nickname)| {
            Request::Presence(PresenceUpdate {
                nickname: nickname.map(Cow::Owned),
                ..update
            })
        }),
        place().prop_map(|seq| Request::Skip(Skip { seq })),
        maybe_payload().prop_map(Request::Ping),
        any::<(u32, u32)>()
            .prop_map(|(after, limit)| Request::Members(MembersRequest { after, limit })),
        (0..=MAX_NUMBER, of(0..=MAX_NUMBER), any::<u32>()).prop_map(|(before, after, limit)| {
            Request::History(HistoryRequest {
                before: if after.is_some() { 0 } else { before },
                after,
                limit,
            })
        }),
        word().prop_map(|token| Request::Auth { token }),
    ]
}

fn incoming() -> impl Strategy<Value = Incoming<'static>> {
    let word = || name().prop_map(cow);
    (
        (
            word(),
            of((any::<bool>(), word())),
            of(place()),
            any::<bool>(),
            of(any::<bool>()),
            any::<u32>(),
        ),
        request(),
    )
        .prop_map(
            |((room_id, recipient, seq, ephemeral, no_echo, request_id), request)| {
                // Only these have a recipient, and what has one has no room.
                let may_be_direct = matches!(request, Request::Chat(_) | Request::Event { .. });
                let recipient = recipient.filter(|_| may_be_direct);
                let room_id = recipient.is_none().then_some(room_id);
                let to = |user| recipient.clone().filter(|it| it.0 == user).map(|it| it.1);
                Incoming {
                    room_id,
                    to_client_id: to(false),
                    to_user_id: to(true),
                    seq,
                    request_id,
                    ephemeral,
                    no_echo,
                    request,
                }
            },
        )
}

/// The payload of a `game_action` in JSON: the schema's keys, others beside them and in `params`, in any order.
fn action() -> impl Strategy<Value = String> {
    let position = (number(), number(), number());
    (
        name(),
        of(position),
        any::<i32>(),
        vec((text(), json()), 0..5),
        vec((text(), json()), 0..5),
        any::<bool>(),
    )
        .prop_map(|(action, position, target_id, beside, inside, pretty)| {
            let known = ["action", "position", "target_id", "params"];
            let mut object = Map::new();
            let mut params = Map::new();
            for (key, value) in beside
                .into_iter()
                .filter(|(key, _)| !known.contains(&&**key))
            {
                object.insert(key, value);
            }
            for (key, value) in inside
                .into_iter()
                .filter(|(key, _)| !object.contains_key(key))
            {
                params.insert(key, value);
            }
            object.insert("params".into(), params.into());
            object.insert("action".into(), action.into());
            if let Some((x, y, z)) = position {
                object.insert(
                    "position".into(),
                    serde_json::json!({ "x": x, "y": y, "z": z }),
                );
            }
            object.insert("target_id".into(), target_id.into());
            if pretty {
                serde_json::to_string_pretty(&object).unwrap()
            } else {
                Value::from(object).to_string()
            }
        })
}

fn member() -> impl Strategy<Value = client::Member> {
    (name(), any::<u32>(), text(), update(), any::<bool>()).prop_map(
        |(player_id, player_num, nickname, update, connected)| {
            let presence = presence::merge("", &update, &Limits::OFF).unwrap();
            client::Member {
                player_id,
                player_num,
                nickname,
                presence,
                connected,
            }
        },
    )
}

fn state() -> impl Strategy<Value = client::PlayerState> {
    let axes = || (number(), number(), number());
    (name(), axes(), axes(), any::<(i32, i32, i32)>()).prop_map(
        |(player_id, (x, y, z), (vx, vy, vz), (health, score, player_num))| client::PlayerState {
            player_id,
            position: Position { x, y, z },
            velocity: Velocity {
                x: vx,
                y: vy,
                z: vz,
            },
            health,
            score,
            player_num,
        },
    )
}

fn server_body() -> impl Strategy<Value = ServerBody<'static>> {
    let welcome = (
        text(),
        text(),
        any::<(bool, u64, i64, u32, bool)>(),
        any::<(u64, u32, u32, u32, u64, u32, u32)>(),
        (of(since()), text(), any::<(u64, bool, i64, bool)>()),
    );
    let joined = (
        vec(member(), 0..4),
        any::<(u64, u32, bool, bool)>(),
        0..=MAX_NUMBER,
        "[a-z0-9]{0,16}",
        name(),
    );
    let error = (
        proptest::sample::select(ErrorCode::ALL),
        text(),
        0..=MAX_NUMBER,
        any::<u64>(),
    );
    prop_oneof![
        welcome.prop_map(|(client_id, resume_token, rest, limits, session)| {
            let (inbox, user_id, session) = session;
            let (grace_ms, inbox_recovered, token_expires_at, direct_repeats_possible) = session;
            let (resumed, ping_interval_ms, server_time, version, seq_acked) = rest;
            let (
                max_message,
                max_rooms,
                messages_per_second,
                burst,
                max_presence,
                max_name,
                max_unanswered,
            ) = limits;
            let limits = WelcomeLimits {
                max_message,
                max_rooms,
                messages_per_second,
                burst,
                max_presence,
                max_name,
                max_unanswered,
            };
            ServerBody::Welcome(client::Welcome {
                client_id,
                resume_token,
                resumed,
                ping_interval_ms,
                limits,
                server_time,
                version,
                seq_acked,
                grace_ms,
                inbox,
                inbox_recovered,
                user_id,
                token_expires_at,
                direct_repeats_possible,
            })
        }),
        joined.prop_map(|(members, rest, offset, epoch, player_id)| {
            let (total, player_num, recovered, repeats_possible) = rest;
            ServerBody::Joined(client::Joined {
                player_id,
                player_num,
                mode: "state".into(),
                presence: "full".into(),
                total,
                epoch,
                offset,
                recovered,
                repeats_possible,
                properties: members
                    .first()
                    .map_or_else(String::new, |it| it.presence.clone()),
                members,
            })
        }),
        member().prop_map(ServerBody::PlayerJoined),
        (name(), any::<u32>()).prop_map(|(player_id, player_num)| ServerBody::PlayerLeft {
            player_id,
            player_num
        }),
        member().prop_map(ServerBody::Presence),
        any::<u64>().prop_map(|total| ServerBody::PresenceCount { total }),
        (
            any::<(i64, i64, bool)>(),
            vec(state(), 0..200),
            vec(name(), 0..4),
            0..=MAX_NUMBER
        )
            .prop_map(|((frame_num, timestamp, full), players, left, offset)| {
                ServerBody::Sync(client::StateSync {
                    frame_num,
                    players,
                    timestamp,
                    full,
                    left,
                    offset,
                })
            }),
        payload().prop_map(ServerBody::Chat),
        (name(), maybe_payload()).prop_map(|(name, payload)| ServerBody::Event {
            name: name.into(),
            payload
        }),
        vec((0..=MAX_NUMBER, 0..=MAX_NUMBER), 0..5).prop_map(ServerBody::Ack),
        (
            error,
            of(proptest::sample::select(MessageType::ALL.to_vec()))
        )
            .prop_map(
                |((code, message, seq, retry_after_ms), request)| ServerBody::Error(
                    client::ErrorBody {
                        code: code.as_str().into(),
                        message,
                        seq,
                        retry_after_ms,
                        request: request.map_or("", MessageType::as_str).into(),
                    }
                )
            ),
        maybe_payload().prop_map(ServerBody::Pong),
        (vec(member(), 0..4), any::<(u64, u32)>()).prop_map(|(members, (total, next))| {
            ServerBody::Members {
                members,
                total,
                next,
            }
        }),
        (any::<i64>(), text()).prop_map(|(token_expires_at, user_id)| ServerBody::Auth {
            token_expires_at,
            user_id
        }),
        (any::<u64>(), text(), text()).prop_map(|(delay_ms, url, reason)| ServerBody::Reconnect {
            delay_ms,
            url,
            reason
        }),
    ]
}

/// What stands in a log, and so in a page of it.
fn event_body() -> impl Strategy<Value = ServerBody<'static>> {
    prop_oneof![
        member().prop_map(ServerBody::PlayerJoined),
        (name(), any::<u32>()).prop_map(|(player_id, player_num)| ServerBody::PlayerLeft {
            player_id,
            player_num
        }),
        payload().prop_map(ServerBody::Chat),
        (name(), maybe_payload()).prop_map(|(name, payload)| ServerBody::Event {
            name: name.into(),
            payload
        }),
        any::<u64>().prop_map(|total| ServerBody::PresenceCount { total }),
    ]
}

fn history() -> impl Strategy<Value = ServerBody<'static>> {
    let events = vec(server_message(event_body().boxed()), 0..6);
    (events, 0..=MAX_NUMBER, "[a-z0-9]{0,16}").prop_map(|(events, next, epoch)| {
        ServerBody::History {
            events,
            next,
            epoch,
        }
    })
}

fn server_message(
    body: BoxedStrategy<ServerBody<'static>>,
) -> impl Strategy<Value = ServerMessage<'static>> {
    let word = || text().prop_map(cow);
    let numbers = (
        any::<i64>(),
        0..=MAX_NUMBER,
        0..=MAX_NUMBER,
        any::<bool>(),
        any::<u32>(),
    );
    let from = (word(), word(), 0..=i32::MAX as u32, word());
    (
        (from, word(), word(), word()),
        numbers,
        "[a-z0-9]{0,16}",
        body,
    )
        .prop_map(
            |((from, to_client_id, to_user_id, room_id), numbers, epoch, body)| {
                let (from_client_id, from_user_id, from_player_num, from_service) = from;
                let (timestamp, seq, offset, ephemeral, request_id) = numbers;
                ServerMessage {
                    from_client_id,
                    from_user_id,
                    from_player_num,
                    from_service,
                    to_client_id,
                    to_user_id,
                    room_id,
                    timestamp,
                    seq,
                    offset,
                    epoch: epoch.into(),
                    ephemeral,
                    request_id,
                    body,
                }
            },
        )
}

proptest! {
    #[test]
    fn what_a_client_writes_the_server_reads(message in incoming()) {
        for format in Format::ALL {
            let mut out = Vec::new();
            encode_request(format, &message, &mut out);
            prop_assert_eq!(&decode(format, &out, &Limits::OFF).unwrap(), &message);
        }
    }

    #[test]
    fn what_the_server_writes_a_client_reads(
        message in server_message(prop_oneof![9 => server_body(), 1 => history()].boxed())
    ) {
        for format in Format::ALL {
            let out = resend(format, &message);
            prop_assert_eq!(&decode_server(format, &out).unwrap(), &message);
            if format == Format::Json {
                prop_assert!(serde_json::from_slice::<Value>(&out).is_ok());
            }
        }
    }

    #[test]
    fn an_action_says_the_same_in_both_formats(json in action()) {
        let limits = Limits { max_event_name: 0, ..Limits::default() };
        let action = GameAction::parse(Format::Json, json.as_bytes(), &limits).unwrap();
        let message = Incoming::new(Request::GameAction(action.clone()));
        let mut out = Vec::new();
        encode_request(Format::Protobuf, &message, &mut out);
        let Request::GameAction(protobuf) = decode(Format::Protobuf, &out, &limits).unwrap().request else {
            panic!("not an action");
        };
        prop_assert_eq!(&protobuf, &action);
        let mut back = Vec::new();
        encode_request(Format::Json, &Incoming::new(Request::GameAction(protobuf)), &mut back);
        let Request::GameAction(back) = decode(Format::Json, &back, &limits).unwrap().request else {
            panic!("not an action");
        };
        prop_assert_eq!(&back, &action);
        // What was sent, by a parser that is not ours.
        let sent: Map<String, Value> = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(Some(action.action()), sent["action"].as_str());
        prop_assert_eq!(action.target_id().unwrap_or(0), sent["target_id"].as_i64().unwrap() as i32);
        let beside = sent.iter().filter(|(key, _)| !["action", "position", "target_id", "params"].contains(&&***key));
        for (key, value) in beside.chain(sent["params"].as_object().unwrap()) {
            let param = back.param(key).unwrap();
            match value {
                Value::String(text) => prop_assert_eq!(&param, text),
                value => prop_assert_eq!(&serde_json::from_str::<Value>(&param).unwrap(), value),
            }
        }
        // And from JSON to JSON it passes as it is.
        let mut same = Vec::new();
        encode_request(Format::Json, &message, &mut same);
        prop_assert!(String::from_utf8(same).unwrap().contains(&json));
    }

    #[test]
    fn presence_is_what_a_map_would_be(updates in proptest::collection::vec(update(), 1..6)) {
        let mut current = String::new();
        let mut map = std::collections::BTreeMap::new();
        for update in &updates {
            current = presence::merge(&current, update, &Limits::OFF).unwrap();
            for (key, value) in &update.keys {
                match value {
                    Some(value) => drop(map.insert(key.to_string(), serde_json::from_str::<Value>(value).unwrap())),
                    None => drop(map.remove(&**key)),
                }
            }
        }
        let read = if current.is_empty() { Default::default() } else { serde_json::from_str(&current).unwrap() };
        prop_assert_eq!(map, read);
    }
}
