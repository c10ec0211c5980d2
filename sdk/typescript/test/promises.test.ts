// What is promised whatever the clock, the server, the names and the application do. Under a clock and a server of the test's own.

import { getEventListeners } from "node:events";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Client, type ClientOptions, type Room } from "../src/index.js";
import { FakeSocket, last, turn } from "./fake.js";
import { soon } from "./server.js";

beforeEach(() => {
  FakeSocket.all = [];
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const HOUR = 3_600_000;
const member = (num: number) => ({ player_id: "p" + num, player_num: num, connected: true });
const joined = (payload: object = {}, room_id = "a") => ({
  type: "joined",
  room_id,
  payload: {
    members: [member(1)], total: 1, player_num: 1, player_id: "p1", epoch: "e", offset: 0, recovered: false,
    repeats_possible: false, mode: "relay", presence: "full", ...payload,
  },
  timestamp: 1,
});
const left = (room_id = "a") => ({ type: "player_left", room_id, payload: { player_num: 1, player_id: "p1" }, epoch: "e", offset: 1, timestamp: 1 });
const event = (offset: number, data: unknown, fields: object = {}) => ({
  type: "event", room_id: "a", name: "n", payload: data, from_client_id: "other", epoch: "e", offset, timestamp: 1, ...fields,
});
const ack = (seq: number, offset: number, room_id?: string) => ({ type: "ack", ...(room_id && { room_id }), payload: { acks: [{ seq, offset }] } });

async function open(options: ClientOptions = {}, said: object = {}) {
  const client: Client<any> = new Client("ws://host/ws", { WebSocket: FakeSocket, ...options });
  client.connect();
  await turn();
  last().welcome(said);
  return client;
}
async function joinA(options: ClientOptions = {}, said: object = {}) {
  const client = await open(options, said);
  const room: Room<any> = client.room("a");
  const done = room.join();
  last().says(joined());
  await done;
  return { client, room };
}
const settled = async (promise: Promise<unknown>) => {
  let it = false;
  promise.then(() => (it = true), () => (it = true));
  await turn();
  return it;
};

describe("the clock on the wall may be set", () => {
  it("back: what is sent is sent", async () => {
    const { room } = await joinA({}, { limits: { messages_per_second: 10, burst: 10 } });
    vi.setSystemTime(Date.now() - HOUR);
    void room.send("n", 1);
    await room.action("move");
    expect([last().of("event").length, last().of("game_action").length]).toEqual([1, 1]);
  });
  it("back: a dead connection is noticed as soon", async () => {
    const client = await open();
    vi.setSystemTime(Date.now() - HOUR);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.status.state).toBe("reconnecting");
  });
  it("either way: the server's time is as it was", async () => {
    const client = await open();
    const before = client.serverNow();
    vi.setSystemTime(Date.now() - HOUR);
    expect(client.serverNow()).toBe(before);
    vi.setSystemTime(Date.now() + 5 * HOUR);
    expect(client.serverNow()).toBe(before);
  });
  it("either way: a `reconnect` is heeded at its time", async () => {
    await open();
    last().says({ type: "reconnect", payload: { delay_ms: 1500 } });
    vi.setSystemTime(Date.now() + HOUR);
    await vi.advanceTimersByTimeAsync(1_499);
    expect(FakeSocket.all.length).toBe(1);
    await vi.advanceTimersByTimeAsync(2);
    expect(FakeSocket.all.length).toBe(2);
  });
});

describe.each(["__proto__", "constructor", "toString", "hasOwnProperty"])("%s is a name", (name) => {
  it("of an event, a room, and what is subscribed to", async () => {
    const client = await open();
    const room: Room<any> = client.room(name);
    const heard: unknown[] = [];
    room.on(name, (data) => heard.push(data));
    room.subscribe(name as any, (...args: unknown[]) => heard.push(args));
    void room.join();
    last().says(joined({}, name));
    last().says(event(1, "x", { name, room_id: name }));
    last().says(event(2, "y", { name, room_id: "other" }));
    expect(heard).toEqual(["x"]);
    void room.send(name, 1);
    void room.send("n", 2);
    const saved = JSON.parse(JSON.stringify(client.save()));
    const again: Client<any> = new Client("ws://host/ws", { WebSocket: FakeSocket, saved });
    again.connect();
    await turn();
    last().welcome({ resumed: true });
    void again.room(name).join();
    expect(last().of("join_room")[0].payload.first_seq).toBe(3);
  });
  it("of a key of presence", async () => {
    const { client, room } = await joinA();
    const keys = JSON.parse(`{"${name}": {"x": 1}}`);
    room.updatePresence(keys);
    await turn();
    expect(JSON.stringify(last().of("presence")[0].payload.presence)).toBe(JSON.stringify(keys));
    last().says(joined({ recovered: true, members: [{ ...member(1), presence: keys }] }));
    expect(JSON.stringify(room.self!.presence)).toBe(JSON.stringify(keys));
    last().onclose({ code: 1006, reason: "" });
    client.wake();
    await turn();
    last().welcome();
    expect(JSON.stringify(last().of("join_room")[0].payload.presence)).toBe(JSON.stringify(keys));
    room.updatePresence(JSON.parse(`{"${name}": null}`));
    last().says(joined({ members: [member(1)] }));
    await turn();
    expect(last().of("presence")).toEqual([]);
  });
});

describe("what is wrong is refused before it takes a number", () => {
  it.each([[{}], [undefined], [{ client: "" }], [{ user: "" }], [{ client: "c", user: "u" }], [{ client: "c", user: "" }], [{ user: null }], [{ client: "\ud800" }]])(
    "a recipient %j",
    async (to: any) => {
      const client = await open();
      await expect(client.chat(to, "x")).rejects.toMatchObject({ code: "invalid_name" });
      await expect(client.direct(to, "e", "x")).rejects.toMatchObject({ code: "invalid_name" });
      await expect(client.direct(to, "e", "x", { ephemeral: true })).rejects.toMatchObject({ code: "invalid_name" });
      void client.chat({ user: "u" }, "good");
      expect([last().of("chat"), last().of("event")]).toEqual([[{ type: "chat", to_user_id: "u", payload: "good", payload_kind: "text", seq: 1 }], []]);
    },
  );
  it("a message over the server's limit: known before or learnt later", async () => {
    const client: Client<any> = new Client("ws://host/ws", { WebSocket: FakeSocket });
    const room = client.room("a");
    void room.join();
    const large = "x".repeat(70_000);
    const [early, small] = [room.send("n", large), room.send("n", 1)];
    await turn();
    last().welcome();
    last().says(joined());
    await expect(early).rejects.toMatchObject({ code: "too_large" });
    await expect(room.send("n", large)).rejects.toMatchObject({ code: "too_large" });
    await expect(room.action("n", { large })).rejects.toMatchObject({ code: "too_large" });
    await expect(room.send("n", large, { ephemeral: true })).rejects.toMatchObject({ code: "too_large" });
    expect(last().of("event").map(({ seq, payload }) => [seq, payload])).toEqual([[1, 1]]);
    last().says(ack(1, 1, "a"));
    expect(await small).toEqual({ seq: 1, offset: 1 });
    expect(last().sent.every((it) => JSON.stringify(it).length <= 65536)).toBe(true);
  });
  it("exactly as large as the server takes is sent", async () => {
    const { room } = await joinA();
    void room.send("n", "");
    const most = 65536 - JSON.stringify(last().of("event")[0]).length;
    void room.send("n", "x".repeat(most));
    await expect(room.send("n", "x".repeat(most + 1))).rejects.toMatchObject({ code: "too_large" });
    expect(last().of("event").map((it) => JSON.stringify(it).length)).toEqual([65536 - most, 65536]);
  });
  it.each([[NaN], [{ deep: [Infinity] }], [() => {}], [{ f() {} }]])("what JSON can't say: %j", async (data: any) => {
    const { room } = await joinA();
    await expect(room.send("n", data)).rejects.toMatchObject({ code: "invalid_value" });
    await expect(room.action("n", { data })).rejects.toMatchObject({ code: "invalid_value" });
    expect(() => room.updatePresence({ data })).toThrow();
    await turn();
    expect([last().of("event"), last().of("presence")]).toEqual([[], []]);
  });
});

describe("everything settles", () => {
  it("a join that the server would not read", async () => {
    const client = await open();
    const room = client.room("a", { presence: { large: "x".repeat(70_000) } });
    await expect(room.join()).rejects.toMatchObject({ code: "too_large" });
    expect(last().of("join_room")).toEqual([]);
    // And it does not poison the next one.
    void room.join();
    expect(last().of("join_room").length).toBe(1);
  });
  it("a presence that the server would not read: it is told, and forgotten", async () => {
    const { room } = await joinA();
    const told: string[] = [];
    room.subscribe("error", ({ code }) => told.push(code));
    room.updatePresence({ large: "x".repeat(70_000) });
    await turn();
    expect([told, last().of("presence")]).toEqual([["too_large"], []]);
    room.updatePresence({ small: 1 });
    await turn();
    expect(last().of("presence")[0].payload.presence).toEqual({ small: 1 });
  });
  it("a join whose refusal names no room", async () => {
    const client = await open();
    const join = client.room("").join();
    const { request_id } = last().of("join_room")[0];
    last().says({ type: "error", request_id, payload: { code: "missing_field", message: "", request: "join_room" } });
    await expect(join).rejects.toMatchObject({ code: "missing_field" });
  });
  it("a page that can't be read, or never ends", async () => {
    const { room } = await joinA();
    const page = room.history().next();
    await turn();
    last().says({ type: "history", room_id: "a", payload: { events: [{ type: "chat", payload: "?", payload_kind: "bytes" }], next: 0, epoch: "e" } });
    await expect(page).rejects.toMatchObject({ code: "unreadable" });
    const all = (async () => {
      for await (const _ of room.history());
    })();
    for (let n = 0; n < 9; n++) {
      await turn();
      last().says({ type: "history", room_id: "a", payload: { events: [], next: 7, epoch: "e" } });
    }
    await all;
    expect(last().of("history").length).toBeLessThan(5);
  });
  it("a leave: when the server has answered", async () => {
    const { client, room } = await joinA();
    const leave = room.leave();
    expect(await settled(leave)).toBe(false);
    last().says(left());
    expect(await settled(leave)).toBe(true);
    // Without a connection: when it is known that the session has not got the room.
    void room.join();
    last().says(joined());
    last().onclose({ code: 1006, reason: "" });
    const again = room.leave();
    expect(await settled(again)).toBe(false);
    client.wake();
    await turn();
    last().welcome({ resumed: false });
    expect(await settled(again)).toBe(true);
  });
  it("a leave: when the client is closed, or nothing was joined", async () => {
    const { client, room } = await joinA();
    const leave = room.leave();
    await turn();
    client.close();
    expect(await settled(leave)).toBe(true);
    expect(await settled(new Client("ws://host/ws", { WebSocket: FakeSocket }).room("b").leave())).toBe(true);
  });
  it("a leave that is followed by a join: when it is answered, or was never said", async () => {
    const { client, room } = await joinA();
    const leave = room.leave();
    await turn();
    const join = room.join();
    expect(await settled(leave)).toBe(false);
    last().says(left());
    expect(await settled(leave)).toBe(true);
    last().says(joined({ offset: 1 }));
    await join;
    last().onclose({ code: 1006, reason: "" });
    const again = room.leave();
    await turn();
    void room.join();
    expect(await settled(again)).toBe(true);
    client.wake();
    await turn();
    last().welcome({ resumed: true });
    last().says(joined({ recovered: true, offset: 1 }));
    expect(room.status).toBe("joined");
  });
  it("a message, once and without a number, where the server answers none", async () => {
    const { client, room } = await joinA();
    const before = room.send("n", 0);
    last().onclose({ code: 1006, reason: "" });
    const waiting = room.send("n", 1);
    client.wake();
    await turn();
    last().welcome({ resumed: true, seq_acked: false });
    last().says(joined({ recovered: true }));
    await expect(before).rejects.toMatchObject({ code: "unconfirmed" });
    expect(await waiting).toEqual({ seq: 0, offset: 0 });
    expect(await room.send("n", 2)).toEqual({ seq: 0, offset: 0 });
    expect(last().of("event").map(({ seq, payload }) => [seq, payload])).toEqual([[undefined, 1], [undefined, 2]]);
    expect((client as any)._bytes).toBe(0);
  });
});

describe("a server that is odd", () => {
  it("is not stormed when it asks to come back at once, again and again", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    await open();
    for (let n = 0; n < 200; n++) {
      if (!last().closed) last().says({ type: "reconnect", payload: { delay_ms: 0 } });
      await vi.advanceTimersByTimeAsync(50);
      if (!last().sent.length) last().welcome({ resumed: true });
    }
    expect(FakeSocket.all.length).toBeLessThan(24);
    vi.restoreAllMocks();
  });
  it("may name an address that is none", async () => {
    class Picky extends FakeSocket {
      constructor(url: string) {
        if (url == "nonsense") throw new SyntaxError(url);
        super(url);
      }
    }
    const client = await open({ WebSocket: Picky });
    last().says({ type: "reconnect", payload: { delay_ms: 0, url: "nonsense" } });
    await vi.advanceTimersByTimeAsync(6_000);
    expect([client.status.state, FakeSocket.all.length, last().url]).toEqual(["reconnecting", 2, "ws://host/ws"]);
  });
  it("ends no list of members", async () => {
    const { room } = await joinA();
    last().says(joined({ recovered: true, total: 1e9 }));
    for (let n = 1; n < 50; n++) {
      await turn();
      last().says({ type: "members", room_id: "a", payload: { members: [member(1)], total: 1e9, next: n } });
    }
    expect(last().of("members").length).toBeLessThan(3);
    expect(room.total).toBe(1e9);
  });
  it("gives tokens that end at once", async () => {
    let asked = 0;
    await open({ getToken: () => "t" + ++asked }, { token_expires_at: Date.now() + 1 });
    for (let n = 0; n < 100; n++) {
      await vi.advanceTimersByTimeAsync(100);
      last().says({ type: "auth", payload: { token_expires_at: Date.now() + 1 }, timestamp: Date.now() });
    }
    expect(asked).toBeLessThan(13);
  });
  it("refuses a `hello` with rooms in it: the client comes back without them", async () => {
    const { client } = await joinA();
    last().onclose({ code: 1006, reason: "" });
    client.wake();
    await turn();
    last().onopen();
    expect(last().sent[0].payload.positions.length).toBe(1);
    last().says({ type: "error", payload: { code: "too_many", message: "", request: "hello" } });
    await vi.advanceTimersByTimeAsync(9_000);
    last().onopen();
    expect(last().sent[0].payload.positions).toEqual([]);
    expect(client.room("a").status).toBe("joining");
    last().says({ type: "error", payload: { code: "unsupported_version", message: "", request: "hello" } });
    expect(client.status).toMatchObject({ state: "closed", reason: { code: "unsupported_version" } });
  });
});

it("a `hello` over the server's limit is said with fewer rooms", async () => {
  const client = await open({}, { limits: { max_message: 2000 } });
  for (let n = 0; n < 30; n++) {
    const name = "a room with a long name ".replaceAll(" ", "_") + n;
    void client.room(name).join();
    last().says(joined({}, name));
  }
  last().onclose({ code: 1006, reason: "" });
  do {
    await vi.advanceTimersByTimeAsync(1_000);
    if (!last().sent.length && !last().closed) last().onopen();
  } while (FakeSocket.all.length < 9 && (FakeSocket.all.length == 1 || !last().of("hello").length));
  const [hello] = last().of("hello");
  expect(JSON.stringify(hello).length).toBeLessThanOrEqual(2000);
  expect(hello.payload.positions.length).toBeGreaterThan(6);
});

describe("a room", () => {
  it("that has grown too big has nobody who may have gone", async () => {
    const { room } = await joinA();
    last().says(joined({ recovered: true, members: [member(1), member(2), member(3)], total: 3 }));
    const grown = { name: "roomcast.presence", from_client_id: undefined };
    last().says(event(1, { presence: "count", total: 257 }, grown));
    expect([room.members.map((it) => it.num), room.total]).toEqual([[1], 257]);
    last().says(joined({ recovered: true, offset: 1, members: [member(1), member(2)], total: 300, presence: "count" }));
    expect([room.members.map((it) => it.num), room.total]).toEqual([[1], 300]);
  });
  it("that others have joined is not joined from an older place", async () => {
    const { room } = await joinA();
    last().says(event(5, "x"));
    await expect(room.join({ since: { epoch: "e", offset: 3 } })).rejects.toMatchObject({ code: "already_joined" });
    await expect(room.join({ since: { epoch: "f", offset: 9 } })).rejects.toMatchObject({ code: "already_joined" });
    await expect(room.join({ since: { epoch: "e" } as any })).rejects.toMatchObject({ code: "already_joined" });
    await expect(room.join({ since: { epoch: 5, offset: 9 } as any })).rejects.toMatchObject({ code: "invalid_value" });
    await room.join({ since: { epoch: "e", offset: 5 } });
    // Those that were refused are not counted.
    await room.leave();
    expect(room.status).toBe("joined");
    void room.leave();
    await turn();
    expect(room.status).toBe("left");
    void room.join({ since: { epoch: "e", offset: 3 } });
    last().says(left());
    expect(last().of("join_room").at(-1).payload.since).toEqual({ epoch: "e", offset: 3 });
  });
  it("that was left is freed, and its numbers go on", async () => {
    setFlagsFromString("--expose-gc");
    const gc: (how: object) => Promise<void> = runInNewContext("gc");
    let freed = 0;
    let enough!: () => void;
    const most = new Promise<void>((resolve) => (enough = resolve));
    // The last ones may still be on the stack.
    const rooms = new FinalizationRegistry(() => void (++freed == 198 && enough()));
    const client = await open();
    for (let n = 0; n < 200; n++) {
      const name = "r" + n;
      const room: Room<any> = client.room(name, { nickname: "x" });
      rooms.register(room, undefined);
      const stop = room.on("n", () => {});
      void room.join();
      last().says(joined({}, name));
      void room.send("n", 1);
      last().says(ack(1, 1, name));
      stop();
      void room.leave();
      await turn();
      last().says(left(name));
    }
    expect((client as any)._rooms.size).toBe(0);
    vi.useRealTimers();
    // As a task of its own: what this one has looked at is kept until it ends.
    await gc({ type: "major", execution: "async" });
    await soon(most, () => `200 rooms to be freed, and ${freed} are`);
    void client.room("r7").join();
    expect(last().of("join_room").at(-1).payload.first_seq).toBe(2);
  });
  it("is the same one as long as somebody holds it, or listens", async () => {
    const { client, room } = await joinA();
    const heard: unknown[] = [];
    room.on("n", (data) => heard.push(data));
    void room.leave();
    await turn();
    last().says(left());
    expect(client.room("a")).toBe(room);
    expect((client as any)._rooms.get("a")).toBe(room);
    void room.join();
    last().says(joined({ offset: 1 }));
    last().says(event(2, "x"));
    expect(heard).toEqual(["x"]);
  });
  it("that is not known takes no memory", async () => {
    const client = await open();
    for (let n = 0; n < 50; n++) last().says(event(1, "x", { room_id: "unknown" + n }));
    expect((client as any)._rooms.size).toBe(0);
  });
});

it("a signal that lives long is not listened to longer than needed", async () => {
  const { client, room } = await joinA();
  const { signal } = new AbortController();
  const send = room.send("n", 1, { signal });
  const other = client.room("b");
  const join = other.join({ signal });
  const refused = client.room("c").join({ signal });
  expect(getEventListeners(signal, "abort").length).toBe(3);
  last().says(ack(1, 1, "a"));
  last().says(joined({}, "b"));
  last().says({ type: "error", room_id: "c", payload: { code: "room_full", message: "", request: "join_room" } });
  await Promise.allSettled([send, join, refused]);
  expect(getEventListeners(signal, "abort").length).toBe(0);
});

it("is awake again when a page is shown that the browser had kept", async () => {
  const window = new EventTarget();
  vi.stubGlobal("addEventListener", window.addEventListener.bind(window));
  await open();
  last().onclose({ code: 1006, reason: "" });
  window.dispatchEvent(new Event("pageshow"));
  await turn();
  expect(FakeSocket.all.length).toBe(2);
});

describe("a pulled cable", () => {
  it("is seen by the server after a while", async () => {
    const client = await open();
    client.pullCable(HOUR);
    expect(last().closed).toBeUndefined();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(last().closed).toBe(4000);
  });
  it("stays out when the page is looked at again, until it is plugged in", async () => {
    const window = new EventTarget();
    vi.stubGlobal("addEventListener", window.addEventListener.bind(window));
    const client = await open();
    client.pullCable(HOUR);
    for (const name of ["visibilitychange", "online", "pageshow"]) window.dispatchEvent(new Event(name));
    await turn();
    expect(FakeSocket.all.length).toBe(1);
    client.wake();
    await turn();
    expect(FakeSocket.all.length).toBe(2);
    // From then on it is a connection as any other.
    last().onclose({ code: 1006, reason: "" });
    window.dispatchEvent(new Event("visibilitychange"));
    await turn();
    expect(FakeSocket.all.length).toBe(3);
  });
  it("leaves no socket behind when the client is closed", async () => {
    const client = await open();
    client.pullCable(HOUR);
    client.close();
    expect(last().closed).toBe(4000);
  });
});

it("a `hello` of the page before that comes late is no end for the one after", async () => {
  const first = await open();
  last().onclose({ code: 1006, reason: "" });
  first.wake();
  await turn();
  last().onopen(); // and the page is reloaded
  const saved = JSON.parse(JSON.stringify(first.save()));
  const second: Client<any> = new Client("ws://host/ws", { WebSocket: FakeSocket, saved });
  second.connect();
  await turn();
  last().welcome({ resumed: true });
  last().onclose({ code: 4501, reason: "taken_over" });
  expect(second.status.state).toBe("reconnecting");
  await vi.advanceTimersByTimeAsync(9_000);
  last().welcome({ resumed: true });
  last().onclose({ code: 4501, reason: "taken_over" });
  expect(second.status.state).toBe("closed");
});

describe("an inbox that goes on under another name", () => {
  it("has no gap, where the server says so", async () => {
    const client = await open();
    const mail = (offset: number, epoch: string) => event(offset, offset, { room_id: undefined, to_client_id: "c1", seq: offset, epoch });
    last().says(mail(1, "i"));
    last().onclose({ code: 4000, reason: "" });
    await vi.advanceTimersByTimeAsync(5_000);
    last().welcome({ resumed: true, inbox: { epoch: "j", offset: 1 }, inbox_recovered: true });
    last().says(mail(2, "j"));
    expect(client.position).toEqual({ epoch: "j", offset: 2 });
    expect(client.stats.gaps).toBe(0);
  });
});
