/** The store of the arrays of frame numbers: arrays do not overlap, keep what is in them, and what was given back is used again. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { PageArrays } from "../../../../mm/vmalloc/areas/page-arrays.ts";

interface Taken {
  readonly offset: number;
  readonly length: number;
  readonly firstFrame: number;
}

it("arrays of any lengths keep their frame numbers while others come and go", () => {
  const step = fc.record({ length: fc.integer({ min: 1, max: 600 }), isGivenBack: fc.boolean(), which: fc.nat() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const arrays = new PageArrays();
      const taken: Taken[] = [];
      let nextFrame = 1;
      for (const { length, isGivenBack, which } of steps) {
        if (isGivenBack && taken.length > 0) {
          const [each] = taken.splice(which % taken.length, 1);
          arrays.giveBack(each.offset, each.length);
        } else {
          const offset = arrays.take(length);
          for (let i = 0; i < length; i++) arrays.frames[offset + i] = nextFrame + i;
          taken.push({ offset, length, firstFrame: nextFrame });
          nextFrame += length;
        }
        for (const each of taken) {
          expect(each.offset).toBeGreaterThan(0);
          expect(each.offset + each.length).toBeLessThanOrEqual(arrays.usedLength);
          expect(arrays.frames[each.offset]).toBe(each.firstFrame);
          expect(arrays.frames[each.offset + each.length - 1]).toBe(each.firstFrame + each.length - 1);
        }
      }
    }),
    { numRuns: 60 },
  );
});

it.each([1, 2, 3, 4, 5, 64, 65, 1000])("an array of %i that was given back is the next of its length", (length) => {
  const arrays = new PageArrays();
  const [first, second] = [arrays.take(length), arrays.take(length)];
  arrays.giveBack(first, length);
  arrays.giveBack(second, length);
  const used = arrays.usedLength;
  const free: number[] = [];
  arrays.forEachFree((offset) => free.push(offset));
  expect(free).toEqual([second, first]);
  expect([arrays.take(length), arrays.take(length)]).toEqual([second, first]);
  expect(arrays.usedLength).toBe(used);
  expect(arrays.take(length)).toBe(used);
});
