// The SDK as an application has it: packed, installed from the tarball beside the application's own React, built by Vite, and
// opened in Chromium, under StrictMode.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startBrowser, startServer, until } from "./support.mjs";

const sdk = fileURLToPath(new URL("../../sdk/typescript/", import.meta.url));
const app = fileURLToPath(new URL("../vite-app/", import.meta.url));

describe("the packed SDK in an application of its own", { timeout: 180_000 }, () => {
  let server, browser, place;

  before(async () => {
    place = mkdtempSync(join(tmpdir(), "roomcast-vite-"));
    server = await startServer();
    browser = await startBrowser();
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
    rmSync(place, { recursive: true, force: true });
  });

  test("is installed with one React, built, and speaks to the server", async () => {
    // Packing builds it.
    run(sdk, "npm", "pack", "--pack-destination", place);
    const [tarball] = readdirSync(place);
    run(app, "npm", "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--offline", join(place, tarball));
    const installed = readdirSync(join(app, "node_modules", "roomcast"));
    assert.deepEqual(installed.sort(), ["README.md", "dist", "package.json"]);
    run(app, "npx", "tsc", "-p", ".");
    const dist = join(place, "dist");
    run(app, "npx", "vite", "build", "--logLevel", "warn", "--outDir", dist, "--emptyOutDir");

    const pages = await serve(dist);
    const problems = [];
    const open = async () => {
      const page = await (await browser.newContext()).newPage();
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
      page.on("pageerror", (error) => problems.push(String(error.stack)));
      await page.goto(`http://127.0.0.1:${pages.address().port}/?server=127.0.0.1:${server.port}`);
      await until("it is in the room", async () => (await page.textContent("#status")) === "joined");
      return page;
    };
    const ann = await open();
    const bob = await open();
    await until("both are listed", async () => (await ann.textContent("#here")) === "2" && (await bob.textContent("#here")) === "2");
    await ann.click("button");
    for (const page of [ann, bob]) await until("the line is there, once", async () => (await page.textContent("ul")) === "hello");
    await bob.close();
    assert.deepEqual(problems, []);
    pages.close();
  });
});

function run(cwd, command, ...args) {
  execFileSync(command, args, { cwd, stdio: ["ignore", "ignore", "inherit"] });
}

/** Files of a folder on a free port. */
function serve(folder) {
  const types = { html: "text/html", js: "text/javascript", css: "text/css" };
  const pages = createServer((request, response) => {
    const path = new URL(request.url, "http://localhost").pathname;
    const name = path === "/" ? "index.html" : path.slice(1);
    const known = readdirSync(folder, { recursive: true }).includes(name);
    if (!known) return response.writeHead(404).end();
    response.setHeader("content-type", types[name.split(".").pop()] ?? "application/octet-stream");
    response.end(readFileSync(join(folder, name)));
  });
  return new Promise((resolve) => pages.listen(0, "127.0.0.1", () => resolve(pages)));
}
