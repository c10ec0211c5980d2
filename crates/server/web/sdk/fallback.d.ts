/* roomcast 0.1.0, Apache-2.0 OR MIT */
/**
 * For networks that let no WebSocket through: the same protocol over an event stream and requests.
 *
 * @packageDocumentation
 */
import type { WebSocketLike } from "./roomcast.js";
/** How a connection is had. */
export type Transport = "websocket" | "event-stream";
/** Options of `fallback`. */
export interface FallbackOptions {
    /** The WebSocket to try first, where there is no global one. `null`: none is tried. */
    WebSocket?: WebSocketLike | null | undefined;
    /** In place of the global one, for instance to send cookies to another origin. */
    fetch?: typeof fetch | undefined;
    /** Milliseconds until a WebSocket that does not open is given up; 4,000 if left out. */
    openMs?: number | undefined;
    /** Milliseconds until a WebSocket is tried again, each time twice as long up to an hour; a minute if left out. */
    againMs?: number | undefined;
    /** Called when a connection is open. */
    onOpen?: ((transport: Transport) => void) | undefined;
}
/**
 * What to give a client as its `WebSocket`. It is one where one can be had. Where none can, but an event stream can, it is
 * that, and a WebSocket is tried again later.
 *
 * ```ts
 * import { Client } from "roomcast";
 * import { fallback } from "roomcast/fallback";
 *
 * const client = new Client("wss://example.com/ws", { WebSocket: fallback() });
 * ```
 *
 * The event stream is at `sse`, and requests go to `send`, both beside the WebSocket's address. Both speak JSON: a client
 * with another codec has WebSockets alone.
 */
export declare function fallback(options?: FallbackOptions): WebSocketLike;
