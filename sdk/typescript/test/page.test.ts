// What a page does beside the socket: its events and its storage are the test's own, the server is real.

import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { Client, type Saved } from "../src/index.js";
import { keepOverReload } from "../src/reload.js";
import { closeAll, connected, newClient, type Server, soon, startServer, until, Wire } from "./server.js";

let server: Server;
beforeAll(async () => void (server = await startServer({ "kinds.chat.mode": "relay" })));
afterAll(() => server.stop());

/** One page of a tab: what a browser gives it. */
class Page {
  window = new EventTarget();
  document = { hidden: false };
  constructor(readonly storage: Map<string, string>) {}

  /** The code that runs now is this page's. */
  enter(): this {
    vi.stubGlobal("addEventListener", this.window.addEventListener.bind(this.window));
    vi.stubGlobal("document", this.document);
    vi.stubGlobal("sessionStorage", {
      getItem: (key: string) => this.storage.get(key) ?? null,
      setItem: (key: string, value: string) => this.storage.set(key, value),
      removeItem: (key: string) => this.storage.delete(key),
    });
    return this;
  }
  tell(name: string, extra: object = {}) {
    this.window.dispatchEvent(Object.assign(new Event(name), extra));
  }
}

const make = (saved?: Saved) => newClient(server.url, saved ? { saved } : {});

/** The browser closes the sockets of a page that is gone with 1001, which a script can't do. */
const goAway = (client: Client<any>) => (client as any)._socket.close(4000);

afterEach(() => {
  closeAll();
  vi.unstubAllGlobals();
});

it("touches nothing of a browser when it is imported or made", async () => {
  for (const name of ["WebSocket", "document", "sessionStorage", "addEventListener"]) {
    vi.stubGlobal(name, undefined);
  }
  vi.resetModules();
  const { Client } = await import("../src/index.js");
  const client = new Client("wss://host/ws");
  client.room("a", { nickname: "Ada", presence: { x: 1 } }).on("x", () => {});
  expect(client.status.state).toBe("idle");
  expect(client.room("a").members).toEqual([]);
});

it("goes on after a reload: nobody sees it leave, and its numbers go on", async () => {
  const watch = newClient(server.url).room("chat:1");
  const seen: string[] = [];
  watch.subscribe("any", ({ type, name, data }) => seen.push(type == "event" ? `${name} ${data}` : type));
  await soon(watch.join());

  const tab = new Map<string, string>();
  const first = new Page(tab).enter();
  const before = keepOverReload("game", make);
  await soon(before.room("chat:1").join());
  await soon(before.room("chat:1").send("n", 1));
  await soon(before.room("chat:1").send("n", 2));
  first.tell("pagehide", { persisted: false });
  goAway(before);
  before.close = () => {};

  new Page(tab).enter();
  const after = keepOverReload("game", make);
  const room = after.room("chat:1");
  await soon(room.join());
  expect(after.id).toBe(before.id);
  expect(after.status).toEqual({ state: "connected", resumed: true });
  expect(await soon(room.send("n", 3))).toMatchObject({ seq: 3 });
  await until((told) => watch.subscribe("any", told), () => seen.includes("n 3"));
  expect(seen.filter((it) => it != "player_joined")).toEqual(["n 1", "n 2", "n 3"]);
  expect(watch.members.length).toBe(2);
});

it("misses nothing of what was said during a reload, in a room and to itself", async () => {
  const other = newClient(server.url);
  const said = other.room("chat:3");
  await soon(said.join());
  const tab = new Map<string, string>();
  const page = new Page(tab).enter();
  const before = keepOverReload("game", make);
  const room = before.room("chat:3");
  await soon(room.join());
  await soon(said.send("n", 1));
  await soon(other.direct({ client: before.id }, "n", "one"));
  await until((told) => before.subscribe("any", told), () => (before as any).position && !!room.position);
  const since = room.position!;
  page.tell("pagehide", { persisted: false });
  goAway(before);
  before.close = () => {};
  await until((told) => said.subscribe("members", told), () => said.members.some((it) => !it.connected));
  await soon(said.send("n", 2));
  await soon(other.direct({ client: before.id }, "n", "two"));

  new Page(tab).enter();
  const after = keepOverReload("game", make);
  const heard: unknown[] = [];
  for (const of of [after, after.room("chat:3")] as { on: any; subscribe: any }[]) {
    of.on("n", (data: unknown) => heard.push(data));
    of.subscribe("gap", (gap: unknown) => heard.push(gap));
  }
  await soon(after.room("chat:3").join({ since }));
  expect(after.status).toEqual({ state: "connected", resumed: true });
  await soon(said.send("n", 3));
  await until((told) => after.room("chat:3").on("n", told), () => heard.includes(3));
  expect(heard.filter((it) => typeof it == "string")).toEqual(["two"]);
  expect(heard.filter((it) => typeof it != "string")).toEqual([2, 3]);
  expect(after.stats.gaps).toBe(0);
});

it("a room with an odd name does not keep the page after a reload from connecting", async () => {
  const tab = new Map<string, string>();
  const page = new Page(tab).enter();
  const before = keepOverReload("game", make);
  await soon(before.room("chat:4").join());
  page.tell("pagehide", { persisted: false });
  goAway(before);
  before.close = () => {};
  new Page(tab).enter();
  const after = keepOverReload("game", make);
  const odd = after.room("no name").join();
  await soon(after.room("chat:4").join());
  await expect(soon(odd)).rejects.toMatchObject({ code: "invalid_name" });
  expect(after.id).toBe(before.id);
});

it("a second tab does not steal: its storage is a copy, and there is nothing in it", async () => {
  const tab = new Map<string, string>();
  new Page(tab).enter();
  const first = keepOverReload("game", make);
  first.connect();
  await connected(first);
  new Page(new Map(tab)).enter();
  const second = keepOverReload("game", make);
  second.connect();
  await connected(second);
  expect(second.id).not.toBe(first.id);
  expect(first.status.state).toBe("connected");
});

it("a room that the new page does not join is left", async () => {
  const watch = newClient(server.url).room("chat:2");
  await soon(watch.join());
  const tab = new Map<string, string>();
  const page = new Page(tab).enter();
  const before = keepOverReload("game", make);
  await soon(before.room("chat:2").join());
  await until((told) => watch.subscribe("members", told), () => watch.members.length == 2);
  page.tell("pagehide", { persisted: false });
  goAway(before);
  new Page(tab).enter();
  keepOverReload("game", make).connect();
  await until((told) => watch.subscribe("members", told), () => watch.members.length == 1);
});

it("connects at once when the network is back or the page is looked at, and not while it is hidden", async () => {
  const wire = new Wire(server.port);
  const page = new Page(new Map()).enter();
  const client = newClient(await wire.listen());
  const away = () =>
    until((told) => client.subscribe("status", told), () => client.status.state == "reconnecting" && (client.status as any).at - Date.now() > 400);
  try {
    client.connect();
    await connected(client);
    wire.cut();
    await away();
    page.document.hidden = true;
    page.tell("visibilitychange"); // which bubbles
    expect((client as any)._turn).toBeUndefined();
    page.document.hidden = false;
    const at = Date.now();
    page.tell("visibilitychange"); // which bubbles
    await connected(client);
    wire.cut();
    await away();
    page.tell("online");
    await connected(client);
    expect(Date.now() - at).toBeLessThan(900);
    expect(client.stats.reconnects).toBe(2);
  } finally {
    wire.stop();
  }
});
