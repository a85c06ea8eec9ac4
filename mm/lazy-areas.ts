/**
 * The areas of a vmap node that are freed and not yet purged (`vn->lazy`). The kernel puts each into a tree when it is freed;
 * what a purge wants of the tree is the order of addresses. So on the host areas are only collected, and put in order when a
 * purge takes them all (sorting once is a fifth of the time), or into the tree when somebody looks at that. Both see what the
 * kernel's tree would show.
 */
import { PAGE_SIZE } from "../arch/linear-address.ts";
import { AreaTree } from "./area-tree.ts";
import type { KernelLog } from "./kernel-log.ts";
import { roundUpToPowerOfTwo } from "./vmalloc-config.ts";
import type { VmapAreas } from "./vmap-areas.ts";

/** Lazily freed areas by address. */
export class LazyAreas {
  private readonly areas: VmapAreas;
  private readonly sorted: AreaTree;
  /** Head of the list of areas that are not in the tree yet, the one freed first in front. */
  private readonly collected: number;
  private collectedCount = 0;

  constructor(areas: VmapAreas, log: KernelLog) {
    this.areas = areas;
    this.sorted = new AreaTree(areas, log);
    this.collected = areas.makeListHead();
  }

  get isEmpty(): boolean {
    return this.collectedCount === 0 && this.sorted.isEmpty;
  }

  /** The tree of all of them, and its list. */
  get tree(): AreaTree {
    while (this.collectedCount > 0) {
      const area = this.areas.nextOf(this.collected);
      this.areas.listRemove(area);
      this.collectedCount--;
      this.sorted.insert(area);
    }
    return this.sorted;
  }

  /** Adds an area. One that overlaps another is left out, with a warning, as soon as they are put in order. */
  add(area: number): void {
    this.areas.listAddBefore(area, this.collected);
    this.collectedCount++;
  }

  /** Takes everything out at once: all areas are on the empty list `to` then, lowest address first. */
  detachAll(to: number): void {
    if (!this.sorted.isEmpty || !this.sortOnto(to)) this.tree.detachAll(to);
  }

  /** Moves what was collected to the list `to` in order; false, with nothing done, when that needs the tree. */
  private sortOnto(to: number): boolean {
    const { areas, collected, collectedCount: count } = this;
    const { start, end, links } = areas;
    const numbers = new Int32Array(count);
    let area = links[2 * collected];
    let lowest = start[area];
    for (let i = 0; i < count; i++) {
      numbers[i] = area;
      lowest = Math.min(lowest, start[area]);
      area = links[2 * area];
    }
    // A key is the page of an area times `places`, a power of two, plus the area's place in `numbers`.
    const places = roundUpToPowerOfTwo(count);
    const keys = new Float64Array(count);
    for (let i = 0; i < count; i++) keys[i] = ((start[numbers[i]] - lowest) / PAGE_SIZE) * places + i;
    keys.sort();
    if (keys[count - 1] > Number.MAX_SAFE_INTEGER) return false;
    // Each key gives way to the area that it stood for.
    let before = 0;
    for (let i = 0; i < count; i++) {
      const number = numbers[keys[i] - Math.floor(keys[i] / places) * places];
      if (before !== 0 && end[before] > start[number]) return false;
      keys[i] = number;
      before = number;
    }
    let last = to;
    for (let i = 0; i < count; i++) {
      const number = keys[i];
      links[2 * last] = number;
      links[2 * number + 1] = last;
      last = number;
    }
    links[2 * last] = to;
    links[2 * to + 1] = last;
    links[2 * collected] = collected;
    links[2 * collected + 1] = collected;
    this.collectedCount = 0;
    return true;
  }
}
