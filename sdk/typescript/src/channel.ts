import type { Client } from "./client.js";
import { asError, copyOf, errorOf, isTorn, onAbort, promise, RoomcastError, unconfirmed } from "./errors.js";
import { type Entry, Outbox } from "./outbox.js";
import { Received } from "./received.js";
import { isEvent } from "./shape.js";
import { Timer } from "./timer.js";
import type {
  ClientEnvelope, EnvelopeFields, EventMeta, EventsOf, Gap, HistoryEvent, Receipt, Recipient, SendOptions, ServerEnvelope,
  Unsubscribe,
} from "./types.js";

/** What a message takes of the outbox beside its frame, and what its `seq` takes of the frame. */
const OVERHEAD = 128;

/** What the application gets of an event. What else the wire says stays, to be looked at. */
export const eventOf = (it: ServerEnvelope): HistoryEvent =>
  ({
    timestamp: 0,
    ...it,
    from: it.from_client_id ?? "",
    user: it.from_user_id,
    player: it.from_player_num,
    service: it.from_service,
    data: it.payload,
  }) as any;

/** What rooms and direct messages have in common: handlers, an order of messages to send, and one of those received. */
export abstract class Channel<K, Signals> extends Received {
  /** @internal */
  abstract _client: Client<any>;
  /** @internal What each of its messages has. */
  abstract _address: EnvelopeFields;
  /** @internal What its requests have, and their answers: an error may name no room. */
  _id: number | undefined;
  /** @internal Whether the application may send. */
  _wanted?: boolean;
  /** @internal Whether messages can be given to the connection. */
  _ready?: boolean;
  /** @internal */
  _outbox = new Outbox();
  /** @internal Nothing is sent while it waits. */
  _pause = new Timer();
  /** @internal */
  _handlers = new Set<[what: string, handler: (...args: any[]) => void]>();

  /**
   * Calls `handler` for each event with this name, in order, each once. Returns what stops it. Handlers attached before
   * `join` miss nothing.
   */
  on<N extends keyof EventsOf<K> & string>(
    event: N,
    handler: (data: EventsOf<K>[N], meta: EventMeta) => void,
  ): Unsubscribe {
    return this.subscribe(("." + event) as any, handler as any);
  }

  /** Calls `handler` for what is not one of the application's events. Returns what stops it. */
  subscribe<S extends keyof Signals & string>(what: S, handler: Signals[S]): Unsubscribe {
    // The same function may be there twice.
    const own: [string, any] = [what, handler];
    this._handlers.add(own);
    return () => {
      this._handlers.delete(own);
      this._rest();
    };
  }

  /** @internal It may be of no use any more. */
  _rest(): void {}

  /** @internal */
  _emit(key: string, ...args: unknown[]): void {
    for (const [what, handler] of [...this._handlers]) {
      try {
        if (what == key) handler(...args);
      } catch (error) {
        // The application's fault is the application's: it is thrown where it harms nothing here.
        setTimeout(() => {
          throw error;
        });
      }
    }
  }

  /** @internal Asks something of the server. What can't be sent is refused as the server would refuse it. */
  _say(type: ClientEnvelope["type"], payload?: unknown): void {
    try {
      this._client._write({ type, ...this._address, request_id: this._id, payload } as ClientEnvelope);
    } catch (error) {
      this._receive({ type: "error", payload: { ...asError(error), request: type } as any });
    }
  }

  /** @internal Throws what is not one recipient. */
  _to(_to: Recipient | undefined): EnvelopeFields {
    return {};
  }

  /** @internal */
  _send(
    type: "chat" | "event" | "game_action",
    fields: EnvelopeFields,
    data: unknown,
    { signal, ttlMs, noEcho, ephemeral }: SendOptions = {},
    to?: Recipient,
  ): Promise<Receipt> {
    return promise<Receipt>((done) => {
      const client = this._client;
      const bytes = data instanceof Uint8Array;
      const where = { ...this._address, ...this._to(to), ...fields };
      const message = {
        type,
        ...where,
        no_echo: noEcho,
        payload: bytes ? new Uint8Array(data) : copyOf(data),
        payload_kind: bytes ? "bytes" : type == "chat" && typeof data == "string" ? "text" : undefined,
        ephemeral,
      } as ClientEnvelope;
      client._check(signal);
      if (isTorn(Object.values(where).join())) throw new RoomcastError("invalid_name");
      if (!this._wanted) throw new RoomcastError("not_joined");
      if (ephemeral || type == "game_action") {
        if (!this._ready) throw new RoomcastError("not_connected");
        const wait = client._wait();
        if (wait > 0) throw new RoomcastError("rate_limited", "", wait);
        client._write(message);
        return done(undefined, { seq: 0, offset: 0 });
      }
      let weight = client._frame(message)._size + OVERHEAD;
      if (client._bytes + weight > (client._options.outboxBytes ?? 1 << 20)) throw new RoomcastError("outbox_full");
      client._bytes += weight;
      const giveUp = (code: string) => {
        this._outbox._giveUp(entry, new RoomcastError(code));
        this._pump();
      };
      const timer = new Timer();
      if (ttlMs != undefined) timer._set(ttlMs, () => giveUp("expired"));
      const heedless = onAbort(signal, () => giveUp("aborted"));
      const entry: Entry = {
        _message: message,
        _settle(error, offset) {
          // Once.
          client._bytes -= weight;
          weight = 0;
          timer._stop();
          heedless();
          done(error, { seq: this._seq ?? 0, offset: offset! });
        },
      };
      this._outbox._entries.push(entry);
      client.connect();
      this._pump();
    });
  }

  /** @internal Whether a message may be given to the connection now; if only later, it is tried again then. */
  _may(): boolean {
    const wait = this._client._wait();
    if (!this._ready || this._pause._on) return false;
    // It is no number where there is no limit.
    if (wait > 0) this._hold(wait);
    return !(wait > 0);
  }

  /** @internal Sends nothing for so many milliseconds. */
  _hold(ms: number): void {
    this._pause._set(ms, () => this._pump());
  }

  /** @internal Sends what may be sent. */
  _pump(): void {
    const outbox = this._outbox;
    const client = this._client;
    const acked = client._acked;
    let entry: Entry | undefined;
    while ((entry = outbox._next(acked ? client._limits.max_unanswered! : Infinity)) && this._may()) {
      const again = entry._seq;
      // In front: where the server can't read what follows, its refusal names the number.
      const seq = acked ? again || outbox._nextSeq : undefined;
      try {
        if (again && !acked) throw unconfirmed();
        if (!entry._error) client._write({ seq, ...entry._message! } as ClientEnvelope);
      } catch (error) {
        entry._error = asError(error);
      }
      if (!acked || (entry._error && !again)) {
        // It never had a number, or will never have an answer.
        outbox._drop(entry);
        entry._settle(entry._error, 0);
        continue;
      }
      outbox._give(entry);
      if (entry._error) this._say("skip", { seq });
      else if (again) client.stats.resent++;
    }
  }

  /** @internal Nothing that was given to the connection is known to have arrived. */
  _lost(): void {
    this._pause._stop();
    this._outbox._newLink();
  }

  /** @internal Answers to messages, and events of this order. */
  _receive(message: ServerEnvelope): void {
    const outbox = this._outbox;
    if (message.type == "ack") {
      message.payload.acks?.forEach(({ seq, offset }) => {
        const entry = outbox._answered(seq);
        entry?._settle(offset ? undefined : (!entry._doubtful && entry._error) || unconfirmed(), offset);
      });
      this._pump();
    } else if (message.type == "error") {
      const { code, seq, retry_after_ms } = message.payload;
      const error = errorOf(message.payload);
      if (!seq) this._emit("error", error);
      else if (!/^(unavailable|rate_limited|too_many_unanswered|seq_gap)$/.test(code)) {
        const entry = outbox._answered(seq);
        entry?._settle(entry._doubtful ? unconfirmed() : error);
        this._pump();
      } else if (!this._wanted) {
        // Nothing is sent again to a room that was left.
        outbox._giveUpSent();
      } else {
        this._hold(code == "seq_gap" ? outbox._gap(seq) : outbox._retry(seq, retry_after_ms));
      }
    } else if (isEvent(message)) {
      const isNew = this._accept(message, (gap) => {
        outbox._doubt();
        this._gap(gap);
      });
      const event = eventOf(message);
      if (!isNew) this._client.stats.repeats++;
      else {
        const { type, data } = event;
        this._meet(event);
        // To those who come and go nobody listens by their type.
        this._emit(type == "event" ? "." + event.name : type == "game_action" ? "action" : type, data, event);
        this._emit("any", event);
      }
    }
  }

  /** @internal An event, before the application hears of it. */
  _meet(_event: HistoryEvent): void {}

  /** @internal */
  _gap(gap: Gap): void {
    this._client.stats.gaps++;
    this._emit("gap", gap);
  }
}
