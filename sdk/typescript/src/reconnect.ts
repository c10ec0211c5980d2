import { RoomcastError } from "./errors.js";

/** The shortest wait. */
const MIN = 500;
/** The longest, but for what the server asks for. */
const MAX = 20_000;

/**
 * How long to wait after `attempts` failures in a row: at least what the server asks for, and then any time up to one
 * that doubles with each failure, the first time 2 s (full jitter), so that many clients don't come back at one moment.
 * @param random from 0 to 1
 */
export const backoff = (attempts: number, random: number, retryAfter = 0): number =>
  Math.max(MIN, retryAfter) + random * (Math.min(MAX, 4 * MIN * 2 ** attempts) - MIN);

/** Whether a client comes back after a close with this code. */
export const comesBack = (code: number): boolean =>
  !/^(100[2379]|4[5-9])/.test("" + code);

/** Why a connection was closed. A server's reason begins with a name, and may say how long to wait. */
export const closeError = (code: number, reason: string): RoomcastError =>
  new RoomcastError(
    /^\w+/.exec(reason)?.[0] ?? "connection_lost",
    reason || "" + code,
    +/=(\d+)/.exec(reason)?.[1]! || undefined,
  );
