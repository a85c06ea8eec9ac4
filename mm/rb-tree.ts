/**
 * A red-black tree of vmap areas ordered by address, of exactly the shape that the kernel's `lib/rbtree.c` gives: which
 * gap an aligned search finds depends on it. Left and right are one case here: side 0 is left, 1 is right, and a rotation
 * "towards" a side moves a node down to that side.
 */
import {
  AREA_DOUBLES_SHIFT,
  AREA_LEFT,
  AREA_RIGHT,
  AREA_START,
  AREA_WORDS_SHIFT,
  type VmapAreas,
} from "./vmap-areas.ts";

/** Links, rotations, insertion and removal. An augmented tree keeps `subtreeMaxSize` right in every node. */
export class RbTree {
  /** The root's area, 0 when empty. */
  root = 0;
  protected readonly areas: VmapAreas;
  protected readonly augmented: boolean;

  constructor(areas: VmapAreas, augmented: boolean) {
    this.areas = areas;
    this.augmented = augmented;
  }

  /** The area that starts at `start`, or 0. */
  findStart(start: number): number {
    const { doubles, words } = this.areas;
    let node = this.root;
    while (node !== 0) {
      const at = doubles[(node << AREA_DOUBLES_SHIFT) + AREA_START];
      if (start === at) return node;
      node = words[(node << AREA_WORDS_SHIFT) + (start < at ? AREA_LEFT : AREA_RIGHT)];
    }
    return 0;
  }

  /** The area that contains `address`, or 0 (`__find_vmap_area`). */
  findContaining(address: number): number {
    const { doubles, words } = this.areas;
    let node = this.root;
    let below = 0;
    while (node !== 0) {
      const at = doubles[(node << AREA_DOUBLES_SHIFT) + AREA_START];
      if (address === at) return node;
      if (address > at) below = node;
      node = words[(node << AREA_WORDS_SHIFT) + (address < at ? AREA_LEFT : AREA_RIGHT)];
    }
    return below !== 0 && address < this.areas.endOf(below) ? below : 0;
  }

  /** The lowest area that ends above `address`, or 0 (`__find_vmap_area_exceed_addr`). */
  findEndingAbove(address: number): number {
    const { areas } = this;
    let node = this.root;
    let best = 0;
    while (node !== 0) {
      if (areas.endOf(node) > address) {
        best = node;
        if (areas.startOf(node) <= address) break;
        node = areas.leftOf(node);
      } else {
        node = areas.rightOf(node);
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
    if (this.augmented) areas.setSubtreeMaxSize(node, this.largestBelow(node));
  }

  /** Hangs `node` as a leaf below `parent` (0: as the root) on `side`, and rebalances. */
  link(node: number, parent: number, side: number): void {
    const { areas } = this;
    areas.setChild(node, 0, 0);
    areas.setChild(node, 1, 0);
    areas.setParent(node, parent);
    areas.setBlack(node, 0);
    if (parent === 0) this.root = node;
    else areas.setChild(parent, side, node);
    if (this.augmented) {
      areas.setSubtreeMaxSize(node, areas.sizeBytes(node));
      this.propagate(parent);
    }
    this.rebalanceAfterInsert(node);
  }

  /** Removes `node`; its place is taken by its successor when it has two children. */
  remove(node: number): void {
    const { areas } = this;
    const left = areas.leftOf(node);
    const right = areas.rightOf(node);
    const above = areas.parentOf(node);
    if (left === 0 || right === 0) {
      const only = left === 0 ? right : left;
      this.replaceChild(above, node, only);
      if (only !== 0) {
        areas.setParent(only, above);
        areas.setBlack(only, areas.blackOf(node));
        if (this.augmented) this.propagate(above);
      } else {
        if (this.augmented) this.propagate(above);
        if (areas.blackOf(node) && above !== 0) this.rebalanceAfterRemove(above);
      }
      return;
    }
    let successor = right;
    let deficient = successor;
    if (areas.leftOf(successor) !== 0) {
      do successor = areas.leftOf(successor);
      while (areas.leftOf(successor) !== 0);
      deficient = areas.parentOf(successor);
      const orphan = areas.rightOf(successor);
      areas.setChild(deficient, 0, orphan);
      if (orphan !== 0) areas.setParent(orphan, deficient);
      areas.setChild(successor, 1, right);
      areas.setParent(right, successor);
    }
    const orphan = deficient === successor ? areas.rightOf(successor) : areas.leftOf(deficient);
    areas.setChild(successor, 0, left);
    areas.setParent(left, successor);
    this.replaceChild(above, node, successor);
    areas.setParent(successor, above);
    const lostBlack = areas.blackOf(successor) !== 0;
    areas.setBlack(successor, areas.blackOf(node));
    if (this.augmented) {
      areas.setSubtreeMaxSize(successor, areas.subtreeMaxSizeOf(node));
      if (deficient !== successor) this.propagate(deficient);
      this.propagate(successor);
    }
    if (orphan !== 0) areas.setBlack(orphan, 1);
    else if (lostBlack) this.rebalanceAfterRemove(deficient);
  }

  /** Makes `subtreeMaxSize` right from `node` upwards, as far as it changes (`augment_tree_propagate_from`). */
  propagate(node: number): void {
    const { areas } = this;
    let at = node;
    while (at !== 0) {
      const max = this.largestBelow(at);
      if (areas.subtreeMaxSizeOf(at) === max) return;
      areas.setSubtreeMaxSize(at, max);
      at = areas.parentOf(at);
    }
  }

  private replaceChild(above: number, old: number, replacement: number): void {
    const { areas } = this;
    if (above === 0) this.root = replacement;
    else areas.setChild(above, areas.leftOf(above) === old ? 0 : 1, replacement);
  }

  /** Moves `node` down to `side`; its child on the other side takes its place. */
  private rotate(node: number, side: number): void {
    const { areas } = this;
    const riser = areas.childOf(node, side ^ 1);
    const inner = areas.childOf(riser, side);
    areas.setChild(node, side ^ 1, inner);
    if (inner !== 0) areas.setParent(inner, node);
    const above = areas.parentOf(node);
    areas.setChild(riser, side, node);
    areas.setParent(node, riser);
    areas.setParent(riser, above);
    this.replaceChild(above, node, riser);
    if (this.augmented) {
      areas.setSubtreeMaxSize(riser, areas.subtreeMaxSizeOf(node));
      areas.setSubtreeMaxSize(node, this.largestBelow(node));
    }
  }

  /** The largest of a node's own size and of what its children say is below them. */
  private largestBelow(node: number): number {
    const { areas } = this;
    let max = areas.sizeBytes(node);
    const left = areas.leftOf(node);
    const right = areas.rightOf(node);
    if (left !== 0) max = Math.max(max, areas.subtreeMaxSizeOf(left));
    if (right !== 0) max = Math.max(max, areas.subtreeMaxSizeOf(right));
    return max;
  }

  private rebalanceAfterInsert(inserted: number): void {
    const { areas } = this;
    let node = inserted;
    while (true) {
      let above = areas.parentOf(node);
      if (above === 0) {
        areas.setBlack(node, 1);
        return;
      }
      if (areas.blackOf(above)) return;
      const grandparent = areas.parentOf(above);
      const side = areas.leftOf(grandparent) === above ? 0 : 1;
      const uncle = areas.childOf(grandparent, side ^ 1);
      if (uncle !== 0 && !areas.blackOf(uncle)) {
        areas.setBlack(uncle, 1);
        areas.setBlack(above, 1);
        areas.setBlack(grandparent, 0);
        node = grandparent;
        continue;
      }
      if (areas.childOf(above, side ^ 1) === node) {
        this.rotate(above, side);
        above = node;
      }
      areas.setBlack(above, 1);
      areas.setBlack(grandparent, 0);
      this.rotate(grandparent, side ^ 1);
      return;
    }
  }

  /** One path below `deficient`, through a missing child, has a black node too few. */
  private rebalanceAfterRemove(deficient: number): void {
    const { areas } = this;
    let node = 0;
    let above = deficient;
    while (true) {
      const side = areas.rightOf(above) === node ? 1 : 0;
      let sibling = areas.childOf(above, side ^ 1);
      if (!areas.blackOf(sibling)) {
        areas.setBlack(sibling, 1);
        areas.setBlack(above, 0);
        this.rotate(above, side);
        sibling = areas.childOf(above, side ^ 1);
      }
      let far = areas.childOf(sibling, side ^ 1);
      if (far === 0 || areas.blackOf(far)) {
        const near = areas.childOf(sibling, side);
        if (near === 0 || areas.blackOf(near)) {
          areas.setBlack(sibling, 0);
          if (!areas.blackOf(above)) {
            areas.setBlack(above, 1);
            return;
          }
          node = above;
          above = areas.parentOf(node);
          if (above === 0) return;
          continue;
        }
        this.rotate(sibling, side ^ 1);
        far = sibling;
        sibling = near;
      }
      this.rotate(above, side);
      areas.setBlack(sibling, areas.blackOf(above));
      areas.setBlack(above, 1);
      areas.setBlack(far, 1);
      return;
    }
  }
}
