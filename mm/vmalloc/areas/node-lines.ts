/** The lines of the nodes of a tree that the host walks: the free tree's. */
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import type { SharedLines } from "../../../arch/time/shared-lines.ts";
import type { VmapAreas } from "./vmap-areas.ts";

/** log2 of the lines; the nodes of larger trees share some. */
const LINES_SHIFT = 12;
/** 2^32 divided by the golden ratio: numbers times it are spread evenly. */
const SPREAD = 0x9e37_79b1;

/** A line for each node. A node is known by where its area ends, which stays as room is taken from its beginning. */
export class NodeLines {
  private readonly areas: VmapAreas;
  private readonly lines: SharedLines;
  private readonly first: number;

  constructor(areas: VmapAreas, lines: SharedLines) {
    this.areas = areas;
    this.lines = lines;
    this.first = lines.make(1 << LINES_SHIFT);
  }

  /** The current CPU reads a node and all above it, as a descent to it does; returns how many. */
  descend(node: number): number {
    const { parent } = this.areas;
    const { isAlone } = this.lines;
    for (let at = isAlone ? 0 : node; at !== 0; at = parent[2 * at]) this.lines.expect(this.lineOf(at));
    let steps = 0;
    for (let at = node; at !== 0; at = parent[2 * at]) {
      if (!isAlone) this.lines.read(this.lineOf(at));
      steps++;
    }
    return steps;
  }

  /** The current CPU stores to a node. */
  store(node: number): void {
    if (this.lines.isAlone) return;
    this.lines.store(this.lineOf(node));
  }

  private lineOf(node: number): number {
    return this.first + (Math.imul(this.areas.end[node] / PAGE_SIZE, SPREAD) >>> (32 - LINES_SHIFT));
  }
}
