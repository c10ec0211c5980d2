// What the tests here share: a real server, a browser, and waiting for something with a deadline.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import * as net from "node:net";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const repository = fileURLToPath(new URL("../../", import.meta.url));

/** Where screenshots are kept. */
export const artifacts = process.env.ROOMCAST_ARTIFACTS ?? `${repository}artifacts`;
mkdirSync(artifacts, { recursive: true });

/** Starts the server on a port of its choice (or on `port`) and waits until it says where it listens. */
export async function startServer({ port = 0, args = [] } = {}) {
  const program = process.env.ROOMCAST_BIN ?? `${repository}target/release/roomcast`;
  const child = spawn(program, ["serve", "--listen", `127.0.0.1:${port}`, ...args], {
    cwd: artifacts, // where no roomcast.toml lies
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("ROOMCAST_"))),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const bound = new Promise((resolve, reject) => {
    const take = (data) => {
      output += data;
      const match = /127\.0\.0\.1:([1-9]\d*)\D/.exec(output);
      if (match) resolve(Number(match[1]));
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`the server ended with ${code}:\n${output}`)));
  });
  try {
    port = await deadline(bound, 20_000, () => `the server did not say where it listens:\n${output}`);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    /** Waits until it ends by itself, and returns its exit code. */
    ended: () => until("the server to end", () => child.exitCode !== null && [child.exitCode], 30_000).then(([code]) => code),
    async stop(signal = "SIGKILL") {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill(signal);
      await exited;
    },
  };
}

/**
 * Starts an example on a port of its choice (or on `port`), with the server's flags, and waits until it says where it
 * listens. It is ended with `signal`: one that has processes of its own wants to end them first.
 */
export async function startExample(name, port = 0, signal = "SIGKILL", args = []) {
  const target = process.env.CARGO_TARGET_DIR ?? `${repository}target`;
  const child = spawn(`${target}/optimised/examples/${name}`, ["--listen", `127.0.0.1:${port}`, ...args], {
    cwd: artifacts, // where no roomcast.toml lies
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("ROOMCAST_"))),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let failure;
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  child.on("error", (error) => (failure = error));
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null || failure) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  };
  try {
    const bound = await until("the example to say where it listens", () => {
      if (failure || child.exitCode !== null) throw failure ?? new Error(`it ended with ${child.exitCode}:\n${output}`);
      return /127\.0\.0\.1:([1-9]\d*)\D/.exec(output)?.[1];
    }, 40_000);
    return { url: `http://127.0.0.1:${bound}/`, port: Number(bound), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A wire to a server on this machine, with a port of its own: `pull` cuts it without a close frame, `plug` mends it. */
export async function startWire(port) {
  const sockets = new Set();
  let whole = true;
  const listener = net.createServer((near) => {
    if (!whole) return near.resetAndDestroy();
    const far = net.connect(port, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => [near, far].forEach((it) => it.destroy()) || sockets.delete(socket));
    }
    near.pipe(far).pipe(near);
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const pull = () => {
    whole = false;
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return { port: listener.address().port, pull, plug: () => (whole = true), stop: () => (pull(), listener.close()) };
}

/** Starts Debian's Chromium (or the one that CHROMIUM names). */
export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** An empty page on a port of its own: another origin than the server's. */
export async function startEmptyPage() {
  const server = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>empty</title><link rel=icon href=data:,>");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://localhost:${server.address().port}/`, stop: () => server.close() };
}

/** Waits until `check` gives something true, and returns it. Fails after the deadline with what was waited for. */
export async function until(what, check, milliseconds = 30_000) {
  const end = performance.now() + milliseconds;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (performance.now() > end) throw new Error(`waited ${milliseconds} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}

function deadline(promise, milliseconds, message) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(message())), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
