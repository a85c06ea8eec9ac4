/** TLBs as the fast path does them: those of CPUs that have parts of the same arrays are one. */

import type { CommonArrays, CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { Tlb } from "../tlb/tlb.ts";
import { IndexedTlb } from "./indexed-tlb.ts";
import { TreeTlb } from "./tree-tlb.ts";

const { CELL_SHIFT, REQUESTED_PAGE_CELL } = layout;

/** By arrays; by the first place in the CPU's part, and by the cell of what is asked for, which is less than the cells of a place. */
const madeOf = new WeakMap<CommonArrays, Map<number, TreeTlb | IndexedTlb>>();

/** A TLB for pages of one size. @param requestCell cell with the tag of the page that is asked for */
export function pathTlb(tlb: Tlb, arrays: CpuArrays, requestCell = REQUESTED_PAGE_CELL): TreeTlb | IndexedTlb {
  let made = madeOf.get(arrays.common);
  if (made === undefined) {
    made = new Map();
    madeOf.set(arrays.common, made);
  }
  const key = ((tlb.firstPlace - arrays.firstPlace) << (CELL_SHIFT + 1)) + requestCell;
  let path = made.get(key);
  if (path === undefined) {
    path = new (tlb.replacement.isTree ? TreeTlb : IndexedTlb)(tlb, arrays, requestCell);
    made.set(key, path);
  }
  return path;
}

/** {@link pathTlb} of the second level, which has an index. */
export function indexedTlb(tlb: Tlb, arrays: CpuArrays, requestCell = REQUESTED_PAGE_CELL): IndexedTlb {
  return pathTlb(tlb, arrays, requestCell) as IndexedTlb;
}
