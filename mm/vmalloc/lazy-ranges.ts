/** The lazily freed ranges of a vmap node as the kernel's tree has them. */
import type { VmapNode } from "./areas/vmap-node.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** A range that waits for a purge. */
export interface LazyRange {
  readonly start: number;
  end: number;
  /** Flags of the area. */
  readonly flags: number;
}

/** The ranges in address order; those that touch are one where the kernel merges them as they are freed. */
export function lazyRanges({ areas, version }: Vmalloc, node: VmapNode): LazyRange[] {
  const { head } = node.lazy.tree;
  const ranges: LazyRange[] = [];
  for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) {
    const [start, end] = [areas.startOf(area), areas.endOf(area)];
    const before = ranges.at(-1);
    if (version.mergesLazyAreas && before?.end === start) before.end = end;
    else ranges.push({ start, end, flags: areas.flagsOf(area) });
  }
  return ranges;
}
