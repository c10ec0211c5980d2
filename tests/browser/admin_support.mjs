// What tests of the admin page share.

import WebSocket from "ws";
import { startServer, until } from "./support.mjs";

export const KEY = "a-key-for-the-admin-page-1234567890-abcdef";
/** A server whose API has a key. */
export const startWithKey = (rights = "read,moderate,tail,operate") =>
  startServer({
    args: ["--set", `api_keys.ops.key=${KEY}`, "--set", `api_keys.ops.rights=${rights}`, "--set", "shutdown.delay=0s", "--set", "kinds.chat.mode=relay"],
  });

/** A client in a room. */
export async function member(server, room, nickname) {
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/ws`);
  const got = [];
  socket.on("message", (data) => got.push(JSON.parse(data)));
  const closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve([code, String(reason)])));
  const send = (message) => socket.send(JSON.stringify(message));
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  send({ type: "join_room", room_id: room, payload: { nickname } });
  const heard = (type) => until(`${nickname} hears ${type}`, () => got.find((it) => it.type === type));
  await heard("joined");
  return { send, heard, closed, chat: (payload) => send({ type: "chat", room_id: room, payload }), end: () => socket.terminate() };
}

/** Shows the key. */
export async function enter(page, server) {
  await page.goto(`${server.url}/admin`);
  await page.fill("#key", KEY);
  await page.click('#door button[type="submit"]');
  await page.locator("#inside").waitFor();
}
