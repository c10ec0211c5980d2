// What Roomcast tells the backend (docs/webhooks.md).

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bodyOf, Refusal, reply } from "./http.js";
import { settings } from "./settings.js";
import * as shop from "./shop.js";
import { data, save } from "./store.js";

/** An older request may be one that somebody has caught on its way. */
const MOST_AGE_S = 300;
/** Events that are remembered, to know one that comes again. */
const REMEMBERED = 10_000;

/** Takes a request of Roomcast. Once it is answered with a 204, Roomcast sends its events no more. */
export async function receive(request, response) {
  const body = await bodyOf(request);
  if (!isSigned(request.headers, body)) throw new Refusal(401, "not_signed", "Only Roomcast may say this.");
  const { events, dropped } = JSON.parse(String(body));
  if (dropped) console.error(`Roomcast could not tell ${dropped} events`);
  for (const event of events) {
    // One that was answered may come again, if the answer was lost.
    if (data.events[event.id]) continue;
    data.events[event.id] = event.timestamp;
    takers[event.type]?.(event);
  }
  for (const id of Object.keys(data.events).slice(0, -REMEMBERED)) delete data.events[id];
  // What follows from an event is written together with its id: both, or neither.
  save();
  reply(response, 204, "");
  await shop.tellAll();
}

const takers = {
  "member.left": ({ user_id, timestamp }) => shop.markLeft(user_id, timestamp),
  message: ({ id, message }) => shop.mention(id, message.from_user_id, message.payload),
};

/** Whether Roomcast has signed it, and lately. The form is that of https://www.standardwebhooks.com. */
function isSigned(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": signatures = "" } = headers;
  if (!(Math.abs(Date.now() / 1000 - Number(time)) < MOST_AGE_S)) return false;
  const secret = readFileSync(join(settings.data, "webhook.secret"), "utf8").trim();
  const key = Buffer.from(secret.replace("whsec_", ""), "base64");
  const expected = Buffer.from(`v1,${createHmac("sha256", key).update(`${id}.${time}.`).update(body).digest("base64")}`);
  // There are two while one secret replaces another.
  return signatures.split(" ").some((it) => it.length === expected.length && timingSafeEqual(Buffer.from(it), expected));
}
