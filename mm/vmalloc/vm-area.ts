/** Areas with a vm_struct: reserving and releasing them (`__get_vm_area_node`, `remove_vm_area`, `free_vm_area`). */

import { PAGE_SHIFT, PAGE_SIZE, PUD_SIZE } from "../../arch/isa/linear-address.ts";
import { roundUpToPowerOfTwo } from "../../arch/isa/power-of-two.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { finish, type Soon } from "../kernel/soon.ts";
import { alignUp, isPageAligned } from "../lib/align.ts";
import { GFP_KERNEL } from "../lib/gfp.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { VMALLOC_END, VMALLOC_START } from "../lib/memory-layout.ts";
import { allocVmapAreaSoon } from "./alloc-vmap-area.ts";
import { VM_IOREMAP, VM_NO_GUARD } from "./areas/vm-structs.ts";
import type { VmapNode } from "./areas/vmap-node.ts";
import {
  type AreaTest,
  addLazy,
  findUnlinkVmapArea,
  findVmapArea,
  freeVmapAreaFlushed,
  lazyNodeOf,
  NOT_HERE,
  unlinkBusy,
  unmapVmapArea,
} from "./free-vmap-area.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** No caller is known: `/proc/vmallocinfo` then shows none. */
export const UNKNOWN_CALLER = "";

/**
 * Reserves an area with a vm_struct, and a guard page behind it unless the flags say `VM_NO_GUARD`
 * (`__get_vm_area_node`). A plain function as long as nothing has to be waited for.
 * @param sizeBytes what the caller asked for; rounded up to whole pages of 2^shift bytes
 * @returns the vm_struct, or 0
 */
export function getVmAreaNode(
  state: Vmalloc,
  sizeBytes: number,
  align: number,
  shift: number,
  flags: number,
  start: number,
  end: number,
  gfp: number,
  caller: string,
): Soon<number> {
  const rounded = alignUp(sizeBytes, shift === PAGE_SHIFT ? PAGE_SIZE : 2 ** shift);
  if (!(rounded > 0) || (state.faults.isArmed && state.faults.fails("vmStruct"))) return 0;
  const { vms } = state;
  const vm = vms.make(flags, sizeBytes, caller);
  const alignment = (flags & VM_IOREMAP) !== 0 ? ioremapAlignment(rounded) : align;
  const withGuard = (flags & VM_NO_GUARD) !== 0 ? rounded : rounded + PAGE_SIZE;
  const area = allocVmapAreaSoon(state, withGuard, alignment, start, end, gfp, 0, vm);
  return typeof area === "number" ? vmOrNone(state, vm, area) : waitForArea(state, vm, area);
}

function* waitForArea(state: Vmalloc, vm: number, area: KernelCode<number>): KernelCode<number> {
  return vmOrNone(state, vm, yield* area);
}

/** The vm_struct if it got an area, else none. */
function vmOrNone(state: Vmalloc, vm: number, area: number): number {
  if (area >= 0) return vm;
  state.vms.release(vm);
  return 0;
}

/** Reserves address space in the vmalloc range (`get_vm_area_caller`); the vm_struct, or 0. Nothing is mapped. */
export function getVmArea(
  state: Vmalloc,
  sizeBytes: number,
  flags: number,
  caller: string = UNKNOWN_CALLER,
): KernelCode<number> {
  return getVmAreaCaller(state, sizeBytes, flags, VMALLOC_START, VMALLOC_END, caller);
}

/** Reserves address space in the window [start, end) (`__get_vm_area_caller`); the vm_struct, or 0. */
export function* getVmAreaCaller(
  state: Vmalloc,
  sizeBytes: number,
  flags: number,
  start: number,
  end: number,
  caller: string = UNKNOWN_CALLER,
): KernelCode<number> {
  const vm = getVmAreaNode(state, sizeBytes, 1, PAGE_SHIFT, flags, start, end, GFP_KERNEL, caller);
  return typeof vm === "number" ? vm : yield* vm;
}

/** The vm_struct of the busy area that contains `address`, or 0 (`find_vm_area`). */
export function* findVmArea(state: Vmalloc, address: number): KernelCode<number> {
  const area = yield* findVmapArea(state, address);
  return area === 0 ? 0 : state.areas.vmOf(area);
}

/**
 * Takes the area that contains `address` out of use, unmaps it and frees its range lazily. Finding and unlinking are one
 * critical section, so a second caller finds nothing. Areas without a vm_struct (`vm_map_ram`) are left alone.
 * @returns the vm_struct, now the caller's to release, or 0
 */
export function* removeVmArea(state: Vmalloc, address: number): KernelCode<number> {
  const vm = removeVmAreaSoon(state, address);
  return typeof vm === "number" ? vm : yield* vm;
}

/** The same, as a plain function as long as the area is in the node of its address and no lock has to be waited for. */
export function removeVmAreaSoon(state: Vmalloc, address: number): Soon<number> {
  if (!isPageAligned(address)) {
    state.log.warn(`Trying to vfree() bad address (${formatRange(address, address)})`);
    return 0;
  }
  const home = state.nodeOf(address);
  if (!home.busyLock.tryTake()) return searchAndRemove(state, address);
  const area = unlinkBusy(state, home, address, hasVmStruct);
  if (area === NOT_HERE) return searchAndRemove(state, address);
  return area === 0 ? 0 : detachVm(state, area);
}

/** Unmaps an area that is in no tree any more and frees it lazily; its vm_struct. */
function detachVm(state: Vmalloc, area: number): Soon<number> {
  const { areas } = state;
  const vm = areas.vmOf(area);
  areas.setVm(area, 0);
  unmapVmapArea(state, area);
  state.flushing.accounts?.freedFor(area, state.vms.callerOf(vm));
  if (state.flushing.isEager) return flushAndFree(state, area, vm);
  const node = lazyNodeOf(state, area);
  if (!node.lazyLock.tryTake()) return waitForLazy(state, node, area, vm);
  addLazy(state, node, area);
  return vm;
}

function* flushAndFree(state: Vmalloc, area: number, vm: number): KernelCode<number> {
  yield* freeVmapAreaFlushed(state, area);
  return vm;
}

function* waitForLazy(state: Vmalloc, node: VmapNode, area: number, vm: number): KernelCode<number> {
  yield* node.lazyLock.take();
  addLazy(state, node, area);
  return vm;
}

function* searchAndRemove(state: Vmalloc, address: number): KernelCode<number> {
  const area = yield* findUnlinkVmapArea(state, address, hasVmStruct);
  return area === 0 ? 0 : yield* finish(detachVm(state, area));
}

const hasVmStruct: AreaTest = (state, area) => state.areas.vmOf(area) !== 0;

/**
 * Releases an area that `getVmArea` reserved (`free_vm_area`). Pages of its own, for which the caller should have used `vfree`,
 * are lost, as in the kernel. An area that is not there, where the kernel would stop (`BUG_ON`), is warned of.
 */
export function* freeVmArea(state: Vmalloc, vm: number): KernelCode<void> {
  const removed = yield* removeVmArea(state, state.vms.addr[vm]);
  if (removed !== vm) {
    state.log.warnOnce(
      "free_vm_area",
      `free_vm_area of ${formatRange(state.vms.addr[vm], state.vms.addr[vm])}: not there`,
    );
    return;
  }
  releaseWithoutPages(state, vm);
}

/**
 * Releases a vm_struct removed by a call that is not for areas with pages of their own (`kfree(vm)`). Where there are such
 * pages, the caller should have used `vfree`: they are lost, as in the kernel, and `verify` finds them.
 */
export function releaseWithoutPages({ vms, pageArrays }: Vmalloc, vm: number): void {
  if (vms.pages[vm] !== 0) pageArrays.giveBack(vms.pages[vm], vms.arrayLength(vm));
  vms.release(vm);
}

/** Device mappings are aligned to their size, between one page and 1 GiB. */
function ioremapAlignment(sizeBytes: number): number {
  return Math.min(Math.max(roundUpToPowerOfTwo(sizeBytes), PAGE_SIZE), PUD_SIZE);
}
