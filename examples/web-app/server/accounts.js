// Your own log-in. Roomcast has no part in it: users, passwords and cookies are the application's.

import { createHash, randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { Refusal } from "./http.js";
import { settings } from "./settings.js";
import { data, save } from "./store.js";

const WEEK = 7 * 24 * 3600;
/** Failed log-ins of one name within this time, before it has to wait. */
const TRIES = 10;
const TRIES_MS = 5 * 60_000;
/** OWASP's settings for scrypt: 32 MiB and about 0.1 s for each password. */
const HARD = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 2 ** 20 };
/** Passwords that are looked at at once. */
const MOST_AT_ONCE = 8;
const digest = (text) => createHash("sha256").update(text).digest("hex");
const secure = settings.origin.startsWith("https:");
const cookie = secure ? "__Host-session" : "session";

/** Failed log-ins, by name. */
const failed = new Map();
let atWork = 0;

async function hash(password, salt) {
  if (atWork >= MOST_AT_ONCE) throw new Refusal(503, "busy", "Many people come in just now. Try again.");
  atWork++;
  try {
    return await promisify(scrypt)(password, salt, 32, HARD);
  } finally {
    atWork--;
  }
}

/** Makes an account. */
export async function signUp(name, password, role = "customer") {
  if (typeof name !== "string" || !/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,22}[\p{L}\p{N}]$/u.test(name)) {
    throw new Refusal(400, "bad_name", "A name has 2 to 24 letters and digits.");
  }
  if (typeof password !== "string" || password.length < 10 || password.length > 200) {
    throw new Refusal(400, "bad_password", "A password has at least 10 characters.");
  }
  const salt = randomBytes(16).toString("hex");
  const key = (await hash(password, salt)).toString("hex");
  if (userByName(name)) throw new Refusal(409, "name_taken", "This name is taken.");
  const user = { id: `u_${randomBytes(8).toString("hex")}`, name, role, salt, key, read: null, ban: null };
  data.users[user.id] = user;
  save();
  return user;
}

/** The user with this name and password. */
export async function logIn(name, password) {
  const who = String(name).slice(0, 100).toLowerCase();
  const now = Date.now();
  const tries = (failed.get(who) ?? []).filter((at) => at > now - TRIES_MS);
  if (tries.length >= TRIES) throw new Refusal(429, "too_many_tries", "Too many tries. Wait for five minutes.");
  const user = userByName(who);
  // A name that nobody has takes as long as a wrong password, so that nobody can try out names.
  const key = await hash(String(password).slice(0, 200), user?.salt ?? "nobody");
  if (!user || !timingSafeEqual(key, Buffer.from(user.key, "hex"))) {
    if (failed.size > 10_000) failed.clear();
    failed.set(who, [...tries, now]);
    throw new Refusal(401, "wrong", "This name and password do not belong together.");
  }
  failed.delete(who);
  return user;
}

/** Begins a log-in session. Returns the cookie; only a digest of what is in it is kept. */
export function openSession(user) {
  const secret = randomBytes(32).toString("base64url");
  const now = Date.now();
  for (const [id, session] of Object.entries(data.sessions)) if (session.until < now) delete data.sessions[id];
  data.sessions[digest(secret)] = { user: user.id, until: now + WEEK * 1000 };
  save();
  return cookieOf(secret, WEEK);
}

/** Ends the request's log-in session. */
export function closeSession(request) {
  delete data.sessions[digest(secretOf(request))];
  save();
  return cookieOf("", 0);
}

/** The user who sends the request, if somebody is logged in. */
export function userOf(request) {
  const session = data.sessions[digest(secretOf(request))];
  return session && session.until > Date.now() ? data.users[session.user] : undefined;
}

/** The user's ban, while it lasts. */
export function banOf(user) {
  return user.ban && user.ban.until > Date.now() ? user.ban : null;
}

/** The user with this name; its case does not matter. */
export function userByName(name) {
  return Object.values(data.users).find((user) => user.name.toLowerCase() === name.toLowerCase());
}

const secretOf = ({ headers }) => new RegExp(`(?:^|; )${cookie}=([^;]*)`).exec(headers.cookie ?? "")?.[1] ?? "";

function cookieOf(secret, seconds) {
  return `${cookie}=${secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${seconds}${secure ? "; Secure" : ""}`;
}
