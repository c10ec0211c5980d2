/** A timer takes no more than 31 bits. */
const LONGEST = 2 ** 31 - 1;

/** Milliseconds since some moment: of a clock that nobody sets. */
export const elapsed = (): number => performance.now();

/** One thing that waits for its time. */
export class Timer {
  /** Whether it waits. */
  _on: unknown;

  /** Calls `then` in so many milliseconds, and no other that was to be called. */
  _set(ms: number, then: () => void): void {
    this._stop();
    this._on = setTimeout(
      () => {
        this._on = 0;
        then();
      },
      Math.min(ms, LONGEST),
    );
  }

  _stop(): void {
    clearTimeout(this._on as number);
    this._on = 0;
  }
}
