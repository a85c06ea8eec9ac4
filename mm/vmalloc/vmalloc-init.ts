/** Bringing vmalloc up (`vmalloc_init`, `preallocate_vmalloc_pages`). */

import { LEVEL_BYTES } from "../../arch/isa/linear-address.ts";
import { Work } from "../kernel/work.ts";
import { VMALLOC_END, VMALLOC_START } from "../lib/memory-layout.ts";
import { NotEnoughMemory } from "../lib/not-enough-memory.ts";
import { drainVmapAreaWork } from "./purge.ts";
import { Vmalloc, type VmallocParts } from "./vmalloc-state.ts";

/**
 * vmalloc with the whole address space free and the upper page tables of its range in place.
 * @throws NotEnoughMemory when there is no memory for those tables
 */
export function vmallocInit(parts: VmallocParts): Vmalloc {
  const state = new Vmalloc(parts);
  for (let la = VMALLOC_START; la < VMALLOC_END; la += LEVEL_BYTES[4]) {
    if (!parts.mm.tables.cursor.make(la, 3))
      throw new NotEnoughMemory("no memory for the page tables of the vmalloc range");
  }
  state.vmapInitFreeSpace();
  state.drainWork = new Work("drain_vmap_area_work", state.loop, () => drainVmapAreaWork(state));
  return state;
}
