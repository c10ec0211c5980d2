import type { Client } from "./client.js";
import { RoomcastError, unconfirmed } from "./errors.js";
import { Outbox, type Entry } from "./outbox.js";
import { Received } from "./received.js";
import { LONGEST_TIMER } from "./reconnect.js";
import type {
  ClientEnvelope, EnvelopeFields, ErrorPayload, EventMeta, EventsOf, HistoryEvent, Receipt, SendOptions,
  ServerEnvelope, Unsubscribe,
} from "./types.js";

/** What a message takes of the outbox beside its frame; `seq` is in it. */
const OVERHEAD = 128;
/** Bytes that may wait in the socket. */
const BUFFERED = 1 << 18;

export const errorOf = (it: ErrorPayload): RoomcastError => new RoomcastError(it.code, it.message, it.retry_after_ms);

/** Refusals after which the same message may be taken a little later. */
export const isTransient = (code: string): boolean => /^(unavailable|rate_limited|too_many_unanswered)$/.test(code);

/** An event without the wire's names. */
export const eventOf = (it: ServerEnvelope): HistoryEvent => ({
  type: it.type as HistoryEvent["type"],
  name: it.name!,
  from: it.from_client_id ?? "",
  timestamp: it.timestamp!,
  offset: it.offset!,
  epoch: it.epoch!,
  seq: it.seq!,
  data:
    it.payload_kind == "bytes" && typeof it.payload == "string"
      ? Uint8Array.from(atob(it.payload), (char) => char.charCodeAt(0))
      : it.payload,
});

/** What rooms and direct messages have in common: handlers, an order of messages to send, and one of those received. */
export abstract class Channel<K, Signals> {
  /** @internal */
  abstract _client: Client<any>;
  /** @internal */
  _outbox = new Outbox();
  /** @internal */
  _received = new Received();
  private _handlers = new Map<string, Set<(...args: any[]) => void>>();
  private _held: ReturnType<typeof setTimeout> | undefined;

  /**
   * Calls `handler` for each event with this name, in order, each once. Returns what stops it. Handlers attached before
   * `join` miss nothing.
   */
  on<N extends keyof EventsOf<K> & string>(
    event: N,
    handler: (data: EventsOf<K>[N], meta: EventMeta) => void,
  ): Unsubscribe {
    return this._listen("." + event, handler);
  }

  /** Calls `handler` for what is not one of the application's events. Returns what stops it. */
  subscribe<S extends keyof Signals & string>(what: S, handler: Signals[S]): Unsubscribe {
    return this._listen(what, handler as () => void);
  }

  private _listen(key: string, handler: (...args: any[]) => void): Unsubscribe {
    // The same function may be there twice.
    const own = (...args: any[]) => handler(...args);
    const handlers = this._handlers;
    handlers.set(key, (handlers.get(key) ?? new Set()).add(own));
    return () => void handlers.get(key)!.delete(own);
  }

  /** @internal */
  _emit(key: string, ...args: unknown[]): void {
    for (const handler of [...(this._handlers.get(key) ?? [])]) {
      try {
        handler(...args);
      } catch (error) {
        // The application's fault is the application's: it is thrown where it harms nothing here.
        setTimeout(() => {
          throw error;
        });
      }
    }
  }

  /** @internal What prevents sending. */
  abstract _blocked(): string | undefined;
  /** @internal Whether messages can be given to the connection. */
  abstract _ready(): boolean;
  /** @internal What each of its messages has. */
  abstract _fields(): EnvelopeFields;

  /** @internal */
  _send(
    type: "chat" | "event" | "game_action",
    fields: EnvelopeFields,
    data: unknown,
    { signal, ttlMs, noEcho, ephemeral }: SendOptions = {},
  ): Promise<Receipt> {
    const promise = new Promise<Receipt>((resolve, reject) => {
      const client = this._client;
      const bytes = data instanceof Uint8Array;
      const message = {
        type,
        ...this._fields(),
        ...fields,
        no_echo: noEcho,
        // The application may change its object before it is sent.
        payload: bytes ? data.slice() : data === undefined ? data : JSON.parse(JSON.stringify(data)),
        payload_kind: bytes ? "bytes" : type == "chat" && typeof data == "string" ? "text" : undefined,
        ephemeral,
      } as ClientEnvelope;
      const blocked =
        client.status.state == "closed" ? "closed" : (this._blocked() ?? (signal?.aborted ? "aborted" : ""));
      if (blocked) throw new RoomcastError(blocked);
      if (ephemeral || type == "game_action") {
        if (!this._ready()) throw new RoomcastError("not_connected");
        client._link._write(message);
        return resolve({ seq: 0, offset: 0 });
      }
      const weight = client._link._size(message) + OVERHEAD;
      if (client._bytes + weight > client._outboxBytes) throw new RoomcastError("outbox_full");
      client._bytes += weight;
      const giveUp = (code: string) => {
        this._outbox._giveUp(entry, new RoomcastError(code));
        this._pump();
      };
      const abort = () => giveUp("aborted");
      const timer = ttlMs !== undefined && setTimeout(giveUp, Math.min(ttlMs, LONGEST_TIMER), "expired");
      signal?.addEventListener("abort", abort);
      const entry: Entry = {
        _seq: 0,
        _message: message,
        _weight: weight,
        _settle(error, offset) {
          client._bytes -= this._weight;
          this._weight = 0;
          clearTimeout(timer as number);
          signal?.removeEventListener("abort", abort);
          if (error) reject(error);
          else resolve({ seq: this._seq, offset: offset! });
        },
      };
      this._outbox._entries.push(entry);
      client.connect();
      this._pump();
    });
    // One that nobody awaits is no unhandled rejection.
    promise.catch(() => {});
    return promise;
  }

  /** @internal Whether a message may be given to the connection now; if only later, it is tried again then. */
  _may(): boolean {
    if (!this._ready() || this._held) return false;
    const link = this._client._link;
    const wait = link._buffered() > BUFFERED ? 50 : link._wait();
    if (wait > 0) this._hold(wait);
    return wait <= 0;
  }

  /** @internal Sends what may be sent. */
  _pump(): void {
    const outbox = this._outbox;
    const link = this._client._link;
    const { max_unanswered, max_message } = link._limits;
    let head: Entry | undefined;
    while ((head = outbox._entries[outbox._sent]) && this._may()) {
      const again = head._seq;
      if (!outbox._next(max_unanswered || 64)) return;
      const seq = head._seq;
      if (max_message && head._weight - OVERHEAD + 32 > max_message) head._error ??= new RoomcastError("too_large");
      if (head._error) link._write({ type: "skip", ...this._fields(), payload: { seq } });
      else {
        if (again) this._client.stats.resent++;
        // In front: where the server can't read what follows, its refusal names the number.
        link._write({ seq, ...head._message! });
      }
    }
  }

  /** @internal Sends nothing for so many milliseconds. */
  _hold(ms: number): void {
    this._release();
    this._held = setTimeout(() => {
      this._release();
      this._pump();
    }, ms);
  }

  private _release(): void {
    clearTimeout(this._held);
    this._held = undefined;
  }

  /** @internal Nothing that was given to the connection is known to have arrived. */
  _lost(): void {
    this._release();
    this._outbox._newLink();
  }

  /** @internal Events of this order, and answers. */
  _receive(message: ServerEnvelope): void {
    const outbox = this._outbox;
    if (message.type == "ack") {
      for (const { seq, offset } of message.payload.acks) {
        const entry = outbox._answered(seq);
        entry?._settle(offset ? undefined : (!entry._doubtful && entry._error) || unconfirmed(), offset);
      }
    } else if (message.type == "error") {
      const { code, seq, retry_after_ms } = message.payload;
      const error = errorOf(message.payload);
      if (!seq) return this._emit("error", error);
      const gap = code == "seq_gap";
      if (gap || isTransient(code)) {
        // Nothing is sent again to a room that was left.
        if (this._blocked()) outbox._giveUpSent();
        else {
          const wait = gap ? outbox._gap(seq) : outbox._retry(seq, retry_after_ms);
          if (wait) this._hold(wait);
        }
      } else {
        const entry = outbox._answered(seq);
        entry?._settle(entry._doubtful ? unconfirmed() : error);
      }
    } else {
      const event = eventOf(message);
      const { type, data } = event;
      if (type == "chat") this._emit("chat", data, event);
      else if (type == "event") this._emit("." + event.name, data, event);
      else if (type == "game_action") this._emit("action", data, event);
      return this._emit("any", event);
    }
    this._pump();
  }

  /** @internal Whether an event is new. */
  _isNew(message: ServerEnvelope): boolean {
    const isNew = this._received._take(message, (gap) => {
      this._outbox._doubt();
      this._gap(gap);
    });
    if (!isNew) this._client.stats.repeats++;
    return isNew;
  }

  /** @internal */
  _gap(gap: unknown): void {
    this._client.stats.gaps++;
    this._emit("gap", gap);
  }
}
