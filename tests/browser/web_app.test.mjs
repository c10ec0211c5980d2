// examples/web-app as its users have it: the packed SDK is installed into it beside its own React, it is built, and started
// by its own command. In Chromium people chat, miss messages, order, are told and are sent away. Screenshots are kept.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { artifacts, startBrowser, until } from "./support.mjs";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const sdk = join(repository, "sdk/typescript");
const app = join(repository, "examples/web-app");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PASSWORD = "correct horse battery";
const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
/** How long a server may take to be back, with all that comes after. */
const PATIENCE = 30_000;

let place, browser;
before(async () => {
  place = mkdtempSync(join(tmpdir(), "roomcast-web-app-"));
  browser = await startBrowser();
  // Packing builds it.
  run(sdk, "npm", "pack", "--pack-destination", place);
  const [tarball] = readdirSync(place);
  run(app, "npm", "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--prefer-offline", join(place, tarball));
});
after(async () => {
  await browser?.close();
  rmSync(place, { recursive: true, force: true });
});

test("the packed SDK is what an application needs, and the page has its types right", () => {
  const installed = join(app, "node_modules", "roomcast");
  assert.deepEqual(readdirSync(installed).sort(), ["README.md", "dist", "package.json"], "its React is the application's");
  run(app, join(app, "node_modules/.bin/tsc"), "-p", ".");
});

test("docs/integrate.md shows lines of the example", () => {
  const text = readFileSync(join(repository, "docs/integrate.md"), "utf8");
  const snippets = [...text.matchAll(/\[`([^`]+)`\]\(\.\.\/examples\/web-app\/([^)]+)\)[^`]*?\n\n```\w+\n([^]*?)\n```/g)];
  assert.ok(snippets.length >= 8, `${snippets.length} snippets`);
  const fences = [...text.matchAll(/^```(\w+)$/gm)].filter(([, language]) => !["sh", "text"].includes(language));
  assert.equal(snippets.length, fences.length, "each snippet is under the name of its file");
  for (const [, name, path, snippet] of snippets) {
    assert.equal(name, path);
    const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean).join("\n");
    const file = lines(readFileSync(join(app, path), "utf8"));
    for (const part of snippet.split(/^\s*(?:\/\/|#) …\n/m)) assert.ok(file.includes(lines(part)), `${path} has not:\n${part}`);
  }
});

describe("the web application", { timeout: 240_000 }, () => {
  let shop;
  const problems = [];
  before(async () => (shop = await startShop()));
  after(() => shop?.stop());

  test("people chat, miss nothing, are told and are sent away", async () => {
    const ada = await enter("ada", DESKTOP);
    const bob = await enter("bob", PHONE);

    await ada.says("Good morning");
    await bob.hears("ada", "Good morning");
    await bob.says("Is the new roast any good?");
    await ada.hears("bob", "Is the new roast any good?");
    await until("both are listed", async () => /ada \(you\).*bob/.test(await ada.page.textContent(".people ul")));
    await ada.page.fill(".composer input", "It");
    await until("bob sees that she types", async () => (await bob.page.textContent(".typing")) === "ada is typing…");
    await ada.says("It is. I am on my third cup.");
    await until("she types no more", async () => (await bob.page.textContent(".typing")) === "");
    await ada.page.screenshot({ path: `${artifacts}/web-app.png` });
    await bob.page.screenshot({ path: `${artifacts}/web-app-phone.png` });
    for (const one of [ada, bob]) await look(one.page);
    await ada.page.emulateMedia({ colorScheme: "dark" });
    await ada.page.screenshot({ path: `${artifacts}/web-app-dark.png` });

    // He closes his page: what comes meanwhile is new to him, until he has read it.
    await until("he has read all", async () => (await bob.stored()).read?.at >= (await ada.stored()).read?.at);
    await bob.page.close();
    const says = { type: "event", name: "message", room_id: "chat:lounge", payload: null };
    assert.equal(await joins(shop.entry, await (await ada.asks("GET", "/api/roomcast-token")).text(), says), "event", "anybody may send anything");
    for (let cup = 1; cup <= 25; cup++) await ada.says(`cup ${cup}`);
    await bob.open();
    await unread(bob, 25);
    await bob.page.screenshot({ path: `${artifacts}/web-app-unread.png` });
    await bob.page.reload();
    await unread(bob, 25);
    await bob.page.click(".jump");
    await until("all is read", async () => (await bob.page.title()) === "Harbour Coffee");
    await until("the backend knows", async () => (await bob.stored()).read.at >= (await ada.stored()).read.at);
    await bob.page.reload();
    await bob.hears("ada", "cup 25");
    assert.equal(await bob.page.locator(".divider").count(), 0);

    // A server that ends: what she says waits, and is there once the server is back. Its memory is not.
    process.kill(shop.process("roomcast 1"), "SIGKILL");
    await state(ada, "reconnecting");
    await ada.page.fill(".composer input", "Are you there?");
    await ada.page.press(".composer input", "Enter");
    await until("it waits", async () => (await ada.page.locator('.line[data-state="sending"]').textContent()).includes("Are you there?"));
    await ada.page.screenshot({ path: `${artifacts}/web-app-away.png` });
    for (const one of [ada, bob]) await state(one, "connected");
    await bob.hears("ada", "Are you there?");
    await until("it is sent", async () => (await ada.page.locator('.line[data-state="sent"]').last().textContent()).includes("Are you there?"));
    await until("the page says what is not known", async () => (await ada.page.textContent(".lines")).includes("Some messages may be missing"));

    // An order: staff sees it, and sends it off. All pages of its customer are told, each once.
    const staff = await enter("staff", DESKTOP, shop.staffPassword);
    await bob.page.click("nav >> text=Orders");
    await bob.page.click("text=Order >> nth=-1");
    const second = await bob.context.newPage();
    watch(second);
    await second.goto(shop.url);
    await until("the second page is connected", () => second.locator('.connection[data-state="connected"]').count());
    const shipped = staff.page.waitForResponse(/\/ship$/);
    await staff.page.click("text=Ship");
    const again = (await shipped).request().url();
    for (const page of [bob.page, second]) await until("the toast", () => page.locator(".toast").count());
    await bob.page.screenshot({ path: `${artifacts}/web-app-toast.png` });
    await look(bob.page);
    assert.equal(await staff.page.evaluate(async (url) => (await fetch(url, { method: "POST" })).status, again), 200);
    await bob.page.click("form >> text=Order");
    await staff.page.click("text=Ship");
    for (const page of [bob.page, second]) {
      await until("the next toast", async () => (await page.locator("#notifications li").count()) === 2);
      assert.ok((await page.locator(".toast").count()) <= 2, "the repeated request told nobody anything");
    }
    assert.equal(await ada.page.locator("#notifications li").count(), 0);
    await staff.page.screenshot({ path: `${artifacts}/web-app-staff.png` });

    // Named in the chat: Roomcast tells the backend, and that the user.
    await ada.says("@bob there is one bag left");
    for (const page of [bob.page, second]) {
      await until("he is told of it", async () => (await page.locator("#notifications li").first().textContent()).includes("ada in the lounge: @bob there is"));
    }

    // Sent away, on all pages; and with the token that he had the room stays shut.
    const token = await bob.page.evaluate(async () => (await fetch("/api/roomcast-token")).text());
    await staff.page.click('[aria-label="Ban bob"]');
    await staff.page.fill("dialog input", "he has drunk it all");
    await look(staff.page);
    await staff.page.click("dialog .primary");
    for (const page of [bob.page, second]) {
      await until("he is told why", async () => (await page.locator(".banned").count()) && (await page.textContent("q")) === "he has drunk it all");
    }
    await until("he was here", async () => /bobHere until/.test(await ada.page.textContent(".people ul")));
    await ada.page.screenshot({ path: `${artifacts}/web-app-gone.png` });
    await bob.page.reload();
    await until("it stays so", () => bob.page.locator(".banned").count());
    await bob.page.screenshot({ path: `${artifacts}/web-app-banned.png` });
    await look(bob.page);
    assert.equal((await bob.asks("GET", "/api/roomcast-token")).status, 403);
    assert.equal(await joins(shop.entry, token), "banned");

    const { user } = await bob.stored();
    await staff.page.evaluate((id) => fetch(`/api/users/${id}/ban`, { method: "DELETE" }), user.id);
    await bob.page.click("text=Try again");
    await bob.hears("ada", "Are you there?");
    assert.deepEqual(problems, []);
  });

  test("what a user has read on one page is read on all of them", async () => {
    const dora = await enter("dora", PHONE);
    const eli = await enter("eli", DESKTOP);
    const [first, second] = [dora.page, await dora.context.newPage()];
    watch(second);
    await second.goto(shop.url);
    await until("the second page is connected", () => second.locator('.connection[data-state="connected"]').count());
    const title = (page, wanted) => until(`the title ${wanted}`, async () => (await page.title()) === wanted);
    for (const page of [first, second]) {
      await title(page, "Harbour Coffee");
      // Nobody looks at the chat.
      await page.click("nav >> text=Orders");
    }
    for (const text of ["one", "two", "three"]) await eli.says(text);
    for (const page of [first, second]) await title(page, "(3) Harbour Coffee");
    await first.click("nav >> text=Chat");
    await first.locator(".bottom").evaluate((end) => end.scrollIntoView());
    for (const page of [first, second]) await title(page, "Harbour Coffee");
    await second.click("nav >> text=Chat");
    await until("the lines are there", () => second.locator(".line p", { hasText: "three" }).count());
    assert.equal(await second.locator(".divider").count(), 0, "nothing is new on the second page");
    assert.deepEqual(problems, []);
  });

  test("pages of others can't use the cookie, and the page has no secret in it", async () => {
    const answer = await fetch(`${shop.url}/api/log-out`, { method: "POST", headers: { origin: "https://elsewhere.example" } });
    assert.equal(answer.status, 403);
    const secrets = ["api.key", "session.secret", "token-private.pem"].map((name) => readFileSync(join(shop.data, name), "utf8").trim());
    const served = readdirSync(join(app, "dist"), { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
    for (const file of served) {
      const text = readFileSync(join(file.parentPath ?? file.path, file.name), "utf8");
      for (const secret of secrets) assert.ok(!text.includes(secret), file.name);
    }
    for (const path of ["/../data/api.key", "/..%2fdata%2fapi.key", "/server/main.js", "/data/api.key"]) {
      assert.equal((await fetch(shop.url + path)).status, 404, path);
    }
    assert.match((await fetch(shop.url)).headers.get("content-security-policy"), /default-src 'none'; script-src 'self'/);
  });

  test("the backend takes what Roomcast has signed, once, and nothing else", async () => {
    const api = await browser.newContext().then((context) => context.request);
    const asks = async (path, data) => (await api.post(shop.url + path, { data, headers: { origin: shop.url } })).json();
    const { user } = await asks("/api/sign-up", { name: "cleo", password: PASSWORD });
    const message = { from_user_id: "u_0", payload: { text: "@Cleo!" } };
    const body = JSON.stringify({ events: [{ id: "evt_1", type: "message", timestamp: Date.now(), message }, { id: "evt_2", type: "of tomorrow" }] });
    const now = Math.floor(Date.now() / 1000);
    const secret = readFileSync(join(shop.data, "webhook.secret"), "utf8").replace("whsec_", "");
    const sign = (text, key = Buffer.from(secret, "base64")) => `v1,${createHmac("sha256", key).update(text).digest("base64")}`;
    const send = async (signature, time = now) => {
      const headers = { "webhook-id": "msg_1", "webhook-timestamp": String(time), ...(signature && { "webhook-signature": signature }) };
      return (await fetch(`${shop.url}/webhooks/roomcast`, { method: "POST", headers, body })).status;
    };
    const good = sign(`msg_1.${now}.${body}`);
    for (const bad of [undefined, "", "v1", "v1,", good.slice(0, -1), good.replace("v1", "v2"), sign(`msg_1.${now}.${body}`, "another"), sign(`msg_2.${now}.${body}`)]) {
      assert.equal(await send(bad), 401, bad);
    }
    assert.equal(await send(sign(`msg_1.${now - 400}.${body}`), now - 400), 401, "an old one");
    assert.equal(await send(`${sign(`msg_1.${now}.${body}`, "another")} ${good}`), 204, "one of two");
    assert.equal(await send(good), 204, "again");
    const { notifications } = await (await api.get(`${shop.url}/api/me`)).json();
    assert.deepEqual(notifications.map(({ id }) => id), [`evt_1-${user.id}`]);
  });

  const enter = (...who) => enterShop(shop, watch, ...who);
  const watch = (page) => {
    page.on("pageerror", (error) => problems.push(String(error.stack)));
    // What the browser says of a server that is away, and of requests that are refused, is as it should be.
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type()) && !/WebSocket connection|status of 40[13]/.test(message.text())) problems.push(message.text());
    });
  };
});

describe("the web application on two nodes", { timeout: 240_000 }, () => {
  let shop, redis;
  const problems = [];
  before(async () => {
    const [port] = await freePorts(1);
    redis = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", place], { stdio: "ignore" });
    shop = await startShop("--nodes", "2", "--redis", `redis://127.0.0.1:${port}`, "--no-build");
  });
  after(async () => {
    await shop?.stop();
    if (redis?.exitCode === null) redis.kill("SIGKILL"), await once(redis, "exit");
  });

  test("users of both are in one room, and one node that ends costs nobody a message", async () => {
    const watch = (page) => page.on("pageerror", (error) => problems.push(String(error.stack)));
    const ada = await enterShop(shop, watch, "ada", DESKTOP);
    const bob = await enterShop(shop, watch, "bob", PHONE);
    const staff = await enterShop(shop, watch, "staff", DESKTOP, shop.staffPassword);
    await ada.says("from one node");
    await bob.hears("ada", "from one node");
    await bob.says("from the other");
    await ada.hears("bob", "from the other");
    await bob.page.click("nav >> text=Orders");
    await bob.page.click("form >> text=Order");

    process.kill(shop.process("roomcast 1"), "SIGKILL");
    await state(ada, "reconnecting");
    await ada.says("is anybody there", PATIENCE);
    await bob.hears("ada", "is anybody there", PATIENCE);
    await staff.page.click("text=Ship", { timeout: PATIENCE });
    await until("he is told", () => bob.page.locator(".toast").count(), PATIENCE);
    for (const one of [ada, bob]) {
      const lines = await one.page.locator(".line p").allTextContents();
      assert.deepEqual(lines, ["from one node", "from the other", "is anybody there"]);
      assert.equal(await one.page.locator(".lines .remark").count(), 0, "nothing is missing");
    }
    assert.deepEqual(problems, []);
  });
});

// --- People ---

/** Somebody with a browser of their own, who has logged in, or made an account. */
async function enterShop(shop, watch, name, device, password) {
  const context = await browser.newContext(device);
  const one = {
    context,
    async open() {
      one.page = await context.newPage();
      watch(one.page);
      await one.page.goto(shop.url);
    },
    async says(text, patience) {
      await one.page.fill(".composer input", text);
      await one.page.press(".composer input", "Enter");
      const line = one.page.locator('.line.own[data-state="sent"]', { hasText: text }).last();
      await until(`${name} has said ${text}`, () => line.count(), patience);
    },
    async hears(from, text, patience) {
      const line = one.page.locator(".line:not(.own) p", { hasText: text }).last();
      await until(`${name} hears ${text}`, () => line.count(), patience);
      await until(`${name} knows that it is ${from}`, async () => (await one.page.locator(".line .name").last().textContent()) === from);
    },
    asks: (method, path) => context.request.fetch(shop.url + path, { method }).then((answer) => ({ status: answer.status(), json: () => answer.json(), text: () => answer.text() })),
    stored: async () => (await one.asks("GET", "/api/me")).json(),
  };
  await one.open();
  await one.page.fill("[name=name]", name);
  await one.page.fill("[name=password]", password ?? PASSWORD);
  if (name === "ada") await look(one.page);
  await one.page.click(password ? "text=Log in" : "text=Make an account");
  await state(one, "connected");
  return one;
}

const state = (one, wanted) => until(`it is ${wanted}`, () => one.page.locator(`.connection[data-state="${wanted}"]`).count(), PATIENCE);

/** The page shows so many new lines, from the first of them on. */
async function unread(one, count) {
  await until("the number of new lines", async () => (await one.page.title()) === `(${count}) Harbour Coffee`);
  assert.equal(await one.page.textContent(".jump"), `${count} new ↓`);
  assert.equal(await one.page.textContent(".divider + .line p"), "cup 1");
  assert.ok(await one.page.locator(".divider").isVisible());
}

/** What axe-core has to say, in light and in dark. */
async function look(page) {
  for (const colorScheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme });
    if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const found = violations.map(({ id, impact, nodes }) => `${impact}: ${id}: ${nodes.map(({ html }) => html).join(" ")}`);
    assert.deepEqual(found, [], colorScheme);
  }
}

/** What the server answers to somebody who joins with a token, and then to what they say: the error's code, or the type. */
function joins(port, token, saying) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`);
  const say = (message) => socket.send(JSON.stringify(message));
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("open", () => say({ type: "hello", payload: { version: 1, token } }));
    socket.on("message", (data) => {
      const { type, payload } = JSON.parse(data);
      if (type === "welcome") return say({ type: "join_room", room_id: "chat:lounge", payload: {} });
      if (type === "joined" && saying) return say(saying);
      if (type === "presence" || type === "player_joined") return;
      resolve(type === "error" ? payload.code : type);
      socket.close();
    });
  });
}

// --- Programs ---

/** Starts the example as `npm start` does, with keys of its own. */
async function startShop(...flags) {
  const ports = await freePorts(6);
  const data = mkdtempSync(join(place, "data-"));
  const roomcast = process.env.ROOMCAST_BIN ?? join(repository, "target/release/roomcast");
  const args = ["scripts/start.js", "--data", data, "--ports", ports.join(","), "--roomcast", roomcast, ...flags];
  const child = spawn(process.execPath, args, { cwd: app, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  const said = (pattern) => [...output.matchAll(pattern)].at(-1)?.[1];
  await until("the shop to open", () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}:\n${output}`);
    return said(/the shop is open: (\S+)/g) && said(/(staff logs in)/g);
  }, PATIENCE);
  return {
    url: `http://localhost:${ports[0]}`,
    entry: ports[1],
    data,
    staffPassword: said(/staff logs in as "staff" with (\S+)/g),
    process: (name) => Number(said(new RegExp(`${name}: process (\\d+)`, "g"))),
    async stop() {
      if (child.exitCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    },
  };
}

async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function run(cwd, command, ...args) {
  // What it has printed is in the error, should it fail.
  execFileSync(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
}
