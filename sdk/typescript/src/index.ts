/**
 * The client of Roomcast: rooms, presence and events over one WebSocket. Nothing is lost or comes twice over a broken
 * connection, and where that can't be kept, it is told.
 *
 * ```ts
 * import { Client } from "roomcast";
 *
 * const client = new Client("wss://example.com/ws");
 * const room = client.room("chat:42", { nickname: "Ada" });
 * room.on("message", (data, { from }) => console.log(from, data));
 * await room.join();
 * await room.send("message", { text: "hello" });
 * ```
 *
 * @packageDocumentation
 */
export { Client } from "./client.js";
export { Room } from "./room.js";
export { RoomcastError, UnauthorizedError } from "./errors.js";
export { json } from "./codec.js";
export type { Codec } from "./codec.js";
export type * from "./types.js";
