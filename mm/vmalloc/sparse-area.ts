/** Sparse areas (`VM_SPARSE`): address space reserved once, of which pages are mapped and unmapped piece by piece. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { E2BIG, EINVAL, ERANGE } from "../lib/errno.ts";
import { PAGE_KERNEL } from "../page-tables/protection.ts";
import { VM_FLUSH_RESET_PERMS, VM_NO_GUARD, VM_SPARSE } from "./areas/vm-structs.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { mapCallersFrames, vunmapRange } from "./vmap-pages.ts";

/**
 * Maps frames at [start, end) of a sparse area (`vm_area_map_pages`).
 * @returns 0, or -EINVAL (not sparse), -E2BIG, -ERANGE (outside the area), -ENOMEM, -EBUSY
 */
export function vmAreaMapPages(state: Vmalloc, vm: number, start: number, end: number, frames: Uint32Array): number {
  const error = checkSparse(state, vm, start, end);
  if (error !== 0) return error;
  return mapCallersFrames(state.mm, start, end, PAGE_KERNEL, frames.subarray(0, (end - start) / PAGE_SIZE));
}

/** Unmaps [start, end) of a sparse area and flushes it at once (`vm_area_unmap_pages`). */
export function* vmAreaUnmapPages(state: Vmalloc, vm: number, start: number, end: number): KernelCode<void> {
  if (checkSparse(state, vm, start, end) !== 0) return;
  yield* vunmapRange(state.mm, start, end);
}

function checkSparse(state: Vmalloc, vm: number, start: number, end: number): number {
  const { vms } = state;
  const flags = vms.flags[2 * vm];
  if ((flags & (VM_FLUSH_RESET_PERMS | VM_NO_GUARD)) !== 0 || (flags & VM_SPARSE) === 0) {
    state.log.warnOnce(
      "check_sparse_vm_area",
      `the area's flags 0x${flags.toString(16)} are not those of a sparse area`,
    );
    return -EINVAL;
  }
  if ((end - start) / PAGE_SIZE > state.pages.totalPages) return -E2BIG;
  if (start < vms.addr[vm] || end > vms.addr[vm] + vms.usableSizeBytes(vm)) return -ERANGE;
  return 0;
}
