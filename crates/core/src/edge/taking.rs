//! A session comes back whose token was shown here: the store is asked for it, as another node may have it.
//!
//! It is looked at first, and taken with the turn that it was seen with: who has a token that does not fit changes nothing.

use roomcast_protocol::{CloseCode, mutated};

use crate::context::Context;
use crate::edge::Edge;
use crate::edge::admission::Admission;
use crate::edge::conn::Phase;
use crate::edge::copied::Copied;
use crate::edge::hello::{Found, Greeting, Judged, judge};
use crate::edge::inbox::DirectMessages;
use crate::edge::keeper::Asked;
use crate::edge::mailbox::{Heard, READ, epoch_of, position};
use crate::edge::membership::Membership;
use crate::edge::rights::RoomRights;
use crate::edge::saving::{NO_LEASE, patience_end};
use crate::edge::sent::Sent;
use crate::edge::session::{Parked, Session};
use crate::host::{Encoding, Host};
use crate::id::{ClientId, ConnId, EdgeRoomId};
use crate::letter::{OpKind, Place, Resume, RoomRef, SessionTaken};
use crate::player::PlayerNum;
use crate::store::{
    Answer, Cause, InboxRead, InboxSlice, KeyOf, Request, SessionRecord, Store, StoreError,
    StoreId, Take, Taken, Ticket,
};
use crate::time::{Now, micros};
use crate::token::ResumeToken;
use crate::wire::session::PackedSession;

impl<S: Store> Edge<S> {
    /// A connection has shown a good token. It waits while the store is asked for the session.
    pub(super) fn ask_for_session<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        token: &ResumeToken,
        greeting: Greeting,
    ) {
        let client = token.client_id;
        let hash = ctx.names.hash(client.as_str());
        let session = match self.live(hash, client) {
            Some(id) => self.conns.get(id).map(|conn| &conn.session),
            None => self.parking.get(hash, client).map(|it| &it.session),
        };
        let turn = match session {
            None => 0,
            Some(session) => {
                let known = (session.key, session.first, &session.admission);
                // Another node may have begun it with the same first turn, until the store has confirmed this one.
                let turn = |it: &Copied| it.known.map_or(0, |_| it.turn);
                let turn = self.keeper.copy(client).map(turn);
                let life = session.key.map(|key| key.incarnation);
                let is_of_it = life == Some(token.key.incarnation);
                match (judge(now, known, token, &greeting.admission), turn) {
                    (Judged::Fits, Some(turn)) => turn,
                    // What is here may be old: elsewhere it may have begun anew, or its token may have been renewed.
                    (Judged::Over, Some(_)) => 0,
                    (Judged::Nothing, Some(_)) if !is_of_it => 0,
                    // It fits no newer one of this life either.
                    _ => {
                        let found = self.find_session(ctx, now, token, &greeting);
                        return self.begin_session(ctx, now, id, greeting, found);
                    }
                }
            }
        };
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.phase = Phase::Asking;
        let until = patience_end(ctx, now);
        self.keeper.wait(id, until);
        let taking = self.keeper.begin_taking(client, turn);
        taking.greetings.push((id, greeting));
        self.keeper.look_now(client);
    }

    /// Asks the store for a session that somebody waits for.
    pub(super) fn ask_to_take<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
    ) {
        let Some(taking) = self.keeper.taking(client) else {
            return;
        };
        if taking.asked.is_some() {
            return;
        }
        let turn = Some(taking.turn).filter(|_| !mutated!("takes_without_a_turn"));
        let conns = &self.conns;
        let waits = |id: ConnId| conns.get(id).is_some_and(|it| it.phase == Phase::Asking);
        taking.greetings.retain(|(id, _)| waits(*id));
        if taking.greetings.is_empty() {
            self.keeper.end_taking(client);
            return;
        }
        // Its rooms are told first that it has ended.
        if self
            .keeper
            .copy(client)
            .is_some_and(|it| it.ending.is_some())
        {
            return;
        }
        let Some(own) = ctx.cluster.of(KeyOf::Session(&client)).acts(now.micros) else {
            return self.keeper.look_at(client, now.micros + NO_LEASE);
        };
        let cluster = ctx.cluster.of(KeyOf::Session(&client));
        // What all have is written first.
        let copy = self.keeper.copy(client);
        if copy.is_some_and(|it| it.is_contested(cluster)) {
            return self.keeper.look_at(client, now.micros + NO_LEASE);
        }
        let take = Take {
            client,
            turn,
            // One that this node has not met may have an older record, and the token would be judged by that.
            store: Some(cluster.store),
            node: own.node,
            attempt: ctx.host.random(),
        };
        let asked = self.keeper.ask(client, Request::Take(take));
        if let Some(taking) = self.keeper.taking(client) {
            taking.asked = Some(asked);
        }
    }

    /// The store has said what became of a session.
    pub(super) fn taken<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        ticket: Ticket,
        result: Result<Answer, StoreError>,
    ) {
        let random = ctx.host.random();
        let asked = self.keeper.taking(client).and_then(|it| it.asked.take());
        let Some(mut asked) = asked else {
            return;
        };
        if !asked.is(ticket) {
            if let Some(taking) = self.keeper.taking(client) {
                taking.asked = Some(asked);
            }
            return;
        }
        if let Ok(Answer::InboxSlice(slice)) = result {
            return self.greet_with(ctx, now, client, &asked, slice);
        }
        if result == Err(StoreError::Again(Cause::OtherStore)) {
            return self.look_anew(now, client);
        }
        let cluster = ctx.cluster.of(KeyOf::Session(&client));
        let is_here = self.keeper.copy(client).is_some();
        let taken = match result {
            Ok(Answer::Session(taken)) if is_here || cluster.is_newest(&taken) => taken,
            // There is no answer, or a node that lives may have yet to write it at this store.
            _ => {
                self.keeper.pause(client, &mut asked, now.micros, random);
                if let Some(taking) = self.keeper.taking(client) {
                    taking.asked = Some(asked);
                }
                return;
            }
        };
        // It is saved with its new turn, if it is here.
        if let Some(copied) = self.keeper.copy_mut(client) {
            copied.asked = None;
        }
        self.keeper.look_now(client);
        match taken {
            Taken::Nothing {
                store,
                now: first_turn,
            } => {
                // What a store had confirmed, and has no more, has ended there. Another store may have lost it.
                let known = self.keeper.copy(client).and_then(|it| it.known);
                if known == Some(store) {
                    self.lose(ctx, now, client, CloseCode::Reconnect);
                }
                if let Some(taking) = self.keeper.taking(client) {
                    let greetings = taking.greetings.iter_mut();
                    greetings.for_each(|(_, it)| it.first_turn = first_turn);
                }
                self.greet_all(ctx, now, client);
            }
            Taken::Taken(record) => {
                match self.keeper.copy_mut(client) {
                    Some(copied) => {
                        (copied.turn, copied.since) = (record.turn, Some(asked.store()));
                        self.keeper.confirm(client, asked.store());
                    }
                    None => self.rebuild(ctx, now, client, &record, asked.store()),
                }
                self.ask_for_inbox(client, true);
            }
            Taken::Other(record) => {
                if self.keeper.copy(client).is_some() {
                    self.lose_to(ctx, now, client, &Taken::Other(record.clone()));
                }
                self.look_at_record(ctx, now, client, &record);
            }
        }
    }

    /// It was asked for at a store that there is no more. At the next one it may be another record.
    fn look_anew(&mut self, now: Now, client: ClientId) {
        let copy = self.keeper.copy(client).filter(|it| it.known.is_some());
        let turn = copy.map_or(0, |it| it.turn);
        if let Some(taking) = self.keeper.taking(client) {
            (taking.turn, taking.from) = (turn, None);
        }
        self.keeper.look_at(client, now.micros + NO_LEASE);
    }

    /// A session was taken: what its inbox has is for those who wait to be told. `after`: what they have is left out.
    fn ask_for_inbox(&mut self, client: ClientId, after: bool) {
        let Some(taking) = self.keeper.taking(client) else {
            return;
        };
        let offsets = taking.greetings.iter();
        let offsets = offsets.map(|(_, it)| it.inbox.map_or(0, |since| since.offset));
        let after = offsets.min().filter(|_| after).unwrap_or(0);
        taking.heard = Heard::Nothing;
        let read = InboxRead {
            client,
            after,
            most_bytes: READ,
        };
        let asked = self.keeper.ask(client, Request::InboxRead(read));
        if let Some(taking) = self.keeper.taking(client) {
            taking.asked = Some(asked);
        }
    }

    /// Those who wait go on, with what the inbox has.
    fn greet_with<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        asked: &Asked,
        slice: InboxSlice,
    ) {
        let hash = ctx.names.hash(client.as_str());
        let session = match self.live(hash, client) {
            Some(id) => self.conns.get(id).map(|conn| &conn.session),
            None => self.parking.get(hash, client).map(|it| &it.session),
        };
        let key = session.and_then(|it| Some((it.key?, it.first)));
        let after = asked.reads_after();
        let is_here = self.keeper.copy(client).is_some();
        let Some(taking) = self.keeper.taking(client) else {
            return;
        };
        if let Some((key, first)) = key
            && after > 0
        {
            // Where somebody has to begin before that, all is read.
            let epoch = |store| epoch_of(key, first, store);
            let fits = |it: &Greeting| position(&slice, it.inbox, epoch).0 >= after;
            if !taking.greetings.iter().all(|(_, it)| fits(it)) {
                return self.ask_for_inbox(client, false);
            }
        }
        if !is_here {
            // Another node has taken it meanwhile, or it has ended: it is looked at anew.
            (taking.turn, taking.from) = (0, None);
            return self.keeper.look_now(client);
        }
        let heard = taking.heard;
        if let Some(copied) = self.keeper.copy_mut(client) {
            copied.mailbox.slice = Some(Box::new(slice));
        }
        self.keeper.look_now(client);
        self.greet_all(ctx, now, client);
        if let Some(copied) = self.keeper.copy_mut(client) {
            copied.mailbox.slice = None;
        }
        self.catch_up(ctx, client, heard);
    }

    /// Those who wait go on, in their order, with what is here now.
    fn greet_all<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, client: ClientId) {
        // It is about to end: they are greeted when its rooms were told.
        if self
            .keeper
            .copy(client)
            .is_some_and(|it| it.ending.is_some())
        {
            return self.keeper.look_now(client);
        }
        let Some(taking) = self.keeper.end_taking(client) else {
            return;
        };
        for (id, greeting) in taking.greetings {
            if let Some(token) = greeting.token
                && self.stop_asking(id)
            {
                let found = self.find_session(ctx, now, &token, &greeting);
                self.begin_session(ctx, now, id, greeting, found);
            }
        }
    }

    /// A connection waits for the store no longer. False if it is gone.
    fn stop_asking(&mut self, id: ConnId) -> bool {
        let conn = self.conns.get_mut(id);
        let Some(conn) = conn.filter(|it| it.phase == Phase::Asking) else {
            return false;
        };
        conn.phase = Phase::Open;
        self.readable.push(id);
        true
    }

    /// A session is on another node, or was: those whose token fits it take it.
    fn look_at_record<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        record: &SessionRecord,
    ) {
        let Some(taking) = self.keeper.end_taking(client) else {
            return;
        };
        let saved = PackedSession::read(&record.value).ok();
        ctx.stats.records_unread += u64::from(saved.is_none());
        let known = saved.map(|saved| (saved.key, saved.first, admission_of(&saved)));
        for (id, greeting) in taking.greetings {
            let Some(token) = greeting.token else {
                continue;
            };
            let judged = match &known {
                Some((key, first, admission)) => {
                    let known = (Some(*key), *first, admission);
                    judge(now, known, &token, &greeting.admission)
                }
                None => Judged::Nothing,
            };
            let found = match judged {
                Judged::Fits => {
                    let taking = self.keeper.begin_taking(client, record.turn);
                    taking.from = Some(record.node);
                    taking.greetings.push((id, greeting));
                    continue;
                }
                Judged::Over => Found::Over,
                Judged::Nothing => Found::Nothing,
            };
            if self.stop_asking(id) {
                self.begin_session(ctx, now, id, greeting, found);
            }
        }
        self.keeper.look_now(client);
    }

    /// A session was taken: from here on it waits here for its client, which is here mostly.
    fn rebuild<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        record: &SessionRecord,
        store: StoreId,
    ) {
        let Ok(saved) = PackedSession::read(&record.value) else {
            ctx.stats.records_unread += 1;
            return;
        };
        // Its rooms will know it by the connection of who has asked first.
        let taking = self
            .keeper
            .taking(client)
            .map(|it| (it.from, it.greetings.first()));
        let Some((from, Some((conn, greeting)))) = taking else {
            return;
        };
        let (conn, shown) = (*conn, greeting.token.map(|it| it.key.generation.get()));
        if let Some(from) = from {
            let taken = SessionTaken {
                client,
                turn: record.turn,
                shown: shown.unwrap_or(0),
            };
            self.tell_taken(ctx, from, taken);
        }
        let encoding = self.conn(conn).map_or(Encoding::ALL[0], |it| it.encoding);
        let origin = self.conn(conn).map(|it| it.origin);
        let admission = admission_of(&saved);
        let mut session = Session {
            key: Some(saved.key),
            first: saved.first,
            admission,
            ..Session::default()
        };
        for packed in &saved.memberships {
            let name = &*packed.room;
            let of_session = session.admission.rights(name);
            let (of_room, ends_at) = packed.of_room.unwrap_or_default();
            let rights = RoomRights::new(of_session, of_room, ends_at);
            let room = self.rooms.enter(name, ctx.names.hash(name));
            let mut membership = Membership::new(room, rights);
            membership.rest();
            if packed.leaves {
                membership.stay.leave();
            }
            (membership.player, membership.floor) = (packed.player, packed.floor);
            session.memberships.push(membership);
        }
        session.direct_messages = Some(Box::new(DirectMessages {
            inbox: None,
            sent: match mutated!("taken_session_forgets_its_numbers") {
                true => Sent::default(),
                false => Sent::restore(&saved.sent, saved.key.generation.get()),
            },
        }));
        let user_id = Box::<str>::from(session.user_id());
        let grace = ctx.settings.session_grace;
        let mut copied = Copied::new(record.turn);
        (copied.known, copied.since) = (Some(store), Some(store));
        copied.away = (now.unix_ms, grace);
        copied.is_new_to_rooms = true;
        self.keeper.put(client, copied);
        self.keeper.note_change(client);
        self.parking.put(Parked {
            client_id: client,
            hash: ctx.names.hash(client.as_str()),
            conn,
            encoding,
            origin: origin.unwrap_or(crate::identity::Origin::NONE),
            session,
            opened: 0,
            until: now.micros.saturating_add(micros(grace)),
        });
        self.user_session(ctx, now, &user_id, (client, true), true);
    }

    /// A room of a session that was taken does not know this node yet: it must, to be told that it leaves.
    pub(super) fn introduce<H: Host>(
        &self,
        ctx: &mut Context<H>,
        now: Now,
        (client_id, id, encoding): (ClientId, ConnId, Encoding),
        turn: u64,
        (room, edge_room, player): (RoomRef, EdgeRoomId, PlayerNum),
    ) {
        // The answer finds nobody.
        let resume = OpKind::Resume(Box::new(Resume {
            client_id,
            edge_room,
            place: Place::default(),
            by_edge: false,
            turn,
        }));
        self.send_op(ctx, now, (id, encoding), room, player, resume);
    }
}

fn admission_of(saved: &PackedSession) -> Admission {
    let identity = saved.identity.clone();
    identity.map_or(Admission::Anonymous, Admission::Token)
}
