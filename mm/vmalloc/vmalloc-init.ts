/** Bringing vmalloc up (`vmalloc_init`, `preallocate_vmalloc_pages`). */

import { LEVEL_BYTES } from "../../arch/isa/linear-address.ts";
import { Work } from "../kernel/work.ts";
import { MODULES_END, MODULES_VADDR, VMALLOC_END, VMALLOC_START } from "../lib/memory-layout.ts";
import { NotEnoughMemory } from "../lib/not-enough-memory.ts";
import { drainVmapAreaWork } from "./purge.ts";
import { cleanupVmAreaWork } from "./vm-area-cleanup.ts";
import { Vmalloc, type VmallocParts } from "./vmalloc-state.ts";
import { registerVmapNodeShrinker } from "./vmap-node-shrinker.ts";

/**
 * Ranges whose top-level entries are there from boot on, so that each address space gets them when it is made: the vmalloc range
 * (`preallocate_vmalloc_pages`), and the modules, which share theirs with the kernel's text (`level3_kernel_pgt`).
 */
const PREALLOCATED_RANGES = [
  [VMALLOC_START, VMALLOC_END],
  [MODULES_VADDR, MODULES_END],
] as const;

/**
 * vmalloc with the whole address space free and the upper page tables of its ranges in place.
 * @throws NotEnoughMemory when there is no memory for those tables
 */
export function vmallocInit(parts: VmallocParts): Vmalloc {
  const state = new Vmalloc(parts);
  for (const [start, end] of PREALLOCATED_RANGES) {
    for (let la = start; la < end; la += LEVEL_BYTES[4]) {
      if (!parts.mm.tables.cursor.make(la, 3)) throw new NotEnoughMemory("no memory for the page tables of vmalloc");
    }
  }
  state.vmapInitFreeSpace();
  if (state.version.hasVmapNodes) registerVmapNodeShrinker(state);
  state.drainWork = new Work("drain_vmap_area_work", state.loop, () => drainVmapAreaWork(state));
  state.cleanupWork = new Work("cleanup_vm_area_work", state.loop, () => cleanupVmAreaWork(state));
  return state;
}
