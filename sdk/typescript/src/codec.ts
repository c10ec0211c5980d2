import type { ClientEnvelope, ServerEnvelope } from "./types.js";

/**
 * Turns messages into what a WebSocket carries, and back. The envelopes are the JSON forms of the protocol, whatever
 * the format is on the wire, but for payloads with `payload_kind: "bytes"`: to `encode` they are a `Uint8Array`, and
 * `decode` gives a `Uint8Array` or the text in base64.
 */
export interface Codec {
  /** The WebSocket's subprotocol. */
  readonly subprotocol: string;
  /** One message: a text frame or a binary one. */
  encode(message: ClientEnvelope): string | Uint8Array;
  /** One frame. Throws if it can't be read. A `type` that is not known is no error: it is ignored. */
  decode(data: string | ArrayBuffer): ServerEnvelope;
}

/** JSON, the default. */
export const json: Codec = {
  subprotocol: "gameproto.v1.json",
  encode: (message) =>
    JSON.stringify(
      message.payload instanceof Uint8Array
        ? { ...message, payload: btoa(message.payload.reduce((text, byte) => text + String.fromCharCode(byte), "")) }
        : message,
    ),
  decode: (data) => {
    // Nothing that an application does with a value so deep would come back.
    if (/([[{][^[\]{}]*){999}/.test(data as string)) throw RangeError("nested too deeply");
    return JSON.parse(data as string);
  },
};
