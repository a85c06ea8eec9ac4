import { describe, expect, it } from "vitest";
import { asCode, PAGE_KERNEL, snapshotVmalloc, VM_ALLOC, VMALLOC_START, vfree, vmapPfn } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { busyArea, shown, type VariedKernel, variedKernel } from "./verify-state.ts";

const PAGE = 4096;

interface Mistake {
  readonly name: string;
  readonly make: (state: VariedKernel) => void;
  /** Warnings that the kernel gives. */
  readonly warnings: number;
  /** What a line of its log says, unless only the first such mistake is printed. */
  readonly says: RegExp;
}

const MISTAKES: Mistake[] = [
  {
    name: "vfree of an address between pages",
    make: ({ kernel, small }) => kernel.vfree(small + 1),
    warnings: 2,
    says: /Trying to vfree\(\) bad address/,
  },
  {
    name: "vfree where nothing is",
    make: ({ kernel }) => kernel.vfree(VMALLOC_START + 2 ** 40),
    warnings: 1,
    says: /Trying to vfree\(\) nonexistent vm area/,
  },
  {
    name: "vfree of a user address",
    make: ({ kernel }) => kernel.vfree(0x1000),
    warnings: 1,
    says: /Trying to vfree\(\) nonexistent vm area/,
  },
  {
    name: "vfree of what was freed and is lazily freed",
    make: ({ kernel, lazy }) => kernel.vfree(lazy),
    warnings: 1,
    says: /Trying to vfree\(\) nonexistent vm area/,
  },
  {
    name: "vfree of what was freed and is in a pool",
    make: ({ kernel, pooled }) => kernel.vfree(pooled),
    warnings: 1,
    says: /Trying to vfree\(\) nonexistent vm area/,
  },
  {
    name: "vfree of a vm_map_ram area",
    make: ({ kernel, whole }) => kernel.vfree(whole),
    warnings: 1,
    says: /Trying to vfree\(\) nonexistent vm area/,
  },
  {
    name: "vfree of pages of a vmap block",
    make: ({ kernel, inBlock }) => kernel.vfree(inBlock),
    warnings: 1,
    says: /Trying to vfree\(\) nonexistent vm area/,
  },
  {
    name: "vunmap where nothing is",
    make: ({ kernel, lazy }) => kernel.vunmap(lazy),
    warnings: 1,
    says: /Trying to vunmap\(\) nonexistent vm area/,
  },
  {
    name: "iounmap where nothing is",
    make: ({ kernel, lazy }) => kernel.iounmap(lazy),
    warnings: 1,
    says: /iounmap: bad address/,
  },
  {
    name: "iounmap of a vm_map_ram area",
    make: ({ kernel, whole }) => kernel.iounmap(whole),
    warnings: 1,
    says: /iounmap: bad address/,
  },
  {
    name: "vm_unmap_ram of vmalloc'ed memory, few pages",
    make: ({ kernel, small }) => kernel.vmUnmapRam(small, 3),
    warnings: 1,
    says: /vm_unmap_ram of .*: no such block/,
  },
  {
    name: "vm_unmap_ram of vmalloc'ed memory, many pages",
    make: ({ kernel, large }) => kernel.vmUnmapRam(large, 1024),
    warnings: 1,
    says: /vm_unmap_ram of .*: no such area/,
  },
  {
    name: "vm_unmap_ram of an area of its own with few pages",
    make: ({ kernel, whole }) => kernel.vmUnmapRam(whole, 64),
    warnings: 1,
    says: /vm_unmap_ram of .*: no such block/,
  },
  {
    name: "vm_unmap_ram of pages of a block with many pages",
    make: ({ kernel, inBlock }) => kernel.vmUnmapRam(inBlock, 100),
    warnings: 1,
    says: /vm_unmap_ram of .*: no such area/,
  },
  {
    name: "vm_unmap_ram of more pages of a block than were mapped",
    make: ({ kernel, inBlock }) => kernel.vmUnmapRam(inBlock, 6),
    warnings: 1,
    says: /vm_unmap_ram of .*: not mapped/,
  },
  {
    name: "vm_unmap_ram of three pages of five: they are no mapping",
    make: ({ kernel, inBlock }) => kernel.vmUnmapRam(inBlock, 3),
    warnings: 1,
    says: /vm_unmap_ram of .*: not mapped/,
  },
  {
    name: "vm_unmap_ram of pages of a block that were unmapped before",
    make: ({ kernel, inBlock }) => kernel.vmUnmapRam(inBlock - 4 * PAGE, 3),
    warnings: 1,
    says: /vm_unmap_ram of .*: not mapped/,
  },
  {
    name: "vm_unmap_ram of pages of a block that were never handed out",
    make: ({ kernel, inBlock }) => kernel.vmUnmapRam(inBlock + 100 * PAGE, 4),
    warnings: 1,
    says: /vm_unmap_ram of .*: not mapped/,
  },
  {
    name: "vm_unmap_ram beyond the end of a block",
    make: ({ kernel, inBlock }) => kernel.vmUnmapRam(inBlock - (inBlock % kernel.vm.blockBytes) - 2 * PAGE, 8),
    warnings: 1,
    says: /vm_unmap_ram of .*: no such block/,
  },
  {
    name: "vm_unmap_ram between pages",
    make: ({ kernel, inBlock }) => kernel.vmUnmapRam(inBlock + 8, 5),
    warnings: 1,
    says: /vm_unmap_ram of .*: not a vmalloc address/,
  },
  {
    name: "vm_unmap_ram of no pages",
    make: ({ kernel, inBlock }) => kernel.vmUnmapRam(inBlock, 0),
    warnings: 1,
    says: /vm_unmap_ram of .*: not a vmalloc address/,
  },
  {
    name: "vm_unmap_ram outside the vmalloc range",
    make: ({ kernel }) => kernel.vmUnmapRam(0x7000, 2),
    warnings: 1,
    says: /vm_unmap_ram of .*: not a vmalloc address/,
  },
  {
    name: "vm_map_ram of no pages",
    make: ({ kernel }) => expect(kernel.vmMapRam([])).toBe(0),
    warnings: 1,
    says: /vm_map_ram of 0 pages/,
  },
  {
    name: "vmalloc of no bytes",
    make: ({ kernel }) => expect(kernel.vmalloc(0)).toBe(0),
    warnings: 1,
    says: /vmalloc of 0 bytes/,
  },
  {
    name: "ioremap of memory",
    make: ({ kernel }) => expect(kernel.ioremap(0x20_0000, PAGE)).toBe(0),
    warnings: 1,
    says: /ioremap on RAM/,
  },
  {
    name: "free_vm_area where nothing is",
    make: ({ kernel, lazy }) => kernel.freeVmArea(lazy),
    warnings: 1,
    says: /free_vm_area of .*: not there/,
  },
];

describe("a caller's mistake is warned of and changes nothing:", () => {
  it.each(MISTAKES)("$name", ({ make, warnings, says }) => {
    const state = variedKernel();
    const { kernel } = state;
    const before = snapshotVmalloc(kernel.vm);
    const held = [kernel.pages.freePages, kernel.vm.vms.liveCount, kernel.vm.nrVmallocPages];
    for (let time = 1; time <= 3; time++) {
      make(state);
      expect(kernel.log.warnings).toBe(time * warnings);
      expect(kernel.verify()).toEqual([]);
      expect(snapshotVmalloc(kernel.vm)).toEqual(before);
      expect([kernel.pages.freePages, kernel.vm.vms.liveCount, kernel.vm.nrVmallocPages]).toEqual(held);
    }
    expect(kernel.log.lines.join("\n")).toMatch(says);
  });
});

describe("double frees", () => {
  const pairs: [string, (state: VariedKernel) => void][] = [
    ["vfree", ({ kernel, small }) => kernel.vfree(small)],
    ["vfree of a large area", ({ kernel, large }) => kernel.vfree(large)],
    ["vfree of 2 MiB pages", ({ kernel, huge }) => kernel.vfree(huge)],
    ["vunmap", ({ kernel, vmapped }) => kernel.vunmap(vmapped)],
    ["vm_unmap_ram of a block's pages", ({ kernel, inBlock }) => kernel.vmUnmapRam(inBlock, 5)],
    ["vm_unmap_ram of an area of its own", ({ kernel, whole }) => kernel.vmUnmapRam(whole, 100)],
    ["iounmap", ({ kernel, device }) => kernel.iounmap(device)],
  ];
  it.each(pairs)("%s: the second is warned of and frees nothing", (_name, free) => {
    const state = variedKernel();
    const { kernel } = state;
    free(state);
    expect(kernel.log.warnings).toBe(0);
    const before = snapshotVmalloc(kernel.vm);
    const freePages = kernel.pages.freePages;
    free(state);
    expect(kernel.log.warnings).toBe(1);
    expect(snapshotVmalloc(kernel.vm)).toEqual(before);
    expect(kernel.pages.freePages).toBe(freePages);
    kernel.vmUnmapAliases();
    free(state);
    expect(kernel.log.warnings).toBe(2);
    expect(kernel.verify()).toEqual([]);
  });

  it("two CPUs that free the same address at once free it once", () => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 32 * 2 ** 20 });
    const address = kernel.vmalloc(5 * PAGE);
    const free = kernel.pages.freePages;
    for (const cpu of [0, 1])
      kernel.spawn(
        `thread/${cpu}`,
        cpu,
        asCode(() => vfree(kernel.vm, address)),
      );
    kernel.runUntilIdle();
    expect(kernel.log.warnings).toBe(1);
    expect(kernel.pages.freePages).toBe(free + 5);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("mistakes that the kernel does not notice, or pays for, do no damage here:", () => {
  it("an address within an area, at a page, frees the whole area, as the kernel does", () => {
    const { kernel, small } = variedKernel();
    kernel.vfree(small + 2 * PAGE);
    expect(kernel.log.warnings).toBe(0);
    expect(() => busyArea(kernel, small)).toThrow(shown(small));
    expect(kernel.verify()).toEqual([]);
  });

  it.each(["vunmap", "iounmap", "freeVmArea"] as const)(
    "%s of vmalloc'ed memory takes the area and loses its pages, as the kernel does",
    (call) => {
      const state = variedKernel();
      const { kernel } = state;
      const free = kernel.pages.freePages;
      kernel[call](state.small);
      kernel[call](state.large);
      kernel[call](state.huge);
      expect(kernel.log.warnings).toBe(0);
      for (const address of [state.small, state.large, state.huge]) {
        expect(() => busyArea(kernel, address)).toThrow(shown(address));
      }
      expect(kernel.pages.freePages).toBe(free);
      expect(kernel.verify().join("\n")).toMatch(/frame/);
    },
  );

  it("vfree, vunmap and iounmap of each other's areas give everything back", () => {
    const state = variedKernel();
    const { kernel } = state;
    kernel.vfree(state.vmapped);
    kernel.vunmap(state.device);
    kernel.iounmap(state.reserved);
    kernel.vfree(kernel.run(vmapPfn(kernel.vm, [0xe0000, 0xe0001], PAGE_KERNEL)));
    expect(kernel.log.warnings).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("a mapping of a block unmapped in other portions than it was mapped in", () => {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 32 * 2 ** 20, vmalloc: { blockPages: 128 } });
    const frames = kernel.allocFrames(64);
    const addresses = Array.from({ length: 32 }, () => kernel.vmMapRam(frames.slice(0, 4)));
    for (const address of addresses) {
      kernel.vmUnmapRam(address + 3 * PAGE, 1);
      expect(kernel.verify()).toEqual([]);
      // Now these three round up to four again: five pages come back where four were handed out.
      kernel.vmUnmapRam(address, 3);
      expect(kernel.verify()).toEqual([]);
    }
    expect(kernel.log.warnings).toBe(0);
    kernel.vmUnmapAliases();
    expect(snapshotVmalloc(kernel.vm).blocks).toEqual([]);
    expect(kernel.verify()).toEqual([]);
  });

  it("free_vm_area of what was reserved", () => {
    const { kernel, reserved } = variedKernel();
    kernel.freeVmArea(reserved);
    expect(kernel.log.warnings).toBe(0);
    expect(kernel.getVmArea(PAGE, VM_ALLOC)).toBeGreaterThan(0);
    expect(kernel.verify()).toEqual([]);
  });
});
