/** `vfree` and `vunmap`: giving back what `vmalloc` and `vmap` returned. */
import type { KernelCode } from "../arch/event-loop.ts";
import { formatRange } from "./kernel-log.ts";
import { finish, type Soon } from "./soon.ts";
import { removeVmArea, removeVmAreaSoon } from "./vm-area.ts";
import { VM_FLUSH_RESET_PERMS, VM_MAP_PUT_PAGES } from "./vm-structs.ts";
import { vmUnmapAliases } from "./vm-unmap-aliases.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { warmForFree } from "./warm.ts";

/**
 * Unmaps vmalloc'ed memory, gives its frames back at once and its address range lazily. 0 (NULL) does nothing; an address
 * that was not vmalloc'ed is warned of, with no other effect.
 */
export function* vfree(state: Vmalloc, address: number): KernelCode<void> {
  const rest = vfreeSoon(state, address);
  if (rest !== undefined) yield* rest;
}

/** The same, as a plain function as long as nothing has to be waited for (`soon.ts`). */
export function vfreeSoon(state: Vmalloc, address: number): Soon<undefined> {
  if (address === 0) return undefined;
  state.loop.spend(state.costs.callCycles);
  warmForFree(state, address);
  const vm = removeVmAreaSoon(state, address);
  return typeof vm === "number" ? freeVm(state, vm, address) : waitForRemoval(state, vm, address);
}

function* waitForRemoval(state: Vmalloc, vm: KernelCode<number>, address: number): KernelCode<undefined> {
  return yield* finish(freeVm(state, yield* vm, address));
}

/** Frees a vm_struct that was removed from `address`, with its pages; 0 is warned of. */
function freeVm(state: Vmalloc, vm: number, address: number): Soon<undefined> {
  if (vm === 0) {
    state.log.warn(`Trying to vfree() nonexistent vm area (${formatRange(address, address)})`);
    return undefined;
  }
  if ((state.vms.flags[vm] & VM_FLUSH_RESET_PERMS) !== 0) return flushAndFreePages(state, vm);
  return freePages(state, vm);
}

function* flushAndFreePages(state: Vmalloc, vm: number): KernelCode<undefined> {
  yield* vmUnmapAliases(state);
  return yield* finish(freePages(state, vm));
}

function freePages(state: Vmalloc, vm: number): Soon<undefined> {
  const { vms, pages, pageArrays } = state;
  const array = vms.pages[vm];
  const count = vms.nrPages[vm];
  if (count > 0) {
    pages.freeAreaFrames(state.loop.currentCpu, pageArrays.frames, array, count, vms.isOfOneZone(vm));
    state.loop.spend(count * state.costs.frameCycles);
    if ((vms.flags[vm] & VM_MAP_PUT_PAGES) === 0) state.nrVmallocPages -= count;
  }
  if (array !== 0) pageArrays.giveBack(array, vms.arrayLength(vm));
  const arrayAddress = vms.pagesAddrOf(vm);
  vms.release(vm);
  return arrayAddress !== 0 ? vfreeSoon(state, arrayAddress) : undefined;
}

/** Unmaps what `vmap` returned; the frames stay the caller's. */
export function* vunmap(state: Vmalloc, address: number): KernelCode<void> {
  if (address === 0) return;
  const vm = yield* removeVmArea(state, address);
  if (vm === 0) {
    state.log.warn(`Trying to vunmap() nonexistent vm area (${formatRange(address, address)})`);
    return;
  }
  yield* releaseVm(state, vm, "vunmap");
}

/**
 * Releases a vm_struct removed by a call that is not for areas with pages of their own. Where there are such pages, the
 * caller should have used `vfree`: the kernel would lose them; here it is warned of, and they are freed.
 */
export function* releaseVm(state: Vmalloc, vm: number, call: string): KernelCode<void> {
  if (state.vms.nrPages[vm] > 0) {
    const start = state.vms.addr[vm];
    state.log.warn(`${call}() of vmalloc'ed memory (${formatRange(start, start)})`);
  }
  yield* finish(freePages(state, vm));
}
