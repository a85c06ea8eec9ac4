/** `vfree`, `vfree_atomic` and `vunmap`: giving back what `vmalloc` and `vmap` returned. */

import { formatLinearAddress16, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { afterCode, type Blocking, DONE, isReady, resultOf, wait } from "../kernel/blocking.ts";
import { type CallProbes, probed, probedCode } from "../kernel/call-probes.ts";
import { Work } from "../kernel/work.ts";
import { ADDRESS_MAX } from "../lib/memory-layout.ts";
import { directMapAddress } from "../page-tables/direct-map.ts";
import { VM_FLUSH_RESET_PERMS, VM_MAP_PUT_PAGES } from "./areas/vm-structs.ts";
import { freeUnmapVmapArea } from "./free-vmap-area.ts";
import { setDirectMapValidNoflush } from "./set-memory.ts";
import {
  detachVm,
  findThenRemoveVmArea,
  isRemovedInSteps,
  releaseWithoutPages,
  removeVmArea,
  unlinkVmArea,
} from "./vm-area.ts";
import { _vmUnmapAliases } from "./vm-unmap-aliases.ts";
import type { DeferredFrees, Vmalloc } from "./vmalloc-state.ts";

/**
 * Unmaps vmalloc'ed memory, gives its frames back at once and its address range lazily. 0 (NULL) does nothing; an address
 * that was not vmalloc'ed is warned of, with no other effect. In an interrupt handler it is {@link vfreeAtomic}.
 */
export function vfree(state: Vmalloc, address: number): Blocking<void> {
  if (address === 0) return DONE;
  if (state.loop.currentThread === null) {
    // In an interrupt handler nothing may sleep.
    vfreeAtomic(state, address);
    return DONE;
  }
  return state.probes === null ? unmapAndFree(state, address) : probedVfree(state, state.probes, address);
}

/** Apart, as a function object in `vfree` would cost the host an allocation for each call, probed or not. */
function probedVfree(state: Vmalloc, probes: CallProbes, address: number): Blocking<void> {
  return probed(probes, "vfree", [address], () => unmapAndFree(state, address));
}

/**
 * `remove_vm_area` and what comes after it, in one: a call that waits for a lock then has one thing to go on with, not one for each function. With several
 * CPUs each vmalloc and vfree waits for some.
 */
function unmapAndFree(state: Vmalloc, address: number): Blocking<void> {
  state.loop.spend(state.costs.callCycles);
  if (isRemovedInSteps(state) || state.mm.bugs.removeVmAreaFindsTwice) return removeAndFree(state, address);
  const area = unlinkVmArea(state, address);
  return isReady(area) ? freeArea(resultOf(area), state, address) : afterCode(area, freeArea, state, address);
}

/** As it was until 6.2, when it looked for the area, and then again to remove it (`__vunmap`), or with a former bug. */
function* removeAndFree(state: Vmalloc, address: number): KernelCode<void> {
  const findsFirst = state.version.vfreeFindsFirst || state.mm.bugs.removeVmAreaFindsTwice;
  const vm = findsFirst ? yield* findThenRemoveVmArea(state, address) : yield* wait(removeVmArea(state, address));
  if (vm === 0) warnNothingThere(state, address);
  else yield* wait(freeVm(undefined, state, vm));
}

/** Frees an area that was taken out of its tree at `address`, with its pages; 0 is warned of. */
function freeArea(area: number, state: Vmalloc, address: number): Blocking<void> {
  if (area === 0) {
    warnNothingThere(state, address);
    return DONE;
  }
  const vm = detachVm(state, area);
  const freed = freeUnmapVmapArea(state, area);
  return isReady(freed) ? freeVm(undefined, state, vm) : afterCode(freed, freeVm, state, vm);
}

function warnNothingThere(state: Vmalloc, address: number): void {
  state.log.warn(`Trying to vfree() nonexistent vm area (${formatLinearAddress16(address)})`);
}

/** Frees a vm_struct whose area is freed, with its pages. */
function freeVm(_areaFreed: unknown, state: Vmalloc, vm: number): Blocking<void> {
  return (state.vms.flags[2 * vm] & VM_FLUSH_RESET_PERMS) === 0
    ? freePages(state, vm)
    : resetPermsAndFreePages(state, vm);
}

function* resetPermsAndFreePages(state: Vmalloc, vm: number): KernelCode<void> {
  yield* vmResetPerms(state, vm);
  yield* wait(freePages(state, vm));
}

/**
 * Resets the rights of pages that were changed (`vm_reset_perms`). They leave the direct map while one flush covers their addresses there
 * and what was lazily freed; then they come back, writable. Best effort, as in Linux: where there is no memory to split a large page of
 * the direct map, its rights stay.
 */
function* vmResetPerms(state: Vmalloc, vm: number): KernelCode<void> {
  const { vms, pageArrays } = state;
  let start = ADDRESS_MAX;
  let end = 0;
  for (let i = 0; i < vms.nrPages[2 * vm]; i++) {
    const direct = directMapAddress(pageArrays.frames[vms.pages[2 * vm] + i] * PAGE_SIZE);
    start = Math.min(start, direct);
    end = Math.max(end, direct + PAGE_SIZE);
  }
  yield* setAreaDirectMap(state, vm, false);
  yield* _vmUnmapAliases(state, start, end, vms.nrPages[2 * vm] > 0);
  yield* setAreaDirectMap(state, vm, true);
}

/** Takes each page of an area out of the direct map, or puts it back (`set_area_direct_map`). */
function* setAreaDirectMap(state: Vmalloc, vm: number, valid: boolean): KernelCode<void> {
  const { vms, pageArrays } = state;
  for (let i = 0; i < vms.nrPages[2 * vm]; i++) {
    yield* setDirectMapValidNoflush(state, pageArrays.frames[vms.pages[2 * vm] + i], 1, valid);
  }
}

function freePages(state: Vmalloc, vm: number): Blocking<void> {
  const { vms, pages, pageArrays } = state;
  const array = vms.pages[2 * vm];
  const count = vms.nrPages[2 * vm];
  if (count > 0) {
    pages.freeAreaFrames(state.loop.currentCpu, pageArrays.frames, array, count, vms.isOfOneZone(vm));
    state.mm.spendOnFreedPages(count);
    if ((vms.flags[2 * vm] & VM_MAP_PUT_PAGES) === 0) state.addNrVmallocPages(-count);
  }
  if (array !== 0) {
    const length = vms.arrayLength(vm);
    pageArrays.giveBack(array, length);
    state.slabs.pageArrayCache(length)?.kmemCacheFree(vms.arrayObjectOf(vm));
  }
  state.loop.spend(2 * state.costs.pages.slabCycles);
  const arrayAddress = vms.pagesAddrOf(vm);
  vms.release(vm);
  return arrayAddress !== 0 ? vfree(state, arrayAddress) : DONE;
}

/** `vfree_atomic`: puts an address on the current CPU's list and has a worker free it. 0 (NULL) does nothing. */
export function vfreeAtomic(state: Vmalloc, address: number): void {
  if (address === 0) return;
  const deferred = deferredOf(state, state.loop.currentCpu);
  deferred.addresses.push(address);
  if (deferred.addresses.length === 1) deferred.work.schedule();
}

/** What `vfreeAtomic` has put off on a CPU. */
export function deferredOf(state: Vmalloc, cpu: number): DeferredFrees {
  let deferred = state.deferredFrees[cpu];
  if (deferred === undefined) {
    const addresses: number[] = [];
    deferred = {
      addresses,
      work: new Work("delayed_vfree_work", state.loop, () => delayedVfreeWork(state, addresses)),
    };
    state.deferredFrees[cpu] = deferred;
  }
  return deferred;
}

/** Frees what is on a list, the latest first, as the kernel's lock-less list gives it back. */
function* delayedVfreeWork(state: Vmalloc, addresses: number[]): KernelCode<void> {
  for (const address of addresses.splice(0).reverse()) yield* wait(vfree(state, address));
}

/** Unmaps what `vmap` returned; the frames stay the caller's. */
export function vunmap(state: Vmalloc, address: number): KernelCode<void> {
  const { probes } = state;
  const code = unmapFrames(state, address);
  return probes === null ? code : probedCode(probes, "vunmap", [address], code);
}

function* unmapFrames(state: Vmalloc, address: number): KernelCode<void> {
  if (address === 0) return;
  const vm = state.version.vfreeFindsFirst
    ? yield* findThenRemoveVmArea(state, address)
    : yield* wait(removeVmArea(state, address));
  if (vm === 0) {
    state.log.warn(`Trying to vunmap() nonexistent vm area (${formatLinearAddress16(address)})`);
    return;
  }
  releaseWithoutPages(state, vm);
}
