/** Slabs of a cache and their objects, by number: what is known of each. */
import { growInt32, growUint16 } from "../lib/grow.ts";

/** Where a slab is. Its number is not in use. */
export const SLAB_UNUSED = 0;
/** Nowhere: all its objects are in use. */
export const SLAB_FULL = 1;
/** It is the slab that a CPU allocates from. */
export const SLAB_OF_CPU = 2;
/** Among the partial slabs of a CPU. */
export const SLAB_CPU_PARTIAL = 3;
/** Among the partial slabs of its node (`slab_test_node_partial`). */
export const SLAB_NODE_PARTIAL = 4;

const FIRST_SLABS = 8;

/** Slabs are numbered from 1, an object by its slab and its place there; 0 is none. */
export class SlabNumbers {
  readonly objectsPerSlab: number;
  /** By slab: where it is, the first object of its own list, objects in use, its links, its node. */
  where = new Int32Array(FIRST_SLABS);
  slabFreelist = new Int32Array(FIRST_SLABS);
  inuse = new Int32Array(FIRST_SLABS);
  next = new Int32Array(FIRST_SLABS);
  previous = new Int32Array(FIRST_SLABS);
  node = new Int32Array(FIRST_SLABS);
  /** By slab: the CPU that wrote its line last, plus one; 0 for none. On one CPU nobody asks. */
  slabCpu = new Uint16Array(FIRST_SLABS);
  /** By object two numbers, in one cache line of the host: the free one behind it on its list, and who wrote its line last, as in `slabCpu`. */
  objects: Int32Array<ArrayBuffer> = new Int32Array(0);
  /** One past the highest number that a slab has had; numbers that are not in use are linked by `next`. */
  slabsUsed = 1;
  unusedSlabs = 0;
  /** log2 of the numbers of objects that a slab takes up. */
  protected readonly shift: number;

  constructor(objectsPerSlab: number) {
    this.objectsPerSlab = objectsPerSlab;
    this.shift = 32 - Math.clz32(objectsPerSlab - 1);
    this.growObjects();
  }

  /** Numbers of objects that a slab takes up. */
  get slotsPerSlab(): number {
    return 1 << this.shift;
  }

  /** Whether there is an object of this number, used or not. */
  hasObject(object: number): boolean {
    const slab = object >> this.shift;
    const isInSlab = (object & (this.slotsPerSlab - 1)) < this.objectsPerSlab;
    return slab > 0 && slab < this.slabsUsed && isInSlab && this.where[slab] !== SLAB_UNUSED;
  }

  /** Slabs that it has. */
  get slabs(): number {
    return this.where.subarray(1, this.slabsUsed).reduce((sum, where) => sum + (where === SLAB_UNUSED ? 0 : 1), 0);
  }

  /** Objects from `object` on that list each other. */
  lengthOf(object: number): number {
    let length = 0;
    for (let at = object; at !== 0; at = this.objects[2 * at]) length++;
    return length;
  }

  /** Makes room for slabs up to the number `slabs`, that one not included. */
  growTo(slabs: number): void {
    if (slabs <= this.where.length) return;
    const capacity = Math.max(2 * this.where.length, slabs);
    this.where = growInt32(this.where, capacity);
    this.slabFreelist = growInt32(this.slabFreelist, capacity);
    this.inuse = growInt32(this.inuse, capacity);
    this.next = growInt32(this.next, capacity);
    this.previous = growInt32(this.previous, capacity);
    this.node = growInt32(this.node, capacity);
    this.slabCpu = growUint16(this.slabCpu, capacity);
    this.growObjects();
  }

  private growObjects(): void {
    this.objects = growInt32(this.objects, 2 * (this.where.length << this.shift));
  }
}
