/** Which cases of a setting a sample has, and how shards and workers share them out. */
import { CASES_PER_SETTING } from "./cases.ts";

/** About the golden section of the cases of a setting, and prime to their number: steps of it spread evenly and meet each case once. */
const STEP = BigInt(Math.floor(CASES_PER_SETTING * 0.618_033_988_75) | 1);

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
 * @param cases how many of the setting are in the whole sample
 * @param seed where they begin
 */
export function visitPart(cases: number, seed: number, part: SamplePart, visit: (index: number) => void): void {
  const { shard, shards, worker, workers } = part;
  const all = BigInt(CASES_PER_SETTING);
  const [first, step] = [shard + shards * worker, shards * workers];
  const stride = Number((STEP * BigInt(step)) % all);
  let index = Number((STEP * BigInt(first) + BigInt(seed)) % all);
  for (let at = first; at < cases; at += step) {
    visit(index);
    index = (index + stride) % CASES_PER_SETTING;
  }
}
