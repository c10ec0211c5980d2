// The package as an application has it: what is built, minified, by the names of its entries. (`npm test` builds it.)

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
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
import { protobuf } from "roomcast/protobuf";
import { useMembers, useRoom, useStatus } from "roomcast/react";
import { keepOverReload } from "roomcast/reload";

type App = { chat: { events: { message: { text: string } }; presence: { colour?: string } } };
const codec: Codec = Math.random() < 0.5 ? json : protobuf;
const client = keepOverReload("x", (saved) => new Client<App>("ws://localhost/ws", { saved, codec }));
client.room("chat:1").on("message", ({ text }, { offset }) => text.length + (offset ?? 0));
// @ts-expect-error: no such event
client.room("chat:1").on("mesage", () => {});
// @ts-expect-error: what is private is not in the declarations
client._rooms;
export function Part(): [number, Status] {
  const room = useRoom(client, "chat:1", { onError: (error: RoomcastError) => error.code });
  return [useMembers(room, (members) => members.filter(({ presence }) => presence.colour).length), useStatus(client)];
}
`;

test.each([["nodenext", "nodenext"], ["esnext", "bundler"]])("its types are right with %s, %s", (module, resolution) => {
  writeFileSync(join(app, "typed.ts"), TYPED);
  const options = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--types", ""];
  const all = [...options, "--module", module, "--moduleResolution", resolution, "typed.ts"];
  let output = "";
  try {
    execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, ...all], { cwd: app, encoding: "utf8" });
  } catch (error) {
    output = (error as { stdout: string }).stdout;
  }
  expect(output).toBe("");
}, 60_000);

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
