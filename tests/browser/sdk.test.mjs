// The SDK as a page has it: the bundle that the server serves, in Chromium. Messages come and go while connections are cut,
// the page is reloaded and its tab is duplicated; and all of it from a worker.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { startBrowser, startEmptyPage, startServer, until } from "./support.mjs";

describe("the SDK in a browser", { timeout: 180_000 }, () => {
  let server, browser, context, problems;

  before(async () => {
    server = await startServer();
    browser = await startBrowser();
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test("connects, sends, receives", async () => {
    await using(async (page) => {
      await begin(page, "chat:one");
      const { offset } = await page.evaluate(() => room.send("message", { text: "hello" }));
      assert.ok(offset > 0);
      assert.deepEqual(await heard(page, 1), ["hello"]);
      assert.equal(await page.evaluate(() => client.status.state), "connected");
      assert.ok(await page.evaluate(() => Math.abs(client.serverNow() - Date.now())) < 10_000);
    });
  });

  test("speaks Protobuf to a room with JSON clients", async () => {
    await using(async (page, { open }) => {
      const other = await open();
      await begin(page, "chat:formats");
      await begin(other, "chat:formats", { protobuf: true });
      await page.evaluate(() => room.send("message", { text: "from JSON" }));
      await other.evaluate(() => room.send("message", { text: "from Protobuf" }));
      for (const each of [page, other]) assert.deepEqual((await heard(each, 2)).sort(), ["from JSON", "from Protobuf"]);
    });
  });

  test("loses nothing and doubles nothing over a cut in the middle of a conversation", async () => {
    await using(async (page, { open }) => {
      const other = await open();
      await begin(page, "chat:cut");
      await begin(other, "chat:cut");
      const sent = await page.evaluate(async () => {
        const receipts = [];
        for (let index = 0; index < 40; index += 1) {
          receipts.push(room.send("message", { text: `a${index}` }));
          if (index % 10 === 5) client.pullCable(50);
          if (index % 10 === 9) await receipts[index];
        }
        return (await Promise.all(receipts)).map(({ offset }) => offset);
      });
      // While it is away, the other one goes on.
      await page.evaluate(() => client.pullCable(300));
      await other.evaluate(() => Promise.all(Array.from({ length: 20 }, (_, index) => room.send("message", { text: `b${index}` }))));
      for (const each of [page, other]) {
        const all = await heard(each, 60);
        assert.deepEqual(all, [...numbered("a", 40), ...numbered("b", 20)]);
      }
      assert.deepEqual(sent, [...sent].sort((a, b) => a - b));
      const { reconnects, gaps } = await page.evaluate(() => client.stats);
      assert.ok(reconnects >= 5, `${reconnects} reconnects`);
      assert.equal(gaps, 0);
      // Nobody saw it leave.
      assert.equal(await other.evaluate(() => left), 0);
    });
  });

  test("goes on with its session after a reload", async () => {
    await using(async (page, { open }) => {
      const other = await open();
      await begin(other, "chat:reload");
      await begin(page, "chat:reload", { keep: true });
      const id = await page.evaluate(() => client.id);
      await page.evaluate(() => room.send("message", { text: "before" }));
      await page.reload();
      await begin(page, "chat:reload", { keep: true });
      assert.equal(await page.evaluate(() => client.id), id);
      assert.equal(await page.evaluate(() => client.status.resumed), true);
      // Its numbers go on where they were: this is no repeat of the first one.
      await page.evaluate(() => room.send("message", { text: "after" }));
      assert.deepEqual(await heard(other, 2), ["before", "after"]);
      assert.equal(await other.evaluate(() => left), 0);
    });
  });

  test("a duplicated tab does not steal the session", async () => {
    await using(async (page, { open }) => {
      await begin(page, "chat:tabs", { keep: true });
      const id = await page.evaluate(() => client.id);
      // A browser that duplicates a tab copies what is in its sessionStorage at that moment.
      const storage = await page.evaluate(() => JSON.stringify({ ...sessionStorage }));
      const copy = await open();
      await copy.evaluate((text) => Object.assign(sessionStorage, JSON.parse(text)), storage);
      await begin(copy, "chat:tabs", { keep: true });
      assert.notEqual(await copy.evaluate(() => client.id), id);
      await copy.evaluate(() => room.send("message", { text: "from the copy" }));
      assert.deepEqual(await heard(page, 1), ["from the copy"]);
      assert.equal(await page.evaluate(() => client.status.state), "connected");
      assert.equal(await page.evaluate(() => client.stats.reconnects), 0);
    });
  });

  test("a window that the page opens does not steal the session either", async () => {
    await using(async (page) => {
      await begin(page, "chat:popup", { keep: true });
      const id = await page.evaluate(() => client.id);
      // With an opener: its sessionStorage begins as a copy of the opener's.
      const [popup] = await Promise.all([context.waitForEvent("page"), page.evaluate(() => void window.open("/healthz"))]);
      await popup.waitForLoadState();
      await begin(popup, "chat:popup", { keep: true });
      assert.notEqual(await popup.evaluate(() => client.id), id);
      assert.equal(await page.evaluate(() => client.status.state), "connected");
    });
  });

  test("runs in a worker", async () => {
    await using(async (page) => {
      const said = await page.evaluate(
        () =>
          new Promise((resolve, reject) => {
            const code = `
              import { Client } from "${location.origin}/sdk/roomcast.js";
              const client = new Client("ws://${location.host}/ws");
              const room = client.room("chat:worker");
              room.on("message", ({ text }) => postMessage(text));
              room.join()
                .then(() => room.send("message", { text: "from the worker" }))
                .catch((error) => postMessage(String(error)));
            `;
            const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), { type: "module" });
            worker.onmessage = ({ data }) => resolve(data);
            worker.onerror = (event) => reject(new Error(`the worker: ${event.message}`));
            setTimeout(() => reject(new Error("nothing came from the worker")), 15_000);
          }),
      );
      assert.equal(said, "from the worker");
    });
  });

  test("the example of README.md runs", async () => {
    await using(async (page) => {
      const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
      const [, html] = /^```html\n(.*?)^```$/ms.exec(readme);
      assert.match(html, /localhost:8080/);
      const said = page.waitForEvent("console", (message) => message.text().endsWith(" hello"));
      await page.setContent(html.replaceAll("localhost:8080", new URL(server.url).host));
      await said;
    }, { foreign: true });
  });

  test("the first lines of README.md run", async () => {
    await using(async (page) => {
      const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
      const [game, app] = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);
      const heard = await page.evaluate(
        async ({ game, app, url }) => {
          const { Client } = await import("/sdk/roomcast.js");
          const run = (code, name) =>
            new Promise((resolve) => {
              const take = (...args) => resolve(args);
              new Function("Client", name, code.replaceAll("ws://localhost:8080", url.replace("http", "ws")))(Client, take);
            });
          const [players] = await run(game, "draw");
          const [, text] = await run(app, "show");
          return [[...players].length, text];
        },
        { game, app, url: server.url },
      );
      assert.deepEqual(heard, [1, "hello"]);
    });
  });

  test("a page of another origin imports it from the server", async () => {
    await using(async (page) => {
      const kinds = await page.evaluate(async (url) => {
        const sdk = await import(`${url}/sdk/roomcast.js`);
        const { protobuf } = await import(`${url}/sdk/protobuf.js`);
        return [typeof sdk.Client, protobuf.subprotocol];
      }, server.url);
      assert.deepEqual(kinds, ["function", "gameproto.v1.protobuf"]);
    }, { foreign: true });
  });

  // --- Helpers ---

  /** Runs `steps` on an empty page of the server's origin, and checks that it logged no error. */
  async function using(steps, { foreign } = {}) {
    context = await browser.newContext();
    context.setDefaultTimeout(30_000);
    problems = [];
    context.on("page", (page) => {
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
      page.on("pageerror", (error) => problems.push(String(error.stack)));
    });
    // The page of an application has no policy of the server's pages, and this one has none either.
    await context.route("**/favicon.ico", (route) => route.fulfill({ status: 204 }));
    const stranger = foreign && (await startEmptyPage());
    const open = async () => {
      const page = await context.newPage();
      await page.goto(stranger ? stranger.url : `${server.url}/healthz`);
      return page;
    };
    try {
      await steps(await open(), { open });
      assert.deepEqual(problems, []);
    } finally {
      await context.close();
      stranger?.stop();
    }
  }
});

/** Makes `client` and `room` in a page, joined, and keeps what the room says in `texts`, and how many left in `left`. */
async function begin(page, name, { protobuf = false, keep = false } = {}) {
  await page.evaluate(
    async ([name, protobuf, keep]) => {
      const { Client } = await import("/sdk/roomcast.js");
      const { keepOverReload } = await import("/sdk/reload.js");
      const codec = protobuf ? (await import("/sdk/protobuf.js")).protobuf : undefined;
      const make = (saved) => new Client(`ws://${location.host}/ws`, { codec, saved });
      window.client = keep ? keepOverReload("session", make) : make();
      window.room = client.room(name);
      window.texts = [];
      window.left = 0;
      room.on("message", ({ text }) => texts.push(text));
      room.subscribe("any", ({ type }) => (left += type === "player_left"));
      await room.join();
    },
    [name, protobuf, keep],
  );
}

/** What was heard, once that is so much. */
async function heard(page, count) {
  await until(`${count} messages`, () => page.evaluate((count) => texts.length >= count, count));
  return page.evaluate(() => texts);
}

const numbered = (prefix, count) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
