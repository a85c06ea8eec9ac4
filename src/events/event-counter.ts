/** Counts what happens inside vmalloc: the numbers of a report. */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { VmallocEvents } from "../../mm/index.ts";
import { pagesIn } from "../../mm/lib/align.ts";

/** Counters of vmalloc's events. All pages are of 4 KiB. */
export class EventCounter implements VmallocEvents {
  /** Areas found in the free tree or a pool, and searches that failed. */
  areasAllocated = 0;
  areasFailed = 0;
  areasFromPools = 0;
  /** Areas and their pages that were freed lazily. */
  areasFreed = 0;
  pagesFreedLazily = 0;
  /** Most pages that lay lazily freed at one time. */
  lazyPagesMax = 0;
  purges = 0;
  /** Areas given back by purges. */
  areasPurged = 0;
  drains = 0;
  /** Kernel range flushes: of whole TLBs, and page by page with how many pages. */
  fullFlushes = 0;
  rangeFlushes = 0;
  pagesFlushedOneByOne = 0;
  blocksMade = 0;
  blocksFreed = 0;
  blocksPurged = 0;
  blockAllocations = 0;
  tablesAllocated = 0;
  tablesFreed = 0;

  alloc(_addr: number, _size: number, _align: number, _start: number, _end: number, _f: number, failed: boolean): void {
    if (failed) this.areasFailed++;
    else this.areasAllocated++;
  }

  free(start: number, end: number, lazyNr: number): void {
    this.areasFreed++;
    this.pagesFreedLazily += pagesIn(end - start);
    this.lazyPagesMax = Math.max(this.lazyPagesMax, lazyNr);
  }

  purgeBegin(): void {
    this.purges++;
  }

  purge(_start: number, _end: number, areas: number): void {
    this.areasPurged += areas;
  }

  flushRange(start: number, end: number, full: boolean): void {
    if (full) {
      this.fullFlushes++;
      return;
    }
    this.rangeFlushes++;
    this.pagesFlushedOneByOne += Math.ceil((end - start) / PAGE_SIZE);
  }

  flushAll(): void {
    this.fullFlushes++;
  }

  poolDel(): void {
    this.areasFromPools++;
  }

  drain(): void {
    this.drains++;
  }

  newBlock(): void {
    this.blocksMade++;
    this.blockAllocations++;
  }

  freeBlock(): void {
    this.blocksFreed++;
  }

  purgeFrag(): void {
    this.blocksPurged++;
  }

  vbAlloc(): void {
    this.blockAllocations++;
  }

  ptAlloc(): void {
    this.tablesAllocated++;
  }

  ptFree(): void {
    this.tablesFreed++;
  }

  purgeNode(): void {}
  merge(): void {}
  poolAdd(): void {}
  poolRot(): void {}
  decay(): void {}
  decayVa(): void {}
  vbFree(): void {}
  drainSched(): void {}
  aliases(): void {}
  mapPages(): void {}
  mapRange(): void {}
  vunmap(): void {}
}
