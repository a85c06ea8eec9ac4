/**
 * Which variables of `mm/vmalloc.c` share a cache line: what one CPU writes takes the others' copies of its neighbours away. As the linker put
 * them, which System.map of Debian's cloud kernel 6.1.187 shows; 6.3 to 6.8 are taken for the same. In the map of 6.12.117 `vmap_lazy_nr` and
 * `nr_vmalloc_pages` are in one line as well. There the word of `free_vmap_area_lock` is beside `vmap_area_cachep` too, and in `struct vmap_node`
 * `pool_lock` and `busy` are in one line: these are not emulated, each lock has a line to itself.
 */
import type { SharedLines } from "../../../arch/time/shared-lines.ts";
import type { VariablesLayout } from "../../versions/kernel-version.ts";

/** Lines of a machine's `SharedLines`, by what is in them. -1: it has one to itself (locks), or is not emulated. */
export interface VmallocLines {
  /** `vmap_lazy_nr` and `nr_vmalloc_pages`. */
  readonly counters: number;
  /** `vmap_area_cachep` and `free_vmap_area_root`, which are read for each area. */
  readonly areaCache: number;
  /** The words of `free_vmap_area_lock`, `vmap_area_lock` and `purge_vmap_area_lock`, with the roots of their trees but for the first. */
  readonly locks: number;
}

/** Makes the lines of a kernel: as many for each layout, so that the numbers of those made later are the same. */
export function vmallocLines(lines: SharedLines, layout: VariablesLayout): VmallocLines {
  const [counters, locks] = [lines.make(1), lines.make(1)];
  return layout === "locks together"
    ? { counters, areaCache: counters, locks }
    : { counters, areaCache: -1, locks: -1 };
}
