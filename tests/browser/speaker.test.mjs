// Who speaks, on every page that shows it: the number that the room gives a player, and the user whom a token names. A nickname
// is what a client says of itself.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, test } from "node:test";
import WebSocket from "ws";
import { artifacts, startBrowser, startExample, startServer, until } from "./support.mjs";

const SECRET = "a secret of at least thirty-two bytes, for tests";
const WITH_TOKENS = ["--set", `auth.hs256_secret=${SECRET}`, "--set", "auth.anonymous=true"];

let browser;
before(async () => (browser = await startBrowser()));
after(() => browser?.close());

describe("who speaks", { timeout: 180_000 }, () => {
  let server;
  before(async () => (server = await startServer({ args: WITH_TOKENS })));
  after(() => server?.stop());

  test("on the demo page", () =>
    using(`${server.url}/?room=arena:who`, async (page) => {
      await page.locator('.status[data-state="connected"]').waitFor();
      const own = await page.textContent(".name");
      await page.fill(".say input", "hello");
      await page.press(".say input", "Enter");
      // Two who have the same nickname; one of them has a token.
      const [ada, liar] = [await join(server.port, "arena:who", "Ada", token("ada")), await join(server.port, "arena:who", "Ada")];
      ada.chat("it is me");
      await said(page, "it is me");
      liar.chat("no, me");
      await said(page, "no, me");
      ada.send({ type: "event", name: "typing", room_id: "arena:who", ephemeral: true });
      await page.locator(".members li", { hasText: "Ada" }).first().locator(".state", { hasText: "typing…" }).waitFor();
      const shown = await page.$$eval(".log p", (lines) =>
        lines.filter((line) => line.querySelector("b")).map((line) => [line.querySelector("b").dataset.num, line.querySelector("b").textContent, line.querySelector(".verified")?.textContent ?? ""]),
      );
      assert.deepEqual(shown, [["1", own, ""], ["2", "Ada", "ada"], ["3", "Ada", ""]]);
      assert.deepEqual(await page.locator(".members .disc").allTextContents(), ["1", "2", "3"]);
      await page.screenshot({ path: `${artifacts}/page-who.png` });
      for (const one of [ada, liar]) one.end();
    }));

  test("on the console", () =>
    using(`${server.url}/console`, async (page) => {
      await page.fill("#room", "who");
      await page.click("#connect");
      await until("it is connected", () => page.isEnabled("#send"));
      await page.click("#send");
      const ada = await join(server.port, "who", "Ada", token("ada"));
      ada.chat("it is me");
      const row = page.locator("#list li", { has: page.locator('b:text-is("chat")') });
      await until("the chat", async () => (await row.count()) === 1);
      assert.equal(await row.locator(".speaker.verified").textContent(), "ada · 2");
      assert.match(await row.locator(".speaker").getAttribute("title"), /^from user ada, verified, client \w+, player 2$/);
      await until("one's own number", async () => /player 1/.test(await page.textContent("#rooms")));
      ada.end();
    }));
});

describe("who speaks in an example", { timeout: 180_000 }, () => {
  test("the chat", async () => {
    const example = await startExample("chat", 0, "SIGKILL", WITH_TOKENS);
    try {
      await using(`${example.url}?room=chat:who`, async (page) => {
        await page.locator('#status[data-state="connected"]').waitFor();
        const [ada, liar] = [await join(example.port, "chat:who", "Ada", token("ada")), await join(example.port, "chat:who", "Ada")];
        const lines = page.locator("#log li");
        ada.chat({ name: "Ada", text: "it is me" });
        await until("the first line", async () => (await lines.count()) === 1);
        liar.chat({ name: "Ada", text: "no, me" });
        await until("the second line", async () => (await lines.count()) === 2);
        const shown = await lines.evaluateAll((all) => all.map((it) => ["b", ".user", ".text"].map((part) => it.querySelector(part)).map((part) => part.dataset.num ?? part.textContent)));
        assert.deepEqual(shown, [["2", "ada", "it is me"], ["3", "", "no, me"]]);
        await page.screenshot({ path: `${artifacts}/chat-who.png` });
        for (const one of [ada, liar]) one.end();
      });
    } finally {
      await example.stop();
    }
  });
});

async function using(url, steps) {
  const context = await browser.newContext({ viewport: { width: 900, height: 860 } });
  const problems = [];
  try {
    const page = await context.newPage();
    page.on("pageerror", (error) => problems.push(String(error.stack)));
    await page.goto(url);
    await steps(page);
    assert.deepEqual(problems, []);
  } finally {
    await context.close();
  }
}

const said = (page, text) => until(text, async () => (await page.textContent(".log")).includes(text));

/** A token of the secret's. */
function token(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 600 })}`;
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}

/** A client in a room, with a token or without. */
async function join(port, room_id, nickname, token) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`);
  const send = (message) => socket.send(JSON.stringify(message));
  await new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("open", () => send({ type: "hello", payload: { version: 1, token } }));
    socket.on("message", (data) => {
      const { type, payload } = JSON.parse(data);
      if (type === "welcome") send({ type: "join_room", room_id, payload: { nickname } });
      if (type === "joined") resolve();
      if (type === "error") reject(new Error(JSON.stringify(payload)));
    });
  });
  return { send, chat: (payload) => send({ type: "chat", room_id, payload }), end: () => socket.terminate() };
}
