// Asks Roomcast over its API (docs/api.md).

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { settings } from "./settings.js";

const TRIES = 4;
let next = 0;

/** Roomcast has refused something. `code` is stable. */
export class RoomcastRefusal extends Error {
  constructor({ status, code, detail }) {
    super(`${code}: ${detail}`);
    Object.assign(this, { status, code });
  }
}

/**
 * Asks one of the nodes; any of them will do. Where none answers, or it can't be done at the moment, it asks again: so
 * what is asked has to be harmless when it is done twice, or to have an idempotency key.
 */
async function ask(method, path, body, idempotencyKey) {
  const headers = { authorization: `Bearer ${readFileSync(join(settings.data, "api.key"), "utf8").trim()}` };
  if (body) headers["content-type"] = "application/json";
  if (idempotencyKey) headers["idempotency-key"] = idempotencyKey;
  let failure;
  for (let tried = 0; tried < TRIES; tried++) {
    if (tried) await sleep(200 * 2 ** tried * (0.5 + Math.random()));
    const node = settings.api[next++ % settings.api.length];
    try {
      const signal = AbortSignal.timeout(15_000); // An answer takes at most 10 s.
      const answer = await fetch(`${node}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body), signal });
      const said = await answer.json();
      if (answer.ok) return said;
      failure = new RoomcastRefusal({ status: answer.status, ...said });
      if (answer.status !== 503 && answer.status !== 429) throw failure;
    } catch (error) {
      if (error instanceof RoomcastRefusal) throw error;
      failure = error;
    }
  }
  throw failure;
}

const part = encodeURIComponent;

/** An event for all who are in a room. */
export const publish = (room, name, payload, key) =>
  ask("POST", `/rooms/${part(room)}/messages`, { type: "event", name, payload }, key);

/** An event for all pages of a user. */
export const send = (user, name, payload, key) =>
  ask("POST", `/users/${part(user)}/messages`, { type: "event", name, payload }, key);

/** Keeps a user out of a room for a time. */
export const ban = (room, user, seconds) => ask("POST", `/rooms/${part(room)}/bans`, { user, seconds });

/** Lets the user into the room again. */
export const unban = (room, user) => ask("DELETE", `/rooms/${part(room)}/bans/${part(user)}`);

/** Ends all sessions of a user. */
export const disconnect = (user, reason) => ask("POST", `/users/${part(user)}/disconnect`, { reason });
