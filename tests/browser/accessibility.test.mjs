// Every page, with people in it, as axe-core sees it: no fault that keeps somebody out.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { enter, member, startWithKey } from "./admin_support.mjs";
import { startBrowser, startExample, startServer, until } from "./support.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SIZES = [
  { width: 1280, height: 800 },
  { width: 390, height: 800 },
];
/** Light and dark. */
const SCHEMES = ["light", "dark"];

let browser;
before(async () => (browser = await startBrowser()));
after(() => browser?.close());

/** Opens a page in each size and scheme, brings it into a state that people use, and lets axe look at it. */
async function look(url, use) {
  for (const viewport of SIZES) {
    for (const colorScheme of SCHEMES) {
      const context = await browser.newContext({ viewport, colorScheme, bypassCSP: true });
      try {
        const page = await context.newPage();
        await page.goto(url);
        await use(page);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => globalThis.axe.run());
        const found = violations.map(({ id, impact, nodes }) => `${impact}: ${id}: ${nodes.map(({ html }) => html).join(" ")}`);
        assert.deepEqual(found, [], `${url} at ${viewport.width}, ${colorScheme}`);
      } finally {
        await context.close();
      }
    }
  }
}

const says = (page, selector, wanted) => until(`${selector} says ${wanted}`, async () => wanted.test((await page.textContent(selector)) ?? ""));

describe("pages of the server", { timeout: 180_000 }, () => {
  let server;
  before(async () => (server = await startServer()));
  after(() => server?.stop());

  test("the demo", () => look(server.url, (page) => says(page, ".pane .status", /connected/)));

  test("the console, with frames", () =>
    look(`${server.url}/console`, async (page) => {
      await page.click("#connect");
      await until("it is connected", () => page.isEnabled("#send"));
      await page.click("#send");
      await until("it has joined", async () => /joined/.test((await page.textContent("#list")) ?? ""));
      await page.locator("summary").first().click();
    }));
});

describe("the admin page", { timeout: 180_000 }, () => {
  let server, ada;
  before(async () => {
    server = await startWithKey();
    ada = await member(server, "chat:1", "Ada");
  });
  after(() => {
    ada?.end();
    return server?.stop();
  });

  test("asks for a key", () => look(`${server.url}/admin`, () => {}));

  test("shows a room and its tail", () =>
    look(`${server.url}/admin`, async (page) => {
      await enter(page, server);
      await page.fill("#room-name", "chat:1");
      await page.click("#find-room button");
      await says(page, "#members", /Ada/);
      await page.click("#listen");
      await says(page, "#no-tail", /Listening/);
      ada.chat("hello");
      await says(page, "#tail", /hello/);
    }));

  test("asks again before it does something", () =>
    look(`${server.url}/admin`, async (page) => {
      await enter(page, server);
      await page.getByRole("button", { name: "Drain" }).click();
      await page.locator("#ask").waitFor();
    }));
});

for (const [name, use] of Object.entries({
  chat: (page) => says(page, "#status", /./),
  cursors: (page) => says(page, "#status", /./),
  tic_tac_toe: (page) => says(page, "main", /./),
  cluster: async (page) => {
    const nodes = page.locator(".pane .node[data-node]");
    await until("four players on nodes", async () => (await nodes.count()) === 4);
    await says(page, ".pane [data-figure=received]", /[1-9]/);
  },
})) {
  describe(`the example ${name}`, { timeout: 180_000 }, () => {
    let example;
    // The cluster ends its nodes and its Redis first.
    before(async () => (example = await startExample(name, 0, name === "cluster" ? "SIGTERM" : "SIGKILL")));
    after(() => example?.stop());

    test("has no fault", () => look(`http://127.0.0.1:${example.port}/`, use));
  });
}
