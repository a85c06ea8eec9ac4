/** Areas in address order, as a red-black tree and as a list, both over the same areas (`insert_vmap_area`). */
import type { LockGuard } from "../../kernel/lockdep.ts";
import type { KernelLog } from "../../lib/kernel-log.ts";
import { formatRange } from "../../lib/kernel-log.ts";
import type { NodeLines } from "./node-lines.ts";
import { RbTree } from "./rb-tree.ts";
import type { VmapAreas } from "./vmap-areas.ts";

/** How far along the list a place is looked for before the tree is descended. */
const NEAR_STEPS = 8;

/** A tree with its list: the busy and the lazily freed areas of a vmap node, and the free areas. */
export class AreaTree extends RbTree {
  /** Head of the list of all its areas, lowest address first. */
  readonly head: number;
  /** The lock that guards it, where locks are checked; null where they are not, and for trees that one thread has to itself. */
  guard: LockGuard | null = null;
  /** Nodes that the last descent read, where lines are kept. */
  depth = 0;
  protected readonly log: KernelLog;

  constructor(areas: VmapAreas, log: KernelLog, augmented = false, lines: NodeLines | null = null) {
    super(areas, augmented, lines);
    this.head = areas.makeListHead();
    this.log = log;
  }

  /** Whether no area is in it. */
  get isEmpty(): boolean {
    return this.root === 0;
  }

  /** Inserts an area; one that overlaps another is warned of and left out (returns false). */
  insertVmapArea(area: number): boolean {
    if (this.guard !== null) this.guard.check();
    const { start, end, links } = this.areas;
    const last = links[2 * this.head + 1];
    // Addresses often come in ascending order, and the last area has nothing on its right.
    if (last !== this.head && end[last] <= start[area]) {
      this.linkVa(area, last, 1);
      return true;
    }
    return this.insertVmapAreaAugment(area, this.root);
  }

  /** Inserts an area whose place is known to be below `from`. */
  insertVmapAreaAugment(area: number, from: number): boolean {
    const place = this.findVaLinks(area, from);
    if (place < 0) return false;
    this.linkVa(area, place >> 1, place & 1);
    return true;
  }

  /**
   * Gives a range back: `area` is merged with the neighbours that it touches, or inserted (`merge_or_add_vmap_area`).
   * The area belongs to the tree afterwards.
   * @param above an area of the tree not far above it, if the caller knows one: that spares the descent
   * @returns the area that contains the range now, or 0 when it overlaps another (warned of)
   */
  mergeOrAddVmapArea(area: number, above = 0): number {
    if (this.guard !== null) this.guard.check();
    const near = above === 0 ? 0 : this.placeBelow(area, above);
    const place = near === 0 ? this.findVaLinks(area, this.root) : near;
    if (place < 0) return 0;
    this.descended(place >> 1);
    const { areas, head } = this;
    const { start, end, links } = areas;
    const follower = this.getVaNextSibling(place);
    const predecessor = links[2 * follower + 1];
    let merged = 0;
    if (follower !== head && start[follower] === end[area]) {
      start[follower] = start[area];
      merged = follower;
      this.lines?.store(follower);
    }
    if (predecessor !== head && end[predecessor] === start[area]) {
      const mergedEnd = end[merged === 0 ? area : merged];
      // The follower goes first: were the predecessor extended before, a rotation could bring its new size into its
      // subtreeMaxSize alone, and the propagation below would stop there.
      if (merged !== 0) {
        this.unlinkVa(merged);
        areas.release(merged);
      }
      end[predecessor] = mergedEnd;
      merged = predecessor;
      this.lines?.store(predecessor);
    }
    if (merged === 0) {
      const own = this.augmented ? this.asGap(area) : area;
      this.linkVa(own, place >> 1, place & 1);
      return own;
    }
    areas.release(area);
    if (this.augmented) this.augmentTreePropagateFrom(merged);
    return merged;
  }

  /** The range of `area` as an area of the kind that the free tree holds. */
  private asGap(area: number): number {
    const { areas } = this;
    const gap = areas.makeGap(areas.startOf(area), areas.endOf(area));
    areas.setObject(gap, areas.objectOf(area));
    areas.setObject(area, 0);
    areas.release(area);
    return gap;
  }

  /** Takes an area out of the tree and off the list. */
  unlinkVa(area: number): void {
    this.remove(area);
    this.areas.listRemove(area);
  }

  /** Takes everything out at once: the tree is empty then, and the areas are on the empty list `to`. */
  detachAll(to: number): void {
    if (this.guard !== null) this.guard.check();
    this.root = 0;
    this.areas.listMoveAll(this.head, to);
  }

  /**
   * Where an area belongs: twice the node below which it hangs (0: it becomes the root), plus its side. -1, and a warning,
   * when it overlaps one that is there.
   */
  protected findVaLinks(area: number, from: number): number {
    const { start, end, child, links } = this.areas;
    const areaStart = start[area];
    let place = 0;
    let node = from;
    while (node !== 0) {
      place = 2 * node + (areaStart < start[node] ? 0 : 1);
      node = child[place];
    }
    // Only the neighbours in address order can overlap; the list knows them.
    const follower = this.getVaNextSibling(place);
    const predecessor = links[2 * follower + 1];
    if (follower !== this.head && end[area] > start[follower]) return this.refuse(area, follower);
    if (predecessor !== this.head && end[predecessor] > areaStart) return this.refuse(area, predecessor);
    return place;
  }

  /** Something was looked for, down to `node`. */
  protected descended(node: number): void {
    if (this.lines !== null) this.depth = this.lines.descend(node);
  }

  /** The place of an area, looked for along the list from `above` down; 0 when it is not near, or something overlaps. */
  private placeBelow(area: number, above: number): number {
    const { start, end, child, links } = this.areas;
    const areaStart = start[area];
    let follower = above;
    if (start[follower] < end[area]) return 0;
    for (let steps = 0; steps < NEAR_STEPS; steps++) {
      const before = links[2 * follower + 1];
      if (before === this.head || start[before] < areaStart) {
        if (before !== this.head && end[before] > areaStart) return 0;
        return child[2 * follower] === 0 ? 2 * follower : 2 * before + 1;
      }
      follower = before;
    }
    return 0;
  }

  /** The area, or the list's head, that comes behind a place that `findPlace` found. */
  private getVaNextSibling(place: number): number {
    if (place === 0) return this.head;
    return (place & 1) === 0 ? place >> 1 : this.areas.links[2 * (place >> 1)];
  }

  protected linkVa(area: number, above: number, side: number): void {
    this.link(area, above, side);
    if (above === 0) this.areas.listAddAfter(area, this.head);
    else if (side === 0) this.areas.listAddBefore(area, above);
    else this.areas.listAddAfter(area, above);
  }

  private refuse(area: number, other: number): -1 {
    const { start, end } = this.areas;
    this.log.warn(
      `vmalloc bug: ${formatRange(start[area], end[area])} overlaps with ${formatRange(start[other], end[other])}`,
    );
    return -1;
  }
}
