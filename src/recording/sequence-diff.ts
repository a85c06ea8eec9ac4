/** Where two sequences differ. */

/** A position at which two sequences differ; a side that has nothing there is undefined. */
export interface Difference<T> {
  /** Position in the expected sequence (for one that is only in the actual one: where it was put in). */
  readonly index: number;
  readonly expected: T | undefined;
  readonly actual: T | undefined;
}

/**
 * The differences between what was expected and what came. What both have in common at their ends is set aside, the rest is
 * compared position by position: one missing or extra element is one difference, not a shift of all that follow.
 */
export function diffSequences<T>(
  expected: readonly T[],
  actual: readonly T[],
  same: (expected: T, actual: T) => boolean,
): Difference<T>[] {
  const shorter = Math.min(expected.length, actual.length);
  let head = 0;
  while (head < shorter && same(expected[head], actual[head])) head++;
  if (head === expected.length && head === actual.length) return [];
  let tail = 0;
  while (tail < shorter - head && same(expected[expected.length - 1 - tail], actual[actual.length - 1 - tail])) {
    tail++;
  }
  const expectedEnd = expected.length - tail;
  const actualEnd = actual.length - tail;
  const differences: Difference<T>[] = [];
  for (let index = head; index < Math.max(expectedEnd, actualEnd); index++) {
    const left = index < expectedEnd ? expected[index] : undefined;
    const right = index < actualEnd ? actual[index] : undefined;
    if (left !== undefined && right !== undefined && same(left, right)) continue;
    differences.push({ index, expected: left, actual: right });
  }
  return differences;
}
