// "Pull the cable" on the demo page, as the others see it: on another page, at the same server and at another node. Nothing is
// heard of it at first, as of a cable that was pulled; then the player is offline, and at last it is back. It never leaves.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { artifacts, startBrowser, startExample, startServer, until } from "./support.mjs";

/** How long the server gets no word of it (`PROBE_MS` of the SDK). */
const SILENCE = 5_000;
/** Leases, and all that comes after them. */
const PATIENCE = 30_000;

let browser;
before(async () => (browser = await startBrowser()));
after(() => browser?.close());

describe("a pulled cable, at one server", { timeout: 180_000 }, () => {
  let server;
  before(async () => (server = await startServer()));
  after(() => server?.stop());

  test("looks like one to another page", () => look(server.url, server.url, "cable"));
});

describe("a pulled cable, at two nodes", { timeout: 180_000 }, () => {
  let example;
  before(async () => (example = await startExample("cluster", 0, "SIGTERM")));
  after(() => example?.stop());

  test("looks like one to a page at the other node", async () => {
    const [here, there] = await nodesOf(example);
    await look(here, there, "cable-nodes");
  });
});

async function look(here, there, file) {
  const contexts = await Promise.all([browser.newContext(), browser.newContext()]);
  const problems = [];
  try {
    const room = `cable-${Math.random().toString(36).slice(2, 8)}`;
    const [ada, bob] = await Promise.all(contexts.map((context) => context.newPage()));
    for (const page of [ada, bob]) page.on("pageerror", (error) => problems.push(String(error.stack)));
    // All that the other page is told.
    const heard = [];
    bob.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => heard.push(JSON.parse(payload))));
    await enter(ada, here, room);
    await enter(bob, there, room);
    const [name, num] = [await ada.textContent(".name"), Number(await ada.getAttribute(".pane", "data-num"))];
    for (const page of [ada, bob]) await until("both are there", async () => (await page.locator(".members li").count()) === 2, PATIENCE);
    await says(ada, "hello");
    await hears(bob, `${name} hello`);
    const ofAda = () => heard.filter(({ type, payload }) => ["presence", "player_joined", "player_left"].includes(type) && payload.player_num === num);
    heard.length = 0;

    // Out and in again at once: nobody needs to know.
    await ada.evaluate(() => {
      const cable = document.querySelector(".cable");
      for (const word of ["Pull the cable", "Plug it in"]) {
        if (cable.textContent !== word) throw new Error(`${cable.textContent}, and not ${word}`);
        cable.click();
      }
    });
    await connected(ada);
    await says(ada, "so soon");
    await hears(bob, `${name} so soon`);
    assert.deepEqual(ofAda(), []);

    const pulledAt = performance.now();
    await ada.getByRole("button", { name: "Pull the cable" }).click();
    await ada.locator('.status[data-state="reconnecting"]').waitFor();
    // Somebody looks at another page, to see what the others see. That plugs nothing in.
    await ada.evaluate(() => {
      document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
      dispatchEvent(new Event("online"));
    });
    await says(ada, "when I am back");
    const row = bob.locator(".members li", { hasText: name });
    await row.locator(".state", { hasText: "offline" }).waitFor({ timeout: PATIENCE });
    assert.ok(performance.now() - pulledAt >= SILENCE, "a pulled cable says no word");
    assert.equal(await ada.textContent(".status"), "cable pulled");
    await says(bob, "are you there?");
    await hears(bob, `${await bob.textContent(".name")} are you there?`);
    await bob.screenshot({ path: `${artifacts}/${file}.png` });
    assert.ok(!(await lines(ada)).some((line) => line.endsWith("are you there?")));

    await ada.getByRole("button", { name: "Plug it in" }).click();
    await connected(ada);
    await hears(ada, `${await bob.textContent(".name")} are you there?`);
    await hears(bob, `${name} when I am back`);
    await until("nobody is offline", async () => (await row.locator(".state", { hasText: "offline" }).count()) === 0, PATIENCE);
    // Away, and back: nothing else was told of it.
    assert.deepEqual([...new Set(ofAda().map(({ type, payload }) => `${type} ${payload.connected}`))], ["presence false", "presence true"]);
    assert.deepEqual(problems, []);
  } finally {
    for (const context of contexts) await context.close();
  }
}

async function enter(page, url, room) {
  await page.goto(`${url}/?room=${room}`);
  await connected(page);
  await until("the player's number", () => page.getAttribute(".pane", "data-num"), PATIENCE);
}

const connected = (page) => page.locator('.status[data-state="connected"]').waitFor({ timeout: PATIENCE });
const lines = (page) => page.locator(".log p").allTextContents();
const hears = (page, text) => until(`"${text}" in the chat`, async () => (await lines(page)).includes(text), PATIENCE);

async function says(page, text) {
  await page.fill(".say input", text);
  await page.press(".say input", "Enter");
}

/** The pages of the cluster's first two nodes, once they run. */
async function nodesOf({ url }) {
  const answer = await fetch(`${url}events`);
  let text = "";
  for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
    text += part;
    const last = text.split("\n\n").slice(0, -1).at(-1);
    const nodes = last ? JSON.parse(last.slice(last.indexOf("{"))).nodes.filter(({ state }) => state === "running") : [];
    if (nodes.length >= 2) return nodes.slice(0, 2).map(({ port }) => `http://127.0.0.1:${port}`);
  }
  throw new Error(`the cluster says no more than:\n${text}`);
}
