/** Misses that are done in one function leave what the same accesses one by one leave. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { type Access, PageFault, PRESETS, PTE_ACCESSED, PTE_DIRTY } from "../../../arch/index.ts";
import { captureWalkCacheLines } from "../../../arch/tlb/walk-cache-lines.ts";
import { ALL, BASE, Guest } from "../guest.ts";
import { hardwareState } from "./compare.ts";

/** Pages: more than both levels hold, below few page tables, so that PDEs stay cached. */
const PAGES = 4000;
const ACCESSES = 20_000;
const TARGET = 2 ** 30;

/** Small pages, some of which are not there, or need A or D set. */
function guestOf(preset: (typeof PRESETS)[number], oddPages: number): Guest {
  const guest = new Guest({ preset, memoryBytes: 2 ** 32 });
  for (let page = 0; page < PAGES; page++) {
    const isOdd = page % 64 < oddPages;
    if (!isOdd || page % 3 !== 0)
      guest.map(BASE + page * 4096, TARGET + page * 4096, isOdd ? ALL : ALL | PTE_ACCESSED | PTE_DIRTY);
  }
  return guest;
}

/** Counts the misses that are done in one function from now on; how many they are. */
function countBulkWalks({ cpu }: Guest): () => number {
  let count = 0;
  for (const { bulkWalk } of [cpu.mmu.fastPath.loads, cpu.mmu.fastPath.stores]) {
    if (bulkWalk === null) continue;
    const walk = bulkWalk.walk.bind(bulkWalk);
    bulkWalk.walk = (number) => {
      const isDone = walk(number);
      if (isDone) count++;
      return isDone;
    };
  }
  return () => count;
}

/** Makes an access by itself; whether it faulted. */
function faults({ cpu }: Guest, kind: number, la: number): boolean {
  try {
    cpu.touchAs(kind as Access, la);
    return false;
  } catch (error) {
    if (error instanceof PageFault) return true;
    throw error;
  }
}

it.each(PRESETS)("random accesses to more pages than TLBs hold, on $name", (preset) => {
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom(0, 1, 8), (seed, oddPages) => {
      const bulk = guestOf(preset, oddPages);
      const single = guestOf(preset, oddPages);
      let state = seed;
      const next = (below: number) => {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        return Math.floor(((state >>> 0) / 2 ** 32) * below);
      };
      const kinds = Uint8Array.from({ length: ACCESSES }, () => (next(16) === 0 ? 2 : next(2)));
      const addresses = Float64Array.from({ length: ACCESSES }, () => BASE + next(PAGES) * 4096 + next(4096));
      const walks = countBulkWalks(bulk);
      const faulted: number[] = [];
      for (let at = 0; at < ACCESSES; at++) {
        at = bulk.cpu.bulk.touch(kinds, addresses, at, ACCESSES);
        if (at < ACCESSES) faulted.push(at);
      }
      const expected = [...kinds.keys()].filter((i) => faults(single, kinds[i], addresses[i]));
      if (preset.name === "skylake") expect(walks()).toBeGreaterThan(ACCESSES / 8);
      expect(faulted).toEqual(expected);
      expect(bulk.cpu.counters()).toEqual(single.cpu.counters());
      expect(bulk.machine.loop.clockCycles[0]).toBe(single.machine.loop.clockCycles[0]);
      expect(hardwareState(bulk)).toEqual(hardwareState(single));
      const [bulkLines, singleLines] = [bulk, single].map(({ cpu }) => captureWalkCacheLines([cpu.mmu.walkCaches]));
      expect(bulkLines).toEqual(singleLines);
    }),
    { numRuns: 2 },
  );
});
