/**
 * Loading ahead, for the host's sake only: with many live areas each first look at one of their arrays is a cache miss of 100
 * to 250 ns, and code that looks at them one by one waits for each. Read here together, as soon as their indices are known,
 * the misses overlap. Nothing is changed; what is read is summed up only so that the compiler cannot leave it out.
 * Measured: a million live areas, vfree and vmalloc of one page; see `bench/vmalloc.ts`.
 */
import type { Vmalloc } from "./vmalloc-state.ts";

/** With fewer live areas the host's caches hold everything that matters. */
const LIVE_AREAS_MIN = 8192;

let sum = 0;

/** Reads what `vfree(address)` is going to look at, unless it has just been written. */
export function warmForFree(state: Vmalloc, address: number): void {
  const { areas, vms, pageArrays, tables } = state;
  if (areas.liveCount < LIVE_AREAS_MIN || address === state.newestStart) return;
  sum = (sum + tables.peekLeaf(address)) | 0;
  const area = state.addrToNode(address).busy.findStart(address);
  if (area === 0) return;
  const vm = areas.uses[2 * area + 1];
  sum = (sum + areas.end[area] + vms.flags[vm] + vms.sizeBytes[vm] + pageArrays.frames[vms.pages[vm]]) | 0;
}
