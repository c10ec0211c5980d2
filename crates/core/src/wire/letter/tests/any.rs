//! Any letter that a node may send, drawn from a seed.

use std::sync::Arc;

use roomcast_protocol::{
    ErrorCode, Format, HistoryRequest, MAX_NUMBER, MessageType, PayloadKind, PresenceUpdate,
};

use super::examples::{HASH_KEY, NOW};
use super::{READER, SENDER};
use crate::address::NodeNumber;
use crate::backend::{
    Ask, Batch, ConnectionLine, ConnectionsQuery, Failure, Found, NodeLine, Publication, Published,
    Query, Reply, RoomLine, RoomsQuery, SessionLine, Taken, TopLine, TopOrder, TopQuery, Whose,
};
use crate::chunk::{Chunk, ChunkPool};
use crate::direct::DirectBody;
use crate::host::Encoding;
use crate::id::{ClientId, ConnRef, NameHash};
use crate::identity::Rights;
use crate::letter::{
    Delivery, DirectMessage, Encoded, Exclusion, Join, Joined, Leave, Letter, MembersPage,
    NewestState, News, Op, OpHead, OpKind, Place, Publish, ReadLog, ReadState, Receipt, Receipted,
    Recipient, Resume, RoomRef, SessionTaken, Slice, ToEdge, UserSession,
};
use crate::log::{Epoch, Since};
use crate::state_position::StatePosition;
use crate::store::{HomeName, NodeId, StoreId};
use crate::table::Number;
use crate::trace::{TraceContext, Traced};

/// SplitMix64.
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Draw {
        Draw(seed)
    }

    fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// As likely small as large.
    fn below(&mut self, limit: u64) -> u64 {
        let shift = self.u64() % 64;
        (self.u64() >> shift) % limit
    }

    fn u32(&mut self) -> u32 {
        self.below(1 << 32) as u32
    }

    fn offset(&mut self) -> u64 {
        self.below(MAX_NUMBER + 1)
    }

    fn bool(&mut self) -> bool {
        self.u64().is_multiple_of(2)
    }

    fn maybe<T>(&mut self, draw: impl FnOnce(&mut Draw) -> T) -> Option<T> {
        self.bool().then(|| draw(self))
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.u64() as usize % all.len()]
    }

    fn list<T>(&mut self, mut draw: impl FnMut(&mut Draw) -> T) -> Vec<T> {
        (0..self.u64() % 4).map(|_| draw(self)).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.below(400);
        (0..length).map(|_| self.u64() as u8).collect()
    }

    fn text(&mut self) -> String {
        let length = self.below(40);
        let all: Vec<char> = "aZ0:\"\\ \0é漢🎮".chars().collect();
        (0..length).map(|_| self.one_of(&all)).collect()
    }

    fn number<N: Number>(&mut self) -> N {
        match self.u64() % 8 {
            0 => N::new(u32::MAX, u32::MAX),
            _ => N::new(self.below(u64::from(u32::MAX)) as u32, self.u32()),
        }
    }

    fn client(&mut self) -> ClientId {
        ClientId::from_random([self.u64(), self.u64()])
    }

    fn born(&mut self) -> u64 {
        NOW - self.below(NOW)
    }

    fn encoding(&mut self) -> Encoding {
        self.one_of(&Encoding::ALL)
    }

    fn own_conn(&mut self) -> ConnRef {
        ConnRef {
            shard: SENDER,
            conn: self.number(),
        }
    }

    fn chunk(&mut self) -> Arc<Chunk> {
        let (bytes, born, messages) = (self.bytes(), self.born(), self.u32());
        ChunkPool::new().copy(&bytes, born, messages)
    }

    fn position(&mut self) -> StatePosition {
        StatePosition {
            since: self.offset(),
            begun: self.offset(),
            cursor: self.u32(),
        }
    }

    fn place(&mut self) -> Place {
        let since = |draw: &mut Draw| Since {
            epoch: Epoch::from_random(draw.u64()),
            offset: draw.offset(),
        };
        Place {
            since: self.maybe(since),
            first_seq: self.offset(),
        }
    }

    fn presence(&mut self) -> PresenceUpdate<'static> {
        let key = |draw: &mut Draw| {
            let value = draw.maybe(|draw| draw.text().into());
            (draw.text().into(), value)
        };
        PresenceUpdate {
            keys: self.list(key),
            nickname: None,
        }
    }

    fn message_type(&mut self) -> MessageType {
        self.one_of(&MessageType::ALL)
    }

    fn payload_kind(&mut self) -> PayloadKind {
        self.one_of(&[PayloadKind::Json, PayloadKind::Text, PayloadKind::Bytes])
    }

    fn error_code(&mut self) -> ErrorCode {
        self.one_of(ErrorCode::ALL)
    }

    /// The name, then the payload; and how long the name is.
    fn name_and_payload(&mut self) -> (Vec<u8>, u32) {
        let (name, payload) = (self.text(), self.bytes());
        ([name.as_bytes(), &payload].concat(), name.len() as u32)
    }

    pub(super) fn letter(&mut self) -> Letter {
        match self.u64() % 40 {
            nth @ 0..13 => {
                let request = self.request(nth);
                self.op(request)
            }
            nth @ 13..25 => Letter::Edge(self.message(nth - 13)),
            25 => Letter::Direct(Box::new(self.direct())),
            26 => Letter::Receipt(self.receipt()),
            27 => Letter::User(Box::new(UserSession {
                user_id: self.text().into(),
                session: self.client(),
                present: self.bool(),
            })),
            28 => Letter::SessionRefused(self.client()),
            29 => Letter::News(Box::new(News {
                client: self.client(),
                offset: self.offset(),
                store: StoreId(u128::from(self.u64()) << 64 | u128::from(self.u64())),
                turn: self.offset(),
                unix_ms: self.u64() as i64,
                body: Arc::new(self.body()),
            })),
            30 => Letter::SessionTaken(SessionTaken {
                client: self.client(),
                turn: self.offset(),
                shown: self.u64() as u32,
            }),
            31 => Letter::HomeGone {
                room: self.text().into(),
                ends: self.bool(),
            },
            32 => Letter::Wanted(self.text().into()),
            38 => Letter::NewsLost,
            34 => {
                let ask = OpKind::Backend(Arc::new(self.ask()));
                self.op(ask)
            }
            36 => Letter::Query(Box::new((self.u32(), self.query()))),
            37 => Letter::Found(Box::new((self.u32(), self.found()))),
            35 => Letter::Edge(ToEdge::Backend {
                conn: self.number(),
                reply: self.maybe(|draw| Box::new(draw.reply())),
            }),
            33 => {
                let (node, lease) = (NodeId(self.u64()), self.offset());
                let home = self.bool().then_some(HomeName { node, lease });
                Letter::Whose(Box::new((self.text().into(), home)))
            }
            _ => Letter::Credit(self.u64() as usize),
        }
    }

    pub(super) fn op(&mut self, request: OpKind) -> Letter {
        let name = self.text();
        let seq = match &request {
            OpKind::Publish(publish) => publish.seq,
            _ => self.offset(),
        };
        let head = OpHead {
            room: RoomRef {
                hash: NameHash::new(HASH_KEY).hash(&name),
                name: name.into(),
                id: self.number(),
                node: NodeNumber::OWN,
            },
            conn: self.own_conn(),
            encoding: self.encoding(),
            player: self.maybe(Draw::u32).unwrap_or(OpHead::NEWCOMER),
            born: self.born(),
            window: self.u32(),
            seq,
            request_id: self.u32(),
        };
        Letter::Op(Op { head, request })
    }

    fn request(&mut self, nth: u64) -> OpKind {
        match nth {
            0 => OpKind::Join(Box::new(Join {
                client_id: self.client(),
                nickname: self.text().into(),
                presence: self.presence(),
                edge_room: self.number(),
                user_id: self.text().into(),
                place: self.place(),
                turn: self.u64(),
            })),
            1 => OpKind::Leave(Leave {
                gone: self.bool(),
                edge_room: self.number(),
                client_id: self.client(),
                turn: self.u64(),
            }),
            2 => OpKind::Detach,
            3 => OpKind::Resume(Box::new(Resume {
                client_id: self.client(),
                edge_room: self.number(),
                place: self.place(),
                by_edge: self.bool(),
                turn: self.u64(),
            })),
            4 => OpKind::ReadLog(ReadLog {
                after: self.offset(),
                edge_room: self.number(),
            }),
            5 => OpKind::History(HistoryRequest {
                before: self.offset(),
                after: self.maybe(Draw::offset),
                limit: self.u32(),
            }),
            6 => OpKind::Skip,
            7 => OpKind::Refused(self.error_code()),
            8 => OpKind::Forbidden(self.message_type(), Rights::from_bits(self.u64() as u8)),
            9 => OpKind::Publish(self.publish()),
            10 => OpKind::Presence(PresenceUpdate {
                nickname: self.maybe(|draw| format!("a{}", draw.text()).into()),
                ..self.presence()
            }),
            11 => OpKind::Members(MembersPage {
                after: self.u32(),
                limit: self.u32(),
            }),
            _ => OpKind::ReadState(ReadState {
                from: self.position(),
                edge_room: self.number(),
            }),
        }
    }

    fn ask(&mut self) -> Ask {
        match self.u64() % 12 {
            0 => Ask::Newer,
            11 => Ask::Tail {
                tap: self.u64(),
                after: self.u64(),
            },
            9 => Ask::Properties,
            10 => Ask::SetProperties(self.presence()),
            8 => Ask::Rules,
            4 => Ask::Kick {
                user: self.text().into(),
            },
            5 => Ask::Ban {
                user: self.text().into(),
                until: self.u64() as i64,
            },
            6 => Ask::Lock {
                until: self.u64() as i64,
            },
            7 => Ask::Clear,
            1 => Ask::Members {
                after: self.u32(),
                limit: self.u32(),
            },
            2 => Ask::History(HistoryRequest {
                before: self.offset(),
                after: self.maybe(Draw::offset),
                limit: self.u32(),
            }),
            _ => Ask::Publish(Publication {
                message_type: self.message_type(),
                payload_kind: self.payload_kind(),
                name: self.text().into(),
                payload: self.bytes().into(),
                ephemeral: self.bool(),
                once: self.maybe(Draw::client),
                service: self.text().into(),
                trace: self.maybe(Draw::trace),
            }),
        }
    }

    fn trace(&mut self) -> TraceContext {
        TraceContext {
            trace: u128::from(self.u64()) << 64 | u128::from(self.u64()),
            span: self.u64(),
        }
    }

    fn query(&mut self) -> Query {
        match self.u64() % 9 {
            0 => Query::Newer,
            7 => Query::Whose(self.text().into()),
            4 => Query::Nodes,
            5 => Query::Top(TopQuery {
                order: match self.u64() % 3 {
                    0 => TopOrder::Busiest,
                    1 => TopOrder::Biggest,
                    _ => TopOrder::Slowest,
                },
                kind: self.text().into(),
                limit: self.u32(),
            }),
            6 => Query::Connections(ConnectionsQuery {
                whose: match self.u64() % 3 {
                    0 => Whose::Lagging,
                    1 => Whose::Room(self.text().into()),
                    _ => Whose::User(self.text().into()),
                },
                limit: self.u32(),
            }),
            8 => Query::Batch(Batch {
                stream: [self.u64() as u8; 16],
                number: self.u64(),
                close: self.u64() as u16,
                body: self.bytes().into(),
            }),
            1 => Query::Rooms(RoomsQuery {
                kind: self.text().into(),
                prefix: self.text().into(),
                after: self.text().into(),
                limit: self.u32(),
            }),
            2 => Query::Sessions {
                user: self.text().into(),
                clients: self.list(Draw::client),
            },
            _ => Query::Disconnect {
                user: self.text().into(),
                clients: self.list(Draw::client),
                reason: self.text().into(),
            },
        }
    }

    fn found(&mut self) -> Found {
        match self.u64() % 11 {
            0 => Found::Unknown,
            7 => Found::Whose(self.list(Draw::client)),
            4 => Found::Node(Box::new(self.node_line())),
            5 => Found::Top(self.list(|draw| TopLine {
                room: draw.text().into(),
                members: draw.u32(),
                rate: draw.u64(),
                lagging: draw.u32(),
                pending: draw.u64(),
            })),
            6 => Found::Connections(self.list(Draw::connection_line)),
            8 => Found::Taken(Taken::Done),
            9 => Found::Taken(Taken::Gone),
            10 => Found::Taken(Taken::OutOfOrder(self.u64())),
            1 => Found::Rooms {
                rooms: self.list(|draw| RoomLine {
                    room: draw.text().into(),
                    members: draw.u32(),
                    properties: draw.text().into(),
                }),
                cut: self.maybe(|draw| draw.text().into()),
            },
            2 => Found::Sessions(self.list(|draw| SessionLine {
                client: draw.client(),
                connected: draw.bool(),
                rooms: draw.list(|draw| draw.text().into()),
            })),
            _ => Found::Ended(self.u32()),
        }
    }

    fn node_line(&mut self) -> NodeLine {
        NodeLine {
            node: self.text().into(),
            own: self.bool(),
            version: self.text().into(),
            draining: self.bool(),
            leased: self.bool(),
            settled: self.bool(),
            shards: self.u32(),
            counters: self.list(|draw| (draw.text().into(), draw.u64())),
        }
    }

    fn connection_line(&mut self) -> ConnectionLine {
        ConnectionLine {
            node: self.text().into(),
            client: self.client(),
            user: self.text().into(),
            player_num: self.u32(),
            connected: self.bool(),
            protobuf: self.bool(),
            pending: [self.u64(), self.u64(), self.u64()],
            blocked: self.u64(),
            behind: self.u64(),
            idle: self.u64(),
            rooms: self.u32(),
        }
    }

    fn reply(&mut self) -> Reply {
        match self.u64() % 6 {
            5 => Reply::Properties(self.text().into()),
            3 => Reply::Done(self.u32()),
            4 => Reply::Rules {
                bans: vec![(self.text().into(), self.u64() as i64)],
                locked_until: self.u64() as i64,
            },
            1 => Reply::Message(self.bytes().into()),
            0 => Reply::Published(Published {
                epoch: Epoch::from_random(self.u64()),
                offset: self.offset(),
                timestamp: self.u64() as i64,
                repeated: self.bool(),
            }),
            _ => Reply::Failed(Failure {
                code: self.error_code(),
                sentence: self.text().into(),
                retry_after_ms: self.offset(),
            }),
        }
    }

    fn publish(&mut self) -> Publish {
        let (bytes, name_length) = self.name_and_payload();
        Publish {
            message_type: self.message_type(),
            format: self.one_of(&Format::ALL),
            payload_kind: self.payload_kind(),
            bytes,
            name_length,
            seq: self.offset(),
            ephemeral: self.bool(),
            no_echo: self.maybe(Draw::bool),
        }
    }

    fn message(&mut self, nth: u64) -> ToEdge {
        let (conn, edge_room) = (self.number(), self.number());
        match nth {
            0 => ToEdge::Deliver(self.delivery()),
            1 => ToEdge::Joined(Box::new(Joined {
                conn,
                edge_room,
                room: self.number(),
                player: self.u32(),
                epoch: Epoch::from_random(self.u64()),
                version: self.offset(),
                answer: self.chunk(),
                slice: self.slice(),
                unasked: self.bool(),
                state: self.maybe(Draw::position),
            })),
            2 => ToEdge::JoinedAgain {
                conn,
                edge_room,
                answer: self.chunk(),
            },
            3 => ToEdge::JoinRefused {
                conn,
                edge_room,
                error: self.chunk(),
                code: self.error_code(),
            },
            4 => ToEdge::Left {
                conn,
                edge_room,
                asked: self.bool(),
                farewell: self.maybe(Draw::chunk),
            },
            5 => ToEdge::Answer {
                conn,
                answer: self.chunk(),
                offence: self.maybe(Draw::error_code),
                ordered: self.bool(),
            },
            6 => ToEdge::Accepted {
                conn,
                window: self.u32(),
                operations: self.u32(),
            },
            7 => ToEdge::LogSlice {
                conn,
                edge_room,
                slice: self.maybe(Draw::slice),
            },
            8 => ToEdge::ComeBack { conn },
            9 => ToEdge::HomeGone {
                room: self.text().into(),
            },
            10 => ToEdge::Renamed {
                edge_room,
                epoch: Epoch::from_random(self.u64()),
            },
            _ => ToEdge::NewestState {
                conn,
                edge_room,
                from: self.position(),
                newest: self.maybe(|draw| NewestState {
                    to: draw.position(),
                    state: draw.maybe(Draw::chunk),
                }),
            },
        }
    }

    pub(super) fn delivery(&mut self) -> Delivery {
        let mut encoded = || -> Encoded { std::array::from_fn(|_| self.maybe(Draw::chunk)) };
        let (events, state) = (encoded(), encoded());
        let exclusion = |draw: &mut Draw| {
            let start = draw.u32();
            Exclusion {
                conn: ConnRef {
                    shard: READER,
                    conn: draw.number(),
                },
                state_lane: draw.bool(),
                offset: draw.offset(),
                start,
                end: start.saturating_add(draw.u32()),
            }
        };
        let base = self.offset() / 2;
        Delivery {
            edge_room: self.number(),
            events,
            state,
            base,
            last: self.maybe(|draw| base + 1 + draw.offset() / 4).unwrap_or(0),
            version: self.maybe(Draw::offset),
            exclusions: self.list(exclusion),
            bytes: self.u64() as usize,
            traced: {
                let traced = self.list(|draw| Traced {
                    parent: draw.trace(),
                    at: NOW,
                });
                Some(traced).filter(|it| !it.is_empty()).map(Box::new)
            },
        }
    }

    fn slice(&mut self) -> Slice {
        Slice {
            events: self.maybe(Draw::chunk),
            after: self.offset(),
            to: self.offset(),
            caught_up: self.bool(),
        }
    }

    fn direct(&mut self) -> DirectMessage {
        let to = match self.list(Draw::client) {
            clients if clients.is_empty() => Recipient::User,
            clients => Recipient::Clients(clients.into()),
        };
        DirectMessage {
            to,
            from: self.own_conn(),
            from_encoding: self.encoding(),
            born: self.born(),
            window: self.u32(),
            request_id: self.u32(),
            body: Arc::new(self.body()),
        }
    }

    fn body(&mut self) -> DirectBody {
        let (bytes, name_length) = self.name_and_payload();
        DirectBody {
            message_type: self.message_type(),
            payload_kind: self.payload_kind(),
            from: self.client(),
            from_user: self.text().into(),
            service: self.text().into(),
            to_user: self.text().into(),
            seq: self.offset(),
            ephemeral: self.bool(),
            bytes: bytes.into(),
            name_length,
        }
    }

    fn receipt(&mut self) -> Receipted {
        Receipted {
            sender: self.client(),
            seq: self.offset(),
            request: self.message_type(),
            request_id: self.u32(),
            receipt: match self.u64() % 3 {
                0 => Receipt::Stored(self.offset()),
                1 => Receipt::Failed(self.error_code()),
                _ => Receipt::Copies(self.u32()),
            },
        }
    }
}
