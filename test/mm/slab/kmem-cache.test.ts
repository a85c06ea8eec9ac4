/** Slab caches: where objects come from and go to, which lines that moves, and who waits for a node's lock. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ACTIVITY_LOCK_WAIT } from "../../../arch/time/cycle-accounts.ts";
import { DEFAULT_KERNEL_COSTS } from "../../../mm/index.ts";
import { IrqSpinLock } from "../../../mm/kernel/irq-spin-lock.ts";
import { lockStatistics } from "../../../mm/kernel/lock-stat.ts";
import type { KmemCache } from "../../../mm/slab/kmem-cache.ts";
import { slabLayout } from "../../../mm/slab/slab-layout.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const { slab: COSTS } = DEFAULT_KERNEL_COSTS;

function on<T>(kernel: Kernel, cpu: number, call: () => T): T {
  kernel.machine.loop.currentCpu = cpu;
  return call();
}

/** What `call` costs CPU `cpu`: cycles without those waited for lines, and those. */
function costOf(kernel: Kernel, cpu: number, call: () => void): { own: number; lines: number } {
  const { clockCycles, lines } = kernel.machine.loop;
  const [clock, waited] = [clockCycles[cpu], lines.waitedCycles[cpu]];
  on(kernel, cpu, call);
  const moved = lines.waitedCycles[cpu] - waited;
  return { own: clockCycles[cpu] - clock - moved, lines: moved };
}

function take(cache: KmemCache, count: number): number[] {
  return Array.from({ length: count }, () => cache.kmemCacheAlloc());
}

/** What a line takes between those two CPUs for which it takes longest. */
function farthestTransferCycles({ machine: { loop } }: Kernel): number {
  const cpus = Array.from({ length: loop.cpus }, (_, cpu) => cpu);
  const cyclesOf = (from: number, to: number): number => loop.lines.transferCycles[loop.topology.distance(from, to)];
  return Math.max(...cpus.flatMap((from) => cpus.map((to) => cyclesOf(from, to))));
}

function listLock(kernel: Kernel) {
  return lockStatistics(kernel.machine.loop).find(({ name }) => name === "&n->list_lock");
}

describe("a slab's layout", () => {
  it.each([
    [8, 512, 0],
    [64, 64, 0],
    [72, 56, 0],
    [96, 42, 0],
    [192, 21, 0],
    [256, 32, 1],
    [512, 32, 2],
    [1024, 32, 3],
    [2048, 16, 3],
    [4096, 8, 3],
    [8192, 4, 3],
  ])("of %i bytes is what slabinfo shows on 8 CPUs: %i objects in 2^%i pages", (bytes, objects, order) => {
    expect(slabLayout(bytes, 8)).toMatchObject({ objectsPerSlab: objects, order });
  });

  it("grows with the number of CPUs, so that they meet less often at a node's lock", () => {
    expect([1, 8, 64, 1024].map((cpus) => slabLayout(128, cpus).order)).toEqual([0, 0, 0, 1]);
    expect([1, 8, 64].map((cpus) => slabLayout(256, cpus).order)).toEqual([0, 1, 1]);
  });
});

describe("an object", () => {
  it("of the CPU's own slab is taken and given back without a lock, a slow path or a line", () => {
    const kernel = bootKernel({ cpus: 4 });
    const { vmapArea } = kernel.mm.slabs;
    const [first] = take(vmapArea, 1);
    const before = listLock(kernel)?.acquisitions;
    const cost = costOf(kernel, 0, () => {
      vmapArea.kmemCacheFree(first);
      expect(vmapArea.kmemCacheAlloc()).toBe(first);
    });
    expect(cost).toEqual({ own: 0, lines: 0 });
    expect(listLock(kernel)?.acquisitions).toBe(before);
  });

  it("that another CPU frees moves its line and the slab's there, and goes onto the slab's own list", () => {
    const kernel = bootKernel({ cpus: 4 });
    const { vmapArea } = kernel.mm.slabs;
    const { transferCycles } = kernel.machine.loop.lines;
    const distance = kernel.machine.loop.topology.distance(0, 1);
    const objects = on(kernel, 0, () => take(vmapArea, 3));
    const transfer = transferCycles[distance];
    expect(costOf(kernel, 1, () => vmapArea.kmemCacheFree(objects[0]))).toEqual({
      own: COSTS.slowCycles,
      lines: 2 * transfer,
    });
    // The slab's line is here now, the object's is not.
    expect(costOf(kernel, 1, () => vmapArea.kmemCacheFree(objects[1])).lines).toBe(transfer);
    // Once the owner's list is empty, it takes what came back, and its lines.
    const rest = on(kernel, 0, () => take(vmapArea, vmapArea.objectsPerSlab - 3));
    expect(rest).not.toContain(objects[0]);
    const taken: number[] = [];
    const refill = costOf(kernel, 0, () => taken.push(vmapArea.kmemCacheAlloc()));
    expect(taken).toEqual([objects[1]]);
    expect(refill).toEqual({ own: COSTS.slowCycles, lines: 2 * transfer });
    expect(vmapArea.slabs).toBe(1);
  });

  it("freed to a full slab makes that slab a partial one of the CPU that frees, which allocates from it next", () => {
    const kernel = bootKernel({ cpus: 2 });
    const { vmapArea } = kernel.mm.slabs;
    const full = on(kernel, 0, () => take(vmapArea, vmapArea.objectsPerSlab + 1));
    on(kernel, 1, () => vmapArea.kmemCacheFree(full[5]));
    expect([...vmapArea.partialSlabs]).toEqual([0, 1]);
    expect(on(kernel, 1, () => vmapArea.kmemCacheAlloc())).toBe(full[5]);
    expect(vmapArea.slabs).toBe(2);
  });

  it("is never handed out twice, and slabs that become empty are given back but for those that are kept", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ cpu: fc.nat(3), frees: fc.boolean(), count: fc.nat(120), at: fc.nat() }), {
          maxLength: 60,
        }),
        (steps) => {
          const kernel = bootKernel({ cpus: 4, numaNodes: 2 });
          const cache = kernel.mm.slabs.kmallocSlab(256) as KmemCache;
          const live: number[] = [];
          for (const { cpu, frees, count, at } of steps) {
            on(kernel, cpu, () => {
              for (let i = 0; i < count && (!frees || live.length > 0); i++) {
                if (frees) cache.kmemCacheFree(live.splice((at + i) % live.length, 1)[0]);
                else live.push(cache.kmemCacheAlloc());
              }
            });
            expect(new Set(live).size).toBe(live.length);
            expect(cache.objectsInUse).toBe(live.length);
            expect(live.every((object) => cache.hasObject(object))).toBe(true);
          }
          on(kernel, 0, () => {
            for (const object of live) cache.kmemCacheFree(object);
          });
          expect(cache.objectsInUse).toBe(0);
          const kept = 2 * cache.minPartial + 4 * (1 + cache.cpuPartialSlabs + 1 + (cache.cpuPartialSlabs >> 1));
          expect(cache.slabs).toBeLessThanOrEqual(kept);
        },
      ),
      { numRuns: 60 },
    );
  });
});

/** One of some operations on objects, by whom, and on which of those in use. */
const objectSteps = fc.array(
  fc.record({
    kind: fc.constantFrom("take", "take", "free", "free", "write", "takeOver"),
    cpu: fc.nat(2),
    at: fc.nat(),
  }),
  { minLength: 40, maxLength: 400 },
);
type ObjectSteps = typeof objectSteps extends fc.Arbitrary<infer Steps> ? Steps : never;

/** Objects taken one after the other, and what the CPUs' clocks show in the end; `between` is called after each step. */
function outcomeOf(steps: ObjectSteps, between: (cache: KmemCache) => void): readonly number[] {
  const kernel = bootKernel({ cpus: 3 });
  const { clockCycles, lines } = kernel.machine.loop;
  const cache = kernel.mm.slabs.kmallocSlab(4096) as KmemCache;
  const live: number[] = [];
  const taken: number[] = [];
  for (const { kind, cpu, at } of steps) {
    on(kernel, cpu, () => {
      if (kind === "take") taken.push(live[live.push(cache.kmemCacheAlloc()) - 1]);
      else if (live.length === 0) return;
      else if (kind === "free") cache.kmemCacheFree(live.splice(at % live.length, 1)[0]);
      else if (kind === "write") cache.write(live[at % live.length]);
      else cache.hasTakenOver(live[at % live.length]);
    });
    between(cache);
  }
  return [...taken, ...clockCycles, ...lines.waitedCycles];
}

describe("what a CPU remembers of the object that it took last", () => {
  it("makes no difference to which objects are taken and what that costs", () => {
    const nothing = (): void => undefined;
    fc.assert(
      fc.property(objectSteps, (steps) => {
        expect(outcomeOf(steps, nothing)).toEqual(outcomeOf(steps, (cache) => cache.forgetTaken()));
      }),
      { numRuns: 150 },
    );
  });
});

describe("a node's list of partial slabs", () => {
  it("keeps min_partial slabs that are empty, and gives the pages of others back", () => {
    const kernel = bootKernel({ cpus: 2 });
    const { vmapArea } = kernel.mm.slabs;
    const many = on(kernel, 0, () => take(vmapArea, 60 * vmapArea.objectsPerSlab));
    expect(vmapArea.slabs).toBe(60);
    on(kernel, 1, () => {
      for (const object of many) vmapArea.kmemCacheFree(object);
    });
    expect(vmapArea.nrPartial[0]).toBeGreaterThanOrEqual(vmapArea.minPartial);
    expect(vmapArea.slabs).toBeLessThanOrEqual(vmapArea.minPartial + vmapArea.cpuPartialSlabs + 2);
    expect(kernel.mm.slabs.slabPages.blocks.some((blocks) => blocks > 0)).toBe(true);
  });

  it("is one lock, at which CPUs that free each other's objects wait for each other", () => {
    const kernel = bootKernel({ cpus: 16 });
    const { loop } = kernel.machine;
    const { vmapArea } = kernel.mm.slabs;
    const objects = Array.from({ length: 16 }, (_, cpu) => on(kernel, cpu, () => take(vmapArea, 2000)));
    expect(listLock(kernel)).toBeUndefined();
    loop.clockCycles.fill(1e6);
    for (let round = 0; round < 2000; round++) {
      for (let cpu = 0; cpu < 16; cpu++) on(kernel, cpu, () => vmapArea.kmemCacheFree(objects[(cpu + 1) % 16][round]));
    }
    let waited = 0;
    for (let cpu = 0; cpu < 16; cpu++) waited += loop.accounts.cycles(cpu, ACTIVITY_LOCK_WAIT);
    const lock = listLock(kernel);
    // All come at the same time once, and all but the first wait; after that they are one behind the other.
    expect(lock?.contentions).toBeGreaterThanOrEqual(15);
    // The zones' locks are waited for as well, where slabs' pages come from. A CPU that was put behind another has its line to fetch besides.
    const locks = lockStatistics(loop);
    const inStatistics = locks.reduce((sum, { waitTotalCycles }) => sum + waitTotalCycles, 0);
    const contentions = locks.reduce((sum, each) => sum + each.contentions, 0);
    expect(waited).toBeGreaterThanOrEqual(inStatistics);
    expect(waited - inStatistics).toBeLessThanOrEqual(contentions * farthestTransferCycles(kernel));
    expect(lock?.acquisitionBounces).toBeGreaterThan(100);
  });
});

describe("list_lock", () => {
  it("is known to lockdep: taken while no lock is held that somebody takes under it", () => {
    const kernel = bootKernel({ cpus: 2, proveLocking: true });
    const { lockdep, slabs } = kernel.mm;
    const held = new IrqSpinLock("&n->list_lock", kernel.machine.loop, DEFAULT_KERNEL_COSTS.lock);
    lockdep?.lockAcquire(held);
    const objects = on(kernel, 0, () => take(slabs.vmapArea, 40 * slabs.vmapArea.objectsPerSlab));
    expect(lockdep?.reports).toEqual([]);
    on(kernel, 1, () => {
      for (const object of objects) slabs.vmapArea.kmemCacheFree(object);
    });
    expect(lockdep?.reports.map(({ fault, lock }) => [fault, lock])).toEqual([
      ["possible recursive locking detected", "&n->list_lock"],
    ]);
  });
});

describe("vmalloc", () => {
  it("takes an area, a vm_struct and an array of page pointers from caches by size, and gives them back", () => {
    const kernel = bootKernel({ cpus: 2 });
    const { slabs } = kernel.mm;
    const cacheOf = (bytes: number) => slabs.kmallocSlab(bytes) as KmemCache;
    const inUse = () => [slabs.vmStruct, cacheOf(8), cacheOf(512)].map((cache) => cache.objectsInUse);
    const before = inUse();
    const addresses = [kernel.vmalloc(4096), kernel.vmalloc(64 * 4096)];
    expect(inUse().map((count, i) => count - before[i])).toEqual([2, 1, 1]);
    for (const address of addresses) kernel.vfree(address);
    expect(inUse()).toEqual(before);
  });

  it("has the objects of areas back in their cache once their gaps are merged, whichever CPU purges", () => {
    const kernel = bootKernel({ cpus: 4, vmalloc: { vmapNodes: 1 } });
    const { vmapArea } = kernel.mm.slabs;
    const before = vmapArea.objectsInUse;
    for (let i = 0; i < 300; i++) {
      kernel.currentCpu = i % 4;
      const address = kernel.vmalloc(4096);
      kernel.currentCpu = (i + 1) % 4;
      kernel.vfree(address);
    }
    expect(vmapArea.objectsInUse).toBeGreaterThanOrEqual(before + 300);
    kernel.vmUnmapAliases();
    // What is left is what CPUs keep at hand for a split, and the one gap, which is not the one of boot any more.
    expect(vmapArea.objectsInUse).toBe(before + kernel.vm.neFitPreload.count + 1);
  });
});
