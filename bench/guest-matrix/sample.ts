/** Which cases of a setting a sample has, and how shards and workers share them out. */

/** About the golden section of the cases of a setting, and prime to their number: steps of it spread evenly and meet each case once. */
function stepOf(all: number): bigint {
  let step = Math.floor(all * 0.618_033_988_75) | 1;
  while (greatestCommonDivisor(step, all) !== 1) step += 2;
  return BigInt(step);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** A part of a sample: what one worker of one shard runs. Both are counted from 0. */
export interface SamplePart {
  readonly shard: number;
  readonly shards: number;
  readonly worker: number;
  readonly workers: number;
}

/** All of a sample in one part. */
export const WHOLE_SAMPLE: SamplePart = { shard: 0, shards: 1, worker: 0, workers: 1 };

/**
 * Visits the cases of a setting that are a part's. A shard has the same cases with any number of workers, so that a sample can be run in
 * pieces, one after the other or on several machines.
 * @param casesPerSetting how many the setting has
 * @param cases how many of them are in the whole sample
 * @param seed where they begin
 */
export function visitPart(
  casesPerSetting: number,
  cases: number,
  seed: number,
  part: SamplePart,
  visit: (index: number) => void,
): void {
  const { shard, shards, worker, workers } = part;
  const all = BigInt(casesPerSetting);
  const goldenStep = stepOf(casesPerSetting);
  const [first, step] = [shard + shards * worker, shards * workers];
  const stride = Number((goldenStep * BigInt(step)) % all);
  let index = Number((goldenStep * BigInt(first) + BigInt(seed)) % all);
  for (let at = first; at < cases; at += step) {
    visit(index);
    index = (index + stride) % casesPerSetting;
  }
}
