// Tokens for Roomcast: who a user is, and what it may do there. Roomcast has the public key and nothing else.

import { createPrivateKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { settings } from "./settings.js";

/** Seconds. The page asks for a new token before that. */
export const TOKEN_TTL = 600;

const key = createPrivateKey(readFileSync(join(settings.data, "token-private.pem")));
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token for a user who is logged in. */
export function tokenFor(user) {
  const now = Math.floor(Date.now() / 1000);
  const permissions = [{ rooms: ["chat:lounge"], allow: ["join", "publish", "presence", "history"] }];
  if (user.role === "staff") permissions.push({ rooms: ["staff:orders"], allow: ["join"] });
  const claims = { sub: user.id, name: user.name, aud: "roomcast", iat: now, exp: now + TOKEN_TTL, permissions };
  const text = `${base64({ alg: "EdDSA", typ: "JWT" })}.${base64(claims)}`;
  return `${text}.${sign(null, Buffer.from(text), key).toString("base64url")}`;
}
