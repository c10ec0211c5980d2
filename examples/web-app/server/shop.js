// The application itself: orders, notifications, bans.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Refusal } from "./http.js";
import * as roomcast from "./roomcast.js";
import { data, save } from "./store.js";
import { TOKEN_TTL } from "./tokens.js";

const ITEMS = ["Espresso, 250 g", "Filter roast, 500 g", "A mug with a lighthouse"];
/** Notifications that Roomcast could not be given are tried again so often. */
const AGAIN_MS = 5_000;
/** How far a user has read is told no more often than this: who is away finds it in the inbox, which has place for 64 messages. */
const READ_MS = 1_000;
const DAY_MS = 24 * 3600_000;
/** Open orders of one user. */
const MOST_ORDERS = 20;

/** A user orders something. Staff sees it at once. */
export function order(user, item) {
  if (!ITEMS.includes(item)) throw new Refusal(400, "bad_item", "There is no such thing here.");
  const open = Object.values(data.orders).filter(({ by, shippedAt }) => by === user.id && !shippedAt);
  if (open.length >= MOST_ORDERS) throw new Refusal(409, "too_many_orders", "So many orders are enough for now.");
  const id = randomBytes(4).toString("hex");
  data.orders[id] = { id, item, by: user.id, name: user.name, at: Date.now(), shippedAt: null };
  save();
  tellStaff(data.orders[id]);
  return data.orders[id];
}

/** Staff sends an order off, and its customer hears of it. Asked for again, it tells the customer nothing new. */
export async function ship(id) {
  const order = data.orders[id];
  if (!order) throw new Refusal(404, "not_found", "There is no such order.");
  order.shippedAt ??= Date.now();
  const notification = notify(`order-${id}-shipped`, order.by, `On its way to you: ${order.item}`, order.shippedAt);
  save();
  tellStaff(order);
  await tell(notification);
  return order;
}

/** Somebody is named in the lounge, and is notified. Roomcast has told of the message, and who has sent it. */
export function mention(event, by, payload) {
  const text = Object(payload).text;
  if (!by || typeof text !== "string") return;
  for (const { id, name } of Object.values(data.users)) {
    const named = text.toLowerCase().includes(`@${name.toLowerCase()}`);
    if (named && id !== by) notify(`${event}-${id}`, id, `${namesOf([by])[by] ?? "Somebody"} in the lounge: ${text.slice(0, 200)}`, Date.now());
  }
}

/** Writes a notification down, once. */
function notify(id, user, text, at) {
  return (data.notifications[id] ??= { id, user, text, at, seen: false, told: false });
}

/** Shows a notification on all pages that its user has open. Who has none open finds it in the list. */
async function tell({ id, user, text, at }) {
  try {
    await roomcast.send(user, "notification", { id, text, at }, id);
  } catch (error) {
    // Roomcast can't be reached: tried again below.
    if (error.code !== "recipient_not_found") return;
  }
  data.notifications[id].told = true;
  save();
}

/** Shows those that were not shown yet. */
export async function tellAll() {
  await Promise.all(Object.values(data.notifications).filter(({ told }) => !told).map(tell));
}

setInterval(tellAll, AGAIN_MS).unref();

/** A list that is loaded anew says the same, so nothing is lost when this fails. */
function tellStaff(order) {
  roomcast.publish("staff:orders", "order", order).catch((error) => console.error("staff was not told:", error.message));
}

/** Sends a user away. */
export async function ban(id, minutes, reason) {
  const user = data.users[id];
  if (!user || user.role === "staff") throw new Refusal(404, "not_found", "There is no such customer.");
  if (!(minutes >= 1 && minutes <= 60 * 24 * 30)) throw new Refusal(400, "bad_time", "A ban lasts from a minute to 30 days.");
  if (typeof reason !== "string" || !reason.trim() || reason.length > 100) throw new Refusal(400, "bad_reason", "Say why, in 100 letters.");
  // First: from here on the user gets no new token.
  user.ban = { until: Date.now() + minutes * 60_000, reason: reason.trim() };
  save();
  // The token that its page has is good for a while yet: so the room stays shut for as long.
  await roomcast.ban("chat:lounge", id, Math.min(minutes * 60, TOKEN_TTL + 60));
  await roomcast.disconnect(id, user.ban.reason);
}

/** Lets a user come back. */
export async function unban(id) {
  const user = data.users[id];
  if (!user) throw new Refusal(404, "not_found", "There is no such customer.");
  user.ban = null;
  save();
  await roomcast.unban("chat:lounge", id);
}

/** A user has left the lounge. */
export function markLeft(id, at) {
  if (data.users[id]) data.users[id].leftAt = at;
}

/** Who was in the lounge and has left it, the last one first. */
export function visitors() {
  const seen = Object.values(data.users).filter(({ leftAt }) => leftAt > Date.now() - DAY_MS);
  return seen.sort((one, other) => other.leftAt - one.leftAt).slice(0, 10).map(({ id, name, leftAt }) => ({ id, name, leftAt }));
}

/** What a user's page shows besides the chat. */
export function overview(user) {
  const staff = user.role === "staff";
  const newest = (things) => Object.values(things).sort((one, other) => other.at - one.at).slice(0, 100);
  return {
    items: ITEMS,
    orders: newest(data.orders).filter(({ by }) => staff || by === user.id),
    notifications: newest(data.notifications)
      .filter((notification) => notification.user === user.id)
      .map(({ id, text, at, seen }) => ({ id, text, at, seen })),
  };
}

/** The user has looked at its notifications. */
export function markSeen(user) {
  for (const notification of Object.values(data.notifications)) if (notification.user === user.id) notification.seen = true;
  save();
}

/** Up to here the user has read the chat: the place of a line and its time. */
export function markRead(user, { epoch, offset, at }) {
  const good = typeof epoch === "string" && epoch.length <= 64 && Number.isSafeInteger(offset) && Number.isSafeInteger(at);
  if (!good) throw new Refusal(400, "bad_position", "This is no position.");
  // Another page of the user may have read on.
  if (user.read && at < user.read.at) return;
  user.read = { epoch, offset, at };
  save();
  void tellRead(user);
}

/** Users whose pages are being told. */
const telling = new Set();

/** Tells all pages of a user how far it has read, so what is new on one of them is new on all. */
async function tellRead(user) {
  if (telling.has(user.id)) return;
  telling.add(user.id);
  for (let told; told !== user.read; await sleep(READ_MS)) {
    told = user.read;
    // A page that misses it asks the backend when it is back.
    await roomcast.send(user.id, "read", told).catch(() => {});
  }
  telling.delete(user.id);
}

/** The names of users, as their tokens have them. */
export function namesOf(ids) {
  return Object.fromEntries(ids.slice(0, 100).filter((id) => data.users[id]).map((id) => [id, data.users[id].name]));
}
