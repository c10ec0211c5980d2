// Protobuf's wire: varints, doubles, lengths; and messages by their schemas. Integers are at most 2^53 − 1.

import type { FieldType, Message, Schema } from "./schema.js";

const [VARINT, DOUBLE, LENGTH, FLOAT] = [0, 1, 2, 5] as const;
const TWO_32 = 2 ** 32;
const encoder = new TextEncoder();
/** A text's bytes. Half of a character has none: the encoder would put another one in its place. */
const textBytes = (text: string): Uint8Array => {
  if (/\p{Surrogate}/u.test(text)) throw new TypeError("half of a surrogate pair");
  return encoder.encode(text);
};
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Writes fields into a buffer that grows. What has its default value is left out. */
export class Writer {
  _buffer = new Uint8Array(128);
  _length = 0;

  _finish(): Uint8Array {
    return this._buffer.subarray(0, this._length);
  }

  /** A number or 0 and 1; `always` writes a 0 too. Negative ones take ten bytes. */
  _uint(field: number, value: unknown, always = false): void {
    const number = Number(value ?? 0);
    if (!Number.isSafeInteger(number)) throw new RangeError(`not an integer of at most 2^53 - 1: ${String(value)}`);
    if (number === 0 && !always) return;
    this._tag(field, VARINT);
    let low = number >>> 0;
    let high = Math.floor(number / TWO_32) >>> 0;
    const bytes: number[] = [];
    while (high > 0 || low > 127) {
      bytes.push((low & 127) | 128);
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this._raw([...bytes, low]);
  }

  _double(field: number, value: unknown): void {
    const number = Number(value ?? 0);
    if (number === 0) return;
    this._tag(field, DOUBLE);
    this._reserve(8);
    new DataView(this._buffer.buffer).setFloat64(this._length, number, true);
    this._length += 8;
  }

  _text(field: number, value: unknown): void {
    if (value != null && value !== "") this._bytes(field, textBytes(String(value)));
  }

  _bytes(field: number, bytes: Uint8Array): void {
    this._tag(field, LENGTH);
    this._varint(bytes.length);
    this._raw(bytes);
  }

  _raw(bytes: ArrayLike<number> | string): void {
    const added = typeof bytes === "string" ? textBytes(bytes) : bytes;
    this._reserve(added.length);
    this._buffer.set(added, this._length);
    this._length += added.length;
  }

  /** The fields of a message, in the order of their numbers. */
  _fields(schema: Schema, message: Message): void {
    for (const [number, [name, type, mark]] of Object.entries(schema)) {
      const value = message[name];
      if (value == null) continue;
      if (mark !== "*") this._field(Number(number), type, value, mark === "!");
      else for (const each of value as unknown[]) this._field(Number(number), type, each, true);
    }
  }

  _field(number: number, type: FieldType, value: unknown, always: boolean): void {
    if (type === "text" && always) this._bytes(number, textBytes(String(value)));
    else if (type === "text") this._text(number, value);
    else if (type === "double") this._double(number, value);
    else if (type === "bytes") this._bytes(number, value as Uint8Array);
    else if (type === "json" || type === "texts") this._map(number, type, value as Message);
    else if (typeof type === "object") {
      const inner = new Writer();
      inner._fields(type, value as Message);
      this._bytes(number, inner._finish());
    } else this._uint(number, value, always);
  }

  /** A map, sorted by its keys. In one to JSON texts null is an empty text: it removes the key. */
  _map(number: number, type: "json" | "texts", map: Message): void {
    for (const key of Object.keys(map).sort()) {
      const value = map[key];
      if (value === undefined) continue;
      const asJson = type === "json" || typeof value !== "string";
      const inner = new Writer();
      inner._bytes(1, textBytes(key));
      inner._bytes(2, textBytes(type === "json" && value === null ? "" : asJson ? JSON.stringify(value) : value));
      this._bytes(number, inner._finish());
    }
  }

  _tag(field: number, wireType: number): void {
    this._varint(field * 8 + wireType);
  }

  /** One below 2^31. */
  _varint(value: number): void {
    this._reserve(5);
    for (; value > 127; value >>>= 7) this._buffer[this._length++] = (value & 127) | 128;
    this._buffer[this._length++] = value;
  }

  _reserve(bytes: number): void {
    const needed = this._length + bytes;
    if (needed <= this._buffer.length) return;
    const old = this._buffer;
    this._buffer = new Uint8Array(Math.max(needed, 2 * old.length));
    this._buffer.set(old);
  }
}

/** Reads fields. Throws on what is cut short or no Protobuf. */
export class Reader {
  _data: Uint8Array;
  _at = 0;
  _wireType = 0;

  constructor(data: Uint8Array) {
    this._data = data;
  }

  _more(): boolean {
    return this._at < this._data.length;
  }

  /** The number of the next field. Its value has to be read or skipped. */
  _tag(): number {
    const tag = this._uint(true);
    this._wireType = tag & 7;
    if (tag < 8) throw new RangeError("no such field: 0");
    return Math.floor(tag / 8);
  }

  _uint(anyway = false): number {
    const [low, high] = this._varint(anyway);
    return high * TWO_32 + low;
  }

  _int(): number {
    const [low, high] = this._varint();
    return (high | 0) * TWO_32 + low;
  }

  _varint(anyway = false): [low: number, high: number] {
    if (!anyway) this._expect(VARINT);
    let [low, high] = [0, 0];
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this._byte();
      const bits = byte & 127;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) [low, high] = [low | (bits << 28), bits >> 4];
      else high |= bits << (shift - 32);
      if (byte < 128) return [low >>> 0, high >>> 0];
    }
    throw new RangeError("a varint of more than ten bytes");
  }

  _double(): number {
    this._expect(DOUBLE);
    const bytes = this._take(8);
    return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true);
  }

  _bytes(): Uint8Array<ArrayBuffer> {
    this._expect(LENGTH);
    return this._take(this._uint(true));
  }

  _text(): string {
    return decoder.decode(this._bytes());
  }

  /** All that is left, as text. */
  _rest(): string {
    return decoder.decode(this._take(this._data.length - this._at));
  }

  _skip(): void {
    if (this._wireType === VARINT) this._uint();
    else if (this._wireType === DOUBLE) this._take(8);
    else if (this._wireType === LENGTH) this._bytes();
    else if (this._wireType === FLOAT) this._take(4);
    else throw new RangeError(`no such wire type: ${this._wireType}`);
  }

  /** A message in its JSON form: what is unset has its default, but for what is left out then. */
  _fields(schema: Schema): Message {
    const message: Message = {};
    for (const [name, type, mark] of Object.values(schema)) {
      if (mark !== "?" && mark !== "!") message[name] = mark === "*" ? [] : initial(type);
    }
    while (this._more()) {
      const field = schema[this._tag()];
      if (!field) {
        this._skip();
        continue;
      }
      const [name, type, mark] = field;
      if (type === "json" || type === "texts") {
        const [key, value] = this._entry(type);
        // Not by `=`: a key may be "__proto__".
        Object.defineProperty((message[name] ??= {}), key, { value, enumerable: true, configurable: true, writable: true });
      } else if (mark === "*") (message[name] as unknown[]).push(this._value(type));
      else message[name] = this._value(type);
    }
    return message;
  }

  _value(type: FieldType): unknown {
    if (type === "text") return this._text();
    if (type === "bytes") return this._bytes();
    if (type === "double") return this._double();
    if (type === "bool") return this._uint() > 0;
    if (type === "int") return this._int();
    return typeof type === "object" ? new Reader(this._bytes())._fields(type) : this._uint();
  }

  _entry(type: "json" | "texts"): [key: string, value: unknown] {
    const { key, value } = new Reader(this._bytes())._fields(ENTRY) as { key: string; value: string };
    return [key, type === "texts" ? value : value === "" ? null : JSON.parse(value)];
  }

  _byte(): number {
    const byte = this._data[this._at++];
    if (byte === undefined) throw new RangeError("a message that is cut short");
    return byte;
  }

  _take(length: number): Uint8Array<ArrayBuffer> {
    const end = this._at + length;
    if (end > this._data.length) throw new RangeError("a message that is cut short");
    const taken = this._data.subarray(this._at, end) as Uint8Array<ArrayBuffer>;
    this._at = end;
    return taken;
  }

  _expect(wireType: number): void {
    if (this._wireType !== wireType) throw new RangeError(`a field of wire type ${this._wireType} in the place of ${wireType}`);
  }
}

const ENTRY: Schema = { 1: ["key", "text"], 2: ["value", "text"] };

function initial(type: FieldType): unknown {
  if (type === "text") return "";
  if (type === "bool") return false;
  if (type === "json" || type === "texts") return {};
  return typeof type === "object" ? new Reader(new Uint8Array())._fields(type) : 0;
}
