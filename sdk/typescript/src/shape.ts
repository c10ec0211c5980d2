// What a message from the server has to look like, so that nothing behind this file has to ask.

import { isTorn } from "./errors.js";
import type { ServerEnvelope } from "./types.js";

type Is = (it: any) => boolean;

const text: Is = (it) => typeof it == "string" && !isTorn(it);
const count: Is = (it) => Number.isSafeInteger(it) && it >= 0;
const plain: Is = (it) => !!it && typeof it == "object" && !Array.isArray(it);
const list =
  (is: Is): Is =>
  (it) =>
    Array.isArray(it) && it.every(is);

/** Whether it may be one of the protocol's own objects. `null` is no value. */
export const isObject: Is = (it) =>
  plain(it) && Object.entries(it).every(([key, value]) => value == null || (KINDS.get(key)?.(value) ?? true));

/** What is in the protocol's keys. Each means the same wherever it is. */
const KINDS = new Map<string, Is>();
for (const [keys, is] of [
  ["type room_id from_client_id name client_id resume_token user_id player_id nickname mode action code message request url", text],
  ["timestamp server_time token_expires_at frame_num", Number.isSafeInteger],
  ["seq offset total next delay_ms retry_after_ms ping_interval_ms max_message messages_per_second burst max_unanswered", count],
  ["player_num request_id", (it) => it >>> 0 === it],
  ["health score target_id", (it) => (it | 0) === it],
  ["x y z", Number.isFinite],
  ["ephemeral resumed seq_acked recovered connected full repeats_possible inbox_recovered direct_repeats_possible", (it) => !!it === it],
  ["presence params", plain],
  ["limits inbox position velocity", isObject],
  ["members acks players", list(isObject)],
  ["left", list(text)],
  ["epoch", (it) => text(it) && it.length < 17],
] as [string, Is][]) {
  for (const key of keys.split(" ")) KINDS.set(key, is);
}

/** The message, with bytes as bytes. Throws where it is none. */
export const checked = (it: any): ServerEnvelope => {
  const { type, payload, payload_kind: kind = "json" } = it;
  const { action, position, target_id, params, presence } = payload ?? {};
  const bytes = kind == "bytes" && !(payload instanceof Uint8Array);
  if (
    !(
      isObject(it) && text(type) && /^(json|text|bytes)$/.test(kind) && (kind != "text" || text(payload)) &&
      (type != "event" || text(it.name)) && (!bytes || btoa(atob(payload)) == payload) &&
      // What else an action has is the application's.
      (type != "game_action" || (text(action) && isObject({ position, target_id, params }))) &&
      (!/^(welcome|joined|player_.*|presence|sync|ack|error|members|history|reconnect|auth)$/.test(type) ||
        (plain(payload) && isObject(type == "joined" ? { ...payload, presence: {}, name: presence } : payload)))
    )
  ) {
    throw new TypeError(`not a message: ${type}`);
  }
  if (type == "history") {
    payload.events = payload.events.map((it: any) => {
      if (/^(chat|event|game_action|player_)/.test(it.type)) return checked(it);
      throw new TypeError(`no event: ${it.type}`);
    });
  }
  return bytes ? { ...it, payload: Uint8Array.from(atob(payload), (char) => char.charCodeAt(0)) } : it;
};
