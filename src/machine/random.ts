/** Random numbers from a seed: the same seed gives the same numbers on every machine. */
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** A stream of random numbers. */
export interface Random {
  /** A whole number from `low` to `high`, both included, each as likely as the other. */
  between(low: number, high: number): number;
}

/**
 * The stream that was asked for last, at its beginning: a jump to the next takes as long as 128 numbers, and a run asks for one a CPU, in ascending
 * order. From the first stream on each time they took 0.18 s on 1024 CPUs.
 */
const last = { seed: 0, stream: 0, begin: xoroshiro128plus(0) };

/**
 * Stream number `stream` of `seed`. Streams of one seed do not overlap within 2^64 numbers.
 * @param seed a whole number; its low 32 bits count
 */
export function randomStream(seed: number, stream = 0): Random {
  if (seed !== last.seed || stream < last.stream) {
    last.seed = seed;
    last.stream = 0;
    last.begin = xoroshiro128plus(seed);
  }
  for (; last.stream < stream; last.stream++) last.begin.jump();
  const generator = last.begin.clone();
  return { between: (low, high) => uniformInt(generator, low, high) };
}
