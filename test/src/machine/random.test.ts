import fc from "fast-check";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { describe, expect, it } from "vitest";
import { randomStream } from "../../../src/machine/random.ts";

const draw = (seed: number, stream: number, count = 20): number[] => {
  const random = randomStream(seed, stream);
  return Array.from({ length: count }, () => random.between(0, 2 ** 31));
};

describe("random streams", () => {
  it("are the same for the same seed and stream, and differ between streams and seeds", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31), fc.integer({ min: 0, max: 8 }), (seed, stream) => {
        expect(draw(seed, stream)).toEqual(draw(seed, stream));
        expect(draw(seed, stream)).not.toEqual(draw(seed, stream + 1));
        expect(draw(seed, stream)).not.toEqual(draw(seed + 1, stream));
      }),
    );
  });

  it("do not depend on which streams were asked for before", () => {
    const asked = fc.tuple(fc.nat(2), fc.nat(12));
    fc.assert(
      fc.property(fc.array(asked, { minLength: 1 }), (streams) => {
        for (const [seed, stream] of streams) {
          const generator = xoroshiro128plus(seed);
          for (let i = 0; i < stream; i++) generator.jump();
          const drawn = Array.from({ length: 20 }, () => uniformInt(generator, 0, 2 ** 31));
          expect(draw(seed, stream)).toEqual(drawn);
        }
      }),
    );
  });

  it("keep to their bounds and reach them", () => {
    const random = randomStream(1);
    const drawn = new Set(Array.from({ length: 200 }, () => random.between(3, 6)));
    expect([...drawn].sort()).toEqual([3, 4, 5, 6]);
  });

  it("are fixed: a seed means the same run in every version", () => {
    const random = randomStream(42);
    expect(Array.from({ length: 5 }, () => random.between(0, 999))).toMatchInlineSnapshot(`
      [
        605,
        225,
        535,
        820,
        834,
      ]
    `);
  });
});
