/** Freeing areas whose allocation failed half way: at once, or by a work item (`defer_vm_area_cleanup`), as the version has it. */
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { wait } from "../kernel/blocking.ts";
import { vfree } from "./vfree.ts";
import { freeVmArea } from "./vm-area.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Frees a half-made area with whatever it has, or leaves it to the work item. Returns 0 (NULL), which the allocation returns. */
export function* abandonVmArea(state: Vmalloc, vm: number): KernelCode<number> {
  if (state.version.failedAreasFreedByWork) {
    state.failedAreas.push(vm);
    state.cleanupWork?.schedule();
  } else {
    yield* wait(vfree(state, state.vms.addr[vm]));
  }
  return 0;
}

/** Frees what has been left to it, the latest first, as the kernel's lock-less list gives it back (`cleanup_vm_area_work`). */
export function* cleanupVmAreaWork(state: Vmalloc): KernelCode<void> {
  const { vms } = state;
  for (const vm of state.failedAreas.splice(0).reverse()) {
    if (vms.pages[2 * vm] === 0) yield* freeVmArea(state, vm);
    else yield* wait(vfree(state, vms.addr[vm]));
  }
}
