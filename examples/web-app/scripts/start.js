// `npm start`: keys and an account for staff at the first start, the page built, Roomcast and the backend started, and
// whatever ends started again. On a server systemd or a container platform does the last part.

import { execFileSync, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = fileURLToPath(new URL("..", import.meta.url));
process.chdir(here);
const { values: flags } = parseArgs({
  options: {
    nodes: { type: "string", default: "1" },
    redis: { type: "string" },
    // The page, what pages connect to, and then for each node what it listens on and where its API is. One node is what
    // pages connect to, and needs one port less.
    ports: { type: "string", default: "3000,8080,8081,8082,8083,8084,8085,8086" },
    data: { type: "string", default: "data" },
    roomcast: { type: "string", default: process.env.ROOMCAST_BIN ?? join(here, "../../target/release/roomcast") },
    "no-build": { type: "boolean", default: false },
  },
});
const nodes = Number(flags.nodes);
const [port, entry, ...more] = flags.ports.split(",");
const addresses = nodes === 1 ? [[entry, more[0]]] : Array.from({ length: nodes }, (_, at) => more.slice(2 * at, 2 * at + 2));
if (nodes > 1 && !flags.redis) end("several nodes need a Redis: --redis redis://localhost:6379");
if (!existsSync(flags.roomcast)) end(`there is no Roomcast at ${flags.roomcast}: build it, or name it with --roomcast or ROOMCAST_BIN`);
const staffPassword = makeSecrets(flags.data);
if (!flags["no-build"]) execFileSync("npx", ["vite", "build", "--logLevel", "warn"], { stdio: "inherit" });

/** What is running. */
const children = new Set();
process.on("exit", () => children.forEach((child) => child.kill()));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit());

const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("ROOMCAST_")));
addresses.forEach(([listen, api], at) => {
  const engine = flags.redis ? ["--engine", "redis", "--redis", flags.redis] : [];
  const files = Object.entries({
    "auth.public_key_paths": "token-public.pem",
    "api_keys.shop.key_path": "api.key",
    "webhooks.shop.secret_path": "webhook.secret",
  });
  keep(`roomcast ${at + 1}`, flags.roomcast, [
    ...["serve", "--config", "roomcast.toml", "--listen", `127.0.0.1:${listen}`, "--set", `api.listen=127.0.0.1:${api}`],
    ...["--set", `webhooks.shop.url=http://127.0.0.1:${port}/webhooks/roomcast`],
    ...files.flatMap(([key, file]) => ["--set", `${key}=${join(flags.data, file)}`]),
    ...engine,
  ], { ...env, ROOMCAST_SESSION_SECRET_FILE: join(flags.data, "session.secret") });
});
if (nodes > 1) balance(entry, addresses.map(([listen]) => listen));
keep("backend", process.execPath, ["server/main.js"], {
  ...env,
  PORT: port,
  PUBLIC_ORIGIN: `http://localhost:${port}`,
  ROOMCAST_URL: `ws://localhost:${entry}/ws`,
  ROOMCAST_API: addresses.map(([, api]) => `http://127.0.0.1:${api}`).join(","),
  DATA: flags.data,
  STAFF_PASSWORD: staffPassword,
});
console.log(`staff logs in as "staff" with ${staffPassword}`);

/** Starts a program, and starts it again when it ends. */
function keep(name, program, args, env) {
  const child = spawn(program, args, { env, stdio: "inherit" });
  const started = Date.now();
  children.add(child);
  console.log(`${name}: process ${child.pid}`);
  child.on("exit", () => {
    children.delete(child);
    if (Date.now() - started < 1_000) end(`${name} does not start`);
    setTimeout(() => keep(name, program, args, env), 500);
  });
}

/** Keys that only this machine knows, made once. Returns the password of staff. */
function makeSecrets(folder) {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const once = (name, make) => {
    const path = join(folder, name);
    if (!existsSync(path)) writeFileSync(path, make(), { mode: 0o600 });
    return readFileSync(path, "utf8");
  };
  const random = () => randomBytes(32).toString("hex");
  if (!existsSync(join(folder, "token-private.pem"))) {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    once("token-public.pem", () => publicKey.export({ type: "spki", format: "pem" }));
    once("token-private.pem", () => privateKey.export({ type: "pkcs8", format: "pem" }));
  }
  once("api.key", random);
  once("session.secret", random);
  once("webhook.secret", () => `whsec_${randomBytes(32).toString("base64")}`);
  return once("staff-password", () => randomBytes(9).toString("base64url"));
}

/** Gives each connection to another node: what nginx or HAProxy does on a server. */
function balance(port, nodes) {
  let turn = 0;
  const server = createServer((near) => {
    const reach = (tries) => {
      const far = connect(nodes[turn++ % nodes.length], "127.0.0.1");
      const over = () => (near.destroy(), far.destroy());
      far.once("error", () => (tries > 1 ? reach(tries - 1) : over()));
      far.once("connect", () => {
        for (const socket of [near, far]) socket.removeAllListeners("error").on("error", over).on("close", over);
        near.pipe(far).pipe(near);
      });
    };
    near.on("error", () => near.destroy());
    reach(nodes.length);
  });
  server.listen(port, "127.0.0.1");
}

function end(problem) {
  console.error(problem);
  process.exit(1);
}
