/** `vmap`: the caller's frames at consecutive kernel addresses. */
import type { KernelCode } from "../arch/event-loop.ts";
import { PAGE_SIZE } from "../arch/linear-address.ts";
import { PAGE_KERNEL, type Protection } from "./protection.ts";
import { vunmap } from "./vfree.ts";
import { getVmArea, UNKNOWN_CALLER } from "./vm-area.ts";
import { VM_MAP, VM_MAP_PUT_PAGES } from "./vm-structs.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { mapSmallFrames } from "./vmap-pages.ts";

/**
 * Maps `frames` (frame numbers, at least one). With `VM_MAP_PUT_PAGES` among the flags `vfree` gives the frames back.
 * @returns the address, or 0 (NULL)
 */
export function* vmap(
  state: Vmalloc,
  frames: Uint32Array,
  flags: number = VM_MAP,
  protection: Protection = PAGE_KERNEL,
  caller: string = UNKNOWN_CALLER,
): KernelCode<number> {
  const count = frames.length;
  if (count === 0 || count > state.pages.totalPages) return 0;
  const { vms, pageArrays } = state;
  const vm = yield* getVmArea(state, count * PAGE_SIZE, flags, caller);
  if (vm === 0) return 0;
  const start = vms.addr[vm];
  const result = mapSmallFrames(state, start, start + count * PAGE_SIZE, protection, frames, 0);
  if (result < 0) {
    yield* vunmap(state, start);
    return 0;
  }
  if ((flags & VM_MAP_PUT_PAGES) !== 0) {
    const array = pageArrays.take(count);
    pageArrays.frames.set(frames, array);
    vms.pages[vm] = array;
    vms.nrPages[vm] = count;
  }
  return start;
}
