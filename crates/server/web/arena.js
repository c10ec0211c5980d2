// Draws a world on a canvas, and turns fingers and mouse into directions and targets.

import { HEIGHT, RADIUS, REACH, WIDTH, distance } from "./world.js";

const COLOURS = ["#ff6a4d", "#3f8cff", "#22b07d", "#a06bff", "#f0a21b", "#12b0c4", "#f0609c", "#86b72c"];
const LEAST_SCALE = 0.8; // a small screen shows a part of the arena rather than all of it tiny
const STICK = 46; // reach of the stick under a finger, in CSS pixels
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** The colour of a player: the same on every screen, as the room gives the number. */
export function colour(num) {
  return COLOURS[num - 1] ?? `hsl(${(num * 137.5) % 360} 62% 55%)`;
}

export class Arena {
  #canvas;
  #pen;
  #world;
  #nameOf;
  #isConnected;
  #view = { width: 0, height: 0, scale: 1, x: 0, y: 0 };
  #theme = {};
  #effects = []; // { kind, at, … }
  #bubbles = new Map(); // player_id → { text, until }
  #finger = null; // { id, start, now, moved }

  /** `nameOf` and `isConnected` tell of a player by its number. */
  constructor(canvas, world, nameOf, isConnected) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    this.#world = world;
    this.#nameOf = nameOf;
    this.#isConnected = isConnected;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#readTheme());
    this.#readTheme();
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.#up(event));
  }

  /** Shows something that passes: a `zap` from one to another, a `hit`, a `miss`. */
  effect(kind, details) {
    this.#effects.push({ kind, at: performance.now(), ...details });
  }

  /** Shows what somebody said above their head. */
  say(id, text) {
    const short = text.length > 42 ? `${text.slice(0, 40)}…` : text;
    this.#bubbles.set(id, { text: short, until: performance.now() + 2_500 + short.length * 50 });
  }

  /** The direction that a finger gives, each of x and y from -1 to 1. */
  get hand() {
    const finger = this.#finger;
    if (!finger?.moved) return { x: 0, y: 0 };
    return { x: (finger.now.x - finger.start.x) / STICK, y: (finger.now.y - finger.start.y) / STICK };
  }

  // --- Pointers: a drag steers, a tap walks there or attacks whom it touches ---

  #down(event) {
    if (this.#finger || event.button > 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    const at = { x: event.offsetX, y: event.offsetY };
    this.#finger = { id: event.pointerId, start: at, now: at, moved: false };
  }

  #move(event) {
    const finger = this.#finger;
    if (finger?.id !== event.pointerId) return;
    finger.now = { x: event.offsetX, y: event.offsetY };
    if (distance(finger.start, finger.now) > 10) finger.moved = true;
  }

  #up(event) {
    const finger = this.#finger;
    if (finger?.id !== event.pointerId) return;
    this.#finger = null;
    if (finger.moved || event.type === "pointercancel") return;
    const { scale, x, y } = this.#view;
    const at = { x: finger.start.x / scale + x, y: finger.start.y / scale + y };
    const touched = [...this.#world.players.values()].find(
      (player) => player.id !== this.#world.selfId && distance(player, at) <= RADIUS + 12,
    );
    if (touched) this.#world.chase(touched.id);
    else this.#world.walkTo(at.x, at.y);
  }

  // --- Drawing ---

  #readTheme() {
    const style = getComputedStyle(this.#canvas);
    for (const name of ["ground", "dot", "ink", "panel", "line", "bad"]) {
      this.#theme[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  #resize() {
    const { clientWidth, clientHeight } = this.#canvas;
    const ratio = Math.min(devicePixelRatio || 1, 2.5);
    this.#canvas.width = Math.round(clientWidth * ratio);
    this.#canvas.height = Math.round(clientHeight * ratio);
    this.#view.width = clientWidth;
    this.#view.height = clientHeight;
    this.#view.ratio = ratio;
  }

  /** Where the view is: the canvas is always full, and when its shape is not the arena's it follows us. */
  #aim() {
    const view = this.#view;
    view.scale = Math.max(view.width / WIDTH, view.height / HEIGHT, LEAST_SCALE);
    const self = this.#world.self ?? { x: 0, y: 0 };
    const along = (at, shown, whole) =>
      shown >= whole ? -shown / 2 : Math.max(-whole / 2, Math.min(whole / 2 - shown, at - shown / 2));
    view.x = along(self.x, view.width / view.scale, WIDTH);
    view.y = along(self.y, view.height / view.scale, HEIGHT);
  }

  draw(now) {
    this.#aim();
    const pen = this.#pen;
    const { ratio, scale, x, y } = this.#view;
    if (!ratio) return;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = this.#theme.ground;
    pen.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    pen.setTransform(ratio * scale, 0, 0, ratio * scale, -x * ratio * scale, -y * ratio * scale);

    this.#drawGround(pen);
    const players = [...this.#world.players.values()].sort((a, b) => a.y - b.y);
    const self = this.#world.self;
    if (self?.health > 0) this.#drawReach(pen, self);
    for (const player of players) this.#drawPlayer(pen, player, now);
    this.#effects = this.#effects.filter((effect) => this.#drawEffect(pen, effect, now));
    for (const player of players) this.#drawBubble(pen, player, now);

    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const player of players) this.#drawPointer(pen, player);
    this.#drawStick(pen);
  }

  #drawGround(pen) {
    pen.fillStyle = this.#theme.dot;
    for (let x = -WIDTH / 2 + 20; x < WIDTH / 2; x += 40) {
      for (let y = -HEIGHT / 2 + 10; y < HEIGHT / 2; y += 40) circle(pen, x, y, 1.4);
    }
    pen.strokeStyle = this.#theme.line;
    pen.lineWidth = 2;
    pen.strokeRect(-WIDTH / 2, -HEIGHT / 2, WIDTH, HEIGHT);
  }

  #drawReach(pen, self) {
    pen.save();
    pen.globalAlpha = 0.08;
    pen.fillStyle = colour(self.num);
    circle(pen, self.x, self.y, REACH);
    pen.globalAlpha = 0.35;
    pen.strokeStyle = colour(self.num);
    pen.lineWidth = 1.2;
    pen.setLineDash([4, 7]);
    ring(pen, self.x, self.y, REACH);
    pen.restore();
  }

  #drawPlayer(pen, player, now) {
    const out = player.health <= 0;
    const mine = player.id === this.#world.selfId;
    const away = !this.#isConnected(player.num);
    const speed = Math.min(1, Math.hypot(player.dx, player.dy));
    const born = calm.matches ? 1 : grow((now - player.born) / 320);

    pen.save();
    pen.translate(player.x, player.y);
    pen.scale(born, born);
    pen.globalAlpha = out || away ? 0.4 : 1;

    // A shadow, then the disc, stretched a little along its way.
    pen.save();
    pen.fillStyle = "rgb(0 0 0 / 0.13)";
    pen.beginPath();
    pen.ellipse(0, RADIUS * 0.82, RADIUS * 0.86, RADIUS * 0.34, 0, 0, 2 * Math.PI);
    pen.fill();
    const angle = Math.atan2(player.dy, player.dx);
    if (!calm.matches) {
      pen.rotate(angle);
      pen.scale(1 + 0.1 * speed, 1 - 0.08 * speed);
      pen.rotate(-angle);
    }
    pen.fillStyle = colour(player.num);
    circle(pen, 0, 0, RADIUS);
    pen.fillStyle = "rgb(255 255 255 / 0.16)";
    pen.beginPath();
    pen.ellipse(0, -RADIUS * 0.42, RADIUS * 0.66, RADIUS * 0.4, 0, 0, 2 * Math.PI);
    pen.fill();
    this.#drawFace(pen, player, out, now);
    pen.restore();

    if (mine) {
      pen.strokeStyle = this.#theme.ink;
      pen.lineWidth = 2.4;
      ring(pen, 0, 0, RADIUS + 4);
    }
    this.#drawHealth(pen, player);
    pen.globalAlpha = out || away ? 0.6 : 1;
    this.#label(pen, player, `${this.#nameOf(player.num)}${away ? ", offline" : ""}`, mine ? 650 : 500);
    pen.restore();
  }

  #drawFace(pen, player, out, now) {
    const look = { x: player.dx * 5, y: player.dy * 5 };
    const blink = !calm.matches && (now + player.num * 1_371) % 4_200 < 110;
    for (const side of [-1, 1]) {
      const [x, y] = [side * 7.5 + look.x, -2 + look.y];
      pen.strokeStyle = pen.fillStyle = "#fff";
      if (out) {
        pen.lineWidth = 2.4;
        line(pen, x - 3.5, y - 3.5, x + 3.5, y + 3.5);
        line(pen, x - 3.5, y + 3.5, x + 3.5, y - 3.5);
      } else if (blink) {
        pen.lineWidth = 2.2;
        line(pen, x - 4.5, y, x + 4.5, y);
      } else {
        circle(pen, x, y, 5.2);
        pen.fillStyle = "#1d1b26";
        circle(pen, x + player.dx * 2.2, y + player.dy * 2.2, 2.6);
      }
    }
  }

  #drawHealth(pen, player) {
    const part = Math.max(0, Math.min(1, player.health / (player.best || 1)));
    const [width, height] = [42, 5];
    const { x, y } = this.#inside(player, { x: -width / 2, y: -RADIUS - 15, width, height });
    pen.fillStyle = this.#theme.dot;
    bar(pen, x, y, width, height);
    if (part === 0) return;
    pen.fillStyle = part > 0.5 ? "#22a565" : part > 0.25 ? "#e39a12" : "#e0453a";
    bar(pen, x, y, Math.max(5, width * part), height);
  }

  /** A box beside a player whom the view shows, moved so far that the view's edge does not cut it. */
  #inside(player, { x, y, width, height }) {
    const view = this.#view;
    const shift = (at, size, from, shown) => Math.max(from + 4, Math.min(from + shown - size - 4, at));
    if (!this.#shows(player)) return { x, y };
    return {
      x: shift(player.x + x, width, view.x, view.width / view.scale) - player.x,
      y: shift(player.y + y, height, view.y, view.height / view.scale) - player.y,
    };
  }

  #shows({ x, y }) {
    const view = this.#view;
    return x >= view.x && x <= view.x + view.width / view.scale && y >= view.y && y <= view.y + view.height / view.scale;
  }

  #label(pen, player, text, weight) {
    pen.font = `${weight} 13px ${FONT}`;
    const [width, height] = [pen.measureText(text).width + 4, 17];
    const box = this.#inside(player, { x: -width / 2, y: RADIUS + 11, width, height });
    const [x, y] = [box.x + width / 2, box.y + height / 2];
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeStyle = this.#theme.ground;
    pen.strokeText(text, x, y);
    pen.fillStyle = this.#theme.ink;
    pen.fillText(text, x, y);
  }

  /** Draws an effect at its age; returns whether it goes on. */
  #drawEffect(pen, effect, now) {
    const age = (now - effect.at) / { zap: 260, hit: 800, miss: 300 }[effect.kind];
    if (age >= 1) return false;
    const { players } = this.#world;
    const [from, to] = [players.get(effect.from ?? effect.id), players.get(effect.to)];
    if (!from || (effect.kind === "zap" && !to)) return false;
    pen.save();
    pen.globalAlpha = 1 - age;
    pen.strokeStyle = colour(from.num);
    if (effect.kind === "zap") {
      pen.lineCap = "round";
      pen.lineWidth = 6 * (1 - age) + 1;
      const gap = (RADIUS + 5) / Math.max(distance(from, to), 2 * RADIUS + 10);
      const [dx, dy] = [(to.x - from.x) * gap, (to.y - from.y) * gap];
      line(pen, from.x + dx, from.y + dy, to.x - dx, to.y - dy);
      pen.lineWidth = 3;
      ring(pen, to.x, to.y, RADIUS + 3 + (calm.matches ? 4 : 20 * age));
    } else if (effect.kind === "miss") {
      pen.lineWidth = 2;
      ring(pen, from.x, from.y, calm.matches ? REACH : REACH * (0.5 + age / 2));
    } else {
      pen.translate(from.x + 24, from.y - RADIUS - 8 - (calm.matches ? 0 : 26 * age));
      pen.font = `700 15px ${FONT}`;
      pen.textAlign = "center";
      pen.lineWidth = 4;
      pen.strokeStyle = this.#theme.ground;
      pen.strokeText(`−${effect.lost}`, 0, 0);
      pen.fillStyle = this.#theme.bad;
      pen.fillText(`−${effect.lost}`, 0, 0);
    }
    pen.restore();
    return true;
  }

  #drawBubble(pen, player, now) {
    const bubble = this.#bubbles.get(player.id);
    if (!bubble) return;
    if (now > bubble.until) {
      this.#bubbles.delete(player.id);
      return;
    }
    pen.save();
    pen.font = `500 13px ${FONT}`;
    const width = pen.measureText(bubble.text).width + 20;
    if (!this.#shows(player)) return pen.restore(); // a mark at the edge says where
    const box = this.#inside(player, { x: -width / 2, y: -RADIUS - 55, width, height: 33 });
    const [x, y] = [player.x + box.x, player.y + box.y];
    const tail = Math.max(x + 16, Math.min(x + width - 16, player.x));
    pen.globalAlpha = Math.min(1, (bubble.until - now) / 250);
    pen.fillStyle = this.#theme.ink;
    pen.beginPath();
    pen.roundRect(x, y, width, 27, 13);
    pen.moveTo(tail - 5, y + 27);
    pen.lineTo(tail + 5, y + 27);
    pen.lineTo(tail, y + 33);
    pen.fill();
    pen.fillStyle = this.#theme.panel;
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.fillText(bubble.text, x + 10, y + 14);
    pen.restore();
  }

  /** Somebody outside the view is a mark at its edge. */
  #drawPointer(pen, player) {
    const { scale, x, y, width, height } = this.#view;
    const [px, py] = [(player.x - x) * scale, (player.y - y) * scale];
    if (this.#shows(player)) return;
    pen.fillStyle = colour(player.num);
    circle(pen, Math.max(11, Math.min(width - 11, px)), Math.max(11, Math.min(height - 11, py)), 7);
  }

  #drawStick(pen) {
    const finger = this.#finger;
    if (!finger?.moved) return;
    const { start, now } = finger;
    const part = Math.min(1, STICK / distance(start, now));
    pen.save();
    pen.globalAlpha = 0.16;
    pen.fillStyle = this.#theme.ink;
    circle(pen, start.x, start.y, STICK + 12);
    pen.globalAlpha = 0.55;
    circle(pen, start.x + (now.x - start.x) * part, start.y + (now.y - start.y) * part, 20);
    pen.restore();
  }
}

// --- Shapes ---

function circle(pen, x, y, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}

function ring(pen, x, y, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.stroke();
}

function line(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

function bar(pen, x, y, width, height) {
  pen.beginPath();
  pen.roundRect(x, y, width, height, height / 2);
  pen.fill();
}

/** From 0 to 1, a little over it, and back. */
function grow(part) {
  const t = Math.max(0, Math.min(1, part)) - 1;
  return 1 + 2.2 * t ** 3 + 1.2 * t ** 2;
}
