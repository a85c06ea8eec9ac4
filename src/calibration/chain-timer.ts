/** What times chains of loads: the host's CPU (src/probe) or an emulated one (emulated-timer.ts). */
import type { CurveOrigin } from "./curves.ts";

/** Times cycles of dependent loads, each of which reads where the next one goes. */
export interface ChainTimer {
  /** Pages that can be visited, from number 0 on. */
  readonly memoryPages: number;
  /**
   * Whether page 0 has a page number whose low 16 bits are 0. Where that is not so, curves and sequences whose pages must differ in
   * two fields of their number in the same way mean nothing.
   */
  readonly isAligned: boolean;
  /** Where it measures. */
  readonly origin: CurveOrigin;
  /** Clock frequency that its nanoseconds are of; null when it is not known. */
  readonly clockGhz: number | null;
  /**
   * Nanoseconds a visit, the least of `repetitions`, each of many cycles. A page that is visited several times has a line of its own
   * for each visit.
   * @param visits page numbers below `memoryPages`, none more often than a page has lines
   */
  time(visits: readonly number[], repetitions: number): number;
}

/** Lines of a page, and bytes of a line. */
const LINES = 64;
const LINE_BYTES = 64;
const PAGE_BYTES = 4096;

/**
 * The byte that each visit of a cycle reads, counted from page 0. Neighbours in time read different lines of their pages, so that the
 * visits spread evenly over the sets of the data cache, which then does not run out before the TLB does.
 */
export function bytesOfVisits(visits: readonly number[]): Float64Array {
  const taken = new Map<number, Set<number>>();
  return Float64Array.from(visits, (page, index) => {
    const lines = taken.get(page) ?? new Set<number>();
    taken.set(page, lines);
    let line = index % LINES;
    // A page that is visited again has the next line that is free.
    while (lines.has(line) && lines.size < LINES) line = (line + 1) % LINES;
    lines.add(line);
    return page * PAGE_BYTES + line * LINE_BYTES;
  });
}
