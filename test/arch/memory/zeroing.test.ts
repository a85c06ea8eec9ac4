import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CHUNK_FRAMES, LOW_MEMORY_BYTES, PhysicalMemory } from "../../../arch/memory/physical-memory.ts";

const FRAMES = 2 * CHUNK_FRAMES;

describe("zeroing of physical memory", () => {
  it("clears exactly the frames that are listed, runs of neighbours over the end of a chunk included", () => {
    const start = fc.integer({ min: CHUNK_FRAMES - 8, max: CHUNK_FRAMES + 8 });
    const run = fc.tuple(start, fc.integer({ min: 1, max: 6 }));
    fc.assert(
      fc.property(fc.array(run, { minLength: 1, maxLength: 4 }), fc.nat({ max: 3 }), (runs, offset) => {
        const memory = new PhysicalMemory(FRAMES * 4096);
        const near = Array.from({ length: 40 }, (_, i) => CHUNK_FRAMES - 16 + i);
        for (const frame of near) for (const word of [0, 1023]) memory.writeWord(frame, word, frame);
        const frames = runs.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i));
        const list = Uint32Array.from([...new Array<number>(offset).fill(CHUNK_FRAMES - 16), ...frames]);
        memory.zeroFrames(list, offset, frames.length);
        for (const frame of near) {
          const expected = frames.includes(frame) ? 0 : frame;
          for (const word of [0, 1023]) expect(memory.readWord(frame, word)).toBe(expected);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("clears the words that it is told to, and makes no memory for what was never written", () => {
    const memory = new PhysicalMemory(FRAMES * 4096);
    memory.zeroWords(5, 0, 1024);
    memory.zeroFrames(Uint32Array.of(5, 6), 0, 2);
    expect(memory.touchedBytes).toBe(0);
    for (let word = 0; word < 1024; word++) memory.writeWord(5, word, 7);
    memory.zeroWords(5, 10, 3);
    const left = Array.from({ length: 1024 }, (_, word) => memory.readWord(5, word));
    expect(left.flatMap((value, word) => (value === 0 ? [word] : []))).toEqual([10, 11, 12]);
  });
});

describe("frames that have no memory", () => {
  it("are told by place: frame 0, the hole below 4 GiB, the end", () => {
    const memory = new PhysicalMemory(LOW_MEMORY_BYTES + 2 ** 22);
    const low = LOW_MEMORY_BYTES / 4096;
    const high = 2 ** 20;
    const good = [1, low - 1, high, high + 1023];
    expect(memory.firstWithout(Uint32Array.from(good))).toBe(-1);
    for (const bad of [0, low, high - 1, high + 1024, 2 ** 32 - 1]) {
      expect(memory.firstWithout(Uint32Array.from([...good, bad]))).toBe(good.length);
    }
  });
});
