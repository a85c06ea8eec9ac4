/**
 * vmap areas (`struct vmap_area`), named by whole numbers; 0 is "no area". An area is in
 * at most one tree and on at most one list at a time, as in the kernel, so it has one set of links for each.
 */

import { HOST_LINE_BEGIN_BYTE } from "../../../arch/time/host-lines.ts";
import { growUint8, nextCapacity } from "../../lib/grow.ts";
import type { KmemCache } from "../../slab/kmem-cache.ts";

/** The area is a `vm_map_ram` area, of either kind. */
export const VMAP_RAM = 0x1;
/** With {@link VMAP_RAM}: the area is a vmap block, cut up by a CPU. */
export const VMAP_BLOCK = 0x2;
/** The bits of an area's flags that say what it is for. */
export const VMAP_FLAGS_MASK = 0x3;

/** What stands in the place of a lazily freed area's vm_struct when CPU 0 has freed it; the others are below. */
const FREED_BY_0 = -1;

/** log2 of the doubles of a record. The number of an area is a multiple of these. */
const SHIFT = 3;
const STEP = 1 << SHIFT;
const RECORD_BYTES = 8 * STEP;
/** From one head to the next of those that are made side by side. */
export const LIST_HEAD_STEP = STEP;
/** Records, not bytes or doubles. */
const FIRST_CAPACITY = 256;
/** log2 of the records in a block of storage that holds gaps only. */
const GAP_BLOCK_SHIFT = 6;
const GAP_BLOCK_STEP = STEP << GAP_BLOCK_SHIFT;
const GAP_BLOCK_STEP_SHIFT = SHIFT + GAP_BLOCK_SHIFT;

/**
 * Storage for vmap areas and for the heads of the lists they are on. An area is a record of eight doubles, a cache line of the host, each field seen
 * through a view of its own: field of doubles `f` is `f[area]`, field of words `f[2 * area]`. (What is done with an area looks
 * at most of its fields; with one array a field the host would have a cache and TLB miss for each.)
 */
export class VmapAreas {
  private buffer = new ArrayBuffer(HOST_LINE_BEGIN_BYTE + RECORD_BYTES * FIRST_CAPACITY);
  private words = new Int32Array(this.buffer, HOST_LINE_BEGIN_BYTE);
  /** First byte. */
  start = new Float64Array(this.buffer, HOST_LINE_BEGIN_BYTE);
  /** Tree links: left child at `2 * area`, right child at `2 * area + 1`. */
  child = this.words.subarray(2);
  /** One past the last byte. */
  end = this.start.subarray(2);
  /** Tree link, at `2 * area`: parent, 0 at the root. */
  parent = this.words.subarray(6);
  /** Tree link, at `2 * area`: 1 for a black node, 0 for a red one. */
  black = this.words.subarray(7);
  /** List links: next at `2 * area`, previous at `2 * area + 1`. A node on no list points to itself. */
  links = this.words.subarray(8);
  /**
   * Outside the free tree, at `2 * area`: {@link VMAP_RAM}, {@link VMAP_BLOCK}, and from bit 8 up the id of the vmap node it
   * came from, plus one; at `2 * area + 1` its vm_struct while busy, or 0; while lazily freed, below 0: {@link freedByOf}.
   */
  uses = this.words.subarray(10);
  /**
   * In the free tree, in place of {@link uses} (a union, as in the kernel): the size of the largest area of the subtree below,
   * this one included.
   */
  subtreeMaxSize = this.start.subarray(5);
  /** At `2 * area`: the area's object of the cache; 0 for none. Of the head of a list whose length somebody counts: that. */
  private objects = this.words.subarray(12);
  /** Areas in use, list heads not counted. */
  liveCount = 0;
  /** `vmap_area_cachep`: what an area's object goes back to; null where objects are not kept. */
  cache: KmemCache | null = null;

  /** One past the highest number that an area can have at present. */
  private capacity = STEP * FIRST_CAPACITY;
  private used = STEP;
  private freeHead = 0;
  private gapFreeHead = 0;
  /** By block of storage: 1 for one that holds gaps only. */
  private gapBlock = new Uint8Array(FIRST_CAPACITY >> GAP_BLOCK_SHIFT);

  /** A new area [start, end), in no tree and on no list. */
  make(start: number, end: number, flags = 0): number {
    return this.begin(this.take(), start, end, flags);
  }

  /**
   * A gap for the free tree. Gaps are few among many areas and every allocation descends their tree, so they stand
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

  /** The area's object of the cache; 0 for none. */
  objectOf(area: number): number {
    return this.objects[2 * area];
  }

  /** Sets the object of the cache that the area is kept in. */
  setObject(area: number, object: number): void {
    this.objects[2 * area] = object;
  }

  /** Gives an area's storage and its object back. It must be in no tree and on no list. */
  release(area: number): void {
    this.liveCount--;
    if (this.cache !== null) this.cache.kmemCacheFree(this.objects[2 * area]);
    this.objects[2 * area] = 0;
    if (this.isInGapBlock(area)) {
      this.links[2 * area] = this.gapFreeHead;
      this.gapFreeHead = area;
      return;
    }
    this.links[2 * area] = this.freeHead;
    this.freeHead = area;
  }

  /** So many list heads are about to be made: room for all of them is made once. */
  reserveListHeads(heads: number): void {
    let records = this.capacity / STEP;
    while (records < this.used / STEP + heads) records = nextCapacity(records);
    if (records > this.capacity / STEP) this.grow(records);
  }

  /** A new empty list; lists are circular through their head. */
  makeListHead(): number {
    return this.take();
  }

  /** So many heads of empty lists, side by side; the first. The others follow at a distance of `LIST_HEAD_STEP` each. */
  makeListHeads(count: number): number {
    const first = this.takeUnused();
    this.emptyList(first);
    for (let i = 1; i < count; i++) this.emptyList(this.takeUnused());
    return first;
  }

  /** How many areas are on a list, where {@link addToLength} is told; it is kept beside the links of its head. */
  lengthOf(head: number): number {
    return this.objects[2 * head];
  }

  /** A list whose length somebody counts is so much longer; returns its length. */
  addToLength(head: number, areas: number): number {
    this.objects[2 * head] += areas;
    return this.objects[2 * head];
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

  /** One past its last byte (`va_end`). */
  endOf(area: number): number {
    return this.end[area];
  }

  /** Bytes of the largest gap in its subtree (`subtree_max_size`). */
  subtreeMaxSizeOf(area: number): number {
    return this.subtreeMaxSize[area];
  }

  /** What the area is for: `VMAP_*`. */
  flagsOf(area: number): number {
    return this.uses[2 * area];
  }

  /** Its vm_struct; 0 for none. */
  vmOf(area: number): number {
    return this.uses[2 * area + 1];
  }

  /** Its left child in a tree; 0 for none. */
  leftOf(area: number): number {
    return this.child[2 * area];
  }

  /** Its right child in a tree; 0 for none. */
  rightOf(area: number): number {
    return this.child[2 * area + 1];
  }

  /** Its parent in a tree; 0 for the root. */
  parentOf(area: number): number {
    return this.parent[2 * area];
  }

  /** 1 for a black node of a tree, 0 for a red one. */
  blackOf(area: number): number {
    return this.black[2 * area];
  }

  /** What follows it on a list. */
  nextOf(area: number): number {
    return this.links[2 * area];
  }

  /** What precedes it on a list. */
  previousOf(area: number): number {
    return this.links[2 * area + 1];
  }

  /** Sets its first byte. */
  setStart(area: number, start: number): void {
    this.start[area] = start;
  }

  /** Sets one past its last byte. */
  setEnd(area: number, end: number): void {
    this.end[area] = end;
  }

  /** Sets what it is for: `VMAP_*`. */
  setFlags(area: number, flags: number): void {
    this.uses[2 * area] = flags;
  }

  /** Sets its vm_struct; 0 for none. */
  setVm(area: number, vm: number): void {
    this.uses[2 * area + 1] = vm;
  }

  /** The CPU that freed an area which waits for a purge, and so wrote its lines last; -1 when that is not known. */
  freedByOf(area: number): number {
    const { uses } = this;
    return uses[2 * area + 1] < 0 ? FREED_BY_0 - uses[2 * area + 1] : -1;
  }

  /** Notes which CPU frees an area that has no vm_struct any more; -1 forgets it. */
  setFreedBy(area: number, cpu: number): void {
    this.uses[2 * area + 1] = cpu < 0 ? 0 : FREED_BY_0 - cpu;
  }

  /** Sets its parent in a tree. */
  setParent(area: number, parent: number): void {
    this.parent[2 * area] = parent;
  }

  /** Sets its colour: 1 black, 0 red. */
  setBlack(area: number, black: number): void {
    this.black[2 * area] = black;
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

  /** Whether nothing is on the list of a head. */
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
    return this.buffer.byteLength + this.gapBlock.byteLength;
  }

  private isInGapBlock(area: number): boolean {
    return this.gapBlock[area >> GAP_BLOCK_STEP_SHIFT] !== 0;
  }

  private take(): number {
    let area = this.freeHead;
    if (area !== 0) this.freeHead = this.links[2 * area];
    else area = this.takeUnused();
    this.emptyList(area);
    return area;
  }

  private emptyList(head: number): void {
    this.links[2 * head] = head;
    this.links[2 * head + 1] = head;
  }

  private takeUnused(): number {
    if (this.used === this.capacity) this.grow(nextCapacity(this.capacity / STEP));
    const area = this.used;
    this.used += STEP;
    return area;
  }

  /** Sets a block of storage aside for gaps; the first of its areas, which are linked. */
  private takeGapBlock(): number {
    while (this.used % GAP_BLOCK_STEP !== 0) this.releaseListHead(this.takeUnused());
    const first = this.takeUnused();
    this.gapBlock[first >> GAP_BLOCK_STEP_SHIFT] = 1;
    let last = first;
    while (this.used % GAP_BLOCK_STEP !== 0) {
      const area = this.takeUnused();
      this.links[2 * last] = area;
      last = area;
    }
    this.links[2 * last] = 0;
    return first;
  }

  private grow(records: number): void {
    this.capacity = STEP * records;
    this.gapBlock = growUint8(this.gapBlock, records >> GAP_BLOCK_SHIFT);
    const { words } = this;
    this.buffer = new ArrayBuffer(HOST_LINE_BEGIN_BYTE + RECORD_BYTES * records);
    this.words = new Int32Array(this.buffer, HOST_LINE_BEGIN_BYTE);
    this.words.set(words);
    this.start = new Float64Array(this.buffer, HOST_LINE_BEGIN_BYTE);
    this.child = this.words.subarray(2);
    this.end = this.start.subarray(2);
    this.parent = this.words.subarray(6);
    this.black = this.words.subarray(7);
    this.links = this.words.subarray(8);
    this.uses = this.words.subarray(10);
    this.subtreeMaxSize = this.start.subarray(5);
    this.objects = this.words.subarray(12);
  }
}
