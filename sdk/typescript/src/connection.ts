import { Clock } from "./clock.js";
import { json } from "./codec.js";
import { RoomcastError, UnauthorizedError } from "./errors.js";
import { backoff, closeError, comesBack, LONGEST_TIMER } from "./reconnect.js";
import type { ClientEnvelope, ClientOptions, ServerEnvelope, Status, WelcomePayload } from "./types.js";

/** A connection is opened, and `hello` answered, within this time. */
const ANSWER_MS = 10_000;
/** A probe is answered within this time, or the connection is dead. */
const PROBE_MS = 5_000;
/** A timer that is so late was held up: by a laptop that slept, or in a hidden page. It proves nothing. */
const LATE_MS = 2_000;
/** A connection that lived so long was a good one: the next wait is a short one. */
const STABLE_MS = 5_000;
/** A new token is asked for so long before the end of the old one, or a fifth of its time where that is less. */
const RENEW_MS = 60_000;

/** Who speaks over the connection. */
interface Host {
  /** The first message. */
  _hello(): ClientEnvelope;
  _welcome(welcome: WelcomePayload): void;
  _take(message: ServerEnvelope): void;
  /** Nothing that was written is known to have arrived. */
  _lost(): void;
  _ended(error: RoomcastError): void;
  _emit(key: string, ...args: unknown[]): void;
}

/**
 * One WebSocket at a time: opened, greeted, watched, lost, opened again.
 *
 * `_timer` is the one thing waited for: the next attempt, the answer to `hello`, or the next ping.
 */
export class Connection {
  _status: Status = { state: "idle" };
  _clock = new Clock();
  /** Since `welcome`. */
  _open = false;
  _limits: Partial<WelcomePayload["limits"]> = {};
  /** For the next `hello`. */
  _token: string | undefined;
  private _socket: any;
  /** The present attempt or connection; what comes from one before is not heard. */
  private _turn: object | undefined;
  /** A socket that was abandoned without a word. */
  private _ghost: any;
  private _timer: any;
  private _tokenTimer: any;
  private _moveTimer: any;
  private _attempts = 0;
  private _greetedAt = 0;
  private _openedAt = 0;
  private _interval = 0;
  /** When the whole burst may be sent again. */
  private _fullAt = 0;
  /** When the timer of the next ping is due. */
  private _due = 0;
  /** Pings since anything was heard. */
  private _missed = 0;
  /** The server asked to come back then, there. */
  private _move: { _at: number; _url: string | undefined } | undefined;
  private _target: string | undefined;

  constructor(
    private _url: string,
    private _options: ClientOptions,
    private _host: Host,
  ) {}

  private get _codec() {
    return this._options.codec ?? json;
  }

  _size(message: ClientEnvelope): number {
    const frame = this._codec.encode(message);
    return (typeof frame == "string" ? new TextEncoder().encode(frame) : frame).length;
  }

  _buffered(): number {
    return this._socket?.bufferedAmount || 0;
  }

  /** How long to wait until one more message stays within the server's rate: who ignores that is cut off. */
  _wait(): number {
    const { messages_per_second: rate, burst = 0 } = this._limits;
    // On their way messages come closer together: a fifth of the burst is left for that.
    return rate ? this._fullAt - Date.now() - (800 * burst) / rate : 0;
  }

  _write(message: ClientEnvelope): void {
    this._fullAt = Math.max(this._fullAt, Date.now()) + 1000 / (this._limits.messages_per_second || Infinity);
    this._socket?.send(this._codec.encode(message));
  }

  private _set(status: Status): void {
    this._status = Object.freeze(status);
    this._host._emit("status", status);
  }

  async _connect(): Promise<void> {
    this._deadline();
    const turn = (this._turn = {});
    const alive = () => turn == this._turn;
    if (this._status.state == "idle") this._set({ state: "connecting" });
    try {
      this._token = await this._options.getToken?.();
    } catch (error) {
      if (alive()) this._tokenFailed(error, () => this._retry(new RoomcastError("no_token", String(error))));
      return;
    }
    if (!alive()) return;
    const Socket = this._options.WebSocket ?? globalThis.WebSocket;
    let socket: any;
    try {
      socket = new Socket(this._target ?? this._url, this._codec.subprotocol);
    } catch (error) {
      return this._end(new RoomcastError("bad_url", String(error)));
    }
    this._socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (!alive()) return;
      this._deadline();
      this._greetedAt = Date.now();
      this._write(this._host._hello());
    };
    socket.onmessage = ({ data }: { data: string | ArrayBuffer }) => {
      if (!alive()) return;
      this._missed = 0;
      let message;
      try {
        message = this._codec.decode(data);
      } catch (error) {
        return this._host._emit("error", new RoomcastError("unreadable", String(error)));
      }
      this._take(message);
    };
    // What is wrong is told to nobody; `close` follows.
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
      if (!alive()) return;
      const error = closeError(code, reason);
      if (comesBack(code)) this._retry(error);
      else this._end(error);
    };
  }

  private _tokenFailed(error: unknown, otherwise: () => void): void {
    if (error instanceof UnauthorizedError) this._end(error);
    else otherwise();
  }

  private _deadline(): void {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._drop("timeout"), ANSWER_MS);
  }

  private _take(message: ServerEnvelope): void {
    const now = Date.now();
    if (!this._open) {
      if (message.type == "welcome") {
        const it = message.payload;
        this._open = true;
        this._openedAt = now;
        this._limits = it.limits;
        this._interval = it.ping_interval_ms || 30_000;
        this._ghost?.close();
        this._ghost = undefined;
        this._clock._samples = [];
        this._clock._add(this._greetedAt, now, it.server_time);
        this._tokenLasts(it.token_expires_at - it.server_time);
        this._host._welcome(it);
        this._set({ state: "connected", resumed: it.resumed });
        // One early, for a better clock than that of a connection being opened.
        this._beat();
      } else if (message.type == "error") {
        const { code, message: text, retry_after_ms } = message.payload;
        const error = new RoomcastError(code, text, retry_after_ms);
        // The close that follows says the rest.
        if (code == "unauthorized") return;
        if (/^(unavailable|rate_limited|internal)$/.test(code)) this._drop(error);
        else this._end(error);
      }
    } else if (message.type == "pong") {
      this._clock._add(message.payload as number, now, message.timestamp!);
    } else if (message.type == "reconnect") {
      const { delay_ms, url } = message.payload;
      // A token goes there: only where it is as safe as here.
      const safe = url && (/^wss:/.test(url) || !/^wss:/.test(this._url));
      this._move = { _at: now + delay_ms, _url: safe ? url : undefined };
      clearTimeout(this._moveTimer);
      this._moveTimer = setTimeout(() => this._drop("reconnect"), delay_ms);
    } else if (message.type == "auth") {
      this._tokenLasts(message.payload.token_expires_at - message.timestamp!);
    } else {
      this._host._take(message);
    }
  }

  /** The token ends after so many milliseconds; less than none: it does not. */
  private _tokenLasts(left: number): void {
    clearTimeout(this._tokenTimer);
    if (left <= 0 || !this._options.getToken) return;
    this._renewAfter(left - Math.min(RENEW_MS, left / 5));
  }

  private _renewAfter(ms: number): void {
    const turn = this._turn;
    this._tokenTimer = setTimeout(
      async () => {
        try {
          const token = await this._options.getToken!();
          if (turn == this._turn) this._write({ type: "auth", payload: { token } });
        } catch (error) {
          if (turn == this._turn) this._tokenFailed(error, () => this._renewAfter(PROBE_MS));
        }
      },
      Math.min(ms, LONGEST_TIMER),
    );
  }

  /** The time for a ping; `probe`: whether the connection is alive is to be known soon. */
  private _beat(probe?: boolean): void {
    if (!this._open) return;
    clearTimeout(this._timer);
    const now = Date.now();
    const late = this._due > 0 && now > this._due + LATE_MS;
    if (!probe && this._missed > (late ? 1 : 0)) return this._drop("heartbeat_timeout");
    // The local clock may have been set, or have stood still.
    if (late) this._clock._samples = [];
    this._missed++;
    this._write({ type: "ping", payload: now });
    const wait = probe || late ? Math.min(PROBE_MS, this._interval) : this._interval;
    this._due = now + wait;
    this._timer = setTimeout(() => this._beat(), wait);
  }

  /** Don't wait: connect now, or see whether the connection is alive. */
  _wake(): void {
    if (this._open) this._beat(true);
    else if (this._status.state == "reconnecting" && !this._turn) void this._connect();
  }

  /** Gives the connection up: it is dead, or to be another. */
  private _drop(why: string | RoomcastError): void {
    // Not 1000, which would end the session.
    this._abandon(4000);
    this._retry(typeof why == "string" ? new RoomcastError(why) : why);
  }

  _pullCable(offlineMs?: number): void {
    if (!this._socket) return;
    this._ghost = this._socket;
    this._abandon();
    this._retry(new RoomcastError("connection_lost"), offlineMs);
  }

  private _abandon(code?: number): void {
    const socket = this._socket;
    this._turn = this._socket = undefined;
    if (code) socket?.close(code);
  }

  private _retry(reason: RoomcastError, wait?: number): void {
    const now = Date.now();
    const move = this._move;
    if (this._open && now - this._openedAt >= STABLE_MS) this._attempts = 0;
    this._target = move?._url;
    wait ??= move ? Math.max(0, move._at - now) : backoff(this._attempts++, Math.random(), reason.retryAfterMs);
    this._shut();
    // Before anybody is told, who may close the client.
    this._timer = setTimeout(() => void this._connect(), wait);
    this._set({ state: "reconnecting", reason, at: now + wait });
  }

  private _shut(): void {
    this._abandon();
    this._open = false;
    this._move = undefined;
    this._due = this._missed = this._fullAt = 0;
    clearTimeout(this._timer);
    clearTimeout(this._tokenTimer);
    clearTimeout(this._moveTimer);
    this._host._lost();
  }

  _end(reason: RoomcastError): void {
    if (this._status.state == "closed") return;
    this._abandon(1000);
    this._shut();
    this._set({ state: "closed", reason });
    this._host._ended(reason);
  }
}
