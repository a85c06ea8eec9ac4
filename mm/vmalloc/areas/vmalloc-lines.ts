/**
 * Which variables of `mm/vmalloc.c` share a cache line: what one CPU writes takes the others' copies of its neighbours away. As the linker put
 * them, which System.map of Debian's cloud kernel 6.1.187 shows; 6.3 to 6.8 are taken for the same. In the map of 6.12.117 `vmap_lazy_nr` and
 * `nr_vmalloc_pages` are in one line too, and the word of `free_vmap_area_lock` beside `vmap_area_cachep`; in `struct vmap_node` `pool_lock` and
 * `busy` are in one. With vmap nodes none of that is emulated: each has a line to itself there.
 */
import type { SharedLines } from "../../../arch/time/shared-lines.ts";
import type { VariablesLayout } from "../../versions/kernel-version.ts";

/** Lines of a machine's `SharedLines`, by what is in them. -1: it has one to itself (locks), or is not emulated. */
export interface VmallocLines {
  /** `vmap_lazy_nr`. */
  readonly lazyNr: number;
  /** `nr_vmalloc_pages`. */
  readonly nrVmallocPages: number;
  /** `vmap_area_cachep` and `free_vmap_area_root`, which are read for each area. */
  readonly areaCache: number;
  /** The words of `free_vmap_area_lock`, `vmap_area_lock` and `purge_vmap_area_lock`, with the roots of their trees but for the first. */
  readonly locks: number;
}

/** Makes the lines of a kernel. */
export function vmallocLines(lines: SharedLines, layout: VariablesLayout): VmallocLines {
  const [first, second] = [lines.make(1), lines.make(1)];
  return layout === "locks together"
    ? { lazyNr: first, nrVmallocPages: first, areaCache: first, locks: second }
    : { lazyNr: first, nrVmallocPages: second, areaCache: -1, locks: -1 };
}
