import { describe, expect, it } from "vitest";
import { compute, type KernelCode, type Thread } from "../../../arch/index.ts";
import {
  asCode,
  ioremap,
  iounmap,
  lockStatistics,
  vfree,
  vmalloc,
  vmap,
  vmMapRam,
  vmUnmapRam,
  vunmap,
  wait,
} from "../../../mm/index.ts";
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

/** More pages than a vmap block serves, so that they have an area of their own. */
const RAM_PAGES = 65;

function mapRamPair(kernel: Kernel): void {
  kernel.run(function* () {
    const frames = Uint32Array.from({ length: RAM_PAGES }, (_, i) => 0x100 + i);
    const address = yield* wait(vmMapRam(kernel.vm, frames));
    yield* wait(vmUnmapRam(kernel.vm, address, RAM_PAGES));
  });
}

function ioremapPair(kernel: Kernel): void {
  kernel.run(function* () {
    const address = yield* ioremap(kernel.vm, 0xfe00_0000, 4096);
    yield* iounmap(kernel.vm, address);
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

  it.each([
    [
      "6.1",
      3,
      "alloc_vmap_area, find_vmap_area, free_vmap_area_noflush",
      5,
      "alloc_vmap_area, setup_vmalloc_vm, find_vm_area, remove_vm_area, free_vmap_area_noflush",
    ],
    [
      "6.6",
      2,
      "alloc_vmap_area, find_unlink_vmap_area",
      4,
      "alloc_vmap_area, setup_vmalloc_vm, find_vm_area, find_unlink_vmap_area",
    ],
    ["6.12", 2, "alloc_vmap_area, find_unlink_vmap_area", 3, "alloc_vmap_area, find_vm_area, find_unlink_vmap_area"],
    ["7.3", 2, "alloc_vmap_area, find_unlink_vmap_area", 3, "alloc_vmap_area, find_vm_area, find_unlink_vmap_area"],
  ])(
    "of busy areas are in %s %i for vm_map_ram and vm_unmap_ram (%s), and %i for ioremap and iounmap (%s)",
    (version, ram, _ramIn, device, _deviceIn) => {
      const busy = version === "6.1" || version === "6.6" ? "vmap_area_lock" : "vn->busy.lock";
      expect([takenInPair(version, mapRamPair)[busy], takenInPair(version, ioremapPair)[busy]]).toEqual([ram, device]);
    },
  );

  it("let others see a vm_map_ram area of 6.1 in use while its entries are cleared; of two who unmap it at once the second is warned of", () => {
    const kernel = bootKernel({ kernel: "6.1", cpus: 2 });
    const { loop } = kernel.machine;
    const frames = Uint32Array.from({ length: RAM_PAGES }, (_, i) => 0x100 + i);
    const address = kernel.run(() => vmMapRam(kernel.vm, frames));
    for (const cpu of [0, 1])
      loop.spawn(
        `unmaps ${cpu}`,
        cpu,
        asCode(() => vmUnmapRam(kernel.vm, address, RAM_PAGES)),
      );
    loop.run();
    const warnings = kernel.log.lines.filter((line) => line.startsWith("WARNING"));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("is in no tree");
    expect(kernel.verify()).toEqual([]);
  });

  it.each(["6.1", "6.6", "6.12", "6.15", "7.3"])(
    "count an area of %s as lazily freed before they wait for the lazy list's lock",
    (version) => {
      const kernel = bootKernel({ kernel: version, cpus: 2 });
      const { loop } = kernel.machine;
      const { vm } = kernel;
      const address = kernel.run(() => vmalloc(vm, 3 * 4096));
      const locks = vm.nodes.map(({ lazyLock }) => lazyLock);
      const seen: number[] = [];
      function* holder(): KernelCode<void> {
        for (const lock of locks) if (!lock.tryTake()) yield* lock.take();
        yield* compute(loop.currentThread as Thread, 100_000);
        seen.push(
          vm.lazyNr,
          vm.nodes.reduce((sum, { lazy }) => sum + lazy.count, 0),
        );
        for (const lock of locks) lock.release();
      }
      loop.spawn("holder", 1, holder());
      loop.spawn(
        "frees",
        0,
        asCode(() => vfree(vm, address)),
      );
      loop.run();
      // Three pages and the guard page.
      expect(seen).toEqual([4, 0]);
      expect(vm.lazyNr).toBe(4);
    },
  );

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
