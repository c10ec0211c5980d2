// The examples of README.md are code: each block has to compile against the sources, and the first one runs.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { expect, test, vi } from "vitest";
import { soon, startServer } from "./server.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const place = `${root}readme-examples/`;

test("the examples of README.md compile", () => {
  const readme = readFileSync(`${root}README.md`, "utf8");
  const blocks = [...readme.matchAll(/^```(tsx?)\n(.*?)^```$/gms)];
  expect(blocks.length).toBeGreaterThan(10);
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place);
  for (const [index, block] of blocks.entries()) {
    const [, language, code] = block as unknown as [string, string, string];
    const line = readme.slice(0, block.index).split("\n").length;
    writeFileSync(`${place}line-${line}-${index}.${language}`, `${code}\nexport {};\n${context(code)}`);
  }
  writeFileSync(`${place}tsconfig.json`, JSON.stringify({ extends: "../tsconfig.test.json", include: ["*.ts", "*.tsx"], compilerOptions: UNUSED }));
  try {
    execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-p", place], { cwd: root, encoding: "utf8" });
  } catch (error) {
    throw new Error(`an example of README.md does not compile:\n${(error as { stdout: string }).stdout}`);
  }
  rmSync(place, { recursive: true });
}, 120_000);

test("the first example of README.md runs", async () => {
  const server = await startServer();
  const file = `${root}test/first-example.ts`; // where its imports are those of a test
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  try {
    const [, code] = /^```ts\n(.*?)^```$/ms.exec(readFileSync(`${root}README.md`, "utf8"))!;
    expect(code).toContain('"wss://example.com/ws"');
    const here = code!.replace('from "roomcast"', 'from "../src/index.js"').replace("wss://example.com/ws", server.url);
    writeFileSync(file, `${here}\nexport { client };\n`);
    vi.stubGlobal("WebSocket", WebSocket);
    const { client } = await soon(import(/* @vite-ignore */ file));
    await vi.waitFor(() => expect(log).toHaveBeenCalledWith(expect.any(Number), client.id, { text: "hello" }), 10_000);
    client.close();
  } finally {
    rmSync(file, { force: true });
    vi.unstubAllGlobals();
    log.mockRestore();
    await server.stop();
  }
}, 60_000);

const entries = { roomcast: "index", "roomcast/protobuf": "protobuf", "roomcast/reload": "reload", "roomcast/react": "react" };
const UNUSED = {
  noUnusedLocals: false,
  paths: Object.fromEntries(Object.entries(entries).map(([entry, file]) => [entry, [`../src/${file}.ts`]])),
};

/** What a short example takes from those before it. */
function context(code: string): string {
  const known = { client: `import("roomcast").Client`, room: `import("roomcast").Room` };
  return Object.entries(known)
    .filter(([name]) => !new RegExp(`const ${name}\\b`).test(code))
    .map(([name, type]) => `declare const ${name}: ${type};\n`)
    .join("");
}
