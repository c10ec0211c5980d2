import { Channel } from "./channel.js";
import { Clock } from "./clock.js";
import { type Codec, json } from "./codec.js";
import { errorOf, isTransient, RoomcastError, UnauthorizedError } from "./errors.js";
import { backoff, closeError, comesBack } from "./reconnect.js";
import { Timer } from "./timer.js";
import type { ClientEnvelope, ClientOptions, ServerEnvelope, Status, WelcomePayload } from "./types.js";

/** A connection is opened, and `hello` answered, within this time. */
const ANSWER_MS = 10_000;
/** A probe is answered within this time, or the connection is dead. */
const PROBE_MS = 5_000;
/** A timer that is so late was held up: by a laptop that slept, or in a hidden page. It proves nothing. */
const LATE_MS = 2_000;
/** A `hello` may reach the server so long after its connection was given up. */
const LATE_HELLO_MS = 120_000;
/** A new token is asked for when so much of the old one's time is over. */
const RENEW = 0.8;
/** Bytes that may wait in the socket. */
const BUFFERED = 1 << 18;

/** One WebSocket at a time: opened, greeted, watched, lost, opened again. `_ready` since `welcome`. */
export abstract class Connection<K, Signals> extends Channel<K, Signals> {
  /** How it stands with the connection: another object after each change. */
  status: Status = { state: "idle" };
  /** @internal */
  _limits = {} as WelcomePayload["limits"];
  /** @internal For the next `hello`. */
  _token: string | undefined;
  private _codec: Codec;
  private _clock = new Clock();
  private _socket: any;
  /** The present attempt or connection; what comes from one before is not heard. */
  private _turn: object | undefined;
  /** The one thing waited for: the next attempt, the answer to `hello`, the next ping, or the time to move. */
  private _timer = new Timer();
  private _tokenTimer = new Timer();
  /** Failures in a row; a connection that lived from ping to ping was a good one. */
  private _attempts = 0;
  private _greetedAt = 0;
  private _interval = 0;
  /** When the whole burst may be sent again. */
  private _fullAt = 0;
  /** When the next ping is due. */
  private _due = Infinity;
  /** Pings since anything was heard. */
  private _missed = 0;
  /** The server asked to come back then, there. */
  private _moveAt = 0;
  private _target: string | undefined;
  /** Until when a `hello` may still come that had no answer when its connection was given up. */
  private _late: number[] = [];

  /** @internal */
  constructor(
    private _url: string,
    /** @internal */
    readonly _options: ClientOptions,
  ) {
    super();
    this._codec = _options.codec ?? json;
  }

  /** @internal The first message. */
  abstract _hello(): ClientEnvelope;
  /** @internal */
  abstract _welcome(welcome: WelcomePayload): void;
  /** @internal */
  abstract _take(message: ServerEnvelope): void;
  /** @internal */
  abstract _ended(error: RoomcastError): void;

  /** The median of the last round trips in milliseconds. */
  get rtt(): number | undefined {
    return this._clock._rtt;
  }

  /** The server's clock in milliseconds since the Unix epoch, as the quickest of the last answers told it. */
  serverNow(): number {
    return Date.now() + this._clock._ahead;
  }

  /**
   * The network or the screen is back: connects at once, or sees whether the connection is alive. Browsers say so by
   * themselves; in React Native call it when the app becomes active.
   */
  wake(): void {
    if (this._ready) this._beat(true);
    // Where the server has said how long to stay away, it is stayed away.
    else if (this.status.state == "reconnecting" && !this.status.reason.retryAfterMs && !this._turn) void this._open();
  }

  /**
   * For tests and demos: drops the connection as a pulled cable does, without a word to the server, and stays away for
   * so many milliseconds; without a number as long as after any lost connection.
   */
  pullCable(offlineMs?: number): void {
    if (!this._socket) return;
    // Nobody listens to it any more. The server closes it when the session is resumed on another.
    this._socket = undefined;
    this._retry(closeError(1006, ""), offlineMs);
  }

  /** Says goodbye: the session ends, and all that waits is rejected. */
  close(): void {
    this._end(new RoomcastError("closed"));
  }

  /** @internal */
  _size(message: ClientEnvelope): number {
    const frame = this._codec.encode(message);
    return (typeof frame == "string" ? new TextEncoder().encode(frame) : frame).length;
  }

  /** @internal How long until one more message stays within the server's rate: who ignores that is cut off. */
  _wait(): number {
    const { messages_per_second, burst } = this._limits;
    // On their way messages come closer together: a fifth of the burst is left for that. Without a limit it is no number.
    return this._socket?.bufferedAmount > BUFFERED ? 50 : this._fullAt - Date.now() - (800 / messages_per_second) * burst;
  }

  /** @internal */
  _write(message: ClientEnvelope): void {
    this._fullAt = Math.max(this._fullAt, Date.now()) + 1000 / this._limits.messages_per_second;
    this._socket?.send(this._codec.encode(message));
  }

  /** @internal */
  _set(status: Status): void {
    this.status = status;
    this._emit("status", status);
  }

  /** @internal */
  async _open(): Promise<void> {
    this._deadline();
    const turn = (this._turn = {});
    const alive = () => turn == this._turn;
    const on = (then: (event: any) => void) => (event: any) => alive() && then(event);
    let socket: any;
    let final;
    try {
      this._token = await this._options.getToken?.();
      if (!alive()) return;
      final = true;
      socket = new (this._options.WebSocket ?? WebSocket)(this._target || this._url, this._codec.subprotocol);
    } catch (error) {
      if (!alive()) return;
      const reason = error instanceof RoomcastError ? error : new RoomcastError("not_connected", `${error}`);
      return this._over(reason, final || error instanceof UnauthorizedError);
    }
    this._socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = on(() => {
      this._deadline();
      this._late.push((this._greetedAt = Date.now()) + LATE_HELLO_MS);
      this._write(this._hello());
    });
    socket.onmessage = on((event) => {
      this._missed = 0;
      let message;
      try {
        message = this._codec.decode(event.data);
      } catch (error) {
        return this._emit("error", new RoomcastError("unreadable", `${error}`));
      }
      this._heard(message);
    });
    // What is wrong is told to nobody; `close` follows.
    socket.onerror = () => {};
    socket.onclose = on(({ code, reason }) =>
      // A late `hello` of this very client may be what took the session over. Each does so once.
      this._over(closeError(code, reason), !comesBack(code) && !(code == 4501 && this._late.pop()! > Date.now())),
    );
  }

  private _deadline(): void {
    this._timer._set(ANSWER_MS, () => this._retry(new RoomcastError("timeout")));
  }

  private _heard(message: ServerEnvelope): void {
    const { type, payload, timestamp } = message as any;
    const now = Date.now();
    if (!this._ready) {
      if (type == "welcome") {
        this._ready = true;
        this._late.pop();
        this._fullAt = 0;
        this._limits = payload.limits;
        this._interval = payload.ping_interval_ms || 30_000;
        this._clock._samples = [];
        this._clock._add(this._greetedAt, now, payload.server_time);
        this._renew((payload.token_expires_at - payload.server_time) * RENEW);
        this._welcome(payload);
        // A handler may have closed the client.
        if (!this._ready) return;
        this._set({ state: "connected", resumed: payload.resumed });
        // One early, for a better clock than that of a connection being opened.
        this._beat();
      } else if (type == "error") {
        this._over(errorOf(payload), !isTransient(payload.code));
      }
    } else if (type == "pong") {
      this._clock._add(payload, now, timestamp);
    } else if (type == "reconnect") {
      const { delay_ms, url } = payload;
      // A token goes there: only where it is as safe as here.
      this._moveAt = now + delay_ms;
      this._target = /^wss:/.test(url) || !/^wss:/.test(this._url) ? url : "";
      this._timer._set(delay_ms, () => this._retry(new RoomcastError("reconnect")));
    } else if (type == "auth") {
      this._renew((payload.token_expires_at - timestamp) * RENEW);
    } else {
      this._take(message);
    }
  }

  /** Asks for a token after so many milliseconds; less than none: it never ends. */
  private _renew(ms: number): void {
    const turn = this._turn;
    const { getToken } = this._options;
    if (ms <= 0 || !getToken) return;
    this._tokenTimer._set(ms, async () => {
      try {
        const token = await getToken();
        if (turn == this._turn) this._write({ type: "auth", payload: { token } });
      } catch (error) {
        if (turn != this._turn) return;
        if (error instanceof UnauthorizedError) this._end(error);
        else this._renew(PROBE_MS);
      }
    });
  }

  /** The time for a ping; `probe`: whether the connection is alive is to be known soon. */
  private _beat(probe?: boolean): void {
    // Where the server has asked to come back, that is what is waited for.
    if (!this._ready || this._moveAt) return;
    const now = Date.now();
    const late = now > this._due + LATE_MS;
    if (!probe && this._missed > +late) return this._retry(new RoomcastError("timeout"));
    // The local clock may have been set, or have stood still.
    if (late) this._clock._samples = [];
    this._missed++;
    this._write({ type: "ping", payload: now });
    const wait = probe || late ? PROBE_MS : this._interval;
    this._due = now + wait;
    this._timer._set(wait, () => {
      this._attempts = 0;
      this._beat();
    });
  }

  private _over(reason: RoomcastError, final: unknown): void {
    if (final) this._end(reason);
    else this._retry(reason);
  }

  private _retry(reason: RoomcastError, wait?: number): void {
    const now = Date.now();
    if (!this._moveAt) this._target = undefined;
    wait ??= this._moveAt
      ? this._moveAt - now
      : backoff(this._attempts++, Math.random(), reason.retryAfterMs);
    // Not 1000, which would end the session.
    this._shut(4000);
    // Before anybody is told, who may close the client.
    this._timer._set(wait, () => void this._open());
    this._set({ state: "reconnecting", reason, at: now + wait });
  }

  private _shut(code: number): void {
    this._socket?.close(code);
    this._turn = this._socket = undefined;
    this._ready = false;
    this._missed = this._moveAt = 0;
    this._due = Infinity;
    this._timer._stop();
    this._tokenTimer._stop();
    this._lost();
  }

  private _end(reason: RoomcastError): void {
    if (this.status.state == "closed") return;
    this._shut(1000);
    this._set({ state: "closed", reason });
    this._ended(reason);
  }
}
