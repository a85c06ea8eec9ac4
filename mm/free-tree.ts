/**
 * The gaps of the address space (`free_vmap_area_root`): a tree augmented with the largest gap below each node, so that a
 * search finds room in logarithmic time. Kernel functions: `find_vmap_lowest_match`, `va_clip`, `merge_or_add_vmap_area`.
 */
import { PAGE_SIZE } from "../arch/linear-address.ts";
import { alignUp } from "./align.ts";
import { AreaTree } from "./area-tree.ts";
import type { KernelLog } from "./kernel-log.ts";
import type { VmapAreas } from "./vmap-areas.ts";

/** All free ranges, disjoint and never touching each other. */
export class FreeTree extends AreaTree {
  constructor(areas: VmapAreas, log: KernelLog) {
    super(areas, log, true);
  }

  /**
   * Takes `sizeBytes` bytes, aligned to `align`, from the window [vstart, vend) (`__alloc_vmap_area`).
   * @returns the address, or `vend` when no room was found
   */
  alloc(sizeBytes: number, align: number, vstart: number, vend: number): number {
    const adjustForAlign = align > PAGE_SIZE && vend - vstart !== sizeBytes;
    const gap = this.findLowestMatch(sizeBytes, align, vstart, adjustForAlign ? sizeBytes + align - 1 : sizeBytes);
    if (gap === 0) return vend;
    const from = Math.max(this.areas.start[gap], vstart);
    const address = align === 1 ? from : alignUp(from, align);
    if (address + sizeBytes > vend) return vend;
    this.clip(gap, address, sizeBytes);
    return address;
  }

  /** The gap that contains `address`, else the highest below it, or 0 (`pvm_find_va_enclose_addr`). */
  findAtOrBelow(address: number): number {
    const { start, child } = this.areas;
    let node = this.root;
    let best = 0;
    while (node !== 0) {
      if (start[node] <= address) best = node;
      node = child[2 * node + (start[node] <= address ? 1 : 0)];
    }
    return best;
  }

  /** Takes [address, address + sizeBytes) out of `gap`, which contains it (`va_clip`). */
  clip(gap: number, address: number, sizeBytes: number): void {
    const { areas } = this;
    const gapStart = areas.start[gap];
    const gapEnd = areas.end[gap];
    const end = address + sizeBytes;
    if (gapStart === address && gapEnd === end) {
      this.unlink(gap);
      areas.release(gap);
      return;
    }
    if (gapStart === address) {
      areas.start[gap] = end;
      this.propagate(gap);
    } else if (gapEnd === end) {
      areas.end[gap] = address;
      this.propagate(gap);
    } else {
      const left = areas.makeGap(gapStart, address);
      areas.start[gap] = end;
      this.propagate(gap);
      this.insertBelow(left, gap);
    }
  }

  /**
   * The gap in which a request is to be placed. Descends only into subtrees that hold a gap of `searchBytes`; for
   * alignments above a page the result depends on the shape of the tree and need not be the lowest.
   */
  private findLowestMatch(sizeBytes: number, align: number, vstart: number, searchBytes: number): number {
    const { start, end, subtreeMaxSize, child, parent } = this.areas;
    let lowest = vstart;
    let node = this.root;
    let descends = true;
    while (node !== 0) {
      const gapStart = start[node];
      if (descends) {
        const left = child[2 * node];
        if (left !== 0 && lowest < gapStart && subtreeMaxSize[left] >= searchBytes) {
          node = left;
          continue;
        }
      }
      const from = Math.max(gapStart, lowest);
      if ((align === 1 ? from : alignUp(from, align)) + sizeBytes <= end[node]) return node;
      const right = child[2 * node + 1];
      if (right !== 0 && (descends || lowest <= gapStart) && subtreeMaxSize[right] >= searchBytes) {
        if (!descends) lowest = gapStart + 1;
        node = right;
        descends = true;
      } else {
        node = parent[node];
        descends = false;
      }
    }
    return 0;
  }
}
