/**
 * Protobuf in the place of JSON: smaller messages, and bytes without base64 on the wire.
 *
 * ```ts
 * import { Client } from "roomcast";
 * import { protobuf } from "roomcast/protobuf";
 *
 * const client = new Client("wss://example.com/ws", { codec: protobuf });
 * ```
 *
 * The application sees the same messages in both formats. Members of a room may use different ones.
 *
 * @packageDocumentation
 */

import type { ClientEnvelope, Codec, ServerEnvelope } from "./index.js"; // types alone: no second copy of the client
import { Reader, Writer } from "./protobuf/wire.js";
import { BYTES, CLIENT_PAYLOADS, JSON_TEXT, ENVELOPE, KINDS, type Message, SERVER_PAYLOADS, TEXT, TYPES } from "./protobuf/schema.js";

/** The subprotocol `gameproto.v1.protobuf`: binary frames, each one `gameproto.Message`. */
export const protobuf: Codec = {
  subprotocol: "gameproto.v1.protobuf",
  encode: (message) => encode(message),
  decode: (data) => {
    if (typeof data === "string") throw new TypeError("a text frame on a Protobuf connection");
    return decode(new Uint8Array(data)) as unknown as ServerEnvelope;
  },
};

type Envelope = Message & { type: string; payload?: unknown };

function encode(message: ClientEnvelope): Uint8Array {
  const { type, payload, payload_kind, to_client_id, room_id, seq, name, ephemeral, no_echo, to_user_id, request_id } = message as Envelope;
  const number = TYPES.indexOf(type);
  if (number < 1) throw new TypeError(`no such type of message: ${type}`);
  const schema = CLIENT_PAYLOADS[type];
  const content = new Writer();
  let kind = 0;
  if (schema) content._fields(schema, type === "game_action" ? withParams(payload as Message) : ((payload ?? {}) as Message));
  else if (payload !== undefined) {
    kind = payload instanceof Uint8Array ? BYTES : Math.max(1, KINDS.indexOf((payload_kind ?? "json") as string));
    content._raw(kind === BYTES ? bytesOf(payload) : kind === TEXT ? String(payload) : JSON.stringify(payload));
  }
  const bytes = content._finish();
  const writer = new Writer();
  writer._fields(ENVELOPE, {
    type: number,
    to_client_id,
    room_id,
    payload: bytes.length > 0 ? bytes : undefined,
    seq,
    payload_kind: kind,
    name,
    ephemeral,
    no_echo,
    to_user_id,
    request_id,
  });
  return writer._finish();
}

/** An action whose keys that the schema lacks are in `params`: strings as they are, others as their JSON text. */
function withParams({ action, position, target_id, params, ...own }: Message): Message {
  for (const key of Object.keys(own)) {
    if (params && Object.hasOwn(params as Message, key)) throw new TypeError(`${key} is in the action's params and beside them`);
  }
  return { action, position, target_id, params: { ...(params as Message), ...own } };
}

function decode(data: Uint8Array): Envelope {
  const message = new Reader(data)._fields(ENVELOPE) as Envelope;
  const kind = (message["payload_kind"] ?? 0) as number;
  if (!message["type"]) throw new TypeError("a message without a type");
  const type = (message.type = TYPES[message["type"] as unknown as number] ?? "unknown");
  const payload = decodePayload(type, (message.payload ?? new Uint8Array()) as Uint8Array, kind);
  delete message.payload;
  delete message["payload_kind"];
  if (payload !== undefined) message.payload = payload;
  if (kind > 1) message["payload_kind"] = KINDS[kind] ?? kind;
  return message;
}

function decodePayload(type: string, payload: Uint8Array, kind: number): unknown {
  const schema = SERVER_PAYLOADS[type];
  const reader = new Reader(payload);
  if (schema) {
    const message = reader._fields(schema);
    if (type === "history") message["events"] = (message["events"] as Uint8Array[]).map(decode);
    if (type === "presence") {
      // In a room that only counts it is of nobody.
      if (!message["player_id"]) return { total: message["total"] };
      delete message["total"];
    }
    return message;
  }
  if (payload.length === 0) return kind === TEXT ? "" : kind === BYTES ? payload : undefined;
  if (kind === JSON_TEXT) return JSON.parse(reader._rest());
  return kind === TEXT || (!kind && type === "chat") ? reader._rest() : payload.slice();
}

/** In the envelope's JSON form bytes are base64. */
function bytesOf(payload: unknown): Uint8Array {
  return payload instanceof Uint8Array ? payload : Uint8Array.from(atob(String(payload)), (character) => character.charCodeAt(0));
}
