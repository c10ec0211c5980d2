// The package as an application has it: what is built, minified, by the names of its entries. (`npm test` builds it.)

import { execFileSync } from "node:child_process";
import { cpSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startServer } from "./server.js";

const root = fileURLToPath(new URL("..", import.meta.url));
let app: string;

beforeAll(() => {
  app = mkdtempSync(join(tmpdir(), "roomcast-app-"));
  mkdirSync(join(app, "node_modules"));
  symlinkSync(root, join(app, "node_modules/roomcast"));
  for (const name of ["react", "ws", "@types"]) symlinkSync(join(root, "node_modules", name), join(app, "node_modules", name));
  writeFileSync(join(app, "package.json"), '{ "type": "module" }');
});
afterAll(() => rmSync(app, { recursive: true, force: true }));

const TYPED = `
import { Client, RoomcastError, json, type Codec, type Status } from "roomcast";
import { fallback, type Transport } from "roomcast/fallback";
import { protobuf } from "roomcast/protobuf";
import { useClientSignal, useDirectMessage, useMembers, useRoom, useStatus } from "roomcast/react";
import { keepOverReload } from "roomcast/reload";

type App = {
  chat: { events: { message: { text: string } }; presence: { colour?: string } };
  $direct: { events: { invite: { game: number } } };
};
const codec: Codec = Math.random() < 0.5 ? json : protobuf;
const client = keepOverReload("x", (saved) => new Client<App>("ws://localhost/ws", { saved, codec }));
client.room("chat:1").on("message", ({ text }, { offset }) => text.length + (offset ?? 0));
// @ts-expect-error: no such event
client.room("chat:1").on("mesage", () => {});
// @ts-expect-error: what is private is not in the declarations
client._rooms;
export function Part(): [number, Status] {
  const room = useRoom(client, "chat:1", { onError: (error: RoomcastError) => error.code });
  useDirectMessage(client, "invite", ({ game }, { user }) => game.toFixed() + user);
  // @ts-expect-error: no such direct message
  useDirectMessage(client, "invitation", () => {});
  useClientSignal(client, "gap", ({ since }) => since?.offset);
  useClientSignal(new Client("ws://localhost/ws"), "chat", (data) => data.anything);
  return [useMembers(room, (members) => members.filter(({ presence }) => presence.colour).length), useStatus(client)];
}
// What may be left out may be undefined.
new Client("", { getToken: undefined, codec: undefined, WebSocket: undefined, outboxBytes: undefined, saved: undefined });
const room = client.room("chat:1", { nickname: undefined, presence: undefined, token: undefined });
void room.join({ since: undefined, signal: undefined });
void room.chat("x", { signal: undefined, ttlMs: undefined, noEcho: undefined, ephemeral: undefined });
room.history({ reverse: undefined, limit: undefined, from: undefined });
room.updatePresence({ colour: undefined });
let opened: Transport = "websocket";
new Client("", { WebSocket: fallback({ onOpen: (transport) => (opened = transport), fetch: undefined }) });
// @ts-expect-error: no such transport
opened = "pigeon";
`;

/** What the compiler says of a file. */
function compile(file: string, code: string, module: string, resolution: string): string {
  writeFileSync(join(app, file), code);
  const options = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--lib", "es2022,dom", "--types", ""];
  const all = [...options, "--module", module, "--moduleResolution", resolution, file];
  try {
    execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, ...all], { cwd: app, encoding: "utf8" });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
  return "";
}

test.each([["nodenext", "nodenext"], ["esnext", "bundler"]])("its types are right with %s, %s", (module, resolution) => {
  expect(compile("typed.ts", TYPED, module, resolution)).toBe("");
}, 60_000);

test("what the server serves has its types beside it", () => {
  const served = fileURLToPath(new URL("../../../crates/server/web/sdk", import.meta.url));
  symlinkSync(served, join(app, "sdk"));
  const code = TYPED.replace(/"roomcast"/g, '"./sdk/roomcast.js"').replace(/"roomcast\/(\w+)"/g, '"./sdk/$1.js"');
  expect(code).not.toContain('"roomcast');
  expect(compile("served.ts", code, "nodenext", "nodenext")).toBe("");
  const scripts = readdirSync(served).filter((name) => name.endsWith(".js"));
  expect(scripts).toContain("roomcast.js");
  for (const script of scripts) {
    expect(code).toContain(`"./sdk/${script}"`);
    const types = script.replace(/js$/, "d.ts");
    expect(readFileSync(join(served, script), "utf8")).toContain(`// @ts-self-types="./${types}"\n`);
  }
}, 60_000);

const COMPONENT = `
import { useState } from "react";
import { Client } from "roomcast";
import { useRoom } from "roomcast/react";
export const Part = () => useState(useRoom(new Client("ws://localhost/ws"), "a"));
`;

const npm = (cwd: string, ...args: string[]) => execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
// npm's cache may be empty: what it lacks is fetched.
const install = (cwd: string, ...args: string[]) => npm(cwd, "install", "--prefer-offline", "--no-audit", "--no-fund", "--install-links", ...args);

test("what is packed and installed brings no second React", async () => {
  const place = mkdtempSync(join(tmpdir(), "roomcast-packed-"));
  try {
    // It is built already: npm would build it again, in the place that the other tests use.
    const packed = JSON.parse(npm(root, "pack", "--ignore-scripts", "--json", "--pack-destination", place));
    const [{ filename }] = Object.values(packed) as [{ filename: string }];
    writeFileSync(join(place, "package.json"), JSON.stringify({ type: "module", dependencies: { react: `file:${root}node_modules/react`, roomcast: `file:${filename}` } }));
    install(place);
    writeFileSync(join(place, "app.js"), COMPONENT);
    const { metafile } = await build({ absWorkingDir: place, entryPoints: ["app.js"], bundle: true, write: false, metafile: true, format: "esm" });
    const inputs = Object.keys(metafile.inputs);
    expect(inputs.filter((it) => it.endsWith("react/index.js"))).toEqual(["node_modules/react/index.js"]);
    expect(inputs).toContain("node_modules/roomcast/dist/react.js");
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}, 60_000);

test("the folder itself can be installed, from a fresh checkout", () => {
  const place = mkdtempSync(join(tmpdir(), "roomcast-folder-"));
  try {
    // As it is in the repository: neither built, nor with its own packages. Other tests write into the folder meanwhile.
    const names = readdirSync(root).filter((name) => /\.(json|md)$/.test(name));
    for (const name of [...names, "scripts", "src"]) cpSync(join(root, name), join(place, "sdk", name), { recursive: true });
    const own = join(place, "app");
    mkdirSync(own);
    writeFileSync(join(own, "package.json"), '{ "type": "module" }');
    install(own, "../sdk");
    expect(readdirSync(join(own, "node_modules")).filter((it) => !it.startsWith("."))).toEqual(["roomcast"]);
    expect(lstatSync(join(own, "node_modules/roomcast")).isSymbolicLink()).toBe(false);
    const imports = ["roomcast", "roomcast/protobuf", "roomcast/reload", "roomcast/fallback"].map((name) => `import("${name}")`);
    const code = `const all = await Promise.all([${imports}]); console.log(all.flatMap((it) => Object.keys(it)).join());`;
    const told = execFileSync(process.execPath, ["--input-type=module", "-e", code], { cwd: own, encoding: "utf8" });
    expect(told.trim().split(",")).toEqual(expect.arrayContaining(["Client", "protobuf", "keepOverReload", "fallback"]));
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}, 180_000);

const RUN = `
import WebSocket from "ws";
import { Client } from "roomcast";
import { protobuf } from "roomcast/protobuf";
import "roomcast/react";
import "roomcast/reload";

for (const codec of [undefined, protobuf]) {
  const client = new Client(process.env.URL, { codec, WebSocket });
  const room = client.room("chat:package");
  const heard = new Promise((resolve) => room.on("message", resolve));
  await room.join();
  await room.send("message", { text: "hello" });
  console.log(JSON.stringify(await heard));
  client.close();
}
`;

test("what is built speaks both formats, in a plain Node", async () => {
  const server = await startServer();
  try {
    writeFileSync(join(app, "run.js"), RUN);
    const env = { ...process.env, URL: server.url };
    const output = execFileSync(process.execPath, ["run.js"], { cwd: app, env, encoding: "utf8", timeout: 30_000 });
    expect(output).toBe('{"text":"hello"}\n{"text":"hello"}\n');
  } finally {
    await server.stop();
  }
}, 60_000);
