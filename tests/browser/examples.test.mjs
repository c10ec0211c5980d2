// The examples chat and cursors as people meet them: two tabs, a reload, a server that goes away. Screenshots are kept in
// artifacts/.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { artifacts, startBrowser, startExample, startWire, until } from "./support.mjs";

let browser;
before(async () => (browser = await startBrowser()));
after(() => browser?.close());

/** What a browser logs when there is no network. */
const NO_NETWORK = ["WebSocket connection to", "ERR_CONNECTION"];

/**
 * Gives `steps` a way to open pages of the example, each as another person, a wire that can be pulled, and a way to
 * start the example again. Checks that no page logged an error.
 */
async function using(name, steps, ignored = []) {
  let example = await startExample(name);
  const wire = await startWire(example.port);
  const contexts = [];
  const problems = [];
  const open = async (room = "", through = example) => {
    const context = await browser.newContext({ viewport: { width: 480, height: 480 } });
    contexts.push(context);
    context.setDefaultTimeout(30_000);
    const page = await context.newPage();
    const note = (text) => ignored.some((it) => text.includes(it)) || problems.push(text);
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && note(message.text()));
    page.on("pageerror", (error) => note(String(error.stack)));
    await page.goto(`http://127.0.0.1:${through.port}/${room}`);
    return page;
  };
  const restart = async () => {
    await example.stop();
    example = await startExample(name, example.port);
  };
  try {
    await steps({ open, restart, wire });
    assert.deepEqual(problems, []);
  } finally {
    for (const context of contexts) await context.close();
    wire.stop();
    await example.stop();
  }
}

/** The part of a page's address that names the room. */
const roomOf = (page) => new URL(page.url()).search;

const status = (page, wanted) => page.locator(`#status[data-state="${wanted}"]`).waitFor({ timeout: 20_000 });

/** Waits until so many are here. */
const here = (page, count) => until(`${count} here`, async () => (await page.locator("#people li").count()) === count, 20_000);

describe("the example chat", { timeout: 180_000 }, () => {
  test("shows what was said before, once and in order, after a reload too", async () => {
    await using("chat", async ({ open }) => {
      const ann = await open();
      await ann.fill("#name", "Ann");
      for (let i = 1; i <= 3; i++) await say(ann, `before ${i}`);
      await said(ann, ["Ann: before 1", "Ann: before 2", "Ann: before 3"]);

      const bob = await open(roomOf(ann));
      await bob.fill("#name", "Bob");
      await said(bob, ["Ann: before 1", "Ann: before 2", "Ann: before 3"]);
      await here(ann, 2);
      await say(bob, "hello");
      await said(ann, ["Ann: before 1", "Ann: before 2", "Ann: before 3", "Bob: hello"]); // else either may be the first
      await say(ann, "<b>hi</b> & welcome");
      const all = ["Ann: before 1", "Ann: before 2", "Ann: before 3", "Bob: hello", "Ann: <b>hi</b> & welcome"];
      for (const page of [ann, bob]) await said(page, all);
      assert.equal(await ann.locator(".waits").count(), 0);

      await ann.reload();
      await said(ann, all);
      await here(ann, 2); // the session goes on: nobody has left
      await say(ann, "back");
      for (const page of [ann, bob]) await said(page, [...all, "Ann: back"]);
      await bob.screenshot({ path: `${artifacts}/chat.png` });
    });
  });

  test("sends what was written without a network once, when it is back, after what was missed", async () => {
    await using(
      "chat",
      async ({ open, wire }) => {
        const ann = await open("", wire);
        await ann.fill("#name", "Ann");
        const bob = await open(roomOf(ann));
        await bob.fill("#name", "Bob");
        await here(bob, 2);
        wire.pull();
        await status(ann, "reconnecting");
        await say(bob, "while you were away");
        await say(ann, "one");
        await say(ann, "two");
        assert.equal(await ann.locator(".waits").count(), 2);
        await ann.screenshot({ path: `${artifacts}/chat-offline.png` });
        wire.plug();
        await bob.locator("#people li", { hasText: "Ann" }).waitFor(); // changed while it was away
        const all = ["Bob: while you were away", "Ann: one", "Ann: two"];
        for (const page of [ann, bob]) await said(page, all);
        await until("nothing waits", async () => (await ann.locator(".waits").count()) === 0);
        for (const page of [ann, bob]) await said(page, all);
      },
      NO_NETWORK,
    );
  });

  test("says what a server that was started again does not know any more, and goes on", async () => {
    await using(
      "chat",
      async ({ open, restart }) => {
        const ann = await open();
        await ann.fill("#name", "Ann");
        await say(ann, "gone with the server");
        await said(ann, ["Ann: gone with the server"]);
        await restart();
        await here(ann, 1);
        await until("an empty log", async () => (await ann.locator("#log li").count()) === 0);
        await say(ann, "on");
        await said(ann, ["Ann: on"]);
      },
      NO_NETWORK,
    );
  });
});

describe("the example cursors", { timeout: 180_000 }, () => {
  test("shows where the others point, and takes away who leaves", async () => {
    await using("cursors", async ({ open }) => {
      const one = await open();
      await one.mouse.move(240, 120);
      const other = await open(roomOf(one));
      await here(one, 2);
      // Who comes sees where those are who don't move.
      await at(other, 240, 120);
      await other.mouse.move(48, 400);
      await at(one, 48, 400);
      for (let x = 0; x <= 100; x += 5) await one.mouse.move(x, 2 * x);
      await at(other, 100, 200);
      await one.screenshot({ path: `${artifacts}/cursors.png` });

      const third = await open(roomOf(one));
      await here(third, 3);
      await until("two cursors", async () => (await third.locator(".cursor").count()) === 2);
      await third.close();
      await other.close();
      // A page that closes leaves after a few seconds, and is shown as away before.
      await until("none left", async () => (await one.locator(".cursor").count()) === 0, 20_000);
      await here(one, 1);
    });
  });

  test("goes on after the network was gone", async () => {
    await using(
      "cursors",
      async ({ open, wire }) => {
        const one = await open();
        const other = await open(roomOf(one), wire);
        await here(one, 2);
        await other.mouse.move(300, 300);
        await at(one, 300, 300);
        wire.pull();
        await until("away", async () => (await one.locator(".away").count()) === 1, 20_000);
        wire.plug();
        await status(other, "connected");
        await other.mouse.move(200, 100);
        await at(one, 200, 100);
        assert.equal(await one.locator(".away").count(), 0);
      },
      NO_NETWORK,
    );
  });
});

// --- Helpers ---

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

/** Waits until the page shows these lines, and no others. */
async function said(page, wanted) {
  let shown;
  await until("the messages", async () => {
    shown = await page.$$eval("#log li", (lines) => lines.map((line) => `${line.querySelector("b").textContent}: ${line.querySelector(".text").textContent}`));
    return shown.join("\n") === wanted.join("\n");
  }).catch((error) => assert.deepEqual(shown, wanted, error.message));
}

/** Waits until the one cursor of somebody else is there. */
async function at(page, x, y) {
  let box;
  await until("the cursor", async () => {
    box = await page.locator(".cursor").first().boundingBox();
    return box && Math.abs(box.x - x) < 2 && Math.abs(box.y - y) < 2;
  }).catch((error) => assert.deepEqual(box, { x, y }, error.message));
}
