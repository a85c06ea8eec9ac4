/**
 * The areas in use of a vmap node (`vn->busy`). The kernel inserts each into a tree. On the host there is a table in front of
 * it: which area starts at which page. Nearly every `vfree` names a start, so most areas come and go without anybody having
 * looked at the tree; they are put into it when somebody does, and the tree shows them all. (A tree of 100,000 areas is a
 * dozen misses in the host's caches for each insertion and removal.)
 */
import { PAGE_SIZE } from "../arch/linear-address.ts";
import { AreaTree } from "./area-tree.ts";
import { growInt32 } from "./grow.ts";
import type { KernelLog } from "./kernel-log.ts";
import { VMALLOC_START } from "./vmalloc-config.ts";
import type { VmapAreas } from "./vmap-areas.ts";

/** Pages from `VMALLOC_START` on for which starts are remembered: 16 GiB of address space. */
const PAGES_MAX = 2 ** 22;
/** The table is in pieces, for 64 MiB of address space each: it grows without leaving older ones behind. */
const PIECE_SHIFT = 14;
const PIECE_PAGES = 1 << PIECE_SHIFT;
/** Pages below an address in which the area that contains it is looked for. */
const NEAR_PAGES = 16;
const PAGES_PER_BYTE = 1 / PAGE_SIZE;
/** In place of the parent of an area that is not in the tree yet. */
const NOT_IN_TREE = -1;
const FIRST_ADDED = 1024;
/** When `added` is full with one area to so many pages of the table, reading the whole table costs each only that many pages. */
const PAGES_PER_ADDED = 16;

/** Busy areas by address. */
export class BusyAreas {
  private readonly areas: VmapAreas;
  private readonly inserted: AreaTree;
  /** By page from `VMALLOC_START` on: the area that starts there, or 0. */
  private readonly startingAt: (Int32Array | null)[];
  private readonly pagesMax: number;
  private pieces = 0;
  /** Areas that are not in the tree yet, and some that were not; when it is full, the rest is known to the table alone. */
  private added = new Int32Array(FIRST_ADDED);
  private addedCount = 0;
  private isAddedFull = false;

  /** @param isOnlyNode whether the addresses of all nodes are this one's; if not, the pages of others would be wasted */
  constructor(areas: VmapAreas, log: KernelLog, isOnlyNode: boolean) {
    this.areas = areas;
    this.inserted = new AreaTree(areas, log);
    this.pagesMax = isOnlyNode ? PAGES_MAX : 0;
    this.startingAt = new Array(this.pagesMax >> PIECE_SHIFT).fill(null);
  }

  /** The tree of all of them, and its list. */
  get tree(): AreaTree {
    if (this.isAddedFull) for (const piece of this.startingAt) if (piece !== null) this.insertAll(piece, PIECE_PAGES);
    if (!this.isAddedFull && this.addedCount > 0) this.insertAll(this.added, this.addedCount);
    this.addedCount = 0;
    this.isAddedFull = false;
    return this.inserted;
  }

  /** The area that starts at `start`, or 0. */
  findStart(start: number): number {
    const page = (start - VMALLOC_START) * PAGES_PER_BYTE;
    if (!(page >= 0 && page < this.pagesMax)) return this.tree.findStart(start);
    const area = this.entry(page | 0);
    return area !== 0 && this.areas.start[area] === start ? area : 0;
  }

  /** The area that contains `address`, or 0 (`__find_vmap_area`). */
  findContaining(address: number): number {
    const page = (address - VMALLOC_START) * PAGES_PER_BYTE;
    if (!(page >= 0 && page < this.pagesMax)) return this.tree.findContaining(address);
    const last = page | 0;
    const first = Math.max(0, last - NEAR_PAGES);
    for (let at = last; at >= first; at--) {
      const area = this.entry(at);
      if (area !== 0) return address < this.areas.end[area] ? area : 0;
    }
    return this.tree.findContaining(address);
  }

  /** The lowest area that ends above `address`, or 0 (`__find_vmap_area_exceed_addr`). */
  findEndingAbove(address: number): number {
    return this.tree.findEndingAbove(address);
  }

  /** Adds an area. One that overlaps another is left out of the tree, with a warning, when that is looked at. */
  insert(area: number): void {
    if (!this.remember(area, area)) {
      this.inserted.insert(area);
      return;
    }
    this.areas.parent[2 * area] = NOT_IN_TREE;
    if (this.addedCount === this.added.length) this.makeRoomForAdded();
    if (!this.isAddedFull) this.added[this.addedCount++] = area;
  }

  /** Adds an area, to the tree as well; false, with a warning, for one that overlaps another. */
  insertIntoTree(area: number): boolean {
    if (!this.tree.insert(area)) return false;
    this.remember(area, area);
    return true;
  }

  /** Takes an area out. */
  unlink(area: number): void {
    const { parent } = this.areas;
    this.remember(area, 0);
    if (parent[2 * area] === NOT_IN_TREE) parent[2 * area] = 0;
    else this.inserted.unlink(area);
  }

  /** Puts those of the first `count` in `candidates` into the tree that are not in it. */
  private insertAll(candidates: Int32Array, count: number): void {
    const { parent } = this.areas;
    for (let i = 0; i < count; i++) {
      const area = candidates[i];
      if (area === 0 || parent[2 * area] !== NOT_IN_TREE) continue;
      parent[2 * area] = 0;
      if (!this.inserted.insert(area)) this.remember(area, 0);
    }
  }

  private makeRoomForAdded(): void {
    const { added } = this;
    if (added.length * PAGES_PER_ADDED < this.pieces * PIECE_PAGES) this.added = growInt32(added, 2 * added.length);
    else this.isAddedFull = true;
  }

  /** What the table says of a page. */
  private entry(page: number): number {
    const piece = this.startingAt[page >> PIECE_SHIFT];
    return piece === null ? 0 : piece[page & (PIECE_PAGES - 1)];
  }

  /** Sets what the table says of the page at which `area` starts; false when it has no such page. */
  private remember(area: number, entry: number): boolean {
    const start = (this.areas.start[area] - VMALLOC_START) * PAGES_PER_BYTE;
    if (!(start >= 0 && start < this.pagesMax)) return false;
    const page = start | 0;
    let piece = this.startingAt[page >> PIECE_SHIFT];
    if (piece === null) {
      piece = new Int32Array(PIECE_PAGES);
      this.startingAt[page >> PIECE_SHIFT] = piece;
      this.pieces++;
    }
    piece[page & (PIECE_PAGES - 1)] = entry;
    return true;
  }
}
