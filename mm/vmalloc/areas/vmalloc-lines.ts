/**
 * Which variables of `mm/vmalloc.c` share a cache line: what one CPU writes takes the others' copies of its neighbours away. As the linker put
 * them, which System.map of Debian's cloud kernels 6.1.187 and 6.12.117 shows; versions between and after are taken for the same.
 */
import type { SharedLines } from "../../../arch/time/shared-lines.ts";
import type { VariablesLayout } from "../../versions/kernel-version.ts";

/** Lines of a machine's `SharedLines`, by what is in them. */
export interface VmallocLines {
  /** `vmap_lazy_nr` and `nr_vmalloc_pages`. */
  readonly counters: number;
  /** `vmap_area_cachep` and `free_vmap_area_root`, which are read for each area. */
  readonly areaCache: number;
  /** The word of `free_vmap_area_lock`. */
  readonly freeLock: number;
  /** The words of `vmap_area_lock` and `purge_vmap_area_lock`, with the roots of their trees; -1 where nodes have these. */
  readonly areaLocks: number;
}

/** Makes the lines of a kernel. */
export function vmallocLines(lines: SharedLines, layout: VariablesLayout): VmallocLines {
  const [counters, locks] = [lines.make(1), lines.make(1)];
  return layout === "locks together"
    ? { counters, areaCache: counters, freeLock: locks, areaLocks: locks }
    : { counters, areaCache: locks, freeLock: locks, areaLocks: -1 };
}
