/** Samples that count. */
const SAMPLES = 8;

/** What pings tell: the server's clock and the round trip. Times are milliseconds; local ones come as arguments. */
export class Clock {
  /** Round trip, and the server's clock minus the local one in its middle. */
  _samples: [trip: number, ahead: number][] = [];

  /** What was asked at `sent` is answered at `now` by a server whose clock says `server`. */
  _add(sent: number, now: number, server: number): void {
    const trip = now - sent;
    if (!(trip >= 0)) return;
    this._samples = [...this._samples, [trip, server - sent - trip / 2] as [number, number]].slice(-SAMPLES);
  }

  /** The quickest of the last answers first: it waited least. */
  private _sorted() {
    return [...this._samples].sort((a, b) => a[0] - b[0]);
  }

  /** The median of the last round trips. */
  _rtt(): number | undefined {
    return this._sorted()[this._samples.length >> 1]?.[0];
  }

  /** The server's clock; the local one as long as nothing is known. */
  _serverNow(now: number): number {
    return now + (this._sorted()[0]?.[1] ?? 0);
  }
}
