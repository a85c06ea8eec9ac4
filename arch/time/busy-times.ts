/**
 * When something is busy that serves one CPU at a time: a lock that plain code holds for a known time, a line that is handed from CPU
 * to CPU. CPUs come in the order in which the event loop runs them, which is not that of their clocks, so that several stretches of
 * time are kept: who comes at a time that lies in one of them is served at its end, who comes between two of them is served at once. What
 * the latter takes away from a stretch that begins meanwhile is added to its end, so that no work gets lost: those who come later wait
 * for it.
 */

/** Stretches that are kept. When there are more, the oldest is put right before the one behind it. */
export const BUSY_STRETCHES = 4;
const LAST = BUSY_STRETCHES - 1;

/** The busy times of one thing, in cycles. */
export class BusyTimes {
  /** Stretches in order of time, without a gap in any and with one between every two; those before the first that there is are of no length. */
  readonly from = new Float64Array(BUSY_STRETCHES);
  readonly until = new Float64Array(BUSY_STRETCHES);

  /** When somebody is served who comes at `atCycles`. */
  startOf(atCycles: number): number {
    const { from, until } = this;
    for (let i = LAST; i >= 0; i--) {
      if (atCycles >= until[i]) return atCycles;
      if (atCycles >= from[i]) return until[i];
    }
    return atCycles;
  }

  /** Somebody is served from `startCycles`, which {@link startOf} said, until `endCycles`. */
  serve(startCycles: number, endCycles: number): void {
    const { from, until } = this;
    let at = LAST;
    while (at >= 0 && startCycles < from[at]) at--;
    if (at < 0) {
      from[0] -= endCycles - startCycles;
      return;
    }
    if (startCycles <= until[at]) {
      until[at] += endCycles - startCycles;
    } else {
      const oldest = until[0] - from[0];
      from.copyWithin(0, 1, at + 1);
      until.copyWithin(0, 1, at + 1);
      from[at] = startCycles;
      until[at] = endCycles;
      from[0] -= oldest;
    }
    for (; at < LAST && from[at + 1] <= until[at]; at++) {
      until[at + 1] += until[at] - from[at + 1];
      from[at + 1] = from[at];
      from.copyWithin(1, 0, at);
      until.copyWithin(1, 0, at);
      from[0] = 0;
      until[0] = 0;
    }
  }
}
