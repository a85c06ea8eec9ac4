/** Calls that can run out of something, each with its contrary: every function of the API that allocates. */
import { expect } from "vitest";
import type { KernelCode } from "../../../arch/time/event-loop.ts";
import {
  __GFP_NOWARN,
  __vmalloc,
  __vmallocNodeRange,
  exitMmap,
  GFP_KERNEL,
  getVmArea,
  type MmStruct,
  NotEnoughMemory,
  PAGE_KERNEL,
  pcpuGetVmAreas,
  remapVmallocRange,
  UserSpaces,
  VM_IOREMAP,
  VM_MAP,
  VM_MAP_PUT_PAGES,
  VM_SPARSE,
  VMALLOC_REQUEST,
  VMALLOC_START,
  vfreeAtomic,
  vmAreaMapPages,
  vmAreaUnmapPages,
  vmalloc32,
  vmalloc32User,
  vmallocNode,
  vmallocUser,
  vmap,
  vmapPfn,
  vrealloc,
  vzallocNode,
} from "../../../mm/index.ts";
import type { Kernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;
const MIB = 2 ** 20;

/** A call that can run out of something. */
export interface Call {
  readonly name: string;
  /** Makes the call; an address, or 0. */
  readonly make: (kernel: Kernel, frames: Uint32Array) => number;
  readonly undo: (kernel: Kernel, address: number) => void;
  /** What the kernel says when the call fails; null when it says nothing. */
  readonly says: RegExp | null;
  /** Whether some of its failures are errno's without a word. */
  readonly isQuietToo?: boolean;
  /** Whether it manages without any single allocation, with smaller pages. */
  readonly recovers?: boolean;
  /** Whether it can do without its last allocation: a gather without memory for a batch flushes and frees what it has. */
  readonly lastRecovers?: boolean;
  /** Frames that its caller allocates first: they cannot fail. */
  readonly allocatesFirst?: number;
  /** Bytes of memory to boot with. */
  readonly memoryBytes?: number;
}

const vfree = (kernel: Kernel, address: number): void => kernel.vfree(address);
const VMALLOC_SAYS = /^sync: vmalloc error: size \d+, (vm_struct allocation|failed to (allocate|allocated|map) )/;

export const CALLS: readonly Call[] = [
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
    make: (kernel) => kernel.run(() => vmallocUser(kernel.vm, 2 * PAGE)),
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  {
    name: "vmalloc_32",
    make: (kernel) => kernel.run(() => vmalloc32(kernel.vm, 2 * PAGE)),
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  { name: "vmalloc, aligned", make: (kernel) => kernel.vmallocAlign(PAGE, 64 * PAGE), undo: vfree, says: VMALLOC_SAYS },
  {
    name: "vmalloc in a window",
    make: (kernel) => {
      const [start, end] = [VMALLOC_START + 2 ** 40, VMALLOC_START + 2 ** 40 + 64 * PAGE];
      return kernel.run(() => __vmallocNodeRange(kernel.vm, 3 * PAGE, { ...VMALLOC_REQUEST, range: { start, end } }));
    },
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  {
    name: "vmalloc_32_user",
    make: (kernel) => kernel.run(() => vmalloc32User(kernel.vm, 2 * PAGE)),
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  {
    name: "vmalloc_node",
    make: (kernel) => kernel.run(() => vmallocNode(kernel.vm, PAGE, 0)),
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  {
    name: "vzalloc_node",
    make: (kernel) => kernel.run(() => vzallocNode(kernel.vm, PAGE, 0)),
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  {
    name: "__vmalloc, which says nothing with __GFP_NOWARN",
    make: (kernel) => kernel.run(() => __vmalloc(kernel.vm, 600 * PAGE, GFP_KERNEL | __GFP_NOWARN)),
    undo: vfree,
    says: null,
  },
  {
    name: "vrealloc of nothing",
    make: (kernel) => kernel.run(vrealloc(kernel.vm, 0, 3 * PAGE)),
    undo: vfree,
    says: VMALLOC_SAYS,
  },
  {
    name: "vmalloc_user, freed by vfree_atomic",
    make: (kernel) => kernel.run(() => vmallocUser(kernel.vm, 2 * PAGE)),
    undo: (kernel, address) => {
      kernel.run(freeAtomic(kernel, address));
      kernel.runUntilIdle();
    },
    says: VMALLOC_SAYS,
  },
  {
    name: "get_vm_area in a window",
    make: (kernel) => {
      const [start, end] = [VMALLOC_START + 2 ** 40, VMALLOC_START + 2 ** 40 + 64 * PAGE];
      return kernel.getVmAreaRange(3 * PAGE, VM_MAP, start, end);
    },
    undo: (kernel, address) => kernel.freeVmArea(address),
    says: null,
  },
  {
    name: "remap_vmalloc_range over two user page tables",
    make: (kernel) => {
      const address = kernel.run(() => vmallocUser(kernel.vm, 4 * PAGE));
      if (address === 0) return 0;
      const spaces = spacesOf(kernel);
      const mm = makeMmOrNull(spaces);
      const result =
        mm === null ? -1 : kernel.run(remapVmallocRange(kernel.vm, mm.tables, 0x3f_e000, address, 0, 4 * PAGE));
      if (mm !== null) kernel.run(exitMmap(spaces, mm));
      if (result === 0) return address;
      kernel.vfree(address);
      return 0;
    },
    undo: vfree,
    lastRecovers: true,
    says: /^sync: vmalloc error/,
    isQuietToo: true,
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
    says: /^ioremap memtype_reserve failed -12$/,
    isQuietToo: true,
  },
  {
    name: "ioremap of 5 MiB, by large pages and small ones",
    make: (kernel) => kernel.ioremap(0xe000_0000, 5 * MIB),
    undo: (kernel, address) => kernel.iounmap(address),
    says: /^ioremap memtype_reserve failed -12$/,
    isQuietToo: true,
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
      const vm = kernel.run(() => getVmArea(kernel.vm, 700 * PAGE, VM_SPARSE));
      if (vm === 0) return 0;
      const start = kernel.vm.vms.addr[vm];
      if (vmAreaMapPages(kernel.vm, vm, start + PAGE, start + 601 * PAGE, frames) === 0) return start;
      kernel.freeVmArea(start);
      return 0;
    },
    undo: (kernel, address) => {
      const vm = kernel.vm.areas.vmOf(kernel.vm.addrToNode(address).busy.findStart(address));
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

// biome-ignore lint/correctness/useYield: kernel code is a generator even where it never waits
function* freeAtomic(kernel: Kernel, address: number): KernelCode<void> {
  vfreeAtomic(kernel.vm, address);
}

const madeSpaces = new WeakMap<Kernel, UserSpaces>();

function spacesOf(kernel: Kernel): UserSpaces {
  const spaces = madeSpaces.get(kernel) ?? new UserSpaces(kernel.mm);
  madeSpaces.set(kernel, spaces);
  return spaces;
}

function makeMmOrNull(spaces: UserSpaces): MmStruct | null {
  try {
    return spaces.mmAlloc();
  } catch (error) {
    if (error instanceof NotEnoughMemory) return null;
    throw error;
  }
}
