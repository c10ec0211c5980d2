/**
 * For networks that let no WebSocket through: the same protocol over an event stream and requests.
 *
 * @packageDocumentation
 */
import type { WebSocketLike } from "./types.js";

/** Milliseconds until a WebSocket that does not open is given up. */
const OPEN_MS = 4_000;
/** Milliseconds until a WebSocket is tried again: the first time, and at most. */
const AGAIN_MS = 60_000;
const MOST_AGAIN_MS = 3_600_000;
/** Milliseconds until a request without an answer is sent again, and the pause before that. */
const POST_MS = 15_000;
const PAUSE_MS = 500;
/** A request that failed is sent so often. */
const TRIES = 5;
/** Bytes that a browser sends for a page that goes away. */
const KEPT = 60_000;
const KEY = "roomcast.fallback";

/** How a connection is had. */
export type Transport = "websocket" | "event-stream";

/** Options of `fallback`. */
export interface FallbackOptions {
  /** The WebSocket to try first, where there is no global one. `null`: none is tried. */
  WebSocket?: WebSocketLike | null | undefined;
  /** In place of the global one, for instance to send cookies to another origin. */
  fetch?: typeof fetch | undefined;
  /** Milliseconds until a WebSocket that does not open is given up; 4,000 if left out. */
  openMs?: number | undefined;
  /** Milliseconds until a WebSocket is tried again, each time twice as long up to an hour; a minute if left out. */
  againMs?: number | undefined;
  /** Called when a connection is open. */
  onOpen?: ((transport: Transport) => void) | undefined;
}

/**
 * What to give a client as its `WebSocket`. It is one where one can be had. Where none can, but an event stream can, it is
 * that, and a WebSocket is tried again later.
 *
 * ```ts
 * import { Client } from "roomcast";
 * import { fallback } from "roomcast/fallback";
 *
 * const client = new Client("wss://example.com/ws", { WebSocket: fallback() });
 * ```
 *
 * The event stream is at `sse`, and requests go to `send`, both beside the WebSocket's address. Both speak JSON: a client
 * with another codec has WebSockets alone.
 */
export function fallback(options: FallbackOptions = {}): WebSocketLike {
  const memory = new Memory(options.againMs ?? AGAIN_MS);
  return class extends Socket {
    constructor(url: string, protocol?: string | string[]) {
      super(options, memory, url, protocol);
    }
  };
}

/** Whether WebSockets can't be had, for how long that is believed, and for how long the next time. */
class Memory {
  private _until = 0;
  private _wait: number;

  constructor(private _first: number) {
    this._wait = _first;
    this._until = stored();
    // Another network may be another one in this too.
    globalThis.addEventListener?.("online", () => this._store(0));
  }

  /** Milliseconds in which no WebSocket is tried. */
  _left(): number {
    return this._until - Date.now();
  }

  /** An event stream could be had, and a WebSocket could not. */
  _blocked(): void {
    this._store(Date.now() + this._wait);
    this._wait = Math.min(2 * this._wait, MOST_AGAIN_MS);
  }

  _works(): void {
    this._wait = this._first;
    if (this._until) this._store(0);
  }

  private _store(until: number): void {
    this._until = until;
    try {
      sessionStorage.setItem(KEY, "" + until);
    } catch {
      // There is none here, or it is forbidden: the next page finds it out.
    }
  }
}

const stored = (): number => {
  try {
    // Not longer than it could have been meant for, whatever was done to the clock.
    return Math.min(Number(sessionStorage.getItem(KEY)) || 0, Date.now() + MOST_AGAIN_MS);
  } catch {
    return 0;
  }
};

/** A WebSocket's face, with one or the other behind it. */
class Socket {
  onopen: (() => void) | undefined;
  onmessage: ((event: { data: unknown }) => void) | undefined;
  onclose: ((event: { code: number; reason: string }) => void) | undefined;
  onerror: (() => void) | undefined;
  binaryType = "arraybuffer";
  private _web: any;
  private _stream: Stream | undefined;
  private _again: unknown;
  private _over?: boolean;

  constructor(
    private _options: FallbackOptions,
    private _memory: Memory,
    private _url: string,
    private _protocol: string | string[] | undefined,
  ) {
    const isJson = !_protocol || /json$/.test("" + _protocol);
    const WebSocketClass = this._webSocket();
    if (WebSocketClass && (!isJson || _memory._left() <= 0)) this._tryWeb(WebSocketClass, isJson);
    // Whoever made it has to have its handlers first.
    else setTimeout(() => this._openStream(false));
  }

  get bufferedAmount(): number {
    return (this._stream ?? this._web)?.bufferedAmount ?? 0;
  }

  send(data: any): void {
    (this._stream ?? this._web).send(data);
  }

  close(code = 1000, reason?: string): void {
    this._over = true;
    clearTimeout(this._again as number);
    // One that is opening has no reason.
    this._web?.close(code, reason);
    this._stream?._close(code);
  }

  private _webSocket(): WebSocketLike | null | undefined {
    const { WebSocket: given } = this._options;
    return given === undefined ? globalThis.WebSocket : given;
  }

  private _tryWeb(WebSocketClass: WebSocketLike, mayFall: boolean): void {
    let opened = false;
    const web = (this._web = new WebSocketClass(this._url, this._protocol));
    const failed = () => {
      if (opened || this._over || web != this._web) return;
      this._web = undefined;
      web.onclose = web.onopen = null;
      // Node's throws this, where nobody listens.
      web.onerror = () => {};
      web.close();
      this._openStream(true);
    };
    const timer = mayFall ? setTimeout(failed, this._options.openMs ?? OPEN_MS) : 0;
    web.binaryType = this.binaryType;
    web.onopen = () => {
      opened = true;
      clearTimeout(timer);
      this._memory._works();
      this._options.onOpen?.("websocket");
      this.onopen?.();
    };
    web.onmessage = (event: { data: unknown }) => this.onmessage?.(event);
    web.onerror = () => this.onerror?.();
    web.onclose = (event: { code: number; reason: string }) => {
      clearTimeout(timer);
      if (opened || !mayFall) this.onclose?.(event);
      else failed();
    };
  }

  /** `instead`: a WebSocket could not be had. Where this one can't either, it may be the network, or the server. */
  private _openStream(instead: boolean): void {
    if (this._over) return;
    const stream = (this._stream = new Stream(this._url, this._options.fetch ?? fetch));
    stream._onopen = () => {
      if (instead) this._memory._blocked();
      this._wait();
      this._options.onOpen?.("event-stream");
      this.onopen?.();
    };
    stream._onmessage = (data) => this.onmessage?.({ data });
    stream._onclose = (code, reason) => {
      clearTimeout(this._again as number);
      // What was believed may be true no more.
      if (!stream._opened) this._memory._works();
      this.onclose?.({ code, reason });
    };
    void stream._open();
  }

  /** Looks after a while whether there are WebSockets now. The client then comes back with its session, on one. */
  private _wait(): void {
    const WebSocketClass = this._webSocket();
    if (!WebSocketClass) return;
    this._again = setTimeout(
      () => {
        let over = false;
        const probe = new WebSocketClass(this._url, this._protocol);
        const done = (works: boolean) => {
          if (over) return;
          over = true;
          clearTimeout(timer);
          probe.onerror = () => {};
          probe.close();
          if (this._over) return;
          if (!works) {
            this._memory._blocked();
            return this._wait();
          }
          this._memory._works();
          this._stream?._end(4000, "reconnect: a WebSocket can be had");
        };
        const timer = setTimeout(() => done(false), this._options.openMs ?? OPEN_MS);
        probe.onopen = () => done(true);
        probe.onerror = probe.onclose = () => done(false);
      },
      Math.max(this._memory._left(), 1_000),
    );
  }
}

const bytes = (text: string) => new TextEncoder().encode(text).length;
const pause = (ms: number) => new Promise((then) => setTimeout(then, ms));

/** Events from `sse`, and messages to `send`. */
class Stream {
  _onopen!: () => void;
  _onmessage!: (data: string) => void;
  _onclose!: (code: number, reason: string) => void;
  _opened = false;
  bufferedAmount = 0;
  private _abort = new AbortController();
  private _id = "";
  private _most = 65_536;
  private _batch = 1;
  private _queue: string[] = [];
  private _busy = false;
  private _code = 0;
  private _ended = false;

  constructor(
    private _url: string,
    private _fetch: typeof fetch,
  ) {}

  /** An address beside the WebSocket's. */
  private _at(name: string): string {
    const url = new URL(this._url.replace(/^ws/, "http"));
    url.pathname = url.pathname.replace(/[^/]*\/?$/, name);
    return url.href;
  }

  async _open(): Promise<void> {
    const { signal } = this._abort;
    try {
      const headers = { accept: "text/event-stream" };
      const answer = await this._fetch.call(undefined, this._at("sse"), { headers, cache: "no-store", signal });
      const { status, body } = answer;
      if (status == 503) {
        const wait = Number(answer.headers.get("retry-after")) * 1000;
        return this._end(1013, `overloaded; retry_after_ms=${wait || 1000}`);
      }
      // What is in the way may answer for the server.
      if (!body || status != 200 || !/^text\/event-stream/.test(answer.headers.get("content-type") ?? "")) {
        return this._end(1006, "");
      }
      const reader = body.getReader();
      const decoder = new TextDecoder();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        text += decoder.decode(value, { stream: true });
        const events = text.split("\n\n");
        text = events.pop()!;
        for (const event of events) this._hear(event);
      }
    } catch {
      // It was given up, or the connection is lost.
    }
    this._end(1006, "");
  }

  private _hear(event: string): void {
    let name = "";
    let data = "";
    for (const line of event.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (this._ended || !data) return;
    if (!name) return this._onmessage(data);
    const told = JSON.parse(data);
    if (name == "close") return this._end(told.code, told.reason);
    if (name != "stream") return;
    this._id = told.id;
    this._most = told.max_body;
    this._opened = true;
    this._onopen();
  }

  send(data: string): void {
    this.bufferedAmount += data.length;
    this._queue.push(data);
    void this._pump();
  }

  /** Sends what waits, one request after the other: their order is that of their numbers. */
  private async _pump(): Promise<void> {
    if (this._busy) return;
    this._busy = true;
    // What is said at once goes at once.
    await undefined;
    while (!this._ended && (this._queue.length || this._code)) {
      const lines = this._take();
      const code = this._queue.length ? 0 : this._code;
      const body = lines.join("\n");
      if (!(await this._post(body, code))) break;
      for (const line of lines) this.bufferedAmount -= line.length;
      if (code) return this._end(code, "");
    }
    this._busy = false;
  }

  /** As many messages as a request may have, and one at least. */
  private _take(): string[] {
    let size = 0;
    let count = 0;
    for (const line of this._queue) {
      size += bytes(line) + 1;
      if (count && size > this._most) break;
      count++;
    }
    return this._queue.splice(0, count);
  }

  /** Whether the messages were taken: once, however often they are sent. */
  private async _post(body: string, code: number): Promise<boolean> {
    // One message, then: the server would not read it.
    if (bytes(body) > this._most) return this._tooBig();
    const headers: Record<string, string> = {
      "content-type": "application/x-ndjson",
      "roomcast-stream": this._id,
      "roomcast-batch": "" + this._batch,
    };
    if (code) headers["roomcast-close"] = "" + code;
    for (let tries = 0; !this._ended; tries++) {
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), POST_MS);
      const give = () => late.abort();
      this._abort.signal.addEventListener("abort", give);
      let status = 0;
      try {
        const request = { method: "POST", headers, body, signal: late.signal, keepalive: body.length < KEPT };
        const answer = await this._fetch.call(undefined, this._at("send"), request);
        status = answer.status;
        // A browser keeps the connection for the next request once the body is read.
        await answer.text();
      } catch {
        // Sent again below.
      }
      clearTimeout(timer);
      this._abort.signal.removeEventListener("abort", give);
      if (status == 204) {
        this._batch++;
        return true;
      }
      // Something in the way takes less than the server does. It would again, on each new stream.
      if (status == 413) return this._tooBig();
      // The stream is gone, or something in the way refuses it: the session goes on with another one.
      if ((status >= 400 && status < 500 && status != 408 && status != 429) || tries >= TRIES) break;
      await pause(PAUSE_MS * 2 ** tries);
    }
    // The stream may be about to say why.
    await pause(PAUSE_MS);
    this._end(1006, "");
    return false;
  }

  /** As a WebSocket is closed whose message nobody reads. */
  private _tooBig(): false {
    this._end(1009, "too_big");
    return false;
  }

  /** The client goes: with 1000 its session ends, once that was said. */
  _close(code: number): void {
    if (code != 1000 || !this._opened) return this._end(code, "");
    this._code = code;
    void this._pump();
  }

  _end(code: number, reason: string): void {
    if (this._ended) return;
    this._ended = true;
    this._abort.abort();
    // Not before whoever closes it is done.
    queueMicrotask(() => this._onclose(code, reason));
  }
}
