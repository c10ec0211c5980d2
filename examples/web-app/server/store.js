// Stands for your database: everything in one file that is written whole. It is no example of how to store things.

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { settings } from "./settings.js";

const path = join(settings.data, "shop.json");

/** Users, log-in sessions, orders, notifications, and events that Roomcast has told, by their ids. */
export const data = read();

/** Once it returns, what was changed in `data` is on the disk. */
export function save() {
  writeFileSync(`${path}.new`, JSON.stringify(data, null, 1), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function read() {
  let stored = {};
  try {
    stored = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  // Without a prototype: an id comes from a request, and may be "constructor".
  const table = (name) => Object.assign(Object.create(null), stored[name]);
  return {
    users: table("users"),
    sessions: table("sessions"),
    orders: table("orders"),
    notifications: table("notifications"),
    events: table("events"),
  };
}
