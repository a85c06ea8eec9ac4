/**
 * A red-black tree of vmap areas ordered by address, of exactly the shape that the kernel's `lib/rbtree.c` gives: which
 * gap an aligned search finds depends on it. Left and right are one case here: side 0 is left, 1 is right, and a rotation
 * "towards" a side moves a node down to that side.
 */
import type { NodeLines } from "./node-lines.ts";
import type { VmapAreas } from "./vmap-areas.ts";

/** Links, rotations, insertion and removal. An augmented tree keeps `subtreeMaxSize` right in every node. */
export class RbTree {
  /** The root's area, 0 when empty. */
  root = 0;
  protected readonly areas: VmapAreas;
  protected readonly augmented: boolean;
  /** The cache lines of its nodes; null for a tree that no other CPU sees. */
  protected readonly lines: NodeLines | null;

  constructor(areas: VmapAreas, augmented: boolean, lines: NodeLines | null = null) {
    this.areas = areas;
    this.augmented = augmented;
    this.lines = lines;
  }

  /** The area that starts at `start`, or 0. */
  findStart(start: number): number {
    const { areas } = this;
    let node = this.root;
    while (node !== 0) {
      const at = areas.start[node];
      if (start === at) return node;
      node = areas.child[2 * node + (start < at ? 0 : 1)];
    }
    return 0;
  }

  /** The area that contains `address`, or 0 (`__find_vmap_area`). */
  __findVmapArea(address: number): number {
    const { start, end, child } = this.areas;
    let node = this.root;
    let below = 0;
    while (node !== 0) {
      const at = start[node];
      if (address === at) return node;
      if (address > at) below = node;
      node = child[2 * node + (address < at ? 0 : 1)];
    }
    return below !== 0 && address < end[below] ? below : 0;
  }

  /** The lowest area that ends above `address`, or 0 (`__find_vmap_area_exceed_addr`). */
  __findVmapAreaExceedAddr(address: number): number {
    const { areas } = this;
    let node = this.root;
    let best = 0;
    while (node !== 0) {
      if (areas.end[node] > address) {
        best = node;
        if (areas.start[node] <= address) break;
        node = areas.child[2 * node];
      } else {
        node = areas.child[2 * node + 1];
      }
    }
    return best;
  }

  /** Gives a node recorded links and colour; its subtrees are in place already. For restoring a recorded tree. */
  adopt(node: number, parent: number, left: number, right: number, black: boolean): void {
    const { areas } = this;
    areas.setChild(node, 0, left);
    areas.setChild(node, 1, right);
    areas.setParent(node, parent);
    areas.setBlack(node, black ? 1 : 0);
    if (this.augmented) this.recompute(node);
  }

  /** Hangs `node` as a leaf below `parent` (0: as the root) on `side`, and rebalances. */
  link(node: number, parent: number, side: number): void {
    const { areas } = this;
    areas.child[2 * node] = 0;
    areas.child[2 * node + 1] = 0;
    areas.parent[2 * node] = parent;
    areas.black[2 * node] = 0;
    this.lines?.store(node);
    if (parent === 0) {
      this.root = node;
    } else {
      areas.child[2 * parent + side] = node;
      this.lines?.store(parent);
    }
    if (this.augmented) {
      areas.subtreeMaxSize[node] = areas.end[node] - areas.start[node];
      this.augmentTreePropagateFrom(parent);
    }
    this.rebalanceAfterInsert(node);
  }

  /** Removes `node`; its place is taken by its successor when it has two children. */
  remove(node: number): void {
    const { areas } = this;
    const { child, parent, black } = areas;
    const left = child[2 * node];
    const right = child[2 * node + 1];
    const above = parent[2 * node];
    if (above !== 0) this.lines?.store(above);
    if (left === 0 || right === 0) {
      const only = left === 0 ? right : left;
      this.replaceChild(above, node, only);
      if (only !== 0) {
        parent[2 * only] = above;
        black[2 * only] = black[2 * node];
        if (this.augmented) this.augmentTreePropagateFrom(above);
      } else {
        if (this.augmented) this.augmentTreePropagateFrom(above);
        if (black[2 * node] && above !== 0) this.rebalanceAfterRemove(above);
      }
      return;
    }
    let successor = right;
    let deficient = successor;
    if (child[2 * successor] !== 0) {
      do successor = child[2 * successor];
      while (child[2 * successor] !== 0);
      deficient = parent[2 * successor];
      const orphan = child[2 * successor + 1];
      child[2 * deficient] = orphan;
      if (orphan !== 0) parent[2 * orphan] = deficient;
      child[2 * successor + 1] = right;
      parent[2 * right] = successor;
    }
    const orphan = deficient === successor ? child[2 * successor + 1] : child[2 * deficient];
    child[2 * successor] = left;
    parent[2 * left] = successor;
    this.replaceChild(above, node, successor);
    parent[2 * successor] = above;
    const lostBlack = black[2 * successor] !== 0;
    black[2 * successor] = black[2 * node];
    if (this.augmented) {
      areas.subtreeMaxSize[successor] = areas.subtreeMaxSize[node];
      if (deficient !== successor) this.augmentTreePropagateFrom(deficient);
      this.augmentTreePropagateFrom(successor);
    }
    if (orphan !== 0) black[2 * orphan] = 1;
    else if (lostBlack) this.rebalanceAfterRemove(deficient);
  }

  /** Makes `subtreeMaxSize` right from `node` upwards, as far as it changes (`augment_tree_propagate_from`). */
  augmentTreePropagateFrom(node: number): void {
    const { start, end, subtreeMaxSize, child, parent } = this.areas;
    const { lines } = this;
    let at = node;
    while (at !== 0) {
      let max = end[at] - start[at];
      const left = child[2 * at];
      const right = child[2 * at + 1];
      if (left !== 0 && subtreeMaxSize[left] > max) max = subtreeMaxSize[left];
      if (right !== 0 && subtreeMaxSize[right] > max) max = subtreeMaxSize[right];
      if (subtreeMaxSize[at] === max) return;
      subtreeMaxSize[at] = max;
      lines?.store(at);
      at = parent[2 * at];
    }
  }

  private replaceChild(above: number, old: number, replacement: number): void {
    const { child } = this.areas;
    if (above === 0) this.root = replacement;
    else child[2 * above + (child[2 * above] === old ? 0 : 1)] = replacement;
  }

  /** Moves `node` down to `side`; its child on the other side takes its place. */
  private rotate(node: number, side: number): void {
    const { child, parent, subtreeMaxSize } = this.areas;
    const riser = child[2 * node + (side ^ 1)];
    const inner = child[2 * riser + side];
    child[2 * node + (side ^ 1)] = inner;
    if (inner !== 0) parent[2 * inner] = node;
    const above = parent[2 * node];
    this.lines?.store(riser);
    this.lines?.store(node);
    child[2 * riser + side] = node;
    parent[2 * node] = riser;
    parent[2 * riser] = above;
    this.replaceChild(above, node, riser);
    if (this.augmented) {
      subtreeMaxSize[riser] = subtreeMaxSize[node];
      this.recompute(node);
    }
  }

  private recompute(node: number): void {
    const { start, end, subtreeMaxSize, child } = this.areas;
    let max = end[node] - start[node];
    const left = child[2 * node];
    const right = child[2 * node + 1];
    if (left !== 0 && subtreeMaxSize[left] > max) max = subtreeMaxSize[left];
    if (right !== 0 && subtreeMaxSize[right] > max) max = subtreeMaxSize[right];
    subtreeMaxSize[node] = max;
  }

  private rebalanceAfterInsert(inserted: number): void {
    const { child, parent, black } = this.areas;
    let node = inserted;
    while (true) {
      let above = parent[2 * node];
      if (above === 0) {
        black[2 * node] = 1;
        return;
      }
      if (black[2 * above]) return;
      const grandparent = parent[2 * above];
      const side = child[2 * grandparent] === above ? 0 : 1;
      const uncle = child[2 * grandparent + (side ^ 1)];
      if (uncle !== 0 && !black[2 * uncle]) {
        black[2 * uncle] = 1;
        black[2 * above] = 1;
        black[2 * grandparent] = 0;
        node = grandparent;
        continue;
      }
      if (child[2 * above + (side ^ 1)] === node) {
        this.rotate(above, side);
        above = node;
      }
      black[2 * above] = 1;
      black[2 * grandparent] = 0;
      this.rotate(grandparent, side ^ 1);
      return;
    }
  }

  /** One path below `deficient`, through a missing child, has a black node too few. */
  private rebalanceAfterRemove(deficient: number): void {
    const { child, parent, black } = this.areas;
    let node = 0;
    let above = deficient;
    while (true) {
      const side = child[2 * above + 1] === node ? 1 : 0;
      let sibling = child[2 * above + (side ^ 1)];
      if (!black[2 * sibling]) {
        black[2 * sibling] = 1;
        black[2 * above] = 0;
        this.rotate(above, side);
        sibling = child[2 * above + (side ^ 1)];
      }
      let far = child[2 * sibling + (side ^ 1)];
      if (far === 0 || black[2 * far]) {
        const near = child[2 * sibling + side];
        if (near === 0 || black[2 * near]) {
          black[2 * sibling] = 0;
          if (!black[2 * above]) {
            black[2 * above] = 1;
            return;
          }
          node = above;
          above = parent[2 * node];
          if (above === 0) return;
          continue;
        }
        this.rotate(sibling, side ^ 1);
        far = sibling;
        sibling = near;
      }
      this.rotate(above, side);
      black[2 * sibling] = black[2 * above];
      black[2 * above] = 1;
      black[2 * far] = 1;
      return;
    }
  }
}
