/** Batches of the gather: when it flushes, that nothing is given back before, and that everything is after. */
import { describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../../../arch/index.ts";
import {
  exitMmap,
  IPI_POLICY,
  KERNEL_VERSIONS,
  madviseDontneed,
  mmapPopulate,
  munmap,
  unmapMappingRange,
} from "../../../mm/index.ts";
import { boot, on, runningOn, TEXT } from "./user-machine.ts";

const FAR = 2 ** 40;

/** A machine that notes, at each flush of a gather, what comes next and how many pages had been given back by then. */
function observed(version: string, memoryBytes = 2 ** 28) {
  const machine = boot(IPI_POLICY, { kernel: version, memoryBytes });
  const { kernel, spaces } = machine;
  const mm = runningOn(machine, 2, 0);
  const flushes: { pages: number; tables: number; freedBefore: number }[] = [];
  const flushedPages: number[] = [];
  const began = { freed: 0 };
  kernel.mm.flushing.tlbFlushObserver = {
    tlbFlush: (_cpu, _reason, pages) => flushedPages.push(pages),
    tlbFlushMmu: (_cpu, pages, tables) =>
      flushes.push({ pages, tables, freedBefore: kernel.pages.freedPages - began.freed }),
  };
  return { machine, kernel, spaces, mm, flushes, flushedPages, began };
}

describe.each(KERNEL_VERSIONS.map(({ name, gatherEntriesKept }) => ({ name, kept: gatherEntriesKept })))(
  "a gather of Linux $name",
  ({ name, kept }) => {
    const first = 8 - kept;
    const batch = 510 - kept;

    it("flushes when 19 batches are full, and gives back what it flushed only then", () => {
      const { kernel, spaces, mm, flushes, began } = observed(name);
      const pages = 20_000;
      const whole = first + 19 * batch;
      expect(kernel.run(mmapPopulate(spaces, mm, FAR, pages))).toBe(0);
      kernel.run(spaces.lru.lruAddDrainAll());
      const before = kernel.pages.freePages;
      began.freed = kernel.pages.freedPages;
      expect(kernel.run(madviseDontneed(spaces, mm, FAR, FAR + pages * PAGE_SIZE), 0)).toBe(0);
      expect(flushes).toEqual([
        { pages: whole, tables: 0, freedBefore: 0 },
        { pages: whole, tables: 0, freedBefore: whole },
        { pages: pages - 2 * whole, tables: 0, freedBefore: 2 * whole },
      ]);
      // The pages, and none of those that held batches.
      expect(kernel.pages.freePages).toBe(before + pages);
      expect(kernel.verify()).toEqual([]);
    });

    it("flushes after its own few entries when there is no memory for a batch", () => {
      const { kernel, spaces, mm, flushes } = observed(name);
      const pages = 3 * first + 1;
      kernel.run(mmapPopulate(spaces, mm, FAR, pages));
      kernel.faults.failAt(0, "frame", Number.POSITIVE_INFINITY);
      expect(kernel.run(madviseDontneed(spaces, mm, FAR, FAR + pages * PAGE_SIZE), 0)).toBe(0);
      kernel.faults.disarm();
      expect(flushes.map((flush) => flush.pages)).toEqual([first, first, first, 1]);
      expect(kernel.verify()).toEqual([]);
    });

    it("flushes for page tables too, which wait with the pages or apart", () => {
      const { kernel, spaces, mm, flushes, began } = observed(name);
      kernel.run(mmapPopulate(spaces, mm, FAR, first - 1));
      kernel.run(mmapPopulate(spaces, mm, FAR + 2 ** 30, 1));
      kernel.run(spaces.lru.lruAddDrainAll());
      kernel.faults.failAt(0, "frame", Number.POSITIVE_INFINITY);
      began.freed = kernel.pages.freedPages;
      expect(kernel.run(munmap(spaces, mm, FAR, FAR + 2 ** 39), 0)).toBe(0);
      kernel.faults.disarm();
      // Two PTE tables, two PMD tables, a PUD table; the pages alone fill the batch.
      const together = { pages: first, tables: 0, freedBefore: 0 };
      expect(flushes).toEqual([together, { pages: 0, tables: 5, freedBefore: first }]);
      expect(kernel.verify()).toEqual([]);
    });

    it("of an address space that ends flushes all of it and leaves nothing", () => {
      const { machine, kernel, spaces, mm, flushes, flushedPages } = observed(name);
      kernel.run(mmapPopulate(spaces, mm, FAR, 12_000));
      on(machine, 1, () => spaces.switchTo(null));
      flushedPages.length = 0;
      kernel.run(exitMmap(spaces, mm), 0);
      expect(flushes.length).toBe(2);
      expect(flushedPages.every((pages) => pages === -1)).toBe(true);
      expect(kernel.verify()).toEqual([]);
    });
  },
);

describe("what a gather flushes", () => {
  it("reaches from the first page that was there to the last", () => {
    const { kernel, spaces, mm, flushedPages } = observed("6.12");
    kernel.run(madviseDontneed(spaces, mm, TEXT, TEXT + 3 * PAGE_SIZE), 0);
    kernel.run(madviseDontneed(spaces, mm, TEXT + 5 * PAGE_SIZE, TEXT + 8 * PAGE_SIZE), 0);
    flushedPages.length = 0;
    kernel.run(munmap(spaces, mm, TEXT, TEXT + 64 * PAGE_SIZE), 0);
    // The sender says how many, then each of both CPUs.
    expect(flushedPages).toEqual([2, 2, 2]);
  });

  it("is nothing where nothing was mapped", () => {
    const { kernel, spaces, mm, flushes, flushedPages } = observed("6.12");
    flushedPages.length = 0;
    kernel.run(madviseDontneed(spaces, mm, FAR, FAR + 2 ** 22), 0);
    expect([flushes, flushedPages]).toEqual([[], []]);
  });

  it("is flushed before the lock of the page tables is given back, and freed after it", () => {
    const { kernel, spaces, mm, flushes } = observed("6.12");
    kernel.run(mmapPopulate(spaces, mm, FAR, 20));
    const held: boolean[] = [];
    const { tlbFlushObserver: observer } = kernel.mm.flushing;
    if (observer !== null) {
      kernel.mm.flushing.tlbFlushObserver = {
        ...observer,
        tlbFlushMmu: (...given) => {
          held.push(mm.pageTableLock.isHeld);
          observer.tlbFlushMmu?.(...given);
        },
      };
    }
    kernel.faults.failAt(0, "frame", Number.POSITIVE_INFINITY);
    expect(kernel.run(unmapMappingRange(spaces, mm, FAR, FAR + 20 * PAGE_SIZE), 0)).toBe(0);
    kernel.faults.disarm();
    expect(flushes.map(({ pages }) => pages)).toEqual([7, 7, 6]);
    expect(held).toEqual([true, true, false]);
  });
});
