//! The built-in logic of `state` rooms: `move` and `attack`; what it doesn't know is relayed.

use roomcast_protocol::{ErrorCode, GameAction, Position, Velocity};

use crate::logic::{Outcome, PlayerNum, Refusal, RoomContext, RoomLogic};
use crate::numbered::Numbered;
use crate::settings::StateRules;

/// A velocity is derived over at least this time: two moves may arrive in one packet.
const SHORTEST_STEP_MS: u64 = 10;
/// A speed limit forgives what this much time would allow: the network bunches moves up.
const SPEED_SLACK_MS: u64 = 250;

/// The form of what is saved: an entry for each player, of its number and four numbers more.
const FORMAT: u8 = 1;
const ENTRY: usize = size_of::<PlayerNum>() + 4 * size_of::<u64>();

/// `move` sets a player's position and derives the velocity; `attack` takes health from `target_id`.
#[derive(Debug, Default)]
pub struct StateLogic {
    timers: Numbered<Timers>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Timers {
    moved_at: u64,
    /// Distance that the speed limit still allows.
    reach: f64,
    attack_at: u64,
    /// When a player who is down comes back.
    back_at: Option<u64>,
}

impl RoomLogic for StateLogic {
    fn join(&mut self, room: &mut RoomContext<'_>, player: PlayerNum) {
        let health = room.kind().rules.max_health;
        if let Some(state) = room.state_mut(player) {
            state.health = health;
        }
        let moved_at = room.now_ms();
        self.timers.insert(
            player,
            Timers {
                moved_at,
                ..Timers::default()
            },
        );
    }

    fn hears_events(&self) -> bool {
        false
    }

    fn leave(&mut self, _room: &mut RoomContext<'_>, player: PlayerNum) {
        self.timers.remove(&player);
    }

    fn action(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        action: &GameAction<'_>,
    ) -> Outcome {
        let result = match action.action() {
            "move" => self.walk(room, player, action),
            "attack" => self.attack(room, player, action),
            _ => return Outcome::Relay,
        };
        result.map_or_else(Outcome::Refused, |()| Outcome::Handled)
    }

    fn save(&self) -> Option<Vec<u8>> {
        let mut out = vec![FORMAT];
        for (player, timers) in self.timers.iter() {
            out.extend(player.to_le_bytes());
            let back_at = timers.back_at.unwrap_or(u64::MAX);
            let reach = timers.reach.to_bits();
            for number in [timers.moved_at, reach, timers.attack_at, back_at] {
                out.extend(number.to_le_bytes());
            }
        }
        Some(out)
    }

    fn load(&mut self, room: &mut RoomContext<'_>, saved: &[u8]) -> bool {
        let Some((&FORMAT, saved)) = saved.split_first() else {
            return false;
        };
        let (entries, rest) = saved.as_chunks::<ENTRY>();
        if !rest.is_empty() {
            return false;
        }
        let now = room.now_ms();
        for entry in entries {
            let (player, numbers) = entry.split_at(size_of::<PlayerNum>());
            let player = player.try_into().map_or(0, PlayerNum::from_le_bytes);
            let (numbers, _) = numbers.as_chunks();
            let &[moved_at, reach, attack_at, back_at] = numbers else {
                continue;
            };
            if room.player(player).is_none() {
                continue;
            }
            let [moved_at, attack_at, back_at] =
                [moved_at, attack_at, back_at].map(u64::from_le_bytes);
            let back_at = (back_at != u64::MAX).then_some(back_at);
            if let Some(at) = back_at {
                room.wake_in(at.saturating_sub(now));
            }
            let reach = f64::from_bits(u64::from_le_bytes(reach));
            let timers = Timers {
                moved_at,
                reach: if reach.is_finite() { reach } else { 0.0 },
                attack_at,
                back_at,
            };
            self.timers.insert(player, timers);
        }
        true
    }

    fn wake(&mut self, room: &mut RoomContext<'_>) {
        let now = room.now_ms();
        let health = room.kind().rules.max_health;
        for (player, timers) in self.timers.iter_mut() {
            match timers.back_at {
                Some(at) if at <= now => {
                    timers.back_at = None;
                    if let Some(state) = room.state_mut(*player) {
                        state.health = health;
                    }
                }
                Some(at) => room.wake_in(at - now),
                None => {}
            }
        }
    }
}

impl StateLogic {
    fn walk(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        action: &GameAction<'_>,
    ) -> Result<(), Refusal> {
        let now = room.now_ms();
        let rules = &room.kind().rules;
        let to = action
            .position()
            .ok_or_else(|| refusal(ErrorCode::MissingField, "a `move` needs a `position`"))?;
        let inside = |x: f64| rules.bounds == 0.0 || x.abs() <= rules.bounds;
        if !(inside(to.x) && inside(to.y) && inside(to.z)) {
            return Err(refusal(
                ErrorCode::OutOfRange,
                "the position is outside the room's bounds",
            ));
        }
        let speed = rules.max_speed;
        let before = self.living(room, player)?;
        let timers = self.timers.get_or_default(player);
        let elapsed = now.saturating_sub(timers.moved_at);
        let distance = distance(before, to);
        if speed > 0.0 {
            let seconds = |ms: u64| ms as f64 / 1_000.0;
            let most = speed * seconds(elapsed.max(SPEED_SLACK_MS));
            let reach = (timers.reach + speed * seconds(elapsed)).min(most);
            let slack = speed * seconds(SPEED_SLACK_MS);
            if distance > reach + slack {
                return Err(refusal(
                    ErrorCode::OutOfRange,
                    "the move is faster than the room allows",
                ));
            }
            timers.reach = reach - distance;
        }
        timers.moved_at = now;
        let per_second = 1_000.0 / elapsed.max(SHORTEST_STEP_MS) as f64;
        if let Some(state) = room.state_mut(player) {
            state.velocity = Velocity {
                x: finite((to.x - before.x) * per_second),
                y: finite((to.y - before.y) * per_second),
                z: finite((to.z - before.z) * per_second),
            };
            state.position = to;
        }
        Ok(())
    }

    fn attack(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        action: &GameAction<'_>,
    ) -> Result<(), Refusal> {
        let now = room.now_ms();
        let StateRules {
            attack_range,
            attack_cooldown,
            attack_damage,
            score_per_kill,
            respawn_after,
            max_health,
            ..
        } = room.kind().rules;
        let target = action
            .target_id()
            .ok_or_else(|| refusal(ErrorCode::MissingField, "an `attack` needs a `target_id`"))?;
        let from = self.living(room, player)?;
        let target = PlayerNum::try_from(target).unwrap_or(0);
        let victim = room
            .state(target)
            .filter(|_| target != player)
            .copied()
            .ok_or_else(|| {
                refusal(
                    ErrorCode::TargetNotFound,
                    "`target_id` is the `player_num` of somebody else here",
                )
            })?;
        if victim.health <= 0 {
            return Err(refusal(ErrorCode::TargetNotFound, "the target is down"));
        }
        let timers = self.timers.get_or_default(player);
        if now < timers.attack_at {
            let retry_after_ms = timers.attack_at - now;
            let message = "the attack is not ready again".into();
            return Err(Refusal {
                code: ErrorCode::OnCooldown,
                message,
                retry_after_ms,
            });
        }
        if attack_range > 0.0 && distance(from, victim.position) > attack_range {
            return Err(refusal(ErrorCode::OutOfRange, "the target is out of range"));
        }
        timers.attack_at = now.saturating_add(attack_cooldown);
        let health = victim.health.saturating_sub(attack_damage).max(0);
        let killed = health == 0;
        if let Some(state) = room.state_mut(target) {
            state.health = if killed && respawn_after == 0 {
                max_health
            } else {
                health
            };
        }
        if killed {
            if let Some(state) = room.state_mut(player) {
                state.score = state.score.saturating_add(score_per_kill);
            }
            if respawn_after > 0 {
                self.timers.get_or_default(target).back_at =
                    Some(now.saturating_add(respawn_after));
                room.wake_in(respawn_after);
            }
        }
        Ok(())
    }

    /// Where the player is; who is down can do nothing.
    fn living(&self, room: &RoomContext<'_>, player: PlayerNum) -> Result<Position, Refusal> {
        let Some(state) = room.state(player) else {
            return Err(refusal(ErrorCode::NotInRoom, "you are not in this room"));
        };
        if state.health > 0 {
            return Ok(state.position);
        }
        let back_at = self.timers.get(&player).and_then(|timers| timers.back_at);
        let retry_after_ms = back_at.map_or(0, |at| at.saturating_sub(room.now_ms()));
        let message = "you are down".into();
        Err(Refusal {
            code: ErrorCode::ActionRefused,
            message,
            retry_after_ms,
        })
    }
}

fn refusal(code: ErrorCode, message: &'static str) -> Refusal {
    Refusal {
        code,
        message: message.into(),
        retry_after_ms: 0,
    }
}

fn distance(from: Position, to: Position) -> f64 {
    ((to.x - from.x).powi(2) + (to.y - from.y).powi(2) + (to.z - from.z).powi(2)).sqrt()
}

/// Numbers on the wire are finite.
fn finite(x: f64) -> f64 {
    if x.is_finite() {
        x
    } else {
        x.signum() * f64::MAX
    }
}
