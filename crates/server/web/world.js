// What one player knows about the arena: everybody's state as `sync` brings it, drawn smoothly in between.
//
// The server sends what changed 20 times a second. Others are shown a little in the past, between two states that
// are known; we ourselves are shown where we are now, and tell the server where that is.

export const WIDTH = 640;
export const HEIGHT = 400;
export const RADIUS = 22;
/** How far an attack reaches: the server's default for `attack_range`. */
export const REACH = 100;

const COOLDOWN = 550; // milliseconds between two attacks: the server's default, and a little for the way there
const SPEED = 230; // units a second
const TICK = 50; // milliseconds between two syncs, and between two moves that we send
const DELAY = 2 * TICK; // how far in the past others are shown: one sync may be late
const TELEPORT = 160; // a step longer than this is not walked but jumped
const KEEP = 1_000; // milliseconds of history

export class World {
  players = new Map(); // player_id → player
  selfId = null;
  #place = null; // where to go on, once the server has shown us; null: a free place
  moved = false; // whether the player has found out how to walk
  #clock = Infinity; // the least that our clock was ahead of a sync's timestamp: the quickest delivery seen
  #lastSent = 0;
  #sent = null; // the position that we sent last
  #movedAt = 0;
  #attackedAt = 0;
  #goal = null; // where to walk, or whom to follow and attack
  #send; // (action, data)
  #effect; // (kind, details)

  constructor(send, effect) {
    this.#send = send;
    this.#effect = effect;
  }

  get self() {
    return this.players.get(this.selfId);
  }

  /** A room was joined: what is shown from here on is what its next `sync` says. */
  joined(selfId) {
    const old = this.self;
    this.players.clear();
    this.selfId = selfId;
    this.#sent = null;
    this.#clock = Infinity;
    // After a drop we go on where we stood, not where newcomers stand.
    this.#place = old ? { x: old.x, y: old.y } : null;
  }

  left(playerId) {
    this.players.delete(playerId);
  }

  /** Takes in a `StateSync`. */
  sync(state, now) {
    if (state.full) {
      const there = new Set(state.players.map((player) => player.player_id));
      for (const id of this.players.keys()) if (!there.has(id)) this.players.delete(id);
    }
    for (const id of state.left ?? []) this.players.delete(id);
    // (It may rise by a millisecond a second, so that two clocks that drift stay together.)
    this.#clock = Math.min(this.#clock + TICK / 1000, now - state.timestamp);
    const newcomer = !this.self;
    for (const player of state.players) this.#update(player, state.timestamp, now);
    // Once all who are in the sync are known: nobody begins on top of somebody else.
    if (newcomer && this.self) {
      Object.assign(this.self, this.#place ?? this.#freePlace());
      this.#tell(now);
    }
  }

  /** A place of our number's that is nobody else's, or the one that is farthest from all. */
  #freePlace() {
    const others = [...this.players.values()].filter((player) => player.id !== this.selfId && player.health > 0);
    const room = (place) => Math.min(...others.map((other) => distance(place, other)), 4 * RADIUS);
    const places = Array.from({ length: 24 }, (_, step) => placeOf(this.self.num + step));
    return places.reduce((best, place) => (room(place) > room(best) ? place : best));
  }

  #update({ player_id: id, player_num: num, position, health, score }, time, now) {
    let player = this.players.get(id);
    if (!player) {
      player = { id, num, x: position.x, y: position.y, dx: 0, dy: 0, health, best: health, score, samples: [], born: now };
      this.players.set(id, player);
    }
    if (health < player.health) this.#effect("hit", { id, lost: player.health - health });
    player.best = Math.max(player.best, health);
    Object.assign(player, { num, health, score, server: { x: position.x, y: position.y } });

    // Only who changed is listed: somebody who stood still until now stood there until one tick ago.
    const last = player.samples.at(-1);
    if (last && time - last.time > 2 * TICK) player.samples.push({ ...last, time: time - TICK });
    player.samples.push({ time, x: position.x, y: position.y });
    while (player.samples.length > 2 && player.samples[0].time < time - KEEP) player.samples.shift();
  }

  /** Walks to a place, when no direction is given by hand. */
  walkTo(x, y) {
    this.moved = true;
    this.#goal = { x, y };
  }

  /** Attacks somebody, after walking there when they are too far away. */
  chase(id) {
    this.#goal = { id };
  }

  /** Attacks the nearest one in reach. Returns whether there was one. */
  attackNearest() {
    const self = this.self;
    if (!self || self.health <= 0) return false;
    const near = [...this.players.values()]
      .filter((other) => other !== self && other.health > 0 && distance(self, other) <= REACH)
      .sort((a, b) => distance(self, a) - distance(self, b));
    if (near.length === 0) return false;
    this.#attack(near[0]);
    return true;
  }

  #attack(other) {
    const now = performance.now();
    if (now - this.#attackedAt < COOLDOWN) return;
    this.#attackedAt = now;
    this.#send("attack", { target_id: other.num });
    this.#effect("zap", { from: this.selfId, to: other.id });
  }

  /** Moves everybody on by a frame of `seconds`. `hand` is the direction that keys or a finger give. */
  step(seconds, now, hand) {
    for (const player of this.players.values()) {
      const [x, y] = [player.x, player.y];
      if (player.id === this.selfId) this.#stepSelf(player, seconds, now, hand);
      else this.#interpolate(player, now);
      // The look of a disc follows how it moves, softened.
      const blend = Math.min(1, seconds * 12);
      player.dx += ((player.x - x) / Math.max(seconds, 0.001) / SPEED - player.dx) * blend;
      player.dy += ((player.y - y) / Math.max(seconds, 0.001) / SPEED - player.dy) * blend;
    }
  }

  #stepSelf(self, seconds, now, hand) {
    const direction = self.health > 0 ? this.#direction(self, hand, seconds) : null;
    if (direction) {
      const to = clamp({ x: self.x + direction.x * SPEED * seconds, y: self.y + direction.y * SPEED * seconds });
      Object.assign(self, to);
      this.#movedAt = now;
    } else if (now - this.#movedAt > 500 && self.server && this.#sent) {
      // At rest, the server has the last word on where we are.
      const pull = Math.min(1, seconds * 10);
      self.x += (self.server.x - self.x) * pull;
      self.y += (self.server.y - self.y) * pull;
      return;
    }
    if (now - this.#lastSent >= TICK && (self.x !== this.#sent?.x || self.y !== this.#sent?.y)) this.#tell(now);
  }

  #tell(now) {
    const { x, y } = this.self;
    this.#lastSent = this.#movedAt = now;
    this.#sent = { x, y };
    this.#send("move", { position: { x: round(x), y: round(y), z: 0 } });
  }

  #direction(self, hand, seconds) {
    const length = Math.hypot(hand.x, hand.y);
    if (length > 0.05) {
      this.moved = true;
      this.#goal = null;
      return length > 1 ? { x: hand.x / length, y: hand.y / length } : hand;
    }
    const goal = this.#goal?.id ? this.players.get(this.#goal.id) : this.#goal;
    if (!goal) return (this.#goal = null);
    const away = distance(self, goal);
    if (goal.id && (away <= 0.9 * REACH || goal.health <= 0)) {
      if (goal.health > 0) this.#attack(goal);
      return (this.#goal = null);
    }
    if (away < 1) return (this.#goal = null);
    const speed = Math.min(1, away / (SPEED * Math.max(seconds, 0.001)));
    return { x: ((goal.x - self.x) / away) * speed, y: ((goal.y - self.y) / away) * speed };
  }

  #interpolate(player, now) {
    const time = now - this.#clock - DELAY;
    const { samples } = player;
    const next = samples.findIndex((sample) => sample.time > time);
    if (next <= 0) {
      // Before all that we know, or past it: stand at its end.
      const { x, y } = next === 0 ? samples[0] : samples.at(-1);
      Object.assign(player, { x, y });
      return;
    }
    const [a, b] = [samples[next - 1], samples[next]];
    const part = distance(a, b) > TELEPORT ? 1 : (time - a.time) / (b.time - a.time);
    player.x = a.x + (b.x - a.x) * part;
    player.y = a.y + (b.y - a.y) * part;
  }
}

export function distance(a, b) {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

function clamp({ x, y }) {
  const [right, bottom] = [WIDTH / 2 - RADIUS, HEIGHT / 2 - RADIUS];
  return { x: Math.max(-right, Math.min(right, x)), y: Math.max(-bottom, Math.min(bottom, y)) };
}

/** Where the player with a number begins: numbers that follow each other lie apart (the R2 sequence), around the middle. */
function placeOf(num) {
  const part = (step) => ((0.5 + step * num) % 1) - 0.5;
  return { x: round(part(0.7548776662) * WIDTH * 0.7), y: round(part(0.5698402910) * HEIGHT * 0.6) };
}

const round = (value) => Math.round(value * 10) / 10;
