//! The sessions of a user in the store: where a message to the user finds them, on whichever node they are.

use crate::context::Context;
use crate::edge::Edge;
use crate::edge::keeper::{About, Asked};
use crate::edge::saving::{NO_LEASE, RECORD_ENDS};
use crate::host::Host;
use crate::id::ClientId;
use crate::store::{
    Answer, Cause, KeyOf, Request, Slot, Store, StoreError, Take, Taken, Ticket, UserChange,
};
use crate::time::Now;

/// A session that is put into the set of its user, or taken out.
#[derive(Debug)]
pub(super) struct OfUser {
    user: Box<str>,
    step: Step,
    asked: Option<Asked>,
}

#[derive(Debug)]
enum Step {
    /// It is put in, in the place of these. `looked`: it was seen that no others are gone.
    Add {
        dead: Vec<ClientId>,
        looked: bool,
    },
    /// There was no place for it: is one of these gone? The last one is asked for.
    Look {
        others: Vec<ClientId>,
        dead: Vec<ClientId>,
    },
    Remove,
}

impl OfUser {
    fn is_joining(&self) -> bool {
        !matches!(self.step, Step::Remove)
    }
}

impl<S: Store> Edge<S> {
    /// A session of a user has begun, or goes on here.
    pub(super) fn join_user<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        client: ClientId,
        user: &str,
    ) {
        let step = Step::Add {
            dead: Vec::new(),
            looked: false,
        };
        self.change_user(ctx, client, user, step);
    }

    /// A session of a user has ended, on all nodes.
    pub(super) fn leave_user<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        client: ClientId,
        user: &str,
    ) {
        self.change_user(ctx, client, user, Step::Remove);
    }

    fn change_user<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        client: ClientId,
        user: &str,
        step: Step,
    ) {
        let of_user = OfUser {
            user: user.into(),
            step,
            asked: None,
        };
        self.keeper.of_users.insert(client, of_user);
        self.ask_of_user(ctx, client);
    }

    /// Asks for what is next, once the session is in the store: else it would be taken for one that is gone.
    pub(super) fn ask_of_user<H: Host>(&mut self, ctx: &mut Context<H>, client: ClientId) {
        let most = u32::try_from(ctx.settings.max_user_sessions).unwrap_or(u32::MAX);
        let attempt = ctx.host.random();
        let is_saved = self
            .keeper
            .copy(client)
            .is_some_and(|it| it.known.is_some());
        let Some(of_user) = self.keeper.of_users.get_mut(&client) else {
            return;
        };
        if of_user.asked.is_some() || of_user.is_joining() && !is_saved {
            return;
        }
        let change = |add, remove: &[ClientId]| {
            Request::User(UserChange {
                user: of_user.user.clone(),
                add,
                remove: remove.to_vec(),
                most,
                ends_after: add.map_or(0, |_| RECORD_ENDS),
            })
        };
        let request = match &of_user.step {
            Step::Add { dead, .. } => change(Some(client), dead),
            Step::Remove => change(None, &[client]),
            Step::Look { others, .. } => match others.last() {
                Some(other) => {
                    // One that this node has not met may lack it, or have an older record.
                    let store = ctx.cluster.of(KeyOf::Session(other)).store;
                    Request::Take(Take::look(*other, store, attempt))
                }
                None => return,
            },
        };
        let asked = self.keeper.ask(About::User(client), request);
        if let Some(of_user) = self.keeper.of_users.get_mut(&client) {
            of_user.asked = Some(asked);
        }
    }

    /// The store has answered.
    pub(super) fn heard_of_user<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        ticket: Ticket,
        result: Result<Answer, StoreError>,
    ) {
        let random = ctx.host.random();
        let own = ctx.cluster.nodes().own.map(|own| own.home.node);
        let Some(of_user) = self.keeper.of_users.get_mut(&client) else {
            return;
        };
        let Some(mut asked) = of_user.asked.clone().filter(|it| it.is(ticket)) else {
            return;
        };
        // It is looked for at the store that there is by then.
        if result == Err(StoreError::Again(Cause::OtherStore)) {
            of_user.asked = None;
            let again = now.micros + NO_LEASE;
            return self.keeper.look_at(About::User(client), again);
        }
        let is_answered = match (&of_user.step, &result) {
            // A node that lives may have yet to write it at this store.
            (Step::Look { others, .. }, Ok(Answer::Session(taken))) => others
                .last()
                .is_some_and(|it| ctx.cluster.of(KeyOf::Session(it)).is_newest(taken)),
            (_, Ok(Answer::Clients(..))) => true,
            _ => false,
        };
        if !is_answered {
            let about = About::User(client);
            self.keeper.pause(about, &mut asked, now.micros, random);
            if let Some(of_user) = self.keeper.of_users.get_mut(&client) {
                of_user.asked = Some(asked);
            }
            return;
        }
        of_user.asked = None;
        let next = match (std::mem::replace(&mut of_user.step, Step::Remove), result) {
            (Step::Add { looked, .. }, Ok(Answer::Clients(_, there)))
                if !there.contains(&client) =>
            {
                let others = if looked { Vec::new() } else { there };
                let dead = Vec::new();
                Some(Step::Look { others, dead })
            }
            (
                Step::Look {
                    mut others,
                    mut dead,
                },
                Ok(Answer::Session(taken)),
            ) => {
                let other = others.pop();
                // One whose node is gone counts again if its client comes back.
                let lives = |node| own == Some(node) || ctx.cluster.nodes().node(node).is_some();
                let is_there = match taken {
                    Taken::Nothing { .. } => false,
                    Taken::Taken(record) | Taken::Other(record) => lives(record.node),
                };
                dead.extend(other.filter(|_| !is_there));
                Some(Step::Look { others, dead })
            }
            _ => None,
        };
        let next = match next {
            Some(Step::Look { others, dead }) if others.is_empty() => {
                if dead.is_empty() {
                    self.keeper.of_users.remove(&client);
                    ctx.stats.sessions_refused += 1;
                    return self.refuse_session(ctx, now, client);
                }
                let looked = true;
                Some(Step::Add { dead, looked })
            }
            next => next,
        };
        match next {
            Some(step) => {
                if let Some(of_user) = self.keeper.of_users.get_mut(&client) {
                    of_user.step = step;
                }
                self.ask_of_user(ctx, client);
            }
            None => {
                let of_user = self.keeper.of_users.remove(&client);
                let slot = of_user.map(|it| Slot::of(KeyOf::User(&it.user)));
                if let Some(copied) = self.keeper.copy_mut(client) {
                    copied.in_set = slot.map(|slot| (slot, asked.store()));
                }
                self.tell_saved(ctx, now, client);
            }
        }
    }

    /// Whether a client is not to be told yet that its session is its user's.
    pub(super) fn is_joining_user(&self, client: ClientId) -> bool {
        let of_user = self.keeper.of_users.get(&client);
        of_user.is_some_and(OfUser::is_joining)
    }

    /// The time to ask again has come.
    pub(super) fn look_at_user<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
    ) {
        let of_user = self.keeper.of_users.get(&client);
        if let Some(mut asked) = of_user.and_then(|it| it.asked.clone()) {
            let about = About::User(client);
            self.keeper.repeat(about, &mut asked, now.micros);
            if let Some(of_user) = self.keeper.of_users.get_mut(&client) {
                of_user.asked = Some(asked);
            }
        }
        self.ask_of_user(ctx, client);
    }
}
