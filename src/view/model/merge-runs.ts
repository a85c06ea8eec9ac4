/** Puts lists that are in order one by one, as those of the vmap nodes are, in order together: quicker than sorting anew. */

/**
 * The order of numbers that come as runs, each ascending, one after the other. The first may be much longer than the others: it is
 * merged once, when they are one.
 * @returns their indexes by ascending number; of equal ones the first comes first
 */
export function orderOfRuns(numbers: ArrayLike<number>): Uint32Array {
  const { length } = numbers;
  let order = new Uint32Array(length);
  for (let i = 0; i < length; i++) order[i] = i;
  let merged = new Uint32Array(length);
  let begins = beginsOfRuns(numbers);
  while (begins.length > 2) {
    const next: number[] = [];
    const first = begins.length > 3 ? 1 : 0;
    if (first === 1) {
      next.push(0);
      merged.set(order.subarray(0, begins[1]));
    }
    for (let run = first; run + 1 < begins.length; run += 2) {
      next.push(begins[run]);
      const end = begins[Math.min(run + 2, begins.length - 1)];
      mergeTwo(numbers, order, merged, begins[run], begins[run + 1], end);
    }
    next.push(length);
    begins = next;
    [order, merged] = [merged, order];
  }
  return order;
}

/** Where runs begin, and at last where the last ends. */
function beginsOfRuns(numbers: ArrayLike<number>): number[] {
  const begins = [0];
  for (let i = 1; i < numbers.length; i++) if (numbers[i] < numbers[i - 1]) begins.push(i);
  begins.push(numbers.length);
  return begins;
}

/** Merges the runs from `left` to `right` and from there to `end`, of which the second may be empty. */
function mergeTwo(
  numbers: ArrayLike<number>,
  order: Uint32Array,
  merged: Uint32Array,
  left: number,
  right: number,
  end: number,
): void {
  let a = left;
  let b = right;
  for (let to = left; to < end; to++) {
    const takesLeft = b >= end || (a < right && numbers[order[a]] <= numbers[order[b]]);
    merged[to] = takesLeft ? order[a++] : order[b++];
  }
}
