/** Random numbers from a seed: the same seed gives the same numbers on every machine. */
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** A stream of random numbers. */
export interface Random {
  /** A whole number from `low` to `high`, both included, each as likely as the other. */
  between(low: number, high: number): number;
}

/**
 * Stream number `stream` of `seed`. Streams of one seed do not overlap within 2^64 numbers.
 * @param seed a whole number; its low 32 bits count
 */
export function randomStream(seed: number, stream = 0): Random {
  const generator = xoroshiro128plus(seed);
  for (let i = 0; i < stream; i++) generator.jump();
  return { between: (low, high) => uniformInt(generator, low, high) };
}
