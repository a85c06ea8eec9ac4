/** A run of physical memory on one NUMA node, handed out in blocks of 2^order frames (buddy system). */
import { HIGH_MEMORY_START, LOW_MEMORY_BYTES, type PhysicalMemory } from "../../arch/memory/physical-memory.ts";
import { __GFP_THISNODE, GFP_DMA32_ZONE } from "../lib/gfp.ts";
import { Segments } from "../lib/grow.ts";
import type { PageLines } from "./page-lines.ts";

/** The largest block: 2^10 frames, 4 MiB. */
export const MAX_PAGE_ORDER = 10;

/** The first MiB is left to firmware, as on a PC. */
const FIRMWARE_FRAMES = 256;
/** Bookkeeping of a frame: two list links, its order, its use, whether it is on an LRU list, to whom it is charged, and who used its lines last and when. */
const BYTES_PER_FRAME = 24;
const NOT_FREE = 0xff;
/** Runs of neighbours are given back as blocks from this order on. */
const BLOCK_ORDER_MIN = 2;
/** No block; less than 0, as V8 has numbers from 2^31 on as objects where they are arguments. */
const NONE = -1;

/** Free lists of one zone. Frames from `touchedEnd` on have never been handed out and have no bookkeeping yet. */
export class Zone {
  readonly node: number;
  /** First frame. */
  readonly startFrame: number;
  /** One past the last frame. */
  readonly endFrame: number;
  /** What each frame is used for, from `startFrame` on: one of the `FRAME_` values of `page-allocator.ts`. */
  use: Uint8Array = new Uint8Array(0);
  /** In whose cache the lines of each frame are, for `PageLines`: who used its `struct page` last, plus one, and when; who zeroed it. */
  user: Uint16Array = new Uint16Array(0);
  usedAt: Uint32Array = new Uint32Array(0);
  zeroedBy: Uint16Array = new Uint16Array(0);
  zeroedAt: Uint32Array = new Uint32Array(0);
  /** To whom each frame is charged (`MemCgroup`). */
  memcgData: Uint8Array = new Uint8Array(0);
  /** 1 for each frame that is on an LRU list (`PG_lru`), else 0. */
  onLru: Uint8Array = new Uint8Array(0);
  /** What uses of `struct page`s under the zone's lock take; null where that costs nothing. */
  lines: PageLines | null = null;
  /** One past the highest frame that has ever been part of a free list or handed out. */
  touchedEnd: number;
  /** Free blocks by order, those never touched not counted (`/proc/buddyinfo`). */
  readonly freeBlocks = new Uint32Array(MAX_PAGE_ORDER + 1);

  private store = new Segments(BYTES_PER_FRAME, 0);
  private orderOf: Uint8Array = new Uint8Array(0);
  private next: Int32Array = new Int32Array(0);
  private previous: Int32Array = new Int32Array(0);
  private readonly heads = new Int32Array(MAX_PAGE_ORDER + 1).fill(NONE);

  /** Frames [startFrame, endFrame) on NUMA node `node`. */
  constructor(node: number, startFrame: number, endFrame: number) {
    this.node = node;
    // What was a quotient is an integer for V8 from here on, and so is all that loops over frames reckon with it.
    this.startFrame = Math.floor(startFrame);
    this.endFrame = Math.floor(endFrame);
    this.touchedEnd = this.startFrame;
  }

  /** Frames in the zone. */
  get managedPages(): number {
    return this.endFrame - this.startFrame;
  }

  /** Bytes of host memory held for bookkeeping. */
  get hostBytes(): number {
    return this.use.length * BYTES_PER_FRAME;
  }

  /** Takes a block of 2^order frames; 0 when there is none (`__rmqueue_smallest`). */
  __rmqueueSmallest(order: number): number {
    let have = order;
    while (have <= MAX_PAGE_ORDER && this.heads[have] === NONE) have++;
    if (have > MAX_PAGE_ORDER) {
      while (this.touchBlock()) {
        have = order;
        while (have <= MAX_PAGE_ORDER && this.heads[have] === NONE) have++;
        if (have <= MAX_PAGE_ORDER) break;
      }
      if (have > MAX_PAGE_ORDER) return 0;
    }
    const index = this.heads[have];
    this.unlink(index, have);
    while (have > order) {
      have--;
      this.pushFree(index + (1 << have), have);
    }
    return this.startFrame + index;
  }

  /** Gives back a block, merging it with its free buddies (`__free_one_page`). */
  __freeOnePage(frame: number, order: number): void {
    const { lines, orderOf } = this;
    const start = this.startFrame | 0;
    const touched = this.touchedEnd - this.startFrame;
    let index = ((frame | 0) - start) | 0;
    let at = order;
    while (at < MAX_PAGE_ORDER) {
      // Buddies are found by frame number, which the zone's start need not be aligned for.
      const buddy = (((index + start) ^ (1 << at)) - start) | 0;
      if (buddy < 0 || buddy >= touched) break;
      if (lines !== null) lines.useUnderLock(this, buddy);
      if (orderOf[buddy] !== at) break;
      this.unlink(buddy, at);
      if (buddy < index) index = buddy;
      at++;
    }
    this.pushFree(index, at);
  }

  /**
   * Gives back `count` single frames, one after the other (`free_pcppages_bulk`). Runs of neighbours are most of them: of a run that is a whole block, and
   * whose lines are all in the CPU's caches, only the block has to be put on a list, as all that happens before is undone again.
   */
  freeFrames(frames: Uint32Array, count: number): void {
    const start = this.startFrame | 0;
    let end = 0;
    for (let at = 0; at < count; ) {
      const frame = frames[at] | 0;
      if (at >= end) {
        end = at + 1;
        while (end < count && (frames[end] | 0) === ((frame + end - at) | 0)) end++;
      }
      const order = Math.min(31 - Math.clz32(end - at), 31 - Math.clz32(frame & -frame));
      const isBlock = order >= BLOCK_ORDER_MIN && this.useForFreeing((frame - start) | 0, order);
      this.__freeOnePage(frames[at], isBlock ? order : 0);
      at += isBlock ? 1 << order : 1;
    }
  }

  /**
   * What giving back the frames of a block one by one uses before the whole block is put on a list: each of them, and the first block of each list on which
   * parts of it are for a while. False, and nothing is done, where a line of these would have to be fetched.
   */
  private useForFreeing(index: number, order: number): boolean {
    const { lines, heads } = this;
    if (lines === null) return true;
    if (!lines.areOwn(this, index, 1 << order)) return false;
    for (let at = 0; at < order; at++) if (heads[at] !== NONE && !lines.areOwn(this, heads[at], 1)) return false;
    lines.useOwn(this, index, 1 << order);
    for (let at = 0; at < order; at++) if (heads[at] !== NONE) lines.useOwn(this, heads[at], 1);
    return true;
  }

  /** Free blocks of `order`, untouched memory included. */
  freeBlocksOf(order: number): number {
    const untouched = order === MAX_PAGE_ORDER ? Math.floor((this.endFrame - this.touchedEnd) / (1 << order)) : 0;
    return this.freeBlocks[order] + untouched;
  }

  /** Visits the free blocks of touched memory, for checks; stops where a list runs in a circle. */
  forEachFreeBlock(visit: (frame: number, order: number) => void): void {
    for (let order = 0; order <= MAX_PAGE_ORDER; order++) {
      let left = this.managedPages;
      for (let at = this.heads[order]; at !== NONE && left > 0; at = this.next[at], left--) {
        visit(this.startFrame + at, order);
      }
    }
  }

  /**
   * Brings the zone into another state, for saved states.
   * @param use what each frame below `touchedEnd` is used for
   * @param freeBlocks first frames of the free blocks, by order, in the order of their lists
   */
  restore(touchedEnd: number, use: Uint8Array, freeBlocks: readonly Uint32Array[]): void {
    if (use.length > this.use.length) this.grow(use.length);
    const { lines } = this;
    this.lines = null;
    this.touchedEnd = touchedEnd;
    this.use.fill(0).set(use);
    this.orderOf.fill(NOT_FREE);
    this.heads.fill(NONE);
    this.freeBlocks.fill(0);
    freeBlocks.forEach((frames, order) => {
      for (let i = frames.length - 1; i >= 0; i--) this.pushFree(frames[i] - this.startFrame, order);
    });
    this.lines = lines;
  }

  /** Puts the next untouched block, as large as its place allows, on a free list; false when all is touched. */
  private touchBlock(): boolean {
    const frame = this.touchedEnd;
    if (frame >= this.endFrame) return false;
    let order = MAX_PAGE_ORDER;
    while (frame % (1 << order) !== 0 || frame + (1 << order) > this.endFrame) order--;
    this.touchedEnd = frame + (1 << order);
    const needed = this.touchedEnd - this.startFrame;
    if (needed > this.use.length) this.grow(Math.min(this.managedPages, Math.max(2 * this.use.length, needed)));
    this.pushFree(frame - this.startFrame, order);
    return true;
  }

  private pushFree(index: number, order: number): void {
    const head = this.heads[order];
    this.useOnList(index, head, NONE);
    this.next[index] = head;
    this.previous[index] = NONE;
    if (head !== NONE) this.previous[head] = index;
    this.heads[order] = index;
    this.orderOf[index] = order;
    this.freeBlocks[order]++;
  }

  private unlink(index: number, order: number): void {
    const next = this.next[index];
    const previous = this.previous[index];
    this.useOnList(index, next, previous);
    if (previous === NONE) this.heads[order] = next;
    else this.next[previous] = next;
    if (next !== NONE) this.previous[next] = previous;
    this.orderOf[index] = NOT_FREE;
    this.freeBlocks[order]--;
  }

  /** A block's links are changed, and those of its neighbours on the list, if it has any. */
  private useOnList(index: number, next: number, previous: number): void {
    const { lines } = this;
    if (lines === null) return;
    lines.useUnderLock(this, index);
    if (next !== NONE) lines.useUnderLock(this, next);
    if (previous !== NONE) lines.useUnderLock(this, previous);
  }

  private grow(capacity: number): void {
    const had = this.use.length;
    const store = new Segments(BYTES_PER_FRAME, capacity, this.store);
    this.store = store;
    this.next = store.int32();
    this.previous = store.int32();
    this.usedAt = store.uint32();
    this.zeroedAt = store.uint32();
    this.user = store.uint16();
    this.zeroedBy = store.uint16();
    this.orderOf = store.uint8();
    this.orderOf.fill(NOT_FREE, had);
    this.memcgData = store.uint8();
    this.onLru = store.uint8();
    this.use = store.uint8();
  }
}

/** Cuts the memory into zones: below and above the hole for devices, and by NUMA node in equal parts. */
export function makeZones(memory: PhysicalMemory, numaNodes: number): Zone[] {
  const ranges: [number, number][] = [];
  const lowFrames = Math.min(memory.frames, LOW_MEMORY_BYTES / 4096);
  ranges.push([Math.min(FIRMWARE_FRAMES, lowFrames), lowFrames]);
  if (memory.frames > HIGH_MEMORY_START / 4096) ranges.push([HIGH_MEMORY_START / 4096, memory.frames]);
  const block = 1 << MAX_PAGE_ORDER;
  const perNode = Math.ceil(memory.sizeBytes / 4096 / numaNodes / block) * block;
  const zones: Zone[] = [];
  let node = 0;
  let room = perNode;
  for (const [start, end] of ranges) {
    let at = start;
    while (at < end) {
      const stop = Math.min(end, at + room);
      zones.push(new Zone(node, at, stop));
      room -= stop - at;
      at = stop;
      if (room === 0 && node < numaNodes - 1) {
        node++;
        room = perNode;
      } else if (room === 0) {
        room = Number.POSITIVE_INFINITY;
      }
    }
  }
  return zones;
}

/**
 * A block of 2^order frames off the free lists (`get_page_from_freelist`): of the node `preferred` if it has one, else of any other
 * unless the flags forbid it. 0 when there is none.
 */
export function getPageFromFreelist(zones: readonly Zone[], order: number, preferred: number, gfp: number): number {
  const low = (gfp & GFP_DMA32_ZONE) !== 0;
  for (const own of [true, false]) {
    if (!own && (gfp & __GFP_THISNODE) !== 0) break;
    for (let i = zones.length - 1; i >= 0; i--) {
      const zone = zones[i];
      if ((zone.node === preferred) !== own) continue;
      if (low && zone.startFrame >= HIGH_MEMORY_START / 4096) continue;
      const frame = zone.__rmqueueSmallest(order);
      if (frame !== 0) return frame;
    }
  }
  return 0;
}
