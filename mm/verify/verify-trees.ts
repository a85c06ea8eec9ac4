/**
 * Checks the shape of trees and lists of areas: order, the rules of red-black trees, the augmentation, links in both
 * directions, and that a tree and its list hold the same areas.
 */
import type { AreaTree } from "../vmalloc/areas/area-tree.ts";
import type { VmapAreas } from "../vmalloc/areas/vmap-areas.ts";
import { address, areaRange, type Findings } from "./verify-findings.ts";

/** A red-black tree of 2^32 nodes is less deep than this; a deeper one has lost its balance. */
const DEPTH_MAX = 64;

/** Walks trees and lists; each area may turn up once in all of them together. */
export class ShapeCheck {
  private readonly areas: VmapAreas;
  private readonly findings: Findings;
  /** Areas met in a tree, and areas met on a list. */
  private readonly inTree: Uint8Array;
  private readonly onList: Uint8Array;

  constructor(areas: VmapAreas, findings: Findings) {
    this.areas = areas;
    this.findings = findings;
    this.inTree = new Uint8Array(areas.capacityAreas);
    this.onList = new Uint8Array(areas.capacityAreas);
  }

  /** Checks a tree with its list; returns its areas in tree order. `name` begins every finding. */
  tree(tree: AreaTree, name: string, augmented: boolean): number[] {
    const order: number[] = [];
    if (tree.root !== 0 && !this.areas.blackOf(tree.root)) {
      this.findings.add(`${name}: the root ${areaRange(this.areas, tree.root)} is red`);
    }
    this.visit(tree.root, 0, name, augmented, order, 0);
    for (let i = 1; i < order.length; i++) {
      const [before, after] = [order[i - 1], order[i]];
      if (this.areas.endOf(before) > this.areas.startOf(after)) {
        this.findings.add(
          `${name}: ${areaRange(this.areas, before)} stands before ${areaRange(this.areas, after)} but is not below it`,
        );
      } else if (augmented && this.areas.endOf(before) === this.areas.startOf(after)) {
        this.findings.add(
          `${name}: ${areaRange(this.areas, before)} and ${areaRange(this.areas, after)} touch and were not merged`,
        );
      }
    }
    this.compare(order, this.list(tree.head, `${name}'s list`), name);
    return order;
  }

  /** Checks the links of a list; returns its areas, first to last. */
  list(head: number, name: string): number[] {
    const found: number[] = [];
    let before = head;
    for (let area = this.areas.nextOf(head); area !== head; before = area, area = this.areas.nextOf(area)) {
      if (area <= 0 || area >= this.areas.capacityAreas) {
        this.findings.add(`${name}: the link behind ${this.member(before, head)} leads to no area (${area})`);
        return found;
      }
      if (this.onList[area] !== 0) {
        this.findings.add(`${name}: ${areaRange(this.areas, area)} is on a list twice`);
        return found;
      }
      this.onList[area] = 1;
      if (this.areas.previousOf(area) !== before) {
        this.findings.add(`${name}: ${areaRange(this.areas, area)} does not point back to the area before it`);
      }
      found.push(area);
    }
    if (this.areas.previousOf(head) !== before)
      this.findings.add(`${name}: the head does not point back to the last area`);
    return found;
  }

  /** Returns the black height of the subtree and appends its areas. */
  private visit(
    node: number,
    parent: number,
    name: string,
    augmented: boolean,
    order: number[],
    depth: number,
  ): number {
    if (node === 0) return 1;
    const { areas, findings } = this;
    if (node < 0 || node >= areas.capacityAreas) {
      findings.add(`${name}: a child of ${areaRange(areas, parent)} is no area (${node})`);
      return 1;
    }
    if (this.inTree[node] !== 0 || depth > DEPTH_MAX) {
      const what = depth > DEPTH_MAX ? `is ${depth} levels deep` : "is in a tree twice";
      findings.add(`${name}: ${areaRange(areas, node)} ${what}`);
      return 1;
    }
    this.inTree[node] = 1;
    if (areas.parentOf(node) !== parent) {
      findings.add(`${name}: ${areaRange(areas, node)} does not point to its parent`);
    }
    if (!areas.blackOf(node) && parent !== 0 && !areas.blackOf(parent)) {
      findings.add(`${name}: ${areaRange(areas, node)} and its parent ${areaRange(areas, parent)} are both red`);
    }
    const [left, right] = [areas.leftOf(node), areas.rightOf(node)];
    const leftHeight = this.visit(left, node, name, augmented, order, depth + 1);
    order.push(node);
    const rightHeight = this.visit(right, node, name, augmented, order, depth + 1);
    if (leftHeight !== rightHeight) {
      findings.add(
        `${name}: below ${areaRange(areas, node)} are ${leftHeight} black nodes to the left and ${rightHeight} to the right`,
      );
    }
    if (augmented) {
      const largest = Math.max(
        this.areas.endOf(node) - this.areas.startOf(node),
        left === 0 ? 0 : areas.subtreeMaxSizeOf(left),
        right === 0 ? 0 : areas.subtreeMaxSizeOf(right),
      );
      if (areas.subtreeMaxSizeOf(node) !== largest) {
        findings.add(
          `${name}: subtreeMaxSize of ${areaRange(areas, node)} is ${areas.subtreeMaxSizeOf(node)}, but the largest gap of its subtree is ${largest}`,
        );
      }
    }
    return leftHeight + (areas.blackOf(node) ? 1 : 0);
  }

  private compare(inTree: readonly number[], listed: readonly number[], name: string): void {
    if (inTree.length !== listed.length) {
      this.findings.add(`${name}: ${inTree.length} areas in the tree, ${listed.length} on the list`);
    }
    for (let i = 0; i < Math.min(inTree.length, listed.length); i++) {
      if (inTree[i] === listed[i]) continue;
      const [there, here] = [areaRange(this.areas, inTree[i]), areaRange(this.areas, listed[i])];
      this.findings.add(`${name}: number ${i} is ${there} in the tree and ${here} on the list`);
      return;
    }
  }

  private member(area: number, head: number): string {
    return area === head ? "the head" : address(this.areas.startOf(area));
  }
}
