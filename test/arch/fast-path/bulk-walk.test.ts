/** Accesses that are done in one loop leave what the same accesses one by one leave. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { type Access, CR4_PCIDE, PageFault, PRESETS, PTE_ACCESSED, PTE_DIRTY } from "../../../arch/index.ts";
import { captureWalkCacheLines } from "../../../arch/tlb/walk-cache-lines.ts";
import { ALL, BASE, Guest } from "../guest.ts";
import { hardwareState } from "./compare.ts";

/** Pages: more than both levels hold. */
const PAGES = 4000;
/** Where they lie: below few page tables, so that PDEs stay cached, or below many; or in more GiB than PDPTEs are cached. */
const CLOSE = 4096;
const FAR = 4096 * 48;
const FARTHER = 4096 * 600;
const ACCESSES = 20_000;
const TARGET = 2 ** 30;
/** PCIDs that the CPU is in, in turn. */
const PCIDS = 3;

/** Small pages, some of which are not there, or need A or D set. */
function guestOf(preset: (typeof PRESETS)[number], oddPages: number, stride: number): Guest {
  const guest = new Guest({ preset, memoryBytes: 2 ** 32 });
  for (let page = 0; page < PAGES; page++) {
    const isOdd = page % 64 < oddPages;
    if (!isOdd || page % 3 !== 0)
      guest.map(BASE + page * stride, TARGET + page * 4096, isOdd ? ALL : ALL | PTE_ACCESSED | PTE_DIRTY);
  }
  return guest;
}

/** Counts the accesses that are done in one loop from now on; how many they are. */
function countInBulk({ cpu }: Guest): () => number {
  let count = 0;
  const { bulk } = cpu.mmu.fastPath;
  if (bulk === null) return () => 0;
  const touch = bulk.touch.bind(bulk);
  bulk.touch = (kinds, addresses, from, to) => {
    const done = touch(kinds, addresses, from, to);
    count += done - from;
    return done;
  };
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

/** Loads CR3 with another PCID of the same tables and keeps what is cached, where the CPU has PCIDs. */
function switchPcid({ cpu, machine, root }: Guest, pcid: number): void {
  if (!machine.features.pcid) return;
  if ((cpu.cr4 & CR4_PCIDE) === 0) cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
  cpu.writeCr3(root * 4096 + pcid, true);
}

it.each(PRESETS)("random accesses to more pages than TLBs hold, on $name", (preset) => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.constantFrom(0, 1, 8),
      fc.constantFrom(CLOSE, FAR, FARTHER),
      fc.boolean(),
      (seed, oddPages, stride, switches) => {
        const bulk = guestOf(preset, oddPages, stride);
        const single = guestOf(preset, oddPages, stride);
        let state = seed;
        const next = (below: number) => {
          state = (Math.imul(state, 1664525) + 1013904223) | 0;
          return Math.floor(((state >>> 0) / 2 ** 32) * below);
        };
        const kinds = Uint8Array.from({ length: ACCESSES }, () => (next(16) === 0 ? 2 : next(2)));
        const addresses = Float64Array.from({ length: ACCESSES }, () => BASE + next(PAGES) * stride + next(4096));
        const inBulk = countInBulk(bulk);
        const faulted: number[] = [];
        const expected: number[] = [];
        for (let from = 0, part = 0; from < ACCESSES; from += ACCESSES / 4, part++) {
          if (switches) for (const guest of [bulk, single]) switchPcid(guest, part % PCIDS);
          const to = from + ACCESSES / 4;
          for (let at = from; at < to; at++) {
            at = bulk.cpu.bulk.touch(kinds, addresses, at, to);
            if (at < to) faulted.push(at);
          }
          for (let i = from; i < to; i++) if (faults(single, kinds[i], addresses[i])) expected.push(i);
        }
        if (preset.name === "skylake") expect(inBulk()).toBeGreaterThan(ACCESSES / 2);
        expect(faulted).toEqual(expected);
        expect(bulk.cpu.counters()).toEqual(single.cpu.counters());
        expect(bulk.machine.loop.clockCycles[0]).toBe(single.machine.loop.clockCycles[0]);
        expect(hardwareState(bulk)).toEqual(hardwareState(single));
        const [bulkLines, singleLines] = [bulk, single].map(({ cpu }) => captureWalkCacheLines([cpu.mmu.walkCaches]));
        expect(bulkLines).toEqual(singleLines);
      },
    ),
    { numRuns: 4 },
  );
});
