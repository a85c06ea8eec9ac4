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
  /**
   * The area freed last of those that are not in the tree yet; each leads to the one freed before it by its link to what follows. Whoever frees an area
   * touches no other then, as on a list of both directions: the host's caches seldom have those.
   */
  private collected = 0;
  private collectedCount = 0;
  /** Head of the list on which these go into the tree. */
  private readonly inTurn: number;

  /** @param merges whether areas merge with their neighbours as they are freed */
  constructor(areas: VmapAreas, log: KernelLog, merges = false) {
    this.runs = merges ? new LazyRuns() : null;
    this.areas = areas;
    this.sorted = new AreaTree(areas, log);
    this.inTurn = areas.makeListHead();
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
    if (this.collectedCount > 0) {
      this.moveCollected(this.inTurn);
      this.moveIntoTree(this.inTurn);
    }
    return this.sorted;
  }

  /** Adds an area. One that overlaps another is left out, with a warning, as soon as they are put in order. */
  insertVmapArea(area: number): void {
    if (this.guard !== null) this.guard.check();
    // The first leads to the list's head: an area that leads to itself is on no list.
    this.areas.links[2 * area] = this.collectedCount === 0 ? this.inTurn : this.collected;
    this.collected = area;
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
    } else if (!this.moveCollected(to) && !this.putInOrder(to)) {
      this.moveIntoTree(to);
      this.sorted.detachAll(to);
    }
  }

  /**
   * Moves what was collected to the empty list `to`, the area freed first in front.
   * @returns whether that is the order of their addresses, as it is of those of a loop of `vmalloc` and `vfree`
   */
  private moveCollected(to: number): boolean {
    const { start, end, links } = this.areas;
    const count = this.collectedCount;
    sort.reserve(count);
    const { numbers } = sort;
    let area = this.collected;
    let follower = to;
    let followerStart = Number.POSITIVE_INFINITY;
    let isInOrder = true;
    links[2 * to + 1] = area;
    for (let i = count - 1; i >= 0; i--) {
      numbers[i] = area;
      if (end[area] > followerStart) isInOrder = false;
      followerStart = start[area];
      const before = i === 0 ? to : links[2 * area];
      links[2 * area] = follower;
      links[2 * area + 1] = before;
      follower = area;
      area = before;
    }
    links[2 * to] = follower;
    this.collectedCount = 0;
    return isInOrder;
  }

  /** Puts the list `to`, on which areas were moved just now, in order; false, with nothing done, when that needs the tree. */
  private putInOrder(to: number): boolean {
    const { start, end, links } = this.areas;
    const { numbers, keys } = sort;
    let count = 0;
    let lowest = Number.POSITIVE_INFINITY;
    let highest = 0;
    for (let area = links[2 * to]; area !== to; area = links[2 * area]) {
      count++;
      lowest = Math.min(lowest, start[area]);
      highest = Math.max(highest, start[area]);
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
    return true;
  }

  /** Moves the areas of a list into the tree, one after the other. */
  private moveIntoTree(from: number): void {
    const { areas, sorted } = this;
    while (!areas.listIsEmpty(from)) {
      const area = areas.nextOf(from);
      areas.listRemove(area);
      sorted.insertVmapArea(area);
    }
  }
}
