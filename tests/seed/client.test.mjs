// The JavaScript client that realtime-system.md gives, run as it stands there, in Node and in a browser.
//
// The code block is not touched. Its WebSocket is one that goes to the test's server instead of port 8080, through a
// proxy that can cut the connection. Its example calls `joinRoom` before the socket is open, which its own `send`
// drops; so the test sets `onConnect`, as the class intends.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import vm from "node:vm";
import { WebSocket } from "ws";
import { startBrowser, startEmptyPage, startServer, until } from "../browser/support.mjs";

const source = readFileSync(new URL("realtime-system.md", import.meta.url), "utf8");
const client = /^```javascript\n(.*?)^```$/ms.exec(source)[1];
const ROOM = "room-123";

describe("the client of realtime-system.md", { timeout: 120_000 }, () => {
  let server;

  before(async () => {
    assert.match(client, /class GameClient/);
    server = await startServer();
  });

  after(() => server?.stop());

  test("works in Node", async () => {
    const proxy = await startProxy(server.port);
    const lines = [];
    try {
      const log = (...words) => lines.push(words.map(String).join(" "));
      const world = vm.createContext({ console: { log, error: log }, setTimeout, Date, WebSocket: redirected(WebSocket, proxy.url) });
      const evaluate = (code) => vm.runInContext(code, world);
      await play((...scripts) => scripts.forEach(evaluate), evaluate, lines, proxy);
      vm.runInContext("client.reconnect = () => {}; client.ws.close()", world); // it would come back for ever
    } finally {
      proxy.stop();
    }
  });

  test("works in a browser, on a page of another origin", async () => {
    const proxy = await startProxy(server.port);
    const site = await startEmptyPage();
    const browser = await startBrowser();
    const lines = [];
    try {
      const page = await browser.newPage();
      page.on("console", (message) => lines.push(message.text()));
      await page.goto(site.url);
      const evaluate = (code) => page.evaluate((code) => (0, eval)(code), code);
      await evaluate(`${redirected}; window.WebSocket = redirected(window.WebSocket, "${proxy.url}"); void 0`);
      // Scripts of the page, as their author would have them: run at once, their `client` visible to what comes later.
      const load = (...scripts) =>
        page.evaluate((scripts) => {
          for (const text of scripts) document.head.append(Object.assign(document.createElement("script"), { text }));
        }, scripts);
      await play(load, evaluate, lines, proxy);
    } finally {
      await browser.close();
      site.stop();
      proxy.stop();
    }
  });

  /**
   * What a game does with the client. `load` runs scripts where the client is to live, with nothing in between, `run`
   * evaluates code there, and `lines` is what was logged there.
   */
  async function play(load, run, lines, proxy) {
    const other = await bystander(server.port);
    await load(client, `client.onConnect = () => client.joinRoom("${ROOM}");`);

    // Its own example's handlers log who joined, and what the state is.
    await until("the client to connect", () => lines.includes("Connected to server"));
    const joined = await until("player_joined", () => lines.find((line) => /^Player joined: \S+/.test(line)));
    const id = joined.slice("Player joined: ".length);
    assert.notEqual(id, "undefined");
    assert.equal((await other.next("player_joined", (message) => message.payload.player_id === id)).room_id, ROOM);
    await until("the state in the log", () => lines.some((line) => line.startsWith("State update:")));

    await run(`
      var seen = { sync: [], chat: [], player_joined: [] };
      for (const type in seen) client.on(type, (message) => seen[type].push(message));
      void 0;
    `);
    const seen = async (type, matches) => {
      const messages = JSON.parse(await run(`JSON.stringify(seen.${type})`));
      return messages.find(matches);
    };

    const moveTo = async (id, position) => {
      await run(`client.sendGameAction("move", { position: ${JSON.stringify(position)} })`);
      const shows = (message) => message.payload.players.some((player) => player.player_id === id && same(player.position, position));
      const sync = await until("a sync with the new position", () => seen("sync", shows));
      checkSync(sync);
      await other.next("sync", shows);
      return sync.payload.frame_num;
    };
    const frame = await moveTo(id, { x: 1.5, y: 0, z: -2 });
    assert.ok((await moveTo(id, { x: 3, y: 0.25, z: 0 })) > frame, "frame_num rises");

    const say = async (payload) => {
      await run(`client.send("chat", ${JSON.stringify(payload)})`);
      const isIt = (message) => JSON.stringify(message.payload) === JSON.stringify(payload);
      const own = await until("its own chat", () => seen("chat", isIt));
      assert.equal(own.room_id, ROOM);
      assert.ok(Math.abs(own.timestamp - Date.now()) < 60_000, "milliseconds since 1970");
      return other.next("chat", isIt);
    };
    assert.equal((await say({ text: "hello" })).from_client_id, id);
    assert.equal((await say("a plain string")).from_client_id, id);

    // The network goes away. The client comes back by itself, after its three seconds, and goes on.
    lines.length = 0;
    await run(`seen.player_joined.length = seen.sync.length = 0`);
    const start = performance.now();
    proxy.cut();
    await until("the client to notice", () => lines.includes("Disconnected from server"));
    await until("the client to come back", () => lines.includes("Connected to server"));
    assert.ok(performance.now() - start > 2_900);
    const back = await until("player_joined again", () => seen("player_joined", () => true));
    await moveTo(back.payload.player_id, { x: -4, y: 5.5, z: 6 });
    assert.equal((await say({ text: "back" })).from_client_id, back.payload.player_id);
    other.close();
  }
});

/** A `sync` as the document's StateSync and PlayerState describe it. */
function checkSync({ type, room_id, timestamp, payload }) {
  assert.equal(type, "sync");
  assert.equal(room_id, ROOM);
  assert.equal(typeof timestamp, "number");
  assert.ok(Number.isInteger(payload.frame_num));
  assert.equal(typeof payload.timestamp, "number");
  for (const player of payload.players) {
    assert.equal(typeof player.player_id, "string");
    for (const vector of [player.position, player.velocity]) {
      for (const axis of ["x", "y", "z"]) assert.ok(Number.isFinite(vector[axis]), `${axis} of ${JSON.stringify(player)}`);
    }
    assert.ok(Number.isInteger(player.health));
    assert.ok(Number.isInteger(player.score));
  }
}

const same = (a, b) => a.x === b.x && a.y === b.y && a.z === b.z;

/** `Original`, going to `url` instead of where it was told to. (Also sent to the browser, as text.) */
function redirected(Original, url) {
  return class extends Original {
    constructor() {
      super(url);
    }
  };
}

/** Somebody else in the room, who keeps what arrives. */
async function bystander(port) {
  const socket = new WebSocket(`ws://localhost:${port}/ws`);
  const messages = [];
  socket.on("message", (data) => messages.push(JSON.parse(data)));
  await once(socket, "open");
  socket.send(JSON.stringify({ type: "join_room", payload: { room_id: ROOM } }));
  const next = (type, matches) =>
    until(`${type} at a bystander`, () => messages.find((message) => message.type === type && matches(message)));
  await next("joined", () => true);
  return { next, close: () => socket.close() };
}

/** A way to the server that can be cut. */
async function startProxy(port) {
  const open = new Set();
  const proxy = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const [one, another] of [[near, far], [far, near]]) {
      open.add(one);
      one.on("error", () => {}); // a cut is one
      one.on("close", () => {
        open.delete(one);
        another.destroy();
      });
      one.pipe(another);
    }
  });
  const cut = () => {
    for (const socket of open) socket.resetAndDestroy();
  };
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    url: `ws://localhost:${proxy.address().port}/ws`,
    cut,
    stop() {
      proxy.close();
      cut();
    },
  };
}
