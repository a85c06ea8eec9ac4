import { beforeEach, describe, expect, it } from "vitest";
import { PageFault } from "../../../arch/isa/faults.ts";
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import {
  __GFP_ZERO,
  __getVmAreaCaller,
  __vmallocNode,
  __vmallocNodeRange,
  E2BIG,
  EBUSY,
  EINVAL,
  ERANGE,
  findVmArea,
  freeVmArea,
  GFP_KERNEL,
  getVmArea,
  ioProtection,
  isVmallocAddr,
  PageTables,
  pcpuFreeVmAreas,
  pcpuGetVmAreas,
  remapVmallocRange,
  VM_MAP,
  VM_SPARSE,
  VMALLOC_END,
  VMALLOC_REQUEST,
  VMALLOC_START,
  vfree,
  vfreeAtomic,
  vmAreaMapPages,
  vmAreaUnmapPages,
  vmalloc32,
  vmallocDumpObj,
  vmallocinfo,
  vmallocNrPages,
  vmallocToPfn,
  vmallocUser,
  vmapPfn,
  vrealloc,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PMD_SIZE = 2 ** 21;
let kernel: Kernel;

beforeEach(() => {
  kernel = bootKernel({ cpus: 2 });
});

describe("vrealloc", () => {
  it("keeps the address while the pages suffice, and moves contents when they do not", () => {
    const cpu = kernel.machine.cpus[0];
    const address = kernel.vmalloc(3 * PAGE_SIZE);
    for (let page = 0; page < 3; page++) cpu.store(address + page * PAGE_SIZE, 4, 0x10 + page);
    expect(kernel.run(vrealloc(kernel.vm, address, 100))).toBe(address);
    expect(kernel.run(vrealloc(kernel.vm, address, 3 * PAGE_SIZE))).toBe(address);
    const grown = kernel.run(vrealloc(kernel.vm, address, 600 * PAGE_SIZE));
    expect(grown).not.toBe(address);
    for (let page = 0; page < 3; page++) expect(cpu.load(grown + page * PAGE_SIZE, 4)).toBe(0x10 + page);
    expect(kernel.run(findVmArea(kernel.vm, address))).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("zeroes what is given up when zeros are asked for", () => {
    const cpu = kernel.machine.cpus[0];
    const address = kernel.vmalloc(2 * PAGE_SIZE);
    cpu.store(address + 200, 4, 5);
    cpu.store(address + PAGE_SIZE + 4, 4, 6);
    kernel.run(vrealloc(kernel.vm, address, 202, GFP_KERNEL | __GFP_ZERO));
    expect(cpu.load(address + 200, 4)).toBe(5);
    expect(cpu.load(address + PAGE_SIZE + 4, 4)).toBe(0);
  });

  it("allocates from nothing, frees to nothing, and warns of an address that is none", () => {
    const address = kernel.run(vrealloc(kernel.vm, 0, PAGE_SIZE));
    expect(address).not.toBe(0);
    expect(kernel.run(vrealloc(kernel.vm, address, 0))).toBe(0);
    expect(kernel.log.warnings).toBe(0);
    expect(kernel.run(vrealloc(kernel.vm, address, PAGE_SIZE))).toBe(0);
    expect(kernel.log.warnings).toBe(1);
  });
});

describe("vfree_atomic", () => {
  it("frees later, in a worker of the same CPU, the latest first", () => {
    const freed: number[] = [];
    const addresses = [1, 2, 3].map((pages) => kernel.vmalloc(pages * PAGE_SIZE));
    const used = vmallocNrPages(kernel.vm);
    for (const address of addresses) vfreeAtomic(kernel.vm, address);
    expect(vmallocNrPages(kernel.vm)).toBe(used);
    const { tables } = kernel;
    const unmap = tables.vunmapRangeNoflush.bind(tables);
    tables.vunmapRangeNoflush = (start, end) => {
      freed.push(start);
      return unmap(start, end);
    };
    kernel.runUntilIdle();
    expect(freed).toEqual(addresses.toReversed());
    expect(vmallocNrPages(kernel.vm)).toBe(used - 6);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("the vmalloc family", () => {
  it("keeps to a window, an alignment and a protection", () => {
    const { vm } = kernel;
    const start = VMALLOC_START + 2 ** 32;
    const end = start + 2 ** 20;
    const code = () =>
      __vmallocNodeRange(vm, PAGE_SIZE, {
        ...VMALLOC_REQUEST,
        align: 2 ** 16,
        range: { start: start + PAGE_SIZE, end },
      });
    expect(kernel.run(code)).toBe(start + 2 ** 16);
    const large = () => __vmallocNodeRange(vm, 2 ** 20, { ...VMALLOC_REQUEST, range: { start, end } });
    expect(kernel.run(large)).toBe(0);
    expect(kernel.log.lines.join("\n")).toMatch(/vm_struct allocation failed/);
  });

  it("takes vmalloc_32 memory below 4 GiB", () => {
    const address = kernel.run(() => vmalloc32(kernel.vm, 64 * PAGE_SIZE));
    for (let page = 0; page < 64; page++) {
      expect(vmallocToPfn(kernel.vm, address + page * PAGE_SIZE)).toBeLessThan(2 ** 20);
    }
  });

  it("prefers the NUMA node that is asked for and falls back to others", () => {
    const numa = bootKernel({ cpus: 2, memoryBytes: 2 ** 28, numaNodes: 2 });
    const onNode1 = numa.run(() => __vmallocNode(numa.vm, 100 * PAGE_SIZE, 1, GFP_KERNEL, 1));
    for (let page = 0; page < 100; page++) {
      expect(numa.pages.nodeOfFrame(vmallocToPfn(numa.vm, onNode1 + page * PAGE_SIZE))).toBe(1);
    }
    expect(vmallocinfo(numa.vm)[0]).toMatch(/pages=100 vmalloc N1=100$/);
    const most = numa.run(() => __vmallocNode(numa.vm, 2 ** 27 + 2 ** 24, 1, GFP_KERNEL, 1));
    expect(most).not.toBe(0);
    expect(numa.verify()).toEqual([]);
  });

  it("says where an object lies", () => {
    const address = kernel.vmalloc(5 * PAGE_SIZE, "make_thing+0x10/0x20");
    expect(isVmallocAddr(address)).toBe(true);
    expect(isVmallocAddr(VMALLOC_START - 1)).toBe(false);
    expect(vmallocDumpObj(kernel.vm, address + 1)).toBe(
      ` 5-page vmalloc region starting at 0xffff${address.toString(16)} allocated at make_thing+0x10/0x20`,
    );
    expect(vmallocDumpObj(kernel.vm, VMALLOC_START + 2 ** 40)).toBeNull();
  });

  it("finds the piece of a 2 MiB page that an address lies in", () => {
    const address = kernel.vmallocHuge(2 * PMD_SIZE);
    const first = vmallocToPfn(kernel.vm, address);
    expect(first % 512).toBe(0);
    expect(vmallocToPfn(kernel.vm, address + 5 * PAGE_SIZE + 3)).toBe(first + 5);
  });
});

describe("remap_vmalloc_range", () => {
  function userTables(): PageTables {
    const { machine, pages, faults, log } = kernel;
    return new PageTables(machine.memory, pages, faults, log, machine.loop, 4);
  }

  it("maps the same frames for a user, from a page offset on", () => {
    const user = userTables();
    const address = kernel.run(() => vmallocUser(kernel.vm, 4 * PAGE_SIZE));
    expect(kernel.run(remapVmallocRange(kernel.vm, user, 0x40_0000, address, 1, 2 * PAGE_SIZE))).toBe(0);
    for (const page of [0, 1]) {
      const la = 0x40_0000 + page * PAGE_SIZE;
      expect(user.cursor.seek(la)).toBe(1);
      const { low } = user.cursor;
      expect(low >>> 12).toBe(vmallocToPfn(kernel.vm, address + (page + 1) * PAGE_SIZE) % 2 ** 20);
      expect(low & 7).toBe(7);
    }
    expect(kernel.run(remapVmallocRange(kernel.vm, user, 0x40_0000, address, 0, PAGE_SIZE))).toBe(-EBUSY);
  });

  it("refuses what is not for users, not aligned or beyond the end", () => {
    const user = userTables();
    const address = kernel.run(() => vmallocUser(kernel.vm, 4 * PAGE_SIZE));
    const plain = kernel.vmalloc(PAGE_SIZE);
    const remap = (to: number, from: number, offset: number, bytes: number): number =>
      kernel.run(remapVmallocRange(kernel.vm, user, to, from, offset, bytes));
    expect(remap(0x1000, plain, 0, PAGE_SIZE)).toBe(-EINVAL);
    expect(remap(0x1001, address, 0, PAGE_SIZE)).toBe(-EINVAL);
    expect(remap(0x1000, address, 3, 2 * PAGE_SIZE)).toBe(-EINVAL);
    expect(remap(0x1000, VMALLOC_START + 2 ** 40, 0, PAGE_SIZE)).toBe(-EINVAL);
  });
});

describe("sparse areas", () => {
  it("map and unmap pages within the area only, flushing at once", () => {
    const { vm } = kernel;
    const area = kernel.run(() => getVmArea(vm, 16 * PAGE_SIZE, VM_SPARSE));
    const start = vm.vms.addr[area];
    const frames = kernel.allocFrames(2);
    expect(vmAreaMapPages(vm, area, start + PAGE_SIZE, start + 3 * PAGE_SIZE, frames)).toBe(0);
    kernel.machine.cpus[1].store(start + PAGE_SIZE, 4, 9);
    expect(kernel.machine.memory.readWord(frames[0], 0)).toBe(9);
    const flushes = vm.flushing.rangeFlushes;
    kernel.run(vmAreaUnmapPages(vm, area, start + PAGE_SIZE, start + 3 * PAGE_SIZE));
    expect(vm.flushing.rangeFlushes).toBe(flushes + 1);
    expect(() => kernel.machine.cpus[1].load(start + PAGE_SIZE, 4)).toThrow(PageFault);
    expect(vmAreaMapPages(vm, area, start - PAGE_SIZE, start, frames)).toBe(-ERANGE);
    expect(vmAreaMapPages(vm, area, start + 16 * PAGE_SIZE, start + 17 * PAGE_SIZE, frames)).toBe(-ERANGE);
    expect(vmAreaMapPages(vm, area, start, start + 2 ** 33, frames)).toBe(-E2BIG);
    const plain = kernel.run(() => getVmArea(vm, PAGE_SIZE, VM_MAP));
    expect(vmAreaMapPages(vm, plain, vm.vms.addr[plain], vm.vms.addr[plain] + PAGE_SIZE, frames)).toBe(-EINVAL);
    kernel.run(freeVmArea(vm, area));
  });
});

describe("vmap_pfn", () => {
  it("maps device frames and refuses RAM", () => {
    const { vm } = kernel;
    const address = kernel.run(vmapPfn(vm, [0xfed00, 0xfed05], ioProtection("uc-")));
    expect(vmallocToPfn(vm, address + PAGE_SIZE)).toBe(0xfed05);
    kernel.vunmap(address);
    expect(kernel.run(vmapPfn(vm, [0xfed00, 0x500], ioProtection("uc-")))).toBe(0);
    expect(kernel.log.warnings).toBe(1);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("per-CPU areas", () => {
  it("are placed from the top of the vmalloc range down, at their distances, aligned to 2 MiB", () => {
    const sizes = [PMD_SIZE, 2 * PMD_SIZE];
    const offsets = [0, 8 * PMD_SIZE];
    const top = VMALLOC_END - (VMALLOC_END % PMD_SIZE);
    const first = kernel.run(pcpuGetVmAreas(kernel.vm, offsets, sizes, PMD_SIZE)) ?? [];
    const addresses = first.map((vm) => kernel.vm.vms.addr[vm]);
    expect(addresses[1] + sizes[1]).toBe(top);
    expect(addresses[0]).toBe(addresses[1] - 8 * PMD_SIZE);
    const second = kernel.run(pcpuGetVmAreas(kernel.vm, offsets, sizes, PMD_SIZE)) ?? [];
    expect(kernel.vm.vms.addr[second[1]]).toBe(addresses[1] - 2 * PMD_SIZE);
    expect(kernel.verify()).toEqual([]);
    for (const each of [first, second]) kernel.run(pcpuFreeVmAreas(kernel.vm, each));
    kernel.vmUnmapAliases();
    expect(kernel.verify()).toEqual([]);
  });

  it("agree with a search by brute force among any gaps", () => {
    const { vm } = kernel;
    const held: number[] = [];
    const base = VMALLOC_END - (VMALLOC_END % PMD_SIZE);
    let seed = 12345;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return seed % below;
    };
    for (let i = 0; i < 40; i++) {
      const at = base - (1 + random(200)) * PMD_SIZE;
      const reserved = kernel.run(() => __getVmAreaCaller(vm, PMD_SIZE - PAGE_SIZE, VM_MAP, at, at + PMD_SIZE));
      if (reserved !== 0) held.push(vm.vms.addr[reserved]);
    }
    const offsets = [0, 4 * PMD_SIZE, 6 * PMD_SIZE];
    const sizes = [2 * PMD_SIZE, PMD_SIZE, 3 * PMD_SIZE];
    const overlaps = (at: number, bytes: number): boolean =>
      held.some((address) => address < at + bytes && at < address + PMD_SIZE);
    for (let round = 0; round < 8; round++) {
      let expected = base - 9 * PMD_SIZE;
      const taken = (candidate: number): boolean => offsets.some((offset, i) => overlaps(candidate + offset, sizes[i]));
      while (taken(expected)) expected -= PMD_SIZE;
      const got = kernel.run(pcpuGetVmAreas(vm, offsets, sizes, PMD_SIZE)) ?? [];
      expect(vm.vms.addr[got[0]]).toBe(expected);
      for (let i = 0; i < 3; i++) {
        for (let at = 0; at < sizes[i]; at += PMD_SIZE) held.push(expected + offsets[i] + at);
      }
    }
  });
});

describe("address space that runs out", () => {
  it("is freed by a purge notifier, and the allocation tried again", () => {
    const { vm } = kernel;
    const start = VMALLOC_START + 2 ** 36;
    const reserve = (): number =>
      kernel.run(() => __getVmAreaCaller(vm, 3 * PAGE_SIZE, VM_MAP, start, start + 8 * PAGE_SIZE));
    const [first, second] = [reserve(), reserve()];
    expect([first, second]).not.toContain(0);
    expect(reserve()).toBe(0);
    let calls = 0;
    const unregister = vm.registerVmapPurgeNotifier(() => {
      calls++;
      return 0;
    });
    expect(reserve()).toBe(0);
    expect(calls).toBe(1);
    unregister();
    expect(reserve()).toBe(0);
    expect(calls).toBe(1);
    kernel.run(() => vfree(vm, vm.vms.addr[first]));
    expect(reserve()).not.toBe(0);
  });
});
