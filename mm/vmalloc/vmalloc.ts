/** `vmalloc` and its family: virtually contiguous memory from single frames or 2 MiB pages. */

import { PAGE_SHIFT, PAGE_SIZE, PMD_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { warnAlloc } from "../frames/warn-alloc.ts";
import { afterCall, afterCode, type Blocking, isReady, ready, resultOf, wait } from "../kernel/blocking.ts";
import { type CallProbes, probed } from "../kernel/call-probes.ts";
import { ENOMEM } from "../lib/errno.ts";
import {
  __GFP_HIGHMEM,
  __GFP_NOFAIL,
  __GFP_ZERO,
  GFP_DMA_ZONE,
  GFP_DMA32_ZONE,
  GFP_KERNEL,
  NUMA_NO_NODE,
} from "../lib/gfp.ts";
import { VMALLOC_RANGE } from "../lib/memory-layout.ts";
import { PMD_SHIFT } from "../page-tables/huge-map.ts";
import { PAGE_KERNEL, type Protection } from "../page-tables/protection.ts";
import type { AreaRequest } from "./alloc-vmap-area.ts";
import { VM_ALLOC, VM_ALLOW_HUGE_VMAP, VM_UNINITIALIZED, VM_USERMAP } from "./areas/vm-structs.ts";
import { NofailTries } from "./nofail.ts";
import { __getVmAreaNode, allocVmArea, failsFor, newVmStruct, tieUnderLock, UNKNOWN_CALLER } from "./vm-area.ts";
import { vmAreaAllocPages } from "./vm-area-alloc-pages.ts";
import { abandonVmArea } from "./vm-area-cleanup.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { vmapLargePagesRangeNoflush, vmapPagesRangeNoflush } from "./vmap-pages.ts";

/** Bytes of a pointer in an array of page pointers. */
const POINTER_BYTES = 8;

/** What is asked of `__vmalloc_node_range` beside the size and the caller. */
export interface VmallocRequest extends AreaRequest {
  readonly protection: Protection;
  /** Flags of the vm_struct. */
  readonly flags: number;
  /** The preferred NUMA node, or `NUMA_NO_NODE`. */
  readonly node: number;
}

/** What `vmalloc` asks for: kernel memory for data anywhere in the vmalloc range. */
export const VMALLOC_REQUEST: VmallocRequest = {
  align: 1,
  range: VMALLOC_RANGE,
  gfp: GFP_KERNEL,
  protection: PAGE_KERNEL,
  flags: 0,
  node: NUMA_NO_NODE,
};

const ZEROED: VmallocRequest = { ...VMALLOC_REQUEST, gfp: GFP_KERNEL | __GFP_ZERO };
const BELOW_4G: VmallocRequest = { ...VMALLOC_REQUEST, gfp: GFP_KERNEL | GFP_DMA32_ZONE };
/** Aligned to `SHMLBA`, a page on x86, so that user mappings of it share cache lines. */
const FOR_USER: VmallocRequest = { ...ZEROED, align: PAGE_SIZE, flags: VM_USERMAP };
const FOR_USER_BELOW_4G: VmallocRequest = { ...FOR_USER, gfp: GFP_KERNEL | GFP_DMA32_ZONE | __GFP_ZERO };

/** `vmalloc`: `sizeBytes` bytes, rounded up to whole pages; the address, or 0 (NULL). */
export function vmalloc(state: Vmalloc, sizeBytes: number, caller?: string): Blocking<number> {
  return __vmallocNodeRange(state, sizeBytes, VMALLOC_REQUEST, caller);
}

/** `vzalloc`: memory filled with zeros; the address, or 0 (NULL). */
export function vzalloc(state: Vmalloc, sizeBytes: number, caller?: string): Blocking<number> {
  return __vmallocNodeRange(state, sizeBytes, ZEROED, caller);
}

/** `vmalloc_node`: from a preferred NUMA node. */
export function vmallocNode(state: Vmalloc, sizeBytes: number, node: number, caller?: string): Blocking<number> {
  return __vmallocNodeRange(state, sizeBytes, { ...VMALLOC_REQUEST, node }, caller);
}

/** `vzalloc_node`: from a preferred NUMA node, filled with zeros. */
export function vzallocNode(state: Vmalloc, sizeBytes: number, node: number, caller?: string): Blocking<number> {
  return __vmallocNodeRange(state, sizeBytes, { ...ZEROED, node }, caller);
}

/** `__vmalloc`: with allocation flags. */
export function __vmalloc(state: Vmalloc, sizeBytes: number, gfp: number, caller?: string): Blocking<number> {
  return __vmallocNodeRange(state, sizeBytes, { ...VMALLOC_REQUEST, gfp }, caller);
}

/** `__vmalloc_node`: with an alignment, allocation flags and a preferred NUMA node. */
export function __vmallocNode(
  state: Vmalloc,
  sizeBytes: number,
  align: number,
  gfp: number,
  node: number,
  caller?: string,
): Blocking<number> {
  return __vmallocNodeRange(state, sizeBytes, { ...VMALLOC_REQUEST, align, gfp, node }, caller);
}

/** `vmalloc_huge`: mapped with 2 MiB pages where the size and `vmap_allow_huge` allow it. */
export function vmallocHuge(state: Vmalloc, sizeBytes: number, gfp = GFP_KERNEL, caller?: string): Blocking<number> {
  return __vmallocNodeRange(state, sizeBytes, { ...VMALLOC_REQUEST, gfp, flags: VM_ALLOW_HUGE_VMAP }, caller);
}

/** `vmalloc_user`: zeroed memory that may be mapped into a user address space. */
export function vmallocUser(state: Vmalloc, sizeBytes: number, caller?: string): Blocking<number> {
  return __vmallocNodeRange(state, sizeBytes, FOR_USER, caller);
}

/** `vmalloc_32`: memory below 4 GiB. */
export function vmalloc32(state: Vmalloc, sizeBytes: number, caller?: string): Blocking<number> {
  return __vmallocNodeRange(state, sizeBytes, BELOW_4G, caller);
}

/** `vmalloc_32_user`: zeroed memory below 4 GiB that may be mapped into a user address space. */
export function vmalloc32User(state: Vmalloc, sizeBytes: number, caller?: string): Blocking<number> {
  return __vmallocNodeRange(state, sizeBytes, FOR_USER_BELOW_4G, caller);
}

/**
 * `__vmalloc_node_range`: the general form. Tries 2 MiB pages first where allowed and worth it, then single frames.
 * @returns the address, or 0 (NULL) with everything rolled back
 */
export function __vmallocNodeRange(
  state: Vmalloc,
  sizeBytes: number,
  request: VmallocRequest,
  caller: string = UNKNOWN_CALLER,
): Blocking<number> {
  return state.probes === null
    ? vmallocPages(state, sizeBytes, request, caller)
    : probedVmalloc(state, state.probes, sizeBytes, request, caller);
}

/** Apart, as a function object in `__vmallocNodeRange` would cost the host an allocation for each call, probed or not. */
function probedVmalloc(
  state: Vmalloc,
  probes: CallProbes,
  sizeBytes: number,
  request: VmallocRequest,
  caller: string,
): Blocking<number> {
  const { align, range, gfp, flags, node } = request;
  const args = [sizeBytes, align, range.start, range.end, gfp, flags, node, caller];
  return probed(probes, "vmalloc", args, () => vmallocPages(state, sizeBytes, request, caller));
}

function vmallocPages(state: Vmalloc, sizeBytes: number, request: VmallocRequest, caller: string): Blocking<number> {
  if (!(sizeBytes > 0)) {
    state.log.warnOnce("vmalloc size 0", `vmalloc of ${sizeBytes} bytes`);
    return ready(0);
  }
  if (Math.floor(sizeBytes / PAGE_SIZE) > state.pages.totalPages) {
    warnAlloc(state.mm, request.gfp, `vmalloc error: size ${sizeBytes}, exceeds total pages`);
    return ready(0);
  }
  return (request.flags & VM_ALLOW_HUGE_VMAP) === 0 || !state.config.allowHuge
    ? attempt(state, sizeBytes, request, PAGE_SHIFT, caller)
    : hugeOrSmallPages(state, sizeBytes, request, caller);
}

/** 2 MiB pages where the size is worth it and there are any, else small ones. */
function hugeOrSmallPages(
  state: Vmalloc,
  sizeBytes: number,
  request: VmallocRequest,
  caller: string,
): Blocking<number> {
  const anyNode = request.node === NUMA_NO_NODE;
  const decidingBytes = anyNode ? state.version.hugeSizeOf(sizeBytes, state.pages.numaNodes) : sizeBytes;
  const isWorthIt = decidingBytes >= PMD_SIZE;
  const aligned = { ...request, align: Math.max(request.align, isWorthIt ? PMD_SIZE : PAGE_SIZE) };
  const address = attempt(state, sizeBytes, aligned, isWorthIt ? PMD_SHIFT : PAGE_SHIFT, caller);
  return isWorthIt ? afterCall(address, orSmallPages, state, sizeBytes, request, caller) : address;
}

/** The address of an area of large pages if there is one, else that of one of small pages. */
function orSmallPages(
  address: number,
  state: Vmalloc,
  sizeBytes: number,
  request: VmallocRequest,
  caller: string,
): Blocking<number> {
  return address === 0 ? attempt(state, sizeBytes, request, PAGE_SHIFT, caller) : ready(address);
}

/** Reserves an area and populates it with pages of 2^shift bytes; its address, or 0 with everything rolled back. */
function attempt(
  state: Vmalloc,
  sizeBytes: number,
  request: VmallocRequest,
  shift: number,
  caller: string,
): Blocking<number> {
  const uninitialized = state.mm.bugs.noVmUninitialized ? 0 : VM_UNINITIALIZED;
  const vm = newVmStruct(state, sizeBytes, VM_ALLOC | uninitialized | request.flags, request, caller);
  if (vm === 0) return orRetry(state, sizeBytes, request, shift, caller);
  // What `__get_vm_area_node` does, so that a call which waits for a lock has one thing to go on with, as in `vfree`.
  const area = allocVmArea(state, vm, shift, request);
  return isReady(area)
    ? withArea(resultOf(area), state, vm, request, shift)
    : afterCode(area, withArea, state, vm, request, shift);
}

/** Goes on with an area, or an errno where there is none, of which the vm_struct is released. */
function withArea(area: number, state: Vmalloc, vm: number, request: VmallocRequest, shift: number): Blocking<number> {
  if (area < 0) {
    const sizeBytes = state.vms.requestedSizeBytes[vm];
    const caller = state.vms.callerOf(vm);
    state.vms.release(vm);
    return orRetry(state, sizeBytes, request, shift, caller);
  }
  return state.version.tiesVmUnderLock
    ? afterCall(tieUnderLock(area, state, vm), tied, state, request, shift)
    : __vmallocAreaNode(state, vm, request, shift);
}

function tied(vm: number, state: Vmalloc, request: VmallocRequest, shift: number): Blocking<number> {
  return __vmallocAreaNode(state, vm, request, shift);
}

/** Says that there is no area, and returns 0; with `__GFP_NOFAIL` it is asked for again until there is one. */
function orRetry(
  state: Vmalloc,
  sizeBytes: number,
  request: VmallocRequest,
  shift: number,
  caller: string,
): Blocking<number> {
  const isNofail = (request.gfp & __GFP_NOFAIL) !== 0;
  const what = `vmalloc error: size ${sizeBytes}, vm_struct allocation failed${isNofail ? ". Retrying." : ""}`;
  warnAlloc(state.mm, request.gfp, what);
  return isNofail ? retryArea(state, sizeBytes, request, shift, caller) : ready(0);
}

function* retryArea(
  state: Vmalloc,
  sizeBytes: number,
  request: VmallocRequest,
  shift: number,
  caller: string,
): KernelCode<number> {
  const flags = VM_ALLOC | VM_UNINITIALIZED | request.flags;
  const tries = new NofailTries(state.mm, `room for ${sizeBytes} bytes`);
  let vm = 0;
  while (vm === 0) {
    yield* tries.next();
    vm = yield* wait(__getVmAreaNode(state, sizeBytes, shift, flags, request, caller));
  }
  return yield* wait(__vmallocAreaNode(state, vm, request, shift));
}

/** Allocates and maps the pages of a reserved area (`__vmalloc_area_node`); its address, or 0 with it freed. */
function __vmallocAreaNode(state: Vmalloc, vm: number, request: VmallocRequest, shift: number): Blocking<number> {
  const { gfp, node } = request;
  const arrayBytes = state.vms.arrayLength(vm) * POINTER_BYTES;
  if (arrayBytes <= PAGE_SIZE) {
    if (failsFor(state, gfp, "pageArray")) return failPageArray(state, vm, gfp);
    return populate(state, vm, request, shift);
  }
  const array = __vmallocNode(state, arrayBytes, 1, gfp & ~(GFP_DMA32_ZONE | __GFP_ZERO), node, state.vms.callerOf(vm));
  return afterCall(array, populateWithArray, state, vm, request, shift);
}

/** Goes on with the address of the array of page pointers, which is vmalloc'ed itself; 0 when there is none. */
function populateWithArray(
  array: number,
  state: Vmalloc,
  vm: number,
  request: VmallocRequest,
  shift: number,
): Blocking<number> {
  if (array === 0) return failPageArray(state, vm, request.gfp);
  state.vms.setPagesAddr(vm, array);
  return populate(state, vm, request, shift);
}

/** Takes the frames of an area, which has room for its page pointers, and maps them; its address, or 0 with it freed. */
function populate(state: Vmalloc, vm: number, request: VmallocRequest, shift: number): Blocking<number> {
  const { vms, pageArrays } = state;
  const { gfp, node } = request;
  const pages = vms.arrayLength(vm);
  const order = shift - PAGE_SHIFT;
  vms.pages[2 * vm] = pageArrays.take(pages);
  const cache = state.slabs.pageArrayCache(pages);
  if (cache !== null) vms.setArrayObject(vm, cache.kmemCacheAlloc());
  if (order > 0) vms.setPageOrder(vm, order);
  const got = vmAreaAllocPages(state, vm, pages, order, gfp, node);
  return isReady(got)
    ? mapArea(resultOf(got), state, vm, request, shift)
    : afterCode(got, mapArea, state, vm, request, shift);
}

/** Maps the frames of an area, if there are as many as it has pages; its address, or 0 with it freed. */
function mapArea(got: number, state: Vmalloc, vm: number, request: VmallocRequest, shift: number): Blocking<number> {
  if (got === state.vms.arrayLength(vm)) {
    state.loop.point("__vmalloc_area_node: pages are allocated");
    const mapped = mapPages(state, vm, request, shift);
    return isReady(mapped)
      ? finishArea(resultOf(mapped), state, vm, request, shift)
      : afterCode(mapped, finishArea, state, vm, request, shift);
  }
  if (shift === PAGE_SHIFT) {
    const what = `vmalloc error: size ${got * PAGE_SIZE}, failed to allocate pages`;
    warnAlloc(state.mm, areaPagesGfp(request.gfp), what);
  }
  return abandonVmArea(state, vm);
}

/** Maps all frames of an area (`vmap_pages_range`); 0 or an errno. */
function mapPages(state: Vmalloc, vm: number, { protection }: VmallocRequest, shift: number): Blocking<number> {
  const { vms, pageArrays, mm } = state;
  const start = vms.addr[vm];
  const end = start + vms.arrayLength(vm) * PAGE_SIZE;
  return shift === PAGE_SHIFT
    ? ready(vmapPagesRangeNoflush(mm, start, end, protection, pageArrays.frames, vms.pages[2 * vm]))
    : vmapLargePagesRangeNoflush(mm, start, end, protection, pageArrays.frames, vms.pages[2 * vm], shift);
}

/** Maps an area again and again whose page tables could not all be made, until they could. */
function* mapUntilDone(state: Vmalloc, vm: number, request: VmallocRequest, shift: number): KernelCode<number> {
  const { vms, tables } = state;
  const tries = new NofailTries(state.mm, "a page table");
  let mapped = -ENOMEM;
  while (mapped < 0) {
    // Linux maps over what the first try has mapped, which it then answers with -EBUSY for ever. Nobody has used it: no flush.
    const start = vms.addr[vm];
    tables.owed.waive(tables.vunmapRangeNoflush(start, start + vms.arrayLength(vm) * PAGE_SIZE));
    yield* tries.next();
    mapped = yield* wait(mapPages(state, vm, request, shift));
  }
  return mapped;
}

/** Declares an area complete whose pages are mapped (0), or frees it (an errno); its address, or 0. */
function finishArea(
  mapped: number,
  state: Vmalloc,
  vm: number,
  request: VmallocRequest,
  shift: number,
): Blocking<number> {
  const { vms } = state;
  const { gfp } = request;
  if (mapped === 0) {
    clearVmUninitializedFlag(state, vm);
    return ready(vms.addr[vm]);
  }
  if ((gfp & __GFP_NOFAIL) !== 0) {
    return afterCall(mapUntilDone(state, vm, request, shift), finishArea, state, vm, request, shift);
  }
  const bytes = vms.arrayLength(vm) * PAGE_SIZE;
  warnAlloc(state.mm, areaPagesGfp(gfp), `vmalloc error: size ${bytes}, failed to map pages`);
  return abandonVmArea(state, vm);
}

/** The area is complete (`clear_vm_uninitialized_flag`). */
function clearVmUninitializedFlag({ vms }: Vmalloc, vm: number): void {
  vms.flags[2 * vm] &= ~VM_UNINITIALIZED;
}

/** There is no room for the page pointers: says so, and frees the area. Returns 0 (NULL). */
function failPageArray(state: Vmalloc, vm: number, gfp: number): KernelCode<number> {
  const pages = state.vms.arrayLength(vm);
  const [bytes, arrayBytes] = [pages * PAGE_SIZE, pages * POINTER_BYTES];
  const what = `vmalloc error: size ${bytes}, failed to allocated page array size ${arrayBytes}`;
  warnAlloc(state.mm, areaPagesGfp(gfp), what);
  return abandonVmArea(state, vm);
}

/** The flags with which the pages of an area are allocated: from any zone unless a low one was asked for. */
function areaPagesGfp(gfp: number): number {
  return (gfp & (GFP_DMA_ZONE | GFP_DMA32_ZONE)) === 0 ? gfp | __GFP_HIGHMEM : gfp;
}
