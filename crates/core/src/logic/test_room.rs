//! A room for tests of logic: without a server, a client or a clock.

use std::borrow::Cow;
use std::collections::VecDeque;

use roomcast_protocol::{ErrorCode, Format, GameAction, Limits, PayloadKind, names, presence};
use serde::Serialize;
use serde_json::Value;
use smallvec::smallvec;

use crate::address::ShardAddress;
use crate::host::Encoding;
use crate::id::{ClientId, ConnId, ConnRef};
use crate::logic::outcome::to_json;
use crate::logic::{
    Changed, Effect, LogicRules, Outcome, Profile, Refusal, RoomContext, RoomEvent, RoomLogic,
    RoomParts, update_of,
};
use crate::member::{Member, Seat};
use crate::numbered::Numbered;
use crate::player::{PlayerBody, PlayerNum};
use crate::settings::Kind;
use crate::time::{Now, micros};

/// What a room has said, or done to a member.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The logic's event, to all.
    Broadcast {
        /// Its name.
        name: String,
        /// Its payload.
        payload: Value,
    },
    /// The logic's event, to one player.
    Sent {
        /// To whom.
        to: PlayerNum,
        /// Its name.
        name: String,
        /// Its payload.
        payload: Value,
    },
    /// What a member or a service has sent, passed on to all.
    Relayed {
        /// The member; 0 of a service.
        from: PlayerNum,
        /// The event's name or the action; none of a chat.
        name: Option<String>,
        /// The payload. Bytes are base64.
        payload: Value,
    },
    /// A player was put out.
    Kicked {
        /// Who.
        player: PlayerNum,
        /// Why.
        reason: String,
    },
}

/// A room with its logic, for tests. It keeps the rules that a server keeps: who is asked, which names are held, and
/// what waits for what.
///
/// Time passes with [`TestRoom::advance`] alone, and random numbers are the same in each run.
///
/// ```
/// use roomcast_core::{Outcome, PlayerNum, RoomContext, RoomLogic, Said, TestRoom};
/// use roomcast_protocol::GameAction;
/// use serde_json::json;
///
/// #[derive(Default)]
/// struct Counter(u32);
///
/// impl RoomLogic for Counter {
///     fn action(&mut self, room: &mut RoomContext<'_>, player: PlayerNum, action: &GameAction<'_>) -> Outcome {
///         if action.action() != "count" {
///             return Outcome::refused("only counting is done here");
///         }
///         self.0 += 1;
///         room.broadcast("count", &json!({ "by": player, "count": self.0 }));
///         Outcome::Handled
///     }
/// }
///
/// let mut room = TestRoom::new("counter:1", Counter::default());
/// let ann = room.join("ann").unwrap();
/// room.action(ann, &json!({ "action": "count" })).unwrap();
/// assert_eq!(
///     room.said(),
///     [Said::Broadcast { name: "count".into(), payload: json!({ "by": 1, "count": 1 }) }]
/// );
/// assert_eq!(room.action(ann, &json!({ "action": "sing" })).unwrap_err().code.as_str(), "action_refused");
/// // A member can't say what only the logic says.
/// assert!(room.event(ann, "count", &json!({ "by": 1, "count": 99 })).is_err());
/// ```
#[derive(Debug)]
pub struct TestRoom<L> {
    logic: L,
    rules: LogicRules,
    name: String,
    kind: Kind,
    limits: Limits,
    members: Numbered<Member>,
    next_num: PlayerNum,
    changed: Vec<PlayerNum>,
    now: Now,
    wake_at: u64,
    random: u64,
    said: Vec<Said>,
    /// Who leaves once the call is over.
    out: VecDeque<PlayerNum>,
    /// Who does so now, and can't be put out once more.
    leaving: PlayerNum,
}

impl<L: RoomLogic> TestRoom<L> {
    /// A room with this name, and settings of the default kind.
    pub fn new(name: &str, logic: L) -> TestRoom<L> {
        TestRoom::of_kind(name, Kind::default(), logic)
    }

    /// A room of a kind with settings of its own.
    pub fn of_kind(name: &str, kind: Kind, logic: L) -> TestRoom<L> {
        TestRoom {
            rules: LogicRules::of(&logic),
            logic,
            name: name.to_owned(),
            kind,
            limits: Limits::default(),
            members: Numbered::default(),
            next_num: 1,
            changed: Vec::new(),
            now: Now {
                micros: 1_000_000,
                unix_ms: 1_700_000_000_000,
            },
            wake_at: u64::MAX,
            random: 0,
            said: Vec::new(),
            out: VecDeque::new(),
            leaving: 0,
        }
    }

    /// Somebody joins, without a nickname and a presence.
    ///
    /// # Errors
    /// The room is full, or its logic does not let it in.
    pub fn join(&mut self, id: &str) -> Result<PlayerNum, Refusal> {
        self.join_as(id, "", &Value::Null)
    }

    /// Somebody joins, with what it wants to show of itself. `presence` is an object, or null.
    ///
    /// # Errors
    /// The room is full, or its logic does not let it in; or a nickname or presence that no client can have.
    pub fn join_as<T: Serialize + ?Sized>(
        &mut self,
        id: &str,
        nickname: &str,
        presence: &T,
    ) -> Result<PlayerNum, Refusal> {
        let most = self.kind.max_players as usize;
        if most > 0 && self.members.len() >= most {
            return Err(Refusal::new("the room is full").with_code(ErrorCode::RoomFull));
        }
        let (nickname, presence) =
            self.ask_profile(id, nickname, presence, |logic, room, it| {
                logic.admit(room, it)
            })?;
        let player = self.next_num;
        self.next_num += 1;
        let member = Member {
            seats: smallvec![seat(player)],
            user_id: id.into(),
            nickname: nickname.into(),
            presence: presence.into(),
            presence_version: 0,
            body: PlayerBody::default(),
            body_version: 0,
            changed: false,
        };
        self.members.insert(player, member);
        self.call(|logic, room| logic.join(room, player));
        Ok(player)
    }

    /// A player leaves.
    pub fn leave(&mut self, player: PlayerNum) {
        self.out.push_back(player);
        self.apply_all(Vec::new());
    }

    /// A player's connection is lost. It stays in the room.
    pub fn disconnect(&mut self, player: PlayerNum) {
        self.set_connected(player, false);
    }

    /// A player whose connection was lost is back.
    pub fn reconnect(&mut self, player: PlayerNum) {
        self.set_connected(player, true);
    }

    /// A player acts: an object with an `action`.
    ///
    /// # Errors
    /// It is against the rules, or no action.
    pub fn action<T: Serialize + ?Sized>(
        &mut self,
        player: PlayerNum,
        action: &T,
    ) -> Result<(), Refusal> {
        let json = to_json(action);
        let limits = self.limits.clone();
        let action = GameAction::parse(Format::Json, json.as_bytes(), &limits);
        let action = action.map_err(|bad| Refusal::new(bad.message).with_code(bad.code))?;
        let ask = |logic: &mut L, room: &mut RoomContext<'_>| logic.action(room, player, &action);
        let (outcome, effects) = self.ask(ask);
        let name = Some(action.action());
        let sent = (player, name, PayloadKind::Json, json.as_bytes());
        self.relay(sent, outcome, effects)
    }

    /// A player sends an event.
    ///
    /// # Errors
    /// It is against the rules, or only the logic sends events of this name.
    pub fn event<T: Serialize + ?Sized>(
        &mut self,
        player: PlayerNum,
        name: &str,
        payload: &T,
    ) -> Result<(), Refusal> {
        let json = to_json(payload);
        self.publish(Ok(player), Some(name), PayloadKind::Json, json.as_bytes())
    }

    /// A player says something.
    ///
    /// # Errors
    /// It is against the rules.
    pub fn chat(&mut self, player: PlayerNum, text: &str) -> Result<(), Refusal> {
        self.publish(Ok(player), None, PayloadKind::Text, text.as_bytes())
    }

    /// An application's backend publishes an event, with the API key of this name.
    ///
    /// # Errors
    /// It is against the rules, or only the logic sends events of this name.
    pub fn service_event<T: Serialize + ?Sized>(
        &mut self,
        service: &str,
        name: &str,
        payload: &T,
    ) -> Result<(), Refusal> {
        let json = to_json(payload);
        self.publish(Err(service), Some(name), PayloadKind::Json, json.as_bytes())
    }

    /// A player shows something else of itself. `presence` has all its keys.
    ///
    /// # Errors
    /// The logic does not take it, or it is a nickname or a presence that no client can have.
    pub fn presence<T: Serialize + ?Sized>(
        &mut self,
        player: PlayerNum,
        nickname: &str,
        presence: &T,
    ) -> Result<(), Refusal> {
        let id = self.members.get(&player).map(|it| it.user_id.clone());
        let id = id.ok_or_else(|| Refusal::new("not here").with_code(ErrorCode::NotInRoom))?;
        let ask = self.ask_profile(&id, nickname, presence, |logic, room, it| {
            logic.presence(room, player, it)
        });
        let (nickname, presence) = ask?;
        if let Some(member) = self.members.get_mut(&player) {
            (member.nickname, member.presence) = (nickname.into(), presence.into());
        }
        Ok(())
    }

    /// Time passes. Logic is woken when it has asked for it.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now.micros + micros(ms);
        while self.wake_at <= end {
            let at = std::mem::replace(&mut self.wake_at, u64::MAX);
            self.set_time(at.max(self.now.micros));
            self.call(|logic, room| logic.wake(room));
        }
        self.set_time(end);
    }

    /// What was said since the last time that it was asked.
    pub fn said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// The payloads of the logic's events of one name, to all or to some, since what was said was taken last.
    pub fn events(&self, event: &str) -> Vec<Value> {
        let of_name = |said: &Said| match said {
            Said::Broadcast { name, payload } | Said::Sent { name, payload, .. } => {
                (name == event).then(|| payload.clone())
            }
            _ => None,
        };
        self.said.iter().filter_map(of_name).collect()
    }

    /// The logic.
    pub fn logic(&self) -> &L {
        &self.logic
    }

    /// Calls something of the logic with the room, as a server would, and does what it has asked for.
    pub fn call<T>(&mut self, call: impl FnOnce(&mut L, &mut RoomContext<'_>) -> T) -> T {
        let (result, effects) = self.ask(call);
        self.apply_all(effects);
        result
    }

    /// Looks at the room as its logic does: members, states, the time.
    pub fn with<T>(&mut self, look: impl FnOnce(&mut RoomContext<'_>) -> T) -> T {
        self.call(|_, room| look(room))
    }

    /// Another server takes the room over: `fresh` goes on from what the logic saves, or begins anew where it saves
    /// nothing or takes nothing of it.
    pub fn moves_to(mut self, fresh: L) -> TestRoom<L> {
        let saved = self.logic.save();
        self.rules = LogicRules::of(&fresh);
        self.logic = fresh;
        let goes_on = saved.is_some_and(|it| self.call(|logic, room| logic.load(room, &it)));
        if !goes_on {
            self.wake_at = u64::MAX;
            let players: Vec<_> = self.members.iter().map(|(player, _)| *player).collect();
            for player in players {
                if let Some(member) = self.members.get_mut(&player) {
                    member.body = PlayerBody::default();
                }
                self.call(|logic, room| logic.join(room, player));
            }
        }
        self
    }

    fn set_time(&mut self, micros: u64) {
        let passed = (micros - self.now.micros) / 1_000;
        self.now.unix_ms = self.now.unix_ms.saturating_add_unsigned(passed);
        self.now.micros = micros;
    }

    fn set_connected(&mut self, player: PlayerNum, connected: bool) {
        if let Some(member) = self.members.get_mut(&player) {
            for seat in &mut member.seats {
                seat.connected = connected;
            }
            self.call(|logic, room| logic.connection(room, player));
        }
    }

    fn ask_profile<T: Serialize + ?Sized>(
        &mut self,
        id: &str,
        nickname: &str,
        presence: &T,
        ask: impl FnOnce(&mut L, &mut RoomContext<'_>, &mut Profile<'_>) -> Result<(), Refusal>,
    ) -> Result<(String, String), Refusal> {
        let limits = self.limits.clone();
        let presence = match to_json(presence) {
            none if none == "null" => String::new(),
            some => some,
        };
        let refused = |code| Refusal::new("no client can have this").with_code(code);
        if !nickname.is_empty() {
            names::validate_nickname(nickname, &limits).map_err(refused)?;
        }
        let merged = presence::merge("", &update_of(&presence)?, &limits).map_err(refused)?;
        let mut profile = Profile {
            id,
            nickname: Cow::Borrowed(nickname),
            presence: Cow::Owned(merged),
            limits: &limits,
        };
        if self.rules.hears_events() {
            self.call(|logic, room| ask(logic, room, &mut profile))?;
        }
        Ok((profile.nickname.into_owned(), profile.presence.into_owned()))
    }

    /// `from`: a member, or a service.
    fn publish(
        &mut self,
        from: Result<PlayerNum, &str>,
        name: Option<&str>,
        payload_kind: PayloadKind,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        if let Some(refusal) = name.and_then(|name| self.rules.holds(name, from.is_err())) {
            return Err(refusal);
        }
        let event = RoomEvent {
            name,
            payload_kind,
            payload,
            ephemeral: false,
        };
        let (outcome, effects) = match from {
            _ if !self.rules.hears_events() => (Outcome::Relay, Vec::new()),
            Ok(player) => self.ask(|logic, room| logic.event(room, player, &event)),
            Err(service) => self.ask(|logic, room| logic.service_event(room, service, &event)),
        };
        let sent = (from.unwrap_or(0), name, payload_kind, payload);
        self.relay(sent, outcome, effects)
    }

    /// What was sent goes before what the logic says to it.
    fn relay(
        &mut self,
        sent: (PlayerNum, Option<&str>, PayloadKind, &[u8]),
        outcome: Outcome,
        effects: Vec<Effect>,
    ) -> Result<(), Refusal> {
        let taken = self.relayed(sent, outcome);
        self.apply_all(effects);
        taken
    }

    fn relayed(
        &mut self,
        (from, name, payload_kind, payload): (PlayerNum, Option<&str>, PayloadKind, &[u8]),
        outcome: Outcome,
    ) -> Result<(), Refusal> {
        let (name, payload) = match outcome {
            Outcome::Handled => return Ok(()),
            Outcome::Refused(refusal) => return Err(refusal),
            Outcome::Relay => (name.map(str::to_owned), value(payload_kind, payload)),
            Outcome::RelayAs(Changed {
                name: other,
                payload_kind,
                payload,
            }) => {
                let other = other.map(String::from).filter(|_| name.is_some());
                let name = other.or_else(|| name.map(str::to_owned));
                (name, value(payload_kind, &payload))
            }
        };
        self.said.push(Said::Relayed {
            from,
            name,
            payload,
        });
        Ok(())
    }

    /// Does what logic has asked for. Who was put out leaves at last.
    fn apply_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.apply(effect);
        }
        while self.leaving == 0
            && let Some(player) = self.out.pop_front()
        {
            if self.members.get(&player).is_some() {
                self.leaving = player;
                self.call(|logic, room| logic.leave(room, player));
                self.leaving = 0;
                self.members.remove(&player);
            }
        }
    }

    fn apply(&mut self, effect: Effect) {
        let said = match effect {
            Effect::Broadcast { name, json } => Said::Broadcast {
                name: name.into(),
                payload: value(PayloadKind::Json, json.as_bytes()),
            },
            Effect::Send { to, name, json } => Said::Sent {
                to,
                name: name.into(),
                payload: value(PayloadKind::Json, json.as_bytes()),
            },
            Effect::Kick { player, reason } => {
                let is_out = self.out.contains(&player) || self.leaving == player;
                if is_out || self.members.get(&player).is_none() {
                    return;
                }
                self.out.push_back(player);
                Said::Kicked {
                    player,
                    reason: reason.into(),
                }
            }
        };
        self.said.push(said);
    }

    fn ask<T>(&mut self, call: impl FnOnce(&mut L, &mut RoomContext<'_>) -> T) -> (T, Vec<Effect>) {
        let mut effects = Vec::new();
        let random = &mut self.random;
        let parts = RoomParts {
            now: self.now,
            clock: 0,
            name: &self.name,
            kind: &self.kind,
            members: &mut self.members,
            changed: &mut self.changed,
            effects: &mut effects,
            wake_at: &mut self.wake_at,
            random: &mut || next(random),
        };
        let result = call(&mut self.logic, &mut RoomContext { parts });
        (result, effects)
    }
}

fn seat(player: PlayerNum) -> Seat {
    Seat {
        conn: ConnRef {
            shard: ShardAddress::NONE,
            conn: ConnId::NONE,
        },
        encoding: Encoding::ALL[0],
        client_id: ClientId::from_random([u64::from(player), 0]),
        connected: true,
    }
}

/// The next of the numbers that look random (SplitMix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn value(kind: PayloadKind, payload: &[u8]) -> Value {
    match kind {
        PayloadKind::Text => String::from_utf8_lossy(payload).into(),
        PayloadKind::Bytes => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD
                .encode(payload)
                .into()
        }
        _ => serde_json::from_slice(payload).unwrap_or_default(),
    }
}
