//! What the application has said of a room: whom it does not let in, and the room's properties.
//!
//! It is kept in the room's record, so that the next home knows it. A room that has some of it stays open though it is
//! empty, until it is over. All of a shard's rooms together have a bound.

use std::collections::BTreeMap;

use roomcast_protocol::ErrorCode;

use crate::backend::{Failure, Reply};
use crate::context::{Context, Fault};
use crate::held::{Held, Sum};
use crate::home::room::Room;
use crate::host::Host;
use crate::id::ClientId;
use crate::logs::Logs;
use crate::store::FieldKey;
use crate::time::{Now, micros};
use crate::wire::room::{PackedRules, read_rules, write_rules};

/// Bans of one room.
const MOST_BANS: usize = 1_024;
/// Sessions that were put out of one room and may not have heard of it.
const MOST_PUT_OUT: usize = 1_024;
/// Bytes that the rules of all rooms of a shard may take.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What a room costs that is open for its rules alone.
const ROOM: usize = 1_024;
/// What an entry costs beside its text.
const ENTRY: usize = 64;

#[derive(Debug)]
pub(super) struct Rules {
    /// Milliseconds since the Unix epoch; 0: it is not locked.
    locked_until: i64,
    /// The same of each user that is banned.
    bans: BTreeMap<Box<str>, i64>,
    /// The same of sessions that were put out, and whether by a ban: they hear so when they come back by themselves.
    put_out: BTreeMap<ClientId, (i64, bool)>,
    /// The text of a JSON object; empty: there are none.
    pub(super) properties: Box<str>,
    /// Until when a room without members keeps them.
    pub(super) properties_until: i64,
    /// Microseconds at which the next of them ends.
    look_at: u64,
    held: Held,
}

impl Rules {
    fn new(sum: &Sum) -> Box<Rules> {
        Box::new(Rules {
            locked_until: 0,
            bans: BTreeMap::new(),
            put_out: BTreeMap::new(),
            properties: Box::default(),
            properties_until: 0,
            look_at: 0,
            held: Held::new(sum),
        })
    }

    fn is_empty(&self) -> bool {
        self.locked_until == 0
            && self.bans.is_empty()
            && self.put_out.is_empty()
            && self.properties.is_empty()
    }

    /// When each of them ends.
    fn ends(&self) -> impl Iterator<Item = i64> {
        let put_out = self.put_out.values().map(|(until, _)| *until);
        let properties = Some(self.properties_until).filter(|_| !self.properties.is_empty());
        let lock = Some(self.locked_until).filter(|until| *until > 0);
        let bans = self.bans.values().copied();
        bans.chain(put_out).chain(lock).chain(properties)
    }

    /// Drops what is over. Whether anything is left.
    fn prune(&mut self, now: Now, has_members: bool) -> bool {
        let is_over = |until: i64| until <= now.unix_ms;
        if is_over(self.locked_until) {
            self.locked_until = 0;
        }
        self.bans.retain(|_, until| !is_over(*until));
        self.put_out.retain(|_, (until, _)| !is_over(*until));
        if is_over(self.properties_until) && !has_members {
            self.properties = Box::default();
        }
        let next = self.ends().filter(|until| !is_over(*until)).min();
        self.look_at = next.map_or(u64::MAX, |until| {
            now.micros.saturating_add(micros(left(now, until)))
        });
        self.held.set(self.size());
        !self.is_empty()
    }

    fn size(&self) -> usize {
        let bans = self.bans.keys().map(|user| user.len() + ENTRY);
        ROOM + bans.sum::<usize>() + self.put_out.len() * ENTRY + self.properties.len()
    }
}

fn left(now: Now, until: i64) -> u64 {
    u64::try_from(until.saturating_sub(now.unix_ms)).unwrap_or(0)
}

impl Room {
    pub(super) fn has_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// Microseconds at which one of them ends.
    pub(super) fn rules_end_at(&self) -> u64 {
        self.rules.as_ref().map_or(u64::MAX, |rules| rules.look_at)
    }

    /// Milliseconds until the last of them ends.
    pub(super) fn rules_last(&self, now: Now) -> u64 {
        let last = self.rules.as_ref().and_then(|rules| rules.ends().max());
        last.map_or(0, |until| left(now, until))
    }

    /// Ends what is over.
    pub(super) fn end_rules(&mut self, now: Now) {
        if self.rules_end_at() <= now.micros {
            self.rules_have_changed(now);
        }
    }

    /// The room's rules, to add to them.
    ///
    /// # Errors
    /// Those of all rooms take as much as they may.
    pub(super) fn rules_with<H>(
        &mut self,
        ctx: &Context<H>,
        now: Now,
        more: usize,
    ) -> Result<&mut Rules, Failure> {
        let room = if self.has_rules() { 0 } else { ROOM };
        if ctx.rules.bytes().saturating_add(room + more) > MOST_BYTES {
            let sentence = "the bans, locks and properties of all rooms take as much as they may";
            return Err(Failure::new(ErrorCode::TooMany, sentence));
        }
        let has_members = !self.members.is_empty();
        let rules = self.rules.get_or_insert_with(|| Rules::new(&ctx.rules));
        rules.prune(now, has_members);
        Ok(rules)
    }

    pub(super) fn rules_have_changed(&mut self, now: Now) {
        let has_members = !self.members.is_empty();
        let rules = self.rules.as_mut();
        let is_left = rules.is_some_and(|rules| rules.prune(now, has_members));
        if !is_left {
            self.rules = None;
        }
        if let Some(gate) = &mut self.gate {
            gate.rules_changed = true;
        }
    }

    /// Why somebody may not join now.
    pub(super) fn shuts_out(
        &self,
        now: Now,
        player_id: &str,
        is_here: bool,
    ) -> Option<Fault<'static>> {
        let rules = self.rules.as_ref()?;
        let banned = rules
            .bans
            .get(player_id)
            .is_some_and(|until| *until > now.unix_ms);
        if banned {
            return Some(banned_fault());
        }
        (rules.locked_until > now.unix_ms && !is_here).then(|| {
            Fault::new(
                ErrorCode::RoomLocked,
                "the application lets nobody more into this room for a time",
            )
        })
    }

    /// What a session that was put out hears when it comes back by itself: it may not have heard it then.
    pub(super) fn was_put_out(&self, now: Now, client: ClientId) -> Option<Fault<'static>> {
        let (until, banned) = *self.rules.as_ref()?.put_out.get(&client)?;
        (until > now.unix_ms).then(|| match banned {
            true => banned_fault(),
            false => removed_fault(),
        })
    }

    /// A session is put out. It is known for as long as its client may come back without having heard of it.
    pub(super) fn note_put_out<H: Host>(
        &mut self,
        ctx: &Context<H>,
        now: Now,
        client: ClientId,
        banned: bool,
    ) {
        let spare = ctx.settings.session_grace.saturating_mul(2);
        let until = now.unix_ms.saturating_add_unsigned(spare);
        if until <= now.unix_ms {
            return;
        }
        let Ok(rules) = self.rules_with(ctx, now, ENTRY) else {
            return;
        };
        if rules.put_out.len() >= MOST_PUT_OUT {
            let all = rules.put_out.iter();
            let first = all.min_by_key(|(_, (until, _))| *until);
            if let Some(first) = first.map(|(client, _)| *client) {
                rules.put_out.remove(&first);
            }
        }
        rules.put_out.insert(client, (until, banned));
        self.rules_have_changed(now);
    }

    /// A session that was put out joins anew.
    pub(super) fn forget_put_out(&mut self, now: Now, client: ClientId) {
        let rules = self.rules.as_mut();
        let was_out = rules.and_then(|rules| rules.put_out.remove(&client));
        if was_out.is_some() {
            self.rules_have_changed(now);
        }
    }

    pub(super) fn ban<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        user: &str,
        until: i64,
    ) -> Reply {
        if until == 0 {
            let rules = self.rules.as_mut();
            if rules.is_some_and(|rules| rules.bans.remove(user).is_some()) {
                self.rules_have_changed(now);
            }
            return Reply::Done(0);
        }
        // One that comes when its time is over lifts no other one.
        if until > now.unix_ms {
            let rules = match self.rules_with(ctx, now, user.len() + ENTRY) {
                Ok(rules) => rules,
                Err(failure) => return Reply::Failed(failure),
            };
            let is_new = !rules.bans.contains_key(user);
            if is_new && rules.bans.len() >= MOST_BANS {
                self.rules_have_changed(now);
                let sentence = "the room has as many bans as it may have";
                return Reply::Failed(Failure::new(ErrorCode::TooMany, sentence));
            }
            rules.bans.insert(user.into(), until);
            self.rules_have_changed(now);
        }
        Reply::Done(self.put_out(ctx, logs, now, user, &banned_fault()))
    }

    pub(super) fn lock<H>(&mut self, ctx: &Context<H>, now: Now, until: i64) -> Reply {
        if until > now.unix_ms {
            match self.rules_with(ctx, now, 0) {
                Ok(rules) => rules.locked_until = until,
                Err(failure) => return Reply::Failed(failure),
            }
        } else if let Some(rules) = self.rules.as_mut().filter(|_| until == 0) {
            rules.locked_until = 0;
        }
        if self.has_rules() {
            self.rules_have_changed(now);
        }
        Reply::Done(0)
    }

    /// Bans and the lock, as they are.
    pub(super) fn list_rules(&self, now: Now) -> Reply {
        let rules = self.rules.as_ref();
        let bans = rules.map(|rules| {
            let bans = rules.bans.iter().filter(|(_, until)| **until > now.unix_ms);
            bans.map(|(user, until)| (user.clone(), *until)).collect()
        });
        let locked_until = rules.map_or(0, |rules| rules.locked_until);
        Reply::Rules {
            bans: bans.unwrap_or_default(),
            locked_until: if locked_until > now.unix_ms {
                locked_until
            } else {
                0
            },
        }
    }

    /// What its record is to have of them.
    pub(super) fn rules_field(&self) -> (FieldKey, Option<Box<[u8]>>) {
        let packed = self.rules.as_ref().map(|rules| {
            let mut out = Vec::new();
            let bans = rules.bans.iter().map(|(user, until)| (&**user, *until));
            let put_out = rules.put_out.iter();
            let put_out = put_out.map(|(client, (until, banned))| (*client, *until, *banned));
            let packed = PackedRules {
                locked_until: rules.locked_until,
                bans: bans.collect(),
                put_out: put_out.collect(),
                properties: (&rules.properties, rules.properties_until),
            };
            write_rules(&mut out, &packed);
            out.into()
        });
        (FieldKey::Rules, packed)
    }

    /// Takes what a record has of them. They hold, also where those of all rooms take more than they may.
    pub(super) fn load_rules<H>(
        &mut self,
        ctx: &Context<H>,
        now: Now,
        bytes: &[u8],
    ) -> Result<(), crate::wire::WireError> {
        let packed = read_rules(bytes)?;
        let mut rules = Rules::new(&ctx.rules);
        rules.locked_until = packed.locked_until;
        let bans = packed.bans.into_iter();
        rules.bans = bans.map(|(user, until)| (user.into(), until)).collect();
        let put_out = packed.put_out.into_iter();
        let put_out = put_out.map(|(client, until, banned)| (client, (until, banned)));
        rules.put_out = put_out.collect();
        let (properties, until) = packed.properties;
        (rules.properties, rules.properties_until) = (properties.into(), until);
        // Its members may not be loaded yet.
        let is_left = rules.prune(now, true);
        if !rules.properties.is_empty() {
            rules.look_at = now.micros;
        }
        self.rules = is_left.then_some(rules);
        Ok(())
    }

    /// The log forgets its events. Members who are behind are told that they missed some.
    pub(super) fn clear_log(&mut self, logs: &mut Logs) -> Reply {
        logs.clear(self.log);
        if let Some(gate) = &mut self.gate {
            gate.must_write = true;
        }
        Reply::Done(0)
    }
}

fn banned_fault() -> Fault<'static> {
    Fault::new(
        ErrorCode::Banned,
        "the application does not let you into this room for a time",
    )
}

pub(super) fn removed_fault() -> Fault<'static> {
    Fault::new(
        ErrorCode::Removed,
        "the application has put you out of this room",
    )
}
