import { describe, expect, it } from "vitest";
import { lockStatistics, vfree, vmalloc, vmap, vunmap, wait } from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/index.ts";

/** Pairs that are counted: none of them purges. */
const PAIRS = 40;

/** How often each lock of areas is taken in a pair, once a first pair has filled what is filled once. */
function takenInPair(version: string, pair: (kernel: Kernel) => void): Record<string, number> {
  const kernel = bootKernel({ kernel: version, cpus: 1 });
  pair(kernel);
  const taken = () => new Map(lockStatistics(kernel.machine.loop).map((lock) => [lock.name, lock.acquisitions]));
  const before = taken();
  for (let i = 0; i < PAIRS; i++) pair(kernel);
  const counted = [...taken()].map(([name, count]) => [name, (count - (before.get(name) ?? 0)) / PAIRS] as const);
  return Object.fromEntries(counted.filter(([name, count]) => count > 0 && /busy|lazy|vmap_area/.test(name)));
}

function vmallocPair(kernel: Kernel): void {
  kernel.vfree(kernel.vmalloc(4096));
}

function vmapPair(kernel: Kernel): void {
  kernel.run(function* () {
    const address = yield* wait(vmap(kernel.vm, Uint32Array.of(0x100)));
    yield* vunmap(kernel.vm, address);
  });
}

/** As `mm/vmalloc.c` has them; without vmap nodes all are under three locks. */
const ONE_TREE = { free_vmap_area_lock: 1, purge_vmap_area_lock: 1 };

describe("the locks that a pair of vmalloc and vfree takes", () => {
  it("are in 6.1 five times vmap_area_lock: alloc_vmap_area, setup_vmalloc_vm, find_vm_area, remove_vm_area, free_vmap_area_noflush", () => {
    expect(takenInPair("6.1", vmallocPair)).toEqual({ ...ONE_TREE, vmap_area_lock: 5 });
  });

  it("are in 6.3 to 6.8 three times vmap_area_lock, as find_unlink_vmap_area finds and takes out in one", () => {
    expect(takenInPair("6.6", vmallocPair)).toEqual({ ...ONE_TREE, vmap_area_lock: 3 });
  });

  it.each(["6.12", "7.3"])(
    "are in %s twice the busy lock of a node, as alloc_vmap_area ties the vm_struct before",
    (version) => {
      const taken = takenInPair(version, vmallocPair);
      expect(taken).toEqual({ free_vmap_area_lock: 1, "vn->busy.lock": 2, "vn->lazy.lock": 1 });
    },
  );

  it("are the same for vmap and vunmap", () => {
    for (const version of ["6.1", "6.6", "6.12"])
      expect(takenInPair(version, vmapPair)).toEqual(takenInPair(version, vmallocPair));
  });

  it("let others see an area of 6.1 without its vm_struct while its entries are cleared, and none of 6.6", () => {
    const seen = ["6.1", "6.6"].map((version) => {
      const kernel = bootKernel({ kernel: version, cpus: 1 });
      const address = kernel.vmalloc(4096);
      const busy: boolean[] = [];
      const { loop } = kernel.machine;
      const point = loop.point.bind(loop);
      loop.point = (name, subject) => {
        if (name === "free_unmap_vmap_area: entries are cleared") {
          const area = kernel.vm.nodes[0].busy.__findVmapArea(address);
          busy.push(area !== 0 && kernel.vm.areas.vmOf(area) === 0);
        }
        point(name, subject);
      };
      kernel.run(() => vfree(kernel.vm, address));
      expect(kernel.verify()).toEqual([]);
      return busy;
    });
    expect(seen).toEqual([[true], [false]]);
  });

  it("give everything back in each version", () => {
    for (const version of ["6.1", "6.6", "6.12", "7.3"]) {
      const kernel = bootKernel({ kernel: version, cpus: 2 });
      const address = kernel.run(() => vmalloc(kernel.vm, 3 * 4096));
      kernel.run(() => vfree(kernel.vm, address));
      expect(kernel.vm.vms.liveCount).toBe(0);
      expect(kernel.verify()).toEqual([]);
    }
  });
});
