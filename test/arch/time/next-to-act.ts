/** Which CPU acts next, in tests whose CPUs run programs: turn after turn of computing, then coming for what others want too. */

/**
 * The CPU that acts next: the one whose clock is furthest behind or, by arrival, the one that comes first; -1 when all are done.
 * @param done turns that each CPU has done
 */
export function nextToAct(
  programs: readonly (readonly { readonly computes: number }[])[],
  clocks: ArrayLike<number>,
  done: readonly number[],
  byArrival: boolean,
): number {
  let first = -1;
  let at = Number.POSITIVE_INFINITY;
  programs.forEach((program, cpu) => {
    if (done[cpu] === program.length) return;
    const acts = clocks[cpu] + (byArrival ? program[done[cpu]].computes : 0);
    if (acts >= at) return;
    at = acts;
    first = cpu;
  });
  return first;
}
