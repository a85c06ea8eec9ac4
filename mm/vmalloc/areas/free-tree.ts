/**
 * The gaps of the address space (`free_vmap_area_root`): a tree augmented with the largest gap below each node, so that a
 * search finds room in logarithmic time. Kernel functions: `find_vmap_lowest_match`, `va_clip`, `merge_or_add_vmap_area`.
 */
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { alignUp } from "../../lib/align.ts";
import { formatRange, type KernelLog } from "../../lib/kernel-log.ts";
import { AreaTree } from "./area-tree.ts";
import type { NeFitPreload } from "./ne-fit-preload.ts";
import type { NodeLines } from "./node-lines.ts";
import type { VmapAreas } from "./vmap-areas.ts";

/** It is the whole gap (`enum fit_type`). */
const FL_FIT_TYPE = 1;
/** It is at the gap's left edge, at its right edge, or touches neither. */
const LE_FIT_TYPE = 2;
const RE_FIT_TYPE = 3;
const NE_FIT_TYPE = 4;

type FitType = typeof FL_FIT_TYPE | typeof LE_FIT_TYPE | typeof RE_FIT_TYPE | typeof NE_FIT_TYPE;

/** What a search for room is given. */
export interface FreeSearch {
  readonly sizeBytes: number;
  readonly align: number;
  /** Where the window begins. */
  readonly vstart: number;
  /** What a subtree must promise to be looked at: more than `sizeBytes` where room for an alignment is needed. */
  readonly searchBytes: number;
}

/** All free ranges, disjoint and never touching each other. */
export class FreeTree extends AreaTree {
  /** Is told of each search before it begins; null when nobody observes. */
  onSearch: ((search: FreeSearch) => void) | null = null;
  private readonly preload: NeFitPreload | null;

  /**
   * @param preload where a split has its further gap from; by default it is simply made
   * @param lines the cache lines of the gaps; by default none are kept
   */
  constructor(areas: VmapAreas, log: KernelLog, preload: NeFitPreload | null = null, lines: NodeLines | null = null) {
    super(areas, log, true, lines);
    this.preload = preload;
  }

  /**
   * Takes `sizeBytes` bytes, aligned to `align`, from the window [vstart, vend) (`__alloc_vmap_area`).
   * @returns the address, or `vend` when no room was found
   */
  __allocVmapArea(sizeBytes: number, align: number, vstart: number, vend: number): number {
    if (this.guard !== null) this.guard.check();
    const adjustForAlign = align > PAGE_SIZE && vend - vstart !== sizeBytes;
    const searchBytes = adjustForAlign ? sizeBytes + align - 1 : sizeBytes;
    this.onSearch?.({ sizeBytes, align, vstart, searchBytes });
    const gap = this.findVmapLowestMatch(sizeBytes, align, vstart, searchBytes);
    if (gap === 0) return vend;
    return this.vaAlloc(gap, sizeBytes, align, vstart, vend);
  }

  /** Takes the lowest room that is aligned as asked out of `gap` (`va_alloc`); the address, or `vend` when it is too high. */
  private vaAlloc(gap: number, sizeBytes: number, align: number, vstart: number, vend: number): number {
    const from = Math.max(this.areas.start[gap], vstart);
    const address = align === 1 ? from : alignUp(from, align);
    this.descended(gap);
    if (address + sizeBytes > vend) return vend;
    if (this.vaClip(gap, address, sizeBytes)) return address;
    this.log.warnOnce("va_clip", `no memory to split ${formatRange(this.areas.start[gap], this.areas.end[gap])}`);
    return vend;
  }

  /** The gap that contains `address`, else the highest below it, or 0 (`pvm_find_va_enclose_addr`). */
  pvmFindVaEncloseAddr(address: number): number {
    if (this.guard !== null) this.guard.check();
    const { start, child } = this.areas;
    let node = this.root;
    let best = 0;
    while (node !== 0) {
      if (start[node] <= address) best = node;
      node = child[2 * node + (start[node] <= address ? 1 : 0)];
    }
    return best;
  }

  /** Whether [start, end) is free: for who watches from outside the kernel, and holds no lock. */
  holds(start: number, end: number): boolean {
    const { areas } = this;
    let node = this.root;
    while (node !== 0) {
      if (areas.start[node] > start) node = areas.child[2 * node];
      else if (areas.end[node] >= end) return true;
      else node = areas.child[2 * node + 1];
    }
    return false;
  }

  /**
   * Takes [address, address + sizeBytes) out of `gap`, which contains it (`va_clip`).
   * @returns false, with nothing changed, when the gap must be split and there is no memory for one more
   */
  vaClip(gap: number, address: number, sizeBytes: number): boolean {
    if (this.guard !== null) this.guard.check();
    const { areas } = this;
    const end = address + sizeBytes;
    switch (this.classifyVaFitType(gap, address, end)) {
      case FL_FIT_TYPE:
        this.unlinkVa(gap);
        areas.release(gap);
        return true;
      case LE_FIT_TYPE:
        areas.start[gap] = end;
        this.lines?.store(gap);
        this.augmentTreePropagateFrom(gap);
        return true;
      case RE_FIT_TYPE:
        areas.end[gap] = address;
        this.lines?.store(gap);
        this.augmentTreePropagateFrom(gap);
        return true;
      case NE_FIT_TYPE: {
        const left = this.preload === null ? areas.makeGap(0, 0) : this.preload.take();
        if (left === 0) return false;
        areas.start[left] = areas.start[gap];
        areas.end[left] = address;
        areas.start[gap] = end;
        this.augmentTreePropagateFrom(gap);
        this.insertVmapAreaAugment(left, gap);
        return true;
      }
    }
  }

  /** Where [address, end) lies in the gap that contains it (`classify_va_fit_type`). */
  private classifyVaFitType(gap: number, address: number, end: number): FitType {
    const { areas } = this;
    if (areas.start[gap] === address) return areas.end[gap] === end ? FL_FIT_TYPE : LE_FIT_TYPE;
    return areas.end[gap] === end ? RE_FIT_TYPE : NE_FIT_TYPE;
  }

  /**
   * The gap in which a request is to be placed. Descends only into subtrees that hold a gap of `searchBytes`; for
   * alignments above a page the result depends on the shape of the tree and need not be the lowest.
   */
  private findVmapLowestMatch(sizeBytes: number, align: number, vstart: number, searchBytes: number): number {
    const { start, subtreeMaxSize, child, parent } = this.areas;
    let lowest = vstart;
    let node = this.root;
    while (node !== 0) {
      node = this.descend(node, sizeBytes, align, lowest, searchBytes);
      if (node > 0) return node;
      // A promise of room was not kept, below `vstart` or by the alignment: up to a right subtree that is yet to be searched.
      node = parent[-2 * node];
      while (node !== 0) {
        if (this.isWithinThisVa(node, sizeBytes, align, lowest)) return node;
        const right = child[2 * node + 1];
        if (right !== 0 && lowest <= start[node] && subtreeMaxSize[right] >= searchBytes) {
          lowest = start[node] + 1;
          node = right;
          break;
        }
        node = parent[2 * node];
      }
    }
    return 0;
  }

  /** Searches downwards from `from`: the gap found, or the node at which there is no way on, negated. */
  private descend(from: number, sizeBytes: number, align: number, lowest: number, searchBytes: number): number {
    const { start, end, subtreeMaxSize, child } = this.areas;
    // The sums are what they add 0 to; V8 keeps them as plain doubles through the loop.
    const size = sizeBytes + 0;
    const search = searchBytes + 0;
    const window = lowest + 0;
    let node = from;
    while (true) {
      const gapStart = start[node];
      const left = child[2 * node];
      if (left !== 0 && window < gapStart && subtreeMaxSize[left] >= search) {
        node = left;
        continue;
      }
      if (
        gapStart > window && align <= PAGE_SIZE
          ? gapStart + size <= end[node]
          : this.isWithinThisVa(node, size, align, window)
      )
        return node;
      const right = child[2 * node + 1];
      if (right === 0 || subtreeMaxSize[right] < search) return -node;
      node = right;
    }
  }

  /** Whether `gap` has room for a request from `lowest` on (`is_within_this_va`). */
  private isWithinThisVa(gap: number, sizeBytes: number, align: number, lowest: number): boolean {
    const { start, end } = this.areas;
    const from = Math.max(start[gap], lowest);
    return (align === 1 ? from : alignUp(from, align)) + sizeBytes <= end[gap];
  }
}
