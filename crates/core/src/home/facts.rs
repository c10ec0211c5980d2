//! What a room tells an application's backend: that somebody came or went, and what was said.
//!
//! A fact is said to this shard, which is no connection's: so it passes the room's gate, and comes out in the room's order.

use roomcast_protocol::{Format, MessageType, encode};

use crate::context::Context;
use crate::fact::{Fact, MemberFact, What};
use crate::home::recover::with_message;
use crate::home::room::Room;
use crate::host::Host;
use crate::id::ClientId;
use crate::letter::ToEdge;
use crate::log::Logged;
use crate::member::Member;
use crate::player::PlayerNum;
use crate::time::Now;

impl Room {
    /// A player is here who was not.
    pub(super) fn tell_joined<H: Host>(
        &self,
        ctx: &mut Context<H>,
        now: Now,
        player: PlayerNum,
        client: ClientId,
    ) {
        let facts = self.entry.kind.facts;
        if facts.rooms && self.members.len() == 1 {
            self.tell(ctx, now, What::RoomOpened(self.name.clone()));
        }
        if let Some(member) = self.members.get(&player).filter(|_| facts.members) {
            let fact = self.member_fact(player, member, client);
            self.tell(ctx, now, What::Joined(fact));
        }
    }

    /// A player was here, and is no more.
    pub(super) fn tell_left<H: Host>(
        &self,
        ctx: &mut Context<H>,
        now: Now,
        (player, member): (PlayerNum, &Member),
        client: ClientId,
    ) {
        let facts = self.entry.kind.facts;
        if facts.members {
            let fact = self.member_fact(player, member, client);
            self.tell(ctx, now, What::Left(fact));
        }
        if facts.rooms && self.members.is_empty() {
            self.tell(ctx, now, What::RoomEmptied(self.name.clone()));
        }
    }

    /// Something has its place in the log. Of what the server itself puts there, nothing is told.
    pub(super) fn tell_message<H: Host>(
        &self,
        ctx: &mut Context<H>,
        now: Now,
        logged: &Logged<'_>,
    ) {
        let is_message = match logged.record.message_type {
            MessageType::Chat | MessageType::GameAction => true,
            MessageType::Event => !logged.record.name.starts_with("roomcast."),
            _ => false,
        };
        if !is_message {
            return;
        }
        let lot = (ctx.host.random() >> 32) as u32;
        if lot > self.entry.kind.facts.messages {
            return;
        }
        let mut json = Vec::new();
        with_message(&self.name, &self.epoch, logged, |message| {
            encode(Format::Json, message, &mut json);
        });
        let (room, json) = (self.name.clone(), json.into());
        self.tell(ctx, now, What::Message { room, json, lot });
    }

    fn member_fact(
        &self,
        player_num: PlayerNum,
        member: &Member,
        client: ClientId,
    ) -> Box<MemberFact> {
        Box::new(MemberFact {
            room: self.name.clone(),
            client,
            user_id: member.user_id.clone(),
            player_num,
            nickname: member.nickname.clone(),
            members: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
        })
    }

    fn tell<H: Host>(&self, ctx: &mut Context<H>, now: Now, what: What) {
        let unix_ms = now.unix_ms;
        let fact = Box::new(Fact { unix_ms, what });
        ctx.send_edge(ctx.own, ToEdge::Fact(fact));
    }
}
