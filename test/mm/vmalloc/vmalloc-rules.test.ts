import { beforeEach, describe, expect, it } from "vitest";
import { PageFault } from "../../../arch/isa/faults.ts";
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { PTE_GLOBAL } from "../../../arch/isa/pte.ts";
import {
  __GFP_NOWARN,
  __GFP_ZERO,
  __getVmAreaCaller,
  __vmalloc,
  __vmallocNodeRange,
  directMapAddress,
  dumpPageTables,
  EBUSY,
  EFAULT,
  EINVAL,
  GFP_KERNEL,
  GFP_NOWAIT,
  isReady,
  NO_EVENTS,
  PAGE_KERNEL_EXEC,
  PageTables,
  pcpuFreeVmAreas,
  pcpuGetVmAreas,
  registerVmapPurgeNotifier,
  remapVmallocRange,
  VM_ALLOC,
  VM_ALLOW_HUGE_VMAP,
  VM_FLUSH_RESET_PERMS,
  VM_MAP,
  VM_MAP_PUT_PAGES,
  VM_NO_GUARD,
  VM_SPARSE,
  VM_USERMAP,
  VMALLOC_END,
  VMALLOC_REQUEST,
  VMALLOC_START,
  vfree,
  vmAreaMapPages,
  vmalloc32User,
  vmallocNode,
  vmallocToPage,
  vmallocToPfn,
  vmallocUser,
  vmap,
  vmapPfn,
  vrealloc,
  vzallocNode,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const MIB = 2 ** 20;
let kernel: Kernel;

beforeEach(() => {
  kernel = bootKernel({ cpus: 2 });
});

function vmAt(at: Kernel, address: number): number {
  return at.vm.areas.vmOf(at.vm.addrToNode(address).busy.__findVmapArea(address));
}

function flagsAt(address: number): number {
  return kernel.vm.vms.flags[2 * vmAt(kernel, address)];
}

function leafAt(at: Kernel, address: number): { low: number; high: number } {
  const { cursor } = at.tables;
  expect(cursor.seek(address)).toBe(1);
  return { low: cursor.low, high: cursor.high };
}

describe("vmalloc", () => {
  it("of as many bytes as there is memory, and less than a page more, is tried; of a page more it is refused", () => {
    const small = bootKernel({ cpus: 1, memoryBytes: 16 * MIB });
    const all = small.pages.totalPages * PAGE_SIZE;
    expect(small.vmalloc(all + PAGE_SIZE)).toBe(0);
    expect(small.log.lines).toEqual([
      `sync: vmalloc error: size ${all + PAGE_SIZE}, exceeds total pages, mode:0xcc0(GFP_KERNEL), nodemask=(null),cpuset=/,mems_allowed=0`,
    ]);
    expect(small.vmalloc(all + 1)).toBe(0);
    expect(small.log.lines.at(-1)).not.toMatch(/exceeds/);
    expect(small.verify()).toEqual([]);
  });

  it("that runs out of frames says how many bytes of them it got", () => {
    const small = bootKernel({ cpus: 1, memoryBytes: 16 * MIB });
    small.vmalloc(PAGE_SIZE);
    small.allocFrames(small.pages.freePages - 3);
    expect(small.vmalloc(5 * PAGE_SIZE)).toBe(0);
    expect(small.log.lines.at(-1)).toBe(
      `sync: vmalloc error: size ${3 * PAGE_SIZE}, failed to allocate pages, mode:0xcc2(GFP_KERNEL|__GFP_HIGHMEM), nodemask=(null),cpuset=/,mems_allowed=0`,
    );
    expect(small.run(() => __vmalloc(small.vm, 5 * PAGE_SIZE, GFP_KERNEL | __GFP_NOWARN))).toBe(0);
    expect(small.log.lines).toHaveLength(1);
    expect(small.vm.nrVmallocPages).toBe(1);
    expect(small.verify()).toEqual([]);
  });

  it("without an area names the size that was asked for, not the rounded one", () => {
    const [start, end] = [VMALLOC_START + 2 ** 40, VMALLOC_START + 2 ** 40 + PAGE_SIZE];
    const call = () => __vmallocNodeRange(kernel.vm, 5000, { ...VMALLOC_REQUEST, range: { start, end } });
    expect(kernel.run(call)).toBe(0);
    expect(kernel.log.lines.at(-1)).toMatch(/vmalloc error: size 5000, vm_struct allocation failed, mode:0xcc0/);
  });

  it("warns of no bytes every time, and prints it once", () => {
    expect([kernel.vmalloc(0), kernel.vmalloc(0)]).toEqual([0, 0]);
    expect([kernel.log.warnings, kernel.log.lines.length]).toEqual([2, 1]);
  });

  it("for users is aligned to SHMLBA, one page, and marked VM_USERMAP", () => {
    const aligns: number[] = [];
    kernel.vm.events = { ...NO_EVENTS, alloc: (_addr, _size, align) => void aligns.push(align) };
    const first = kernel.run(() => vmallocUser(kernel.vm, PAGE_SIZE));
    const low = kernel.run(() => vmalloc32User(kernel.vm, PAGE_SIZE));
    expect(aligns).toEqual([PAGE_SIZE, PAGE_SIZE]);
    for (const address of [first, low]) expect(flagsAt(address)).toBe(VM_ALLOC | VM_USERMAP);
    expect(vmallocToPage(kernel.vm, low)).toBeLessThan(2 ** 20);
  });

  it("of huge pages keeps VM_ALLOW_HUGE_VMAP, whether or not vmap_allow_huge is set", () => {
    expect(flagsAt(kernel.vmallocHuge(4 * MIB))).toBe(VM_ALLOC | VM_ALLOW_HUGE_VMAP);
    kernel = bootKernel({ cpus: 1, vmalloc: { allowHuge: false } });
    const address = kernel.vmallocHuge(4 * MIB);
    expect(flagsAt(address)).toBe(VM_ALLOC | VM_ALLOW_HUGE_VMAP);
    expect(dumpPageTables(kernel.tables, VMALLOC_START, VMALLOC_END).join("\n")).not.toMatch(/RW.*PSE/);
  });

  it("splits huge pages: vfree gives back single frames, which then serve single requests", () => {
    const address = kernel.vmallocHuge(2 * MIB);
    const first = vmallocToPage(kernel.vm, address);
    kernel.vfree(address);
    expect(kernel.verify()).toEqual([]);
    const again = kernel.vmalloc(512 * PAGE_SIZE);
    expect(vmallocToPage(kernel.vm, again)).toBe(first);
    expect(kernel.verify()).toEqual([]);
  });

  it("on a NUMA node takes its pages there", () => {
    const numa = bootKernel({ cpus: 2, memoryBytes: 64 * MIB, numaNodes: 2 });
    for (const node of [0, 1]) {
      for (const call of [() => vmallocNode(numa.vm, PAGE_SIZE, node), () => vzallocNode(numa.vm, PAGE_SIZE, node)]) {
        expect(numa.pages.nodeOfFrame(vmallocToPage(numa.vm, numa.run(call)))).toBe(node);
      }
    }
  });
});

describe("vfree", () => {
  it("in an interrupt handler is put off to a worker", () => {
    const address = kernel.vmalloc(PAGE_SIZE);
    let left = 0;
    kernel.spawn(
      "caller",
      0,
      kernel.vm.flushing.smp.onEachCpu((cpu) => {
        if (cpu !== 1) return;
        expect(isReady(vfree(kernel.vm, address))).toBe(true);
        left = vmAt(kernel, address);
      }),
    );
    kernel.runUntilIdle();
    expect(left).not.toBe(0);
    expect(vmAt(kernel, address)).toBe(0);
  });

  it("of an area with VM_FLUSH_RESET_PERMS flushes at once, the direct map of its pages too", () => {
    const call = () =>
      __vmallocNodeRange(kernel.vm, 3 * PAGE_SIZE, {
        ...VMALLOC_REQUEST,
        protection: PAGE_KERNEL_EXEC,
        flags: VM_FLUSH_RESET_PERMS,
      });
    const address = kernel.run(call);
    const frames = [0, 1, 2].map((page) => vmallocToPfn(kernel.vm, address + page * PAGE_SIZE));
    const flushes: [number, number][] = [];
    kernel.vm.events = { ...NO_EVENTS, flushRange: (start, end) => void flushes.push([start, end]) };
    kernel.vfree(address);
    expect(flushes).toEqual([[directMapAddress(Math.min(...frames) * PAGE_SIZE), address + 4 * PAGE_SIZE]]);
    expect(kernel.vm.lazyNr).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("vmap", () => {
  it("refuses VM_FLUSH_RESET_PERMS, ignores VM_NO_GUARD, and never maps executable pages", () => {
    const frames = kernel.allocFrames(2);
    expect(kernel.run(vmap(kernel.vm, frames, VM_MAP | VM_FLUSH_RESET_PERMS))).toBe(0);
    expect(kernel.log.warnings).toBe(1);
    const address = kernel.run(vmap(kernel.vm, frames, VM_MAP | VM_NO_GUARD, PAGE_KERNEL_EXEC));
    expect(kernel.log.warnings).toBe(2);
    expect(flagsAt(address)).toBe(VM_MAP);
    expect(kernel.vm.vms.sizeBytes[vmAt(kernel, address)]).toBe(3 * PAGE_SIZE);
    expect(leafAt(kernel, address).high < 0).toBe(true);
    expect(kernel.verify()).toEqual([]);
  });

  it.each([
    ["vmap", (frames: Uint32Array) => kernel.run(vmap(kernel.vm, frames))],
    ["vm_map_ram", (frames: Uint32Array) => kernel.vmMapRam(frames)],
  ])("and a page that is none: %s warns and rolls back", (_name, map) => {
    const frames = kernel.allocFrames(4);
    const leaves = kernel.tables.leavesSet - kernel.tables.leavesCleared;
    for (const bad of [0, 0xfffff0]) {
      const mixed = frames.slice();
      mixed[2] = bad;
      expect(map(mixed)).toBe(0);
    }
    expect(kernel.log.warnings).toBe(2);
    expect(kernel.tables.leavesSet - kernel.tables.leavesCleared).toBe(leaves);
    expect(kernel.verify()).toEqual([]);
  });

  it("with VM_MAP_PUT_PAGES shows them in vmallocinfo and does not count them as vmalloc's", () => {
    const address = kernel.run(vmap(kernel.vm, kernel.allocFrames(3), VM_MAP | VM_MAP_PUT_PAGES));
    expect(kernel.vm.nrVmallocPages).toBe(0);
    const free = kernel.pages.freePages;
    kernel.vfree(address);
    expect(kernel.pages.freePages).toBe(free + 3);
    expect(kernel.vm.nrVmallocPages).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("vmap_pfn never maps executable pages, nor global ones with page-table isolation", () => {
    kernel = bootKernel({ cpus: 1, pageTableIsolation: true });
    const address = kernel.run(vmapPfn(kernel.vm, [0xe0000], PAGE_KERNEL_EXEC));
    const leaf = leafAt(kernel, address);
    expect(leaf.high < 0).toBe(true);
    expect(leaf.low & PTE_GLOBAL).toBe(0);
  });

  it("vm_map_ram of no pages is a WARN: it prints every time", () => {
    expect([kernel.vmMapRam([]), kernel.vmMapRam([])]).toEqual([0, 0]);
    expect(kernel.log.lines).toHaveLength(2);
  });

  it("vm_area_map_pages takes as many pages as the range has", () => {
    const vm = kernel.run(() => __getVmAreaCaller(kernel.vm, 4 * PAGE_SIZE, VM_SPARSE, VMALLOC_START, VMALLOC_END));
    const start = kernel.vm.vms.addr[vm];
    const frames = kernel.allocFrames(2);
    expect(vmAreaMapPages(kernel.vm, vm, start, start + 2 * PAGE_SIZE, frames)).toBe(0);
    expect(vmAreaMapPages(kernel.vm, vm, start, start + PAGE_SIZE, frames)).toBe(-EBUSY);
  });
});

describe("vmalloc_to_page", () => {
  it("names the frame, also within a large page, and nothing where no memory is mapped", () => {
    const small = kernel.vmalloc(PAGE_SIZE);
    expect(vmallocToPage(kernel.vm, small + 5)).toBe(vmallocToPfn(kernel.vm, small));
    expect(vmallocToPage(kernel.vm, small + PAGE_SIZE)).toBe(0);
    const huge = kernel.vmallocHuge(2 * MIB);
    expect(vmallocToPage(kernel.vm, huge + 77 * PAGE_SIZE)).toBe(vmallocToPage(kernel.vm, huge) + 77);
    const device = kernel.ioremap(0xe000_0000, PAGE_SIZE);
    expect(vmallocToPage(kernel.vm, device)).toBe(0);
    expect(vmallocToPfn(kernel.vm, device)).toBe(0xe0000);
  });
});

describe("ioremap", () => {
  it("of no bytes is NULL without a word", () => {
    expect(kernel.ioremap(0xe000_0000, 0)).toBe(0);
    expect(kernel.log.lines).toEqual([]);
  });

  it("uses 1 GiB pages where address and size allow it and the CPU has them, else 2 MiB pages", () => {
    const large = (at: Kernel): string => {
      expect(at.ioremap(2 ** 40, 2 ** 30)).toBeGreaterThan(0);
      const dump = dumpPageTables(at.tables, VMALLOC_START, VMALLOC_END);
      return /1G .*PSE.* (pud|pmd)$/.exec(dump.find((line) => line.includes("PSE")) ?? "")?.[1] ?? "";
    };
    expect(large(kernel)).toBe("pud");
    expect(large(bootKernel({ cpus: 1, features: { page1g: false } }))).toBe("pmd");
  });

  it("iounmap outside the vmalloc range warns; where nothing is, it says so", () => {
    kernel.iounmap(0x1000);
    expect(kernel.log.warnings).toBe(1);
    kernel.iounmap(VMALLOC_START + 2 ** 40);
    expect(kernel.log.lines.at(-1)).toMatch(/iounmap: bad address/);
  });
});

describe("remap_vmalloc_range", () => {
  function userTables(): PageTables {
    const { machine, pages, faults, log } = kernel;
    return new PageTables(machine.memory, pages, faults, log, machine.loop, 4);
  }

  it("answers -EBUSY over a mapping and -EFAULT outside the user half, without a warning", () => {
    const user = userTables();
    const address = kernel.run(() => vmallocUser(kernel.vm, 2 * PAGE_SIZE));
    const remap = (to: number) => kernel.run(remapVmallocRange(kernel.vm, user, to, address, 0, 2 * PAGE_SIZE));
    expect(remap(0x40_0000)).toBe(0);
    expect(remap(0x40_1000)).toBe(-EBUSY);
    expect(remap(2 ** 47)).toBe(-EFAULT);
    expect(kernel.log.warnings).toBe(0);
  });

  it("from within an area stops at its guard page with -EINVAL", () => {
    const user = userTables();
    const address = kernel.run(() => vmallocUser(kernel.vm, 2 * PAGE_SIZE));
    const call = remapVmallocRange(kernel.vm, user, 0x40_0000, address + PAGE_SIZE, 0, 2 * PAGE_SIZE);
    expect(kernel.run(call)).toBe(-EINVAL);
  });
});

describe("ioremap", () => {
  it.each(["skylake", "zen2"])(
    "refuses an address above the CPU's physical ones with a warning, once: %s",
    (preset) => {
      const machine = bootKernel({ cpus: 1, memoryBytes: 16 * MIB, preset });
      const end = 2 ** machine.machine.config.maxPhyAddr;
      expect(machine.ioremap(end - PAGE_SIZE, PAGE_SIZE)).not.toBe(0);
      expect(machine.log.warnings).toBe(0);
      expect([machine.ioremap(end, PAGE_SIZE), machine.ioremap(end + 2 * PAGE_SIZE, 8)]).toEqual([0, 0]);
      const warned = machine.log.lines.filter((line) => line.startsWith("WARNING: ioremap"));
      expect(warned).toEqual(["WARNING: ioremap of an invalid physical address"]);
      expect(machine.log.lines.join()).toContain(`ioremap: invalid physical address ${end.toString(16)}`);
      expect(machine.verify()).toEqual([]);
    },
  );
});

describe("vm_unmap_ram from within an area of its own", () => {
  it("unmaps the whole area, which contains the address", () => {
    const frames = kernel.allocFrames(100);
    const whole = kernel.vmMapRam(frames);
    const lazy = kernel.vm.lazyNr;
    kernel.vmUnmapRam(whole + 10 * PAGE_SIZE, 90);
    expect(kernel.vm.lazyNr).toBe(lazy + 100);
    expect(kernel.log.warnings).toBe(0);
    kernel.vmUnmapAliases();
    for (const page of [0, 10, 99]) expect(() => kernel.machine.cpus[0].load(whole + page * PAGE_SIZE, 4)).toThrow();
    expect(kernel.verify()).toEqual([]);
    kernel.vmUnmapRam(whole + 10 * PAGE_SIZE, 90);
    expect(kernel.log.warnings).toBe(1);
    kernel.freeFrames(frames);
  });
});

describe("purge notifiers", () => {
  it("are asked once nothing is left to purge, also where the caller may not sleep", () => {
    let asked = 0;
    const unregister = registerVmapPurgeNotifier(kernel.vm, () => {
      asked++;
      return 0;
    });
    const [start, end] = [VMALLOC_START + 2 ** 40, VMALLOC_START + 2 ** 40 + PAGE_SIZE];
    const allocate = (gfp: number) =>
      kernel.run(() => __vmallocNodeRange(kernel.vm, PAGE_SIZE, { ...VMALLOC_REQUEST, range: { start, end }, gfp }));
    expect(allocate(GFP_NOWAIT)).toBe(0);
    expect([asked, kernel.log.lines.length]).toEqual([1, 0]);
    expect(allocate(GFP_KERNEL)).toBe(0);
    expect(asked).toBe(2);
    unregister();
    expect(allocate(GFP_KERNEL)).toBe(0);
    expect(asked).toBe(2);
  });
});

describe("per-CPU areas", () => {
  it("are requested with their size, so that vrealloc and snapshots know them", () => {
    const vms = kernel.run(pcpuGetVmAreas(kernel.vm, [0], [8 * MIB], MIB)) ?? [];
    expect(kernel.vm.vms.requestedSizeBytes[vms[0]]).toBe(8 * MIB);
    kernel.run(pcpuFreeVmAreas(kernel.vm, vms));
    expect(kernel.verify()).toEqual([]);
  });
});

describe("vrealloc", () => {
  it("from within an area copies until the guard page, and faults there as the CPU does", () => {
    const address = kernel.vmalloc(2 * PAGE_SIZE);
    const grow = () => kernel.run(vrealloc(kernel.vm, address + PAGE_SIZE, 4 * PAGE_SIZE));
    expect(grow).toThrow(PageFault);
  });

  it("grows within the pages that are there: bytes given up with __GFP_ZERO read as zeros again", () => {
    const cpu = kernel.machine.cpus[0];
    const address = kernel.vmalloc(100);
    cpu.store(address + 96, 4, 7);
    expect(kernel.run(vrealloc(kernel.vm, address, 50, GFP_KERNEL | __GFP_ZERO))).toBe(address);
    expect(kernel.run(vrealloc(kernel.vm, address, PAGE_SIZE))).toBe(address);
    expect(cpu.load(address + 96, 4)).toBe(0);
  });
});
