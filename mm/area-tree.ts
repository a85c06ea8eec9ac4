/** Areas in address order, as a red-black tree and as a list, both over the same areas (`insert_vmap_area`). */
import type { KernelLog } from "./kernel-log.ts";
import { formatRange } from "./kernel-log.ts";
import { RbTree } from "./rb-tree.ts";
import type { VmapAreas } from "./vmap-areas.ts";

/** A tree with its list: the busy and the lazily freed areas of a vmap node, and the free areas. */
export class AreaTree extends RbTree {
  /** Head of the list of all its areas, lowest address first. */
  readonly head: number;
  protected readonly log: KernelLog;

  constructor(areas: VmapAreas, log: KernelLog, augmented = false) {
    super(areas, augmented);
    this.head = areas.makeListHead();
    this.log = log;
  }

  get isEmpty(): boolean {
    return this.root === 0;
  }

  /** Inserts an area; one that overlaps another is warned of and left out (returns false). */
  insert(area: number): boolean {
    return this.insertBelow(area, this.root);
  }

  /** Inserts an area whose place is known to be below `from`. */
  insertBelow(area: number, from: number): boolean {
    const { start, end, child } = this.areas;
    const areaStart = start[area];
    const areaEnd = end[area];
    let above = 0;
    let side = 0;
    let node = from;
    while (node !== 0) {
      above = node;
      if (areaEnd <= start[node]) side = 0;
      else if (areaStart >= end[node]) side = 1;
      else {
        this.warnOverlap(area, node);
        return false;
      }
      node = child[2 * node + side];
    }
    this.linkAt(area, above, side);
    return true;
  }

  /**
   * Gives a range back: `area` is merged with the neighbours that it touches, or inserted (`merge_or_add_vmap_area`).
   * The area belongs to the tree afterwards.
   */
  giveBack(area: number): void {
    const { areas } = this;
    const { start, end, child, next, previous } = areas;
    const areaStart = start[area];
    const areaEnd = end[area];
    let above = 0;
    let side = 0;
    let node = this.root;
    while (node !== 0) {
      above = node;
      if (areaEnd <= start[node]) side = 0;
      else if (areaStart >= end[node]) side = 1;
      else {
        this.warnOverlap(area, node);
        return;
      }
      node = child[2 * node + side];
    }
    const follower = above === 0 ? this.head : side === 1 ? next[above] : above;
    let merged = 0;
    if (follower !== this.head && start[follower] === areaEnd) {
      start[follower] = areaStart;
      merged = follower;
    }
    const predecessor = previous[follower];
    if (predecessor !== this.head && end[predecessor] === areaStart) {
      end[predecessor] = merged === 0 ? areaEnd : end[merged];
      if (merged !== 0) {
        this.unlink(merged);
        areas.release(merged);
      }
      merged = predecessor;
    }
    if (merged === 0) {
      this.linkAt(area, above, side);
      return;
    }
    areas.release(area);
    if (this.augmented) this.propagate(merged);
  }

  /** Takes an area out of the tree and off the list. */
  unlink(area: number): void {
    this.remove(area);
    this.areas.listRemove(area);
  }

  /** Takes everything out at once: the tree is empty then, and the areas are on the empty list `to`. */
  detachAll(to: number): void {
    this.root = 0;
    this.areas.listMoveAll(this.head, to);
  }

  protected linkAt(area: number, above: number, side: number): void {
    this.link(area, above, side);
    if (above === 0) this.areas.listAddAfter(area, this.head);
    else if (side === 0) this.areas.listAddBefore(area, above);
    else this.areas.listAddAfter(area, above);
  }

  protected warnOverlap(area: number, other: number): void {
    const { start, end } = this.areas;
    this.log.warn(
      `vmalloc bug: ${formatRange(start[area], end[area])} overlaps with ${formatRange(start[other], end[other])}`,
    );
  }
}
