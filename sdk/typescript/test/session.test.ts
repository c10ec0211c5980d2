// Against the real server, over a wire that breaks.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Client, RoomcastError, type Room, UnauthorizedError } from "../src/index.js";
import { closeAll, connected, makeToken, newClient, refusal, type Server, soon, startServer, until, Wire } from "./server.js";

let server: Server;
let wire: Wire;
let url: string;
/** Through the wire. */
let wired: string;

beforeAll(async () => {
  server = await startServer({ "kinds.quiet.mode": "relay", "kinds.chat.mode": "relay", "kinds.short.mode": "relay", "kinds.short.log.events": "4" });
  url = server.url;
});
beforeEach(async () => {
  wire = new Wire(server.port);
  wired = await wire.listen();
});
afterEach(() => {
  closeAll();
  wire.stop();
});
afterAll(() => server.stop());

let rooms = 0;
const roomName = (kind = "chat") => `${kind}:${++rooms}`;

/** Keeps what it hears in a room. */
function hear(room: Room<any>) {
  const heard: number[] = [];
  const offsets: number[] = [];
  room.on("n", (data: number, { offset }) => {
    heard.push(data);
    offsets.push(offset!);
  });
  const all = (count: number) =>
    until((told) => room.on("n", told), () => heard.length >= count, () => `${count} events; there are ${heard}`);
  return { heard, offsets, all };
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n + 1);
const joined = (room: Room<any>) => until((told) => room.subscribe("status", told), () => room.status == "joined");
const away = (client: Client<any>) =>
  until((told) => client.subscribe("status", told), () => client.status.state == "reconnecting");

describe("rooms", () => {
  it("delivers events to handlers that were attached before the join", async () => {
    const name = roomName();
    const [ada, bob] = [newClient(url), newClient(url)];
    const room = ada.room(name, { nickname: "Ada", presence: { colour: "red" } });
    expect(ada.room(name)).toBe(room);
    const got = new Promise<any[]>((resolve) => room.on("message", (data, meta) => resolve([data, meta])));
    await soon(room.join());
    const other = bob.room(name, { nickname: "Bob" });
    await soon(other.join());
    const receipt = await soon(other.send("message", { text: "hello" }));
    const [data, meta] = await soon(got);
    expect(data).toEqual({ text: "hello" });
    expect(meta).toMatchObject({ from: bob.id, player: other.self!.num, offset: receipt.offset, seq: receipt.seq });
    expect(room.position).toMatchObject({ offset: receipt.offset });
    expect(other.members.map((it) => [it.nickname, it.presence, it.connected])).toEqual([
      ["Ada", { colour: "red" }, true],
      ["Bob", {}, true],
    ]);
    expect(other.self?.nickname).toBe("Bob");
  });

  it("counts joins", async () => {
    const name = roomName();
    const [ada, bob] = [newClient(url), newClient(url)];
    const watch = bob.room(name);
    await soon(watch.join());
    const room = ada.room(name);
    await soon(Promise.all([room.join(), room.join()]));
    await room.leave();
    expect(room.status).toBe("joined");
    // As a page in strict mode does it.
    void room.leave();
    await soon(room.join());
    await soon(room.send("n", 1));
    expect(watch.members.length).toBe(2);
    const history: string[] = [];
    for await (const event of watch.history()) history.push(event.type);
    expect(history.filter((it) => it == "player_left")).toEqual([]);
    await soon(room.leave());
    expect(room.status).toBe("left");
    await until((told) => watch.subscribe("members", told), () => watch.members.length == 1);
    expect((await refusal(room.send("n", 2))).code).toBe("not_joined");
  });

  it("lists members in snapshots that never change", async () => {
    const name = roomName();
    const [ada, bob] = [newClient(url), newClient(url)];
    const room = ada.room(name);
    await soon(room.join());
    const before = room.members;
    expect(room.members).toBe(before);
    const other = bob.room(name, { nickname: "Bob" });
    await soon(other.join());
    await until((told) => room.subscribe("members", told), () => room.members.length == 2);
    expect(before.length).toBe(1);
    const two = room.members;
    other.updatePresence({ status: "away", colour: "red" });
    await until((told) => room.subscribe("members", told), () => room.members[1]?.presence.colour == "red");
    other.updatePresence({ status: null });
    await until((told) => room.subscribe("members", told), () => !("status" in room.members[1]!.presence));
    expect(two[1]?.presence).toEqual({});
    expect(room.members[1]?.nickname).toBe("Bob");
  });

  it("knows all of more members than one list has", async () => {
    const name = roomName();
    const crowd = Array.from({ length: 130 }, () => newClient(url));
    await soon(Promise.all(crowd.map((it) => it.room(name).join())));
    const late = newClient(url).room(name);
    await soon(late.join());
    await until((told) => late.subscribe("members", told), () => late.members.length == 131);
    expect(late.total).toBe(131);
    expect(new Set(late.members.map((it) => it.num)).size).toBe(131);
  });

  it("rejects a join that is refused, and one that is aborted", async () => {
    const client = newClient(wired);
    expect((await refusal(client.room("no name").join())).code).toBe("invalid_name");
    wire.down = true;
    wire.cut();
    await away(client);
    const room = client.room(roomName());
    const abort = new AbortController();
    const join = refusal(room.join({ signal: abort.signal }));
    abort.abort();
    expect((await join).code).toBe("aborted");
    await until((told) => room.subscribe("status", told), () => room.status == "left");
  });

  it("reads history both ways", async () => {
    const room = newClient(url).room(roomName());
    await soon(room.join());
    await soon(Promise.all(upTo(230).map((n) => room.send("n", n))), "230 acks", 30_000);
    const read = async (options: object) => {
      const seen: unknown[] = [];
      for await (const event of room.history(options)) if (event.type == "event") seen.push(event.data);
      return seen;
    };
    expect(await soon(read({}))).toEqual(upTo(230));
    expect(await soon(read({ reverse: true }))).toEqual(upTo(230).reverse());
    expect(await soon(read({ reverse: true, limit: 150 }))).toEqual(upTo(230).reverse().slice(0, 150));
    expect(await soon(read({ from: room.position!.offset - 3 }))).toEqual([228, 229, 230]);
  });

  it("gives bytes and texts as they were sent", async () => {
    const room = newClient(url).room(roomName());
    await soon(room.join());
    const heard: unknown[] = [];
    const done = new Promise<void>((resolve) => room.on("end", () => resolve()));
    room.on("stroke", (data) => heard.push(data));
    room.subscribe("chat", (data) => heard.push(data));
    void room.send("stroke", new Uint8Array([0, 1, 254, 255]));
    void room.chat("päivää 🦀");
    void room.chat({ rich: [1, null] });
    void room.send("end");
    await soon(done);
    expect(heard).toEqual([new Uint8Array([0, 1, 254, 255]), "päivää 🦀", { rich: [1, null] }]);
  });

  it("merges the state that the server owns", async () => {
    const client = newClient(url);
    const room = client.room(roomName("default"));
    await soon(room.join());
    const moved = () => room.state.get(client.id)?.position.x == 10;
    void room.action("move", { position: { x: 10, y: 20, z: 0 } });
    await until((told) => room.subscribe("sync", told), moved);
  });

  it("tells of a refused action, which has no answer of its own", async () => {
    const room = newClient(url).room(roomName("default"));
    await soon(room.join());
    const error = new Promise<RoomcastError>((resolve) => room.subscribe("error", resolve));
    await soon(room.action("attack", { target_id: 99 }));
    expect((await soon(error)).code).toBe("target_not_found");
  });

  it("refuses a message that is too large, and goes on", async () => {
    const room = newClient(url).room(roomName());
    await soon(room.join());
    const large = room.send("n", "x".repeat(70_000));
    const small = room.send("n", 1);
    expect((await refusal(large)).code).toBe("too_large");
    expect((await soon(small)).offset).toBeGreaterThan(0);
    expect((await refusal(room.send("n", JSON.parse("[".repeat(40) + "]".repeat(40))))).code).toMatch(/too_deep|unconfirmed/);
    await soon(room.send("n", 2));
  });

  it("waits where it speaks too fast, and loses nothing", async () => {
    const room = newClient(url).room(roomName());
    const { heard, all } = hear(room);
    await soon(room.join());
    for (const n of upTo(500)) void room.send("n", n);
    await soon(all(500), "500 events", 30_000);
    expect(heard).toEqual(upTo(500));
  });
});

describe("a connection that breaks", () => {
  it("resumes: nothing is missed, nobody saw a leave", async () => {
    const name = roomName();
    const ada = newClient(wired);
    const room = ada.room(name);
    const { heard, offsets, all } = hear(room);
    await soon(room.join());
    const bob = newClient(url).room(name);
    let left = 0;
    bob.subscribe("any", ({ type }) => void (left += Number(type == "player_left")));
    await soon(bob.join());
    await soon(bob.send("n", 1));
    const { id } = ada;
    wire.down = true;
    wire.cut();
    await away(ada);
    await until((told) => bob.subscribe("members", told), () => bob.members.some((it) => !it.connected));
    for (const n of [2, 3, 4]) await soon(bob.send("n", n));
    wire.down = false;
    ada.wake();
    await soon(all(4));
    await soon(bob.send("n", 5));
    await soon(all(5));
    expect(heard).toEqual([1, 2, 3, 4, 5]);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
    expect(ada.id).toBe(id);
    expect(ada.stats).toMatchObject({ reconnects: 1, recovered: 1, gaps: 0 });
    expect(ada.status).toEqual({ state: "connected", resumed: true });
    expect(left).toBe(0);
  });

  it("sends once and in order what was sent while there was none", async () => {
    const name = roomName();
    const ada = newClient(wired);
    const room = ada.room(name);
    const own = hear(room);
    await soon(room.join());
    const bob = newClient(url).room(name);
    const other = hear(bob);
    await soon(bob.join());
    await soon(room.send("n", 1));
    wire.down = true;
    wire.cut();
    await away(ada);
    const sends = [2, 3, 4].map((n) => room.send("n", n));
    wire.down = false;
    ada.wake();
    const receipts = await soon(Promise.all(sends));
    expect(receipts.map((it) => it.seq)).toEqual([2, 3, 4]);
    await soon(Promise.all([own.all(4), other.all(4)]));
    expect(own.heard).toEqual([1, 2, 3, 4]);
    expect(other.heard).toEqual([1, 2, 3, 4]);
  });

  it("loses nothing and repeats nothing, cut again and again at any byte", async () => {
    const name = roomName();
    const ada = newClient(wired);
    const room = ada.room(name);
    const own = hear(room);
    await soon(room.join());
    const bob = newClient(url).room(name);
    const other = hear(bob);
    await soon(bob.join());
    const wake = setInterval(() => ada.status.state == "reconnecting" && ada.wake(), 20);
    try {
      let seed = 12345;
      const random = (below: number) => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % below;
      const sends: Promise<unknown>[] = [];
      for (let n = 1; n <= 300; n++) {
        sends.push(room.send("n", n));
        if (n % 30 == 0) wire.cutAfter = random(4000);
        if (n % 40 == 0) wire.cut();
        if (n % 5 == 0) await new Promise((resolve) => setTimeout(resolve, random(30)));
      }
      wire.cutAfter = Infinity;
      await soon(Promise.all(sends), "300 acks", 30_000);
      await soon(Promise.all([own.all(300), other.all(300)]));
      expect(other.heard).toEqual(upTo(300));
      expect(own.heard).toEqual(upTo(300));
      expect(ada.stats.reconnects).toBeGreaterThan(3);
      expect(ada.stats.gaps).toBe(0);
    } finally {
      clearInterval(wake);
    }
  });

  it("comes back from a pulled cable as the same client", async () => {
    const name = roomName();
    const ada = newClient(url);
    const room = ada.room(name);
    const { heard, all } = hear(room);
    await soon(room.join());
    const bob = newClient(url).room(name);
    await soon(bob.join());
    ada.pullCable(300);
    expect(ada.status).toMatchObject({ state: "reconnecting", reason: { code: "connection_lost" } });
    await soon(bob.send("n", 1));
    void room.send("n", 2);
    await soon(all(2));
    expect(heard).toEqual([1, 2]);
    expect(ada.status).toEqual({ state: "connected", resumed: true });
    expect(bob.members.length).toBe(2);
  });

  it("looks to the others like a pulled cable when it is pulled", async () => {
    const name = roomName();
    const ada = newClient(url);
    await soon(ada.room(name).join());
    const bob = newClient(url).room(name);
    await soon(bob.join());
    // The socket of a browser answers the server's pings, whether the SDK hears it or not.
    ada.pullCable(60_000);
    await until((told) => bob.subscribe("members", told), () => bob.members.some((it) => !it.connected));
    ada.wake();
    await until((told) => bob.subscribe("members", told), () => bob.members.every((it) => it.connected));
    await connected(ada);
    expect(ada.status).toEqual({ state: "connected", resumed: true });
  });

  it("notices a wire on which no byte passes", async () => {
    const quick = await startServer({ "heartbeat.ping_interval": "200ms", "heartbeat.pong_timeout": "1s" });
    wire.to(quick.port);
    try {
      const ada = newClient(wired);
      const room = ada.room("a");
      await soon(room.join());
      wire.stall();
      await until((told) => ada.subscribe("status", told), () => ada.status.state == "reconnecting");
      expect((ada.status as any).reason.code).toBe("timeout");
      ada.wake();
      await joined(room);
      expect(ada.status).toEqual({ state: "connected", resumed: true });
    } finally {
      await quick.stop();
    }
  });

  it("gives up what expired or was aborted while it was away, and skips its number", async () => {
    const name = roomName();
    const ada = newClient(wired);
    const room = ada.room(name);
    const { heard, all } = hear(room);
    await soon(room.join());
    await soon(room.send("n", 1));
    // Given to the connection, and never to arrive.
    wire.stall();
    const abort = new AbortController();
    const expired = refusal(room.send("n", 2, { ttlMs: 50 }));
    const aborted = refusal(room.send("n", 3, { signal: abort.signal }));
    const kept = room.send("n", 4);
    await new Promise((resolve) => setTimeout(resolve, 100));
    abort.abort();
    wire.down = true;
    wire.cut();
    await away(ada);
    // Never given to any: told at once.
    expect((await refusal(room.send("n", 5, { ttlMs: 1 }))).code).toBe("expired");
    wire.down = false;
    ada.wake();
    expect(await soon(kept)).toMatchObject({ seq: 4 });
    expect((await expired).code).toBe("expired");
    expect((await aborted).code).toBe("aborted");
    expect(await soon(room.send("n", 6))).toMatchObject({ seq: 5 });
    await soon(all(3));
    expect(heard).toEqual([1, 4, 6]);
  });

  it("never sends an action later", async () => {
    const name = roomName();
    const ada = newClient(wired);
    const room = ada.room(name);
    const actions: string[] = [];
    room.subscribe("action", ({ action }) => actions.push(action as string));
    const { all } = hear(room);
    expect((await refusal(room.action("early"))).code).toBe("not_joined");
    await soon(room.join());
    await soon(room.action("first"));
    await soon(room.send("n", 1));
    wire.down = true;
    wire.cut();
    await away(ada);
    expect((await refusal(room.action("lost"))).code).toBe("not_connected");
    expect((await refusal(room.send("n", 0, { ephemeral: true }))).code).toBe("not_connected");
    wire.down = false;
    ada.wake();
    await joined(room);
    await soon(room.action("second"));
    await soon(room.send("n", 2));
    await soon(all(2));
    expect(actions).toEqual(["first", "second"]);
  });

  it("tells only the newest presence when it is back", async () => {
    const name = roomName();
    const ada = newClient(wired);
    const room = ada.room(name, { presence: { n: 0, kept: true } });
    await soon(room.join());
    const bob = newClient(url).room(name);
    await soon(bob.join());
    const values: unknown[] = [];
    const look = () => bob.members.find((it) => it.id == ada.id)?.presence as any;
    bob.subscribe("members", () => values.at(-1) == look()?.n || values.push(look()?.n));
    wire.down = true;
    wire.cut();
    await away(ada);
    for (const n of upTo(50)) room.updatePresence({ n });
    room.updatePresence({ kept: null });
    wire.down = false;
    ada.wake();
    await until((told) => bob.subscribe("members", told), () => look()?.n == 50);
    expect(look()).toEqual({ n: 50 });
    expect(values.filter((it) => it != 0)).toEqual([50]);
  });

  it("keeps an un-awaited send from being an unhandled rejection", async () => {
    const unhandled: unknown[] = [];
    const take = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", take);
    const client = newClient(url);
    const room = client.room(roomName());
    void room.send("n", 1);
    void room.action("x");
    void room.join();
    void room.send("n", "x".repeat(2_000_000));
    client.close();
    void room.send("n", 2);
    void room.join();
    // Node tells of them before its loop goes on.
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", take);
    expect(unhandled).toEqual([]);
  });
});

describe("where the log can't help", () => {
  it("tells of a gap where the log was too short", async () => {
    const name = roomName("short");
    const ada = newClient(wired);
    const room = ada.room(name);
    const { heard, all } = hear(room);
    const gaps: any[] = [];
    room.subscribe("gap", (gap) => gaps.push(gap));
    await soon(room.join());
    const bob = newClient(url).room(name);
    await soon(bob.join());
    await soon(bob.send("n", 1));
    await soon(all(1));
    const since = room.position;
    wire.down = true;
    wire.cut();
    await away(ada);
    for (const n of upTo(20)) await soon(bob.send("n", 100 + n));
    wire.down = false;
    ada.wake();
    await joined(room);
    expect(gaps).toMatchObject([{ since }]);
    await soon(bob.send("n", 2));
    await soon(all(2));
    expect(heard).toEqual([1, 2]);
    expect(ada.stats).toMatchObject({ gaps: 1, recovered: 0 });
  });

  it("tells the truth after the server was killed, and loses nothing after that", async () => {
    let second = await startServer();
    wire.to(second.port);
    try {
      const ada = newClient(wired);
      const room = ada.room("chat:1");
      const { heard, all } = hear(room);
      const gaps: any[] = [];
      room.subscribe("gap", (gap) => gaps.push(gap));
      await soon(room.join());
      await soon(room.send("n", 1));
      const { epoch } = room.position!;
      wire.down = true;
      await second.stop("SIGKILL");
      await away(ada);
      const waiting = [2, 3].map((n) => room.send("n", n));
      second = await startServer();
      wire.to(second.port);
      wire.down = false;
      ada.wake();
      await soon(Promise.all(waiting));
      await soon(all(3));
      expect(heard).toEqual([1, 2, 3]);
      expect(gaps.length).toBe(1);
      expect(room.position!.epoch).not.toBe(epoch);
      expect(ada.status).toEqual({ state: "connected", resumed: false });
    } finally {
      await second.stop();
    }
  });

  it("goes on from a position that was stored", async () => {
    const name = roomName();
    const bob = newClient(url).room(name);
    await soon(bob.join());
    await soon(bob.send("n", 1));
    const since = bob.position!;
    await soon(bob.send("n", 2));
    const room = newClient(url).room(name);
    const { heard, all } = hear(room);
    await soon(room.join({ since }));
    await soon(all(1));
    expect(heard).toEqual([2]);
  });
});

describe("direct messages", () => {
  it("wait for their receiver, and come once and in order", async () => {
    const ada = newClient(wired);
    ada.connect();
    const bob = newClient(url);
    bob.connect();
    await Promise.all([connected(ada), connected(bob)]);
    const heard: unknown[] = [];
    ada.on("n", (data, { from }) => heard.push([data, from]));
    ada.subscribe("chat", (data) => heard.push(data));
    await soon(bob.direct({ client: ada.id }, "n", 1));
    wire.down = true;
    wire.cut();
    await away(ada);
    await soon(bob.direct({ client: ada.id }, "n", 2));
    expect(await soon(bob.chat({ client: ada.id }, "psst"))).toMatchObject({ seq: 3 });
    wire.down = false;
    ada.wake();
    await until((told) => ada.subscribe("any", told), () => heard.length == 3);
    expect(heard).toEqual([[1, bob.id], [2, bob.id], "psst"]);
    expect((await refusal(bob.chat({ client: "nobody" }, "x"))).code).toBe("recipient_not_found");
    expect(await soon(bob.chat({ client: ada.id }, "again"))).toMatchObject({ seq: 5 });
  });
});

describe("tokens", () => {
  const secret = "a secret of more than thirty-two bytes";

  it("are renewed on the connection; a wrong one ends it", async () => {
    const guarded = await startServer({ "auth.hs256_secret": secret, "auth.anonymous": "false", "auth.leeway": "0s" });
    wire.to(guarded.port);
    try {
      let tokens = 0;
      let third!: () => void;
      const renewedTwice = new Promise<void>((resolve) => (third = resolve));
      const ada = newClient(wired, {
        getToken: () => {
          if (++tokens == 3) third();
          return makeToken(secret, "--user", "ada", "--ttl", "4s");
        },
      });
      const room = ada.room("chat:1");
      await soon(room.join());
      expect(room.self?.id).toBe("ada");
      const { connections } = wire;
      const errors: unknown[] = [];
      ada.subscribe("error", (error) => errors.push(error));
      // A token is renewed when four fifths of its time are over: this is past the first one's end.
      await soon(renewedTwice, "a third token");
      await soon(room.send("n", 1));
      expect(wire.connections).toBe(connections);
      expect(errors).toEqual([]);

      const eve = newClient(guarded.url, { getToken: () => "no.such.token" });
      expect((await refusal(eve.room("chat:1").join())).code).toBe("unauthorized");
      expect(eve.status).toMatchObject({ state: "closed", reason: { code: "unauthorized" } });
      const out = newClient(guarded.url, {
        getToken() {
          throw new UnauthorizedError();
        },
      });
      expect((await refusal(out.room("chat:1").join())).code).toBe("unauthorized");
      expect(out.status.state).toBe("closed");
    } finally {
      await guarded.stop();
    }
  });
});

describe("the clock", () => {
  it("is the server's", async () => {
    const client = newClient(url);
    client.connect();
    await connected(client);
    expect(client.rtt).toBeGreaterThanOrEqual(0);
    expect(Math.abs(client.serverNow() - Date.now())).toBeLessThan(1_000);
  });
});
