/** `vfree` and `vunmap`: giving back what `vmalloc` and `vmap` returned. */
import type { KernelCode } from "../arch/event-loop.ts";
import { formatRange } from "./kernel-log.ts";
import { removeVmArea } from "./vm-area.ts";
import { VM_FLUSH_RESET_PERMS, VM_MAP_PUT_PAGES } from "./vm-structs.ts";
import { vmUnmapAliases } from "./vm-unmap-aliases.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/**
 * Unmaps vmalloc'ed memory, gives its frames back at once and its address range lazily. 0 (NULL) does nothing; an address
 * that was not vmalloc'ed is warned of, with no other effect.
 */
export function* vfree(state: Vmalloc, address: number): KernelCode<void> {
  if (address === 0) return;
  const { vms, pages, pageArrays } = state;
  state.loop.spend(state.costs.callCycles);
  const vm = yield* removeVmArea(state, address);
  if (vm === 0) {
    state.log.warn(`Trying to vfree() nonexistent vm area (${formatRange(address, address)})`);
    return;
  }
  if ((vms.flags[vm] & VM_FLUSH_RESET_PERMS) !== 0) yield* vmUnmapAliases(state);
  const count = vms.nrPages[vm];
  if (count > 0) {
    pages.freeBulk(state.loop.currentCpu, pageArrays.frames, vms.pages[vm], count, vms.pageOrder[vm]);
    state.loop.spend(count * state.costs.frameCycles);
    if ((vms.flags[vm] & VM_MAP_PUT_PAGES) === 0) state.nrVmallocPages -= count;
  }
  const arrayAddress = vms.pagesAddr[vm];
  if (vms.pages[vm] !== 0) pageArrays.giveBack(vms.pages[vm], vms.arrayLength(vm));
  vms.release(vm);
  if (arrayAddress !== 0) yield* vfree(state, arrayAddress);
}

/** Unmaps what `vmap` returned; the frames stay the caller's. */
export function* vunmap(state: Vmalloc, address: number): KernelCode<void> {
  if (address === 0) return;
  const vm = yield* removeVmArea(state, address);
  if (vm === 0) {
    state.log.warn(`Trying to vunmap() nonexistent vm area (${formatRange(address, address)})`);
    return;
  }
  state.vms.release(vm);
}
