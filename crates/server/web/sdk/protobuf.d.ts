/* roomcast 0.1.0, Apache-2.0 OR MIT */
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
import type { Codec } from "./roomcast.js";
/** The subprotocol `gameproto.v1.protobuf`: binary frames, each one `gameproto.Message`. */
export declare const protobuf: Codec;
