// The console as somebody uses it who tries the protocol out: in a browser, against the real server. Screenshots are kept
// in artifacts/.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { artifacts, startBrowser, startServer, until } from "./support.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

describe("the console", { timeout: 180_000 }, () => {
  let server, browser;

  before(async () => {
    server = await startServer();
    browser = await startBrowser();
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  for (const format of ["JSON", "Protobuf"]) {
    test(`connects, joins, and sends every kind of message in ${format}`, async () => {
      await using(async (page) => {
        await connect(page, format);
        await answers(page, "join_room", "joined");
        for (const [kind, answer] of [
          ["chat", "chat"],
          ["event", "event"],
          ["game_action", "sync"],
          ["presence", "presence"],
          ["members", "members"],
          ["history", "history"],
          ["ping", "pong"],
          ["skip", "ack"],
          ["direct", "chat"],
        ]) {
          await answers(page, kind, answer);
        }
        // The numbers, the acks and the place in the log are beside the messages.
        const said = row(page, "sent", "chat").first();
        assert.equal(await said.locator(".seq").textContent(), "#1");
        await until("the ack", async () => /^acked, @\d+$/.test(await said.locator(".answer").textContent()));
        assert.match(await row(page, "received", "chat").first().locator(".offset").textContent(), /^@\d+$/);
        await said.locator("summary").click();
        assert.match(await said.locator("pre").first().textContent(), /"payload": "hello"/);
        assert.equal(await said.locator(".hex").count(), format === "JSON" ? 0 : 1);
        await answers(page, "leave_room", "player_left");
        await until("the room to be gone", async () => (await page.locator("#rooms tr").count()) <= 1);
      });
    });
  }

  test("comes back after a cut, and gets what it missed", async () => {
    await using(async (page, { open }) => {
      await connect(page, "JSON");
      await answers(page, "join_room", "joined");
      await page.click("#cut");
      await page.locator('#status[data-state="closed"]').waitFor();
      const other = await open();
      await connect(other, "Protobuf");
      await answers(other, "join_room", "joined");
      await answers(other, "chat", "chat");

      await page.getByRole("button", { name: "Come back" }).click();
      await until("the session of before", async () => (await page.textContent("#facts")).includes("resumedtrue"));
      await until("what was missed", async () => (await row(page, "received", "chat").count()) === 1);
      // Somebody was told that it had gone, and that it is back.
      assert.ok((await row(other, "received", "presence").count()) >= 1);
    });
  });

  test("shows how a room and the connection are doing, as that changes", async () => {
    await using(async (page, { open }) => {
      // The columns: room, members, epoch, offset, numbers without an answer.
      const shown = async (column) => (await page.locator("#rooms tr", { hasText: "room-live" }).locator("td").nth(column).textContent()).trim();
      const becomes = (what, column, expected) => until(`${what} to be ${expected}`, async () => (await shown(column)) === String(expected));
      await page.fill("#room", "room-live"); // where nobody is of the other tests
      await connect(page, "JSON");
      assert.equal(await page.locator("#rooms-card").isVisible(), false);
      await answers(page, "join_room", "joined");
      await becomes("the room's members", 1, 1);
      assert.match(await shown(2), /^[0-9a-f]{16}$/);

      const other = await open();
      await other.fill("#room", "room-live");
      await connect(other, "Protobuf");
      await answers(other, "join_room", "joined");
      await becomes("the room's members", 1, 2);

      const before = Number(await shown(3));
      await answers(other, "chat", "chat");
      await becomes("the place in the room's log", 3, before + 1);
      await answers(page, "chat", "ack");
      await becomes("the place in the room's log", 3, before + 2);
      await becomes("what has no answer", 4, "none");

      const frames = Number.parseInt(await page.textContent("#total"));
      assert.doesNotMatch(await page.textContent("#facts"), /round trip/);
      await answers(page, "ping", "pong");
      assert.match(await page.textContent("#facts"), /round trip\d+\.\d ms/);
      await until("two frames more", async () => Number.parseInt(await page.textContent("#total")) >= frames + 2);

      await answers(other, "leave_room", "player_left");
      await becomes("the room's members", 1, 1);
    });
  });

  test("sends what is no message too, and shows the server's answer", async () => {
    await using(async (page) => {
      await connect(page, "JSON");
      await page.fill("#message", "{nonsense");
      await page.click("#send");
      await until("the refusal", async () => (await page.locator(".received .says").last().textContent()).startsWith("invalid_json"));
      await page.click("#bye");

      await page.getByText("Protobuf", { exact: true }).click();
      await connect(page, "Protobuf");
      await page.fill("#message", "this is nothing");
      await page.click("#send");
      await until("a word about it", async () => (await page.textContent("#problem")).includes("hexadecimal"));
      await page.fill("#message", "ff ff");
      await page.click("#send");
      await until("the refusal", async () => (await page.locator(".received .says").last().textContent()).startsWith("invalid_protobuf"));
    });
  });

  test("filters what it shows", async () => {
    await using(async (page) => {
      await connect(page, "JSON");
      await answers(page, "join_room", "joined");
      await answers(page, "chat", "ack");
      await page.fill("#filter", "hello");
      const shown = await page.locator("#list li:visible b").allTextContents();
      assert.ok(shown.includes("chat") && !shown.includes("joined"), shown.join());
      await page.fill("#filter", "");
      await page.uncheck("#state");
      assert.equal(await page.locator("#list li:visible b", { hasText: "sync" }).count(), 0);
      await page.click("#clear");
      assert.equal(await page.locator("#list li").count(), 0);
    });
  });

  test("is not there where the pages are off", async () => {
    const closed = await startServer({ args: ["--set", "server.pages=false"] });
    try {
      for (const path of ["/console", "/console.js"]) assert.equal((await fetch(`${closed.url}${path}`)).status, 404);
      assert.equal((await fetch(`${closed.url}/sdk/roomcast.js`)).status, 200);
    } finally {
      await closed.stop();
    }
  });

  for (const [file, options] of [
    ["console", { colorScheme: "light" }],
    ["console-dark", { colorScheme: "dark" }],
    ["console-phone", PHONE],
  ]) {
    test(`looks like this: ${file}`, async () => {
      await using(async (page) => {
        await connect(page, "Protobuf");
        for (const [kind, answer] of [["join_room", "joined"], ["chat", "ack"], ["game_action", "sync"], ["event", "event"], ["ping", "pong"]]) {
          await answers(page, kind, answer);
        }
        await page.fill("#message", "00");
        await page.click("#send");
        await until("a refusal", async () => (await row(page, "received", "error").count()) === 1);
        await page.locator("#types button", { hasText: /^chat$/ }).click();
        await row(page, "received", "chat").first().locator("summary").click();
        await page.screenshot({ path: `${artifacts}/${file}.png`, fullPage: file === "console-phone" });
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= page.viewportSize().width, `the page is ${width} wide`);
      }, options);
    });
  }

  // --- Helpers ---

  /** Runs `steps` on a fresh console, and checks that it logged no error. */
  async function using(steps, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1360, height: 860 }, ...options });
    context.setDefaultTimeout(30_000);
    const problems = [];
    context.on("page", (page) => {
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
      page.on("pageerror", (error) => problems.push(String(error.stack)));
    });
    const open = async () => {
      const page = await context.newPage();
      await page.goto(`${server.url}/console`);
      return page;
    };
    try {
      await steps(await open(), { open });
      assert.deepEqual(problems, []);
    } finally {
      await context.close();
    }
  }
});

const row = (page, direction, type) => page.locator(`#list li.${direction}`, { has: page.locator(`b:text-is("${type}")`) });

async function connect(page, format) {
  await page.getByText(format, { exact: true }).click();
  await page.getByRole("button", { name: /^(Connect|Come back)$/ }).click();
  await page.locator('#status[data-state="open"]').waitFor();
  await until("the welcome", async () => (await row(page, "received", "welcome").count()) > 0);
}

/** Sends a message as its button proposes it, and waits for an answer more. */
async function answers(page, kind, answer) {
  const before = await row(page, "received", answer).count();
  await page.locator("#types button", { hasText: new RegExp(`^${kind}$`) }).click();
  await page.click("#send");
  await until(`${answer} after ${kind}`, async () => (await row(page, "received", answer).count()) > before);
}
