/** Areas with a vm_struct: reserving and releasing them (`__get_vm_area_node`, `remove_vm_area`, `free_vm_area`). */

import { PAGE_SHIFT, PAGE_SIZE, PUD_SIZE } from "../../arch/isa/linear-address.ts";
import { roundUpToPowerOfTwo } from "../../arch/isa/power-of-two.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { afterCode, afterWaiting, type Blocking, isReady, ready, resultOf, wait } from "../kernel/blocking.ts";
import type { AllocationKind } from "../kernel/fault-injection.ts";
import type { SpinLock } from "../kernel/lock.ts";
import { alignUp, isPageAligned } from "../lib/align.ts";
import { __GFP_NOFAIL, GFP_KERNEL } from "../lib/gfp.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { VMALLOC_RANGE } from "../lib/memory-layout.ts";
import { type AreaRequest, allocVmapArea, setupVmallocVm } from "./alloc-vmap-area.ts";
import { VM_IOREMAP, VM_NO_GUARD } from "./areas/vm-structs.ts";
import {
  type AreaTest,
  findUnlinkVmapArea,
  findVmapArea,
  freeUnmapVmapArea,
  unlinkVmapArea,
  unmapUnlinkVmapArea,
} from "./free-vmap-area.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** No caller is known: `/proc/vmallocinfo` then shows none. */
export const UNKNOWN_CALLER = "";

/** Room anywhere in the vmalloc range, aligned to nothing but pages. */
const ANYWHERE: AreaRequest = { align: 1, range: VMALLOC_RANGE, gfp: GFP_KERNEL };

/**
 * Reserves an area with a vm_struct, and a guard page behind it unless the flags say `VM_NO_GUARD`
 * (`__get_vm_area_node`).
 * @param sizeBytes what the caller asked for; rounded up to whole pages of 2^shift bytes
 * @returns the vm_struct, or 0
 */
export function __getVmAreaNode(
  state: Vmalloc,
  sizeBytes: number,
  shift: number,
  flags: number,
  request: AreaRequest,
  caller: string,
): Blocking<number> {
  const vm = newVmStruct(state, sizeBytes, flags, request, caller);
  if (vm === 0) return ready(0);
  const area = allocVmArea(state, vm, shift, request);
  return isReady(area) ? vmOrNone(resultOf(area), state, vm) : afterCode(area, vmOrNone, state, vm);
}

/** The first half of `__get_vm_area_node`: a vm_struct for an area of `sizeBytes`, or 0. */
export function newVmStruct(
  state: Vmalloc,
  sizeBytes: number,
  flags: number,
  request: AreaRequest,
  caller: string,
): number {
  if (!(sizeBytes > 0) || failsFor(state, request.gfp, "vmStruct")) return 0;
  const vm = state.vms.make(flags, sizeBytes, caller);
  // The vm_struct, and the array of page pointers that most have.
  state.loop.spend(2 * state.costs.pages.slabCycles);
  state.vms.setObject(vm, state.slabs.vmStruct.kmemCacheAlloc());
  return vm;
}

/** Its second half: an area of the size that the vm_struct was asked for with, in pages of 2^shift bytes; as `allocVmapArea`. */
export function allocVmArea(state: Vmalloc, vm: number, shift: number, request: AreaRequest): Blocking<number> {
  const { flags, requestedSizeBytes } = state.vms;
  const rounded = alignUp(requestedSizeBytes[vm], shift === PAGE_SHIFT ? PAGE_SIZE : 2 ** shift);
  const withGuard = (flags[2 * vm] & VM_NO_GUARD) !== 0 ? rounded : rounded + PAGE_SIZE;
  const aligned = (flags[2 * vm] & VM_IOREMAP) !== 0 ? { ...request, align: ioremapAlignment(rounded) } : request;
  return allocVmapArea(state, withGuard, aligned, 0, vm);
}

/** Whether an allocation with these flags is to fail; one that must not fail is not asked (`should_failslab`). */
export function failsFor({ faults }: Vmalloc, gfp: number, kind: AllocationKind): boolean {
  return faults.isArmed && (gfp & __GFP_NOFAIL) === 0 && faults.fails(kind);
}

/** The vm_struct if it got an area, else 0 with it released. */
function vmOrNone(area: number, state: Vmalloc, vm: number): Blocking<number> {
  if (area >= 0) return state.version.tiesVmUnderLock ? tieUnderLock(area, state, vm) : ready(vm);
  state.vms.release(vm);
  return ready(0);
}

/** Ties an area that is in the busy tree to its vm_struct, under the tree's lock (`setup_vmalloc_vm`); the vm_struct. */
export function tieUnderLock(area: number, state: Vmalloc, vm: number): Blocking<number> {
  const { busyLock } = state.addrToNode(state.areas.startOf(area));
  return busyLock.tryTake() ? tie(state, vm, area, busyLock) : afterWaiting(busyLock, tie, state, vm, area, busyLock);
}

function tie(state: Vmalloc, vm: number, area: number, busyLock: SpinLock): Blocking<number> {
  setupVmallocVm(state, vm, area);
  state.writeArea(area);
  busyLock.release();
  state.loop.point("__get_vm_area_node: tied to its vm_struct");
  return ready(vm);
}

/** Reserves address space in the vmalloc range (`get_vm_area`, `get_vm_area_caller`); the vm_struct, or 0. Nothing is mapped. */
export function getVmArea(
  state: Vmalloc,
  sizeBytes: number,
  flags: number,
  caller: string = UNKNOWN_CALLER,
): Blocking<number> {
  return __getVmAreaNode(state, sizeBytes, PAGE_SHIFT, flags, ANYWHERE, caller);
}

/** Reserves address space in the window [start, end) (`__get_vm_area_caller`); the vm_struct, or 0. */
export function __getVmAreaCaller(
  state: Vmalloc,
  sizeBytes: number,
  flags: number,
  start: number,
  end: number,
  caller: string = UNKNOWN_CALLER,
): Blocking<number> {
  const request = { align: 1, range: { start, end }, gfp: GFP_KERNEL };
  return __getVmAreaNode(state, sizeBytes, PAGE_SHIFT, flags, request, caller);
}

/** The vm_struct of the busy area that contains `address`, or 0 (`find_vm_area`). */
export function* findVmArea(state: Vmalloc, address: number): KernelCode<number> {
  const area = yield* findVmapArea(state, address);
  return area === 0 ? 0 : state.areas.vmOf(area);
}

/** The vm_struct that was found in one critical section, and removed in others (`__vunmap` until 6.2; `removeVmArea`); 0 for none. */
export function* findThenRemoveVmArea(state: Vmalloc, address: number): KernelCode<number> {
  const vm = yield* findVmArea(state, address);
  if (vm !== 0) yield* wait(removeVmArea(state, address));
  return vm;
}

/**
 * Takes the area that contains `address` out of use, unmaps it and frees its range lazily (`remove_vm_area`). Finding and
 * unlinking are one critical section, so a second caller finds nothing. Areas without a vm_struct (`vm_map_ram`) are left alone.
 * @returns the vm_struct, now the caller's to release, or 0
 */
export function removeVmArea(state: Vmalloc, address: number): Blocking<number> {
  if (isRemovedInSteps(state) && isPageAligned(address)) return clearVmAndUnlink(state, address);
  const area = unlinkVmArea(state, address);
  return isReady(area) ? detachAndFree(resultOf(area), state) : afterCode(area, detachAndFree, state);
}

/** Whether areas are found and unlinked in more than one critical section. */
export function isRemovedInSteps({ version, mm }: Vmalloc): boolean {
  return version.vfreeFindsFirst || mm.bugs.vmUnmapRamClearsFlags;
}

/** The area with a vm_struct that contains `address`, out of its tree; 0 when there is none, of which an address within a page is warned. */
export function unlinkVmArea(state: Vmalloc, address: number): Blocking<number> {
  if (!isPageAligned(address)) {
    state.log.warn(`Trying to vfree() bad address (${formatRange(address, address)})`);
    return ready(0);
  }
  return findUnlinkVmapArea(state, address, hasVmStruct);
}

/**
 * `remove_vm_area` as it was until 6.2, and as it was first posted with the flags of `vm_map_ram` (`HISTORICAL_BUGS.vmUnmapRamClearsFlags`):
 * it clears `va->vm` against double frees, and takes the area out of its tree in a second critical section: until 6.2 after it is unmapped
 * (`free_vmap_area_noflush`), as posted before.
 */
function* clearVmAndUnlink(state: Vmalloc, address: number): KernelCode<number> {
  const { areas, loop, costs } = state;
  const node = state.addrToNode(address);
  const { busy, busyLock, busyLines } = node;
  if (!busyLock.tryTake()) yield* busyLock.take();
  loop.spend(costs.treeStepCycles * busyLines.search(address, busy.count));
  const area = busy.__findVmapArea(address);
  const vm = area === 0 ? 0 : areas.vmOf(area);
  if (vm !== 0) {
    areas.setVm(area, 0);
    state.writeArea(area);
  }
  busyLock.release();
  if (vm === 0) return 0;
  loop.point("remove_vm_area: without a vm_struct");
  checkNoLocksIn(state, vm);
  state.flushing.accounts?.freedFor(area, state.vms.callerOf(vm));
  if (state.version.vfreeFindsFirst) {
    yield* wait(unmapUnlinkVmapArea(state, node, area));
  } else {
    yield* wait(unlinkVmapArea(state, node, area));
    yield* wait(freeUnmapVmapArea(state, area));
  }
  return vm;
}

/** Unmaps an area that is in no tree any more, or 0, and frees it lazily; its vm_struct, or 0. */
function detachAndFree(area: number, state: Vmalloc): Blocking<number> {
  if (area === 0) return ready(0);
  const vm = detachVm(state, area);
  const freed = freeUnmapVmapArea(state, area);
  return isReady(freed) ? ready(vm) : afterCode(freed, readyVm, vm);
}

/** The vm_struct of an area that is in no tree any more: they are untied from each other. */
export function detachVm(state: Vmalloc, area: number): number {
  const vm = state.areas.vmOf(area);
  checkNoLocksIn(state, vm);
  state.areas.setVm(area, 0);
  state.flushing.accounts?.freedFor(area, state.vms.callerOf(vm));
  return vm;
}

/** What is freed must hold no lock that somebody has (`debug_check_no_locks_freed`). */
function checkNoLocksIn({ mm: { locksInMemory }, vms }: Vmalloc, vm: number): void {
  if (locksInMemory.isEmpty) return;
  const start = vms.addr[vm];
  locksInMemory.debugCheckNoLocksFreed(start, start + vms.usableSizeBytes(vm));
}

function readyVm(_freed: unknown, vm: number): Blocking<number> {
  return ready(vm);
}

const hasVmStruct: AreaTest = (state, area) => state.areas.vmOf(area) !== 0;

/**
 * Releases an area that `getVmArea` reserved (`free_vm_area`). Pages of its own, for which the caller should have used `vfree`,
 * are lost, as in the kernel. An area that is not there, where the kernel would stop (`BUG_ON`), is warned of.
 */
export function* freeVmArea(state: Vmalloc, vm: number): KernelCode<void> {
  const removed = yield* wait(removeVmArea(state, state.vms.addr[vm]));
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
  if (vms.pages[2 * vm] !== 0) pageArrays.giveBack(vms.pages[2 * vm], vms.arrayLength(vm));
  vms.release(vm);
}

/** Device mappings are aligned to their size, between one page and 1 GiB. */
function ioremapAlignment(sizeBytes: number): number {
  return Math.min(Math.max(roundUpToPowerOfTwo(sizeBytes), PAGE_SIZE), PUD_SIZE);
}
