/**
 * Which lines a search of a tree of areas reads, and which a change of it writes, where the host has no such tree to walk
 * (`busy-areas.ts`, `lazy-areas.ts`): those of a balanced tree of as many nodes. Each address has a path of its own through it, which
 * its page number decides: two addresses part at the root as often as not.
 */
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import type { SharedLines } from "../../../arch/time/shared-lines.ts";

const UPPER_LEVELS = 7;
const UPPER_LINES = 1 << UPPER_LEVELS;
/** Lines of a tree: a line for each node of the upper levels, and as many that all lower ones share. */
export const TREE_LINES = 2 * UPPER_LINES;
/** 2^32 divided by the golden ratio: successive numbers times it are spread evenly (Knuth, The Art of Computer Programming, 6.4). */
const SPREAD = 0x9e37_79b1;

/**
 * The lines of one tree. With one CPU (`isAlone`) nobody waits for a line: each call is then one test, in a function small enough for
 * the host to inline, and what it would do otherwise is in a function of its own.
 */
export class TreeLines {
  private readonly lines: SharedLines;
  private readonly first: number;
  private readonly isAlone: boolean;

  constructor(lines: SharedLines) {
    this.lines = lines;
    this.first = lines.make(TREE_LINES);
    this.isAlone = lines.isAlone;
  }

  /** The current CPU descends to an address in a tree of `nodes` nodes; returns the nodes that it read. */
  search(address: number, nodes: number): number {
    if (!this.isAlone) this.readPath(address, nodes);
    return depthOf(nodes);
  }

  /**
   * The current CPU links or unlinks the node of an address: that changes its parent, and its other neighbour in the order of
   * addresses, which is the lowest node from which the path went to the other side. Every other change recolours the grandparent.
   */
  change(address: number, nodes: number): void {
    if (!this.isAlone) this.writeNeighbours(address, nodes);
  }

  /** The current CPU changes the node that a search of an address ends at: its area grows. */
  grow(address: number, nodes: number): void {
    const depth = depthOf(nodes);
    if (!this.isAlone && depth > 0) this.lines.store(this.lineOf(pathOf(address), depth - 1));
  }

  private readPath(address: number, nodes: number): void {
    const depth = depthOf(nodes);
    const path = pathOf(address);
    for (let level = 0; level < depth; level++) this.lines.expect(this.lineOf(path, level));
    for (let level = 0; level < depth; level++) this.lines.read(this.lineOf(path, level));
  }

  private writeNeighbours(address: number, nodes: number): void {
    const depth = depthOf(nodes);
    if (depth === 0) return;
    const path = pathOf(address);
    const parent = depth - 1;
    this.lines.store(this.lineOf(path, parent));
    let neighbour = parent - 1;
    while (neighbour >= 0 && sideAt(path, neighbour) === sideAt(path, parent)) neighbour--;
    if (neighbour >= 0) this.lines.store(this.lineOf(path, neighbour));
    if (parent > 0 && neighbour !== parent - 1 && (path & 1) !== 0) this.lines.store(this.lineOf(path, parent - 1));
  }

  /** The line of the node at `level` of a path. */
  private lineOf(path: number, level: number): number {
    const node = level === 0 ? 1 : (1 << level) + (path >>> (32 - level));
    if (level < UPPER_LEVELS) return this.first + node;
    return this.first + UPPER_LINES + (Math.imul(node, SPREAD) >>> (32 - UPPER_LEVELS));
  }
}

/** Levels of a balanced tree of `nodes` nodes. */
function depthOf(nodes: number): number {
  return 32 - Math.clz32(nodes);
}

/** The sides that a path takes, from the highest bit down. */
function pathOf(address: number): number {
  return Math.imul(address / PAGE_SIZE, SPREAD) >>> 0;
}

function sideAt(path: number, level: number): number {
  return (path >>> (31 - level)) & 1;
}
