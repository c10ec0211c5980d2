// Counts what a room's events say about the promise that nothing is lost and nothing comes twice. Every logged event has
// an offset, 1, 2, 3 … within its epoch: a number left out is an event lost, one that doesn't rise came twice.

export class Tally {
  /** Events that never came. */
  lost = 0;
  /** Events that came again. */
  twice = 0;
  /** What others did while this player was away, and came afterwards. */
  recovered = 0;
  #epoch = "";
  #offset = 0;
  #awayUntil = 0;

  /** The connection is back: what happened before this time, by the server's clock, was missed until now. */
  back(serverTime) {
    this.#awayUntil = serverTime;
  }

  /** The server says that its log has moved on: we begin anew, and can't count what was in between. */
  gap() {
    this.#epoch = "";
  }

  /** Takes in an event of the room; `own` if this player made it. */
  take({ offset, epoch, timestamp }, own) {
    if (!offset) return; // ephemeral: worth nothing later, and not kept
    if (timestamp < this.#awayUntil && !own) this.recovered += 1;
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#offset = offset;
      return;
    }
    if (offset <= this.#offset) this.twice += 1;
    else this.lost += offset - this.#offset - 1;
    this.#offset = Math.max(offset, this.#offset);
  }
}
