/** `vmap_pfn`: physical frames without memory management behind them (device memory) at consecutive addresses. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { wait } from "../kernel/blocking.ts";
import { notExecutable, type Protection } from "../page-tables/protection.ts";
import { VM_IOREMAP } from "./areas/vm-structs.ts";
import { freeVmArea, getVmArea } from "./vm-area.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Marks a leaf whose frame has no `struct page` (`_PAGE_SPECIAL`, an ignored bit). */
const PTE_SPECIAL = 1 << 9;

/**
 * Maps frame numbers that are not RAM, never executable; one that is warned of, and nothing is mapped.
 * @returns the address, or 0 (NULL)
 */
export function* vmapPfn(
  state: Vmalloc,
  pfns: ArrayLike<number>,
  protection: Protection,
  caller?: string,
): KernelCode<number> {
  const { vms, tables } = state;
  const vm = yield* wait(getVmArea(state, pfns.length * PAGE_SIZE, VM_IOREMAP, caller));
  if (vm === 0) return 0;
  const start = vms.addr[vm];
  const { high: protHigh } = notExecutable(protection);
  const protLow = (protection.low & state.mm.kernelPteMask) | PTE_SPECIAL;
  state.loop.spend(pfns.length * state.costs.entryWriteCycles);
  for (let i = 0; i < pfns.length; i++) {
    const la = start + i * PAGE_SIZE;
    const isRam = tables.memory.has(pfns[i]);
    if (isRam) state.log.warnOnce("vmap_pfn", `vmap_pfn of frame 0x${pfns[i].toString(16)}, which is RAM`);
    if (isRam || !tables.cursor.make(la, 1)) {
      yield* freeVmArea(state, vm);
      return 0;
    }
    tables.cursor.writeLeaf(pfns[i], protLow, protHigh);
  }
  return start;
}
