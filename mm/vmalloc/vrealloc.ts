/** `vrealloc`: another size for vmalloc'ed memory. */

import { ACCESS_LOAD, ACCESS_STORE } from "../../arch/isa/access.ts";
import { formatLinearAddress16, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { wait } from "../kernel/blocking.ts";
import { probedCode } from "../kernel/call-probes.ts";
import { POINT_FREES_FRAMES } from "../kernel/points.ts";
import { __GFP_ZERO, GFP_KERNEL } from "../lib/gfp.ts";
import { VM_FLUSH_RESET_PERMS, VM_USERMAP } from "./areas/vm-structs.ts";
import { vfree } from "./vfree.ts";
import { findVmArea } from "./vm-area.ts";
import { __vmalloc } from "./vmalloc.ts";
import { vmallocToPfn } from "./vmalloc-lookup.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { vunmapRange } from "./vmap-pages.ts";

/**
 * Memory of `sizeBytes` bytes with what `address` held, up to the smaller size. Shrinking, and growing into pages that
 * are there already, keep the address; where the version of the kernel does so, shrinking gives the pages of the tail back. With `__GFP_ZERO` the bytes given up are zeroed. 0 as address allocates, 0 as size
 * frees.
 * @returns the address, or 0 (NULL): then the old memory is still there
 */
export function vrealloc(
  state: Vmalloc,
  address: number,
  sizeBytes: number,
  gfp: number = GFP_KERNEL,
  caller?: string,
): KernelCode<number> {
  const { probes } = state;
  const code = resize(state, address, sizeBytes, gfp, caller);
  return probes === null ? code : probedCode(probes, "vrealloc", [address, sizeBytes, gfp], code);
}

function* resize(state: Vmalloc, address: number, sizeBytes: number, gfp: number, caller?: string): KernelCode<number> {
  if (sizeBytes === 0) {
    yield* wait(vfree(state, address));
    return 0;
  }
  let oldBytes = 0;
  if (address !== 0) {
    const { vms } = state;
    const vm = yield* findVmArea(state, address);
    if (vm === 0) {
      state.log.warn(`Trying to vrealloc() nonexistent vm area (${formatLinearAddress16(address)})`);
      return 0;
    }
    oldBytes = vms.requestedSizeBytes[vm];
    const { vreallocFreesTail } = state.version;
    const haveBytes = vreallocFreesTail ? vms.nrPages[2 * vm] * PAGE_SIZE : vms.usableSizeBytes(vm);
    if (sizeBytes <= haveBytes) {
      if (sizeBytes < oldBytes && (gfp & __GFP_ZERO) !== 0) fillZero(state, address + sizeBytes, oldBytes - sizeBytes);
      if (vreallocFreesTail) yield* freeTail(state, vm, Math.ceil(sizeBytes / PAGE_SIZE));
      vms.requestedSizeBytes[vm] = sizeBytes;
      return address;
    }
  }
  const grown = yield* wait(__vmalloc(state, sizeBytes, gfp, caller));
  if (grown === 0) return 0;
  if (address !== 0) {
    copyBytes(state, address, grown, oldBytes);
    yield* wait(vfree(state, address));
  }
  return grown;
}

/**
 * Gives the pages of an area from the one numbered `keepPages` on back: unmapped, flushed, then freed. The area and its array of page
 * pointers stay as they are. Areas of large pages, of which user mappings exist, or whose permissions were changed keep all.
 */
function* freeTail(state: Vmalloc, vm: number, keepPages: number): KernelCode<void> {
  const { vms, pageArrays, pages } = state;
  const had = vms.nrPages[2 * vm];
  const keepsAll = vms.pageOrderOf(vm) > 0 || (vms.flags[2 * vm] & (VM_FLUSH_RESET_PERMS | VM_USERMAP)) !== 0;
  if (keepPages >= had || keepsAll) return;
  const start = vms.addr[vm];
  yield* vunmapRange(state.mm, start + keepPages * PAGE_SIZE, start + had * PAGE_SIZE);
  const tail = vms.pages[2 * vm] + keepPages;
  state.loop.point(POINT_FREES_FRAMES, pageArrays.frames.subarray(tail, tail + had - keepPages));
  pages.freeAreaFrames(state.loop.currentCpu, pageArrays.frames, tail, had - keepPages, vms.isOfOneZone(vm));
  state.mm.spendOnFreedPages(had - keepPages);
  state.addNrVmallocPages(keepPages - had);
  vms.nrPages[2 * vm] = keepPages;
}

/**
 * Copies kernel memory as `memcpy` does, by loads and stores of the current CPU; both ranges begin at a page.
 * @throws PageFault where nothing is mapped: behind an address from within an area comes its guard page
 */
function copyBytes(state: Vmalloc, from: number, to: number, bytes: number): void {
  const { systemMemory, cpus } = state.machine;
  const cpu = cpus[state.loop.currentCpu];
  for (let at = 0; at < bytes; at += PAGE_SIZE) {
    const source = systemMemory.frameBytes(cpu.touchAs(ACCESS_LOAD, from + at) / PAGE_SIZE);
    const length = Math.min(PAGE_SIZE, bytes - at);
    systemMemory.frameBytes(cpu.touchAs(ACCESS_STORE, to + at) / PAGE_SIZE).set(source.subarray(0, length));
  }
}

function fillZero(state: Vmalloc, from: number, bytes: number): void {
  const { memory } = state.tables;
  const end = from + bytes;
  for (let at = from; at < end; ) {
    const offset = at % PAGE_SIZE;
    const length = Math.min(PAGE_SIZE - offset, end - at);
    memory.frameBytes(vmallocToPfn(state, at)).fill(0, offset, offset + length);
    at += length;
  }
}
