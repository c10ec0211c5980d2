//! What several tests need: the vectors' files, and a server message sent on.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses its part"
)]

use std::path::PathBuf;

use roomcast_protocol::client::{ServerBody, ServerMessage};
use roomcast_protocol::{
    Body, ErrorBody, ErrorCode, Format, History, Joined, Member, MessageType, Messages, Outgoing,
    PlayerState, Sender, StateSync, Welcome, encode,
};
use serde_json::Value;

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The vectors of a file in `tests/vectors`.
pub fn vectors(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(root().join("tests/vectors").join(file)).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

pub fn text<'v>(vector: &'v Value, key: &str) -> &'v str {
    vector[key].as_str().unwrap()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect()
}

/// The bytes of a vector's message in a format.
pub fn bytes(vector: &Value, format: Format) -> Vec<u8> {
    match format {
        Format::Json => text(vector, "json").as_bytes().to_vec(),
        Format::Protobuf => unhex(text(vector, "protobuf")),
    }
}

/// Writes what was read.
pub fn resend(format: Format, message: &ServerMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    outgoing(message, &mut |message| encode(format, message, &mut out));
    out
}

/// The events of a page that was read.
struct Events<'a>(&'a [ServerMessage<'a>]);

impl Messages for Events<'_> {
    fn for_each(&self, each: &mut dyn FnMut(&Outgoing<'_>)) {
        self.0.iter().for_each(|message| outgoing(message, each));
    }
}

fn outgoing(message: &ServerMessage<'_>, each: &mut dyn FnMut(&Outgoing<'_>)) {
    let mut send = |body: Body<'_>| {
        each(&Outgoing {
            from: Sender {
                client_id: &message.from_client_id,
                user_id: &message.from_user_id,
                player_num: message.from_player_num,
                service: &message.from_service,
            },
            to_client_id: &message.to_client_id,
            to_user_id: &message.to_user_id,
            room_id: &message.room_id,
            timestamp: message.timestamp,
            seq: message.seq,
            offset: message.offset,
            epoch: &message.epoch,
            ephemeral: message.ephemeral,
            request_id: message.request_id,
            body,
        });
    };
    match &message.body {
        ServerBody::Welcome(body) => send(Body::Welcome(&Welcome {
            client_id: &body.client_id,
            resume_token: &body.resume_token,
            resumed: body.resumed,
            ping_interval_ms: body.ping_interval_ms,
            limits: body.limits,
            server_time: body.server_time,
            version: body.version,
            seq_acked: body.seq_acked,
            grace_ms: body.grace_ms,
            inbox: body.inbox.as_ref(),
            inbox_recovered: body.inbox_recovered,
            user_id: &body.user_id,
            token_expires_at: body.token_expires_at,
            direct_repeats_possible: body.direct_repeats_possible,
        })),
        ServerBody::Joined(body) => send(Body::Joined(Joined {
            player_id: &body.player_id,
            player_num: body.player_num,
            mode: &body.mode,
            presence: &body.presence,
            total: body.total,
            epoch: &body.epoch,
            offset: body.offset,
            recovered: body.recovered,
            repeats_possible: body.repeats_possible,
            members: &body.members.iter().map(member).collect::<Vec<_>>(),
            properties: &body.properties,
        })),
        ServerBody::PlayerJoined(body) => send(Body::PlayerJoined(member(body))),
        ServerBody::PlayerLeft {
            player_id,
            player_num,
        } => {
            send(Body::PlayerLeft {
                player_id,
                player_num: *player_num,
            });
        }
        ServerBody::Presence(body) => send(Body::Presence(member(body))),
        ServerBody::PresenceCount { total } => send(Body::PresenceCount { total: *total }),
        ServerBody::Sync(body) => {
            let players = body.players.iter().map(|state| PlayerState {
                player_id: &state.player_id,
                position: state.position,
                velocity: state.velocity,
                health: state.health,
                score: state.score,
                player_num: state.player_num,
            });
            send(Body::Sync(StateSync {
                frame_num: body.frame_num,
                players: &players.collect::<Vec<_>>(),
                timestamp: body.timestamp,
                full: body.full,
                left: &body.left,
                offset: body.offset,
            }));
        }
        ServerBody::Chat(payload) => send(Body::Chat(payload.as_payload())),
        ServerBody::Event { name, payload } => {
            send(Body::Event {
                name,
                payload: payload.as_payload(),
            });
        }
        ServerBody::GameAction(action) => send(Body::GameAction(action)),
        ServerBody::Ack(acks) => send(Body::Ack(acks)),
        ServerBody::Error(body) => send(Body::Error(ErrorBody {
            code: ErrorCode::from_name(&body.code).unwrap(),
            message: &body.message,
            seq: body.seq,
            retry_after_ms: body.retry_after_ms,
            request: MessageType::from_name(&body.request),
        })),
        ServerBody::Pong(payload) => send(Body::Pong {
            payload: payload.as_payload(),
            server_time: message.timestamp,
        }),
        ServerBody::Members {
            members,
            total,
            next,
        } => send(Body::Members {
            members: &members.iter().map(member).collect::<Vec<_>>(),
            total: *total,
            next: *next,
        }),
        ServerBody::History {
            events,
            next,
            epoch,
        } => send(Body::History(History {
            events: &Events(events),
            next: *next,
            epoch,
        })),
        ServerBody::Auth {
            token_expires_at,
            user_id,
        } => send(Body::Auth {
            token_expires_at: *token_expires_at,
            user_id,
        }),
        ServerBody::Reconnect {
            delay_ms,
            url,
            reason,
        } => {
            send(Body::Reconnect {
                delay_ms: *delay_ms,
                url,
                reason,
            });
        }
    }
}

fn member(member: &roomcast_protocol::client::Member) -> Member<'_> {
    Member {
        player_id: &member.player_id,
        player_num: member.player_num,
        nickname: &member.nickname,
        presence: &member.presence,
        connected: member.connected,
    }
}
