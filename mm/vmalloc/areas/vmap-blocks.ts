/** Storage for vmap blocks (`struct vmap_block`) and their per-CPU queues (`struct vmap_block_queue`); block 0 is "none". */

import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import type { EventLoop } from "../../../arch/time/event-loop.ts";
import type { LockCosts, SpinLock } from "../../kernel/lock.ts";
import type { Lockdep } from "../../kernel/lockdep.ts";
import { newSpinLock } from "../../kernel/spinlocks.ts";
import { growInt32 } from "../../lib/grow.ts";

const FIRST_CAPACITY = 16;

/** All vmap blocks. Counts are pages. */
export class VmapBlocks {
  /** The block's vmap area. */
  area = new Int32Array(FIRST_CAPACITY);
  /** The CPU whose queue it is on. */
  cpu = new Int32Array(FIRST_CAPACITY);
  /** The block's object of its slab cache; 0 for none. */
  object = new Int32Array(FIRST_CAPACITY);
  /** Pages never handed out. */
  free = new Int32Array(FIRST_CAPACITY);
  /** Pages given back. */
  dirty = new Int32Array(FIRST_CAPACITY);
  /** Pages [dirtyMin, dirtyMax) have been unmapped and not flushed yet. */
  dirtyMin = new Int32Array(FIRST_CAPACITY);
  dirtyMax = new Int32Array(FIRST_CAPACITY);
  /** Pages in use: mapped for somebody. */
  usedPages = new Int32Array(FIRST_CAPACITY);
  /** Which pages are in use: `wordsPerBlock` words of 32 bits each. */
  usedMap: Int32Array;
  /**
   * Used pages as the kernel's own `used_map` has them: with the pages that a request was rounded up by, which are not mapped.
   * Only `upstreamQuirks` looks at it.
   */
  roundedMap: Int32Array;
  /** Queue links of blocks with free pages; 0 ends a queue. */
  next = new Int32Array(FIRST_CAPACITY);
  previous = new Int32Array(FIRST_CAPACITY);
  /** Checks that blocks and queues are used with their locks held; null where locks are not checked. */
  lockdep: Lockdep | null = null;
  /** Each block's lock. */
  readonly locks: SpinLock[] = [];
  /** First and last block of each CPU's queue, and the queues' locks. */
  readonly queueHead: Int32Array;
  readonly queueTail: Int32Array;
  readonly queueLocks: readonly SpinLock[];
  /** Blocks by address, one index a CPU hash: address of the block -> block (`vbq->vmap_blocks`). */
  readonly index: readonly Map<number, number>[];
  readonly wordsPerBlock: number;
  /** The block that was found last, and its address: callers that map and unmap small ranges come back to it. NaN: none. */
  private lastStart = Number.NaN;
  private lastBlock = 0;

  private readonly loop: EventLoop;
  private readonly lockCosts: LockCosts;
  private readonly pages: number;
  private capacity = FIRST_CAPACITY;
  private used = 1;
  private readonly recycled: number[] = [];

  constructor(cpus: number, pages: number, loop: EventLoop, lockCosts: LockCosts) {
    this.pages = pages;
    this.wordsPerBlock = pages / 32;
    this.loop = loop;
    this.lockCosts = lockCosts;
    this.usedMap = new Int32Array(FIRST_CAPACITY * this.wordsPerBlock);
    this.roundedMap = new Int32Array(FIRST_CAPACITY * this.wordsPerBlock);
    this.queueHead = new Int32Array(cpus);
    this.queueTail = new Int32Array(cpus);
    this.queueLocks = Array.from({ length: cpus }, () => newSpinLock("vbq->lock", loop, lockCosts));
    this.index = Array.from({ length: cpus }, () => new Map<number, number>());
  }

  /** A new block over `area` for `cpu`: all free, nothing dirty, on no queue. */
  make(area: number, cpu: number): number {
    const block = this.recycled.pop() ?? this.fresh();
    this.area[block] = area;
    this.cpu[block] = cpu;
    this.object[block] = 0;
    this.free[block] = this.pages;
    this.dirty[block] = 0;
    this.dirtyMin[block] = this.pages;
    this.dirtyMax[block] = 0;
    this.usedPages[block] = 0;
    this.usedMap.fill(0, block * this.wordsPerBlock, (block + 1) * this.wordsPerBlock);
    this.roundedMap.fill(0, block * this.wordsPerBlock, (block + 1) * this.wordsPerBlock);
    this.next[block] = 0;
    this.previous[block] = 0;
    return block;
  }

  /** Gives the number of a block back, which is on no queue. */
  release(block: number): void {
    this.recycled.push(block);
  }

  /** The block that contains `address` if it is the one found last, else 0. */
  lastContaining(address: number): number {
    const offset = address - this.lastStart;
    return offset >= 0 && offset < this.pages * PAGE_SIZE ? this.lastBlock : 0;
  }

  /** The block at `start`, filed under `hash`; 0 when there is none. */
  blockAt(hash: number, start: number): number {
    const block = this.index[hash].get(start);
    if (block === undefined) return 0;
    this.lastStart = start;
    this.lastBlock = block;
    return block;
  }

  /** Takes the block at `start` out of the index. */
  removeFromIndex(hash: number, start: number): void {
    this.index[hash].delete(start);
    this.lastStart = Number.NaN;
  }

  /** Reports the current thread when it uses a block without its lock. */
  assertBlockHeld(block: number): void {
    if (this.lockdep !== null) this.lockdep.assertHeld(this.locks[block], "vb");
  }

  /** Appends a block to its CPU's queue. */
  enqueue(block: number): void {
    const cpu = this.cpu[block];
    if (this.lockdep !== null) this.lockdep.assertHeld(this.queueLocks[cpu], "vbq->free");
    const tail = this.queueTail[cpu];
    this.previous[block] = tail;
    this.next[block] = 0;
    if (tail === 0) this.queueHead[cpu] = block;
    else this.next[tail] = block;
    this.queueTail[cpu] = block;
  }

  /** Takes a block off its CPU's queue; one that is on none is left alone. */
  dequeue(block: number): void {
    const cpu = this.cpu[block];
    if (this.lockdep !== null) this.lockdep.assertHeld(this.queueLocks[cpu], "vbq->free");
    if (!this.isQueued(block)) return;
    const next = this.next[block];
    const previous = this.previous[block];
    if (previous === 0) this.queueHead[cpu] = next;
    else this.next[previous] = next;
    if (next === 0) this.queueTail[cpu] = previous;
    else this.previous[next] = previous;
    this.next[block] = 0;
    this.previous[block] = 0;
  }

  /** Whether a block is on the queue of its CPU (`vbq->free`). */
  isQueued(block: number): boolean {
    return this.previous[block] !== 0 || this.queueHead[this.cpu[block]] === block;
  }

  /**
   * Marks `count` pages from `first` on as used or not; they must have been the contrary.
   * @param rounded how many pages the request counts as
   */
  markUsed(block: number, first: number, count: number, used: boolean, rounded = count): void {
    const base = block * this.wordsPerBlock;
    this.usedPages[block] += used ? count : -count;
    if ((first & 31) + rounded <= 32) {
      const word = base + (first >> 5);
      const mask = maskOf(first & 31, rounded);
      this.usedMap[word] ^= maskOf(first & 31, count);
      this.roundedMap[word] = used ? this.roundedMap[word] | mask : this.roundedMap[word] & ~mask;
      return;
    }
    for (let page = first; page < first + count; ) {
      const end = Math.min(first + count, (page | 31) + 1);
      this.usedMap[base + (page >> 5)] ^= maskOf(page & 31, end - page);
      page = end;
    }
    for (let page = first; page < first + rounded; ) {
      const end = Math.min(first + rounded, (page | 31) + 1);
      const mask = maskOf(page & 31, end - page);
      if (used) this.roundedMap[base + (page >> 5)] |= mask;
      else this.roundedMap[base + (page >> 5)] &= ~mask;
      page = end;
    }
  }

  /** Whether the kernel's own bitmap says that the page is used. */
  isUsedRounded(block: number, page: number): boolean {
    return ((this.roundedMap[block * this.wordsPerBlock + (page >> 5)] >>> (page & 31)) & 1) !== 0;
  }

  /** Whether a page of a block is handed out (`used_map`). */
  isUsed(block: number, page: number): boolean {
    return ((this.usedMap[block * this.wordsPerBlock + (page >> 5)] >>> (page & 31)) & 1) !== 0;
  }

  /** How many of `count` pages from `first` on are in use. */
  countUsed(block: number, first: number, count: number): number {
    const base = block * this.wordsPerBlock;
    if (count <= 32 - (first & 31)) return countOneWord(this.usedMap[base + (first >> 5)], first & 31, count);
    let used = 0;
    for (let page = first; page < first + count; ) {
      const end = Math.min(first + count, (page | 31) + 1);
      used += bitsIn(this.usedMap[base + (page >> 5)] & maskOf(page & 31, end - page));
      page = end;
    }
    return used;
  }

  /** Blocks in use. */
  get liveCount(): number {
    return this.used - 1 - this.recycled.length;
  }

  /** Locks of the blocks that are not in use and will be used again, the next one last: a block keeps its lock. */
  spareLocks(): SpinLock[] {
    return this.recycled.map((block) => this.locks[block]);
  }

  /** Adds `count` blocks that are not in use, for saved states; their locks, the next to be used last. */
  addSpare(count: number): SpinLock[] {
    for (let i = 0; i < count; i++) this.recycled.push(this.fresh());
    return this.spareLocks();
  }

  /** The two bitmaps of a block, writable ({@link usedMap}, {@link roundedMap}). */
  mapsOf(block: number): readonly [used: Int32Array, rounded: Int32Array] {
    const [first, end] = [block * this.wordsPerBlock, (block + 1) * this.wordsPerBlock];
    return [this.usedMap.subarray(first, end), this.roundedMap.subarray(first, end)];
  }

  /** Replaces the bitmaps of a block, for saved states. */
  setMaps(block: number, used: Int32Array, rounded: Int32Array): void {
    const [usedMap, roundedMap] = this.mapsOf(block);
    usedMap.set(used);
    roundedMap.set(rounded);
    this.usedPages[block] = used.reduce((sum, word) => sum + bitsIn(word), 0);
  }

  private fresh(): number {
    if (this.used === this.capacity) this.grow();
    const block = this.used++;
    this.locks[block] = newSpinLock("vb->lock", this.loop, this.lockCosts);
    return block;
  }

  private grow(): void {
    const capacity = this.capacity * 2;
    this.capacity = capacity;
    this.area = growInt32(this.area, capacity);
    this.cpu = growInt32(this.cpu, capacity);
    this.object = growInt32(this.object, capacity);
    this.free = growInt32(this.free, capacity);
    this.dirty = growInt32(this.dirty, capacity);
    this.dirtyMin = growInt32(this.dirtyMin, capacity);
    this.dirtyMax = growInt32(this.dirtyMax, capacity);
    this.usedPages = growInt32(this.usedPages, capacity);
    this.usedMap = growInt32(this.usedMap, capacity * this.wordsPerBlock);
    this.roundedMap = growInt32(this.roundedMap, capacity * this.wordsPerBlock);
    this.next = growInt32(this.next, capacity);
    this.previous = growInt32(this.previous, capacity);
  }
}

/** A word in which `count` (1 to 32) bits from `first` on are set. */
function maskOf(first: number, count: number): number {
  return (-1 >>> (32 - count)) << first;
}

/** How many of `count` bits of a word from `first` on are set. */
function countOneWord(word: number, first: number, count: number): number {
  return count === 0 ? 0 : bitsIn(word & maskOf(first, count));
}

/** How many bits of a word are set. */
function bitsIn(word: number): number {
  let sum = word - ((word >>> 1) & 0x55555555);
  sum = (sum & 0x33333333) + ((sum >>> 2) & 0x33333333);
  return Math.imul((sum + (sum >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
