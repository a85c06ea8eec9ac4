/** Calls that allocate, at random: what random threads (`random-workload.ts`) hold. */
import type { Cpu } from "../../../arch/cpu/cpu.ts";
import type { KernelCode } from "../../../arch/time/event-loop.ts";
import {
  __getVmAreaCaller,
  __vmallocNode,
  __vmallocNodeRange,
  GFP_KERNEL,
  getVmArea,
  ioremap,
  NUMA_NO_NODE,
  PAGE_KERNEL,
  pcpuGetVmAreas,
  VM_IOREMAP,
  VM_MAP,
  VM_SPARSE,
  VMALLOC_REQUEST,
  VMALLOC_START,
  vmalloc,
  vmalloc32,
  vmallocHuge,
  vmallocUser,
  vmap,
  vmapPfn,
  vmMapRam,
  vzalloc,
  wait,
} from "../../../mm/index.ts";
import type { Kernel } from "../../../src/machine/kernel.ts";
import type { Random } from "../../../src/machine/random.ts";

const PAGE = 4096;
/** A window that fills up and has to be purged. */
const WINDOW_START = VMALLOC_START + 2 ** 42;
const WINDOW_PAGES = 96;
/** Frames that threads map. */
export const POOL_FRAMES = 128;

export type Kind = "vmalloc" | "vmap" | "vmMapRam" | "ioremap" | "vmapPfn" | "reserved" | "sparse" | "percpu";

/** Something that was allocated. `tag` is what its first page holds; for `vmap` and `vmMapRam`, `offset` its first frame. */
export interface Live {
  readonly kind: Kind;
  readonly address: number;
  readonly pages: number;
  readonly tag: number;
  readonly offset: number;
}

/** Who keeps what was allocated; an address of 0 is a call that failed. */
export interface Holder {
  readonly kernel: Kernel;
  /** Frames to map. */
  readonly frames: Uint32Array;
  /** Notes a mapping of the caller's frames, of a device, or of nothing. */
  keep(name: string, kind: Kind, pages: number, address: number, offset: number): void;
  /** Notes vmalloc'ed memory. */
  keepWritten(cpu: Cpu, name: string, pages: number, address: number): void;
}

/** Makes one call, of any kind that allocates. */
export function* allocateAtRandom(holder: Holder, cpu: Cpu, random: Random): KernelCode<void> {
  const { vm } = holder.kernel;
  const what = random.between(1, 100);
  if (what <= 30) {
    const pages = random.between(1, 16);
    holder.keepWritten(cpu, "vmalloc", pages, yield* wait(vmalloc(vm, pages * PAGE - random.between(0, PAGE - 4))));
  } else if (what <= 36) {
    const pages = random.between(1, 8);
    const address = yield* wait(vzalloc(vm, pages * PAGE));
    if (address !== 0 && cpu.load(address + (pages - 1) * PAGE, 4) !== 0) throw new Error("vzalloc: not zero");
    holder.keepWritten(cpu, "vzalloc", pages, address);
  } else if (what <= 40) {
    const pages = random.between(1, 8);
    const isUser = random.between(0, 1) === 1;
    const address = isUser ? yield* wait(vmallocUser(vm, pages * PAGE)) : yield* wait(vmalloc32(vm, pages * PAGE));
    holder.keepWritten(cpu, isUser ? "vmallocUser" : "vmalloc32", pages, address);
  } else if (what <= 46) {
    const pages = random.between(1, 20);
    const align = PAGE * 2 ** random.between(0, 9);
    const address = yield* wait(__vmallocNode(vm, pages * PAGE, align, GFP_KERNEL, NUMA_NO_NODE));
    if (address % align !== 0) throw new Error(`0x${address.toString(16)} is not aligned to ${align}`);
    holder.keepWritten(cpu, "vmallocAlign", pages, address);
  } else if (what <= 47) {
    const pages = random.between(513, 700);
    holder.keepWritten(cpu, "vmallocLarge", pages, yield* wait(vmalloc(vm, pages * PAGE)));
  } else if (what <= 48) {
    const pages = random.between(512, 1100);
    holder.keepWritten(cpu, "vmallocHuge", pages, yield* wait(vmallocHuge(vm, pages * PAGE)));
  } else if (what <= 53) {
    const pages = random.between(1, 12);
    const end = WINDOW_START + WINDOW_PAGES * PAGE;
    const gfp = GFP_KERNEL;
    const size = pages * PAGE;
    const address = yield* wait(
      __vmallocNodeRange(vm, size, { ...VMALLOC_REQUEST, range: { start: WINDOW_START, end }, gfp }),
    );
    holder.keepWritten(cpu, "vmallocWindow", pages, address);
  } else if (what <= 60) {
    const [pages, offset] = someFrames(random, 32);
    const address = yield* vmap(vm, holder.frames.slice(offset, offset + pages));
    holder.keep("vmap", "vmap", pages, address, offset);
  } else if (what <= 85) {
    const [pages, offset] = someFrames(random, 64);
    const address = yield* wait(vmMapRam(vm, holder.frames.slice(offset, offset + pages)));
    holder.keep("vmMapRam of a block", "vmMapRam", pages, address, offset);
  } else if (what <= 89) {
    const pages = random.between(65, POOL_FRAMES);
    const address = yield* wait(vmMapRam(vm, holder.frames.slice(0, pages)));
    holder.keep("vmMapRam of its own", "vmMapRam", pages, address, 0);
  } else if (what <= 90) {
    const pages = random.between(2, 12);
    const pfns = Array.from({ length: pages }, () => 0xd0000 + random.between(0, 5000));
    holder.keep("vmapPfn", "vmapPfn", pages, yield* vmapPfn(vm, pfns, PAGE_KERNEL), 0);
  } else if (what <= 91) {
    const pages = random.between(4, 40);
    const area = yield* wait(getVmArea(vm, pages * PAGE, VM_SPARSE));
    holder.keep("sparse", "sparse", pages, area === 0 ? 0 : vm.vms.addr[area], 0);
  } else if (what <= 92) {
    yield* allocatePercpu(holder, random);
  } else if (what <= 95) {
    const isLarge = random.between(0, 3) === 0;
    const pages = isLarge ? random.between(512, 1500) : random.between(1, 16);
    const phys = 0xd000_0000 + PAGE * (isLarge ? 0 : random.between(0, 4000));
    holder.keep("ioremap", "ioremap", pages, yield* ioremap(vm, phys, pages * PAGE), 0);
  } else {
    const pages = random.between(1, 12);
    const inWindow = random.between(0, 1) === 1;
    const end = WINDOW_START + WINDOW_PAGES * PAGE;
    const reserved = inWindow
      ? yield* wait(__getVmAreaCaller(vm, pages * PAGE, VM_MAP, WINDOW_START, end))
      : yield* wait(getVmArea(vm, pages * PAGE, VM_IOREMAP));
    const name = inWindow ? "getVmArea in a window" : "getVmArea";
    holder.keep(name, "reserved", pages, reserved === 0 ? 0 : vm.vms.addr[reserved], 0);
  }
}

/** Two areas at a fixed distance. */
function* allocatePercpu(holder: Holder, random: Random): KernelCode<void> {
  const { vm } = holder.kernel;
  const sizes = [65536 * random.between(1, 4), 65536 * random.between(1, 4)];
  const areas = yield* pcpuGetVmAreas(vm, [0, 65536 * random.between(4, 64)], sizes, 65536);
  if (areas === null) holder.keep("percpu", "percpu", 16, 0, 0);
  for (const area of areas ?? []) {
    holder.keep("percpu", "percpu", 16, vm.vms.addr[area], 0);
  }
}

function someFrames(random: Random, pagesMax: number): [pages: number, offset: number] {
  const pages = random.between(1, pagesMax);
  return [pages, random.between(0, POOL_FRAMES - pages)];
}
