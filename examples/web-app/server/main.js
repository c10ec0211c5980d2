// The backend of the shop: log-in, tokens for Roomcast, orders, and the built page.

import { createServer } from "node:http";
import { banOf, closeSession, logIn, openSession, signUp, userByName, userOf } from "./accounts.js";
import { checkOrigin, jsonOf, Refusal, reply, replyWithFile } from "./http.js";
import { settings } from "./settings.js";
import * as shop from "./shop.js";
import { tokenFor } from "./tokens.js";
import { receive } from "./webhooks.js";

/** Who asks; an error if nobody is logged in, or if staff is asked for and it is somebody else. */
function needUser(request, role) {
  const user = userOf(request);
  if (!user) throw new Refusal(401, "logged_out", "Log in first.");
  if (role && user.role !== role) throw new Refusal(403, "forbidden", "This is for staff.");
  return user;
}

const me = (user) => ({
  user: { id: user.id, name: user.name, role: user.role },
  ban: banOf(user),
  read: user.read,
  roomcast: settings.roomcast,
  ...shop.overview(user),
});

/** Each answers with a value, or does so itself. `{id}` of the path is `id`. */
const routes = {
  "POST /api/sign-up": async (request, response) => {
    const { name, password } = await jsonOf(request);
    const user = await signUp(name, password);
    reply(response, 200, me(user), { "set-cookie": openSession(user) });
  },
  "POST /api/log-in": async (request, response) => {
    const { name, password } = await jsonOf(request);
    const user = await logIn(name, password);
    reply(response, 200, me(user), { "set-cookie": openSession(user) });
  },
  "POST /api/log-out": (request, response) => reply(response, 200, {}, { "set-cookie": closeSession(request) }),
  "GET /api/me": (request) => me(needUser(request)),
  "GET /api/roomcast-token": (request) => {
    const user = needUser(request);
    if (banOf(user)) throw new Refusal(403, "banned", banOf(user).reason);
    return tokenFor(user);
  },
  "PUT /api/read": async (request) => shop.markRead(needUser(request), await jsonOf(request)),
  "POST /api/seen": (request) => shop.markSeen(needUser(request)),
  "GET /api/visitors": (request) => needUser(request) && shop.visitors(),
  "GET /api/names": (request, _, __, query) => needUser(request) && shop.namesOf((query.get("ids") ?? "").split(",")),
  "POST /api/orders": async (request) => shop.order(needUser(request), (await jsonOf(request)).item),
  "POST /api/orders/{id}/ship": (request, _, id) => needUser(request, "staff") && shop.ship(id),
  "POST /api/users/{id}/ban": async (request, _, id) => {
    needUser(request, "staff");
    const { minutes, reason } = await jsonOf(request);
    await shop.ban(id, minutes, reason);
  },
  "DELETE /api/users/{id}/ban": (request, _, id) => needUser(request, "staff") && shop.unban(id),
};

async function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, settings.origin);
  if (request.method === "GET" && !pathname.startsWith("/api/")) return replyWithFile(response, pathname);
  if (request.method === "POST" && pathname === "/webhooks/roomcast") return receive(request, response);
  const [, start, id, end] = /^(\/api\/(?:orders|users)\/)(\w+)(\/\w+)$/.exec(pathname) ?? [];
  const route = routes[`${request.method} ${id ? `${start}{id}${end}` : pathname}`];
  if (!route) throw new Refusal(404, "not_found", "There is nothing here.");
  checkOrigin(request);
  const value = await route(request, response, id, searchParams);
  if (!response.headersSent) reply(response, 200, value ?? {});
}

// `npm start` makes an account for staff.
const { STAFF_PASSWORD } = process.env;
if (STAFF_PASSWORD && !userByName("staff")) await signUp("staff", STAFF_PASSWORD, "staff");

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    const { status = 500, code = "failed", message } = error instanceof Refusal ? error : {};
    if (status === 500) console.error(request.method, request.url, error);
    if (response.headersSent) response.destroy();
    else reply(response, status, { code, message: message ?? "This did not work. Try again." }, { connection: "close" });
  });
});
server.requestTimeout = 30_000;
server.listen(settings.port, settings.host, () => console.log(`the shop is open: ${settings.origin}`));
