// Clients behind a proxy that lets no WebSocket through.

import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import WebSocket from "ws";
import { fallback, type FallbackOptions, type Transport } from "../src/fallback.js";
import type { Client, ClientOptions, Room } from "../src/index.js";
import { protobuf } from "../src/protobuf.js";
import { Proxy } from "./proxy.js";
import { closeAll, connected, newClient, refusal, type Server, soon, startServer, until } from "./server.js";

let server: Server;
let proxy: Proxy;
let url: string;
let transports: Transport[];

beforeAll(async () => {
  server = await startServer({ "limits.messages_per_second": "0" });
});
afterAll(() => server.stop());
beforeEach(async () => {
  proxy = new Proxy(server.port);
  url = await proxy.listen();
  transports = [];
});
afterEach(() => {
  closeAll();
  proxy.stop();
});

const behind = (options: FallbackOptions = {}, more: ClientOptions = {}) =>
  newClient(url, { WebSocket: fallback({ WebSocket, onOpen: (it) => transports.push(it), openMs: 300, ...options }), ...more });

let rooms = 0;
/** Two clients in one room: one behind the proxy, one with a WebSocket of its own. */
async function pair(options?: FallbackOptions): Promise<{ client: Client<any>; room: Room<any>; other: Room<any>; heard: string[][] }> {
  const client = behind(options);
  const name = `chat:${++rooms}`;
  const room = client.room(name);
  const other = newClient(server.url).room(name);
  const heard = [room, other].map((it) => {
    const texts: string[] = [];
    it.on("n", (text: string) => texts.push(text));
    return texts;
  });
  await soon(Promise.all([room.join(), other.join()]));
  return { client, room, other, heard };
}

const numbers = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => `${prefix}${n}`);
const told = (room: Room<any>) => (handler: () => void) => room.subscribe("any", handler);

it("takes an event stream where a WebSocket is refused, and messages go both ways", async () => {
  const { client, room, other, heard } = await pair();
  expect(transports).toEqual(["event-stream"]);
  const mine = numbers("a", 200);
  await soon(Promise.all(mine.map((text) => room.send("n", text))));
  // Many messages go with one request.
  expect(proxy.posts).toBeLessThan(100);
  await soon(Promise.all(numbers("b", 50).map((text) => other.send("n", text))));
  for (const [at, it] of [room, other].entries()) {
    await until(told(it), () => heard[at]!.length >= 250);
    expect(heard[at]).toEqual([...mine, ...numbers("b", 50)]);
  }
  expect(client.rtt).toBeGreaterThan(0);
});

it("takes an event stream where a WebSocket is not answered", async () => {
  proxy.upgrades = "ignored";
  const { room } = await pair();
  expect(transports).toEqual(["event-stream"]);
  expect((await room.send("n", "x")).offset).toBeGreaterThan(0);
});

it("takes a WebSocket where there is one", async () => {
  proxy.upgrades = "passed";
  const { room } = await pair();
  expect(transports).toEqual(["websocket"]);
  await room.send("n", "x");
  expect(proxy.posts).toBe(0);
});

it("loses nothing and doubles nothing while connections are cut and answers are lost", async () => {
  const { client, room, other, heard } = await pair();
  const mine = numbers("a", 120);
  const all: Promise<unknown>[] = [];
  for (const [n, text] of mine.entries()) {
    all.push(room.send("n", text));
    if (n % 40 == 20) {
      proxy.cut();
      await until((then) => client.subscribe("status", then), () => client.status.state == "reconnecting");
      // Nobody here waits for seconds.
      client.wake();
      await connected(client);
    }
    // The server has it: it is sent again with the same number, and taken once.
    if (n == 30) proxy.losesAnswers = 2;
    if (n % 10 == 9) await soon(Promise.all(all));
  }
  await soon(Promise.all(all));
  await until(told(other), () => heard[1]!.length >= mine.length);
  expect(heard[1]).toEqual(mine);
  expect(heard[0]).toEqual(mine);
  expect(client.stats.gaps).toBe(0);
  expect(transports.every((it) => it == "event-stream")).toBe(true);
});

it("remembers for a while that there is no WebSocket, and goes back to one once there is", async () => {
  const { client, room, other, heard } = await pair({ againMs: 1_500 });
  expect(transports).toEqual(["event-stream"]);
  proxy.upgrades = "passed";
  proxy.cut();
  await until((then) => client.subscribe("status", then), () => client.status.state == "reconnecting");
  client.wake();
  await connected(client);
  expect(transports).toEqual(["event-stream", "event-stream"]);
  await soon(room.send("n", "on a stream"));
  await until((then) => client.subscribe("status", then), () => transports.length > 2 && client.status.state == "connected");
  expect(transports[2]).toBe("websocket");
  expect(client.status).toMatchObject({ resumed: true });
  await soon(room.send("n", "on a WebSocket"));
  await until(told(other), () => heard[1]!.length >= 2);
  expect(heard[1]).toEqual(["on a stream", "on a WebSocket"]);
});

it("keeps trying where there is nothing at all, and is told how long to stay away", async () => {
  proxy.status = 503;
  const client = behind();
  const reasons: string[] = [];
  client.subscribe("status", (status) => status.state == "reconnecting" && reasons.push(status.reason.code));
  client.connect();
  await until((then) => client.subscribe("status", then), () => reasons.length > 0);
  expect(reasons[0]).toBe("overloaded");
  proxy.status = 0;
  await connected(client);
  // That there was nothing proves nothing about WebSockets.
  expect(transports).toEqual(["event-stream"]);
});

/** What a client says of its end. */
async function ended(client: Client<any>): Promise<string | undefined> {
  await until((then) => client.subscribe("status", then), () => client.status.state == "closed");
  return client.status.state == "closed" ? client.status.reason.code : undefined;
}

it("ends where a message is larger than a request may be, as a WebSocket does", async () => {
  const client = behind({}, { getToken: async () => "x".repeat(2_000_000) });
  const states: string[] = [];
  client.subscribe("status", ({ state }) => states.push(state));
  client.connect();
  expect(await ended(client)).toBe("too_big");
  expect(states).not.toContain("reconnecting");
  expect(proxy.posts).toBe(0);
});

it("ends where something in the way says that a request is too large", async () => {
  const { client, room } = await pair();
  proxy.status = 413;
  const refused = refusal(room.send("n", "x"));
  expect(await ended(client)).toBe("too_big");
  expect((await refused).code).toBe("unconfirmed");
});

it("leaves at once when it is closed", async () => {
  const { client, room, other } = await pair();
  await soon(room.send("n", "x"));
  const left = until(told(other), () => other.members.length == 1);
  client.close();
  await left;
});

it("has WebSockets alone where its codec is another one", async () => {
  const client = behind({}, { codec: protobuf });
  client.connect();
  await until((then) => client.subscribe("status", then), () => client.status.state == "reconnecting");
  expect(transports).toEqual([]);
  proxy.upgrades = "passed";
  client.wake();
  await connected(client);
  expect(transports).toEqual(["websocket"]);
});

it("needs no WebSocket at all", async () => {
  const { room } = await pair({ WebSocket: null });
  await soon(room.send("n", "x".repeat(20_000)));
  expect((await refusal(room.send("n", "x".repeat(70_000)))).code).toBe("too_large");
  // More than one request may have.
  await soon(Promise.all(numbers("", 9).map((n) => room.send("n", n.repeat(20_000)))));
});
