/** Samples that count. */
const SAMPLES = 8;

/** What pings tell: the server's clock and the round trip. Times are milliseconds; local ones come as arguments. */
export class Clock {
  /** The median of the last round trips. */
  _rtt: number | undefined;
  /** How far the server's clock is ahead of the local one, as the quickest of the last answers told: it waited least. */
  _ahead: number | undefined;
  /** Round trip, and the server's clock minus the local one in its middle. */
  _samples: [trip: number, ahead: number][] = [];

  /** What was asked at `sent` is answered at `now` by a server whose clock says `server`. */
  _add(sent: number, now: number, server: number): void {
    const trip = now - sent;
    // Nothing was asked later than now, and only the server's own clock counts.
    if (!(trip >= 0 && server > 0)) return;
    this._samples.unshift([trip, server - sent - trip / 2]);
    this._samples.splice(SAMPLES);
    const sorted = [...this._samples].sort((a, b) => a[0] - b[0]);
    this._rtt = sorted[sorted.length >> 1]![0];
    this._ahead = sorted[0]![1];
  }
}
