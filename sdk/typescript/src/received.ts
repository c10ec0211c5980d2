import type { EnvelopeFields, Gap, Position } from "./types.js";

/** Senders that are remembered: of more, those heard longest ago are forgotten. */
const SENDERS = 512;
/** Numbers that are remembered of each: more than 32 are never unanswered, so none older is sent again. */
const NUMBERS = 64;

/** How far a log was received, a room's or the inbox, without what came twice. */
export class Received {
  /** @internal How far: the last event that has a place. */
  position: Position | undefined;
  /** The last numbers of each sender, whatever log they came in. */
  private _seen = new Map<string, number[]>();

  /** Whether an event is new; `gap` is called where the log began anew and nothing has said so. It may go on under another name. */
  _accept({ epoch, offset, from_client_id, seq }: EnvelopeFields, gap: (gap: Gap) => void): boolean {
    if (!offset) return true;
    const since = this.position;
    const old = since && offset <= since.offset;
    if (old && since.epoch == epoch) return false;
    this.position = { epoch: epoch!, offset };
    if (old) gap({ since, now: { epoch: epoch!, offset: offset - 1 } });
    return !seq || this._isNew(from_client_id!, seq);
  }

  private _isNew(from: string, seq: number): boolean {
    const seen = this._seen;
    const numbers = seen.get(from) ?? [];
    // A map's order is that of insertion.
    seen.delete(from);
    seen.set(from, numbers);
    if (seen.size > SENDERS) seen.delete(seen.keys().next().value!);
    if (numbers.includes(seq)) return false;
    if (numbers.push(seq) > NUMBERS) numbers.shift();
    return true;
  }
}
