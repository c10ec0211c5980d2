// Clients behind wires that break at random, from a seed that is printed.

import { afterEach, expect, it } from "vitest";
import type { Client, Room } from "../src/index.js";
import { closeAll, newClient, type Server, soon, startServer, until, Wire } from "./server.js";

const CLIENTS = 4;
const MESSAGES = 100;
const seeds = process.env.ROOMCAST_SEED
  ? [Number(process.env.ROOMCAST_SEED)]
  : Array.from({ length: Number(process.env.ROOMCAST_ROUNDS ?? 8) }, (_, n) => n + 1);

/** Numbers below a bound, the same for the same seed. */
function randomOf(seed: number) {
  let state = seed * 7919;
  return (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 12) % below;
  };
}

interface Party {
  client: Client<any>;
  room: Room<any>;
  wire: Wire;
  heard: string[];
  direct: string[];
  /** What should not happen. */
  faults: string[];
}

const parties: Party[] = [];
let waker: NodeJS.Timeout | undefined;

async function gather(server: Server, name: string): Promise<void> {
  for (let n = 0; n < CLIENTS; n++) {
    const wire = new Wire(server.port);
    const client = newClient(await wire.listen());
    const party: Party = { client, room: client.room(name), wire, heard: [], direct: [], faults: [] };
    parties.push(party);
    party.room.on("n", (data: string) => party.heard.push(data));
    client.on("d", (data: string) => party.direct.push(data));
    for (const channel of [client, party.room] as Client<any>[]) {
      channel.subscribe("error", (error) => party.faults.push(error.code));
    }
  }
  await soon(Promise.all(parties.map((it) => it.room.join())));
  // Nobody here waits for seconds.
  waker = setInterval(() => {
    for (const { client } of parties) if (client.status.state == "reconnecting") client.wake();
  }, 10);
}

afterEach(() => {
  clearInterval(waker);
  closeAll();
  for (const { wire } of parties.splice(0)) wire.stop();
});

const code = (result: PromiseSettledResult<unknown>) => (result.status == "fulfilled" ? "done" : result.reason.code);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Of those who sent several, each one's are in order. */
function expectOrder(heard: string[]): void {
  const last: Record<string, number> = {};
  for (const it of heard) {
    const [from, number] = it.split(":") as [string, string];
    expect(Number(number), `${it} in ${heard}`).toBeGreaterThan(last[from] ?? 0);
    last[from] = Number(number);
  }
}

function harm(random: (below: number) => number): void {
  const { wire, client, room } = parties[random(CLIENTS)]!;
  const kind = random(12);
  if (kind == 0) wire.cut();
  else if (kind == 1) wire.cutAfter = random(3000);
  else if (kind == 2) client.pullCable(random(30));
  else if (kind == 3) room.updatePresence({ n: random(1000) });
}

it.each(seeds)("nothing is lost, nothing comes twice: seed %i", async (seed) => {
  const random = randomOf(seed);
  const server = await startServer({ "kinds.chat.mode": "relay" });
  try {
    await gather(server, "chat:1");
    const sends: Promise<unknown>[] = [];
    const directs: Promise<unknown>[] = [];
    for (let n = 1; n <= MESSAGES; n++) {
      const from = random(CLIENTS);
      const to = random(CLIENTS);
      const { room, client } = parties[from]!;
      const abort = random(6) ? undefined : new AbortController();
      const ttlMs = random(6) ? undefined : random(40);
      sends.push(room.send("n", `${from}:${n}`, { signal: abort?.signal as AbortSignal, ttlMs: ttlMs as number }));
      if (abort) setTimeout(() => abort.abort(), random(30));
      directs.push(client.direct({ client: parties[to]!.client.id }, "d", `${from}>${to}:${n}`));
      harm(random);
      if (random(4) == 0) await pause(random(20));
    }
    for (const { wire } of parties) wire.cutAfter = Infinity;
    const results = (await soon(Promise.allSettled(sends), "answers", 30_000)).map(code);
    expect((await soon(Promise.allSettled(directs), "answers")).map(code)).toEqual(directs.map(() => "done"));
    const done = results.filter((it) => it == "done").length;
    // One that is given up was not done, unless nobody can say so; here none was.
    for (const it of results) expect(["done", "aborted", "expired", "unconfirmed"]).toContain(it);
    for (const { room, heard } of parties) await until((told) => room.on("n", told), () => heard.length >= done);
    const onDirect = (told: () => void) => {
      const stops = parties.map(({ client }) => client.on("d", told));
      return () => stops.forEach((stop) => stop());
    };
    await until(onDirect, () => parties.flatMap((it) => it.direct).length >= MESSAGES);
    for (const [n, { client, room, heard, direct, faults }] of parties.entries()) {
      expect(heard).toEqual(parties[0]!.heard);
      expectOrder(heard);
      expectOrder(direct);
      expect(new Set(direct).size).toBe(direct.length);
      expect(direct.every((it) => it.includes(`>${n}:`))).toBe(true);
      expect(faults).toEqual([]);
      expect(client.stats.gaps).toBe(0);
      expect([room.members.length, room.total]).toEqual([CLIENTS, CLIENTS]);
    }
    expect(parties[0]!.heard.length).toBe(done);
    expect(parties.some((it) => it.client.stats.reconnects > 0)).toBe(true);
  } finally {
    await server.stop();
  }
}, 90_000);

it.each(seeds.slice(0, 3))("a server that is killed: no repeat, the loss is told, seed %i", async (seed) => {
  const random = randomOf(seed);
  let server = await startServer({ "kinds.chat.mode": "relay" });
  try {
    await gather(server, "chat:1");
    const sends: Promise<unknown>[] = [];
    for (let kills = 0; kills < 4; kills++) {
      for (let n = 1; n <= 30; n++) {
        const from = random(CLIENTS);
        sends.push(parties[from]!.room.send("n", `${from}:${sends.length + 1}`));
        harm(random);
        if (random(3) == 0) await pause(random(10));
      }
      await server.stop("SIGKILL");
      server = await startServer({ "kinds.chat.mode": "relay" }, server.port);
    }
    for (const { wire } of parties) wire.cutAfter = Infinity;
    const codes = (await soon(Promise.allSettled(sends), "answers", 30_000)).map(code);
    // With another secret the server takes each for a new client: what was sent before can't be told from a repeat.
    for (const it of codes) expect(["done", "unconfirmed"]).toContain(it);
    // From here on nothing is lost.
    for (const { room } of parties) await until((told) => room.subscribe("status", told), () => room.status == "joined");
    await soon(parties[0]!.room.send("n", "0:1000"));
    for (const { room, heard, faults, client } of parties) {
      await until((told) => room.on("n", told), () => heard.includes("0:1000"));
      expectOrder(heard);
      expect(faults).toEqual([]);
      expect(client.stats.gaps).toBeGreaterThan(0);
    }
  } finally {
    await server.stop();
  }
}, 90_000);
