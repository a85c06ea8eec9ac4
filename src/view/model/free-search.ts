/** The free tree as a search for room goes through it: node by node, with what its subtrees promise. */
import { PAGE_SIZE } from "../../../arch/index.ts";
import type { FreeSearch } from "../../../mm/vmalloc/areas/free-tree.ts";
import type { VmapAreas } from "../../../mm/vmalloc/areas/vmap-areas.ts";
import type { Vmalloc } from "../../../mm/vmalloc/vmalloc-state.ts";

/** One node that a search looked at. */
export interface FreeNode {
  readonly start: number;
  readonly end: number;
  /** The largest gap in the subtree below it, itself included. */
  readonly subtreeMaxSize: number;
  /** What its subtrees promise; null where there is none. */
  readonly leftMaxSize: number | null;
  readonly rightMaxSize: number | null;
  /** Where the search went from here. */
  readonly went: "left" | "right" | "up" | "taken" | "nowhere";
}

/** A search, and the nodes that it went over. */
export interface FreePath extends FreeSearch {
  readonly nodes: readonly FreeNode[];
}

/** Nodes that are listed at the most; a search that comes back up many times has no more to say. */
const NODES_MAX = 100;

/** The path of a search through the tree as it is now (`find_vmap_lowest_match`). */
export function freePath({ freeTree, areas }: Vmalloc, search: FreeSearch): FreePath {
  const { start, subtreeMaxSize, child, parent } = areas;
  const { searchBytes } = search;
  const nodes: FreeNode[] = [];
  let lowest = search.vstart;
  let node = freeTree.root;
  const leave = (went: FreeNode["went"]): boolean => {
    nodes.push(nodeOf(areas, node, went));
    return went === "taken" || went === "nowhere" || nodes.length >= NODES_MAX;
  };
  const promises = (subtree: number): boolean => subtree !== 0 && subtreeMaxSize[subtree] >= searchBytes;
  while (node !== 0) {
    const [left, right] = [child[2 * node], child[2 * node + 1]];
    if (lowest < start[node] && promises(left)) {
      if (leave("left")) break;
      node = left;
    } else if (isRoom(areas, node, search, lowest)) {
      leave("taken");
      break;
    } else if (promises(right)) {
      if (leave("right")) break;
      node = right;
    } else {
      // A promise was not kept, below the window or by the alignment.
      if (leave(parent[2 * node] === 0 ? "nowhere" : "up")) break;
      node = parent[2 * node];
      while (node !== 0 && !isRoom(areas, node, search, lowest)) {
        const other = child[2 * node + 1];
        if (promises(other) && lowest <= start[node]) break;
        if (leave(parent[2 * node] === 0 ? "nowhere" : "up")) return { ...search, nodes };
        node = parent[2 * node];
      }
      if (node === 0) break;
      if (isRoom(areas, node, search, lowest)) {
        leave("taken");
        break;
      }
      if (leave("right")) break;
      lowest = start[node] + 1;
      node = child[2 * node + 1];
    }
  }
  return { ...search, nodes };
}

/** The path from the root to the gap that holds an address; empty when none does. */
export function pathToGap({ freeTree, areas }: Vmalloc, address: number): FreeNode[] {
  const { start, end, child } = areas;
  const nodes: FreeNode[] = [];
  let node = freeTree.root;
  while (node !== 0) {
    if (start[node] <= address && address < end[node]) return [...nodes, nodeOf(areas, node, "taken")];
    const side = address < start[node] ? 0 : 1;
    nodes.push(nodeOf(areas, node, side === 0 ? "left" : "right"));
    node = child[2 * node + side];
  }
  return [];
}

function nodeOf(areas: VmapAreas, node: number, went: FreeNode["went"]): FreeNode {
  const { start, end, subtreeMaxSize, child } = areas;
  const promised = (subtree: number): number | null => (subtree === 0 ? null : subtreeMaxSize[subtree]);
  return {
    start: start[node],
    end: end[node],
    subtreeMaxSize: subtreeMaxSize[node],
    leftMaxSize: promised(child[2 * node]),
    rightMaxSize: promised(child[2 * node + 1]),
    went,
  };
}

/** Whether a gap has room for a request from `lowest` on (`is_within_this_va`). */
function isRoom(areas: VmapAreas, gap: number, { sizeBytes, align }: FreeSearch, lowest: number): boolean {
  const from = Math.max(areas.start[gap], lowest);
  const aligned = align <= PAGE_SIZE ? from : Math.ceil(from / align) * align;
  return aligned + sizeBytes <= areas.end[gap];
}
