//! What one client was told, held against what is true.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_client::session::{Event, HistoryPage, Receipt, Session, Status, Ticket};
use roomcast_client::{Content, Error, Message, Position, code};
use roomcast_protocol::MessageType;

use crate::facts::Facts;
use crate::ledger::{Entry, Ledger, leading_number};
use crate::setup::ROOMS;

/// The event in the place of the `player_joined` that made a room too big to tell of each; the client keeps it to itself.
const PRESENCE_REDUCED: &str = "roomcast.presence";

/// A message that was sent and has no answer.
pub(crate) struct Pending {
    pub(crate) room: Option<&'static str>,
    pub(crate) number: u64,
    /// It may expire, or was withdrawn.
    pub(crate) aborted: bool,
    /// Nobody may be left who knows what became of it: the session was lost, or the room left.
    pub(crate) excused: bool,
}

/// How far a log was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    epoch: String,
    last: u64,
}

impl From<&Position> for Place {
    fn from(position: &Position) -> Place {
        Place {
            epoch: position.epoch.clone(),
            last: position.offset,
        }
    }
}

#[derive(Default)]
pub(crate) struct View {
    /// Where the application wants to be.
    pub(crate) joined: BTreeSet<&'static str>,
    pub(crate) pending: BTreeMap<Ticket, Pending>,
    pages: BTreeMap<Ticket, &'static str>,
    places: BTreeMap<String, Place>,
    /// Numbers of messages that came, by room.
    received: BTreeMap<String, BTreeSet<u64>>,
    /// When something came last from where its session is, on which wire, and how long it had no connection there when it
    /// connected.
    pub(crate) heard_at: u64,
    pub(crate) heard_on: Option<usize>,
    pub(crate) was_gone: u64,
    /// The number that it has in a room, and in which life of it.
    numbers: BTreeMap<String, (u32, String)>,
    inbox: Option<Place>,
    /// Direct messages that it ever got.
    mails: u64,
    /// It was told of a gap there: so many that it had before may come again, and are not told.
    inbox_repeats: u64,
    mailed: BTreeSet<u64>,
    /// Names that the client had.
    pub(crate) names: BTreeSet<String>,
    /// Resume tokens of the present name, in their order.
    pub(crate) tokens: Vec<String>,
    /// It is over with this session.
    pub(crate) closed: Option<String>,
    pub(crate) wants_token: bool,
    /// It was told that it is in a room: its session is in the store from then on, where there is one.
    pub(crate) was_told_in: bool,
    /// Where the server may not know this client's last answers, and for how many more of them: `repeats_possible`.
    unsure: BTreeMap<Option<&'static str>, u64>,
}

/// Numbers for which the server says so, at least.
const UNSURE: u64 = 64;

impl View {
    /// All that is kept when a page is loaded again: where the client wants to be, and how far it has come.
    pub(crate) fn reloaded(self, session: &Session) -> View {
        let position = |room: &&str| Some(((*room).to_owned(), session.position(room)?.into()));
        View {
            places: self.joined.iter().filter_map(position).collect(),
            inbox: session.inbox().map(Place::from),
            joined: self.joined,
            heard_at: self.heard_at,
            heard_on: self.heard_on,
            numbers: self.numbers,
            names: self.names,
            unsure: self.unsure,
            was_told_in: self.was_told_in,
            tokens: self.tokens,
            mails: self.mails,
            ..View::default()
        }
    }

    pub(crate) fn left(&mut self, room: &str) {
        self.joined.remove(room);
        self.numbers.remove(room);
        self.places.remove(room);
        self.received.remove(room);
        self.unsure_of(room);
        let pending = self.pending.values_mut();
        pending
            .filter(|it| it.room == Some(room))
            .for_each(|it| it.excused = true);
    }

    /// What is sent again there may be done twice: its client was told so.
    pub(crate) fn repeats_possible(&self, room: &str, facts: &mut Facts) {
        let pending = self.pending.values();
        let here = pending.filter(|it| it.room == Some(room));
        facts.repeats_possible(here.map(|it| it.number));
    }

    fn unsure_of(&mut self, room: &str) {
        let room = ROOMS.into_iter().find(|it| *it == room);
        self.unsure.insert(room, UNSURE);
    }

    pub(crate) fn asked(&mut self, ticket: Ticket, room: &'static str) {
        self.pages.insert(ticket, room);
    }

    pub(crate) fn check(
        &mut self,
        event: Event,
        session: &Session,
        truth: &Ledger,
        facts: &mut Facts,
    ) {
        match event {
            Event::Settled { ticket, result } => {
                let pending = self.pending.remove(&ticket).expect("settled twice");
                match result {
                    Ok(receipt) => self.acked(&pending, receipt, truth, facts),
                    Err(error) => {
                        let over = matches!(session.status(), Status::Closed(_));
                        let unsure = over || self.unsure.contains_key(&pending.room);
                        refused(&pending, unsure, &error, truth, facts);
                    }
                }
            }
            Event::Joined { room, recovered } => {
                facts.recovered += u64::from(recovered);
                self.was_told_in = true;
                if let Some(position) = session.position(&room) {
                    self.follow(&room, &position.epoch, truth);
                    let place = self.places.entry(room.to_string());
                    place.or_insert_with(|| position.into());
                    // Who goes on from the log of before is told who is there now: other players may have their numbers,
                    // where those of before are lost.
                    let newest = truth.newest(&room).map(|log| &log.epoch);
                    if !truth.lost.has_lost(&room) || newest == Some(&position.epoch) {
                        self.check_players(&room, &position.epoch, session, facts);
                    }
                }
            }
            Event::Gap { room, since, now } => {
                let place = Place::from(&now);
                let Some(room) = room else {
                    facts.mail_gaps += 1;
                    facts.excuse_mail(&self.names);
                    self.inbox = Some(place).filter(|it| !it.epoch.is_empty());
                    self.inbox_repeats = self.mails;
                    return;
                };
                facts.gaps += 1;
                assert!(
                    !facts.roomy || truth.lost.has_lost(&room),
                    "a gap in {room}, whose log has all: {since:?}, {now:?}"
                );
                self.places.insert(room.to_string(), place);
            }
            Event::Message { room, message } => self.message(&room, &message, truth, facts),
            Event::Direct(message) => self.direct(&message, facts),
            Event::History { ticket, result } => {
                let room = self
                    .pages
                    .remove(&ticket)
                    .expect("a page that was asked for");
                match result {
                    Ok(page) => check_page(room, &page, truth, facts),
                    Err(error) => {
                        // On a line that stalls, a page may be given up.
                        let known = [
                            code::LEFT,
                            code::CLOSED,
                            code::TAKEN_OVER,
                            code::UNANSWERED,
                            "not_in_room",
                        ]
                        .contains(&error.code());
                        assert!(known, "{error}");
                    }
                }
            }
            Event::Status(Status::Connected { resumed }) => {
                facts.resumed += u64::from(resumed);
                facts.amnesia |= !resumed && !self.names.is_empty();
                if !resumed && self.inbox.is_none() {
                    // Its session was lost before anything of its inbox came: that it was lost is all that it is told.
                    facts.excuse_mail(&self.names);
                }
                // For the others it may have left, and it is told so once it comes to the room.
                if self.was_gone >= facts.grace / 2 {
                    self.numbers.clear();
                }
                if !resumed {
                    self.numbers.clear();
                    self.pending.values_mut().for_each(|it| it.excused = true);
                    let rooms = ROOMS.into_iter().map(Some).chain([None]);
                    self.unsure = rooms.map(|room| (room, UNSURE)).collect();
                }
                if self.names.insert(session.client_id().to_owned()) {
                    self.tokens.clear();
                    self.was_told_in = false;
                }
                if let (Some(place), Some(now)) = (&mut self.inbox, session.inbox()) {
                    // Where something is missed, that is told next.
                    now.epoch.clone_into(&mut place.epoch);
                }
                let token = session.save().resume_token;
                if self.tokens.last() != Some(&token) {
                    self.tokens.push(token);
                }
            }
            Event::Status(Status::Closed(error)) => self.closed = Some(error.to_string()),
            Event::Left { room, error } => {
                self.numbers.remove(&*room);
                let over = matches!(session.status(), Status::Closed(_));
                assert!(over || error.is_none(), "{room}: {error:?}");
            }
            Event::Refused { request, error, .. } => {
                let known = [
                    "rate_limited",
                    "not_in_room",
                    "unavailable",
                    "on_cooldown",
                    "target_not_found",
                ];
                assert!(known.contains(&error.code()), "{request}: {error}");
            }
            Event::TokenEnds => self.wants_token = true,
            Event::Unreadable(error) => panic!("{error}"),
            Event::Status(_)
            | Event::Members { .. }
            | Event::Sync { .. }
            | Event::MembersPage { .. } => {}
        }
    }

    /// The room's log may have got another name, which changes nothing for who was there before it ended.
    fn follow(&mut self, room: &str, epoch: &str, truth: &Ledger) {
        if let Some(place) = self.places.get_mut(room)
            && truth.goes_on(room, (&place.epoch, place.last), epoch)
        {
            epoch.clone_into(&mut place.epoch);
        }
    }

    /// A player keeps its number for as long as it is in a room, and nobody else gets it.
    fn check_players(&mut self, room: &str, epoch: &str, session: &Session, facts: &mut Facts) {
        let Some(members) = session.members(room) else {
            return;
        };
        let number = members.player_num;
        facts.note_player(room, epoch, number, members.player_id);
        for (number, member) in members.listed {
            facts.note_player(room, epoch, *number, &member.player_id);
        }
        let own = (number, epoch.to_owned());
        let before = self.numbers.insert(room.to_owned(), own);
        // One that was gone for the grace, or whose node was out of reach for so long, has left for the others.
        let sure = self.was_gone < facts.grace / 2 && facts.stops + facts.partitions == 0;
        let kept = before.filter(|(_, of)| of == epoch && sure && facts.numbers_last);
        assert!(
            kept.as_ref().is_none_or(|(before, _)| *before == number),
            "{:?} was another player of {room} before: {kept:?}, and is {number}",
            session.client_id()
        );
    }

    fn acked(&mut self, pending: &Pending, receipt: Receipt, truth: &Ledger, facts: &mut Facts) {
        facts.acked += 1;
        if let Some(left) = self.unsure.get_mut(&pending.room) {
            *left -= 1;
            if *left == 0 {
                self.unsure.remove(&pending.room);
            }
        }
        let number = pending.number;
        assert!(
            receipt.offset > 0 && receipt.seq > 0,
            "{number}: {receipt:?}"
        );
        let Some(room) = pending.room else {
            return facts.mail_acked(number);
        };
        let offset = receipt.offset as usize;
        let is_there = truth.logs.iter().filter(|log| log.room == room).any(|log| {
            log.entries.get(offset - 1).is_some_and(|it| {
                it.number() == Some(number)
                    && it.seq == receipt.seq
                    && self.names.contains(&it.from)
            })
        });
        assert!(
            is_there,
            "{number} was acked in {room} with {receipt:?} and is not there"
        );
    }

    fn message(&mut self, room: &str, message: &Message, truth: &Ledger, facts: &mut Facts) {
        let Some(position) = &message.position else {
            facts.ephemeral += 1;
            return;
        };
        facts.delivered += 1;
        self.follow(room, &position.epoch, truth);
        let place = self
            .places
            .get(room)
            .expect("an event before `joined`")
            .clone();
        assert_eq!(
            place.epoch, position.epoch,
            "{room}: another log, and nothing said so"
        );
        assert!(
            position.offset > place.last,
            "{room}: {position:?} after {}",
            place.last
        );
        self.check_between(room, &place, position.offset - 1, truth);
        let entry = truth.entry(room, &position.epoch, position.offset);
        let entry = entry.expect("an event that is in no log");
        check_content(room, message, entry);
        if let Some(number) = entry.number() {
            let received = self.received.entry(room.to_owned()).or_default();
            assert!(received.insert(number), "{number} came twice in {room}");
        }
        self.places.insert(room.to_owned(), position.into());
    }

    /// What was not told between two events was not for this client, or it had it before.
    fn check_between(&self, room: &str, place: &Place, last: u64, truth: &Ledger) {
        for offset in place.last + 1..=last {
            let entry = truth.entry(room, &place.epoch, offset).unwrap();
            let own = entry.silent && self.names.contains(&entry.from);
            let again = entry.number().is_some_and(|number| {
                let received = self.received.get(room);
                received.is_some_and(|it| it.contains(&number))
            });
            let reduced = entry.name == PRESENCE_REDUCED && entry.from.is_empty();
            assert!(
                own || again || reduced,
                "{room} {offset} was not told: {entry:?}, after {}",
                place.last
            );
        }
    }

    /// At the end all is told.
    pub(crate) fn check_end(&self, room: &str, truth: &Ledger) {
        let place = self
            .places
            .get(room)
            .expect("a room that is joined has a place");
        let log = truth.newest(room).unwrap();
        assert!(
            truth.goes_on(room, (&place.epoch, place.last), &log.epoch),
            "{room} is {} and {place:?} was told",
            log.epoch
        );
        let place = &Place {
            epoch: log.epoch.clone(),
            last: place.last,
        };
        self.check_between(room, place, log.entries.len() as u64, truth);
    }

    fn direct(&mut self, message: &Message, facts: &mut Facts) {
        facts.mail += 1;
        let position = message
            .position
            .as_ref()
            .expect("an inbox numbers what it has");
        if let Some(place) = &self.inbox {
            assert_eq!(
                place.epoch, position.epoch,
                "another inbox, and nothing said so"
            );
            let next = position.offset == place.last + 1;
            let lacks = position.offset.saturating_sub(place.last + 1);
            let repeats = lacks <= self.inbox_repeats;
            self.inbox_repeats = self.inbox_repeats.saturating_sub(lacks);
            let may_lack = facts.amnesia || facts.store_has_lost || repeats;
            // One that was sent twice, by a client that the server had forgotten, is told once.
            assert!(
                next || may_lack && position.offset > place.last,
                "{position:?} after {}",
                place.last
            );
        }
        self.inbox = Some(position.into());
        self.mails += 1;
        let number = number(&message.content).expect("a message of ours");
        assert!(
            self.mailed.insert(number),
            "the direct message {number} came twice"
        );
        facts.mail_received(number, &self.names);
    }
}

fn refused(pending: &Pending, unsure: bool, error: &Error, truth: &Ledger, facts: &mut Facts) {
    let number = pending.number;
    match error.code() {
        code::UNCONFIRMED => assert!(pending.excused || unsure, "{number}: {error}"),
        code::ABORTED | code::EXPIRED => {
            assert!(pending.aborted, "{number}: {error}");
            facts.not_done(number, error, truth);
        }
        code::LEFT | code::CLOSED | code::TAKEN_OVER | "not_in_room" | "recipient_not_found" => {
            facts.not_done(number, error, truth);
        }
        // What was refused for now is not sent again to a room that was left.
        "rate_limited" | "unavailable" | "seq_gap" | "too_many_unanswered" => {
            assert!(pending.excused, "{number}: {error}");
        }
        other => panic!("{number}: {other}"),
    }
}

fn check_content(room: &str, message: &Message, entry: &Entry) {
    let same = match &message.content {
        Content::Chat(payload) => {
            entry.kind == MessageType::Chat && payload.data() == &entry.payload[..]
        }
        Content::Event { name, payload } => {
            entry.kind == MessageType::Event
                && *name == entry.name
                && payload.data() == &entry.payload[..]
        }
        Content::Action(_) => entry.kind == MessageType::GameAction,
        Content::PlayerJoined(member) => {
            entry.kind == MessageType::PlayerJoined && member.player_num == entry.num
        }
        Content::PlayerLeft { player_num, .. } => {
            entry.kind == MessageType::PlayerLeft && *player_num == entry.num
        }
    };
    let known = (&*message.from, message.seq, message.timestamp);
    let is = (&*entry.from, entry.seq, entry.timestamp);
    assert!(same && known == is, "{room}: {message:?} is not {entry:?}");
}

fn check_page(room: &str, page: &HistoryPage, truth: &Ledger, facts: &mut Facts) {
    facts.pages += 1;
    let offset = |message: &Message| message.position.as_ref().map_or(0, |it| it.offset);
    for message in &page.events {
        let entry = truth.entry(room, &page.epoch, offset(message));
        check_content(room, message, entry.expect("history that is in no log"));
    }
    let offsets: Vec<_> = page.events.iter().map(offset).collect();
    let up = offsets.windows(2).all(|two| two[0] + 1 == two[1]);
    let down = offsets.windows(2).all(|two| two[0] == two[1] + 1);
    assert!(up || down, "{room}: {offsets:?}");
}

/// The number that a message of ours begins with.
fn number(content: &Content) -> Option<u64> {
    match content {
        Content::Chat(payload) | Content::Event { payload, .. } => leading_number(payload.data()),
        _ => None,
    }
}
