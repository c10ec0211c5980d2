// What a message from the server has to look like, so that nothing behind this file has to ask.

import { isTorn } from "./errors.js";
import type { ServerEnvelope } from "./types.js";

type Is = (it: any) => boolean;

const text: Is = (it) => typeof it == "string" && !isTorn(it);
const whole = Number.isSafeInteger;
const count: Is = (it) => whole(it) && it >= 0;
const flag: Is = (it) => !!it === it;
/** Of what is not `null`. */
const plain: Is = (it) => typeof it == "object" && !Array.isArray(it);
const list =
  (is: Is): Is =>
  (it) =>
    Array.isArray(it) && it.every(is);

/** Whether it may be one of the protocol's own objects. Throws for `null`; in the object that is no value. */
export const isObject: Is = (it) =>
  plain(it) && Object.entries(it).every(([key, value]) => value == null || KINDS.every(([keys, is]) => !keys.test(key) || is(value)));

/** What is in the protocol's keys. Each means the same wherever it is. */
const KINDS: [RegExp, Is][] = [
  [/^(type|name|nickname|resume_token|mode|action|code|message|request|url|from_service|((from_)?(client|user)|room|player)_id)$/, text],
  [/^(frame_num|timestamp|server_time|token_expires_at)$/, whole],
  [/^(seq|offset|total|next|burst|messages_per_second|max_.*|.*_ms)$/, count],
  [/^((from_)?player_num|request_id)$/, (it) => it >>> 0 === it],
  [/^(health|score|target_id)$/, (it) => (it | 0) === it],
  [/^[xyz]$/, Number.isFinite],
  [/^(ephemeral|resumed|seq_acked|connected|full|.*(recovered|_possible))$/, flag],
  [/^(presence|params)$/, plain],
  [/^(limits|inbox|position|velocity)$/, isObject],
  [/^(members|acks|players)$/, list(isObject)],
  [/^left$/, list(text)],
  [/^epoch$/, (it) => text(it) && it.length < 17],
];

/** Whether it is something that happened in a room or to this client, and has a place in a log. */
export const isEvent = (it: ServerEnvelope): boolean => /^(chat|event|game_action|player_)/.test(it.type);

/** The message, with bytes as bytes. Throws where it is none. */
export const checked = (it: any): ServerEnvelope => {
  const { type, payload, payload_kind: kind = "json" } = it;
  const bytes = kind == "bytes" && !(payload instanceof Uint8Array);
  const { action, position, target_id, params } = payload ?? {};
  if (
    !(
      type && isObject(it) && /^(json|text|bytes)$/.test(kind) && (type != "event" || it.name) &&
      (!bytes || btoa(atob(payload)) == payload) && (kind != "text" || text(payload)) &&
      // What else an action has is the application's.
      (type != "game_action" || (action && isObject({ action, position, target_id, params }))) &&
      // What `joined` says of presence is no member's.
      (!/^(welcome|joined|player_.*|presence|sync|ack|error|members|history|reconnect|auth)$/.test(type) ||
        (plain(payload) && isObject(type == "joined" ? { ...payload, presence: null } : payload)))
    )
  ) {
    throw TypeError(`not a message: ${type}`);
  }
  if (type == "history") payload.events = payload.events.map((it: any) => checked(isEvent(it) ? it : {}));
  return bytes ? { ...it, payload: Uint8Array.from(atob(payload), (char) => char.charCodeAt(0)) } : it;
};
