/**
 * vmap areas (`struct vmap_area`), indexed by a small integer; index 0 is "no area". An area is in at most one tree and on
 * at most one list at a time, as in the kernel, so it has one set of links for each.
 *
 * Each area is a record of 64 bytes, a cache line, in one buffer seen as doubles and as 32-bit words. Trees of a hundred
 * thousand areas are walked in random order, where one array a field costs a cache miss a field: records measured 1.7
 * times quicker there (`bench/`, churn_100k_live). Loops over trees use `doubles` and `words` with the offsets below.
 */

/** The area is a `vm_map_ram` area, of either kind. */
export const VMAP_RAM = 0x1;
/** With {@link VMAP_RAM}: the area is a vmap block, cut up by a CPU. */
export const VMAP_BLOCK = 0x2;
/** The bits of an area's flags that say what it is for. */
export const VMAP_FLAGS_MASK = 0x3;

/** log2 of the doubles and of the words in a record. */
export const AREA_DOUBLES_SHIFT = 3;
export const AREA_WORDS_SHIFT = 4;
/** Offsets in doubles: first byte; one past the last byte; largest area of the subtree (free tree). */
export const AREA_START = 0;
const AREA_END = 1;
const AREA_SUBTREE_MAX = 2;
/** Offsets in words: tree links (right is left + 1), colour (1 black), flags, vm_struct, list links. */
export const AREA_LEFT = 6;
export const AREA_RIGHT = 7;
const AREA_PARENT = 8;
const AREA_BLACK = 9;
const AREA_FLAGS = 10;
const AREA_VM = 11;
const AREA_NEXT = 12;
const AREA_PREVIOUS = 13;

const RECORD_BYTES = 64;
const FIRST_CAPACITY = 256;

/** Storage for vmap areas and for the heads of the lists they are on. */
export class VmapAreas {
  /** The records as doubles: field `f` of area `i` is `doubles[(i << AREA_DOUBLES_SHIFT) + f]`. */
  doubles: Float64Array;
  /** The records as words: field `f` of area `i` is `words[(i << AREA_WORDS_SHIFT) + f]`. */
  words: Int32Array;
  /** Areas in use, list heads not counted. */
  liveCount = 0;

  private buffer = new ArrayBuffer(FIRST_CAPACITY * RECORD_BYTES);
  private capacity = FIRST_CAPACITY;
  private used = 1;
  private freeHead = 0;

  constructor() {
    this.doubles = new Float64Array(this.buffer);
    this.words = new Int32Array(this.buffer);
  }

  /** A new area [start, end) with no flags, in no tree and on no list. */
  make(start: number, end: number): number {
    const area = this.take();
    this.setStart(area, start);
    this.setEnd(area, end);
    this.setFlags(area, 0);
    this.setVm(area, 0);
    this.liveCount++;
    return area;
  }

  /** Gives an area's storage back. It must be in no tree and on no list. */
  release(area: number): void {
    this.liveCount--;
    this.releaseListHead(area);
  }

  /** A new empty list; lists are circular through their head. */
  makeListHead(): number {
    return this.take();
  }

  /** Gives the storage of an empty list's head back. */
  releaseListHead(head: number): void {
    this.words[(head << AREA_WORDS_SHIFT) + AREA_NEXT] = this.freeHead;
    this.freeHead = head;
  }

  /** First byte. */
  startOf(area: number): number {
    return this.doubles[(area << AREA_DOUBLES_SHIFT) + AREA_START];
  }

  /** One past the last byte. */
  endOf(area: number): number {
    return this.doubles[(area << AREA_DOUBLES_SHIFT) + AREA_END];
  }

  /** Size in bytes. */
  sizeBytes(area: number): number {
    return this.endOf(area) - this.startOf(area);
  }

  /** In the free tree: the size of the largest area of the subtree below, this one included. */
  subtreeMaxSizeOf(area: number): number {
    return this.doubles[(area << AREA_DOUBLES_SHIFT) + AREA_SUBTREE_MAX];
  }

  /** {@link VMAP_RAM}, {@link VMAP_BLOCK}, and from bit 8 up the id of the vmap node it came from, plus one. */
  flagsOf(area: number): number {
    return this.words[(area << AREA_WORDS_SHIFT) + AREA_FLAGS];
  }

  /** While busy: its vm_struct, or 0. */
  vmOf(area: number): number {
    return this.words[(area << AREA_WORDS_SHIFT) + AREA_VM];
  }

  /** Tree links; 0 where there is none. */
  leftOf(area: number): number {
    return this.words[(area << AREA_WORDS_SHIFT) + AREA_LEFT];
  }

  rightOf(area: number): number {
    return this.words[(area << AREA_WORDS_SHIFT) + AREA_RIGHT];
  }

  /** The child on a side: 0 left, 1 right. */
  childOf(area: number, side: number): number {
    return this.words[(area << AREA_WORDS_SHIFT) + AREA_LEFT + side];
  }

  parentOf(area: number): number {
    return this.words[(area << AREA_WORDS_SHIFT) + AREA_PARENT];
  }

  /** 1 for a black node of a tree, 0 for a red one. */
  blackOf(area: number): number {
    return this.words[(area << AREA_WORDS_SHIFT) + AREA_BLACK];
  }

  /** List links. A node on no list points to itself. */
  nextOf(area: number): number {
    return this.words[(area << AREA_WORDS_SHIFT) + AREA_NEXT];
  }

  previousOf(area: number): number {
    return this.words[(area << AREA_WORDS_SHIFT) + AREA_PREVIOUS];
  }

  setChild(area: number, side: number, child: number): void {
    this.words[(area << AREA_WORDS_SHIFT) + AREA_LEFT + side] = child;
  }

  setParent(area: number, parent: number): void {
    this.words[(area << AREA_WORDS_SHIFT) + AREA_PARENT] = parent;
  }

  setBlack(area: number, black: number): void {
    this.words[(area << AREA_WORDS_SHIFT) + AREA_BLACK] = black;
  }

  setSubtreeMaxSize(area: number, sizeBytes: number): void {
    this.doubles[(area << AREA_DOUBLES_SHIFT) + AREA_SUBTREE_MAX] = sizeBytes;
  }

  setStart(area: number, start: number): void {
    this.doubles[(area << AREA_DOUBLES_SHIFT) + AREA_START] = start;
  }

  setEnd(area: number, end: number): void {
    this.doubles[(area << AREA_DOUBLES_SHIFT) + AREA_END] = end;
  }

  setFlags(area: number, flags: number): void {
    this.words[(area << AREA_WORDS_SHIFT) + AREA_FLAGS] = flags;
  }

  setVm(area: number, vm: number): void {
    this.words[(area << AREA_WORDS_SHIFT) + AREA_VM] = vm;
  }

  listIsEmpty(head: number): boolean {
    return this.nextOf(head) === head;
  }

  /** Puts `area` directly behind `position` (a list head: at the front). */
  listAddAfter(area: number, position: number): void {
    const { words } = this;
    const at = area << AREA_WORDS_SHIFT;
    const before = position << AREA_WORDS_SHIFT;
    const follower = words[before + AREA_NEXT];
    words[at + AREA_NEXT] = follower;
    words[at + AREA_PREVIOUS] = position;
    words[(follower << AREA_WORDS_SHIFT) + AREA_PREVIOUS] = area;
    words[before + AREA_NEXT] = area;
  }

  /** Puts `area` directly before `position` (a list head: at the end). */
  listAddBefore(area: number, position: number): void {
    this.listAddAfter(area, this.previousOf(position));
  }

  /** Takes `area` off its list; it then points to itself. */
  listRemove(area: number): void {
    const { words } = this;
    const at = area << AREA_WORDS_SHIFT;
    const follower = words[at + AREA_NEXT];
    const predecessor = words[at + AREA_PREVIOUS];
    words[(predecessor << AREA_WORDS_SHIFT) + AREA_NEXT] = follower;
    words[(follower << AREA_WORDS_SHIFT) + AREA_PREVIOUS] = predecessor;
    words[at + AREA_NEXT] = area;
    words[at + AREA_PREVIOUS] = area;
  }

  /** Moves everything from list `from` to the empty list `to`. */
  listMoveAll(from: number, to: number): void {
    if (this.listIsEmpty(from)) return;
    const { words } = this;
    const first = this.nextOf(from);
    const last = this.previousOf(from);
    words[(to << AREA_WORDS_SHIFT) + AREA_NEXT] = first;
    words[(to << AREA_WORDS_SHIFT) + AREA_PREVIOUS] = last;
    words[(first << AREA_WORDS_SHIFT) + AREA_PREVIOUS] = to;
    words[(last << AREA_WORDS_SHIFT) + AREA_NEXT] = to;
    words[(from << AREA_WORDS_SHIFT) + AREA_NEXT] = from;
    words[(from << AREA_WORDS_SHIFT) + AREA_PREVIOUS] = from;
  }

  /** One past the highest index that an area can have at present. */
  get capacityAreas(): number {
    return this.capacity;
  }

  /** Bytes of host memory held. */
  get hostBytes(): number {
    return this.buffer.byteLength;
  }

  private take(): number {
    let area = this.freeHead;
    if (area !== 0) {
      this.freeHead = this.nextOf(area);
    } else {
      if (this.used === this.capacity) this.grow();
      area = this.used++;
    }
    this.words[(area << AREA_WORDS_SHIFT) + AREA_NEXT] = area;
    this.words[(area << AREA_WORDS_SHIFT) + AREA_PREVIOUS] = area;
    return area;
  }

  private grow(): void {
    this.capacity *= 2;
    const grown = new ArrayBuffer(this.capacity * RECORD_BYTES);
    const doubles = new Float64Array(grown);
    doubles.set(this.doubles);
    this.buffer = grown;
    this.doubles = doubles;
    this.words = new Int32Array(grown);
  }
}
