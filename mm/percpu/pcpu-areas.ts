/** Areas for per-CPU chunks: several at fixed distances from each other, as high as possible (`pcpu_get_vm_areas`). */

import { MachineUsageError } from "../../arch/isa/errors.ts";
import { isPowerOfTwo } from "../../arch/isa/power-of-two.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { alignUp, isAligned, isPageAligned } from "../lib/align.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { VMALLOC_END, VMALLOC_START } from "../lib/memory-layout.ts";
import { setupVmallocVm } from "../vmalloc/alloc-vmap-area.ts";
import type { FreeTree } from "../vmalloc/areas/free-tree.ts";
import { VM_ALLOC } from "../vmalloc/areas/vm-structs.ts";
import { reclaimAndPurgeVmapAreas } from "../vmalloc/purge.ts";
import { freeVmArea } from "../vmalloc/vm-area.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";

/** Shown as the caller of these areas. */
const CALLER = "pcpu_get_vm_areas+0x0/0x0";

/**
 * Reserves one area a unit group, area `i` at `offsets[i]` from a common base, searching from the top of the vmalloc range
 * down.
 * @param align a power of two and whole pages; every offset and size is a multiple of it
 * @returns the vm_structs, or null when there is no room or memory
 * @throws MachineUsageError for offsets and sizes that overlap or are not aligned (the kernel would BUG)
 */
export function* pcpuGetVmAreas(
  state: Vmalloc,
  offsets: readonly number[],
  sizes: readonly number[],
  align: number,
): KernelCode<number[] | null> {
  const last = checkLayout(offsets, sizes, align);
  const { areas, vms, freeTree } = state;
  const start = alignUp(VMALLOC_START, align);
  const end = VMALLOC_END - (VMALLOC_END % align);
  if (end - start < offsets[last] + sizes[last]) {
    state.log.warn(`per-CPU areas of ${offsets[last] + sizes[last]} bytes do not fit the vmalloc range`);
    return null;
  }
  const madeAreas = makeObjects(state, offsets.length, "vmapArea", () => {
    const area = areas.make(0, 0);
    areas.setObject(area, state.slabs.vmapArea.kmemCacheAlloc());
    return area;
  });
  const madeVms = makeObjects(state, offsets.length, "vmStruct", () => {
    const vm = vms.make(VM_ALLOC, 0, CALLER);
    vms.setObject(vm, state.slabs.vmStruct.kmemCacheAlloc());
    return vm;
  });
  const release = (): null => {
    for (const area of madeAreas ?? []) areas.release(area);
    for (const vm of madeVms ?? []) vms.release(vm);
    return null;
  };
  if (madeAreas === null || madeVms === null) return release();
  const takeRoom = (): number => {
    const base = findBase(state, freeTree, offsets, sizes, last, align, start, end);
    return base < 0 || clipAll(state, base, offsets, sizes) ? base : -1;
  };
  if (!state.freeTreeLock.tryTake()) yield* state.freeTreeLock.take();
  let base = takeRoom();
  if (base < 0) {
    state.freeTreeLock.release();
    yield* reclaimAndPurgeVmapAreas(state);
    if (!state.freeTreeLock.tryTake()) yield* state.freeTreeLock.take();
    base = takeRoom();
  }
  state.freeTreeLock.release();
  if (base < 0) return release();
  for (let i = 0; i < offsets.length; i++) {
    const [area, vm] = [madeAreas[i], madeVms[i]];
    areas.setStart(area, base + offsets[i]);
    areas.setEnd(area, base + offsets[i] + sizes[i]);
    setupVmallocVm(state, vm, area);
    vms.requestedSizeBytes[vm] = sizes[i];
    const node = state.addrToNode(base + offsets[i]);
    if (!node.busyLock.tryTake()) yield* node.busyLock.take();
    node.busy.insertVmapArea(area);
    node.busyLock.release();
  }
  return madeVms;
}

/**
 * Takes every area out of the gap that it lies in. Nothing was preloaded for a split: these areas mostly end where a gap ends.
 * @returns false, with all of them given back, when a split found no memory (the way of `recovery` in the kernel)
 */
function clipAll(state: Vmalloc, base: number, offsets: readonly number[], sizes: readonly number[]): boolean {
  const { freeTree, areas, log } = state;
  for (let i = 0; i < offsets.length; i++) {
    const from = base + offsets[i];
    if (freeTree.vaClip(freeTree.pvmFindVaEncloseAddr(from), from, sizes[i])) continue;
    log.warnOnce("va_clip", `no memory to split a gap for per-CPU areas at ${formatRange(from, from + sizes[i])}`);
    for (let undo = 0; undo < i; undo++) {
      const start = base + offsets[undo];
      freeTree.mergeOrAddVmapArea(areas.make(start, start + sizes[undo]));
    }
    return false;
  }
  return true;
}

/** Gives back what `pcpuGetVmAreas` returned (`pcpu_free_vm_areas`). */
export function* pcpuFreeVmAreas(state: Vmalloc, vms: readonly number[]): KernelCode<void> {
  for (const vm of vms) yield* freeVmArea(state, vm);
}

function checkLayout(offsets: readonly number[], sizes: readonly number[], align: number): number {
  if (!isPageAligned(align) || !isPowerOfTwo(align)) {
    throw new MachineUsageError("alignment of per-CPU areas", align, "a power of two, at least a page");
  }
  if (offsets.length === 0 || offsets.length !== sizes.length) {
    throw new MachineUsageError(
      "offsets of per-CPU areas",
      offsets,
      `as many as sizes (${sizes.length}), at least one`,
    );
  }
  let last = 0;
  for (let i = 0; i < offsets.length; i++) {
    if (!isAligned(offsets[i], align) || !isAligned(sizes[i], align) || !(sizes[i] > 0)) {
      throw new MachineUsageError(
        `size of the per-CPU area at ${offsets[i]}`,
        sizes[i],
        `both to be multiples of ${align}`,
      );
    }
    if (offsets[i] > offsets[last]) last = i;
    for (let k = i + 1; k < offsets.length; k++) {
      if (offsets[k] < offsets[i] + sizes[i] && offsets[i] < offsets[k] + sizes[k]) {
        throw new MachineUsageError("offset of a per-CPU area", offsets[k], `no overlap with the one at ${offsets[i]}`);
      }
    }
  }
  return last;
}

function makeObjects(
  state: Vmalloc,
  count: number,
  kind: "vmapArea" | "vmStruct",
  make: () => number,
): number[] | null {
  const made: number[] = [];
  for (let i = 0; i < count; i++) {
    if (state.faults.fails(kind)) {
      for (const each of made) kind === "vmapArea" ? state.areas.release(each) : state.vms.release(each);
      return null;
    }
    made.push(make());
  }
  return made;
}

/**
 * The highest base at which every area lies within a gap, or -1. Goes through the areas from the last to the first, and
 * moves the base down whenever one does not fit, until a whole round fits.
 */
function findBase(
  state: Vmalloc,
  tree: FreeTree,
  offsets: readonly number[],
  sizes: readonly number[],
  last: number,
  align: number,
  vmallocStart: number,
  vmallocEnd: number,
): number {
  const { areas } = state;
  const count = offsets.length;
  let area = last;
  let settled = last;
  let gap = tree.pvmFindVaEncloseAddr(vmallocEnd);
  let base = 0;
  const topOf = (of: number): number => Math.min(areas.endOf(of) - (areas.endOf(of) % align), vmallocEnd);
  const before = (of: number): number => (areas.previousOf(of) === tree.head ? 0 : areas.previousOf(of));
  /** The highest aligned end within a gap, from this one downwards, or 0 (`pvm_determine_end_from_reverse`). */
  const pvmDetermineEndFromReverse = (): number => {
    while (gap !== 0 && areas.startOf(gap) >= topOf(gap)) gap = before(gap);
    return gap === 0 ? 0 : topOf(gap);
  };
  const moveDown = (): boolean => {
    const top = pvmDetermineEndFromReverse();
    if (top === 0) return false;
    base = top - (offsets[area] + sizes[area]);
    settled = area;
    return true;
  };
  if (!moveDown()) return -1;
  while (base >= vmallocStart) {
    if (gap === 0) return -1;
    if (base + offsets[area] + sizes[area] > areas.endOf(gap)) {
      if (!moveDown()) return -1;
    } else if (base + offsets[area] < areas.startOf(gap)) {
      gap = before(gap);
      if (!moveDown()) return -1;
    } else {
      area = (area + count - 1) % count;
      if (area === settled) return base;
      gap = tree.pvmFindVaEncloseAddr(base + offsets[area] + sizes[area]);
    }
  }
  return -1;
}
