// A real server, a wire that can be cut, and waiting for something with a deadline.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { Client, type ClientOptions } from "../src/index.js";

const target = fileURLToPath(new URL("../../../target/", import.meta.url));
const binary =
  process.env.ROOMCAST_BIN ??
  [`${target}release/roomcast`, `${target}debug/roomcast`].find(existsSync) ??
  `${target}release/roomcast`;

export interface Server {
  port: number;
  url: string;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

const children = new Set<ChildProcess>();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));

/** Starts the server on a port of its choice, or on `port`. `settings` are keys of its configuration. */
export async function startServer(settings: Record<string, string> = {}, port = 0): Promise<Server> {
  const set = Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const child = spawn(binary, ["serve", "--listen", `127.0.0.1:${port}`, ...set], {
    cwd: mkdtempSync(join(tmpdir(), "roomcast-")), // where no roomcast.toml lies
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("ROOMCAST_"))),
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.add(child);
  let output = "";
  const bound = new Promise<number>((resolve, reject) => {
    const take = (data: Buffer) => {
      output += data;
      const match = /127\.0\.0\.1:([1-9]\d*)\D/.exec(output);
      if (match) resolve(Number(match[1]));
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`the server ended with ${code}:\n${output}`)));
  });
  port = await soon(bound, () => `the server did not say where it listens:\n${output}`);
  return {
    port,
    url: `ws://127.0.0.1:${port}/ws`,
    async stop(signal = "SIGKILL") {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, "exit");
        child.kill(signal);
        await exited;
      }
      children.delete(child);
    },
  };
}

/** A token, made by the server's own program. */
export async function makeToken(secret: string, ...args: string[]): Promise<string> {
  const child = spawn(binary, ["token", ...args], {
    env: { ROOMCAST_AUTH_HS256_SECRET: secret },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (data) => (output += data));
  await once(child, "close");
  return output.trim();
}

/** A wire to the server that breaks as real ones do. */
export class Wire {
  /** New connections are refused. */
  down = false;
  connections = 0;
  /** Cuts the connection after so many bytes from the server, wherever in a frame that is. */
  cutAfter = Infinity;
  private pairs = new Set<[Socket, Socket]>();
  private server = createServer((near) => this.accept(near));

  constructor(private port: number) {}

  async listen(): Promise<string> {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return `ws://127.0.0.1:${(this.server.address() as { port: number }).port}/ws`;
  }

  /** The server is another one. */
  to(port: number): void {
    this.port = port;
  }

  get open(): number {
    return this.pairs.size;
  }

  private accept(near: Socket): void {
    if (this.down) return void near.resetAndDestroy();
    this.connections++;
    const far = connect(this.port, "127.0.0.1");
    const pair: [Socket, Socket] = [near, far];
    this.pairs.add(pair);
    const end = () => {
      this.pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    near.on("data", (data) => far.write(data));
    far.on("data", (data) => {
      if (data.length >= this.cutAfter) {
        near.write(data.subarray(0, this.cutAfter), end);
        this.cutAfter = Infinity;
      } else {
        this.cutAfter -= data.length;
        near.write(data);
      }
    });
    for (const socket of pair) socket.on("error", end).on("close", end);
  }

  /** All connections are gone, without a word. */
  cut(): void {
    for (const [near, far] of this.pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
    this.pairs.clear();
  }

  /** No byte passes any more, in either direction, on the connections that there are. */
  stall(): void {
    for (const pair of this.pairs) for (const socket of pair) socket.pause();
  }

  stop(): void {
    this.cut();
    this.server.close();
  }
}

/** Clients that are closed by `closeAll`. */
const clients = new Set<Client<any>>();

export function newClient<App = any>(url: string, options: ClientOptions = {}): Client<App> {
  const client = new Client<App>(url, { WebSocket: (globalThis as any).WebSocket ?? WebSocket, ...options });
  clients.add(client);
  return client;
}

export function closeAll(): void {
  for (const client of clients) client.close();
  clients.clear();
}

/** The promise's value, if it comes soon. */
export async function soon<T>(promise: Promise<T>, what: string | (() => string) = "it", ms = 20_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`too late: ${typeof what == "string" ? what : what()}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** When it holds, asked each time that `subscribe` tells. */
export function until(
  subscribe: (handler: () => void) => () => void,
  holds: () => boolean,
  what: string | (() => string) = String(holds),
): Promise<void> {
  let stop: (() => void) | undefined;
  const done = new Promise<void>((resolve) => {
    const look = () => holds() && resolve();
    stop = subscribe(look);
    look();
  });
  return soon(done, what).finally(() => stop?.());
}

export const connected = (client: Client<any>) =>
  until((told) => client.subscribe("status", told), () => client.status.state == "connected", () => JSON.stringify(client.status));

/** What a promise was rejected with. */
export const refusal = (promise: Promise<unknown>): Promise<any> =>
  soon(promise.then(() => Promise.reject(new Error("it was not refused")), (error) => error));
