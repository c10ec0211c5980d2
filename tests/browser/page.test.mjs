// The demo page as its users meet it: in a browser, against the real server. Screenshots are kept in artifacts/.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { artifacts, startBrowser, startServer, until } from "./support.mjs";

const COLOURS = { 1: "#ff6a4d", 2: "#3f8cff", 3: "#22b07d" }; // of the first players, as arena.js has them
/** Nearer than this to the canvas's edge is a player who can go no further, in the arena's units: its radius is 22. */
const NEAR = 30;
const DESKTOP = { width: 1360, height: 860 };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

describe("the demo page", { timeout: 180_000 }, () => {
  let server, browser;

  before(async () => {
    server = await startServer();
    browser = await startBrowser();
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test("opens with two players who see each other, without an error or a foreign request", async () => {
    await using(async (page, { problems, requests }) => {
      for (const index of [0, 1]) await membersAre(page, index, 2);
      const [first, second] = await Promise.all([0, 1].map((index) => name(page, index)));
      assert.notEqual(first, second);
      assert.deepEqual((await page.locator(".pane-head .disc").allTextContents()).sort(), ["1", "2"]);
      for (const index of [0, 1]) {
        const shown = (await memberNames(page, index)).sort();
        assert.deepEqual(shown, [first, second].sort());
      }
      await until("a round trip time", async () => /\d ms/.test(await figure(page, 0, "rtt")));
      assert.deepEqual(problems, []);
      assert.deepEqual(requests.filter((url) => new URL(url).host !== new URL(server.url).host), []);
    });
  });

  test("shows each player's steps to the other", async () => {
    await using(async (page) => {
      for (const [mover, key, axis, sign] of [
        [0, "KeyD", "x", 1],
        [0, "KeyW", "y", -1],
        [1, "ArrowLeft", "x", -1],
        [1, "ArrowDown", "y", 1],
      ]) {
        const colour = await colourOf(page, mover);
        const watcher = 1 - mover;
        const start = await settled(page, colour);
        await page.keyboard.down(key);
        await until(`${key} to move player ${mover} on the other's screen`, async () => {
          const at = await spot(page, watcher, colour);
          return at && (at[axis] - start[axis]) * sign > 15;
        });
        await page.keyboard.up(key);
      }
    });
  });

  test("begins each player in a place of its own", async () => {
    await using(async (page, { context }) => {
      const [third] = await Promise.all([context.waitForEvent("page"), page.click("#open")]);
      await third.waitForSelector('.status[data-state="connected"]');
      await page.bringToFront();
      await membersAre(page, 0, 3);
      const places = [];
      for (const colour of Object.values(COLOURS)) places.push(await settled(page, colour));
      for (const [at, one] of places.entries()) {
        for (const other of places.slice(at + 1)) {
          const apart = Math.hypot(one.x - other.x, one.y - other.y);
          assert.ok(apart > 60, `two players begin ${apart} pixels apart`);
        }
      }
    });
  });

  test("comes to rest at the same place on both screens", async () => {
    await using(async (page) => {
      const colour = await colourOf(page, 0);
      const start = await settled(page, colour);
      await page.keyboard.down("KeyD");
      await until("a few steps", async () => (await spot(page, 0, colour))?.x - start.x > 40);
      await page.keyboard.up("KeyD");
      assert.ok((await settled(page, colour)).x - start.x > 30);
    });
  });

  test("brings what one says to both", async () => {
    await using(async (page) => {
      await say(page, 0, "Hello <b>there</b> & everywhere");
      await say(page, 1, "Grüße 🎉");
      for (const index of [0, 1]) {
        await hears(page, index, `${await name(page, 0)} Hello <b>there</b> & everywhere`);
        await hears(page, index, `${await name(page, 1)} Grüße 🎉`);
      }
    });
  });

  test("lets a third player in by the link, and sees it leave", async () => {
    await using(async (page, { context }) => {
      await membersAre(page, 0, 2);
      const [third] = await Promise.all([context.waitForEvent("page"), page.click("#open")]);
      await third.waitForSelector('.status[data-state="connected"]');
      assert.equal(await third.locator(".pane").count(), 1);
      assert.equal(await third.textContent("#room"), await page.textContent("#room"));
      await membersAre(third, 0, 3);
      for (const index of [0, 1]) await membersAre(page, index, 3);
      const guest = await name(third, 0);
      await say(third, 0, "May I play?");
      for (const index of [0, 1]) await hears(page, index, `${guest} May I play?`);
      await third.close();
      for (const index of [0, 1]) {
        await membersAre(page, index, 2);
        await hears(page, index, `${guest} left`);
      }
    });
  });

  test("counts a victory for the one who attacked", async () => {
    await using(async (page) => {
      // A tap on somebody walks there and attacks; from then on, the key.
      const target = await settled(page, await colourOf(page, 1));
      await page.locator(".arena").nth(0).click({ position: target });
      await until(
        "the score of the first player",
        async () => {
          await page.keyboard.press("Space");
          const winner = page.locator(".pane").nth(1).locator(".members li", { hasText: await name(page, 0) });
          return (await winner.locator(".score").count()) === 1;
        },
        30_000,
      );
    });
  });

  test("loses nothing while a cable is pulled: what was written meanwhile arrives once, in order", async () => {
    await using(async (page) => {
      await membersAre(page, 1, 2);
      const [away, here] = await Promise.all([0, 1].map((index) => name(page, index)));
      await say(page, 0, "one");
      await hears(page, 1, `${away} one`);
      await pane(page, 0).getByRole("button", { name: "Pull the cable" }).click();
      await pane(page, 0).locator('.status[data-state="reconnecting"]').waitFor();

      // Both write on; neither hears the other.
      for (const text of ["two", "three"]) await say(page, 0, text);
      for (const text of ["alpha", "beta", "gamma"]) await say(page, 1, text);
      await hears(page, 1, `${here} gamma`);
      assert.deepEqual(await pane(page, 0).locator(".outbox p").allTextContents(), ["two", "three"]);
      for (const text of [`${here} alpha`, `${away} two`]) assert.ok(!(await lines(page, 0)).includes(text), text);
      // The others see that it is away: a browser goes on answering pings, but the cable is pulled.
      await pane(page, 1).locator(".members li", { hasText: away }).locator(".state", { hasText: "offline" }).waitFor();
      await screenshot(page, "page-cable");

      await pane(page, 0).getByRole("button", { name: "Plug it in" }).click();
      await pane(page, 0).locator('.status[data-state="connected"]').waitFor();
      await hears(page, 0, "Back in the room");
      const said = [`${away} one`, `${here} alpha`, `${here} beta`, `${here} gamma`, `${away} two`, `${away} three`];
      for (const index of [0, 1]) {
        await hears(page, index, `${away} three`);
        const heard = (await lines(page, index)).filter((line) => line.startsWith(away) || line.startsWith(here));
        assert.deepEqual(heard.filter((line) => !/ (came in|left)$/.test(line)), said);
      }
      assert.equal(await pane(page, 0).locator(".outbox p").count(), 0);
      assert.deepEqual(await tally(page, 0), { lost: "0", twice: "0", recovered: "3" });
      assert.deepEqual(await tally(page, 1), { lost: "0", twice: "0", recovered: "0" });
      // It never left: the others saw neither a leave nor a join.
      assert.ok(!(await lines(page, 1)).includes(`${away} left`));
      await membersAre(page, 0, 2);
    });
  });

  test("would count what is lost, comes twice or is recovered", async () => {
    await using(async (page) => {
      const counted = await page.evaluate(async () => {
        const { Tally } = await import("/tally.js");
        const tally = new Tally();
        const take = (offset, timestamp, epoch = "a", own = false) => tally.take({ offset, epoch, timestamp }, own);
        for (const offset of [7, 8, 11, 12, 12, 13]) take(offset, 100); // 9 and 10 are missing, 12 is there twice
        tally.take({ timestamp: 100 }, false); // an ephemeral event has no offset, and is no loss
        tally.back(200);
        take(14, 150);
        take(15, 150, "a", true);
        take(16, 250);
        take(40, 250, "b"); // the server was started anew
        return { ...tally };
      });
      assert.deepEqual(counted, { lost: 2, twice: 1, recovered: 1 });
    });
  });

  test("is the same players after a reload, and nobody saw them leave", async () => {
    await using(async (page, { context }) => {
      const third = await open(context, await page.getAttribute("#open", "href"));
      await membersAre(third, 0, 3);
      const before = (await memberNames(third, 0)).sort();
      const num = await pane(page, 1).getAttribute("data-num");
      await page.reload();
      await pane(page, 1).locator('.status[data-state="connected"]').waitFor();
      await until("the player's number", async () => (await pane(page, 1).getAttribute("data-num")) === num);
      await say(page, 0, "Same as before");
      await hears(third, 0, `${await name(page, 0)} Same as before`);
      assert.deepEqual((await memberNames(third, 0)).sort(), before);
      assert.ok(!(await lines(third, 0)).some((line) => line.endsWith(" left")));
      await third.close();
    });
  });

  test("comes back when the server does", async () => {
    const own = await startServer();
    let next;
    try {
      await using(async (page, { problems }) => {
        await own.stop();
        await pane(page, 0).locator('.status[data-state="reconnecting"]').waitFor();
        next = await startServer({ port: own.port });
        for (const index of [0, 1]) {
          await pane(page, index).locator('.status[data-state="connected"]').waitFor();
          await membersAre(page, index, 2);
        }
        problems.length = 0; // the browser reports each connection that was refused meanwhile
      }, { url: own.url });
    } finally {
      await own.stop();
      await next?.stop();
    }
  });

  test("obeys the close codes", async () => {
    await using(async (page) => {
      const closed = (code, reason) => page.evaluate(([code, reason]) => window.closeAll(code, reason), [code, reason]);
      await closed(4002, "heartbeat_timeout");
      await hears(page, 0, "Back in the room");
      await closed(4001, "slow_reader; retry_after_ms=60000");
      await pane(page, 0).getByText(/Next try in [56]\d s/).waitFor();
      assert.ok(await pane(page, 0).getByRole("button", { name: "Connect now" }).isDisabled());
    }, { init: actAsServer });
    await using(async (page) => {
      await page.evaluate(() => window.closeAll(4500, "too_many_errors"));
      await pane(page, 0).getByText(/for good: .*too_many_errors/).waitFor();
    }, { init: actAsServer });
  });

  test("goes when the server asks it to, and comes back when it said", async () => {
    await using(async (page) => {
      const asked = await page.evaluate(() => {
        window.sayToAll({ type: "reconnect", payload: { delay_ms: 700, reason: "drain" }, timestamp: Date.now() });
        return performance.now();
      });
      await hears(page, 0, "Back in the room");
      const waited = (await page.evaluate(() => performance.now())) - asked;
      assert.ok(waited >= 690, `it came back after ${waited} ms`);
      await pane(page, 0).locator('.status[data-state="connected"]').waitFor();
      await membersAre(page, 0, 2);
    }, { init: actAsServer });
  });

  test("plays on a phone: one player, by touch, nothing wider than the screen", async () => {
    await using(async (page, { context }) => {
      assert.equal(await page.locator(".pane").count(), 1);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= PHONE.viewport.width, `the page is ${width} wide`);
      assert.ok(await page.isVisible("#open"), "somebody with one pane can add a player");

      const colour = await colourOf(page, 0);
      await until("the player", () => spot(page, 0, colour));
      const watcher = await open(context, await page.getAttribute("#open", "href"));
      const seenAt = await until("the player on another screen", () => spot(watcher, 0, colour));
      await page.bringToFront();

      // A drag to the upper left steers there for as long as it lasts.
      const touch = await context.newCDPSession(page);
      const box = await page.locator(".arena").boundingBox();
      const finger = (type, x, y) => touch.send("Input.dispatchTouchEvent", { type, touchPoints: x ? [{ x: box.x + x, y: box.y + y }] : [] });
      await finger("touchStart", 120, 200);
      for (const step of [10, 20, 30, 40]) await finger("touchMove", 120 - step, 200 - step);
      await watcher.bringToFront();
      await until("the drag to move the player", async () => {
        const at = await spot(watcher, 0, colour);
        return at && seenAt.x - at.x + (seenAt.y - at.y) > 20;
      });
      await page.bringToFront();
      await finger("touchEnd");
      await watcher.close();
      await screenshot(page, "page-phone");
    }, { ...PHONE });
  });

  // On the smallest screen a bubble is the widest.
  test("shows the name, the health and the bubble of a player in a corner whole", async () => {
    await using(async (page) => {
      const own = await name(page, 0);
      for (const [x, y] of [["right", "lower"], ["left", "lower"], ["left", "upper"], ["right", "upper"]]) {
        const keys = [x === "right" ? "KeyD" : "KeyA", y === "lower" ? "KeyS" : "KeyW"];
        for (const key of keys) await page.keyboard.down(key);
        await until(`the player in the ${y} ${x} corner`, async () => {
          const { edges } = (await drawn(page, 0, own)) ?? {};
          return edges?.[x] < NEAR && edges[y] < NEAR;
        });
        for (const key of keys) await page.keyboard.up(key);
        const said = `A long thing to say, ${y} ${x} corner`;
        await say(page, 0, said);
        const bubble = await until("the bubble", () => drawn(page, 0, said));
        const shown = await drawn(page, 0, own);
        for (const [what, box] of Object.entries({ name: shown.text, health: shown.shape, words: bubble.text, bubble: bubble.shape })) {
          const isWhole = box.left >= 0 && box.top >= 0 && box.right <= box.width && box.bottom <= box.height;
          assert.ok(isWhole, `${y} ${x} corner: ${what} is at ${JSON.stringify(box)}`);
        }
      }
    }, { ...PHONE, init: noteWhatIsDrawn });
  });

  for (const [scheme, file] of [["light", "page"], ["dark", "page-dark"]]) {
    test(`looks like this, ${scheme}`, async () => {
      await using(async (page, { context }) => {
        const third = await open(context, await page.getAttribute("#open", "href"));
        await third.locator(".arena").click({ position: { x: 640, y: 330 } });
        await rests(third, 0, COLOURS[3], { x: 640, y: 330 });
        await page.bringToFront();
        await membersAre(page, 0, 3);
        const meeting = [{ x: 230, y: 235 }, { x: 325, y: 205 }];
        for (const index of [0, 1]) await page.locator(".arena").nth(index).click({ position: meeting[index] });
        for (const index of [0, 1]) await rests(page, index, await colourOf(page, index), meeting[index]);
        await until("a round trip", async () => /\d ms/.test(await figure(page, 1, "rtt")));
        await say(page, 0, "Catch me if you can!");
        await say(page, 1, "Right behind you");
        await hears(page, 0, `${await name(page, 1)} Right behind you`);
        await page.evaluate(() => document.activeElement.blur());
        for (const key of ["Space", "Enter"]) await page.keyboard.press(key);
        await screenshot(page, file);
        await third.close();
      }, { colorScheme: scheme });
    });
  }

  // --- Helpers ---

  /** Runs `steps` on a fresh page whose players are all connected, and checks that it logged no error. */
  async function using(steps, { url = server.url, init, ...options } = {}) {
    const context = await browser.newContext({ viewport: DESKTOP, ...options });
    context.setDefaultTimeout(30_000);
    await context.addInitScript(sameChoices);
    if (init) await context.addInitScript(init);
    const problems = [];
    const requests = [];
    context.on("page", (page) => {
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
      page.on("pageerror", (error) => problems.push(String(error.stack)));
      page.on("request", (request) => requests.push(request.url()));
    });
    try {
      const page = await open(context, `${url}/`);
      await steps(page, { context, problems, requests });
      assert.deepEqual(problems, []);
    } finally {
      await context.close();
    }
  }

  async function open(context, url) {
    const page = await context.newPage();
    await page.goto(url);
    const panes = await page.locator(".pane").count();
    assert.ok(panes > 0, "no pane");
    for (let index = 0; index < panes; index += 1) {
      await pane(page, index).locator('.status[data-state="connected"]').waitFor();
      await until("the player's number", () => pane(page, index).getAttribute("data-num"));
    }
    return page;
  }
});

/** Makes Math.random give the same numbers each time: names and places are then known to differ. */
function sameChoices() {
  let state = 20_251_111 + (location.search ? 77 : 0);
  Math.random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

/**
 * Notes for each text on a canvas where it was drawn last. `edges`: how far its player is from the canvas's edges, in the
 * arena's units. `text` is the box of the text, and `shape` that of what was drawn before it, the health or a bubble with
 * its tail; both are in CSS pixels, beside the canvas's `width` and `height`.
 */
function noteWhatIsDrawn() {
  const pens = CanvasRenderingContext2D.prototype;
  const paths = new WeakMap();
  const hook = (name, note) => {
    const original = pens[name];
    pens[name] = function (...args) {
      const matrix = this.getTransform();
      note(this, (x, y) => matrix.transformPoint({ x, y }), args);
      return original.apply(this, args);
    };
  };
  const boxOf = (canvas, points) => {
    const ratio = canvas.width / canvas.clientWidth;
    const [xs, ys] = ["x", "y"].map((axis) => points.map((point) => point[axis] / ratio));
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    return { left, top, right, bottom, width: canvas.clientWidth, height: canvas.clientHeight };
  };
  const note = (pen, at, [words, x, y], outline) => {
    const size = pen.measureText(words);
    const first = at(x - size.actualBoundingBoxLeft - outline, y - size.actualBoundingBoxAscent - outline);
    const last = at(x + size.actualBoundingBoxRight + outline, y + size.actualBoundingBoxDescent + outline);
    const { canvas } = pen;
    const { a: scale, e: left, f: top } = pen.getTransform();
    const edges = { left: left / scale, right: (canvas.width - left) / scale, upper: top / scale, lower: (canvas.height - top) / scale };
    const shape = boxOf(canvas, paths.get(pen) ?? []);
    (canvas.drawn ??= {})[words] = { edges, text: boxOf(canvas, [first, last]), shape };
  };
  hook("beginPath", (pen) => paths.set(pen, []));
  hook("roundRect", (pen, at, [x, y, width, height]) => paths.get(pen).push(at(x, y), at(x + width, y + height)));
  hook("lineTo", (pen, at, [x, y]) => paths.get(pen).push(at(x, y)));
  hook("strokeText", (pen, at, args) => note(pen, at, args, pen.lineWidth / 2));
  // What is said has no outline.
  hook("fillText", (pen, at, args) => pen.textAlign === "left" && note(pen, at, args, 0));
}

/** Lets a test speak to the page and close its WebSockets as if it were the server. */
function actAsServer() {
  const sockets = new Set();
  const Original = window.WebSocket;
  window.WebSocket = class extends Original {
    constructor(...args) {
      super(...args);
      sockets.add(this);
    }
  };
  window.sayToAll = (message) => {
    const data = JSON.stringify(message);
    for (const socket of sockets) socket.dispatchEvent(new MessageEvent("message", { data }));
  };
  window.closeAll = (code, reason) => {
    for (const socket of sockets) {
      sockets.delete(socket);
      socket.dispatchEvent(new CloseEvent("close", { code, reason }));
      socket.close();
    }
  };
}

const pane = (page, index) => page.locator(".pane").nth(index);
const name = (page, index) => pane(page, index).locator(".name").textContent();
const memberNames = (page, index) => pane(page, index).locator(".members .who").allTextContents();
const figure = (page, index, which) => pane(page, index).locator(`[data-figure="${which}"]`).textContent();
const lines = (page, index) => pane(page, index).locator(".log p").allTextContents();
const colourOf = async (page, index) => COLOURS[await pane(page, index).getAttribute("data-num")];
const screenshot = (page, file) => page.screenshot({ path: `${artifacts}/${file}.png` });

async function membersAre(page, index, count) {
  await until(`${count} members in the list`, async () => (await memberNames(page, index)).length === count);
  assert.equal(await pane(page, index).locator(".count").textContent(), String(count));
}

async function say(page, index, text) {
  const input = pane(page, index).locator("input");
  await input.fill(text);
  await input.press("Enter");
  await input.press("Escape");
}

async function hears(page, index, text) {
  await until(`"${text}" in the chat`, async () => (await lines(page, index)).includes(text));
}

/** What a pane counts of the promises. */
async function tally(page, index) {
  const counts = ["lost", "twice", "recovered"].map(async (which) => [which, await figure(page, index, which)]);
  return Object.fromEntries(await Promise.all(counts));
}

/** Where a text was drawn last on a pane's canvas, as `noteWhatIsDrawn` has it. */
const drawn = (page, index, text) => pane(page, index).locator("canvas").evaluate((canvas, text) => canvas.drawn?.[text], text);

/** Waits until both panes show a player's disc at the same place, and returns that. */
function settled(page, colour) {
  return until("both screens to agree", async () => {
    const [one, other] = await Promise.all([spot(page, 0, colour), spot(page, 1, colour)]);
    return one && other && Math.hypot(one.x - other.x, one.y - other.y) < 3 && one;
  });
}

/** Waits until a player's disc has come to a place on its own canvas. */
async function rests(page, index, colour, { x, y }) {
  await until("a player to arrive", async () => {
    const at = await spot(page, index, colour);
    return at && Math.hypot(at.x - x, at.y - y) < 6;
  });
}

/** Where a colour is on a pane's canvas, in CSS pixels: the middle of a player's disc; null if it isn't there. */
function spot(page, index, colour) {
  return pane(page, index)
    .locator("canvas")
    .evaluate((canvas, colour) => {
      const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
      const { width, height } = canvas;
      const pen = (window.reader ??= new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true }));
      Object.assign(pen.canvas, { width, height });
      pen.drawImage(canvas, 0, 0);
      const { data } = pen.getImageData(0, 0, width, height);
      let [count, x, y] = [0, 0, 0];
      for (let at = 0; at < data.length; at += 4) {
        if (Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue) > 12) continue;
        count += 1;
        x += (at / 4) % width;
        y += Math.floor(at / 4 / width);
      }
      const ratio = width / canvas.clientWidth;
      return count > 150 ? { x: x / count / ratio, y: y / count / ratio } : null;
    }, colour);
}
