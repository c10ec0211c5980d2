// The lists of tests/odd, which every client's tests run: what no good server sends, and odd arguments. None outlives itself.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { Client, RoomcastError, type Room } from "../src/index.js";
import { BYTES, ENVELOPE, KINDS, SERVER_PAYLOADS, TYPES } from "../src/protobuf/schema.js";
import { Reader, Writer } from "../src/protobuf/wire.js";
import { protobuf } from "../src/protobuf.js";
import { FakeSocket, turn, welcome } from "./fake.js";
import { closeAll, newClient, type Server, soon, startServer } from "./server.js";

const read = (file: string) => JSON.parse(readFileSync(fileURLToPath(new URL(`../../../tests/odd/${file}`, import.meta.url)), "utf8"));

interface Odd {
  name: string;
  format: "json" | "protobuf";
  text?: string;
  hex?: string;
  fill?: { text?: string; times: number; middle?: string; and?: string };
  when?: "hello";
  then: "told" | "quiet" | "delivered" | "any";
}
const MESSAGES: Odd[] = read("server_messages.json").messages;

function frameOf({ text, hex, fill }: Odd): string | ArrayBuffer {
  if (hex !== undefined) return Uint8Array.from(Buffer.from(hex, "hex")).buffer;
  if (!fill) return text!;
  const filled = (fill.text ?? "").repeat(fill.times) + (fill.middle ?? "") + (fill.and ?? "").repeat(fill.times);
  return text!.replace("§", () => filled);
}

/** A server's message on the wire. */
function encoded(format: string, { type, payload, payload_kind, ...rest }: any): string | ArrayBuffer {
  if (format == "json") return JSON.stringify({ type, ...rest, payload, payload_kind });
  const content = new Writer();
  if (SERVER_PAYLOADS[type]) content._fields(SERVER_PAYLOADS[type], payload);
  else content._raw(JSON.stringify(payload));
  const kind = KINDS.indexOf(payload_kind ?? "json");
  const writer = new Writer();
  writer._fields(ENVELOPE, { ...rest, type: TYPES.indexOf(type), payload: content._finish(), payload_kind: kind || BYTES });
  return Uint8Array.from(writer._finish()).buffer;
}

/** Reads what a client of either format sends. */
class Socket extends FakeSocket {
  override send(data: any) {
    if (typeof data == "string") return super.send(data);
    const message: any = new Reader(data)._fields(ENVELOPE);
    this.sent.push({ ...message, type: TYPES[message.type as number] });
  }
}

/** A client, and a server that says what it is told to. */
class Peer {
  client: Client<any>;
  room: Room<any>;
  events: any[] = [];
  told: string[] = [];
  private offset = 100;
  private answered = 0;

  constructor(readonly format: "json" | "protobuf", readonly name = "r") {
    this.client = new Client("ws://host/ws", { WebSocket: Socket, ...(format == "protobuf" && { codec: protobuf }) });
    this.client.subscribe("error", ({ code }) => this.told.push(code));
    this.room = this.client.room(name);
    this.room.subscribe("any", (event) => this.events.push(event));
    this.room.join().catch(() => {});
  }
  get socket() {
    return FakeSocket.all.at(-1)!;
  }
  takes(frame: string | ArrayBuffer) {
    this.socket.onmessage({ data: frame as string });
  }
  says(message: object) {
    this.takes(encoded(this.format, { timestamp: 1, ...message }));
  }
  welcomed() {
    this.says({ type: "welcome", payload: { ...welcome, client_id: "me", server_time: 1 } });
    const payload = { members: [], total: 1, player_num: 1, player_id: "me", epoch: "e", offset: 0, mode: "relay", presence: "full" };
    this.says({ type: "joined", room_id: this.name, payload: { ...payload, recovered: false, repeats_possible: false } });
  }
  /** What has to work, whatever came before. */
  async goesOn() {
    const before = this.events.length;
    this.says({ type: "chat", room_id: "r", from_client_id: "c3", payload: "on", offset: ++this.offset, epoch: "e" });
    expect(this.events.slice(before).map(({ data }) => data)).toEqual(["on"]);
    const sent = this.room.send("n", 1);
    const seq = ++this.answered;
    await vi.advanceTimersByTimeAsync(7_000);
    expect(this.socket.of("event").at(-1).seq).toBe(seq);
    this.says({ type: "ack", room_id: "r", payload: { acks: [{ seq, offset: ++this.offset }] } });
    expect(await sent).toEqual({ seq, offset: this.offset });
    expect([this.client.status.state, this.room.status, FakeSocket.all.length]).toEqual(["connected", "joined", 1]);
  }
  check(odd: Odd) {
    const [told, events] = [this.told.length, this.events.length];
    this.takes(frameOf(odd));
    const says = this.told.slice(told).filter((code) => code == "unreadable").length;
    const delivered = this.events.length - events;
    if (odd.then == "told") expect([says, delivered]).toEqual([1, 0]);
    if (odd.then == "quiet") expect(says).toBe(0);
    if (odd.then == "delivered") expect([says, delivered]).toEqual([0, 1]);
  }
}

describe("what no good server sends", () => {
  beforeEach(() => {
    FakeSocket.all = [];
    vi.useFakeTimers();
  });
  afterEach(() => void vi.useRealTimers());

  it.each(MESSAGES.map((odd) => [odd.name, odd] as const))("%s", async (_, odd) => {
    const peer = new Peer(odd.format);
    await turn();
    peer.socket.onopen();
    if (odd.when == "hello") peer.check(odd);
    peer.welcomed();
    if (odd.when != "hello") peer.check(odd);
    await peer.goesOn();
  });

  it.each(["json", "protobuf"] as const)("all of it, one after the other, in %s", async (format) => {
    const peer = new Peer(format);
    await turn();
    peer.socket.onopen();
    const all = MESSAGES.filter((odd) => odd.format == format);
    for (const odd of all) if (odd.when == "hello") peer.takes(frameOf(odd));
    peer.welcomed();
    let offset = 0;
    for (const odd of all) {
      if (odd.when == "hello") continue;
      peer.takes(frameOf(odd));
      peer.says({ type: "chat", room_id: "r", from_client_id: "c3", payload: "good", offset: 10 + ++offset, epoch: "e" });
      expect(peer.events.at(-1), odd.name).toMatchObject({ data: "good", offset: 10 + offset });
      if (offset > 60) break;
    }
    await peer.goesOn();
  });
});

describe("no value in any place of a good message throws", () => {
  beforeEach(() => {
    FakeSocket.all = [];
    vi.useFakeTimers();
  });
  afterEach(() => void vi.useRealTimers());

  const VALUES: unknown[] = [null, true, 5, -1, 1.5, 1e300, "", "x", "\ud800", [], [null], [5], {}, { toString: 1, length: 5 }, undefined];
  /** The value with another one in each of its places, and then without. */
  function* changed(value: any): Generator<unknown> {
    yield* VALUES;
    if (!value || typeof value != "object") return;
    for (const key of Object.keys(value)) {
      for (const other of changed(value[key])) yield Array.isArray(value) ? value.map((it, at) => (String(at) == key ? other : it)) : { ...value, [key]: other };
    }
  }
  const vectors: { name: string; json: string; protobuf: string }[] = JSON.parse(readFileSync(fileURLToPath(new URL("../../../tests/vectors/server.json", import.meta.url)), "utf8")).vectors;

  it.each(vectors.map(({ name, json }) => [name, json] as const))("%s", async (_, json) => {
    const message = JSON.parse(json.replace(/"room_id":"[^"]*"/, '"room_id":"r"'));
    for (const odd of changed(message)) {
      const text = JSON.stringify(odd);
      if (text === undefined) continue;
      for (const welcomed of [true, false]) {
        const peer = new Peer("json");
        await turn();
        peer.socket.onopen();
        if (welcomed) peer.welcomed();
        // Asked for, so that it may be an answer.
        const asked = peer.room.history().next().catch(() => {});
        const leave = peer.room.leave();
        await turn();
        peer.takes(text);
        await turn();
        peer.client.close();
        await Promise.all([asked, leave]);
      }
    }
  });

  it.each(vectors.map(({ name, protobuf }) => [name, protobuf] as const))("nor any byte of %s", async (_, hex) => {
    const good = Buffer.from(hex.replace("726f6f6d2d313233", "7272727272727272"), "hex"); // room-123
    for (let at = 0; at < good.length; at++) {
      const changed = [1, 0x80, 0xff].map((bits) => good.map((byte, place) => (place == at ? byte ^ bits : byte)));
      for (const bytes of [...changed, good.subarray(0, at), Buffer.concat([good.subarray(0, at), good.subarray(at + 1)])]) {
        const peer = new Peer("protobuf", "rrrrrrrr");
        await turn();
        peer.socket.onopen();
        peer.welcomed();
        peer.takes(Uint8Array.from(bytes).buffer);
        peer.client.close();
      }
    }
  });
});

interface Call {
  name: string;
  call: string;
  with: any;
  then: "refused" | "refused_here" | "works" | "any";
}
const CALLS: Call[] = read("arguments.json").calls;

/** What JSON can't hold. */
function made(value: any): any {
  if (Array.isArray(value)) return value.map(made);
  if (!value || typeof value != "object") return value;
  switch (value.$) {
    case "nan":
      return NaN;
    case "infinity":
      return Infinity;
    case "cycle": {
      const cycle: any = {};
      return (cycle.self = cycle);
    }
    case "not_json":
      return () => {};
    case "nested": {
      let it: unknown[] = [];
      for (let n = 1; n < value.depth; n++) it = [it];
      return it;
    }
    case "text":
      return value.of.repeat(value.times);
    case "digits":
      return Number("9".repeat(value.times));
    case "half":
      return "\ud800";
    case "half_key":
      return { "\ud800": 1 };
  }
  return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, made(it)]));
}

describe("odd arguments", () => {
  let server: Server;
  let client: Client<any>;
  let room: Room<any>;
  let sent = 0;

  class Counting extends WebSocket {
    override send(...args: any[]) {
      sent++;
      return super.send(...(args as [any]));
    }
  }

  beforeAll(async () => {
    // All of it comes within seconds.
    server = await startServer({ "kinds.default.mode": "relay", "limits.max_offences": "0", "limits.messages_per_second": "0" });
    client = newClient(server.url, { WebSocket: Counting });
    room = client.room("r");
    await soon(room.join());
  });
  afterAll(async () => {
    closeAll();
    await server.stop();
  });

  async function call({ call, with: given }: Call): Promise<unknown> {
    const it = made(given);
    if (call == "join") {
      const { room: name, since, ...options } = it;
      const other = client.room(name, options);
      await other.join({ since });
      return other.leave();
    }
    if (call == "chat") return room.chat(it.payload);
    if (call == "event") return room.send(it.name, it.payload);
    if (call == "signal") return room.send(it.name, it.payload, { ephemeral: true });
    if (call == "direct") {
      const to = { ...(it.client !== undefined && { client: it.client == "self" ? client.id : it.client }), ...(it.user !== undefined && { user: it.user }) };
      return client.chat(to as any, it.payload);
    }
    if (call == "action") return room.action(it.action, it.keys);
    if (call == "presence") return room.updatePresence(it.keys);
    const { after, before } = it;
    return room.history({ from: after ?? before, reverse: before !== undefined }).next();
  }

  const calls = CALLS.filter(({ call, name }) => call != "members" && name != "history_both");
  it.each(calls.map((it) => [it.name, it] as const))("%s", async (_, it) => {
    const errors: string[] = [];
    const stops = [client, room].map((of: any) => of.subscribe("error", (error: RoomcastError) => errors.push(error.code)));
    const connections = client.stats.reconnects;
    const [before, next] = [sent, [(room as any)._outbox._nextSeq, (client as any)._outbox._nextSeq]];
    let refusal: any;
    try {
      await soon(call(it), it.name, 5_000);
    } catch (error) {
      refusal = error;
    }
    if (it.then == "refused_here") {
      expect(refusal).toBeDefined();
      expect(sent).toBe(before);
      expect([(room as any)._outbox._nextSeq, (client as any)._outbox._nextSeq]).toEqual(next);
    }
    // What comes back after this is told first.
    await soon(room.send("n", 1));
    await soon(client.chat({ client: client.id }, "x"));
    if (it.then == "refused") expect(refusal ?? errors[0]).toBeDefined();
    if (it.then == "works") expect([refusal, errors]).toEqual([undefined, []]);
    expect(String(refusal)).not.toContain("too late");
    expect([client.status.state, client.stats.reconnects, room.status]).toEqual(["connected", connections, "joined"]);
    stops.forEach((stop) => stop());
  });
});

describe("an event that can't be read", () => {
  beforeEach(() => {
    FakeSocket.all = [];
    vi.useFakeTimers();
  });
  afterEach(() => void vi.useRealTimers());

  it.each([
    ["names its room", '{"type":"event","room_id":"r","offset":5,"epoch":"e","payload":1}', 1],
    ["names no room", '{"type":"chat","offset":"x"}', 1],
    ["says nothing at all", "null", 1],
    ["is of another room", '{"type":"chat","room_id":"other","offset":"x"}', 0],
    ["is no event", '{"type":"ack","room_id":"r"}', 0],
  ])("is told as a gap: it %s", async (_, frame, gaps) => {
    const peer = new Peer("json");
    const heard: unknown[] = [];
    peer.room.subscribe("gap", (gap) => heard.push(gap));
    await turn();
    peer.socket.onopen();
    peer.welcomed();
    peer.takes(frame);
    expect(peer.told).toContain("unreadable");
    expect(heard.length).toBe(gaps);
    await peer.goesOn();
  });
});
