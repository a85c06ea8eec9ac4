/** Random times for tests that lay an order of CPUs beside a model's: who is first of two that come at one time is not said, so none do. */
import fc from "fast-check";

/** By CPU, what it computes longer in each turn: square roots of primes, of which no sums are equal; fractions of a cycle. */
const APART_CYCLES = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37].map((prime) => Math.sqrt(prime) / 1000);

/** Any of the 1024ths of a cycle between two whole numbers, each as likely. (`fc.double` draws exponents: half of what it gives for 0 to 30 is below 1e-150.) */
export function cyclesBetween(min: number, max: number): fc.Arbitrary<number> {
  return fc.integer({ min: 1024 * min, max: 1024 * max }).map((parts) => parts / 1024);
}

/** The same programs, by CPU (12 at most), with each turn's computing longer by a fraction of a cycle that is the CPU's own. */
export function comingApart<Turn extends { readonly computes: number }>(
  programs: readonly (readonly Turn[])[],
): Turn[][] {
  return programs.map((turns, cpu) => turns.map((turn) => ({ ...turn, computes: turn.computes + APART_CYCLES[cpu] })));
}
