import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LazyRuns } from "../../../../mm/vmalloc/areas/lazy-runs.ts";
import { bootKernel } from "../../../../src/index.ts";

const PAGE = 4096;

/** Runs of pages of a set, by their first. */
function runsOf(pages: ReadonlySet<number>): number {
  return [...pages].filter((page) => !pages.has(page - 1)).length;
}

describe("runs of lazily freed areas", () => {
  it("are as many as the ranges that touching areas make, each with one object, whatever the order of the frees", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(40), { minLength: 1 }), (order) => {
        const runs = new LazyRuns();
        const freed = new Set<number>();
        const withObject = new Set<number>();
        for (const page of order) {
          const area = page + 1;
          freed.add(page);
          withObject.add(area);
          for (const given of runs.add(area, page * PAGE, (page + 1) * PAGE)) {
            // Each object is given back once, and only one that is still had.
            expect(withObject.delete(given)).toBe(true);
          }
          expect(runs.count).toBe(runsOf(freed));
          expect(withObject.size).toBe(runs.count);
        }
        runs.clear();
        expect(runs.count).toBe(0);
      }),
    );
  });

  it("merge with the run before, whose object stays, as merge_or_add_vmap_area does", () => {
    const runs = new LazyRuns();
    expect(runs.add(1, 0, PAGE)).toEqual([]);
    expect(runs.add(3, 2 * PAGE, 3 * PAGE)).toEqual([]);
    expect(runs.add(2, PAGE, 2 * PAGE)).toEqual([2, 3]);
    expect(runs.add(4, 3 * PAGE, 4 * PAGE)).toEqual([4]);
  });

  it("keep the tree of 6.6 small, give objects back at once, and leave none behind after the purge", () => {
    const [small, whole] = ["6.6", "6.12"].map((kernel) => {
      const machine = bootKernel({ kernel, cpus: 1, vmalloc: { vmapNodes: 1 } });
      for (let i = 0; i < 100; i++) machine.vfree(machine.vmalloc(PAGE));
      return machine;
    });
    expect(small.vm.nodes[0].lazy.nodes).toBe(1);
    expect(whole.vm.nodes[0].lazy.nodes).toBe(100);
    const { vmapArea } = small.vm.slabs;
    const used = vmapArea.objectsInUse;
    expect(whole.vm.slabs.vmapArea.objectsInUse - used).toBeGreaterThanOrEqual(98);
    small.vmUnmapAliases();
    expect(small.vm.nodes[0].lazy.nodes).toBe(0);
    expect(vmapArea.objectsInUse).toBeLessThan(used + 1);
    expect(small.verify()).toEqual([]);
  });
});
