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

/** Reads what `vfree(address)` is going to look at. */
export function warmForFree(state: Vmalloc, address: number): void {
  const { areas, vms, pageArrays, tables } = state;
  if (areas.liveCount < LIVE_AREAS_MIN) return;
  const area = state.nodeOf(address).busy.startsAt(address);
  sum = (sum + tables.peekLeaf(address)) | 0;
  if (area === 0) return;
  const vm = areas.uses[2 * area + 1];
  const before = areas.links[2 * area + 1];
  const behind = areas.links[2 * area];
  const above = areas.parent[area];
  const pages = vms.pages[vm];
  sum =
    (sum +
      areas.start[area] +
      areas.end[area] +
      areas.uses[2 * area] +
      areas.child[2 * area] +
      areas.black[area] +
      vms.flags[vm] +
      vms.nrPages[vm] +
      vms.sizeBytes[vm] +
      areas.links[2 * before] +
      areas.links[2 * behind + 1] +
      areas.child[2 * above] +
      areas.black[above] +
      areas.parent[above] +
      pageArrays.frames[pages]) |
    0;
}
