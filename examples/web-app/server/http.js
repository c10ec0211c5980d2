// The little that a backend needs of HTTP. Take a framework, if you have one.

import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { settings } from "./settings.js";

const MOST_BODY = 1 << 20;
const PAGES = fileURLToPath(new URL("../dist/", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

// The page loads what this origin has, and speaks to Roomcast; nothing else.
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  `connect-src 'self' ${new URL(settings.roomcast).origin}`,
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

const HEADERS = {
  "content-security-policy": POLICY,
  "x-content-type-options": "nosniff",
  "referrer-policy": "same-origin",
  ...(settings.origin.startsWith("https:") && { "strict-transport-security": "max-age=31536000" }),
};

/** What is refused: a status, a code for programs and a sentence for people. */
export class Refusal extends Error {
  constructor(status, code, sentence) {
    super(sentence);
    Object.assign(this, { status, code });
  }
}

/** The whole body. */
export async function bodyOf(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    if ((size += part.length) > MOST_BODY) throw new Refusal(413, "too_large", "This is too much.");
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** The body of a request from a page of ours. */
export async function jsonOf(request) {
  try {
    const value = JSON.parse(String(await bodyOf(request)) || "{}");
    if (value && typeof value === "object") return value;
  } catch (error) {
    if (error instanceof Refusal) throw error;
  }
  throw new Refusal(400, "bad_json", "This is no JSON object.");
}

/**
 * Refuses what a page of another site has sent with the user's cookie. Browsers name the origin in each request that may
 * change something, and a script can't lie about it. `SameSite=Lax` of the cookie is a second wall.
 */
export function checkOrigin({ method, headers }) {
  if (method === "GET" || headers.origin === settings.origin) return;
  throw new Refusal(403, "wrong_origin", `Open the page at ${settings.origin}.`);
}

/** Answers with JSON, or with text. */
export function reply(response, status, value, headers = {}) {
  const text = typeof value === "string";
  const type = text ? "text/plain; charset=utf-8" : "application/json";
  response.writeHead(status, { ...HEADERS, "cache-control": "no-store", "content-type": type, ...headers });
  response.end(text ? value : JSON.stringify(value));
}

/** A file of the built page. */
export async function replyWithFile(response, path) {
  const name = path === "/" ? "index.html" : normalize(path).slice(1);
  // Names of files in `assets` change with what is in them.
  const cache = name.startsWith("assets/") ? "public, max-age=31536000, immutable" : "no-cache";
  try {
    if (!Object.hasOwn(TYPES, extname(name)) || name.includes("..")) throw new Refusal(404, "not_found", "There is nothing here.");
    const file = await readFile(join(PAGES, name));
    response.writeHead(200, { ...HEADERS, "cache-control": cache, "content-type": TYPES[extname(name)] });
    response.end(file);
  } catch {
    reply(response, 404, { code: "not_found", message: "There is nothing here." });
  }
}
