/**
 * The areas of a vmap node that are freed and not yet purged (`vn->lazy`). The kernel puts each into a tree when it is freed;
 * what a purge wants of the tree is the order of addresses. So on the host areas are only collected, and put in order when a
 * purge takes them all (vfree and vmalloc among 100,000 live areas take 2.25 us so, 2.45 to 2.75 us with a tree), or into the tree when somebody looks at that. Both see what the
 * kernel's tree would show.
 */
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import type { LockGuard } from "../../kernel/lockdep.ts";
import type { KernelLog } from "../../lib/kernel-log.ts";
import { RadixSort } from "../../lib/radix-sort.ts";
import { AreaTree } from "./area-tree.ts";
import { LazyRuns } from "./lazy-runs.ts";
import type { VmapAreas } from "./vmap-areas.ts";

/** Areas further apart are put in order by the tree. */
const PAGES_MAX = 2 ** 32;
const NOTHING_MERGED: readonly number[] = [];
/** Shared by all nodes of all kernels: nothing is in it between two uses. */
const sort = new RadixSort();

/** Lazily freed areas by address. */
export class LazyAreas {
  /** The lock that guards them; null where locks are not checked. */
  guard: LockGuard | null = null;
  /** How many there are. */
  count = 0;
  /** The runs that they merge to; null where they do not merge. */
  readonly runs: LazyRuns | null;
  private readonly areas: VmapAreas;
  private readonly sorted: AreaTree;
  /** Head of the list of areas that are not in the tree yet, the one freed first in front. */
  private readonly collected: number;
  private collectedCount = 0;

  /** @param merges whether areas merge with their neighbours as they are freed */
  constructor(areas: VmapAreas, log: KernelLog, merges = false) {
    this.runs = merges ? new LazyRuns() : null;
    this.areas = areas;
    this.sorted = new AreaTree(areas, log);
    this.collected = areas.makeListHead();
  }

  /** Whether no area waits for a purge. */
  get isEmpty(): boolean {
    return this.collectedCount === 0 && this.sorted.isEmpty;
  }

  /** Nodes of the kernel's tree. */
  get nodes(): number {
    return this.runs === null ? this.count : this.runs.count;
  }

  /** The tree of all of them, and its list. */
  get tree(): AreaTree {
    while (this.collectedCount > 0) {
      const area = this.areas.nextOf(this.collected);
      this.areas.listRemove(area);
      this.collectedCount--;
      this.sorted.insertVmapArea(area);
    }
    return this.sorted;
  }

  /** Adds an area. One that overlaps another is left out, with a warning, as soon as they are put in order. */
  insertVmapArea(area: number): void {
    if (this.guard !== null) this.guard.check();
    this.areas.listAddBefore(area, this.collected);
    this.collectedCount++;
    this.count++;
  }

  /** Merges an area that was added with its neighbours, where they merge; the areas whose objects are given back. */
  merge(area: number): readonly number[] {
    return this.runs === null ? NOTHING_MERGED : this.runs.add(area, this.areas.startOf(area), this.areas.endOf(area));
  }

  /** Merges all areas, which are those of a saved state: who has an object has that of its run. */
  mergeAll(): void {
    if (this.runs === null) return;
    const { areas, runs } = this;
    const { head } = this.tree;
    for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) {
      this.merge(area);
      if (areas.objectOf(area) !== 0) runs.setOwner(area, areas.endOf(area));
    }
  }

  /** Adds an area to the tree as well; false, with a warning, for one that overlaps another. */
  insertIntoTree(area: number): boolean {
    if (!this.tree.insertVmapArea(area)) return false;
    this.count++;
    return true;
  }

  /** Takes everything out at once: all areas are on the empty list `to` then, lowest address first. */
  detachAll(to: number): void {
    if (this.guard !== null) this.guard.check();
    if (this.isEmpty) return;
    this.count = 0;
    this.runs?.clear();
    if (!this.sorted.isEmpty) {
      this.tree.detachAll(to);
    } else if (this.isInOrder()) {
      this.areas.listMoveAll(this.collected, to);
      this.collectedCount = 0;
    } else if (!this.sortOnto(to)) {
      this.tree.detachAll(to);
    }
  }

  /** Whether the areas were freed in the order of their addresses, as those of a loop of `vmalloc` and `vfree` are. */
  private isInOrder(): boolean {
    const { start, end, links } = this.areas;
    let area = links[2 * this.collected];
    let last = start[area];
    for (let i = 0; i < this.collectedCount; i++) {
      if (start[area] < last) return false;
      last = end[area];
      area = links[2 * area];
    }
    return true;
  }

  /** Moves what was collected to the list `to` in order; false, with nothing done, when that needs the tree. */
  private sortOnto(to: number): boolean {
    const { areas, collected, collectedCount: count } = this;
    const { start, end, links } = areas;
    sort.reserve(count);
    const { numbers, keys } = sort;
    let area = links[2 * collected];
    let lowest = start[area];
    let highest = lowest;
    for (let i = 0; i < count; i++) {
      numbers[i] = area;
      lowest = Math.min(lowest, start[area]);
      highest = Math.max(highest, start[area]);
      area = links[2 * area];
    }
    const span = (highest - lowest) / PAGE_SIZE;
    if (span >= PAGES_MAX) return false;
    for (let i = 0; i < count; i++) keys[i] = (start[numbers[i]] - lowest) / PAGE_SIZE;
    sort.sort(count, span);
    const inOrder = sort.numbers;
    for (let i = 1; i < count; i++) if (end[inOrder[i - 1]] > start[inOrder[i]]) return false;
    let last = to;
    for (let i = 0; i < count; i++) {
      const next = inOrder[i];
      links[2 * last] = next;
      links[2 * next + 1] = last;
      last = next;
    }
    links[2 * last] = to;
    links[2 * to + 1] = last;
    links[2 * collected] = collected;
    links[2 * collected + 1] = collected;
    this.collectedCount = 0;
    return true;
  }
}
