/**
 * The areas in use of a vmap node (`vn->busy`). In front of the tree stands a shortcut of the host, not of the kernel: which
 * area starts at which page. Nearly every `vfree` names a start, and a new area nearly always has a neighbour a few pages
 * below it, so that neither has to descend the tree. Its shape is what descents would have made it.
 */
import { PAGE_SIZE } from "../arch/linear-address.ts";
import { AreaTree } from "./area-tree.ts";
import { growInt32 } from "./grow.ts";
import type { KernelLog } from "./kernel-log.ts";
import { VMALLOC_START } from "./vmalloc-config.ts";
import type { VmapAreas } from "./vmap-areas.ts";

/** Pages from `VMALLOC_START` on for which starts are remembered: 16 GiB of address space. */
const PAGES_MAX = 2 ** 22;
const FIRST_PAGES = 1024;
/** Pages below a new area in which its predecessor is looked for. */
const NEAR_PAGES = 16;
const PAGES_PER_BYTE = 1 / PAGE_SIZE;

/** Busy areas by address. */
export class BusyTree extends AreaTree {
  /** By page from `VMALLOC_START` on: the area that starts there, or 0. */
  private startingAt: Int32Array;
  private readonly pagesMax: number;

  /** @param isOnlyNode whether the addresses of all nodes are this one's; if not, the pages of others would be wasted */
  constructor(areas: VmapAreas, log: KernelLog, isOnlyNode: boolean) {
    super(areas, log);
    this.pagesMax = isOnlyNode ? PAGES_MAX : 0;
    this.startingAt = new Int32Array(isOnlyNode ? FIRST_PAGES : 0);
  }

  /** The area that the table says starts at `address`, or 0; for reading ahead. */
  startsAt(address: number): number {
    const page = (address - VMALLOC_START) * PAGES_PER_BYTE;
    return page >= 0 && page < this.startingAt.length ? this.startingAt[page | 0] : 0;
  }

  override findContaining(address: number): number {
    const page = (address - VMALLOC_START) * PAGES_PER_BYTE;
    if (page >= 0 && page < this.startingAt.length) {
      const area = this.startingAt[page | 0];
      if (area !== 0 && this.areas.start[area] === address) return area;
    }
    return super.findContaining(address);
  }

  override insert(area: number): boolean {
    const page = (this.areas.start[area] - VMALLOC_START) * PAGES_PER_BYTE;
    if (!(page >= 0 && page < this.pagesMax)) return super.insert(area);
    let place = this.root === 0 ? 0 : this.placeBehindNeighbour(area, page | 0);
    if (place === 0) place = this.findPlace(area, this.root);
    if (place < 0) return false;
    this.linkAt(area, place >> 1, place & 1);
    if (page >= this.startingAt.length) this.grow(page);
    this.startingAt[page | 0] = area;
    return true;
  }

  override unlink(area: number): void {
    const page = (this.areas.start[area] - VMALLOC_START) * PAGES_PER_BYTE;
    if (page >= 0 && page < this.startingAt.length) this.startingAt[page | 0] = 0;
    super.unlink(area);
  }

  /**
   * The place (as `findPlace` gives it) directly behind an area that starts a few pages below `page`; 0 when there is none,
   * or something overlaps, which is for `findPlace` to say.
   */
  private placeBehindNeighbour(area: number, page: number): number {
    const { startingAt } = this;
    const { start, end, child, links } = this.areas;
    const lowest = Math.max(0, page - NEAR_PAGES);
    let near = 0;
    for (let at = Math.min(page, startingAt.length) - 1; at >= lowest && near === 0; at--) near = startingAt[at];
    if (near === 0 || end[near] > start[area]) return 0;
    const follower = links[2 * near];
    if (follower !== this.head && start[follower] < end[area]) return 0;
    return child[2 * near + 1] === 0 ? 2 * near + 1 : 2 * follower;
  }

  private grow(page: number): void {
    let pages = Math.max(FIRST_PAGES, this.startingAt.length);
    while (pages <= page) pages *= 2;
    this.startingAt = growInt32(this.startingAt, pages);
  }
}
