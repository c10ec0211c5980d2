//! Sessions that only the store has end: the node that had them is gone, and their clients may come back to any other one.

use std::collections::BTreeMap;

use crate::address::{NodeNumber, ShardAddress};
use crate::backend::Found;
use crate::context::Context;
use crate::desk::TOO_LATE;
use crate::edge::Edge;
use crate::edge::keeper::{About, Asked};
use crate::host::{Encoding, Host};
use crate::id::{ClientId, ConnId, EdgeRoomId, HomeRoomId};
use crate::letter::{Leave, Letter, OpHead, OpKind, RoomRef};
use crate::store::{
    Answer, End, KeyOf, NodeId, Request, Store, StoreError, StoreId, Take, Taken, Ticket,
    UserChange,
};
use crate::time::{Now, micros};
use crate::wire::session::PackedSession;

/// The sessions of one user, one after the other.
#[derive(Debug)]
pub(super) struct Orphans {
    /// Who asks, and the number of its question.
    asker: (ShardAddress, u32),
    user: Box<str>,
    /// Microseconds after which nobody waits for it.
    until: u64,
    step: Step,
    /// Sessions that were not looked at.
    left: Vec<ClientId>,
    ended: Vec<ClientId>,
    /// The turn with which the one that is to end was seen, and the node that had it.
    turn: u64,
    node: NodeId,
    asked: Option<Asked>,
}

#[derive(Debug)]
enum Step {
    /// Which sessions the user has.
    List,
    /// Which node has this one.
    Look(ClientId),
    /// No node has this one.
    End(ClientId, Box<PackedSession>),
    /// Those that have ended are taken out of the user's set.
    Forget,
}

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Endings {
    by_number: BTreeMap<u64, Orphans>,
    last: u64,
}

impl Endings {
    pub(super) fn asked(&mut self, number: u64) -> Option<&mut Option<Asked>> {
        let orphans = self.by_number.get_mut(&number);
        orphans.map(|it| &mut it.asked)
    }
}

impl<S: Store> Edge<S> {
    /// Ends the sessions of a user that no living node has. [`Found::Ended`] says how many.
    pub(crate) fn end_orphans<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        asker: (ShardAddress, u32),
        user: Box<str>,
    ) {
        if !S::WAITS {
            return ctx.post(asker.0, Letter::Found(Box::new((asker.1, Found::Ended(0)))));
        }
        let orphans = Orphans {
            asker,
            user,
            until: now.micros.saturating_add(micros(TOO_LATE)),
            step: Step::List,
            left: Vec::new(),
            ended: Vec::new(),
            turn: 0,
            node: NodeId::default(),
            asked: None,
        };
        let endings = &mut self.keeper.endings;
        endings.last += 1;
        let number = endings.last;
        self.keeper.look_at(About::Orphans(number), orphans.until);
        self.keeper.endings.by_number.insert(number, orphans);
        self.ask_of_orphans(ctx, number);
    }

    fn ask_of_orphans<H: Host>(&mut self, ctx: &mut Context<H>, number: u64) {
        let attempt = ctx.host.random();
        let Some(orphans) = self.keeper.endings.by_number.get(&number) else {
            return;
        };
        let change = |remove: &[ClientId]| {
            Request::User(UserChange {
                user: orphans.user.clone(),
                add: None,
                remove: remove.to_vec(),
                most: 0,
                ends_after: 0,
            })
        };
        let look = |client, turn, node| {
            Request::Take(Take {
                client,
                turn,
                store: None,
                node,
                attempt,
            })
        };
        let request = match &orphans.step {
            Step::List => change(&[]),
            Step::Look(client) => look(*client, Some(0), NodeId::default()),
            Step::End(client, _) => Request::End(End {
                client: *client,
                turn: orphans.turn,
                node: orphans.node,
                known: None,
                store: None,
            }),
            Step::Forget => change(&orphans.ended),
        };
        self.keeper.ask_about(About::Orphans(number), request);
    }

    /// The store has answered.
    pub(super) fn heard_of_orphans<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        number: u64,
        ticket: Ticket,
        result: Result<Answer, StoreError>,
    ) {
        let random = ctx.host.random();
        let Some(orphans) = self.keeper.endings.by_number.get_mut(&number) else {
            return;
        };
        if !orphans.asked.as_ref().is_some_and(|it| it.is(ticket)) {
            return;
        }
        // While sessions are written at another store than before, some may be yet to come.
        let is_all = |key: KeyOf<'_>, store: StoreId| {
            let cluster = ctx.cluster.of(key);
            cluster.settled && store == cluster.store
        };
        let own = ctx.cluster.nodes().own.map(|own| own.home.node);
        let lives = |node| own == Some(node) || ctx.cluster.nodes().node(node).is_some();
        let mut has_ended = None;
        let is_answered = match (&mut orphans.step, result) {
            (Step::List, Ok(Answer::Clients(store, clients)))
                if is_all(KeyOf::User(&orphans.user), store) =>
            {
                orphans.left = clients;
                // Without a token the user is the client.
                orphans.left.extend(ClientId::parse(&orphans.user));
                true
            }
            (Step::Look(client), Ok(Answer::Session(taken))) => match taken {
                Taken::Nothing { store, .. } => is_all(KeyOf::Session(client), store),
                Taken::Taken(record) | Taken::Other(record) if lives(record.node) => true,
                Taken::Taken(record) | Taken::Other(record) => {
                    let saved = PackedSession::read(&record.value).ok();
                    ctx.stats.records_unread += u64::from(saved.is_none());
                    if let Some(saved) = saved {
                        (orphans.turn, orphans.node) = (record.turn, record.node);
                        let client = *client;
                        orphans.asked = None;
                        orphans.step = Step::End(client, Box::new(saved));
                        return self.ask_of_orphans(ctx, number);
                    }
                    true
                }
            },
            (Step::End(client, saved), Ok(Answer::Turn(done))) => {
                if done {
                    orphans.ended.push(*client);
                    let memberships = std::mem::take(&mut saved.memberships);
                    has_ended = Some((*client, orphans.turn, memberships));
                } else {
                    // Somebody has it now.
                    orphans.left.push(*client);
                }
                true
            }
            (Step::Forget, Ok(Answer::Clients(..))) => return self.tell_ended(ctx, number),
            _ => false,
        };
        if !is_answered {
            let about = About::Orphans(number);
            return self.keeper.pause_about(about, now.micros, random);
        }
        orphans.asked = None;
        orphans.step = match orphans.left.pop() {
            Some(client) => Step::Look(client),
            None if orphans.ended.is_empty() => return self.tell_ended(ctx, number),
            None => Step::Forget,
        };
        if let Some((client, turn, memberships)) = has_ended {
            // Where they have seats without a connection, these end.
            let conn = ConnId::of_nobody(random as u32);
            for membership in memberships {
                self.leave_as_orphan(ctx, now, (client, turn, conn), &membership.room);
            }
        }
        self.ask_of_orphans(ctx, number);
    }

    fn leave_as_orphan<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        (client_id, turn, conn): (ClientId, u64, ConnId),
        room: &str,
    ) {
        let leave = OpKind::Leave(Leave {
            gone: true,
            edge_room: EdgeRoomId::NONE,
            client_id,
            turn,
        });
        let room = RoomRef {
            hash: ctx.names.hash(room),
            name: room.into(),
            id: HomeRoomId::NONE,
            node: NodeNumber::NONE,
        };
        let encoding = Encoding::ALL[0];
        self.send_op(ctx, now, (conn, encoding), room, OpHead::NEWCOMER, leave);
    }

    fn tell_ended<H: Host>(&mut self, ctx: &mut Context<H>, number: u64) {
        let Some(orphans) = self.keeper.endings.by_number.remove(&number) else {
            return;
        };
        let ended = u32::try_from(orphans.ended.len()).unwrap_or(u32::MAX);
        let (shard, question) = orphans.asker;
        ctx.post(
            shard,
            Letter::Found(Box::new((question, Found::Ended(ended)))),
        );
    }

    /// The time to ask again has come, or nobody waits any more.
    pub(super) fn look_at_orphans(&mut self, now: Now, number: u64) {
        let Some(orphans) = self.keeper.endings.by_number.get_mut(&number) else {
            return;
        };
        if orphans.until <= now.micros {
            self.keeper.endings.by_number.remove(&number);
            return;
        }
        let (until, about) = (orphans.until, About::Orphans(number));
        self.keeper.look_at(about, until);
        self.keeper.repeat_about(about, now.micros);
    }
}
