//! A room tells of who comes, until it is too big to tell everybody of everybody.

use roomcast_protocol::{Body, Outgoing, Payload};

use crate::context::Context;
use crate::home::output::Via;
use crate::home::room::Room;
use crate::host::Host;
use crate::player::PlayerNum;
use crate::settings::PresenceMode;

/// Tells that a room has become too big for `full` presence.
pub(super) const PRESENCE_EVENT: &str = "roomcast.presence";

impl Room {
    /// `player_joined` to everybody in the room.
    pub(super) fn announce<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        born: u64,
        player: PlayerNum,
        logged: bool,
    ) {
        let Some(member) = self.members.get(&player) else {
            return;
        };
        let message = Outgoing {
            from: member.itself(player),
            room_id: &self.name,
            timestamp: self.timestamp,
            offset: if logged { self.offset } else { 0 },
            epoch: if logged { self.epoch.as_str() } else { "" },
            body: Body::PlayerJoined(member.listed(player)),
            ..Outgoing::default()
        };
        let (receivers, compression) = (&self.receivers, &self.entry.kind.compression);
        self.output.broadcast(
            ctx,
            Via::Events,
            receivers,
            compression,
            born,
            &message,
            None,
        );
    }

    /// The room has become too big to tell everybody of everybody: one logged event says so, in
    /// the place of the `player_joined` that went over the limit.
    pub(super) fn switch_to_count<H: Host>(&mut self, ctx: &mut Context<H>, born: u64) {
        self.counts_presence = true;
        let told = count_json(self.members.len());
        self.tell_of_room(ctx, born, self.timestamp, (PRESENCE_EVENT, &told));
    }

    /// Tells everybody of the last event of the log, which the room itself put there: its name, and its payload in JSON.
    pub(super) fn tell_of_room<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        born: u64,
        timestamp: i64,
        (name, json): (&str, &str),
    ) {
        let payload = Payload::json(json);
        let message = Outgoing {
            room_id: &self.name,
            timestamp,
            offset: self.offset,
            epoch: self.epoch.as_str(),
            body: Body::Event { name, payload },
            ..Outgoing::default()
        };
        let (receivers, compression) = (&self.receivers, &self.entry.kind.compression);
        self.output.broadcast(
            ctx,
            Via::Events,
            receivers,
            compression,
            born,
            &message,
            None,
        );
    }

    pub(super) fn outgrows_full_presence(&self, members: usize) -> bool {
        let most = self.entry.kind.full_presence_limit as usize;
        self.presence() == PresenceMode::Full && most > 0 && members > most
    }
}

pub(super) fn count_json(members: usize) -> String {
    format!(r#"{{"presence":"count","total":{members}}}"#)
}
