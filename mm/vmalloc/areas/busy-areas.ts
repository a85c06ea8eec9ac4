/**
 * The areas in use of a vmap node (`vn->busy`). The kernel inserts each into a tree. On the host there is a table in front of
 * the trees of all nodes (`areas-by-start.ts`). Most areas come and go without anybody having looked at a tree; they are put into
 * it when somebody does, and it shows them all. (A tree of 100,000 areas is a dozen misses in the host's caches for each
 * insertion and removal.)
 */

import type { LockGuard } from "../../kernel/lockdep.ts";
import { growInt32 } from "../../lib/grow.ts";
import type { KernelLog } from "../../lib/kernel-log.ts";
import { AreaTree } from "./area-tree.ts";
import { type AreasByStart, STARTS_PAGES_MAX, startsPageOf } from "./areas-by-start.ts";
import type { VmapAreas } from "./vmap-areas.ts";
import type { VmapZones } from "./vmap-zones.ts";

/** Pages below an address in which the area that contains it is looked for. */
const NEAR_PAGES = 16;
/** In place of the parent of an area of node 0 that is not in the tree yet; of node 1 it is one less, and so on. */
const NOT_IN_TREE = -1;
const FIRST_ADDED = 1024;
/** When `added` is full with one area to so many pages of the table, reading the whole table costs each only that many pages. */
const PAGES_PER_ADDED = 16;

/** What the busy areas of all nodes share. */
export interface BusyAreasParts {
  readonly areas: VmapAreas;
  readonly log: KernelLog;
  readonly starts: AreasByStart;
  readonly zones: VmapZones;
}

/** Busy areas of one node by address. */
export class BusyAreas {
  /** The lock that guards them; null where locks are not checked. */
  guard: LockGuard | null = null;
  /** How many there are. */
  count = 0;
  private readonly node: number;
  private readonly notInTree: number;
  private readonly areas: VmapAreas;
  private readonly starts: AreasByStart;
  private readonly zones: VmapZones;
  private readonly inserted: AreaTree;
  /** Areas that are not in the tree yet, and some that were not; when it is full, the rest is known to the table alone. */
  private added = new Int32Array(FIRST_ADDED);
  private addedCount = 0;
  private isAddedFull = false;

  /** @param node whose zones the areas start in */
  constructor(parts: BusyAreasParts, node: number) {
    this.node = node;
    this.notInTree = NOT_IN_TREE - node;
    this.areas = parts.areas;
    this.starts = parts.starts;
    this.zones = parts.zones;
    this.inserted = new AreaTree(parts.areas, parts.log);
  }

  /** The tree of all of them, and its list. */
  get tree(): AreaTree {
    if (this.isAddedFull) {
      this.starts.forEach((area) => {
        this.insertIfNew(area);
      });
    } else {
      for (let i = 0; i < this.addedCount; i++) this.insertIfNew(this.added[i]);
    }
    this.forgetAdded();
    return this.inserted;
  }

  /** The area that starts at `start`, or 0. */
  findStart(start: number): number {
    const page = startsPageOf(start);
    if (!(page >= 0 && page < STARTS_PAGES_MAX)) return this.inserted.findStart(start);
    const area = this.starts.at(page | 0);
    return area !== 0 && this.areas.start[area] === start && this.isOfNode(area) ? area : 0;
  }

  /** The area that contains `address`, or 0 (`__find_vmap_area`). */
  __findVmapArea(address: number): number {
    if (this.guard !== null) this.guard.check();
    const page = startsPageOf(address);
    if (!(page >= 0 && page < STARTS_PAGES_MAX)) return this.inserted.__findVmapArea(address);
    const last = page | 0;
    const first = Math.max(0, last - NEAR_PAGES);
    for (let at = last; at >= first; at--) {
      const area = this.starts.at(at);
      if (area !== 0) return address < this.areas.end[area] && this.isOfNode(area) ? area : 0;
    }
    return this.tree.__findVmapArea(address);
  }

  /** The lowest area that ends above `address`, or 0 (`__find_vmap_area_exceed_addr`). */
  __findVmapAreaExceedAddr(address: number): number {
    if (this.guard !== null) this.guard.check();
    return this.tree.__findVmapAreaExceedAddr(address);
  }

  /**
   * Adds an area. One that overlaps another is left out of the tree, with a warning, when that is looked at. What reaches
   * beyond the table of starts is in the tree from the beginning.
   */
  insertVmapArea(area: number): void {
    if (this.guard !== null) this.guard.check();
    // Whatever was added before is gone again: most often so, with a node a CPU, and what is written then is a few lines of the host's caches.
    if (this.count === 0) this.forgetAdded();
    this.count++;
    if (!this.remember(area) || startsPageOf(this.areas.end[area]) > STARTS_PAGES_MAX) {
      if (!this.inserted.insertVmapArea(area)) this.leaveOut(area);
      return;
    }
    this.areas.parent[2 * area] = this.notInTree;
    if (this.addedCount === this.added.length) this.makeRoomForAdded();
    if (!this.isAddedFull) this.added[this.addedCount++] = area;
  }

  /** Adds an area, to the tree as well; false, with a warning, for one that overlaps another. */
  insertIntoTree(area: number): boolean {
    if (!this.tree.insertVmapArea(area)) return false;
    this.count++;
    this.remember(area);
    return true;
  }

  /** Takes an area out. */
  unlinkVa(area: number): void {
    if (this.guard !== null) this.guard.check();
    this.count--;
    const { parent } = this.areas;
    this.forget(area);
    if (parent[2 * area] < 0) parent[2 * area] = 0;
    else this.inserted.unlinkVa(area);
  }

  /**
   * Has `visit` called with every area of every node that begins where the table of starts reaches, in order of addresses; all
   * nodes share the table.
   */
  forEachInTable(visit: (area: number) => void): void {
    this.starts.forEach(visit);
  }

  /** Has `visit` called with this node's areas that begin elsewhere, in order of addresses. */
  forEachElsewhere(visit: (area: number) => void): void {
    const { areas, inserted } = this;
    for (let area = areas.nextOf(inserted.head); area !== inserted.head; area = areas.nextOf(area)) {
      const page = startsPageOf(areas.startOf(area));
      if (!(page >= 0 && page < STARTS_PAGES_MAX)) visit(area);
    }
  }

  /** Puts an area that was added into the tree, if it is this node's and still there and not in it. */
  private insertIfNew(area: number): void {
    const { parent } = this.areas;
    if (parent[2 * area] !== this.notInTree) return;
    parent[2 * area] = 0;
    if (!this.inserted.insertVmapArea(area)) this.leaveOut(area);
  }

  private leaveOut(area: number): void {
    this.count--;
    this.forget(area);
  }

  private forgetAdded(): void {
    this.addedCount = 0;
    this.isAddedFull = false;
  }

  private makeRoomForAdded(): void {
    const { added } = this;
    if (added.length * PAGES_PER_ADDED < this.starts.pages) this.added = growInt32(added, 2 * added.length);
    else this.isAddedFull = true;
  }

  /** Whether an area of the table is this node's. */
  private isOfNode(area: number): boolean {
    const parent = this.areas.parent[2 * area];
    if (parent < 0) return parent === this.notInTree;
    return this.zones.nodeIdOf(this.areas.start[area]) === this.node;
  }

  /** Enters an area into the table of starts; false when it has no place there. */
  private remember(area: number): boolean {
    const page = startsPageOf(this.areas.start[area]);
    if (!(page >= 0 && page < STARTS_PAGES_MAX)) return false;
    this.starts.set(page | 0, area);
    return true;
  }

  /** Takes an area out of the table of starts, if it is there. */
  private forget(area: number): void {
    const page = startsPageOf(this.areas.start[area]);
    if (page >= 0 && page < STARTS_PAGES_MAX && this.starts.at(page | 0) === area) this.starts.set(page | 0, 0);
  }
}
