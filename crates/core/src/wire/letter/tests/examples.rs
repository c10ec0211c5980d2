//! One letter of each kind, as a cluster sends them.

use std::sync::Arc;

use roomcast_protocol::{
    ErrorCode, Format, HistoryRequest, MessageType, PayloadKind, PresenceUpdate,
};

use super::{READER, SENDER};
use crate::address::NodeNumber;
use crate::backend::{
    Ask, Batch, ConnectionLine, ConnectionsQuery, Failure, Found, NodeLine, Publication, Published,
    Query, Reply, RoomLine, RoomsQuery, SessionLine, Taken, TopLine, TopOrder, TopQuery, Whose,
};
use crate::chunk::{Chunk, ChunkPool};
use crate::direct::DirectBody;
use crate::host::Encoding;
use crate::id::{ClientId, ConnId, ConnRef, EdgeRoomId, HomeRoomId, NameHash};
use crate::identity::Rights;
use crate::letter::{
    Delivery, DirectMessage, Exclusion, Join, Joined, Leave, Letter, MembersPage, NewestState,
    News, Op, OpHead, OpKind, Place, Publish, ReadLog, ReadState, Receipt, Receipted, Recipient,
    Resume, RoomRef, SessionTaken, Slice, ToEdge, UserSession,
};
use crate::log::{Epoch, Since};
use crate::state_position::StatePosition;
use crate::store::{HomeName, NodeId, StoreId};
use crate::table::Number;

/// Microseconds at which all letters are written and read.
pub(super) const NOW: u64 = 1_000_000_000_000;
pub(super) const HASH_KEY: [u64; 2] = [1, 2];

pub(super) fn examples() -> Vec<(&'static str, Letter)> {
    let ops = ops();
    let ops = ops.map(|(name, request)| (name, op(request)));
    let to_edge = to_edge().map(|(name, message)| (name, Letter::Edge(message)));
    ops.into_iter().chain(to_edge).chain(others()).collect()
}

fn client(number: u64) -> ClientId {
    ClientId::from_random([number, 0])
}

fn conn(place: u32) -> ConnId {
    ConnId::new(place, 2)
}

fn edge_room() -> EdgeRoomId {
    EdgeRoomId::new(210, 1)
}

fn chunk(text: &str) -> Arc<Chunk> {
    ChunkPool::new().copy(text.as_bytes(), NOW - 300, 1)
}

fn place() -> Place {
    Place {
        since: Some(Since {
            epoch: Epoch::parse("0123456789abcdef").unwrap(),
            offset: 1_000,
        }),
        first_seq: 12,
    }
}

fn presence() -> PresenceUpdate<'static> {
    let status = ("status".into(), Some("\"away\"".into()));
    PresenceUpdate {
        keys: vec![status, ("typing".into(), None)],
        nickname: None,
    }
}

fn position() -> StatePosition {
    StatePosition {
        since: 700,
        begun: 710,
        cursor: 64,
    }
}

fn op(request: OpKind) -> Letter {
    let name = "chat:42";
    let is_publish = matches!(request, OpKind::Publish(_));
    let head = OpHead {
        room: RoomRef {
            name: name.into(),
            hash: NameHash::new(HASH_KEY).hash(name),
            id: HomeRoomId::new(150, 3),
            node: NodeNumber::OWN,
        },
        conn: ConnRef {
            shard: SENDER,
            conn: conn(5_000),
        },
        encoding: Encoding::ALL[1],
        player: match request {
            OpKind::Join(_) => OpHead::NEWCOMER,
            _ => 7,
        },
        born: NOW - 40,
        window: 300,
        seq: if is_publish { 12 } else { 0 },
        request_id: 0,
    };
    Letter::Op(Op { head, request })
}

fn ops() -> [(&'static str, OpKind); 15] {
    let join = Join {
        client_id: client(1),
        nickname: "Ann".into(),
        presence: presence(),
        edge_room: edge_room(),
        user_id: "user-1".into(),
        place: Place::default(),
        turn: 1,
    };
    let leave = Leave {
        gone: false,
        edge_room: edge_room(),
        client_id: client(1),
        turn: 0,
    };
    let resume = Resume {
        client_id: client(1),
        edge_room: edge_room(),
        place: place(),
        by_edge: true,
        turn: 2,
    };
    let read_log = ReadLog {
        after: 1_000,
        edge_room: edge_room(),
    };
    let history = HistoryRequest {
        before: 0,
        after: Some(1_000),
        limit: 50,
    };
    let publish = Publish {
        message_type: MessageType::Event,
        format: Format::Json,
        payload_kind: PayloadKind::Json,
        bytes: format!("draw\"{}\"", "x".repeat(126)).into_bytes(),
        name_length: 4,
        seq: 12,
        ephemeral: false,
        no_echo: Some(true),
    };
    let read_state = ReadState {
        from: position(),
        edge_room: edge_room(),
    };
    [
        ("join", OpKind::Join(Box::new(join))),
        ("leave", OpKind::Leave(leave)),
        ("leave_of_turn", OpKind::Leave(Leave { turn: 2, ..leave })),
        ("detach", OpKind::Detach),
        ("resume", OpKind::Resume(Box::new(resume))),
        ("read_log", OpKind::ReadLog(read_log)),
        ("history", OpKind::History(history)),
        ("skip", OpKind::Skip),
        ("refused", OpKind::Refused(ErrorCode::TooLarge)),
        (
            "forbidden",
            OpKind::Forbidden(MessageType::Chat, Rights::PUBLISH),
        ),
        ("publish", OpKind::Publish(publish)),
        ("presence", OpKind::Presence(presence())),
        (
            "presence_nickname",
            OpKind::Presence(PresenceUpdate {
                keys: Vec::new(),
                nickname: Some("Ada".into()),
            }),
        ),
        (
            "members",
            OpKind::Members(MembersPage {
                after: 100,
                limit: 20,
            }),
        ),
        ("read_state", OpKind::ReadState(read_state)),
    ]
}

fn to_edge() -> [(&'static str, ToEdge); 12] {
    let (conn, edge_room) = (conn(5_000), edge_room());
    let slice = || Slice {
        events: Some(chunk("missed")),
        after: 1_000,
        to: 1_004,
        caught_up: true,
    };
    let event = "e".repeat(200);
    let delivery = Delivery {
        edge_room,
        events: [Some(chunk(&event)), None, None, None],
        state: [None, None, None, None],
        base: 1_004,
        last: 1_005,
        version: None,
        exclusions: Vec::new(),
        bytes: event.len(),
        traced: None,
    };
    let joined = Joined {
        conn,
        edge_room,
        room: HomeRoomId::new(150, 3),
        player: 7,
        epoch: Epoch::parse("0123456789abcdef").unwrap(),
        version: 710,
        answer: chunk("joined"),
        slice: slice(),
        unasked: false,
        state: Some(position()),
    };
    [
        ("deliver", ToEdge::Deliver(delivery)),
        ("joined", ToEdge::Joined(Box::new(joined))),
        (
            "joined_again",
            ToEdge::JoinedAgain {
                conn,
                edge_room,
                answer: chunk("joined"),
            },
        ),
        (
            "join_refused",
            ToEdge::JoinRefused {
                conn,
                edge_room,
                error: chunk("error"),
                code: ErrorCode::RoomFull,
            },
        ),
        (
            "left",
            ToEdge::Left {
                conn,
                edge_room,
                asked: true,
                farewell: Some(chunk("left")),
            },
        ),
        (
            "answer",
            ToEdge::Answer {
                conn,
                answer: chunk("answer"),
                offence: Some(ErrorCode::NotInRoom),
                ordered: false,
            },
        ),
        (
            "accepted",
            ToEdge::Accepted {
                conn,
                window: 300,
                operations: 1,
            },
        ),
        ("come_back", ToEdge::ComeBack { conn }),
        (
            "home_gone",
            ToEdge::HomeGone {
                room: "chat:42".into(),
            },
        ),
        (
            "renamed",
            ToEdge::Renamed {
                edge_room,
                epoch: Epoch::from_random(7),
            },
        ),
        (
            "log_slice",
            ToEdge::LogSlice {
                conn,
                edge_room,
                slice: Some(slice()),
            },
        ),
        (
            "newest_state",
            ToEdge::NewestState {
                conn,
                edge_room,
                from: position(),
                newest: Some(NewestState {
                    to: StatePosition::at(720),
                    state: Some(chunk("sync")),
                }),
            },
        ),
    ]
}

fn others() -> Vec<(&'static str, Letter)> {
    let exclusion = |state_lane, start| Exclusion {
        conn: ConnRef {
            shard: READER,
            conn: conn(5_000),
        },
        state_lane,
        offset: 1_005,
        start,
        end: start + 4,
    };
    let delivery = Delivery {
        edge_room: edge_room(),
        events: [None, Some(chunk("packed json")), None, None],
        state: [None, None, Some(chunk("protobuf")), None],
        base: 1_004,
        last: 1_006,
        version: Some(711),
        exclusions: vec![exclusion(false, 0), exclusion(true, 4)],
        bytes: 19,
        traced: None,
    };
    let body = |message_type, to_user: &str, name_length, bytes: &str| DirectBody {
        message_type,
        payload_kind: PayloadKind::Text,
        from: client(1),
        from_user: "".into(),
        service: "".into(),
        to_user: to_user.into(),
        seq: 3,
        ephemeral: false,
        bytes: bytes.as_bytes().into(),
        name_length,
    };
    let direct = |to, body| {
        Letter::Direct(Box::new(DirectMessage {
            to,
            from: ConnRef {
                shard: SENDER,
                conn: conn(5_000),
            },
            from_encoding: Encoding::ALL[0],
            born: NOW - 40,
            window: 300,
            request_id: 9,
            body: Arc::new(body),
        }))
    };
    let event = body(MessageType::Event, "", 4, "wavehello");
    let to_user = body(MessageType::Chat, "user-2", 0, "hello");
    let from_user = DirectBody {
        from_user: "user-1".into(),
        ..body(MessageType::Chat, "user-2", 0, "hello")
    };
    let receipt = |receipt| {
        Letter::Receipt(Receipted {
            sender: client(1),
            seq: 3,
            request: MessageType::Event,
            request_id: 9,
            receipt,
        })
    };
    let news = |turn| News {
        client: client(2),
        offset: 78,
        store: StoreId(0x0123_4567_89ab_cdef << 64 | 5),
        turn,
        unix_ms: 1_700_000_000_123,
        body: Arc::new(body(MessageType::Chat, "", 0, "hello")),
    };
    let taken = SessionTaken {
        client: client(1),
        turn: 3,
        shown: 2,
    };
    let home = HomeName {
        node: NodeId(0x0123_4567_89ab_cdef),
        lease: 2,
    };
    let user = UserSession {
        user_id: "user-1".into(),
        session: client(1),
        present: true,
    };
    let publication = Publication {
        message_type: MessageType::Event,
        payload_kind: PayloadKind::Json,
        name: "shipped".into(),
        payload: b"{}".as_slice().into(),
        ephemeral: false,
        once: Some(ClientId::of_key("shop", "order-1")),
        service: "shop".into(),
        trace: None,
    };
    let published = Published {
        epoch: Epoch::from_random(7),
        offset: 1_005,
        timestamp: 1_700_000_000_123,
        repeated: false,
    };
    let failure = Failure {
        code: ErrorCode::Unavailable,
        sentence: "later".into(),
        retry_after_ms: 1_000,
    };
    let history = HistoryRequest {
        before: 0,
        after: Some(1_000),
        limit: 50,
    };
    let rooms = RoomsQuery {
        kind: "chat".into(),
        prefix: "chat:4".into(),
        after: "chat:41".into(),
        limit: 100,
    };
    let disconnect = Query::Disconnect {
        user: "user-1".into(),
        clients: vec![client(1)],
        reason: "enough".into(),
    };
    let sessions = Query::Sessions {
        user: "user-1".into(),
        clients: vec![client(1)],
    };
    let found_rooms = |rooms| {
        let cut = Some("chat:50".into());
        Found::Rooms { rooms, cut }
    };
    let line = RoomLine {
        room: "chat:42".into(),
        members: 3,
        properties: r#"{"title":"tea"}"#.into(),
    };
    let session = SessionLine {
        client: client(1),
        connected: true,
        rooms: vec!["chat:42".into()],
    };
    let top = TopQuery {
        order: TopOrder::Slowest,
        kind: "chat".into(),
        limit: 10,
    };
    let connections = ConnectionsQuery {
        whose: Whose::Room("chat:42".into()),
        limit: 10,
    };
    let top_line = TopLine {
        room: "chat:42".into(),
        members: 3,
        rate: 1_500,
        lagging: 1,
        pending: 70_000,
    };
    let connection = ConnectionLine {
        node: "00000000000000ab".into(),
        client: client(1),
        user: "user-1".into(),
        player_num: 2,
        connected: true,
        protobuf: false,
        pending: [65_536, 1_024, 12],
        blocked: 1_500,
        behind: 0,
        idle: 20,
        rooms: 1,
    };
    let node = NodeLine {
        node: "00000000000000ab".into(),
        own: false,
        version: "0.1.0".into(),
        draining: true,
        leased: true,
        settled: false,
        shards: 1,
        counters: vec![("connections".into(), 300)],
    };
    let batch = Batch {
        stream: [5; 16],
        number: 6,
        close: 1_000,
        body: b"{}\n".as_slice().into(),
    };
    let query = |query| Letter::Query(Box::new((9, query)));
    let found = |found| Letter::Found(Box::new((9, found)));
    let ask = |ask| op(OpKind::Backend(Arc::new(ask)));
    let reply = |reply: Option<Reply>| {
        let (conn, reply) = (conn(5_000), reply.map(Box::new));
        Letter::Edge(ToEdge::Backend { conn, reply })
    };
    vec![
        ("ask_publish", ask(Ask::Publish(publication))),
        (
            "ask_members",
            ask(Ask::Members {
                after: 100,
                limit: 20,
            }),
        ),
        ("ask_history", ask(Ask::History(history))),
        (
            "ask_kick",
            ask(Ask::Kick {
                user: "user-1".into(),
            }),
        ),
        (
            "ask_ban",
            ask(Ask::Ban {
                user: "user-1".into(),
                until: 1_700_000_000_123,
            }),
        ),
        (
            "ask_lock",
            ask(Ask::Lock {
                until: 1_700_000_000_123,
            }),
        ),
        ("ask_clear", ask(Ask::Clear)),
        (
            "ask_tail",
            ask(Ask::Tail {
                tap: 0x1234,
                after: 700,
            }),
        ),
        ("query_nodes", query(Query::Nodes)),
        ("query_top", query(Query::Top(top))),
        ("query_connections", query(Query::Connections(connections))),
        ("found_node", found(Found::Node(Box::new(node)))),
        ("found_top", found(Found::Top(vec![top_line]))),
        (
            "found_connections",
            found(Found::Connections(vec![connection])),
        ),
        ("ask_rules", ask(Ask::Rules)),
        ("ask_properties", ask(Ask::Properties)),
        (
            "ask_set_properties",
            ask(Ask::SetProperties(PresenceUpdate {
                keys: vec![
                    ("title".into(), Some(r#""tea""#.into())),
                    ("old".into(), None),
                ],
                nickname: None,
            })),
        ),
        (
            "reply_properties",
            reply(Some(Reply::Properties(r#"{"title":"tea"}"#.into()))),
        ),
        (
            "reply_rules",
            reply(Some(Reply::Rules {
                bans: vec![("user-1".into(), 1_700_000_000_123)],
                locked_until: 0,
            })),
        ),
        ("reply_done", reply(Some(Reply::Done(2)))),
        (
            "reply_message",
            reply(Some(Reply::Message(b"{}".as_slice().into()))),
        ),
        ("query_rooms", query(Query::Rooms(rooms))),
        ("query_sessions", query(sessions)),
        ("query_disconnect", query(disconnect)),
        ("query_batch", query(Query::Batch(batch))),
        ("query_whose", query(Query::Whose("user-1".into()))),
        ("found_whose", found(Found::Whose(vec![client(1)]))),
        ("found_rooms", found(found_rooms(vec![line]))),
        ("found_sessions", found(Found::Sessions(vec![session]))),
        ("found_ended", found(Found::Ended(2))),
        ("found_taken", found(Found::Taken(Taken::Done))),
        ("found_gone", found(Found::Taken(Taken::Gone))),
        ("found_busy", found(Found::Taken(Taken::Busy))),
        (
            "found_out_of_order",
            found(Found::Taken(Taken::OutOfOrder(7))),
        ),
        ("found_unknown", found(Found::Unknown)),
        ("reply_published", reply(Some(Reply::Published(published)))),
        ("reply_failed", reply(Some(Reply::Failed(failure)))),
        ("reply_again", reply(None)),
        ("deliver_without", Letter::Edge(ToEdge::Deliver(delivery))),
        ("direct", direct(Recipient::client(client(2)), event)),
        ("direct_to_user", direct(Recipient::User, to_user)),
        ("direct_from_user", direct(Recipient::User, from_user)),
        ("stored", receipt(Receipt::Stored(77))),
        (
            "failed",
            receipt(Receipt::Failed(ErrorCode::RecipientNotFound)),
        ),
        ("copies", receipt(Receipt::Copies(3))),
        ("user", Letter::User(Box::new(user))),
        ("session_refused", Letter::SessionRefused(client(1))),
        ("news", Letter::News(Box::new(news(0)))),
        (
            "news_of_turn",
            Letter::News(Box::new(news(1_700_000_000_000))),
        ),
        ("news_lost", Letter::NewsLost),
        ("session_taken", Letter::SessionTaken(taken)),
        ("credit", Letter::Credit(70_000)),
        (
            "gateway_home_gone",
            Letter::HomeGone {
                room: "chat:42".into(),
                ends: false,
            },
        ),
        ("wanted", Letter::Wanted("chat:42".into())),
        (
            "whose",
            Letter::Whose(Box::new(("chat:42".into(), Some(home)))),
        ),
        (
            "whose_unknown",
            Letter::Whose(Box::new(("chat:42".into(), None))),
        ),
    ]
}
