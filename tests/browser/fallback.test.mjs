// Pages in a network that lets no WebSocket through: the bundles that the server serves, in Chromium, behind a proxy.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { startBrowser, startEmptyPage, startServer, until } from "./support.mjs";

describe("a page behind a proxy that refuses upgrades", { timeout: 180_000 }, () => {
  let server, browser, empty, proxy;

  before(async () => {
    empty = await startEmptyPage();
    server = await startServer({ args: ["--set", "limits.messages_per_second=0", "--set", `server.origins=${new URL(empty.url).origin}`] });
    browser = await startBrowser();
    proxy = await startProxy(server.port);
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
    empty?.stop();
    proxy?.stop();
  });

  test("talks with a page that has a WebSocket, over cuts, and gets one once it can be had", async () => {
    const context = await browser.newContext();
    const problems = [];
    const open = async (url, name, transport) => {
      const page = await context.newPage();
      page.on("pageerror", (error) => problems.push(String(error.stack)));
      await page.goto(`${url}/console`);
      await begin(page, name);
      assert.deepEqual(await page.evaluate(() => transports), [transport]);
      return page;
    };
    const far = await open(server.url, "chat:one", "websocket");
    const near = await open(proxy.url, "chat:one", "event-stream");
    const say = (page, prefix, count) =>
      page.evaluate(([prefix, count]) => Promise.all(Array.from({ length: count }, (_, n) => room.send("n", `${prefix}${n}`))), [prefix, count]);
    await say(near, "a", 60);
    await say(far, "b", 30);
    const going = say(near, "c", 60);
    proxy.cut();
    await going;
    proxy.upgrades = true;
    await until("a WebSocket", () => near.evaluate(() => transports.at(-1) === "websocket"), 20_000);
    await say(near, "d", 10);
    const said = [["a", 60], ["b", 30], ["c", 60], ["d", 10]].flatMap(([prefix, count]) => Array.from({ length: count }, (_, n) => prefix + n));
    for (const page of [near, far]) {
      await until("all that was said", () => page.evaluate((count) => texts.length >= count, said.length));
      assert.deepEqual(await page.evaluate(() => texts), said);
    }
    const { gaps } = await near.evaluate(() => client.stats);
    assert.equal(gaps, 0);
    assert.equal(await far.evaluate(() => left), 0, "nobody saw it leave");
    // It says goodbye.
    proxy.upgrades = false;
    const other = await open(proxy.url, "chat:one", "event-stream");
    await other.evaluate(() => client.close());
    await until("it has left", () => far.evaluate(() => left === 1));
    assert.deepEqual(problems, []);
    await context.close();
  });

  test("may be of another origin, where that is listed", async () => {
    proxy.upgrades = false;
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(empty.url);
    await begin(page, "chat:two", proxy.url);
    assert.deepEqual(await page.evaluate(() => transports), ["event-stream"]);
    assert.ok((await page.evaluate(() => room.send("n", "hello"))).offset > 0);
    await context.close();
  });
});

/** Makes `client` and `room` in a page, joined, and keeps what it hears. */
function begin(page, name, base = "") {
  return page.evaluate(
    async ([name, base]) => {
      const { Client } = await import(`${base}/sdk/roomcast.js`);
      const { fallback } = await import(`${base}/sdk/fallback.js`);
      window.transports = [];
      const socket = fallback({ againMs: 1_500, onOpen: (transport) => transports.push(transport) });
      window.client = new Client(`ws://${base ? new URL(base).host : location.host}/ws`, { WebSocket: socket });
      window.room = client.room(name);
      window.texts = [];
      window.left = 0;
      room.on("n", (text) => texts.push(text));
      room.subscribe("any", ({ type }) => (left += type === "player_left"));
      await room.join();
    },
    [name, base],
  );
}

/** Passes requests on as they come, and refuses upgrades while it is not told otherwise. */
async function startProxy(port) {
  const sockets = new Set();
  const proxy = { upgrades: false };
  const listener = createServer((near, answer) => {
    const { method, url: path, headers } = near;
    const far = request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (from) => {
      answer.writeHead(from.statusCode, from.headers);
      answer.flushHeaders();
      from.pipe(answer);
      from.on("error", () => answer.destroy());
    });
    far.on("error", () => answer.destroy());
    answer.on("close", () => far.destroy());
    near.pipe(far);
  });
  listener.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
  });
  listener.on("upgrade", (message, near) => {
    if (!proxy.upgrades) return near.end("HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    const far = connect(port, "127.0.0.1");
    const lines = [`GET ${message.url} HTTP/1.1`];
    for (let at = 0; at < message.rawHeaders.length; at += 2) lines.push(`${message.rawHeaders[at]}: ${message.rawHeaders[at + 1]}`);
    far.write(`${lines.join("\r\n")}\r\n\r\n`);
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) socket.on("error", () => {}).on("close", () => [near, far].forEach((it) => it.destroy()));
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const cut = () => sockets.forEach((socket) => socket.resetAndDestroy());
  return Object.assign(proxy, { url: `http://127.0.0.1:${listener.address().port}`, cut, stop: () => (cut(), listener.close()) });
}
