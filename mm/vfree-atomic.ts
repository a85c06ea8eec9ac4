/** `vfree_atomic`: freeing from where nothing may sleep. The work is left to a worker of the same CPU. */
import type { KernelCode } from "../arch/event-loop.ts";
import { vfree } from "./vfree.ts";
import type { DeferredFrees, Vmalloc } from "./vmalloc-state.ts";
import { Work } from "./work.ts";

/** Puts an address on the current CPU's list and has a worker free it. 0 (NULL) does nothing. */
export function vfreeAtomic(state: Vmalloc, address: number): void {
  if (address === 0) return;
  const deferred = deferredOf(state, state.loop.currentCpu);
  deferred.addresses.push(address);
  if (deferred.addresses.length === 1) deferred.work.schedule();
}

function deferredOf(state: Vmalloc, cpu: number): DeferredFrees {
  let deferred = state.deferredFrees[cpu];
  if (deferred === undefined) {
    const addresses: number[] = [];
    deferred = { addresses, work: new Work("delayed_vfree_work", state.loop, () => freeAll(state, addresses)) };
    state.deferredFrees[cpu] = deferred;
  }
  return deferred;
}

/** Frees what is on a list, the latest first, as the kernel's lock-less list gives it back. */
function* freeAll(state: Vmalloc, addresses: number[]): KernelCode<void> {
  for (const address of addresses.splice(0).reverse()) yield* vfree(state, address);
}
