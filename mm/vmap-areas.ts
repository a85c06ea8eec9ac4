/**
 * vmap areas (`struct vmap_area`) as a struct of arrays, indexed by a small integer; index 0 is "no area". An area is in
 * at most one tree and on at most one list at a time, as in the kernel, so it has one set of links for each.
 */
import { growUint8, nextCapacity, Segments } from "./grow.ts";

/** The area is a `vm_map_ram` area, of either kind. */
export const VMAP_RAM = 0x1;
/** With {@link VMAP_RAM}: the area is a vmap block, cut up by a CPU. */
export const VMAP_BLOCK = 0x2;
/** The bits of an area's flags that say what it is for. */
export const VMAP_FLAGS_MASK = 0x3;

const FIRST_CAPACITY = 256;
/** Bytes of an area: three doubles, five words, a byte. */
const BYTES = 3 * 8 + 5 * 4 + 1;
/** log2 of the areas in a block of storage that holds gaps only. */
const GAP_BLOCK_SHIFT = 6;

/** Storage for vmap areas and for the heads of the lists they are on. */
export class VmapAreas {
  private store = new Segments(BYTES, FIRST_CAPACITY);
  /** First byte. */
  start = this.store.float64();
  /** One past the last byte. */
  end = this.store.float64();
  /**
   * Outside the free tree, at `2 * i`: {@link VMAP_RAM}, {@link VMAP_BLOCK}, and from bit 8 up the id of the vmap node it came
   * from, plus one; at `2 * i + 1` its vm_struct while busy, or 0.
   */
  uses = this.store.int32(2);
  /**
   * In the free tree, in place of {@link uses} (a union, as in the kernel): the size of the largest area of the subtree below,
   * this one included.
   */
  subtreeMaxSize = asDoubles(this.uses);
  /** Tree links: left child at `2 * i`, right child at `2 * i + 1`. */
  child = this.store.int32(2);
  /** Tree link: parent, 0 at the root. */
  parent = this.store.int32();
  /** List links: next at `2 * i`, previous at `2 * i + 1`. A node on no list points to itself. */
  links = this.store.int32(2);
  /** Tree link: 1 for a black node, 0 for a red one. */
  black = this.store.uint8();
  /** Areas in use, list heads not counted. */
  liveCount = 0;

  private capacity = FIRST_CAPACITY;
  private used = 1;
  private freeHead = 0;
  private gapFreeHead = 0;
  /** By block of storage: 1 for one that holds gaps only. */
  private gapBlock = new Uint8Array(FIRST_CAPACITY >> GAP_BLOCK_SHIFT);

  /** A new area [start, end), in no tree and on no list. */
  make(start: number, end: number, flags = 0): number {
    return this.begin(this.take(), start, end, flags);
  }

  /**
   * The same for the free tree. Gaps are few among many areas and every allocation descends their tree, so they stand
   * together: the free tree of 100,000 live areas then fits the host's caches.
   */
  makeGap(start: number, end: number): number {
    let area = this.gapFreeHead;
    if (area === 0) area = this.takeGapBlock();
    this.gapFreeHead = this.links[2 * area];
    this.links[2 * area] = area;
    this.links[2 * area + 1] = area;
    return this.begin(area, start, end, 0);
  }

  private begin(area: number, start: number, end: number, flags: number): number {
    this.start[area] = start;
    this.end[area] = end;
    this.uses[2 * area] = flags;
    this.uses[2 * area + 1] = 0;
    this.liveCount++;
    return area;
  }

  /** Gives an area's storage back. It must be in no tree and on no list. */
  release(area: number): void {
    this.liveCount--;
    if (this.gapBlock[area >> GAP_BLOCK_SHIFT] !== 0) {
      this.links[2 * area] = this.gapFreeHead;
      this.gapFreeHead = area;
      return;
    }
    this.links[2 * area] = this.freeHead;
    this.freeHead = area;
  }

  /** A new empty list; lists are circular through their head. */
  makeListHead(): number {
    return this.take();
  }

  /** Gives the storage of an empty list's head back. */
  releaseListHead(head: number): void {
    this.links[2 * head] = this.freeHead;
    this.freeHead = head;
  }

  /** The fields above by name, for code that is not hot; a hot loop takes the arrays it walks. */
  startOf(area: number): number {
    return this.start[area];
  }

  endOf(area: number): number {
    return this.end[area];
  }

  subtreeMaxSizeOf(area: number): number {
    return this.subtreeMaxSize[area];
  }

  flagsOf(area: number): number {
    return this.uses[2 * area];
  }

  vmOf(area: number): number {
    return this.uses[2 * area + 1];
  }

  leftOf(area: number): number {
    return this.child[2 * area];
  }

  rightOf(area: number): number {
    return this.child[2 * area + 1];
  }

  parentOf(area: number): number {
    return this.parent[area];
  }

  blackOf(area: number): number {
    return this.black[area];
  }

  nextOf(area: number): number {
    return this.links[2 * area];
  }

  previousOf(area: number): number {
    return this.links[2 * area + 1];
  }

  setStart(area: number, start: number): void {
    this.start[area] = start;
  }

  setEnd(area: number, end: number): void {
    this.end[area] = end;
  }

  setFlags(area: number, flags: number): void {
    this.uses[2 * area] = flags;
  }

  setVm(area: number, vm: number): void {
    this.uses[2 * area + 1] = vm;
  }

  setSubtreeMaxSize(area: number, sizeBytes: number): void {
    this.subtreeMaxSize[area] = sizeBytes;
  }

  setParent(area: number, parent: number): void {
    this.parent[area] = parent;
  }

  setBlack(area: number, black: number): void {
    this.black[area] = black;
  }

  /** Child on a side: 0 left, 1 right. */
  setChild(area: number, side: number, child: number): void {
    this.child[2 * area + side] = child;
  }

  /** One past the highest index that an area can have at present. */
  get capacityAreas(): number {
    return this.capacity;
  }

  /** Size in bytes. */
  sizeBytes(area: number): number {
    return this.end[area] - this.start[area];
  }

  listIsEmpty(head: number): boolean {
    return this.links[2 * head] === head;
  }

  /** Puts `area` directly behind `position` (a list head: at the front). */
  listAddAfter(area: number, position: number): void {
    const { links } = this;
    const follower = links[2 * position];
    links[2 * area] = follower;
    links[2 * area + 1] = position;
    links[2 * follower + 1] = area;
    links[2 * position] = area;
  }

  /** Puts `area` directly before `position` (a list head: at the end). */
  listAddBefore(area: number, position: number): void {
    this.listAddAfter(area, this.links[2 * position + 1]);
  }

  /** Takes `area` off its list; it then points to itself. */
  listRemove(area: number): void {
    const { links } = this;
    const next = links[2 * area];
    const previous = links[2 * area + 1];
    links[2 * previous] = next;
    links[2 * next + 1] = previous;
    links[2 * area] = area;
    links[2 * area + 1] = area;
  }

  /** Moves everything from list `from` to the empty list `to`. */
  listMoveAll(from: number, to: number): void {
    if (this.listIsEmpty(from)) return;
    const { links } = this;
    const first = links[2 * from];
    const last = links[2 * from + 1];
    links[2 * to] = first;
    links[2 * to + 1] = last;
    links[2 * first + 1] = to;
    links[2 * last] = to;
    links[2 * from] = from;
    links[2 * from + 1] = from;
  }

  /** Bytes of host memory held. */
  get hostBytes(): number {
    return this.store.buffer.byteLength + this.gapBlock.byteLength;
  }

  private take(): number {
    let area = this.freeHead;
    if (area !== 0) {
      this.freeHead = this.links[2 * area];
    } else {
      if (this.used === this.capacity) this.grow();
      area = this.used++;
    }
    this.links[2 * area] = area;
    this.links[2 * area + 1] = area;
    return area;
  }

  /** Sets a block of storage aside for gaps; the first of its areas, which are linked. */
  private takeGapBlock(): number {
    const size = 1 << GAP_BLOCK_SHIFT;
    while ((this.used & (size - 1)) !== 0) this.releaseListHead(this.used++);
    if (this.used === this.capacity) this.grow();
    const first = this.used;
    this.used += size;
    this.gapBlock[first >> GAP_BLOCK_SHIFT] = 1;
    for (let area = first; area < first + size; area++) this.links[2 * area] = area + 1;
    this.links[2 * (first + size - 1)] = 0;
    return first;
  }

  private grow(): void {
    const capacity = nextCapacity(this.capacity);
    this.capacity = capacity;
    this.gapBlock = growUint8(this.gapBlock, capacity >> GAP_BLOCK_SHIFT);
    const store = new Segments(BYTES, capacity, this.store);
    this.store = store;
    this.start = store.float64();
    this.end = store.float64();
    this.uses = store.int32(2);
    this.subtreeMaxSize = asDoubles(this.uses);
    this.child = store.int32(2);
    this.parent = store.int32();
    this.links = store.int32(2);
    this.black = store.uint8();
  }
}

function asDoubles(words: Int32Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  return new Float64Array(words.buffer, words.byteOffset, words.length / 2);
}
