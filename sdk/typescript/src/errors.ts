import type { ErrorPayload } from "./types.js";

/**
 * Something was refused, or could not be done.
 *
 * `code` is stable: one of the server's ([protocol.md](../../../docs/protocol.md#errors)), the name of a close code, or
 * one of the client's own:
 *
 * | code | meaning |
 * |---|---|
 * | `not_connected` | an action or ephemeral event while there is no connection: it was not sent. Or no connection can be made |
 * | `not_joined` | the room is not joined: `room.join()` comes first |
 * | `already_joined` | the room is joined, and past the place that it is to be joined from |
 * | `outbox_full` | too many bytes wait to be sent; this message is not among them |
 * | `expired`, `aborted` | the message's time ran out, or its signal said so: it was not done |
 * | `unconfirmed` | the message was sent, and nobody will say what became of it: it may have been done |
 * | `left` | the room was left before the message was sent |
 * | `closed` | the client was closed |
 * | `rate_limited` | an action or ephemeral event that comes too soon after others: it was not sent |
 * | `invalid_value`, `invalid_name` | what can't be encoded, or no recipient: nothing was sent |
 * | `too_large` | more than the server takes in a message: nothing was sent |
 * | `unreadable` | the server's answer can't be read |
 * | `connection_lost` | the connection broke (a reason of `reconnecting`) |
 */
export class RoomcastError extends Error {
  override name = "RoomcastError";

  constructor(
    /** A stable name for what went wrong. */
    readonly code: string,
    message?: string,
    /** Trying again may help after this many milliseconds. */
    readonly retryAfterMs?: number,
  ) {
    super(message || code);
  }
}

/** Thrown by `getToken`: there is no token for this user, and asking again won't help. The client closes. */
export class UnauthorizedError extends RoomcastError {
  constructor(message?: string) {
    super("unauthorized", message);
  }
}

/** As an error of this kind: what an application's code, or the platform, has thrown. */
export const asError = (error: unknown, code = "invalid_value"): RoomcastError =>
  error instanceof RoomcastError ? error : new RoomcastError(code, `${error}`);

/** Somebody who waits. */
export type Done<T = any> = (error?: RoomcastError, value?: T) => void;

/** A promise that is no unhandled rejection when nobody awaits it. */
export const promise = <T>(run: (done: Done<T>) => void): Promise<T> => {
  const it = new Promise<T>((resolve, reject) => {
    try {
      run((error, value) => (error ? reject(error) : resolve(value!)));
    } catch (error) {
      reject(asError(error));
    }
  });
  it.catch(() => {});
  return it;
};

/** A copy, as JSON says it: the application may change its object. Throws what JSON can't say. */
export const copyOf = (it: unknown): any =>
  it === undefined
    ? it
    : JSON.parse(
        JSON.stringify(it, (_, it) => {
          if (/function|number/.test(typeof it) && !Number.isFinite(it)) throw TypeError("not JSON");
          return it;
        }),
      );

/** Whether a text has half of a character, which no server takes in a name. */
export const isTorn = (it: string): boolean => /\p{Surrogate}/u.test(it);

/** Calls `then` when the signal says so. Returns what ends that: a signal may live longer than what it is for. */
export const onAbort = (signal: AbortSignal | undefined, then: () => void): (() => void) => {
  signal?.addEventListener("abort", then);
  return () => signal?.removeEventListener("abort", then);
};

/** A message was given to a connection, and nobody will say what became of it. */
export const unconfirmed = (): RoomcastError => new RoomcastError("unconfirmed");

/** What the server refused something with. */
export const errorOf = (it: ErrorPayload): RoomcastError => new RoomcastError(it.code, it.message, it.retry_after_ms);

/** Whether the same request may be taken a little later. */
export const isTransient = (code: string): boolean => /^(unavailable|rate_limited|internal)$/.test(code);
