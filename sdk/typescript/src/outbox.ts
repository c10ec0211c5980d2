import { RoomcastError, unconfirmed } from "./errors.js";
import type { ClientEnvelope } from "./types.js";

/** After so many refusals in a row a message that the server calls missing is given up: it can't read its number. */
const STUCK = 9;

/** A message that has no answer. */
export interface Entry {
  /** Left out: it was never given to a connection. */
  _seq?: number;
  _message?: ClientEnvelope;
  /** Its number is skipped, and this is told if it was not done before. */
  _error?: RoomcastError | undefined;
  /** It was sent to a log, or a session, that is gone: it may have been done there, whatever is answered now. */
  _doubtful?: boolean;
  /** Tells whoever waits; a second time does nothing. */
  _settle(error?: RoomcastError, offset?: number): void;
}

/**
 * Messages of one order that wait for their answers: those to a room, or the direct ones. Knows no time and no socket.
 *
 * Invariants: numbers rise; the entries that have one come first; those before `_sent` have one, and were given to the
 * present connection.
 */
export class Outbox {
  _entries: Entry[] = [];
  _sent!: number;
  /** The lowest number that was never used. */
  _nextSeq = 1;
  /** How many may be under way: one after a refusal, and one more with each answer. */
  private _window!: number;
  /** Refusals since the last progress. */
  private _strikes!: number;

  constructor() {
    this._newLink();
  }

  /** The lowest number that has no answer. */
  _firstSeq(): number {
    return this._entries[0]?._seq || this._nextSeq;
  }

  /** A new connection: nothing was sent on it. */
  _newLink(): void {
    this._sent = this._strikes = 0;
    this._window = Infinity;
  }

  /** What to send next; at most `window` messages are under way, 64 where it is 0. */
  _next(window: number): Entry | undefined {
    if (this._sent < Math.min(window || 64, this._window)) return this._entries[this._sent];
  }

  /** The next one is given to the connection, with the number that is returned. */
  _give(entry: Entry): number {
    this._sent++;
    return (entry._seq ||= this._nextSeq++);
  }

  /** A message was answered for good. */
  _answered(seq: number): Entry | undefined {
    const at = this._index(seq);
    if (this._entries[at]?._seq != seq) return;
    this._strikes = 0;
    this._window++;
    if (at < this._sent) this._sent--;
    return this._entries.splice(at, 1)[0];
  }

  /** A message is to be sent again, with those after it. Returns how long to wait before. */
  _retry(seq: number, retryAfter?: number): number {
    this._sent = Math.min(this._sent, this._index(seq));
    this._window = 1;
    return retryAfter || 25 << Math.min(this._strikes++, 8);
  }

  /** The server lacks a number. Returns how long to wait before sending. */
  _gap(seq: number): number {
    const at = this._index(seq);
    const entry = this._entries[at];
    if (entry?._seq != seq) {
      // Nobody here has it: of a life before this one, or long answered.
      if (seq < this._nextSeq) {
        this._entries.splice(at, 0, { _seq: seq, _error: new RoomcastError("aborted"), _settle() {} });
      }
    } else if (this._strikes > STUCK) {
      entry._error = unconfirmed();
    }
    return this._retry(seq);
  }

  /** Gives up one message. What was given to a connection waits for the server to say whether it was done. */
  _giveUp(entry: Entry, error: RoomcastError): void {
    if (entry._seq) entry._error ||= error;
    else {
      this._drop(entry);
      entry._settle(error);
    }
  }

  /** Forgets one that was not given to this connection. */
  _drop(entry: Entry): void {
    this._entries = this._entries.filter((it) => it != entry);
  }

  /** Gives up all that was never given to a connection. */
  _giveUpUnsent(error: RoomcastError): void {
    this._entries = this._entries.filter((it) => it._seq || it._settle(error));
  }

  /** Waits no longer for answers. The numbers are skipped, should there be a connection for it. */
  _giveUpSent(): void {
    for (const it of this._entries) if (it._seq) it._settle((it._error = unconfirmed()));
  }

  /** The server may remember nothing of what was sent. */
  _doubt(): void {
    for (const it of this._entries) it._doubtful = !!it._seq;
  }

  /** The client is another one to the server, which counts from 1 again: no receiver could tell a repeat. */
  _beginAgain(): void {
    this._giveUpSent();
    this._entries = this._entries.filter((it) => !it._seq);
    this._nextSeq = 1;
    this._newLink();
  }

  /** The place of a number, or where it would be. */
  private _index(seq: number): number {
    let at = 0;
    while (this._entries[at]?._seq! < seq) at++;
    return at;
  }
}
