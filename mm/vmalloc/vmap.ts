/** `vmap`: the caller's frames at consecutive kernel addresses. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { wait } from "../kernel/blocking.ts";
import { probedCode } from "../kernel/call-probes.ts";
import { notExecutable, PAGE_KERNEL, type Protection } from "../page-tables/protection.ts";
import { VM_FLUSH_RESET_PERMS, VM_MAP, VM_MAP_PUT_PAGES, VM_NO_GUARD } from "./areas/vm-structs.ts";
import { vunmap } from "./vfree.ts";
import { getVmArea, UNKNOWN_CALLER } from "./vm-area.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { mapCallersFrames } from "./vmap-pages.ts";

/**
 * Maps `frames` (frame numbers, at least one), never executable. With `VM_MAP_PUT_PAGES` among the flags `vfree` gives the
 * frames back. `VM_FLUSH_RESET_PERMS` is refused and `VM_NO_GUARD` ignored, with a warning.
 * @returns the address, or 0 (NULL)
 */
export function vmap(
  state: Vmalloc,
  frames: Uint32Array,
  flags: number = VM_MAP,
  protection: Protection = PAGE_KERNEL,
  caller: string = UNKNOWN_CALLER,
): KernelCode<number> {
  const { probes } = state;
  const code = mapFrames(state, frames, flags, protection, caller);
  return probes === null ? code : probedCode(probes, "vmap", [frames.length, flags], code);
}

function* mapFrames(
  state: Vmalloc,
  frames: Uint32Array,
  flags: number,
  protection: Protection,
  caller: string,
): KernelCode<number> {
  const count = frames.length;
  if ((flags & VM_FLUSH_RESET_PERMS) !== 0) {
    state.log.warnOnce("vmap VM_FLUSH_RESET_PERMS", "vmap with VM_FLUSH_RESET_PERMS");
    return 0;
  }
  let vmFlags = flags;
  if ((flags & VM_NO_GUARD) !== 0) {
    state.log.warnOnce("vmap VM_NO_GUARD", "vmap with VM_NO_GUARD: it gets a guard page all the same");
    vmFlags &= ~VM_NO_GUARD;
  }
  if (count > state.pages.totalPages) return 0;
  const { vms, pageArrays } = state;
  const vm = yield* wait(getVmArea(state, count * PAGE_SIZE, vmFlags, caller));
  if (vm === 0) return 0;
  const start = vms.addr[vm];
  const result = mapCallersFrames(state.mm, start, start + count * PAGE_SIZE, notExecutable(protection), frames);
  if (result < 0) {
    yield* wait(vunmap(state, start));
    return 0;
  }
  if ((flags & VM_MAP_PUT_PAGES) !== 0) {
    const array = pageArrays.take(count);
    pageArrays.frames.set(frames, array);
    vms.pages[2 * vm] = array;
    vms.nrPages[2 * vm] = count;
  }
  return start;
}
