import { describe, expect, it } from "vitest";
import {
  __vmallocNodeRange,
  GFP_KERNEL,
  getVmArea,
  NUMA_NO_NODE,
  PAGE_KERNEL,
  pcpuGetVmAreas,
  reclaimAndPurgeVmapAreas,
  VM_ALLOC,
  VM_IOREMAP,
  VM_MAP,
  VM_MAP_PUT_PAGES,
  VM_SPARSE,
  VMALLOC_END,
  VMALLOC_START,
  vmAreaMapPages,
  vmAreaUnmapPages,
  vmalloc32,
  vmallocUser,
  vmap,
  vmapPfn,
  vrealloc,
} from "../../mm/index.ts";
import { bootKernel, type Kernel } from "../../src/kernel.ts";

const PAGE = 4096;
const MIB = 2 ** 20;

/** A call that can run out of something. */
interface Call {
  readonly name: string;
  /** Makes the call; an address, or 0. */
  readonly make: (kernel: Kernel, frames: Uint32Array) => number;
  readonly undo: (kernel: Kernel, address: number) => void;
  /** What the kernel says when the call fails; null when it says nothing. */
  readonly says: RegExp | null;
  /** Whether it manages without any single allocation, with smaller pages. */
  readonly recovers?: boolean;
  /** Frames that its caller allocates first: they cannot fail. */
  readonly allocatesFirst?: number;
  /** Bytes of memory to boot with. */
  readonly memoryBytes?: number;
}

const vfree = (kernel: Kernel, address: number): void => kernel.vfree(address);
const VMALLOC_SAYS = /^vmalloc error: size \d+, (vm_struct allocation|failed to (allocate|allocated|map) )/;

const CALLS: Call[] = [
  { name: "vmalloc of 1 page", make: (kernel) => kernel.vmalloc(PAGE), undo: vfree, says: VMALLOC_SAYS },
  { name: "vmalloc of 5 pages", make: (kernel) => kernel.vmalloc(5 * PAGE), undo: vfree, says: VMALLOC_SAYS },
  {
    name: "vmalloc of 530 pages, whose page pointers are vmalloc'ed",
    make: (kernel) => kernel.vmalloc(530 * PAGE),
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  { name: "vzalloc", make: (kernel) => kernel.vzalloc(3 * PAGE), undo: vfree, says: VMALLOC_SAYS },
  {
    name: "vmalloc_user",
    make: (kernel) => kernel.run(vmallocUser(kernel.vm, 2 * PAGE)),
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  {
    name: "vmalloc_32",
    make: (kernel) => kernel.run(vmalloc32(kernel.vm, 2 * PAGE)),
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  { name: "vmalloc, aligned", make: (kernel) => kernel.vmallocAlign(PAGE, 64 * PAGE), undo: vfree, says: VMALLOC_SAYS },
  {
    name: "vmalloc in a window",
    make: (kernel) => {
      const [start, end] = [VMALLOC_START + 2 ** 40, VMALLOC_START + 2 ** 40 + 64 * PAGE];
      return kernel.run(
        __vmallocNodeRange(kernel.vm, 3 * PAGE, 1, start, end, GFP_KERNEL, PAGE_KERNEL, 0, NUMA_NO_NODE),
      );
    },
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  {
    name: "vmalloc_huge of 4 MiB",
    make: (kernel) => kernel.vmallocHuge(4 * MIB),
    undo: vfree,
    says: null,
    recovers: true,
    memoryBytes: 32 * MIB,
  },
  {
    name: "vmap of 8 pages",
    make: (kernel, frames) => kernel.vmap(frames.slice(0, 8)),
    undo: (kernel, address) => kernel.vunmap(address),
    says: null,
  },
  {
    name: "vmap over two page tables",
    make: (kernel, frames) => kernel.vmap(frames),
    undo: (kernel, address) => kernel.vunmap(address),
    says: null,
  },
  {
    name: "vm_map_ram of 5 pages, from a block",
    make: (kernel, frames) => kernel.vmMapRam(frames.slice(0, 5)),
    undo: (kernel, address) => kernel.vmUnmapRam(address, 5),
    says: null,
  },
  {
    name: "vm_map_ram of 600 pages, an area of its own",
    make: (kernel, frames) => kernel.vmMapRam(frames),
    undo: (kernel, address) => kernel.vmUnmapRam(address, 600),
    says: null,
  },
  {
    name: "ioremap of 16 KiB",
    make: (kernel) => kernel.ioremap(0xe000_0000, 16384),
    undo: (kernel, address) => kernel.iounmap(address),
    says: null,
  },
  {
    name: "ioremap of 5 MiB, by large pages and small ones",
    make: (kernel) => kernel.ioremap(0xe000_0000, 5 * MIB),
    undo: (kernel, address) => kernel.iounmap(address),
    says: null,
  },
  {
    name: "vrealloc that has to move",
    make: (kernel) => {
      const old = kernel.vmalloc(2 * PAGE);
      if (old === 0) return 0;
      kernel.machine.cpus[0].store(old + PAGE, 4, 77);
      const grown = kernel.run(vrealloc(kernel.vm, old, 5 * PAGE));
      expect(kernel.machine.cpus[0].load((grown === 0 ? old : grown) + PAGE, 4)).toBe(77);
      if (grown === 0) kernel.vfree(old);
      return grown;
    },
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  {
    name: "vmap of pages that vfree gives back",
    make: (kernel) => {
      const own = kernel.allocFrames(3);
      const address = kernel.run(vmap(kernel.vm, own, VM_MAP | VM_MAP_PUT_PAGES));
      if (address === 0) kernel.freeFrames(own);
      return address;
    },
    undo: vfree,
    says: null,
    allocatesFirst: 3,
  },
  {
    name: "vmap_pfn",
    make: (kernel) => kernel.run(vmapPfn(kernel.vm, [0xe0000, 0xe0007, 0xe0003], PAGE_KERNEL)),
    undo: (kernel, address) => kernel.vunmap(address),
    says: null,
  },
  {
    name: "pages in a sparse area",
    make: (kernel, frames) => {
      const vm = kernel.run(getVmArea(kernel.vm, 700 * PAGE, VM_SPARSE));
      if (vm === 0) return 0;
      const start = kernel.vm.vms.addr[vm];
      if (vmAreaMapPages(kernel.vm, vm, start + PAGE, start + 601 * PAGE, frames) === 0) return start;
      kernel.freeVmArea(start);
      return 0;
    },
    undo: (kernel, address) => {
      const vm = kernel.vm.areas.vmOf(kernel.vm.nodeOf(address).busy.findStart(address));
      kernel.run(vmAreaUnmapPages(kernel.vm, vm, address + PAGE, address + 301 * PAGE));
      kernel.freeVmArea(address);
    },
    says: null,
  },
  {
    name: "per-CPU areas",
    make: (kernel) => {
      const [offsets, sizes] = [
        [0, 8 * MIB],
        [64 * 1024, 128 * 1024],
      ];
      const vms = kernel.run(pcpuGetVmAreas(kernel.vm, offsets, sizes, 65536));
      return vms === null ? 0 : kernel.vm.vms.addr[vms[0]];
    },
    undo: (kernel, address) => {
      for (const start of [address, address + 8 * MIB]) kernel.freeVmArea(start);
    },
    says: null,
  },
  {
    name: "get_vm_area",
    make: (kernel) => kernel.getVmArea(3 * PAGE, VM_IOREMAP),
    undo: (kernel, address) => kernel.freeVmArea(address),
    says: null,
  },
];

/** Everything that a failed call must leave as it was. Page tables may have been made, ranges may be lazily freed. */
function holdings(kernel: Kernel): object {
  const { vm, pages, tables } = kernel;
  return {
    framesInUse: pages.totalPages - pages.freePages - tables.tablePages,
    vmallocPages: vm.nrVmallocPages,
    vmStructs: vm.vms.liveCount,
    leaves: tables.leavesSet - tables.leavesCleared,
    busy: vm.nodes.flatMap((node) => {
      const found: string[] = [];
      for (let area = vm.areas.nextOf(node.busy.head); area !== node.busy.head; area = vm.areas.nextOf(area)) {
        // A vmap block may stay; it is checked after a forced purge.
        if (vm.areas.vmOf(area) !== 0) found.push(vm.areas.startOf(area).toString(16));
      }
      return found;
    }),
  };
}

/** The gaps of the address space once everything freed has been given back. */
function gapsAfterPurge(kernel: Kernel): string[] {
  const { vm } = kernel;
  kernel.run(reclaimAndPurgeVmapAreas(vm));
  expect(vm.lazyNr).toBe(0);
  const gaps: string[] = [];
  const { head } = vm.freeTree;
  for (let gap = vm.areas.nextOf(head); gap !== head; gap = vm.areas.nextOf(gap)) {
    gaps.push(`${vm.areas.startOf(gap).toString(16)}-${vm.areas.endOf(gap).toString(16)}`);
  }
  return gaps;
}

function freshKernel(call: Call, cpus: number): { kernel: Kernel; frames: Uint32Array } {
  const kernel = bootKernel({ cpus, memoryBytes: call.memoryBytes ?? 16 * MIB });
  return { kernel, frames: kernel.allocFrames(600) };
}

describe.each([1, 4])("on %i CPU(s), a call fails cleanly at each place that can run out:", (cpus) => {
  it.each(CALLS)("$name", (call) => {
    const counting = freshKernel(call, cpus);
    counting.kernel.faults.failAt(Number.POSITIVE_INFINITY);
    const address = call.make(counting.kernel, counting.frames);
    const points = counting.kernel.faults.seen;
    expect(address).toBeGreaterThan(0);
    expect(points).toBeGreaterThanOrEqual(2);
    call.undo(counting.kernel, address);
    expect(counting.kernel.faults.seen, "freeing allocates nothing, so it cannot fail").toBe(points);

    for (let point = call.allocatesFirst ?? 0; point < points; point++) {
      const { kernel, frames } = freshKernel(call, cpus);
      const before = holdings(kernel);
      const gaps = gapsAfterPurge(kernel);
      kernel.faults.failAt(point);
      const result = call.make(kernel, frames);
      const where = `with allocation ${point} of ${points} failing`;
      expect(kernel.faults.seen, where).toBeGreaterThan(point);
      kernel.faults.disarm();
      expect(kernel.verify(), where).toEqual([]);
      expect(kernel.log.warnings, where).toBe(0);
      expect(result > 0, where).toBe(call.recovers === true);
      if (result > 0) call.undo(kernel, result);
      else if (call.says === null) expect(kernel.log.lines, where).toEqual([]);
      else expect(kernel.log.lines.at(-1), where).toMatch(call.says);
      expect(holdings(kernel), where).toEqual(before);

      const again = call.make(kernel, frames);
      expect(again, where).toBeGreaterThan(0);
      expect(kernel.verify(), where).toEqual([]);
      call.undo(kernel, again);
      expect(holdings(kernel), where).toEqual(before);
      expect(gapsAfterPurge(kernel), where).toEqual(gaps);
      expect(kernel.verify(), where).toEqual([]);
    }
  });

  it.each(CALLS)("$name, with that many frames left in the machine", (call) => {
    const { kernel, frames } = freshKernel(call, cpus);
    const before = holdings(kernel);
    let failures = 0;
    for (let left = call.allocatesFirst ?? 0; left < 2000; left = left < 24 ? left + 1 : Math.floor(left * 1.3)) {
      if (left > kernel.pages.freePages) break;
      const taken = kernel.allocFrames(kernel.pages.freePages - left);
      const result = call.make(kernel, frames);
      const findings = kernel.verify();
      if (result > 0) call.undo(kernel, result);
      else failures++;
      kernel.freeFrames(taken);
      expect(findings, `${left} frames left`).toEqual([]);
      expect(holdings(kernel), `${left} frames left`).toEqual(before);
    }
    expect(kernel.verify()).toEqual([]);
    const needsFrames = !["get_vm_area", "per-CPU areas"].includes(call.name);
    if (needsFrames) expect(failures).toBeGreaterThan(0);
    const result = call.make(kernel, frames);
    expect(result).toBeGreaterThan(0);
    call.undo(kernel, result);
    expect(gapsAfterPurge(kernel)).toEqual(gapsAfterPurge(freshKernel(call, cpus).kernel));
  });
});

describe("the address space runs out", () => {
  const START = VMALLOC_START + 2 ** 41;

  /** vmalloc in the window [START, START + pages). */
  const inWindow = (kernel: Kernel, sizePages: number, windowPages: number): number => {
    const end = START + windowPages * PAGE;
    return kernel.run(
      __vmallocNodeRange(kernel.vm, sizePages * PAGE, 1, START, end, GFP_KERNEL, PAGE_KERNEL, 0, NUMA_NO_NODE),
    );
  };

  it("in a window: NULL, the kernel's two lines, nothing leaked", () => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 16 * MIB });
    const [first, second] = [inWindow(kernel, 3, 8), inWindow(kernel, 3, 8)];
    expect([first, second]).toEqual([START, START + 4 * PAGE]);
    const before = holdings(kernel);
    expect(inWindow(kernel, 1, 8)).toBe(0);
    expect(kernel.log.lines.slice(-2).join("\n")).toMatch(
      /^vmalloc_node_range for size 8192 failed: Address range restricted to .*\nvmalloc error: size 4096, vm_struct allocation failed/,
    );
    expect(holdings(kernel)).toEqual(before);
    expect(kernel.verify()).toEqual([]);
  });

  it("but lazily freed ranges are purged and used before the call fails", () => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 16 * MIB });
    const first = inWindow(kernel, 3, 8);
    inWindow(kernel, 3, 8);
    kernel.vfree(first);
    const purges = kernel.vm.purges;
    expect(inWindow(kernel, 2, 8)).toBe(first);
    expect(kernel.vm.purges).toBe(purges + 1);
    expect(kernel.vm.lazyNr).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("and purge notifiers are asked, as long as they free something", () => {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 16 * MIB });
    const held = inWindow(kernel, 7, 8);
    let asked = 0;
    kernel.vm.purgeNotifiers.push(() => {
      asked++;
      return 0;
    });
    expect(inWindow(kernel, 1, 8)).toBe(0);
    expect(asked).toBe(1);
    kernel.vfree(held);
    expect(inWindow(kernel, 7, 8)).toBe(held);
    expect(asked).toBe(1);
    expect(kernel.verify()).toEqual([]);
  });

  it.each([1, 4])("everywhere, on %i CPU(s): every call answers NULL, and works again afterwards", (cpus) => {
    const kernel = bootKernel({ cpus, memoryBytes: 16 * MIB });
    const frames = kernel.allocFrames(600);
    const before = holdings(kernel);
    const gaps = gapsAfterPurge(kernel);
    const reserved: number[] = [];
    for (let sizeBytes = 2 ** 44; sizeBytes >= PAGE; sizeBytes /= 2) {
      for (;;) {
        const address = kernel.getVmArea(sizeBytes, VM_ALLOC);
        if (address === 0) break;
        reserved.push(address);
      }
    }
    expect(kernel.verify()).toEqual([]);
    const full = holdings(kernel);
    const calls = CALLS.filter(({ name }) => !name.includes("window") && !name.includes("huge"));
    for (const call of calls) {
      expect(call.make(kernel, frames), call.name).toBe(0);
      expect(holdings(kernel), call.name).toEqual(full);
    }
    expect(kernel.verify()).toEqual([]);
    for (const address of reserved) kernel.freeVmArea(address);
    expect(holdings(kernel)).toEqual(before);
    for (const call of calls) {
      const address = call.make(kernel, frames);
      expect(address, call.name).toBeGreaterThan(0);
      call.undo(kernel, address);
    }
    expect(gapsAfterPurge(kernel)).toEqual(gaps);
    expect(kernel.verify()).toEqual([]);
    expect(VMALLOC_END - VMALLOC_START).toBeGreaterThan(2 ** 44);
  });
});
