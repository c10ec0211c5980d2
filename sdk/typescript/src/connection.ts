import { Channel } from "./channel.js";
import { Clock } from "./clock.js";
import { type Codec, json } from "./codec.js";
import { asError, errorOf, isTransient, RoomcastError, UnauthorizedError } from "./errors.js";
import { backoff, closeError, comesBack } from "./reconnect.js";
import { checked, isEvent } from "./shape.js";
import { elapsed, Timer } from "./timer.js";
import type { ClientEnvelope, ClientOptions, ServerEnvelope, Status, WelcomePayload } from "./types.js";

/** A connection is opened, and `hello` answered, within this time. */
const ANSWER_MS = 10_000;
/** A probe is answered within this time, or the connection is dead. */
const PROBE_MS = 5_000;
/** A timer that is so late was held up: by a laptop that slept, or in a hidden page. It proves nothing. */
const LATE_MS = 2_000;
/** A `hello` may reach the server so long after its connection was given up. */
export const LATE_HELLO_MS = 120_000;
/** A new token is asked for when so much of the old one's time is over. */
const RENEW = 0.8;
/** No server is asked more often than this whether it is there. */
const PING_MIN_MS = 100;
/** A `hello` may have so many rooms. */
const MOST_PLACES = 64;
/** A token that ends sooner than this is not renewed sooner. */
const RENEW_MIN_MS = 1_000;
/** Bytes that may wait in the socket. */
const BUFFERED = 1 << 18;

/** One WebSocket at a time: opened, greeted, watched, lost, opened again. `_ready` since `welcome`. */
export abstract class Connection<K, Signals> extends Channel<K, Signals> {
  /** How it stands with the connection: another object after each change. */
  status: Status = { state: "idle" };
  /** @internal */
  _limits: Partial<WelcomePayload["limits"]> = {};
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
  private _greetedAt!: number;
  /** @internal Rooms in the last `hello`, and how many there may be in the next one. */
  _places!: number;
  /** @internal */
  _mostPlaces = MOST_PLACES;
  /** @internal None before the first `welcome`. */
  _interval!: number;
  /** When the whole burst may be sent again. */
  private _fullAt!: number;
  /** When the next ping is due, and what the clock on the wall will say then. */
  private _due!: number;
  private _dueDate!: number;
  /** Pings since anything was heard. */
  private _missed!: number;
  /** The server asked to come back then, there. */
  private _moveAt = 0;
  private _target: string | undefined;
  /** @internal Until when a `hello` may still come that had no answer when its connection was given up. */
  _late: number[] = [];
  /** Closes what was the connection when the cable was pulled. */
  private _unplug: (() => void) | undefined;
  /** @internal The cable is out until it is plugged in: that a page is looked at again is no reason. */
  _cable: number | undefined;

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
  /** @internal What may have been an event can't be read. */
  abstract _skipped(room: unknown): void;
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
    const { _ahead } = this._clock;
    return _ahead == undefined ? Date.now() : elapsed() + _ahead;
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
   * For tests and demos: drops the connection as a pulled cable does, and stays away for so many milliseconds, or until
   * `wake`; without a number as long as after any lost connection. The server, and with it the others, see it gone after 5
   * seconds.
   */
  pullCable(offlineMs?: number): void {
    if (!this._socket) return;
    // Nobody listens to it any more. A browser would go on answering the server's pings: so it is closed after a while.
    const socket = this._socket;
    this._socket = undefined;
    setTimeout((this._unplug = () => socket.close(4000)), PROBE_MS);
    this._cable = offlineMs;
    this._retry(closeError(1006, ""), offlineMs);
  }

  /** Says goodbye: the session ends, and all that waits is rejected. */
  close(): void {
    this._end(new RoomcastError("closed"));
  }

  /** @internal What a message is on the wire. Throws what can't be sent, before it has taken a number. */
  _frame(message: ClientEnvelope): { _frame: string | Uint8Array; _size: number } {
    const _frame = this._codec.encode(message);
    const _size = (typeof _frame == "string" ? new TextEncoder().encode(_frame) : _frame).length;
    if (_size > (this._limits.max_message || Infinity)) throw new RoomcastError("too_large");
    return { _frame, _size };
  }

  /** @internal How long until one more message stays within the server's rate: who ignores that is cut off. */
  _wait(): number {
    const { messages_per_second, burst } = this._limits;
    // On their way messages come closer together: a fifth of the burst is left for that. Without a limit it is no number.
    return this._socket?.bufferedAmount > BUFFERED ? 50 : this._fullAt - elapsed() - (800 / messages_per_second!) * burst!;
  }

  /** @internal Throws what can't be sent. */
  _write(message: ClientEnvelope): void {
    const { _frame } = this._frame(message);
    this._fullAt = Math.max(this._fullAt, elapsed()) + 1000 / this._limits.messages_per_second!;
    this._socket?.send(_frame);
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
    this._cable = 0;
    const alive = () => turn == this._turn;
    const on = (then: (event: any) => void) => (event: any) => alive() && then(event);
    let socket: any;
    let final;
    try {
      this._token = await this._options.getToken?.();
      if (!alive()) return;
      // An address that the server named is tried once, and may be nonsense.
      final = !this._target;
      socket = new (this._options.WebSocket ?? WebSocket)(this._target || this._url, this._codec.subprotocol);
    } catch (error) {
      if (!alive()) return;
      return this._over(asError(error, "not_connected"), final || error instanceof UnauthorizedError);
    }
    this._socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = on(() => {
      this._deadline();
      this._late.push((this._greetedAt = elapsed()) + LATE_HELLO_MS);
      try {
        this._write(this._hello());
      } catch (error) {
        this._unwelcome(asError(error));
      }
    });
    socket.onmessage = on((event) => {
      this._missed = 0;
      let message: any;
      try {
        message = checked((message = this._codec.decode(event.data)));
      } catch (error) {
        const { room_id, type, request_id } = message ?? {};
        const code = "unreadable";
        this._emit("error", asError(error, code));
        if (this._ready && (typeof type != "string" || isEvent(message as ServerEnvelope))) this._skipped(room_id);
        // What it was an answer to has failed, as if the server had refused it.
        if (!room_id || typeof type != "string" || !this._ready) return;
        const request = type.replace("joined", "join_room").replace("presence", "");
        message = { type: "error", room_id, request_id, payload: { code, request } };
      }
      this._heard(message);
    });
    // What is wrong is told to nobody; `close` follows.
    socket.onerror = () => {};
    socket.onclose = on(({ code, reason }) =>
      // A late `hello` of this very client may be what took the session over. Each does so once.
      this._over(closeError(code, reason), !comesBack(code) && !(code == 4501 && this._late.pop()! > elapsed())),
    );
  }

  private _deadline(): void {
    this._timer._set(ANSWER_MS, () => this._retry(new RoomcastError("timeout")));
  }

  private _heard(message: ServerEnvelope): void {
    const { type, payload, timestamp } = message as any;
    const now = elapsed();
    if (!this._ready) {
      if (type == "welcome") {
        this._ready = true;
        this._late.pop();
        this._mostPlaces = MOST_PLACES;
        this._fullAt = 0;
        this._limits = payload.limits ?? {};
        this._interval = Math.max(payload.ping_interval_ms || 30_000, PING_MIN_MS);
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
        this._unwelcome(errorOf(payload));
      }
    } else if (type == "pong") {
      if (Number.isFinite(payload)) this._clock._add(payload, now, timestamp);
    } else if (type == "reconnect") {
      const { delay_ms = 0, url } = payload;
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

  /** A `hello` was refused. It may be for one of its rooms, or for their number: without them, each has its own answer. */
  private _unwelcome(error: RoomcastError): void {
    const places = this._places;
    this._mostPlaces = places >> 1;
    this._over(error, !places && !isTransient(error.code));
  }

  /** Asks for a token after so many milliseconds; less than none: it never ends. */
  private _renew(ms: number): void {
    const turn = this._turn;
    const { getToken } = this._options;
    if (!(ms > 0 && getToken)) return;
    this._tokenTimer._set(Math.max(ms, RENEW_MIN_MS), async () => {
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
    const now = elapsed();
    // While a computer sleeps, the elapsed time may stand still. That the clock on the wall has moved on proves nothing.
    const late = Math.max(now - this._due, Date.now() - this._dueDate) > LATE_MS;
    if (!probe && this._missed > +late) return this._retry(new RoomcastError("timeout"));
    if (late) this._clock._samples = [];
    this._missed++;
    this._say("ping", now);
    const wait = probe || late ? PROBE_MS : this._interval;
    this._due = now + wait;
    this._dueDate = Date.now() + wait;
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
    const moveAt = this._moveAt;
    const attempts = this._attempts;
    this._attempts += moveAt ? .4 : 1;
    if (!moveAt) this._target = undefined;
    // A server that asks to come back again and again is no better than one that fails again and again. Nodes that are
    // restarted one after the other ask a few times.
    wait ??= Math.max(moveAt - elapsed(), moveAt && attempts < 1 ? 0 : backoff(attempts, Math.random(), reason.retryAfterMs));
    // Not 1000, which would end the session.
    this._shut(4000);
    // Before anybody is told, who may close the client.
    this._timer._set(wait, () => this._open());
    this._set({ state: "reconnecting", reason, at: Date.now() + wait });
  }

  private _shut(code: number): void {
    this._socket?.close(code);
    this._turn = this._socket = undefined;
    this._ready = false;
    this._missed = this._moveAt = 0;
    this._due = this._dueDate = Infinity;
    this._timer._stop();
    this._tokenTimer._stop();
    this._lost();
  }

  private _end(reason: RoomcastError): void {
    if (this.status.state == "closed") return;
    this._shut(1000);
    this._unplug?.();
    this._set({ state: "closed", reason });
    this._ended(reason);
  }
}
