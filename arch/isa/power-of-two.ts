/** Powers of two among the integers that a double holds exactly: up to 2^53. */

const INT32_POWER_MAX = 2 ** 30;

/** Whether `value` is 1, 2, 4, ... */
export function isPowerOfTwo(value: number): boolean {
  if (value > INT32_POWER_MAX) return Number.isFinite(value) && value === roundUpToPowerOfTwo(value);
  return value >= 1 && Number.isInteger(value) && (value & (value - 1)) === 0;
}

/** The smallest power of two that is at least `value` (`roundup_pow_of_two`); 0 for 0. */
export function roundUpToPowerOfTwo(value: number): number {
  // The logarithm of a number just above a large power of two is rounded to that power's own.
  const power = 2 ** Math.ceil(Math.log2(value));
  return power < value ? 2 * power : power;
}
