// The connection under a clock and a WebSocket of the test's own.

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Client, type ClientOptions, RoomcastError, UnauthorizedError } from "../src/index.js";
import { FakeSocket, last, turn } from "./fake.js";

async function open(options: ClientOptions = {}) {
  const client = new Client("ws://host/ws", { WebSocket: FakeSocket, ...options });
  client.connect();
  await turn();
  last().welcome();
  return client;
}

/** The computer slept: the clock went on, and no timer did. */
const sleep = (ms: number) => vi.setSystemTime(Date.now() + ms);

beforeEach(() => {
  FakeSocket.all = [];
  vi.useFakeTimers();
});
afterEach(() => void vi.useRealTimers());

it("does nothing before it is asked to", () => {
  const client = new Client("ws://host/ws", { WebSocket: FakeSocket });
  client.room("a");
  expect(client.status).toEqual({ state: "idle" });
  expect(FakeSocket.all).toEqual([]);
});

it("notices a dead connection within two pings", async () => {
  const client = await open();
  last().pong();
  await vi.advanceTimersByTimeAsync(30_000);
  expect(last().of("ping").length).toBe(2);
  await vi.advanceTimersByTimeAsync(29_999);
  expect(client.status.state).toBe("connected");
  await vi.advanceTimersByTimeAsync(1);
  expect(client.status).toMatchObject({ state: "reconnecting", reason: { code: "timeout" } });
  expect(last().closed).toBe(4000);
});

it("stays while it is answered, or hears anything else", async () => {
  const client = await open();
  for (let n = 0; n < 10; n++) {
    if (n % 2) last().pong();
    else last().says({ type: "presence", room_id: "unknown", payload: {} });
    await vi.advanceTimersByTimeAsync(30_000);
  }
  expect(client.status.state).toBe("connected");
  expect(FakeSocket.all.length).toBe(1);
});

it("after a sleep asks first, and gives up within seconds", async () => {
  const client = await open();
  last().pong();
  sleep(3_600_000);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(client.status.state).toBe("connected");
  expect(last().of("ping").length).toBe(2);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(client.status.state).toBe("reconnecting");
});

it("a sleep with a ping under way proves nothing", async () => {
  const client = await open();
  sleep(60_000);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(client.status.state).toBe("connected");
  last().pong();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(client.status.state).toBe("connected");
});

it("a wake probes once, and a dead connection is given up soon", async () => {
  const client = await open();
  last().pong();
  client.wake();
  expect(last().of("ping").length).toBe(2);
  last().pong();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(client.status.state).toBe("connected");
  client.wake();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(client.status.state).toBe("reconnecting");
});

it("never has two sockets, however often it is woken", async () => {
  let give: ((token: string) => void)[] = [];
  const client = new Client("ws://host/ws", {
    WebSocket: FakeSocket,
    getToken: () => new Promise((resolve) => give.push(resolve)),
  });
  client.connect();
  client.connect();
  client.wake();
  await turn();
  expect(give.length).toBe(1);
  give.pop()!("t");
  await turn();
  expect(FakeSocket.all.length).toBe(1);
  last().onclose({ code: 1006, reason: "" });
  client.subscribe("status", () => client.wake());
  client.wake();
  client.wake();
  await turn();
  give.forEach((it) => it("t"));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(FakeSocket.all.length).toBe(2);
  client.wake();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(FakeSocket.all.length).toBe(2);
});

it("waking in the handler of the status makes one connection", async () => {
  const client = await open();
  client.subscribe("status", (status) => status.state == "reconnecting" && client.wake());
  last().onclose({ code: 1006, reason: "" });
  await vi.advanceTimersByTimeAsync(9_000);
  expect(FakeSocket.all.length).toBe(2);
});

it("says why and when it comes back, and comes back then", async () => {
  const client = await open();
  last().onclose({ code: 4006, reason: "overloaded; retry_after_ms=7000" });
  const status = client.status as any;
  expect(status).toMatchObject({ state: "reconnecting", reason: { code: "overloaded", retryAfterMs: 7000 } });
  expect(status.at - Date.now()).toBeGreaterThanOrEqual(7000);
  client.wake();
  await vi.advanceTimersByTimeAsync(6_999);
  expect(FakeSocket.all.length, "also when it is woken").toBe(1);
  await vi.advanceTimersByTimeAsync(status.at - Date.now() + 1);
  expect(FakeSocket.all.length).toBe(2);
  last().welcome({ resumed: true });
  expect(last().sent[0].payload.resume_token).toBe("r1");
  expect(client.stats.reconnects).toBe(1);
});

it("does not come back after a code that says so", async () => {
  const client = await open();
  const waiting = client.chat({ client: "x" }, "hi");
  last().onclose({ code: 4501, reason: "taken_over" });
  expect(client.status).toMatchObject({ state: "closed", reason: { code: "taken_over" } });
  await expect(waiting).rejects.toMatchObject({ code: "unconfirmed" });
  await expect(client.chat({ client: "x" }, "hi")).rejects.toMatchObject({ code: "closed" });
  await vi.advanceTimersByTimeAsync(100_000);
  expect(FakeSocket.all.length).toBe(1);
});

it("a late hello of its own that takes its session over is no reason to stay away", async () => {
  const client = await open();
  const again = async (then: () => void) => {
    last().onclose({ code: 1006, reason: "" });
    client.wake();
    await turn();
    then();
  };
  const takenOver = () => last().onclose({ code: 4501, reason: "taken_over" });
  await again(() => last().onopen());
  await again(() => last().welcome());
  takenOver();
  expect(client.status.state).toBe("reconnecting");
  await again(() => last().onopen());
  await vi.advanceTimersByTimeAsync(9_000);
  await again(() => last().welcome());
  for (let n = 0; n < 5; n++) {
    last().pong();
    await vi.advanceTimersByTimeAsync(30_000);
  }
  takenOver();
  expect(client.status, "it would have come by now").toMatchObject({ state: "closed", reason: { code: "taken_over" } });
});

it("gives up a connection on which nothing is answered", async () => {
  const client = new Client("ws://host/ws", { WebSocket: FakeSocket });
  client.connect();
  await turn();
  await vi.advanceTimersByTimeAsync(9_000);
  last().onopen();
  await vi.advanceTimersByTimeAsync(9_999);
  expect(client.status.state).toBe("connecting");
  await vi.advanceTimersByTimeAsync(1);
  expect(client.status).toMatchObject({ state: "reconnecting", reason: { code: "timeout" } });
});

it("asks for a token again, unless there is none for this user", async () => {
  let calls = 0;
  const client = new Client("ws://host/ws", {
    WebSocket: FakeSocket,
    getToken() {
      if (++calls == 1) throw new Error("the network is down");
      throw new UnauthorizedError("signed out");
    },
  });
  client.connect();
  await turn();
  expect(client.status).toMatchObject({ state: "reconnecting", reason: { code: "not_connected" } });
  await vi.advanceTimersByTimeAsync(2_000);
  expect(client.status).toMatchObject({ state: "closed", reason: { code: "unauthorized", message: "signed out" } });
  expect(FakeSocket.all).toEqual([]);
});

it("renews its token on the connection, before it ends", async () => {
  let tokens = 0;
  const client = new Client("ws://host/ws", { WebSocket: FakeSocket, getToken: () => "t" + ++tokens });
  client.connect();
  await turn();
  last().welcome({ token_expires_at: Date.now() + 100_000, ping_interval_ms: 1e9 });
  expect(last().sent[0].payload.token).toBe("t1");
  await vi.advanceTimersByTimeAsync(79_999);
  expect(last().of("auth")).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(last().of("auth")).toEqual([{ type: "auth", payload: { token: "t2" } }]);
  last().says({ type: "auth", payload: { token_expires_at: Date.now() + 3_600_000 }, timestamp: Date.now() });
  await vi.advanceTimersByTimeAsync(3_540_000);
  expect(last().of("auth").length).toBe(2);
});

it("goes where the server asks it to, when it is as safe there", async () => {
  const client = await open();
  last().says({ type: "reconnect", payload: { delay_ms: 1500, url: "ws://other/ws" } });
  await vi.advanceTimersByTimeAsync(1_499);
  expect(client.status.state).toBe("connected");
  await vi.advanceTimersByTimeAsync(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(FakeSocket.all.map((it) => it.url)).toEqual(["ws://host/ws", "ws://other/ws"]);
  expect(FakeSocket.all[0]!.closed).toBe(4000);
  last().onclose({ code: 1006, reason: "" });
  await vi.advanceTimersByTimeAsync(4_000);
  expect(last().url).toBe("ws://host/ws");

  const safe = new Client("wss://host/ws", { WebSocket: FakeSocket });
  safe.connect();
  await turn();
  last().welcome();
  last().says({ type: "reconnect", payload: { delay_ms: 0, url: "ws://other/ws" } });
  await vi.advanceTimersByTimeAsync(2);
  expect(last().url).toBe("wss://host/ws");
});

it("goes when it was asked to, also when it was woken meanwhile", async () => {
  const client = await open();
  last().says({ type: "reconnect", payload: { delay_ms: 1500 } });
  await vi.advanceTimersByTimeAsync(500);
  client.wake();
  await vi.advanceTimersByTimeAsync(1_001);
  expect(FakeSocket.all.length).toBe(2);
});

it("a fault of a handler harms nobody else", async () => {
  const client = await open();
  const faults: unknown[] = [];
  const take = (error: unknown) => faults.push(error);
  const before = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException").on("uncaughtException", take);
  try {
    const heard: unknown[] = [];
    client.subscribe("chat", () => {
      throw new Error("mine");
    });
    client.subscribe("chat", (data) => heard.push(data));
    last().says({ type: "chat", from_client_id: "x", payload: "hi", offset: 1, epoch: "e", timestamp: 1 });
    expect(heard).toEqual(["hi"]);
    await vi.advanceTimersByTimeAsync(1).catch(take);
    expect(faults).toMatchObject([{ message: "mine" }]);
  } finally {
    process.removeAllListeners("uncaughtException");
    before.forEach((it) => process.on("uncaughtException", it));
  }
});

it("holds no more than fits the outbox", async () => {
  const client = new Client("ws://host/ws", { WebSocket: FakeSocket, outboxBytes: 1000 });
  const kept = client.chat({ client: "x" }, "x".repeat(500));
  await expect(client.chat({ client: "x" }, "x".repeat(500))).rejects.toMatchObject({ code: "outbox_full" });
  await turn();
  last().welcome();
  last().says({ type: "ack", payload: { acks: [{ seq: 1, offset: 4 }] } });
  await expect(kept).resolves.toEqual({ seq: 1, offset: 4 });
  const next = client.chat({ client: "x" }, "x".repeat(500));
  last().says({ type: "ack", payload: { acks: [{ seq: 2, offset: 5 }] } });
  await expect(next).resolves.toEqual({ seq: 2, offset: 5 });
});

it("sends what was meant when it was sent", async () => {
  const client = await open();
  last().bufferedAmount = 1e9;
  const data = { x: 1 };
  void client.direct({ user: "u" }, "e", data);
  data.x = 2;
  expect(last().of("event")).toEqual([]);
  last().bufferedAmount = 0;
  await vi.advanceTimersByTimeAsync(50);
  expect(last().of("event")).toEqual([{ type: "event", name: "e", to_user_id: "u", payload: { x: 1 }, seq: 1 }]);
});

it("errors are what they say they are", () => {
  const error = new UnauthorizedError();
  expect(error).toBeInstanceOf(RoomcastError);
  expect(error).toMatchObject({ name: "RoomcastError", code: "unauthorized" });
});

it("misses direct messages after a restart only where it had some", async () => {
  const client = await open();
  const again = async () => {
    last().onclose({ code: 1006, reason: "" });
    const before = FakeSocket.all.length;
    while (FakeSocket.all.length == before) await vi.advanceTimersByTimeAsync(100);
    last().welcome({ client_id: "c2" });
  };
  await again();
  expect(client.stats.gaps).toBe(0);
  last().says({ type: "chat", from_client_id: "c9", to_client_id: "c2", payload: 1, offset: 1, epoch: "i" });
  await again();
  expect(client.stats.gaps).toBe(1);
  await again();
  expect(client.stats.gaps).toBe(1);
});
